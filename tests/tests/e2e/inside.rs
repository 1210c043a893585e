//! Work inside images, by libguestfs. These tests need it and a kernel it can start; without, they
//! say so and prove nothing.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::process::Command;

use stead_tests::{Host, Ran, clients, host};

const SECTOR: usize = 512;
const FIRST: u64 = 2048;
const PARTITION_MIB: u64 = 48;

fn tool(program: &str, words: &[&str]) -> String {
    clients::run(program, words, &[]).succeeds()
}

/// libguestfs starts a machine of its own each time: on a busy host without KVM that takes a while.
const PATIENCE_S: &str = "200";

fn stead(host: &Host, words: &[&str]) -> Ran {
    let uri = host.uri();
    let words = [&["-c", uri.as_str()], words].concat();
    clients::run_within(PATIENCE_S, host::binary(), &words, &[])
}

fn is_installed() -> bool {
    let found = Command::new("virt-customize")
        .arg("--version")
        .output()
        .is_ok();
    if !found {
        eprintln!("skipped: libguestfs-tools is not installed");
    }
    found
}

/// The files of a guest: just enough for libguestfs to know it, and a shell.
fn tree(host: &Host, device: &str, file_system: &str) -> String {
    let initrd = host.guest_file("initrd");
    let root = host.folder().join(format!("tree-{file_system}"));
    for folder in [
        "dev", "etc/ssh", "proc", "root", "sys", "tmp", "usr/bin", "var/log", "var/lib", "bin",
    ] {
        std::fs::create_dir_all(root.join(folder)).expect("there is room");
    }
    let place = root.to_string_lossy().into_owned();
    let unpack = format!(
        "cd '{place}' && cpio --quiet -id bin/busybox < '{initrd}' && for a in sh cat chmod chown cp echo grep ls mkdir mv rm sed sleep touch; do ln -s busybox bin/$a; done"
    );
    let _ = tool("sh", &["-c", &unpack]);
    let fstab = format!("{device} / {file_system} defaults 0 1\n");
    let files = [
        ("etc/debian_version", "12.5\n"),
        (
            "etc/os-release",
            "ID=debian\nVERSION_ID=\"12\"\nNAME=Debian\n",
        ),
        ("etc/fstab", &fstab),
        ("etc/hostname", "before\n"),
        ("etc/hosts", "127.0.0.1 localhost\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
        ("etc/group", "root:x:0:\n"),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("etc/ssh/ssh_host_rsa_key", "secret\n"),
        ("var/log/messages", "old news\n"),
    ];
    for (name, content) in files {
        std::fs::write(root.join(name), content).expect("there is room");
    }
    place
}

/// A machine whose raw disk has one partition with those files.
fn guest(host: &Host, name: &str) -> String {
    let disk = host.folder().join("guest.raw");
    let mut table = vec![0; SECTOR];
    let sectors = PARTITION_MIB * 2048;
    table[446 + 4] = 0x83;
    table[446 + 8..446 + 12].copy_from_slice(&(FIRST as u32).to_le_bytes());
    table[446 + 12..446 + 16].copy_from_slice(&(sectors as u32).to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&disk, table).expect("there is room");
    let file = std::fs::File::options()
        .write(true)
        .open(&disk)
        .expect("it is there");
    file.set_len((FIRST + sectors + 2048) * SECTOR as u64)
        .expect("there is room");
    let (path, tree) = (
        disk.to_string_lossy().into_owned(),
        tree(host, "/dev/sda1", "ext4"),
    );
    let offset = format!("offset={}", FIRST * SECTOR as u64);
    let words = [
        "-q",
        "-t",
        "ext4",
        "-d",
        &tree,
        "-E",
        &offset,
        &path,
        &format!("{PARTITION_MIB}M"),
    ];
    let _ = tool("mke2fs", &words);
    define(host, name, &path);
    path
}

fn define(host: &Host, name: &str, disk: &str) {
    host.define(&format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk></devices>
</domain>"
    ));
}

/// What guestfish prints of a guest, looked at by nobody but itself.
fn look(disk: &str, script: &str) -> String {
    look_at(disk, "/dev/sda1", script)
}

fn look_at(disk: &str, root: &str, script: &str) -> String {
    guestfish(&["--ro", "--format=raw", "-a", disk, "-m", root], script)
}

fn guestfish(options: &[&str], script: &str) -> String {
    let words: Vec<&str> = options.iter().copied().chain(script.split(' ')).collect();
    clients::run_within(
        PATIENCE_S,
        "guestfish",
        &words,
        &[
            ("LIBGUESTFS_BACKEND", "direct"),
            ("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg"),
        ],
    )
    .succeeds()
}

#[test]
fn files_go_in_and_out() {
    if !is_installed() {
        return;
    }
    let host = Host::start();
    let _ = guest(&host, "g");
    // A directory that no program reaches for other reasons, unlike /tmp.
    let elsewhere = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("copied-in");
    std::fs::create_dir_all(&elsewhere).expect("there is room");
    let one = elsewhere.join("one.txt");
    std::fs::write(&one, "first\n").expect("there is room");
    let one = one.to_string_lossy();
    let _ = stead(&host, &["image", "copy-in", "g", "/root", &one]).succeeds();
    assert_eq!(
        stead(&host, &["image", "cat", "g", "/root/one.txt"])
            .succeeds()
            .trim(),
        "first"
    );
    let words = ["image", "ls", "g", "/root", "--format", "json"];
    let listed = stead(&host, &words).succeeds();
    assert!(listed.contains("\"entry\": \"one.txt\""), "{listed}");
    let out = host.folder().join("out");
    std::fs::create_dir(&out).expect("there is room");
    let place = out.to_string_lossy();
    let _ = stead(
        &host,
        &["image", "copy-out", "g", &place, "/etc/hostname", "/root"],
    )
    .succeeds();
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap_or_default();
    assert_eq!(
        (read("hostname"), read("root/one.txt")),
        ("before\n".into(), "first\n".into())
    );
    let said = stead(&host, &["image", "copy-in", "g", "/root", "/nowhere/x"]).fails();
    assert!(said.contains("no '/nowhere/x' on the host"), "{said}");
}

#[test]
fn a_guest_is_made_another_one() {
    if !is_installed() {
        return;
    }
    let host = Host::start();
    let disk = guest(&host, "g");
    let key = host.file("key.pub", "ssh-ed25519 AAAA test@host\n");
    let file = host.file("up.txt", "uploaded\n");
    let inject = format!("root:file:{key}");
    let upload = format!("{file}:/etc/up.txt");
    let words = [
        "customize",
        "g",
        "--profile",
        "virtual-guest",
        "--hostname",
        "after",
        "--root-password",
        "password:s3cret",
        "--ssh-inject",
        &inject,
        "--upload",
        &upload,
        "--mkdir",
        "/srv/made",
        "--write",
        "/etc/w:one\n",
        "--append-line",
        "/etc/w:two",
        "--run-command",
        "echo ran >/root/ran",
        "--delete",
        "/var/log/messages",
    ];
    let _ = stead(&host, &words).succeeds();
    let said = look(
        &disk,
        "cat /etc/hostname : cat /etc/up.txt : cat /etc/w : cat /root/ran : cat /root/.ssh/authorized_keys : \
         cat /etc/shadow : cat /etc/systemd/logind.conf.d/50-virtual-guest.conf : \
         cat /etc/sysctl.d/60-virtual-guest.conf : exists /var/log/messages : is-dir /srv/made",
    );
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines[..5],
        ["after", "uploaded", "one", "two", "ran"],
        "{said}"
    );
    assert_eq!(lines[5], "ssh-ed25519 AAAA test@host");
    assert!(
        lines[6].starts_with("root:$") && said.contains("HandlePowerKey=poweroff"),
        "{said}"
    );
    assert!(
        said.contains("vm.swappiness = 30") && said.ends_with("false\ntrue\n"),
        "{said}"
    );
    let left = std::fs::read_dir(host.root().join("cache/guestfs")).expect("it is there");
    let secrets = left
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("secret"));
    assert_eq!(secrets.count(), 0, "passwords stay nowhere");
}

#[test]
fn a_guest_forgets_who_it_is_and_grows() {
    if !is_installed() {
        return;
    }
    let host = Host::start();
    let disk = guest(&host, "g");
    let listed = stead(&host, &["sysprep", "--list-operations"]).succeeds();
    assert!(
        listed.contains("ssh-hostkeys") && listed.contains("machine-id"),
        "{listed}"
    );
    let _ = stead(
        &host,
        &[
            "sysprep",
            "g",
            "--operations",
            "ssh-hostkeys,machine-id",
            "--hostname",
            "nobody",
        ],
    )
    .succeeds();
    let _ = stead(&host, &["image", "grow", "g", "--size", "200M"]).succeeds();
    let said = look(
        &disk,
        "ls /etc/ssh : filesize /etc/machine-id : cat /etc/hostname : cat /var/log/messages : statvfs /",
    );
    // Whatever is made of this disk gets an identity of its own at its first start.
    assert!(said.starts_with("0\nnobody\n"), "{said}");
    assert!(
        !said.contains("ssh_host") && !said.contains("0123456789abcdef"),
        "{said}"
    );
    assert!(
        said.contains("old news"),
        "an operation nobody asked for: {said}"
    );
    assert!(size_mib(&said) > 150, "{said}");
}

/// The size of a file system, of which guestfish has told by `statvfs`.
fn size_mib(said: &str) -> u64 {
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        let number = line.expect("a field").trim_start_matches(": ");
        number.parse::<u64>().expect("a number")
    };
    (field("blocks") * field("frsize")) >> 20
}

/// A root of XFS, on a logical volume beside another in a partition of a GPT, whose second header
/// stays behind where the disk grows.
#[test]
fn a_root_on_a_logical_volume_grows() {
    if !is_installed() {
        return;
    }
    let host = Host::start();
    let disk = host.folder().join("x.raw");
    let file = std::fs::File::create(&disk).expect("there is room");
    file.set_len(450 << 20).expect("there is room");
    let (disk, root) = (disk.to_string_lossy(), "/dev/vg0/root");
    let tree = tree(&host, root, "xfs");
    let folders = [
        "bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr", "var",
    ];
    let folders = folders.map(|folder| format!("{tree}/{folder}")).join(" ");
    let script = format!(
        "run : part-init /dev/sda gpt : part-add /dev/sda p 2048 919551 : pvcreate /dev/sda1 : \
         vgcreate vg0 /dev/sda1 : lvcreate other vg0 16 : lvcreate root vg0 400 : \
         mkfs xfs {root} : mount {root} / : copy-in {folders} /"
    );
    let _ = guestfish(&["--format=raw", "-a", &disk], &script);
    define(&host, "x", &disk);
    let _ = stead(&host, &["image", "grow", "x", "--size", "900M"]).succeeds();
    let said = look_at(&disk, root, "cat /etc/fstab : statvfs /");
    assert!(said.contains("xfs") && size_mib(&said) > 800, "{said}");
}
