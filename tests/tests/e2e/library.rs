//! The library of images, and machines made from it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use stead_tests::{Host, clients};

/// Runs a program that must succeed.
fn tool(program: &str, words: &[&str]) -> String {
    clients::run(program, words, &[]).succeeds()
}

fn path(host: &Host, name: &str) -> String {
    host.folder().join(name).to_string_lossy().into_owned()
}

/// A qcow2 image with something in it.
fn image(host: &Host, name: &str) -> String {
    let file = path(host, name);
    let _ = tool("qemu-img", &["create", "-q", "-f", "qcow2", &file, "64M"]);
    let _ = tool("qemu-io", &["-c", "write -P 7 0 1M", &file]);
    file
}

fn json(host: &Host, words: &[&str]) -> serde_json::Value {
    let said = host
        .stead(&[&["--format", "json"], words].concat())
        .succeeds();
    serde_json::from_str(&said).expect("JSON")
}

/// A server for one file. It says what it was asked for, and can be told to
/// break off answers after so many bytes.
struct FileServer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    breaks_after: Arc<AtomicUsize>,
}

impl FileServer {
    fn of(file: &str) -> FileServer {
        let content = std::fs::read(file).expect("the file is there");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("bound").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let breaks_after = Arc::new(AtomicUsize::new(usize::MAX));
        let server = FileServer {
            port,
            asked: asked.clone(),
            breaks_after: breaks_after.clone(),
        };
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let limit = breaks_after.load(Ordering::SeqCst);
                let request = answer(socket, &content, limit);
                asked.lock().expect("one at a time").push(request);
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/image", self.port)
    }
}

fn answer(mut socket: std::net::TcpStream, content: &[u8], limit: usize) -> String {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match socket.read(&mut piece) {
            Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
            _ => break,
        }
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let from = request.lines().find_map(|line| {
        let range = line.strip_prefix("range: bytes=")?;
        range.trim_end_matches('-').parse::<usize>().ok()
    });
    let total = content.len();
    let rest = &content[from.unwrap_or(0)..];
    let mut head = match from {
        Some(from) => format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{total}\r\n",
            total - 1
        ),
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    head.push_str(&format!(
        "etag: \"v1\"\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        rest.len()
    ));
    // A client that has gone is the test's business, not the server's.
    let _ = socket.write_all(head.as_bytes());
    let _ = socket.write_all(&rest[..rest.len().min(limit)]);
    request
}

#[test]
fn images_come_in_whatever_they_are_packed_in() {
    let host = Host::start();
    let plain = image(&host, "plain.qcow2");
    let sum = tool("sha256sum", &[&plain]);
    let sum = sum.split(' ').next().expect("a checksum");
    let _ = host
        .stead(&["image", "import", &plain, "--sha256", sum])
        .succeeds();
    for (program, ending) in [
        ("gzip", "gz"),
        ("xz", "xz"),
        ("bzip2", "bz2"),
        ("zstd", "zst"),
    ] {
        let _ = tool(program, &["-q", "-k", &plain]);
        let packed = format!("{plain}.{ending}");
        let _ = host
            .stead(&["image", "import", &packed, "--name", ending])
            .succeeds();
    }
    let vmdk = path(&host, "disk.vmdk");
    let _ = tool("qemu-img", &["convert", "-O", "vmdk", &plain, &vmdk]);
    let _ = host
        .stead(&["image", "import", &vmdk, "--name", "vmware"])
        .succeeds();

    let images = json(&host, &["image", "list"]);
    let images = images.as_array().expect("rows");
    assert_eq!(images.len(), 6, "{images:?}");
    for each in images {
        assert_eq!(each["format"], "qcow2");
        let name = each["name"].as_str().expect("a name");
        let shown = json(&host, &["image", "show", name]);
        let file = shown["path"].as_str().expect("a path");
        let _ = tool(
            "qemu-img",
            &["compare", "-f", "qcow2", "-F", "qcow2", &plain, file],
        );
    }
    let _ = host.stead(&["image", "delete", "xz"]).succeeds();
    let gone = host.root().join("images/library/xz.qcow2");
    assert!(!gone.exists());
}

#[test]
fn images_that_name_other_files_stay_outside() {
    let host = Host::start();
    let base = image(&host, "base.qcow2");
    let overlay = path(&host, "overlay.qcow2");
    let create = ["create", "-q", "-f", "qcow2"];
    let _ = tool(
        "qemu-img",
        &[&create[..], &["-b", &base, "-F", "qcow2", &overlay]].concat(),
    );
    let said = host.stead(&["image", "import", &overlay]).fails();
    assert!(
        said.contains("builds upon another image") && said.contains(&base),
        "{said}"
    );

    let external = path(&host, "external.qcow2");
    let data = format!("data_file={}", path(&host, "data.raw"));
    let _ = tool(
        "qemu-img",
        &[&create[..], &["-o", &data, &external, "1M"]].concat(),
    );
    let said = host.stead(&["image", "import", &external]).fails();
    assert!(said.contains("lies in another file"), "{said}");

    let shadow = path(&host, "shadow.vmdk");
    let text = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
                createType=\"monolithicFlat\"\n\nRW 8 FLAT \"/etc/shadow\" 0\n";
    std::fs::write(&shadow, text).expect("there is room");
    let said = host.stead(&["image", "import", &shadow]).fails();
    assert!(!said.is_empty());

    // Packed, they are no better.
    let _ = tool("gzip", &[&overlay]);
    let said = host
        .stead(&["image", "import", &format!("{overlay}.gz")])
        .fails();
    assert!(said.contains("builds upon another image"), "{said}");
    let left = std::fs::read_dir(host.root().join("images/library")).expect("it is there");
    let left: Vec<_> = left.flatten().map(|e| e.file_name()).collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().ends_with(".plain")),
        "{left:?}"
    );
}

#[test]
fn a_guest_that_lies_about_its_disk_is_not_believed() {
    let host = Host::start();
    // A raw disk into which a guest wrote the header of an image that builds upon a file of the host.
    let disk = path(&host, "disk.img");
    let secret = host.file("secret", &"not for guests ".repeat(4096));
    let lying = [
        "create", "-q", "-f", "qcow2", "-b", &secret, "-F", "raw", &disk,
    ];
    let _ = tool("qemu-img", &lying);
    let size = 1 << 20;
    let file = std::fs::File::options().write(true).open(&disk);
    file.and_then(|file| file.set_len(size))
        .expect("there is room");
    let said = host.stead(&["image", "import", &disk]).fails();
    assert!(said.contains("builds upon another image"), "{said}");
    let raw = [
        "image",
        "import",
        &disk,
        "--source-format",
        "raw",
        "--name",
        "raw",
    ];
    let _ = host.stead(&raw).succeeds();
    let shown = json(&host, &["image", "show", "raw"]);
    assert_eq!(shown["capacity"], size);
    let words = [
        "create",
        "m",
        "--image",
        "raw",
        "--network",
        "user",
        "--nostart",
    ];
    let _ = host.stead(&words).succeeds();
    // The image behind the machine's disk is opened as raw, wherever its disk is read.
    let made = host
        .root()
        .join("images/m.qcow2")
        .to_string_lossy()
        .into_owned();
    let _ = tool(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "qcow2", &disk, &made],
    );
    let _ = host.stead(&["clone", "m", "n", "--full"]).succeeds();
    let whole = host
        .root()
        .join("images/n.qcow2")
        .to_string_lossy()
        .into_owned();
    let _ = tool(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "qcow2", &disk, &whole],
    );
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let host = Host::start();
    let plain = image(&host, "plain.qcow2");
    let wrong = "0".repeat(64);
    let said = host
        .stead(&["image", "import", &plain, "--sha256", &wrong])
        .fails();
    assert!(said.contains("the checksum is"), "{said}");
    assert_eq!(json(&host, &["image", "list"]), serde_json::json!([]));
    let jobs = json(&host, &["jobs"]);
    assert_eq!(jobs[0]["state"], "failed");
    let library = host.root().join("images/library");
    assert_eq!(std::fs::read_dir(library).expect("it is there").count(), 0);
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let host = Host::start();
    let plain = image(&host, "plain.qcow2");
    let server = FileServer::of(&plain);
    // Breaks off again and again, each time further on, within one import.
    server.breaks_after.store(400_000, Ordering::SeqCst);
    let _ = host
        .stead(&["image", "import", &server.url(), "--name", "net"])
        .succeeds();
    let asked = server.asked.lock().expect("the server is idle").clone();
    assert!(asked.len() >= 3, "{asked:?}");
    assert!(
        asked[1].contains("range: bytes=") && asked[1].contains("if-range: \"v1\""),
        "{asked:?}"
    );
    let shown = json(&host, &["image", "show", "net"]);
    let file = shown["path"].as_str().expect("a path");
    assert_eq!(std::fs::read(file).ok(), std::fs::read(&plain).ok());
    assert_eq!(shown["source"], server.url());

    // A server that brings nothing more ends it; the next import goes on.
    server.breaks_after.store(0, Ordering::SeqCst);
    let said = host
        .stead(&["image", "import", &server.url(), "--name", "later"])
        .fails();
    assert!(said.contains("the same command goes on"), "{said}");
}

/// A machine made from an image of the library, not started.
pub(crate) fn from_image(host: &Host, name: &str) {
    let plain = image(host, "plain.qcow2");
    let _ = host
        .stead(&["image", "import", &plain, "--name", "base"])
        .succeeds();
    let key = host.file("key.pub", "ssh-ed25519 AAAA test@host\n");
    let words = [
        "create",
        name,
        "--image",
        "base",
        "--network",
        "user",
        "--ram",
        "128",
        "--nostart",
        "--disk-size",
        "1",
        "--user",
        "ann",
        "--password",
        "s3cret",
        "--ssh-key",
        &key,
    ];
    let _ = host.stead(&words).succeeds();
}

#[test]
fn a_template_and_its_clones() {
    let mut host = Host::start();
    from_image(&host, "web1");
    let disk = host.root().join("images/web1.qcow2");
    let disk = disk.to_string_lossy();
    let info = tool("qemu-img", &["info", "-U", &disk]);
    assert!(
        info.contains("1 GiB") && info.contains("library/base.qcow2"),
        "{info}"
    );

    let said = host.stead(&["clone", "web1", "x"]).fails();
    assert!(said.contains("is no template"), "{said}");
    let _ = host.stead(&["template", "web1"]).succeeds();
    let said = host.stead(&["start", "web1"]).fails();
    assert!(said.contains("is a template"), "{said}");

    let _ = host
        .stead(&["clone", "web1", "n{1..3}", "--start"])
        .succeeds();
    let mut seen = std::collections::BTreeSet::new();
    for clone in ["n1", "n2", "n3"] {
        assert_eq!(host.state(clone), "running");
        let xml = host.virsh(&["dumpxml", clone]).succeeds();
        for tag in ["<uuid>", "<mac address='"] {
            let at = xml.find(tag).expect("it has one") + tag.len();
            assert!(seen.insert(xml[at..at + 17].to_owned()), "{clone}: {tag}");
        }
        let seed = host.root().join(format!("images/{clone}-seed.iso"));
        let seed = std::fs::read(seed).expect("it has one");
        let text = String::from_utf8_lossy(&seed);
        assert!(text.contains(&format!("\"local-hostname\": \"{clone}\"")));
        assert!(text.contains("ssh-ed25519 AAAA test@host") && !text.contains("s3cret"));
    }

    // What others build upon is neither deleted nor written to.
    let said = host.stead(&["image", "delete", "base"]).fails();
    assert!(said.contains("it is the base of"), "{said}");
    let said = host.stead(&["template", "web1", "--undo"]).fails();
    assert!(said.contains("n1, n2, n3"), "{said}");
    let rows = json(&host, &["template-list"]);
    assert_eq!(rows[0]["clones"], "n1, n2, n3");

    // All of that is known after a restart.
    let _ = host.stop_daemon();
    host.start_daemon();
    assert!(
        host.stead(&["start", "web1"])
            .fails()
            .contains("is a template")
    );
    assert_eq!(host.state("n2"), "running");
    for clone in ["n1", "n2", "n3"] {
        let _ = host.virsh(&["destroy", clone]).succeeds();
        let disk = host.root().join(format!("images/{clone}.qcow2"));
        let _ = tool("qemu-img", &["check", "-q", &disk.to_string_lossy()]);
    }
    let _ = host.stead(&["clone", "n1", "whole", "--full"]).succeeds();
    let whole = host.root().join("images/whole.qcow2");
    let info = tool("qemu-img", &["info", &whole.to_string_lossy()]);
    assert!(!info.contains("backing file:"), "{info}");
}

#[test]
fn fifty_clones_in_one_command() {
    let host = Host::start();
    from_image(&host, "web1");
    let _ = host.stead(&["template", "web1"]).succeeds();
    let said = host.stead(&["clone", "web1", "node{1..50}"]).succeeds();
    assert!(said.contains("node50"), "{said}");
    let names = host.virsh(&["list", "--all", "--name"]).succeeds();
    assert_eq!(names.split_whitespace().count(), 51, "{names}");
    // One job made them all.
    let jobs = json(&host, &["jobs"]);
    let clones = jobs
        .as_array()
        .expect("rows")
        .iter()
        .filter(|job| job["kind"] == "clone");
    assert_eq!(clones.count(), 1, "{jobs}");
    let mut seen = std::collections::BTreeSet::new();
    for number in 1..=50 {
        let name = format!("node{number}");
        let xml = host.virsh(&["dumpxml", &name]).succeeds();
        let seed =
            std::fs::read(host.root().join(format!("images/{name}-seed.iso"))).expect("it has one");
        let seed = String::from_utf8_lossy(&seed);
        let after = |text: &str, tag: &str| {
            let at = text.find(tag).expect("it has one") + tag.len();
            text[at..at + 17].to_owned()
        };
        for one in [
            after(&xml, "<uuid>"),
            after(&xml, "<mac address='"),
            after(&seed, "\"instance-id\": \""),
        ] {
            assert!(seen.insert(one.clone()), "{name}: {one}");
        }
    }
    let said = host.stead(&["image", "delete", "base"]).fails();
    assert!(said.contains("web1"), "{said}");
}

#[test]
fn clones_are_whole_or_not_there() {
    for (step, left, full) in [
        ("clone/linked", 0, false),
        ("clone/files-made", 0, false),
        ("clone/defined", 1, false),
        ("clone/files-made:2", 1, true),
        ("clone/linked:2", 1, true),
    ] {
        let clone = |names: &[&'static str]| {
            let kind: &[&str] = if full { &["--full"] } else { &[] };
            [&["clone", "web1"], names, kind].concat()
        };
        let mut host = Host::start();
        from_image(&host, "web1");
        let _ = host.stead(&["template", "web1"]).succeeds();
        let _ = host.stop_daemon();
        host.start_daemon_to_crash_at(step);
        let _ = host.stead(&clone(&["a", "b"])).fails();
        host.wait_for_crash(step);
        host.start_daemon();
        let names = host.virsh(&["list", "--all", "--name"]).succeeds();
        let clones: Vec<&str> = names.split_whitespace().filter(|n| *n != "web1").collect();
        assert_eq!(clones.len(), left, "{step}: {clones:?}");
        for name in ["a", "b"] {
            let disk = host.root().join(format!("images/{name}.qcow2"));
            assert_eq!(disk.exists(), clones.contains(&name), "{step}: {name}");
        }
        let jobs = json(&host, &["jobs"]);
        let last = jobs.as_array().and_then(|jobs| jobs.last()).expect("a job");
        assert_eq!(last["state"], "interrupted");
        // The same again, and nothing is in the way.
        let again: Vec<&str> = ["a", "b"]
            .into_iter()
            .filter(|n| !clones.contains(n))
            .collect();
        let _ = host.stead(&clone(&again)).succeeds();
        assert!(Path::new(&host.root()).join("images/b.qcow2").exists());
    }
}

#[test]
fn seeds_are_cds_that_others_read() {
    if Command::new("xorriso").arg("--version").output().is_err() {
        return;
    }
    let host = Host::start();
    from_image(&host, "web1");
    let seed = host.root().join("images/web1-seed.iso");
    let files = tool("xorriso", &["-indev", &seed.to_string_lossy(), "-find"]);
    for name in ["user-data", "meta-data", "network-config"] {
        assert!(files.contains(&format!("'./{name}'")), "{files}");
    }
}

#[test]
fn nobody_looks_into_a_running_machine_or_writes_below_clones() {
    let host = Host::start();
    from_image(&host, "web1");
    let _ = host.stead(&["template", "web1"]).succeeds();
    let _ = host.stead(&["clone", "web1", "n1", "--start"]).succeeds();
    let said = host.stead(&["image", "cat", "n1", "/etc/fstab"]).fails();
    assert!(said.contains("is running"), "{said}");
    let said = host.stead(&["sysprep", "web1"]).fails();
    assert!(said.contains("is a template"), "{said}");
    let said = host.stead(&["image", "mount", "web1", "/nowhere"]).fails();
    assert!(said.contains("no directory"), "{said}");
    let said = host.stead(&["image", "unmount", "/mnt"]).fails();
    assert!(said.contains("nothing is mounted"), "{said}");
    let said = host
        .stead(&["customize", "n1", "--profile", "desktop"])
        .fails();
    assert!(said.contains("there is virtual-guest"), "{said}");
}
