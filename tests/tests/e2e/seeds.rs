//! What a machine is told at its first boot, read by a real guest.

use std::time::Duration;

use stead_tests::Host;
use stead_tests::clients::virt_install;

/// What a guest prints for a line of its shell.
fn shell(host: &Host, machine: &str, line: &str) -> String {
    host.python("console.py", &[machine, line]).succeeds()
}

/// The label by which cloud-init finds the seed, and every file of it.
const READ: &str = "mkdir -p /mnt; mount -t iso9660 -o ro /dev/vdb /mnt; \
                    dd if=/dev/vdb bs=1 skip=32808 count=6 2>/dev/null; \
                    cat /mnt/meta-data /mnt/user-data /mnt/network-config; umount /mnt";

#[test]
fn a_guest_reads_what_it_was_told() {
    let host = Host::start();
    let disk = host.guest_file("disk.qcow2");
    let _ = host
        .stead(&["image", "import", &disk, "--name", "guest"])
        .succeeds();
    let key = host.file("key.pub", "ssh-ed25519 AAAA test@host\n");
    let words = [
        "create",
        "web1",
        "--image",
        "guest",
        "--network",
        "user",
        "--ram",
        "160",
        "--user",
        "ann",
        "--password",
        "s3cret",
        "--ssh-key",
        &key,
        "--packages",
        "htop",
        "--ip",
        "192.168.7.5/24",
        "--gateway",
        "192.168.7.1",
    ];
    let _ = host.stead(&words).succeeds();
    let said = shell(&host, "web1", READ);
    for part in [
        "cidata",
        "\"local-hostname\": \"web1\"",
        "\"instance-id\"",
        "#cloud-config",
        "ssh-ed25519 AAAA test@host",
        "htop",
        "192.168.7.5/24",
        "192.168.7.1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("s3cret"), "{said}");

    // A clone is told the same under another name, and looks for its address itself.
    let _ = host.virsh(&["destroy", "web1"]).succeeds();
    host.wait_for_state("web1", "shut off", Duration::from_secs(10));
    let _ = host.stead(&["template", "web1"]).succeeds();
    let _ = host.stead(&["clone", "web1", "web2", "--start"]).succeeds();
    let clone = shell(&host, "web2", READ);
    assert!(
        clone.contains("\"local-hostname\": \"web2\"") && clone.contains("test@host"),
        "{clone}"
    );
    assert!(!clone.contains("192.168.7.5"), "{clone}");
    let id = |text: &str| {
        let at = text.find("\"instance-id\": \"").expect("it has one");
        text[at + 16..at + 50].to_owned()
    };
    assert_ne!(id(&said), id(&clone));
}

#[test]
fn virt_install_tells_a_guest_in_its_own_way() {
    let host = Host::start();
    let disk = host.guest_file("disk.qcow2");
    let words = [
        "--import",
        "--disk",
        &disk,
        "--cloud-init",
        "root-password-generate=off,disable=on",
        "--wait",
        "0",
    ];
    let ran = virt_install(&host, "told", &words);
    let _ = ran.succeeds();
    let xml = host.virsh(&["dumpxml", "told"]).succeeds();
    assert!(xml.contains("cloudinit.iso"), "{xml}");
    let read = "mkdir -p /mnt; mount -t iso9660 -o ro /dev/sr0 /mnt; ls /mnt";
    let said = shell(&host, "told", read);
    assert!(
        said.contains("meta-data") && said.contains("user-data"),
        "{said}"
    );
}
