//! Bad input and broken parts: an error that names the cause, and nobody else notices.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use stead_tests::{Host, guest, host};

/// A disk for the bare machine.
fn with_disk(name: &str, source: &str) -> String {
    guest::bare_machine(name).replace(
        "<devices>",
        &format!("<devices><disk type='file'><source file='{source}'/><target dev='vda' bus='virtio'/></disk>"),
    )
}

#[test]
fn broken_definitions_are_refused_with_their_place() {
    let host = Host::start();
    let refused = |text: &str| host.virsh(&["define", &host.file("m.xml", text)]).fails();
    let error = refused("<domain type='qemu'>\n  <name>x</nam>\n</domain>\n");
    assert!(error.contains("2"), "malformed XML names the line: {error}");
    let error = refused("<domain type='qemu'><memory>1</memory></domain>");
    assert!(error.contains("name"), "{error}");
    let error = refused(&guest::bare_machine("x").replace("hvm", "magic"));
    assert!(error.contains("magic"), "{error}");
    assert_eq!(
        host.virsh(&["list", "--all", "--name"]).succeeds().trim(),
        "",
        "nothing was kept"
    );
}

#[test]
fn a_name_and_a_uuid_belong_to_one_machine() {
    let host = Host::start();
    host.define(&guest::bare_machine("first"));
    let uuid = host.virsh(&["domuuid", "first"]).succeeds();
    let uuid = format!("<uuid>{}</uuid>", uuid.trim());
    let other_name = guest::bare_machine("second").replace("<memory", &format!("{uuid}<memory"));
    let error = host
        .virsh(&["define", &host.file("m.xml", &other_name)])
        .fails();
    assert!(
        error.contains("first") && error.contains("already"),
        "{error}"
    );
    let other_uuid = guest::bare_machine("first").replace(
        "<memory",
        "<uuid>aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee</uuid><memory",
    );
    let error = host
        .virsh(&["define", &host.file("m.xml", &other_uuid)])
        .fails();
    assert!(
        error.contains("first") && error.contains("already"),
        "{error}"
    );
}

#[test]
fn a_missing_disk_and_a_bad_one_are_named() {
    let host = Host::start();
    host.define(&with_disk("nodisk", "/nonexistent/disk.raw"));
    let error = host.virsh(&["start", "nodisk"]).fails();
    assert!(error.contains("/nonexistent/disk.raw"), "{error}");
    assert_eq!(host.state("nodisk"), "shut off");

    let broken = host.file("broken.qcow2", "this is no image");
    let qcow2 = with_disk("baddisk", &broken)
        .replace("<source", "<driver name='qemu' type='qcow2'/><source");
    host.define(&qcow2);
    let error = host.virsh(&["start", "baddisk"]).fails();
    assert!(
        error.contains("qcow2") || error.contains("format"),
        "QEMU's own last words: {error}"
    );
    assert_eq!(host.qemus(), Vec::<u32>::new(), "nothing is left behind");
}

#[test]
fn a_directory_that_is_named_as_variables_stays() {
    let host = Host::start();
    let kept = host.folder().join("kept");
    std::fs::create_dir(&kept).expect("there is room");
    std::fs::write(kept.join("file"), "precious").expect("there is room");
    let firmware = format!(
        "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>\
         <nvram>{}</nvram></os><features><acpi/></features>",
        kept.display()
    );
    host.define(&guest::bare_machine("m").replace("</os>", &firmware));
    let error = host.virsh(&["undefine", "m", "--nvram"]).fails();
    assert!(error.contains("is a directory"), "{error}");
    let _ = host.virsh(&["undefine", "m", "--keep-nvram"]).succeeds();
    let file = std::fs::read_to_string(kept.join("file")).expect("it is there");
    assert_eq!(file, "precious");
}

#[test]
fn an_emulator_that_exits_at_once_is_quoted() {
    let host = Host::start();
    let emulator = host.file(
        "emulator",
        "#!/bin/sh\necho 'the fan is on fire' >&2\nexit 3\n",
    );
    std::fs::set_permissions(
        &emulator,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("it is ours");
    let xml = guest::bare_machine("web1").replace(
        "<devices>",
        &format!("<devices><emulator>{emulator}</emulator>"),
    );
    // The cause may show as early as the definition, when the emulator is asked what it can do.
    let defined = host.virsh(&["define", &host.file("m.xml", &xml)]);
    let error = if defined.status == 0 {
        host.virsh(&["start", "web1"]).fails()
    } else {
        defined.fails()
    };
    assert!(error.contains("the fan is on fire"), "{error}");
}

#[test]
fn hostile_bytes_reach_nobody_else() {
    let host = Host::start();
    host.define(&guest::bare_machine("web1"));
    let header = |length: u32, words: [u32; 6]| {
        let mut bytes = length.to_be_bytes().to_vec();
        words
            .iter()
            .for_each(|word| bytes.extend(word.to_be_bytes()));
        bytes
    };
    const REMOTE: u32 = 0x2000_8086;
    const AUTH_LIST: u32 = 66;
    const CONNECT_OPEN: u32 = 1;
    let cases: [(&str, Vec<u8>); 8] = [
        ("a length of everything", vec![0xff; 64]),
        ("a length of nothing", header(0, [0; 6])),
        (
            "a length below the header's",
            header(27, [REMOTE, 1, AUTH_LIST, 0, 1, 0]),
        ),
        (
            "another protocol",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
        (
            "a program that is not there",
            header(28, [0xdead_beef, 1, AUTH_LIST, 0, 1, 0]),
        ),
        (
            "a procedure that is not there",
            header(28, [REMOTE, 1, 60_000, 0, 1, 0]),
        ),
        (
            "a call before the handshake, without its arguments",
            header(28, [REMOTE, 1, CONNECT_OPEN, 0, 1, 0]),
        ),
        (
            "a reply nobody asked for",
            header(28, [REMOTE, 1, AUTH_LIST, 1, 1, 0]),
        ),
    ];
    let bystander = UnixStream::connect(host.socket("")).expect("it listens");
    for (what, bytes) in &cases {
        let mut stream = UnixStream::connect(host.socket("")).expect("it still listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("the period is not zero");
        // A server that hangs up while we write is right to do so.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("after {what} the connection stays open: {error}"),
        }
        assert!(
            host.virsh(&["list", "--all"]).succeeds().contains("web1"),
            "after {what}"
        );
    }
    // A message that never ends holds up only its sender.
    let mut slow = UnixStream::connect(host.socket("")).expect("it still listens");
    slow.write_all(&header(1 << 20, [REMOTE, 1, AUTH_LIST, 0, 1, 0]))
        .expect("the start is accepted");
    assert!(host.virsh(&["list", "--all"]).succeeds().contains("web1"));
    drop((slow, bystander));
    assert!(host::is_alive(host.daemon_pid()));
}

#[test]
fn a_hanging_qemu_holds_up_nobody_else() {
    let host = Host::start();
    for name in ["held", "free"] {
        host.define(&guest::bare_machine(name));
        let _ = host.virsh(&["start", name]).succeeds();
    }
    host::signal(host.qemu_of("held"), "STOP");
    let begin = Instant::now();
    for words in [
        &["list", "--all"][..],
        &["dominfo", "held"],
        &["dominfo", "free"],
        &["domstats", "free"],
        &["suspend", "free"],
    ] {
        let _ = host.virsh(words).succeeds();
    }
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "took {:?}",
        begin.elapsed()
    );
    let begin = Instant::now();
    let _ = host.virsh(&["destroy", "held"]).succeeds();
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "took {:?}",
        begin.elapsed()
    );
    assert_eq!(host.state("held"), "shut off");
}
