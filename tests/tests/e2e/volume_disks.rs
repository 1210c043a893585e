//! Disks of machines that name a volume of a pool or a device of the host.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use stead_tests::{Host, clients, guest};

const VOLUME: &str = "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>\
                      <source pool='p' volume='NAME'/><target dev='TARGET' bus='virtio'/></disk>";

fn disk(name: &str, target: &str) -> String {
    VOLUME.replace("NAME", name).replace("TARGET", target)
}

/// A stored pool `p` with the volumes `a` and `b`.
fn pool(host: &Host) -> String {
    let target = host.folder().join("p").to_string_lossy().into_owned();
    let define = ["pool-define-as", "p", "dir", "--target", &target];
    let _ = host.virsh(&define).succeeds();
    let _ = host.virsh(&["pool-build", "p"]).succeeds();
    let _ = host.virsh(&["pool-start", "p"]).succeeds();
    for name in ["a", "b"] {
        let make = ["vol-create-as", "p", name, "8M", "--format", "qcow2"];
        let _ = host.virsh(&make).succeeds();
    }
    target
}

#[test]
fn a_machine_runs_on_volumes_and_its_definition_goes_on_to_name_them() {
    let mut host = Host::start();
    let target = pool(&host);
    let _ = host.virsh(&["pool-destroy", "p"]).succeeds();
    let xml = guest::bare_machine("vm").replace(
        "<devices>",
        &format!("<features><acpi/></features><devices>{}", disk("a", "vda")),
    );
    host.define(&xml);
    let error = host.virsh(&["start", "vm"]).fails();
    assert!(
        error.contains("storage pool 'p' containing volume 'a' is not active"),
        "{error}"
    );

    let _ = host.virsh(&["pool-start", "p"]).succeeds();
    let info = host.virsh(&["domblkinfo", "vm", "vda"]).succeeds();
    assert!(info.contains("8388608"), "{info}");
    let _ = host.virsh(&["start", "vm"]).succeeds();
    let list = host.virsh(&["domblklist", "vm"]).succeeds();
    assert!(list.contains(&format!("{target}/a")), "{list}");
    let info = host.virsh(&["domblkinfo", "vm", "vda"]).succeeds();
    assert!(info.contains("8388608"), "{info}");
    let error = host.virsh(&["vol-delete", "a", "p"]).fails();
    assert!(error.contains("'vm'"), "{error}");

    let file = host.file("disk.xml", &disk("b", "vdb"));
    let _ = host
        .virsh(&["attach-device", "vm", &file, "--persistent"])
        .succeeds();
    let missing = host.file("missing.xml", &disk("none", "vdc"));
    let error = host.virsh(&["attach-device", "vm", &missing]).fails();
    assert!(
        error.contains("no storage vol with matching name 'none'"),
        "{error}"
    );
    let stored = host.virsh(&["dumpxml", "vm", "--inactive"]).succeeds();
    for name in ["a", "b"] {
        assert!(
            stored.contains(&format!("<source pool='p' volume='{name}'/>")),
            "{stored}"
        );
    }

    // A daemon that comes back finds the machine's files though the pool is not in use.
    let _ = host.kill_daemon();
    host.start_daemon();
    let list = host.virsh(&["domblklist", "vm"]).succeeds();
    assert!(list.contains(&format!("{target}/b")), "{list}");
    let snapshot = [
        "snapshot-create-as",
        "vm",
        "s",
        "--disk-only",
        "--diskspec",
        "vdb,snapshot=no",
    ];
    let _ = host.virsh(&snapshot).succeeds();
    let stored = host.virsh(&["dumpxml", "vm", "--inactive"]).succeeds();
    assert!(
        stored.contains(&format!("<source file='{target}/a.s'/>")),
        "{stored}"
    );
    assert!(stored.contains("<source pool='p' volume='b'/>"), "{stored}");
    let _ = host.virsh(&["destroy", "vm"]).succeeds();
    let cold = [
        "snapshot-create-as",
        "vm",
        "cold",
        "--diskspec",
        "vda,snapshot=no",
    ];
    let _ = host.virsh(&cold).succeeds();
    let image = std::process::Command::new("qemu-img")
        .args(["snapshot", "-l", &format!("{target}/b")])
        .output()
        .expect("it is installed");
    assert!(String::from_utf8_lossy(&image.stdout).contains("cold"));
}

/// A loop device; it is taken away again.
pub(crate) struct Loop(pub String);

impl Loop {
    /// A device of so many bytes; none where the host has no such devices.
    pub(crate) fn of(host: &Host, bytes: u64) -> Option<Loop> {
        let file = host.file("device", "");
        fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|f| f.set_len(bytes))
            .expect("extended");
        let made = clients::run("losetup", &["--find", "--show", &file], &[]);
        if made.status != 0 {
            eprintln!("skipped: no loop device: {}", made.stderr);
            return None;
        }
        Some(Loop(made.stdout.trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn a_device_of_the_host_is_lent_to_the_machine_that_has_it_as_disk() {
    let host = Host::start();
    let Some(device) = Loop::of(&host, 4 << 20) else {
        return;
    };
    let before = fs::metadata(&device.0).expect("it is there");
    let owner = || fs::metadata(&device.0).map(|m| (m.uid(), m.gid())).ok();
    let disk = format!(
        "<disk type='block'><driver name='qemu' type='raw'/><source dev='{}'/>\
         <target dev='vda' bus='virtio'/></disk></devices>",
        device.0
    );
    host.define(&guest::bare_machine("m").replace("</devices>", &disk));
    let _ = host.virsh(&["start", "m"]).succeeds();
    let shown = host.virsh(&["domblkinfo", "m", "vda"]).succeeds();
    assert!(shown.contains("4194304"), "{shown}");
    let _ = host.virsh(&["destroy", "m"]).succeeds();
    assert_eq!(owner(), Some((before.uid(), before.gid())));
}
