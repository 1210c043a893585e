//! virt-manager, unmodified, on a display of its own: its windows are operated, and the daemon is
//! asked what came of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use stead_tests::{Host, guest};

const SCREEN: &str = "<devices><graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <video><model type='vga' heads='1' primary='yes'/></video>";

/// Watches a machine from a connection of its own; it listens when this returns.
fn watch(host: &Host, machine: &str) -> (Child, impl BufRead) {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/lifecycle.py");
    let mut child = Command::new("/usr/bin/python3")
        .args(["-B", program, &host.uri(), machine])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("Debian's Python is there");
    let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it says that it listens");
    assert_eq!(line.trim(), "ready");
    (child, said)
}

fn uri(host: &Host) -> String {
    format!("qemu:///system?socket={}", host.socket("").display())
}

#[test]
fn virt_manager_lists_opens_starts_shows_and_stops() {
    let host = Host::start();
    for name in ["web1", "web2"] {
        host.define(&guest::bare_machine(name).replace("<devices>", SCREEN));
    }
    let (mut watching, mut seen) = watch(&host, "web1");
    let uri = uri(&host);
    let done = stead_tests::clients::python("virt_manager.py", &[&uri, "machine", "web1", "web2"]);
    let done = done.succeeds();
    assert!(done.ends_with("stopped\nstill listed\n"), "{done}");

    let mut told = String::new();
    seen.read_to_string(&mut told).expect("text");
    assert!(watching.wait().expect("it ends").success());
    let states: Vec<&str> = told
        .lines()
        .filter(|line| !line.starts_with("display"))
        .collect();
    assert_eq!(states, ["started", "suspended", "resumed", "stopped"]);
    // The console was looked at through the machine's own display: connected, then initialised.
    assert!(
        told.contains("display 0\n") && told.contains("display 1\n"),
        "{told}"
    );
    assert_eq!(host.state("web1"), "shut off");
    assert_eq!(host.state("web2"), "shut off");
}

#[test]
fn virt_manager_makes_and_deletes_a_pool_and_a_volume() {
    let host = Host::start();
    let folder = host.folder().join("made");
    let place = folder.to_string_lossy();
    let done = stead_tests::clients::python("virt_manager.py", &[&uri(&host), "storage", &place]);
    let done = done.succeeds();
    assert!(done.contains("volume gone\n"), "{done}");
    assert!(done.ends_with("pool gone\n"), "{done}");
    let pools = host.virsh(&["pool-list", "--all", "--name"]).succeeds();
    assert!(!pools.contains("made"), "{pools}");
    assert!(!folder.join("disk.qcow2").exists());
}
