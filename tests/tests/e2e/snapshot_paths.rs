//! Ways of taking snapshots and of moving between images that are gone less often: quiesced, halting, upon images
//! that are there, defined anew, with UEFI variables, shallow copies, and a disk that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use stead_tests::{Host, guest, host, wait};

const BOOT_TIMEOUT: Duration = Duration::from_secs(120);

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn run(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status();
    assert!(
        status.expect("it is installed").success(),
        "{program} {words:?}"
    );
}

/// A folder with a new qcow2 image.
fn image(host: &Host, folder: &str) -> PathBuf {
    let folder = host.folder().join(folder);
    fs::create_dir_all(&folder).expect("the folder is ours");
    let image = folder.join("vm.qcow2");
    run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", text(&image), "32M"],
    );
    image
}

fn with_disk(xml: &str, image: &Path, driver: &str) -> String {
    let disk = format!(
        "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2' {driver}/>\
         <source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        image.display()
    );
    xml.replace("<devices>", &disk)
}

fn virsh(host: &Host, words: &[&str]) -> String {
    host.virsh(words).succeeds()
}

/// The image the machine uses now.
fn used(host: &Host) -> String {
    let list = virsh(host, &["domblklist", "vm"]);
    let line = list.lines().find(|line| line.contains("vda"));
    let last = line.and_then(|line| line.split_whitespace().last());
    last.expect("the machine has a disk").to_owned()
}

fn agent(host: &Host, command: &str) -> Option<String> {
    let ran = host.virsh(&["qemu-agent-command", "vm", command]);
    (ran.status == 0).then_some(ran.stdout)
}

/// The small guest with a disk, its agent answering.
fn guest_with(host: &Host, image: &Path, driver: &str) {
    host.guest_file("vmlinuz");
    host.guest_file("initrd");
    let xml = guest::small_guest("vm", host.folder());
    host.define(&with_disk(&xml, image, driver));
    virsh(host, &["start", "vm"]);
    wait::until("the guest's agent", BOOT_TIMEOUT, || {
        agent(host, "{\"execute\":\"guest-ping\"}").is_some()
    });
}

/// Begins a line of shell in the guest; the number it has there.
fn begin_in_guest(host: &Host, line: &str) -> serde_json::Value {
    let command = serde_json::json!({
        "execute": "guest-exec",
        "arguments": {"path": "/bin/sh", "arg": ["-c", line]},
    });
    let begun = agent(host, &command.to_string()).expect("the agent answers");
    let begun: serde_json::Value = serde_json::from_str(&begun).expect("it is JSON");
    begun["return"]["pid"].clone()
}

/// Waits for the end of what was begun; its exit status.
fn end_in_guest(host: &Host, pid: &serde_json::Value) -> serde_json::Value {
    let status = serde_json::json!({
        "execute": "guest-exec-status",
        "arguments": {"pid": pid},
    });
    let mut ended = serde_json::Value::Null;
    wait::until("the end of the command", BOOT_TIMEOUT, || {
        let said = agent(host, &status.to_string());
        ended = said
            .and_then(|said| serde_json::from_str(&said).ok())
            .unwrap_or_default();
        ended["return"]["exited"] == true
    });
    ended["return"]["exitcode"].clone()
}

#[test]
fn a_guest_is_frozen_for_a_quiesced_snapshot_and_thawed_after_it() {
    let host = Host::start();
    let image = image(&host, "images");
    guest_with(&host, &image, "");
    let files = "mkfs.ext2 /dev/vda && mkdir -p /d && mount /dev/vda /d && echo hello >/d/f";
    let made = end_in_guest(&host, &begin_in_guest(&host, files));
    virsh(
        &host,
        &["snapshot-create-as", "vm", "q", "--disk-only", "--quiesce"],
    );
    let status = agent(&host, "{\"execute\":\"guest-fsfreeze-status\"}");
    assert!(status.is_some_and(|said| said.contains("thawed")));
    // What the guest had not written yet is in the image it left.
    if made == 0 {
        let raw = host.folder().join("left.raw");
        run(
            "qemu-img",
            &["convert", "-U", "-O", "raw", text(&image), text(&raw)],
        );
        let bytes = fs::read(&raw).expect("it was just made");
        assert!(
            bytes.windows(6).any(|w| w == b"hello\n"),
            "the file system was not synced"
        );
    }
}

#[test]
fn images_that_are_there_are_used_and_a_snapshot_can_halt_its_machine() {
    let host = Host::start();
    let image = image(&host, "images");
    host.define(&with_disk(&guest::bare_machine("vm"), &image, ""));
    virsh(&host, &["start", "vm"]);
    let ready = image.with_file_name("ready.qcow2");
    let spec = format!("vda,file={}", ready.display());
    let reuse = [
        "snapshot-create-as",
        "vm",
        "r",
        "--disk-only",
        "--reuse-external",
        "--diskspec",
        &spec,
    ];
    let error = host.virsh(&reuse).fails();
    assert!(error.contains("ready.qcow2"), "{error}");
    let base = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        text(&image),
        text(&ready),
    ];
    run("qemu-img", &base);
    virsh(&host, &reuse);
    assert_eq!(used(&host), text(&ready));
    virsh(
        &host,
        &["snapshot-create-as", "vm", "h", "--disk-only", "--halt"],
    );
    host.wait_for_state("vm", "shut off", Duration::from_secs(10));
    assert!(used(&host).ends_with("ready.h"));

    // What was known of a snapshot is forgotten and said anew, with what it is the parent of.
    let described = virsh(&host, &["snapshot-dumpxml", "vm", "r"]);
    let file = host.file("r.xml", &described);
    virsh(&host, &["snapshot-delete", "vm", "r", "--metadata"]);
    virsh(
        &host,
        &["snapshot-create", "vm", &file, "--redefine", "--validate"],
    );
    assert_eq!(
        virsh(&host, &["snapshot-current", "vm", "--name"]).trim(),
        "h"
    );
    virsh(
        &host,
        &["snapshot-create", "vm", &file, "--redefine", "--current"],
    );
    assert_eq!(
        virsh(&host, &["snapshot-current", "vm", "--name"]).trim(),
        "r"
    );
    let broken = host.file(
        "b.xml",
        &described.replace("<name>r</name>", "<nome>r</nome>"),
    );
    let error = host
        .virsh(&["snapshot-create", "vm", &broken, "--redefine"])
        .fails();
    assert!(error.contains("must have a name"), "{error}");

    let editor = host.file(
        "editor",
        "#!/bin/sh\nsed -i 's#<name>#<description>told</description><name>#' \"$1\"\n",
    );
    run("chmod", &["+x", &editor]);
    for (command, name) in [
        (stead_tests::host::binary(), "r"),
        (PathBuf::from("virsh"), "h"),
    ] {
        let uri = host.uri();
        let words = ["-c", &uri, "snapshot-edit", "vm", name];
        let edited = stead_tests::clients::run(command, &words, &[("EDITOR", &editor)]);
        let _ = edited.succeeds();
        let shown = virsh(&host, &["snapshot-dumpxml", "vm", name]);
        assert!(shown.contains("<description>told</description>"), "{shown}");
    }
    let error = host.virsh(&["blockresize", "vm", "vda", "64M"]).fails();
    assert!(
        error.contains("domain is not running") && error.contains("vol-resize"),
        "{error}"
    );
}

#[test]
fn overlays_are_kept_or_removed_as_asked_and_copies_can_be_shallow() {
    let host = Host::start();
    let image = image(&host, "images");
    host.define(&with_disk(&guest::bare_machine("vm"), &image, ""));
    virsh(&host, &["start", "vm"]);
    let overlay = |name: &str| {
        virsh(
            &host,
            &[
                "snapshot-create-as",
                "vm",
                name,
                "--disk-only",
                "--no-metadata",
            ],
        );
        PathBuf::from(used(&host))
    };
    let gone = overlay("gone");
    virsh(
        &host,
        &[
            "blockcommit",
            "vm",
            "vda",
            "--active",
            "--pivot",
            "--delete",
        ],
    );
    assert_eq!(used(&host), text(&image));
    assert!(!gone.exists(), "the merged overlay is still there");
    let kept = overlay("kept");
    virsh(
        &host,
        &[
            "blockcommit",
            "vm",
            "vda",
            "--active",
            "--wait",
            "--keep-overlay",
        ],
    );
    assert_eq!(used(&host), text(&kept));
    let copy = image.with_file_name("copy.qcow2");
    std::fs::write(&copy, "of somebody else").expect("there is room");
    let others = ["blockcopy", "vm", "vda", text(&copy), "--transient-job"];
    let refused = host.virsh(&others).fails();
    let why = "destination file for disk vda already exists and is not a block device";
    assert!(refused.contains(why), "{refused}");
    let left = std::fs::read_to_string(&copy).expect("it is there");
    assert_eq!(left, "of somebody else");
    std::fs::remove_file(&copy).expect("it is ours");
    let words = [
        "blockcopy",
        "vm",
        "vda",
        text(&copy),
        "--shallow",
        "--transient-job",
        "--wait",
        "--pivot",
    ];
    virsh(&host, &words);
    assert_eq!(used(&host), text(&copy));
    let info = Command::new("qemu-img")
        .args(["info", "-U", text(&copy)])
        .output();
    let info = info.expect("it is installed").stdout;
    let backing = format!("backing file: {}", image.display());
    assert!(String::from_utf8_lossy(&info).contains(&backing));
}

/// QEMU says nothing while it is to go over to a copy: what it has done is found out when it speaks
/// again, and the job can be finished then.
#[test]
fn a_copy_is_finished_after_qemu_was_silent() {
    let host = Host::start();
    let image = image(&host, "images");
    host.define(&with_disk(&guest::bare_machine("vm"), &image, ""));
    virsh(&host, &["start", "vm"]);
    let copy = image.with_file_name("copy.qcow2");
    let begin = ["blockcopy", "vm", "vda", text(&copy), "--transient-job"];
    virsh(&host, &[&begin[..], &["--wait"]].concat());
    let qemu = host.qemu_of("vm");
    host::signal(qemu, "STOP");
    let silent = host.virsh(&["blockjob", "vm", "vda", "--pivot"]).fails();
    assert!(silent.contains("did not answer"), "{silent}");
    host::signal(qemu, "CONT");
    wait::until("the machine runs again", BOOT_TIMEOUT, || {
        let said = virsh(
            &host,
            &[
                "qemu-monitor-command",
                "vm",
                "{\"execute\":\"query-status\"}",
            ],
        );
        host.state("vm") == "running" && said.contains("\"running\":true")
    });
    assert_eq!(used(&host), text(&image));
    virsh(&host, &["blockjob", "vm", "vda", "--pivot"]);
    assert_eq!(used(&host), text(&copy));
    virsh(&host, &["destroy", "vm"]);
    virsh(&host, &["start", "vm"]);
}

#[test]
fn uefi_variables_go_with_snapshots_of_both_kinds() {
    let host = Host::start();
    let image = image(&host, "images");
    let xml = guest::bare_machine("vm")
        .replace("machine='pc'", "machine='q35'")
        .replace(
            "</os>",
            "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>\
         <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/></os><features><acpi/></features>",
        );
    host.define(&with_disk(&xml, &image, ""));
    virsh(&host, &["start", "vm"]);
    virsh(&host, &["suspend", "vm"]);
    let variables = host.root().join("nvram/vm_VARS.fd");
    let content = || fs::read(&variables).expect("it is there");
    let change = |byte: u8| {
        let mut bytes = content();
        bytes[100_000] = byte;
        fs::write(&variables, bytes).expect("it is ours");
    };
    virsh(
        &host,
        &["snapshot-create-as", "vm", "outside", "--disk-only"],
    );
    let first = content();
    virsh(&host, &["destroy", "vm"]);
    change(1);
    let second = content();
    virsh(&host, &["snapshot-create-as", "vm", "inside"]);
    change(2);
    virsh(&host, &["snapshot-revert", "vm", "inside"]);
    assert!(
        content() == second,
        "the variables of the internal snapshot did not come back"
    );
    virsh(&host, &["snapshot-revert", "vm", "outside"]);
    assert!(
        content() == first,
        "the variables of the external snapshot did not come back"
    );
    for name in ["inside", "outside"] {
        virsh(&host, &["snapshot-delete", "vm", name]);
    }
    let kept = fs::read_dir(host.root().join("nvram/snapshots"))
        .into_iter()
        .flatten()
        .flatten();
    let files = kept
        .filter_map(|domain| fs::read_dir(domain.path()).ok())
        .flatten()
        .count();
    assert_eq!(files, 0, "variables of deleted snapshots are left");
}

/// A file system in memory, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn size(&self, how: &str, size: &str) {
        let options = format!("{how}size={size},mode=755");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &options, "tmpfs", text(&self.0)],
        );
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_machine_whose_disk_is_full_waits_and_loses_nothing() {
    let host = Host::start();
    let small = Small(host.folder().join("small"));
    fs::create_dir(&small.0).expect("the folder is ours");
    small.size("", "6M");
    let image = image(&host, "small");
    guest_with(&host, &image, "error_policy='enospace'");
    // It goes on once there is room.
    let fill = "tr '\\0' x </dev/zero | dd of=/dev/vda bs=1M count=16 oflag=direct iflag=fullblock";
    let writing = begin_in_guest(&host, fill);
    host.wait_for_state("vm", "paused", BOOT_TIMEOUT);
    let reason = virsh(&host, &["domstate", "vm", "--reason"]);
    assert!(reason.contains("paused (I/O error)"), "{reason}");
    let errors = virsh(&host, &["domblkerror", "vm"]);
    assert!(errors.contains("vda: no space"), "{errors}");

    small.size("remount,", "64M");
    virsh(&host, &["resume", "vm"]);
    assert_eq!(end_in_guest(&host, &writing), 0);
    assert_eq!(host.state("vm"), "running");
    virsh(&host, &["destroy", "vm"]);
    let read = Command::new("qemu-io")
        .args(["-r", "-f", "qcow2", "-c", "read -P 120 0 16M", text(&image)])
        .output()
        .expect("it is installed");
    let said = String::from_utf8_lossy(&read.stdout);
    assert!(read.status.success() && !said.contains("failed"), "{said}");
    run("qemu-img", &["check", "-q", text(&image)]);
}

#[test]
fn one_live_snapshot_goes_inside_one_image_and_beside_another() {
    let host = Host::start();
    let (first, second) = (image(&host, "images"), image(&host, "more"));
    let other = format!(
        "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
         <source file='{}'/><target dev='vdb' bus='virtio'/></disk>",
        second.display()
    );
    let xml = guest::bare_machine("vm").replace("<devices>", &other);
    let xml = xml.replace("<devices>", "<features><acpi/></features><devices>");
    host.define(&with_disk(&xml, &first, ""));
    virsh(&host, &["start", "vm"]);
    let write = |disk: &str, byte: u8| {
        let device = format!("/machine/peripheral/{disk}/virtio-backend");
        let line = format!("qemu-io -d {device} \"write -P {byte} 0 1M\"");
        let said = virsh(&host, &["qemu-monitor-command", "vm", "--hmp", &line]);
        assert_eq!(said.trim(), "");
    };
    for disk in ["virtio-disk0", "virtio-disk1"] {
        write(disk, 1);
    }
    let parts = [
        "--diskspec",
        "vda,snapshot=internal",
        "--diskspec",
        "vdb,snapshot=external",
    ];
    let create = ["snapshot-create-as", "vm", "both"];
    let error = host.virsh(&[&create[..], &parts[..]].concat()).fails();
    let expected = "disk 'vdb' must use snapshot mode 'internal'";
    assert!(error.contains(expected), "{error}");
    virsh(&host, &[&create[..], &["--disk-only"], &parts].concat());
    for disk in ["virtio-disk0", "virtio-disk1"] {
        write(disk, 2);
    }
    let xml = virsh(&host, &["dumpxml", "vm"]);
    assert!(xml.contains("more/vm.both"), "{xml}");
    virsh(&host, &["snapshot-revert", "vm", "both"]);
    for target in ["vda", "vdb"] {
        let list = virsh(&host, &["domblklist", "vm"]);
        let line = list.lines().find(|line| line.contains(target));
        let used = line.and_then(|line| line.split_whitespace().last());
        let used = used.expect("it is there").to_owned();
        run("qemu-io", &["-c", "read -P 1 0 1M", &used]);
        run("qemu-img", &["check", "-q", &used]);
    }
    virsh(&host, &["snapshot-delete", "vm", "both"]);
    assert!(!virsh(&host, &["dumpxml", "vm"]).contains("more/vm.both"));
    let tags = Command::new("qemu-img")
        .args(["snapshot", "-l", text(&first)])
        .output()
        .expect("it is installed");
    assert!(tags.stdout.is_empty(), "the snapshot is left inside");
}

#[test]
fn a_running_machine_lets_go_of_what_is_below_its_image() {
    let host = Host::start();
    let base = image(&host, "images");
    let xml =
        guest::bare_machine("vm").replace("<devices>", "<features><acpi/></features><devices>");
    host.define(&with_disk(&xml, &base, ""));
    for name in ["one", "two"] {
        virsh(&host, &["snapshot-create-as", "vm", name]);
    }
    virsh(&host, &["snapshot-create-as", "vm", "out", "--disk-only"]);
    virsh(&host, &["start", "vm"]);
    // Both are inside the image below, one after the other.
    virsh(&host, &["snapshot-delete", "vm", "one", "--children"]);
    assert_eq!(virsh(&host, &["snapshot-list", "vm", "--name"]).trim(), "");
    assert_eq!(used(&host), text(&base), "it is merged");
    // There is nothing to commit, and it ends all the same.
    let empty = [
        "snapshot-create-as",
        "vm",
        "x",
        "--disk-only",
        "--no-metadata",
    ];
    virsh(&host, &empty);
    let commit = ["blockcommit", "vm", "vda", "--active", "--pivot", "--wait"];
    let said = host.stead(&commit).succeeds();
    assert!(said.contains("Successfully pivoted"), "{said}");
    let memory = format!("file={}", host.folder().join("images/vm.mem").display());
    let words = ["snapshot-create-as", "vm", "mem", "--memspec", &memory];
    let error = host.virsh(&words).fails();
    assert!(error.contains("cannot both be"), "{error}");
    virsh(&host, &["destroy", "vm"]);
    wait::until("the end of QEMU", Duration::from_secs(10), || {
        host.qemus().is_empty()
    });
    let tags = Command::new("qemu-img")
        .args(["snapshot", "-l", text(&base)])
        .output()
        .expect("it is installed");
    assert!(tags.stdout.is_empty(), "a snapshot is left inside");
    run("qemu-img", &["check", "-q", text(&base)]);
}
