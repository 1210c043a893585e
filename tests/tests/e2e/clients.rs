//! Unmodified client programs: virsh, virt-install, virt-clone, python3-libvirt.

use stead_tests::{Host, clients, guest};

#[test]
fn virsh_defines_lists_shows_and_undefines() {
    let host = Host::start();
    host.define(&guest::bare_machine("web1"));

    let list = host.virsh(&["list", "--all"]).succeeds();
    assert!(list.contains("web1") && list.contains("shut off"), "{list}");
    assert_eq!(
        host.virsh(&["list", "--name"]).succeeds().trim(),
        "",
        "nothing runs"
    );

    let xml = host.virsh(&["dumpxml", "web1"]).succeeds();
    assert!(
        xml.starts_with("<domain type='qemu'>\n  <name>web1</name>\n"),
        "{xml}"
    );
    let again = host.file("again.xml", &xml);
    let _ = host.virsh(&["define", &again]).succeeds();
    assert_eq!(
        host.virsh(&["dumpxml", "web1"]).succeeds(),
        xml,
        "a definition read back changes nothing"
    );

    let _ = host.virsh(&["undefine", "web1"]).succeeds();
    let error = host.virsh(&["dominfo", "web1"]).fails();
    assert!(error.contains("failed to get domain 'web1'"), "{error}");
}

#[test]
fn stead_says_what_virsh_says() {
    let host = Host::start();
    host.define(&guest::bare_machine("web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    for words in [
        &["list", "--all"][..],
        &["list", "--all", "--name"],
        &["domstate", "web1", "--reason"],
        &["domid", "web1"],
        &["domuuid", "web1"],
        &["dumpxml", "web1", "--inactive"],
        &["dumpxml", "web1"],
        &["vcpucount", "web1"],
        &["hostname"],
    ] {
        let (virsh, stead) = (host.virsh(words), host.stead(words));
        assert_eq!(
            stead.stdout, virsh.stdout,
            "{words:?}: stead said {stead:?}"
        );
        assert_eq!(stead.status, virsh.status, "{words:?}");
    }
    let (virsh, stead) = (
        host.virsh(&["start", "web1"]),
        host.stead(&["start", "web1"]),
    );
    assert_eq!((stead.status, &stead.stderr), (virsh.status, &virsh.stderr));
}

#[test]
fn python_sees_events_of_another_connection() {
    let host = Host::start();
    host.define(&guest::bare_machine("watched"));
    let seen = host.python("events.py", &["watched"]).succeeds();
    let steps: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    // A start lets the processors run, which may be told as well: before or after the start itself.
    let suspended = steps
        .iter()
        .position(|step| *step == "suspended")
        .unwrap_or(steps.len());
    let (starting, rest) = steps.split_at(suspended);
    let starting: Vec<&&str> = starting.iter().filter(|step| **step != "resumed").collect();
    assert_eq!(starting, [&"started"], "{seen}");
    // libvirtd also tells that QEMU was asked to end.
    let rest: Vec<&&str> = rest.iter().filter(|step| **step != "shutdown").collect();
    assert_eq!(
        rest,
        [&"suspended", &"resumed", &"stopped", &"undefined"],
        "{seen}"
    );
}

#[test]
fn virt_install_imports_a_disk_and_boots_it() {
    let host = Host::start();
    let disk = host.guest_file("disk.qcow2");
    let _ = clients::virt_install(&host, "imported", &["--import", "--disk", &disk]).succeeds();
    assert_eq!(host.state("imported"), "running");
    let answer = host
        .python("console.py", &["imported", "echo the disk of $(hostname)"])
        .succeeds();
    assert_eq!(answer.trim(), "the disk of guest");
}

#[test]
fn virt_clone_copies_a_machine_with_its_disk() {
    let host = Host::start();
    let disk = host.guest_file("disk.qcow2");
    let xml = guest::bare_machine("first").replace(
        "<devices>",
        &format!("<devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"),
    );
    host.define(&xml);
    let uri = host.uri();
    let home = host.folder().to_string_lossy().into_owned();
    let copy = format!("{home}/second.qcow2");
    let words = [
        "--connect",
        &uri,
        "--original",
        "first",
        "--name",
        "second",
        "--file",
        &copy,
    ];
    let _ = clients::run("virt-clone", &words, &[("HOME", &home)]).succeeds();
    let clone = host.virsh(&["dumpxml", "second"]).succeeds();
    assert!(clone.contains(&copy) && !clone.contains(&disk), "{clone}");
    assert!(
        std::fs::metadata(&copy).is_ok_and(|file| file.len() > 0),
        "the disk was copied"
    );
}
