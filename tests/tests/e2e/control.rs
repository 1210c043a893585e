//! What can be done to a machine besides starting and stopping it.

use std::fs;
use std::time::Duration;

use stead_tests::{Host, guest, wait};

const BOOT_TIMEOUT: Duration = Duration::from_secs(60);
const OFF_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the small guest after `change` had its way with the definition; waits for its shell.
fn boot(host: &Host, name: &str, change: impl FnOnce(String) -> String) {
    host.guest_file("vmlinuz");
    host.guest_file("initrd");
    host.define(&change(guest::small_guest(name, host.folder())));
    let _ = host.virsh(&["start", name]).succeeds();
    let _ = host.python("console.py", &[name, "true"]).succeeds();
}

#[test]
fn keys_reach_the_guest() {
    let host = Host::start();
    boot(&host, "demo", |xml| xml);
    for letter in "poweroff".chars() {
        let key = format!("KEY_{}", letter.to_ascii_uppercase());
        let _ = host.virsh(&["send-key", "demo", &key]).succeeds();
    }
    let _ = host.virsh(&["send-key", "demo", "KEY_ENTER"]).succeeds();
    host.wait_for_state("demo", "shut off", OFF_TIMEOUT);
}

#[test]
fn a_screenshot_is_a_picture() {
    let host = Host::start();
    let xml = guest::bare_machine("web1").replace(
        "<devices>",
        "<devices><graphics type='vnc' port='-1' autoport='yes'/><video><model type='vga'/></video>",
    );
    host.define(&xml);
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let file = host.folder().join("screen");
    let _ = host
        .virsh(&["screenshot", "web1", &file.to_string_lossy()])
        .succeeds();
    let picture = fs::read(&file).expect("virsh wrote it");
    assert!(
        picture.starts_with(b"P6\n") || picture.starts_with(b"\x89PNG"),
        "{:?}",
        &picture[..8]
    );
    assert!(
        host.virsh(&["vncdisplay", "web1"])
            .succeeds()
            .starts_with("127.0.0.1:")
    );
}

#[test]
fn a_machine_saved_to_a_file_is_restored_from_it() {
    let host = Host::start();
    boot(&host, "demo", |xml| xml);
    let _ = host
        .python("console.py", &["demo", "touch /run/before"])
        .succeeds();
    let file = host.folder().join("state");
    let file = file.to_string_lossy();
    let _ = host.virsh(&["save", "demo", &file]).succeeds();
    assert_eq!(host.state("demo"), "shut off");
    let _ = host.virsh(&["restore", &file]).succeeds();
    let found = host
        .python("console.py", &["demo", "ls /run/before"])
        .succeeds();
    assert_eq!(found.trim(), "/run/before");
}

#[test]
fn what_the_guest_does_leads_to_what_the_definition_says() {
    let host = Host::start();
    boot(&host, "restarts", |xml| {
        xml.replace("<devices>", "<on_reboot>destroy</on_reboot><devices>")
    });
    let _ = host
        .virsh(&["reboot", "restarts", "--mode", "agent"])
        .succeeds();
    host.wait_for_state("restarts", "shut off", OFF_TIMEOUT);

    boot(&host, "panics", |xml| {
        xml.replace(
            "<devices>",
            "<on_crash>destroy</on_crash><devices><panic model='isa'/>",
        )
    });
    // The console ends with the machine, so this client may fail.
    host.python("console.py", &["panics", "echo c > /proc/sysrq-trigger"]);
    wait::until("the crash", OFF_TIMEOUT, || {
        host.virsh(&["domstate", "panics", "--reason"])
            .succeeds()
            .contains("crashed")
    });
    assert_eq!(host.qemus(), Vec::<u32>::new());
}

#[test]
fn names_titles_and_metadata_can_be_changed() {
    let host = Host::start();
    host.define(&guest::bare_machine("old"));
    let _ = host.virsh(&["domrename", "old", "new"]).succeeds();
    let _ = host.virsh(&["dominfo", "old"]).fails();
    let _ = host
        .virsh(&["desc", "new", "--config", "--title", "the web server"])
        .succeeds();
    let _ = host
        .virsh(&["desc", "new", "--config", "first line\nsecond line"])
        .succeeds();
    let set = [
        "metadata",
        "new",
        "urn:stead:test",
        "--config",
        "--key",
        "t",
        "--set",
        "<owner name='me'/>",
    ];
    let _ = host.virsh(&set).succeeds();

    assert_eq!(
        host.virsh(&["desc", "new", "--title"]).succeeds().trim(),
        "the web server"
    );
    assert_eq!(
        host.virsh(&["desc", "new"]).succeeds().trim(),
        "first line\nsecond line"
    );
    let got = host
        .virsh(&["metadata", "new", "urn:stead:test", "--config"])
        .succeeds();
    assert!(got.contains("owner") && got.contains("me"), "{got}");
    assert!(
        host.virsh(&["list", "--all", "--title"])
            .succeeds()
            .contains("the web server")
    );
}

#[test]
fn a_running_machine_turns_transient_and_persistent() {
    let host = Host::start();
    host.define(&guest::bare_machine("web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let persistent = |host: &Host| {
        host.virsh(&["dominfo", "web1"])
            .succeeds()
            .contains("Persistent:     yes")
    };
    assert!(persistent(&host));
    let xml = host.virsh(&["dumpxml", "web1", "--inactive"]).succeeds();
    let _ = host.virsh(&["undefine", "web1"]).succeeds();
    assert_eq!(host.state("web1"), "running");
    assert!(!persistent(&host));
    host.define(&xml);
    assert!(persistent(&host));
    let _ = host.virsh(&["destroy", "web1"]).succeeds();
    assert_eq!(host.state("web1"), "shut off");
}

#[test]
fn a_machine_of_a_client_ends_with_it() {
    let host = Host::start();
    let path = host.file("m.xml", &guest::bare_machine("passing"));
    // virsh ends after the command, and with it the connection.
    let _ = host.virsh(&["create", &path, "--autodestroy"]).succeeds();
    wait::until("the end of the machine", OFF_TIMEOUT, || {
        host.virsh(&["list", "--all", "--name"])
            .succeeds()
            .trim()
            .is_empty()
            && host.qemus().is_empty()
    });
}

#[test]
fn a_marked_machine_starts_with_the_host() {
    let mut host = Host::start();
    for name in ["marked", "plain"] {
        host.define(&guest::bare_machine(name));
    }
    let _ = host.virsh(&["autostart", "marked"]).succeeds();
    host.stop_daemon();
    // What a boot of the host empties.
    fs::remove_dir_all(host.root().join("run")).expect("it is ours");
    host.start_daemon();
    host.wait_for_state("marked", "running", BOOT_TIMEOUT);
    assert_eq!(host.state("plain"), "shut off");
}

#[test]
fn the_host_is_described_as_it_is() {
    let host = Host::start();
    let cpus = std::thread::available_parallelism()
        .expect("the kernel knows")
        .get();
    let info = host.virsh(&["nodeinfo"]).succeeds();
    let field = |text: &str, name: &str| -> String {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("the field is there");
        line.trim().trim_start_matches(':').trim().to_owned()
    };
    assert_eq!(field(&info, "CPU(s):"), cpus.to_string());
    let nodes = fs::read_dir("/sys/devices/system/node")
        .expect("/sys is mounted")
        .flatten();
    let memory: u64 = nodes
        .filter_map(|node| fs::read_to_string(node.path().join("meminfo")).ok())
        .map(|text| {
            let total = text.split("MemTotal:").nth(1).expect("every node has it");
            total
                .split_whitespace()
                .next()
                .expect("a number")
                .parse::<u64>()
                .expect("a number")
        })
        .sum();
    assert_eq!(field(&info, "Memory size:"), format!("{memory} KiB"));

    assert!(
        host.virsh(&["version"])
            .succeeds()
            .contains("Running hypervisor: QEMU")
    );
    let capabilities = host.virsh(&["capabilities"]).succeeds();
    assert!(
        capabilities.contains("<arch name='x86_64'>"),
        "{capabilities}"
    );
    let domain = host
        .virsh(&["domcapabilities", "--virttype", "qemu"])
        .succeeds();
    assert!(domain.contains("<domain>qemu</domain>"), "{domain}");
    let sysinfo = host.virsh(&["sysinfo"]);
    if fs::exists("/sys/firmware/dmi/tables/DMI").is_ok_and(|found| found) {
        assert!(sysinfo.succeeds().contains("<sysinfo type='smbios'>"));
    } else {
        assert!(sysinfo.fails().contains("SMBIOS"));
    }
    for words in [
        &["nodecpustats"][..],
        &["nodememstats"],
        &["hostname"],
        &["uri"],
    ] {
        assert!(!host.virsh(words).succeeds().trim().is_empty(), "{words:?}");
    }
}

#[test]
fn an_emulated_tpm_lives_with_its_machine() {
    let mut host = Host::start();
    let xml = guest::bare_machine("vm").replace(
        "<devices>",
        "<devices><tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>",
    );
    host.define(&xml);
    let _ = host.virsh(&["start", "vm"]).succeeds();
    let state = host.root().join("tpm");
    assert_eq!(fs::read_dir(&state).expect("it is made").count(), 1);
    let tpm = host
        .virsh(&["qemu-monitor-command", "vm", r#"{"execute":"query-tpm"}"#])
        .succeeds();
    assert!(tpm.contains("tpm-tis") && tpm.contains("emulator"), "{tpm}");
    let emulators = host.tpm_emulators();
    assert_eq!(emulators.len(), 1, "{emulators:?}");
    let status = fs::read_to_string(format!("/proc/{}/status", emulators[0])).expect("it runs");
    let uid = status.lines().find(|line| line.starts_with("Uid:"));
    assert!(uid.is_some_and(|line| !line.contains("\t0\t")), "{uid:?}");

    host.kill_daemon();
    host.start_daemon();
    assert_eq!(host.tpm_emulators(), emulators, "it outlives the daemon");
    let _ = host.virsh(&["destroy", "vm"]).succeeds();
    wait::until("the emulator's end", OFF_TIMEOUT, || {
        host.tpm_emulators().is_empty()
    });
    let _ = host.virsh(&["start", "vm"]).succeeds();
    let _ = host.virsh(&["destroy", "vm"]).succeeds();
    let _ = host.virsh(&["undefine", "vm"]).succeeds();
    assert_eq!(fs::read_dir(&state).expect("it is there").count(), 0);
}
