//! The life of machines that run a real system.

use std::time::Duration;

use stead_tests::{Host, guest, host, wait};

const BOOT_TIMEOUT: Duration = Duration::from_secs(60);
const OFF_TIMEOUT: Duration = Duration::from_secs(30);

/// A host on which the small guest has booted and its agent answers.
fn host_with_guest(name: &str) -> Host {
    let host = Host::start();
    host.define_small_guest(name);
    let _ = host.virsh(&["start", name]).succeeds();
    wait::until("the guest agent", BOOT_TIMEOUT, || {
        host.virsh(&["qemu-agent-command", name, r#"{"execute":"guest-ping"}"#])
            .status
            == 0
    });
    host
}

#[test]
fn a_guest_boots_and_root_works_on_its_console() {
    let host = Host::start();
    host.define_small_guest("demo");
    let _ = host.virsh(&["start", "demo"]).succeeds();
    let answer = host
        .python(
            "console.py",
            &["demo", "echo $(hostname) $((6 * 7)); id -u"],
        )
        .succeeds();
    assert_eq!(answer.trim(), "demo 42\n0");
}

#[test]
fn the_agent_reports_the_guest_and_shuts_it_down() {
    let host = host_with_guest("demo");
    let addresses = host
        .virsh(&["domifaddr", "demo", "--source", "agent"])
        .succeeds();
    assert!(addresses.contains("10.0.2.15"), "{addresses}");
    // Without a source too: on QEMU's own network the guest is who knows.
    let leases = host.virsh(&["domifaddr", "demo"]).succeeds();
    assert!(leases.contains("10.0.2.15"), "{leases}");
    assert!(
        host.virsh(&["domhostname", "demo", "--source", "agent"])
            .succeeds()
            .contains("demo")
    );

    let _ = host
        .virsh(&["shutdown", "demo", "--mode", "agent"])
        .succeeds();
    host.wait_for_state("demo", "shut off", OFF_TIMEOUT);
    assert_eq!(host.qemus(), Vec::<u32>::new());
}

#[test]
fn the_power_button_shuts_a_guest_down() {
    let host = host_with_guest("demo");
    let _ = host
        .virsh(&["shutdown", "demo", "--mode", "acpi"])
        .succeeds();
    host.wait_for_state("demo", "shut off", OFF_TIMEOUT);
    assert!(
        host.virsh(&["domstate", "demo", "--reason"])
            .succeeds()
            .contains("shutdown")
    );
}

#[test]
fn a_guest_that_restarts_keeps_its_process() {
    let host = host_with_guest("demo");
    let process = host.qemu_of("demo");
    // The kernel draws a new one at each boot. While the guest restarts there is no answer.
    let boot = || {
        let ran = host.python(
            "console.py",
            &["demo", "cat /proc/sys/kernel/random/boot_id"],
        );
        (ran.status == 0).then_some(ran.stdout)
    };
    let mut last = boot().expect("a shell is there");
    for words in [
        &["reboot", "demo", "--mode", "agent"][..],
        &["reset", "demo"],
    ] {
        let _ = host.virsh(words).succeeds();
        let next = wait::for_value("another boot", BOOT_TIMEOUT, || {
            boot().filter(|id| *id != last)
        });
        last = next;
    }
    assert_eq!(host.qemu_of("demo"), process);
}

#[test]
fn a_saved_guest_goes_on_where_it_was() {
    let host = host_with_guest("demo");
    let _ = host
        .python("console.py", &["demo", "touch /run/before"])
        .succeeds();
    let _ = host.virsh(&["managedsave", "demo"]).succeeds();
    assert_eq!(host.state("demo"), "shut off");
    assert_eq!(host.qemus(), Vec::<u32>::new());
    let _ = host.virsh(&["start", "demo"]).succeeds();
    assert_eq!(
        host.python("console.py", &["demo", "ls /run/before"])
            .succeeds()
            .trim(),
        "/run/before"
    );
}

#[test]
fn suspend_resume_and_destroy_are_seen_at_once() {
    let host = Host::start();
    host.define(&guest::bare_machine("web1"));
    let _ = host.virsh(&["start", "web1", "--paused"]).succeeds();
    assert_eq!(host.state("web1"), "paused");
    let _ = host.virsh(&["resume", "web1"]).succeeds();
    assert_eq!(host.state("web1"), "running");
    let _ = host.virsh(&["suspend", "web1"]).succeeds();
    assert_eq!(host.state("web1"), "paused");
    let pid = host.qemu_of("web1");
    let _ = host.virsh(&["destroy", "web1"]).succeeds();
    assert_eq!(host.state("web1"), "shut off");
    assert!(
        !host::is_alive(pid),
        "destroy returns when the process is gone"
    );
}

#[test]
fn a_transient_machine_is_gone_when_it_stops() {
    let host = Host::start();
    let path = host.file("m.xml", &guest::bare_machine("passing"));
    let _ = host.virsh(&["create", &path]).succeeds();
    assert!(
        host.virsh(&["dominfo", "passing"])
            .succeeds()
            .contains("Persistent:     no")
    );
    let _ = host.virsh(&["destroy", "passing"]).succeeds();
    let _ = host.virsh(&["dominfo", "passing"]).fails();
}

#[test]
fn qemu_runs_without_privilege_in_a_sandbox() {
    let host = Host::start();
    host.define(&guest::bare_machine("web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let pid = host.qemu_of("web1");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let field = |name: &str| -> Vec<&str> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("every kernel has it");
        line.split_whitespace().collect()
    };
    assert!(
        field("Uid:").iter().all(|id| *id != "0"),
        "{:?}",
        field("Uid:")
    );
    assert!(
        field("CapEff:")
            .iter()
            .all(|set| set.chars().all(|digit| digit == '0')),
        "{:?}",
        field("CapEff:")
    );
    assert_eq!(field("Seccomp:"), ["2"], "a system call filter is on");
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    assert!(
        groups.contains("web1"),
        "in a control group of its own: {groups}"
    );
}
