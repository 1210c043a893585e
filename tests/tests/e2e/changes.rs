//! Changes of running machines and of saved ones: processors, I/O threads, what follows from an
//! end, definitions inside saved states.

use std::fs;
use std::time::Duration;

use stead_tests::{Host, guest, wait};

const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

/// A machine with a raw disk and room for a second processor.
fn machine(host: &Host, name: &str) -> String {
    let disk = host.file("disk.img", &format!("first{}", "\0".repeat(1 << 20)));
    guest::bare_machine(name)
        .replace("<vcpu>1</vcpu>", "<vcpu current='1'>2</vcpu><iothreads>1</iothreads>")
        .replace(
            "<devices>",
            &format!(
                "<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>
                 <target dev='vda' bus='virtio'/></disk>"
            ),
        )
}

#[test]
fn processors_and_threads_come_and_go_while_a_machine_runs() {
    let mut host = Host::start();
    host.define(&machine(&host, "web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let cpus = |host: &Host| {
        let asked = [
            "qemu-monitor-command",
            "web1",
            r#"{"execute":"query-cpus-fast"}"#,
        ];
        host.virsh(&asked)
            .succeeds()
            .matches("thread-id\":")
            .count()
            / 2
    };
    assert_eq!(cpus(&host), 1);
    let _ = host.stead(&["setvcpus", "web1", "2"]).succeeds();
    assert_eq!(cpus(&host), 2);
    assert!(
        host.virsh(&["setvcpus", "web1", "3"])
            .fails()
            .contains("live domain: 3 > 2")
    );
    assert!(
        host.virsh(&["setvcpu", "web1", "0", "--disable"])
            .fails()
            .contains("can't be unplugged")
    );
    // The guest's system would have to let go of one; there is none.
    let _ = host.virsh(&["setvcpu", "web1", "1", "--disable"]).fails();
    assert_eq!(cpus(&host), 2);

    let _ = host.stead(&["iothreadadd", "web1", "7"]).succeeds();
    assert!(
        host.virsh(&["iothreadadd", "web1", "7"])
            .fails()
            .contains("already using iothread_id '7'")
    );
    let _ = host
        .stead(&["iothreadset", "web1", "7", "--poll-max-ns", "5000"])
        .succeeds();
    let asked = [
        "qemu-monitor-command",
        "web1",
        r#"{"execute":"query-iothreads"}"#,
    ];
    assert!(
        host.virsh(&asked)
            .succeeds()
            .contains(r#""poll-max-ns":5000"#)
    );

    host.kill_daemon();
    host.start_daemon();
    assert_eq!(
        host.virsh(&["vcpucount", "web1", "--live", "--active"])
            .succeeds()
            .trim(),
        "2"
    );
    let _ = host.virsh(&["iothreaddel", "web1", "7"]).succeeds();
    assert!(!host.virsh(&asked).succeeds().contains("iothread7"));

    // A state saved with a processor that came later is restored with it.
    let _ = host.virsh(&["managedsave", "web1"]).succeeds();
    let _ = host.virsh(&["start", "web1"]).succeeds();
    assert_eq!(cpus(&host), 2);
    let stored = host
        .virsh(&["vcpucount", "web1", "--config", "--active"])
        .succeeds();
    assert_eq!(stored.trim(), "1");
}

#[test]
fn what_follows_from_an_end_is_changed_at_once() {
    let host = Host::start();
    host.define(&machine(&host, "web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let refused = host
        .virsh(&["set-lifecycle-action", "web1", "reboot", "preserve"])
        .fails();
    assert!(
        refused.contains("doesn't support the 'preserve' action"),
        "{refused}"
    );
    let _ = host
        .stead(&["set-lifecycle-action", "web1", "reboot", "destroy"])
        .succeeds();
    assert!(
        host.virsh(&["dumpxml", "web1"])
            .succeeds()
            .contains("<on_reboot>destroy</on_reboot>")
    );
    assert!(
        !host
            .virsh(&["dumpxml", "web1", "--inactive"])
            .succeeds()
            .contains("<on_reboot>destroy</on_reboot>")
    );
    let _ = host.virsh(&["reset", "web1"]).succeeds();
    host.wait_for_state("web1", "shut off", EVENT_TIMEOUT);
}

#[test]
fn the_definition_inside_a_saved_state_is_shown_and_changed() {
    let host = Host::start();
    host.define(&machine(&host, "web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let missing = host.virsh(&["managedsave-dumpxml", "web1"]).fails();
    assert!(
        missing.contains("does not have managed save image"),
        "{missing}"
    );
    let _ = host.virsh(&["managedsave", "web1"]).succeeds();
    let xml = host.stead(&["managedsave-dumpxml", "web1"]).succeeds();
    let changed = host.file(
        "changed.xml",
        &xml.replace("</name>", "</name><title>saved and changed</title>"),
    );
    let _ = host
        .virsh(&["managedsave-define", "web1", &changed, "--paused"])
        .succeeds();
    let _ = host.virsh(&["start", "web1"]).succeeds();
    assert_eq!(host.state("web1"), "paused");
    assert!(
        host.virsh(&["dumpxml", "web1"])
            .succeeds()
            .contains("<title>saved and changed</title>")
    );

    let file = host.folder().join("state").to_string_lossy().into_owned();
    let _ = host.virsh(&["save", "web1", &file]).succeeds();
    let other = host.file(
        "other.xml",
        &xml.replace("<name>web1</name>", "<name>other</name>"),
    );
    let refused = host.virsh(&["save-image-define", &file, &other]).fails();
    assert!(
        refused.contains("does not match source 'web1'"),
        "{refused}"
    );
    let _ = host
        .stead(&["save-image-define", &file, &changed, "--running"])
        .succeeds();
    assert!(
        host.virsh(&["save-image-dumpxml", &file])
            .succeeds()
            .contains("saved and changed")
    );
    let _ = host.virsh(&["restore", &file]).succeeds();
    assert_eq!(host.state("web1"), "running");
    let no_directory = host.virsh(&["dump", "web1", "/nowhere/at/all"]).fails();
    assert!(
        no_directory.contains("'/nowhere/at/all': No such file or directory; check"),
        "{no_directory}"
    );
}

#[test]
fn memory_disks_and_thresholds_are_looked_at() {
    let host = Host::start();
    host.define(&machine(&host, "web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let seen = host.python("look.py", &["web1"]).succeeds();
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        ["disk first", "memory 16", "labels []", "no disk, no peek"]
    );
    let _ = host
        .stead(&["domblkthreshold", "web1", "vda", "5M"])
        .succeeds();
    assert!(
        host.virsh(&["domblkthreshold", "web1", "vdz", "5M"])
            .fails()
            .contains("failed to find disk 'vdz'")
    );
    let _ = host
        .stead(&["domdirtyrate-calc", "web1", "--seconds", "1"])
        .succeeds();
    wait::until("the measurement", EVENT_TIMEOUT, || {
        host.virsh(&["domstats", "web1", "--dirtyrate"])
            .succeeds()
            .contains("megabytes_per_second")
    });
    let gone = host
        .virsh(&["detach-device-alias", "web1", "nothing"])
        .fails();
    assert!(
        gone.contains("no device found with alias nothing"),
        "{gone}"
    );
    assert!(fs::metadata(host.root()).is_ok());
}
