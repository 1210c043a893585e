//! What a guest is asked through its agent, and its display and channels as descriptors and streams.

use std::time::Duration;

use stead_tests::{Host, guest, wait};

const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// A host on which the small guest has booted, with room for a second processor and a channel of its own.
fn booted() -> Host {
    let host = Host::start();
    host.guest_file("vmlinuz");
    host.guest_file("initrd");
    let xml = guest::small_guest("demo", host.folder())
        .replace("<vcpu>1</vcpu>", "<vcpu current='1'>2</vcpu>")
        .replace(
            "<devices>",
            "<pm><suspend-to-mem enabled='yes'/></pm><devices>",
        )
        .replace(
            "<memballoon",
            "<channel type='unix'><target type='virtio' name='org.example.0'/></channel>
             <graphics type='vnc'/><memballoon",
        );
    host.define(&xml);
    let _ = host.virsh(&["start", "demo"]).succeeds();
    wait_for_agent(&host, "demo");
    host
}

/// Waits until a guest's agent answers.
pub(crate) fn wait_for_agent(host: &Host, name: &str) {
    wait::until("the guest agent", BOOT_TIMEOUT, || {
        let ping = r#"{"execute":"guest-ping"}"#;
        host.virsh(&["qemu-agent-command", name, ping]).status == 0
    });
}

#[test]
fn the_agent_answers_for_its_guest() {
    let host = booted();
    let ask = |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        host.virsh(&words)
    };
    assert!(ask("domtime demo").succeeds().starts_with("Time: "));
    let info = ask("guestinfo demo").succeeds();
    assert!(info.contains("hostname            : demo"), "{info}");
    assert!(
        ask("domfsinfo demo")
            .succeeds()
            .contains("No filesystems are mounted")
    );
    assert!(
        ask("domfsfreeze demo")
            .succeeds()
            .contains("Froze 0 filesystem(s)")
    );
    assert!(
        ask("domfsthaw demo")
            .succeeds()
            .contains("Thawed 0 filesystem(s)")
    );

    // A processor that is plugged in is brought up, and down again, by the guest itself.
    let _ = ask("setvcpus demo 2 --live").succeeds();
    wait::until("the guest to see its processor", BOOT_TIMEOUT, || {
        ask("guestvcpus demo")
            .succeeds()
            .contains("vcpus          : 0-1")
    });
    let _ = ask("setvcpus demo 2 --guest").succeeds();
    assert!(
        ask("guestvcpus demo")
            .succeeds()
            .contains("online         : 0-1")
    );
    let _ = ask("guestvcpus demo --cpulist 1 --disable").succeeds();
    assert!(
        ask("guestvcpus demo")
            .succeeds()
            .contains("online         : 0\n")
    );

    let _ = host
        .python("console.py", &["demo", "mkdir -p /root/.ssh"])
        .succeeds();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEhb1H2p me@example";
    let file = host.file("key.pub", &format!("{key}\n"));
    let _ = ask(&format!("set-user-sshkeys demo root --file {file}")).succeeds();
    assert!(ask("get-user-sshkeys demo root").succeeds().contains(key));
    let _ = ask(&format!(
        "set-user-sshkeys demo root --remove --file {file}"
    ))
    .succeeds();
    assert!(!ask("get-user-sshkeys demo root").succeeds().contains(key));

    // What the guest cannot do, it says itself.
    let refused = ask("set-user-password demo root secret").fails();
    assert!(refused.contains("'guest-set-user-password': "), "{refused}");

    let _ = ask("dompmsuspend demo mem").succeeds();
    host.wait_for_state("demo", "pmsuspended", BOOT_TIMEOUT);
    let _ = ask("dompmwakeup demo").succeeds();
    host.wait_for_state("demo", "running", BOOT_TIMEOUT);
}

#[test]
fn displays_and_channels_are_handed_over() {
    let host = booted();
    let port = "/dev/virtio-ports/org.example.0";
    let echo = format!(
        // A port that nobody is at yet reads as if it had ended.
        "(until read words < {port}; do sleep 1; done; echo heard $words > {port}) & true"
    );
    let _ = host.python("console.py", &["demo", &echo]).succeeds();
    let said = host
        .python("descriptors.py", &["demo", "org.example.0"])
        .succeeds();
    assert!(
        said.contains("the guest answered: heard words for the guest"),
        "{said}"
    );
}
