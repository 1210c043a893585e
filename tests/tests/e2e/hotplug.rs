//! Devices that come to a running guest and leave it again: seen by the guest, in the definition and as events.

use std::process::{Command, Stdio};
use std::time::Duration;

use stead_tests::{Host, guest, wait};

/// Within this time a guest that lets a device go has done so: PCI Express wants five seconds of its own.
const UNPLUG_TIMEOUT: Duration = Duration::from_secs(30);

/// The small guest with room for more devices, up and with a shell.
fn guest_with_room(host: &Host) {
    let _ = (host.guest_file("vmlinuz"), host.guest_file("initrd"));
    let ports = "<controller type='pci' model='pcie-root-port'/>".repeat(6);
    let room = format!(
        "<devices><controller type='pci' model='pcie-root'/>{ports}<controller type='virtio-serial'/>"
    );
    let xml = guest::small_guest("demo", host.folder()).replace("<devices>", &room);
    host.define(&xml);
    let _ = host.virsh(&["start", "demo"]).succeeds();
    let _ = in_guest(host, "true");
}

fn in_guest(host: &Host, command: &str) -> String {
    host.python("console.py", &["demo", command])
        .succeeds()
        .trim()
        .to_owned()
}

/// A device: how it is described, what it is called in the live definition, how many of it the guest sees.
struct Case {
    what: &'static str,
    xml: String,
    mark: &'static str,
    count: &'static str,
}

#[test]
fn what_is_plugged_in_comes_out_again() {
    let host = Host::start();
    guest_with_room(&host);
    let disk = host.file("extra.raw", &"\0".repeat(1 << 20));
    let cases = [
        Case {
            what: "disk",
            xml: format!(
                "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>\
                 <target dev='vdb' bus='virtio'/><serial>EXTRA</serial><alias name='ua-disk'/></disk>"
            ),
            mark: "dev='vdb'",
            count: "ls /sys/block | grep -c ^vd",
        },
        Case {
            what: "card",
            xml: "<interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='virtio'/>\
                  <alias name='ua-card'/></interface>"
                .into(),
            mark: "52:54:00:aa:bb:cc",
            count: "cat /sys/class/net/*/address | grep -c 52:54:00:aa:bb:cc",
        },
        Case {
            what: "rng",
            xml: "<rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-rng'/></rng>"
                .into(),
            mark: "<rng ",
            count: "cat /sys/class/misc/hw_random/rng_available | grep -c virtio",
        },
        Case {
            what: "port",
            xml: "<channel type='unix'><target type='virtio' name='org.example.extra'/>\
                  <alias name='ua-port'/></channel>"
                .into(),
            mark: "org.example.extra",
            count: "cat /sys/class/virtio-ports/*/name | grep -c org.example.extra",
        },
    ];
    let told = host.folder().join("events");
    let mut events = Command::new("stdbuf")
        .args([
            "-oL",
            "virsh",
            "-c",
            &host.uri(),
            "event",
            "demo",
            "--event",
            "device-removed",
        ])
        .args(["--loop", "--timeout", "45"])
        .stdout(std::fs::File::create(&told).expect("there is room"))
        .stderr(Stdio::null())
        .spawn()
        .expect("virsh is there");
    for case in &cases {
        let file = host.file("device.xml", &case.xml);
        let live = || host.virsh(&["dumpxml", "demo"]).succeeds();
        let before = live();
        assert!(!before.contains(case.mark), "{}", case.what);
        assert_eq!(in_guest(&host, case.count), "0", "{}", case.what);

        let _ = host.virsh(&["attach-device", "demo", &file]).succeeds();
        assert!(
            live().contains(case.mark),
            "{} is in the live XML",
            case.what
        );
        wait::until(case.what, UNPLUG_TIMEOUT, || {
            in_guest(&host, case.count) == "1"
        });

        let _ = host.virsh(&["detach-device", "demo", &file]).succeeds();
        // A guest that takes longer than the call waits lets go in its own time.
        wait::until("it is out of the live XML", UNPLUG_TIMEOUT, || {
            !live().contains(case.mark)
        });
        assert_eq!(in_guest(&host, case.count), "0", "{} is gone", case.what);
        assert_eq!(
            live(),
            before,
            "{}: as if it had never been there",
            case.what
        );

        // What was behind it is gone too, so that it can come again.
        let _ = host.virsh(&["attach-device", "demo", &file]).succeeds();
        let alias = format!("ua-{}", case.what);
        let _ = host
            .virsh(&["detach-device-alias", "demo", &alias])
            .succeeds();
        wait::until("it is out again", UNPLUG_TIMEOUT, || {
            !live().contains(case.mark)
        });
    }
    wait::until("all events are told", UNPLUG_TIMEOUT, || {
        let seen = std::fs::read_to_string(&told).expect("it is there");
        let times = |case: &Case| seen.matches(&format!("ua-{}", case.what)).count();
        cases.iter().all(|case| times(case) >= 2)
    });
    let _ = events.kill();
    let _ = events.wait();
    let seen = std::fs::read_to_string(&told).expect("it is there");
    for case in &cases {
        let told = seen.matches(&format!("ua-{}", case.what)).count();
        assert_eq!(told, 2, "{} left twice: {seen}", case.what);
    }
    // It lives, and what it had from the start works on.
    assert_eq!(in_guest(&host, "echo $((6 * 7))"), "42");
}

#[test]
fn a_guest_that_keeps_a_device_holds_nobody_up() {
    let host = Host::start();
    // Firmware alone never lets go.
    let xml = guest::bare_machine("bare").replace(
        "<devices>",
        "<features><acpi/></features><devices><interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='virtio'/></interface>",
    );
    host.define(&xml);
    let _ = host.virsh(&["start", "bare"]).succeeds();
    for _ in 0..2 {
        let begin = std::time::Instant::now();
        let _ = host.virsh(&["detach-interface", "bare", "user"]).succeeds();
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        let live = host.virsh(&["dumpxml", "bare"]).succeeds();
        assert!(live.contains("52:54:00:aa:bb:cc"), "it is still there");
    }
    let _ = host.virsh(&["destroy", "bare"]).succeeds();
    let kept = host.virsh(&["dumpxml", "bare"]).succeeds();
    assert!(
        kept.contains("52:54:00:aa:bb:cc"),
        "the definition keeps it"
    );
}

#[test]
fn a_guest_is_asked_for_another_part_of_its_memory() {
    let host = Host::start();
    let module = "<memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node>
        <block unit='MiB'>2</block><requested unit='MiB'>16</requested></target></memory>";
    let xml = guest::bare_machine("web1")
        .replace(
            "<vcpu>1</vcpu>",
            "<vcpu>1</vcpu><maxMemory slots='2' unit='GiB'>1</maxMemory>
             <cpu mode='custom'><model>qemu64</model>
             <numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>",
        )
        .replace("<devices>", &format!("<devices>{module}"));
    host.define(&xml);
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let requested = || {
        let command = r#"{"execute":"qom-get","arguments":{"path":"/machine/peripheral/virtiomem0","property":"requested-size"}}"#;
        host.virsh(&["qemu-monitor-command", "web1", command])
            .succeeds()
    };
    assert!(requested().contains(&(16_u64 << 20).to_string()));
    for (command, size) in [
        (Host::virsh as fn(&Host, &[&str]) -> _, 64_u64),
        (Host::stead, 32),
    ] {
        let text = format!("{size}M");
        let words = [
            "update-memory-device",
            "web1",
            "--node",
            "0",
            "--requested-size",
            &text,
        ];
        let shown = command(&host, &[&words[..], &["--print-xml"]].concat()).succeeds();
        let kib = size << 10;
        assert!(
            shown.contains(&format!("<requested unit=\"KiB\">{kib}</requested>")),
            "{shown}"
        );
        for end in ["--live", "--config"] {
            let _ = command(&host, &[&words[..], &[end]].concat()).succeeds();
        }
        assert!(requested().contains(&(size << 20).to_string()));
        for part in [&[][..], &["--inactive"]] {
            let shown = host
                .virsh(&[&["dumpxml", "web1"], part].concat())
                .succeeds();
            let line = format!("<requested unit='KiB'>{kib}</requested>");
            assert!(shown.contains(&line), "{shown}");
        }
    }
    let refused = |size: &str, words: &str| {
        let all = [
            "update-memory-device",
            "web1",
            "--alias",
            "virtiomem0",
            "--requested-size",
            size,
        ];
        let refused = host.virsh(&all).fails();
        assert!(refused.contains(words), "{refused}");
    };
    refused(
        "1M",
        "requested size must be an integer multiple of block size",
    );
    refused(
        "1G",
        "requested size must be smaller than or equal to @size",
    );
    assert!(requested().contains(&(32_u64 << 20).to_string()));
}

#[test]
fn a_disk_can_be_a_file_that_only_a_client_can_open() {
    let host = Host::start();
    let image = host.file("image.raw", &"\0".repeat(1 << 20));
    let disk = "<disk type='file' device='disk'><driver name='qemu' type='raw'/>
        <source file='/not/to/be/opened' fdgroup='mine'/><target dev='vda' bus='virtio'/></disk>";
    host.define(&guest::bare_machine("web1").replace("<devices>", &format!("<devices>{disk}")));
    let told = host
        .python("fd_groups.py", &["web1", "mine", &image])
        .succeeds();
    let none = "refused: 8 invalid argument: file descriptor group 'mine' was not associated \
                with the domain";
    assert_eq!(
        told,
        format!("{none}\nstarted\nopen in QEMU: True\n{none}\n")
    );
    // virsh gives its own descriptors, by number, and so does stead; the group is gone with them.
    let uri = host.uri();
    let stead = stead_tests::host::binary().display().to_string();
    let machine = guest::bare_machine("web2");
    let locked = disk.replace("<target", "<readonly/><target");
    host.define(&machine.replace("<devices>", &format!("<devices>{locked}")));
    for (program, name, locked) in [
        ("virsh", "web1", false),
        ("virsh", "web2", true),
        (&stead, "web1", false),
        (&stead, "web2", true),
    ] {
        let other = host.file(&format!("{name}.raw"), &"\0".repeat(1 << 20));
        let script = format!(
            "exec 7<>{other}; {program} -c '{uri}' 'dom-fd-associate {name} mine 7; start {name}; \
             qemu-monitor-command {name} --hmp \"info block\"; destroy {name}'"
        );
        let shown = stead_tests::clients::run("sh", &["-c", &script], &[]).succeeds();
        assert!(shown.contains("/dev/fdset/"), "{shown}");
        assert_eq!(shown.contains("read-only"), locked, "{shown}");
    }
    let given = host
        .stead(&["dom-fd-associate", "web1", "mine", "123"])
        .fails();
    assert!(
        given.contains("descriptor 123") && given.contains("exec 123<>FILE"),
        "{given}"
    );
    let _ = host.stead(&["start", "web1"]).fails();
    let plain = guest::bare_machine("plain");
    host.define(&plain);
    let command = r#"{"execute":"getfd","arguments":{"fdname":"mine"}}"#;
    let script = format!(
        "exec 7<>{image}; {stead} -c '{uri}' start plain >/dev/null; \
         {stead} -c '{uri}' qemu-monitor-command plain --pass-fds 7 '{command}'; \
         {stead} -c '{uri}' destroy plain >/dev/null; \
         {stead} -c '{uri}' start plain --pass-fds 7 2>&1"
    );
    let said = stead_tests::clients::run("sh", &["-c", &script], &[]);
    assert!(said.stdout.contains(r#"{"return":{}}"#), "{said:?}");
    // As with libvirt: QEMU has no place for descriptors that belong to nothing.
    assert!(
        said.stdout
            .contains("not supported by the connection driver: virDomainCreateWithFiles"),
        "{said:?}"
    );
    let _ = host.stead(&["start", "plain"]).succeeds();
    let live = host.file(
        "disk.xml",
        &disk.replace("vda", "vdb").replace("mine", "other"),
    );
    let refused = host
        .virsh(&["attach-device", "plain", &live, "--live"])
        .fails();
    assert!(
        refused.contains("group 'other' cannot be used by a machine that runs already"),
        "{refused}"
    );
}

#[test]
fn a_disk_keeps_its_own_file_whatever_a_later_daemon_plugs_in() {
    let mut host = Host::start();
    let machine = guest::bare_machine("web1");
    host.define(&machine.replace("<devices>", "<features><acpi/></features><devices>"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let attach = |host: &Host, target: &str| {
        let image = host.file(&format!("{target}.raw"), &"\0".repeat(1 << 20));
        let xml = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{image}'/>\
             <target dev='{target}' bus='virtio'/></disk>"
        );
        let file = host.file("disk.xml", &xml);
        let _ = host.virsh(&["attach-device", "web1", &file]).succeeds();
        image
    };
    let first = attach(&host, "vda");
    let _ = host.stop_daemon();
    host.start_daemon();
    let second = attach(&host, "vdb");
    // QEMU opens the first one's file once more: it may only be read from now on.
    let overlay = host.folder().join("overlay.qcow2");
    let spec = format!("vda,file={}", overlay.display());
    let words = ["snapshot-create-as", "web1", "--disk-only", "--no-metadata"];
    let others = ["--diskspec", &spec, "--diskspec", "vdb,snapshot=no"];
    let _ = host.virsh(&[&words[..], &others].concat()).succeeds();
    let write =
        "qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend \"write -P 0x7a 0 4096\"";
    let _ = host
        .virsh(&["qemu-monitor-command", "web1", "--hmp", write])
        .succeeds();
    let commit = [
        "blockcommit",
        "web1",
        "vda",
        "--active",
        "--pivot",
        "--wait",
    ];
    let _ = host.virsh(&commit).succeeds();
    let begins_with = |path: &str, byte: u8| {
        let image = std::fs::read(path).expect("an image");
        image[..4096].iter().all(|found| *found == byte)
    };
    assert!(begins_with(&first, 0x7a) && begins_with(&second, 0));
}
