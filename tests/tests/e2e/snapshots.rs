//! Snapshots of machines, stopped and running, and what a crash at any step of them leaves.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use stead_tests::host::signal;
use stead_tests::{Host, guest};

const DISK_MIB: u32 = 32;

/// A host with one machine that has a qcow2 disk.
struct Bench {
    host: Host,
    /// Its QEMU is killed on the way: an image may have clusters that nothing refers to then.
    may_leak: bool,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            host: Host::start(),
            may_leak: false,
        };
        fs::create_dir(bench.folder()).expect("the folder is ours");
        let disk = bench.folder().join("vm.qcow2");
        let size = format!("{DISK_MIB}M");
        run(
            "qemu-img",
            &["create", "-q", "-f", "qcow2", text(&disk), &size],
        );
        let xml = guest::bare_machine("vm").replace(
            "<devices>",
            &format!(
                "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
                 <source file='{}'/><target dev='vda' bus='virtio'/></disk>",
                disk.display()
            ),
        );
        bench.host.define(&xml);
        bench
    }

    fn folder(&self) -> PathBuf {
        self.host.folder().join("images")
    }

    fn virsh(&self, words: &[&str]) -> String {
        self.host.virsh(words).succeeds()
    }

    /// The image the domain uses now.
    fn image(&self) -> String {
        let list = self.virsh(&["domblklist", "vm", "--details"]);
        let line = list.lines().find(|line| line.contains("vda"));
        let image = line.and_then(|line| line.split_whitespace().last());
        image.expect("the machine has a disk").to_owned()
    }

    /// Fills the disk's MiB number `at` with a byte.
    fn write(&self, at: u32, byte: u8) {
        let command = format!("write -P {byte} {at}M 1M");
        run("qemu-io", &["-c", &command, &self.image()]);
    }

    /// The first bytes of the first MiBs as the disk shows them.
    fn content(&self) -> Vec<u8> {
        let raw = self.host.folder().join("content.raw");
        run(
            "qemu-img",
            &["convert", "-U", "-O", "raw", &self.image(), text(&raw)],
        );
        let bytes = fs::read(&raw).expect("it was just made");
        bytes.iter().step_by(1 << 20).take(8).copied().collect()
    }

    fn names(&self) -> Vec<String> {
        let list = self.virsh(&["snapshot-list", "vm", "--name"]);
        list.split_whitespace().map(str::to_owned).collect()
    }

    /// Every image is sound, and somebody names it.
    fn check(&self, after: &str) {
        let mut named = self.virsh(&["dumpxml", "vm"]);
        for name in self.names() {
            named += &self.virsh(&["snapshot-dumpxml", "vm", &name]);
        }
        let chain = output(
            "qemu-img",
            &["info", "-U", "--backing-chain", &self.image()],
        );
        named += &chain;
        for entry in fs::read_dir(self.folder()).expect("it is ours").flatten() {
            let path = entry.path();
            assert!(
                named.contains(text(&path)),
                "after {after}: nobody names {path:?}"
            );
            if self.host.state("vm") == "shut off" && !text(&path).ends_with(".mem") {
                self.check_image(text(&path));
            }
        }
    }

    fn check_image(&self, image: &str) {
        /// qemu-img's status where clusters are leaked and all else is well.
        const LEAKS: i32 = 3;
        let status = Command::new("qemu-img")
            .args(["check", "-q", image])
            .status();
        let code = status.expect("it is installed").code();
        let is_fine = code == Some(0) || (self.may_leak && code == Some(LEAKS));
        assert!(is_fine, "qemu-img check {image}: {code:?}");
    }
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn output(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let output = output.expect("it is installed");
    assert!(
        output.status.success(),
        "{program} {words:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run(program: &str, words: &[&str]) {
    let _ = output(program, words);
}

#[test]
fn a_stopped_machine_goes_back_and_forth_through_both_kinds() {
    let bench = Bench::new();
    bench.write(0, 1);
    bench.virsh(&["snapshot-create-as", "vm", "in1"]);
    bench.write(1, 2);
    bench.virsh(&["snapshot-create-as", "vm", "out1", "--disk-only"]);
    bench.write(2, 3);
    bench.virsh(&["snapshot-create-as", "vm", "in2"]);
    bench.write(3, 4);
    bench.virsh(&["snapshot-create-as", "vm", "out2", "--disk-only"]);
    bench.write(4, 5);
    for (name, content) in [
        ("in1", [1, 0, 0, 0, 0, 0, 0, 0]),
        ("out2", [1, 2, 3, 4, 0, 0, 0, 0]),
        ("in2", [1, 2, 3, 0, 0, 0, 0, 0]),
        ("out1", [1, 2, 0, 0, 0, 0, 0, 0]),
    ] {
        bench.virsh(&["snapshot-revert", "vm", name]);
        assert_eq!(bench.content(), content, "{name}");
        assert_eq!(
            bench.virsh(&["snapshot-current", "vm", "--name"]).trim(),
            name
        );
        bench.check(name);
    }
    // Whatever is deleted, what remains keeps its content.
    bench.virsh(&["snapshot-delete", "vm", "out1"]);
    bench.check("the deletion of out1");
    bench.virsh(&["snapshot-revert", "vm", "out2"]);
    assert_eq!(bench.content(), [1, 2, 3, 4, 0, 0, 0, 0]);
    bench.virsh(&["snapshot-delete", "vm", "in1", "--children-only"]);
    bench.virsh(&["snapshot-revert", "vm", "in1"]);
    assert_eq!(bench.content(), [1, 0, 0, 0, 0, 0, 0, 0]);
    bench.virsh(&["snapshot-delete", "vm", "in1"]);
    assert_eq!(bench.names(), Vec::<String>::new());
    assert!(bench.folder().join("vm.qcow2").exists(), "the base stays");
}

#[test]
fn both_commands_show_the_same_of_a_tree() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.virsh(&["snapshot-create-as", "vm", name]);
    }
    bench.virsh(&["snapshot-revert", "vm", "a"]);
    bench.virsh(&["snapshot-create-as", "vm", "d", "a second branch"]);
    for words in [
        &["snapshot-list", "vm", "--tree"][..],
        &["snapshot-list", "vm"],
        &["snapshot-list", "vm", "--parent"],
        &["snapshot-list", "vm", "--leaves", "--name"],
        &["snapshot-list", "vm", "--from", "b", "--name"],
        &["snapshot-info", "vm", "b"],
        &["snapshot-parent", "vm", "d"],
        &["snapshot-dumpxml", "vm", "d"],
        &["snapshot-current", "vm", "--name"],
    ] {
        let (theirs, ours) = (bench.host.virsh(words), bench.host.stead(words));
        assert_eq!(
            ours.succeeds().trim_end(),
            theirs.succeeds().trim_end(),
            "{words:?}"
        );
    }
    let refused = bench.host.virsh(&["undefine", "vm"]).fails();
    assert!(refused.contains("4 snapshots"), "{refused}");
    bench.virsh(&["undefine", "vm", "--snapshots-metadata"]);
}

#[test]
fn a_running_machine_keeps_running_through_its_snapshots() {
    let bench = Bench::new();
    bench.write(0, 1);
    let memory = bench.folder().join("m1.mem");
    bench.virsh(&["start", "vm"]);
    bench.virsh(&["snapshot-create-as", "vm", "in1"]);
    bench.virsh(&["snapshot-create-as", "vm", "disks", "--disk-only"]);
    let memspec = format!("file={}", memory.display());
    bench.virsh(&["snapshot-create-as", "vm", "all", "--memspec", &memspec]);
    assert_eq!(bench.host.state("vm"), "running");
    let qemu = bench.host.qemu_of("vm");
    bench.virsh(&["snapshot-delete", "vm", "disks"]);
    assert_eq!(
        (bench.host.state("vm").as_str(), bench.host.qemu_of("vm")),
        ("running", qemu)
    );
    bench.check("a merge in the middle");
    bench.virsh(&["snapshot-revert", "vm", "all"]);
    assert_eq!(bench.host.state("vm"), "running");
    bench.virsh(&["snapshot-revert", "vm", "in1", "--paused"]);
    assert_eq!(bench.host.state("vm"), "paused");
    bench.virsh(&["resume", "vm"]);
    bench.virsh(&["snapshot-delete", "vm", "all"]);
    assert!(!memory.exists());
    bench.virsh(&["destroy", "vm"]);
    assert_eq!(bench.content()[0], 1);
    bench.check("all");
}

/// Walks the crash points of one command until it comes through; `settle`
/// looks at what each left and makes the state for the next.
fn walk(
    bench: &mut Bench,
    words: &[&str],
    kill_qemu: bool,
    mut settle: impl FnMut(&mut Bench, &str),
) {
    for point in ["intent-written", "step-done", "settled"] {
        for pass in 1.. {
            let step = format!("snapshot/{point}:{pass}");
            assert!(bench.host.stop_daemon().success());
            bench.host.start_daemon_to_crash_at(&step);
            if bench.host.virsh(words).status == 0 {
                // Still armed: what follows must not die of it.
                assert!(bench.host.stop_daemon().success());
                bench.host.start_daemon();
                settle(bench, &format!("{words:?} without a crash"));
                break;
            }
            bench.host.wait_for_crash(&step);
            if kill_qemu {
                for pid in bench.host.qemus() {
                    signal(pid, "KILL");
                }
            }
            bench.host.start_daemon();
            settle(bench, &format!("{words:?} at {step}"));
        }
    }
}

#[test]
fn no_crash_while_a_stopped_machine_is_worked_on_loses_anything() {
    let mut bench = Bench::new();
    bench.write(0, 1);
    bench.virsh(&["snapshot-create-as", "vm", "in1"]);
    bench.write(1, 2);
    let content = bench.content();
    for words in [
        &["snapshot-create-as", "vm", "new"][..],
        &["snapshot-create-as", "vm", "new", "--disk-only"],
    ] {
        walk(&mut bench, words, false, |bench, at| {
            assert_eq!(bench.content(), content, "after {at}");
            bench.check(at);
            if bench.names().contains(&"new".to_owned()) {
                bench.virsh(&["snapshot-delete", "vm", "new"]);
                assert_eq!(bench.content(), content, "after {at} and a deletion");
            }
        });
    }
    walk(
        &mut bench,
        &["snapshot-revert", "vm", "in1"],
        false,
        |bench, at| {
            bench.check(at);
            bench.virsh(&["snapshot-revert", "vm", "in1"]);
            assert_eq!(bench.content()[..2], [1, 0], "after {at}");
        },
    );
}

#[test]
fn no_crash_in_the_middle_of_a_deletion_loses_what_remains() {
    let mut bench = Bench::new();
    for (at, name) in ["a", "b"].iter().enumerate() {
        bench.write(at as u32, at as u8 + 1);
        bench.virsh(&["snapshot-create-as", "vm", name, "--disk-only"]);
    }
    bench.write(2, 3);
    walk(
        &mut bench,
        &["snapshot-delete", "vm", "a"],
        false,
        |bench, at| {
            assert_eq!(bench.content()[..4], [1, 2, 3, 0], "after {at}");
            bench.check(at);
            if bench.names() == ["b"] {
                bench.virsh(&["snapshot-revert", "vm", "b"]);
                assert_eq!(bench.content()[..4], [1, 2, 0, 0], "after {at}");
                bench.virsh(&["snapshot-delete", "vm", "b"]);
                bench.virsh(&["snapshot-create-as", "vm", "a", "--disk-only"]);
                bench.virsh(&["snapshot-create-as", "vm", "b", "--disk-only"]);
                bench.write(2, 3);
            }
        },
    );
}

#[test]
fn no_crash_while_a_machine_runs_loses_anything() {
    for kill_qemu in [false, true] {
        let mut bench = Bench::new();
        bench.write(0, 1);
        bench.virsh(&["snapshot-create-as", "vm", "old", "--disk-only"]);
        bench.write(1, 2);
        let content = bench.content();
        for words in [
            &["snapshot-create-as", "vm", "new", "--disk-only"][..],
            &["snapshot-delete", "vm", "old"],
        ] {
            bench.virsh(&["start", "vm"]);
            walk(&mut bench, words, kill_qemu, |bench, at| {
                if !kill_qemu {
                    bench
                        .host
                        .wait_for_state("vm", "running", std::time::Duration::from_secs(10));
                }
                // Answered when whatever start-up does about the crash is done.
                bench.virsh(&["desc", "vm", "--config", "--new-desc", "walked"]);
                let names: BTreeSet<String> = bench.names().into_iter().collect();
                if names.contains("new") {
                    bench.virsh(&["snapshot-delete", "vm", "new"]);
                }
                if bench.host.state("vm") != "shut off" {
                    bench.virsh(&["destroy", "vm"]);
                }
                assert_eq!(bench.content(), content, "after {at}");
                bench.check(at);
                if !names.contains("old") {
                    bench.virsh(&["snapshot-create-as", "vm", "old", "--disk-only"]);
                }
                bench.virsh(&["start", "vm"]);
            });
            bench.virsh(&["destroy", "vm"]);
        }
    }
}

/// The machine runs, whatever was in its way.
fn run_again(bench: &Bench) {
    // Answered when whatever start-up does about a crash is done.
    bench.virsh(&["desc", "vm", "--config", "--new-desc", "walked"]);
    if bench.host.state("vm") == "shut off" {
        bench.virsh(&["start", "vm"]);
    }
}

/// What the disk holds while the machine is off; it runs again afterwards.
fn content_at_rest(bench: &Bench) -> Vec<u8> {
    bench.virsh(&["destroy", "vm"]);
    let content = bench.content();
    bench.virsh(&["start", "vm"]);
    content
}

#[test]
fn no_crash_around_a_snapshot_with_memory_loses_anything() {
    for kill_qemu in [false, true] {
        let mut bench = Bench::new();
        bench.may_leak = kill_qemu;
        bench.write(0, 1);
        let first = bench.content();
        bench.virsh(&["start", "vm"]);
        let words = ["snapshot-create-as", "vm", "new"];
        walk(&mut bench, &words, kill_qemu, |bench, at| {
            run_again(bench);
            if bench.names().contains(&"new".to_owned()) {
                bench.virsh(&["snapshot-revert", "vm", "new"]);
                assert_eq!(bench.host.state("vm"), "running", "after {at}");
                bench.virsh(&["snapshot-delete", "vm", "new"]);
            }
            assert_eq!(content_at_rest(bench), first, "after {at}");
            bench.check(at);
        });
        bench.virsh(&["snapshot-create-as", "vm", "mem"]);
        bench.virsh(&["destroy", "vm"]);
        bench.write(0, 2);
        let second = bench.content();
        bench.virsh(&["start", "vm"]);
        let words = ["snapshot-revert", "vm", "mem"];
        walk(&mut bench, &words, kill_qemu, |bench, at| {
            run_again(bench);
            let now = content_at_rest(bench);
            assert!(now == first || now == second, "after {at}: {now:?}");
            bench.virsh(&["snapshot-revert", "vm", "mem"]);
            assert_eq!(bench.host.state("vm"), "running", "after {at}");
            assert_eq!(content_at_rest(bench), first, "after {at}");
            bench.virsh(&["destroy", "vm"]);
            bench.check(at);
            bench.write(0, 2);
            bench.virsh(&["start", "vm"]);
        });
    }
}

#[test]
fn no_crash_while_a_machine_goes_over_to_another_image_loses_anything() {
    for kill_qemu in [false, true] {
        let mut bench = Bench::new();
        bench.may_leak = kill_qemu;
        bench.write(0, 1);
        let overlay = [
            "snapshot-create-as",
            "vm",
            "top",
            "--disk-only",
            "--no-metadata",
        ];
        bench.virsh(&overlay);
        bench.write(1, 2);
        let content = bench.content();
        bench.virsh(&["start", "vm"]);
        let words = ["blockcommit", "vm", "vda", "--active", "--pivot", "--wait"];
        walk(&mut bench, &words, kill_qemu, |bench, at| {
            run_again(bench);
            let job = bench.virsh(&["blockjob", "vm", "vda", "--info"]);
            if !job.contains("No current block job") {
                bench.virsh(&["blockjob", "vm", "vda", "--abort"]);
            }
            bench.virsh(&["destroy", "vm"]);
            assert_eq!(bench.content(), content, "after {at}");
            bench.check_image(&bench.image());
            if bench.image().ends_with("vm.qcow2") {
                // The image it left is the user's to remove.
                let _ = fs::remove_file(bench.folder().join("vm.top"));
                bench.virsh(&overlay);
            }
            bench.virsh(&["start", "vm"]);
        });
    }
}

#[test]
fn jobs_on_the_images_of_a_running_machine_do_what_virsh_expects() {
    let bench = Bench::new();
    let folder = bench.folder();
    let image = |name: &str| text(&folder.join(name)).to_owned();
    for (at, name) in ["one", "two", "three"].iter().enumerate() {
        bench.write(at as u32, at as u8 + 1);
        bench.virsh(&[
            "snapshot-create-as",
            "vm",
            name,
            "--disk-only",
            "--no-metadata",
        ]);
    }
    bench.write(3, 4);
    let content = bench.content();
    bench.virsh(&["start", "vm"]);
    let (top, base) = (image("vm.two"), image("vm.one"));
    let commit = [
        "blockcommit",
        "vm",
        "vda",
        "--top",
        &top,
        "--base",
        &base,
        "--wait",
    ];
    bench.virsh(&commit);
    assert_eq!(bench.content(), content);
    bench.virsh(&["blockcommit", "vm", "vda", "--active", "--wait", "--pivot"]);
    assert_eq!(
        (bench.image(), bench.content()),
        (image("vm.qcow2"), content.clone())
    );
    let _ = bench
        .host
        .stead(&[
            "blockcopy",
            "vm",
            "vda",
            &image("copy"),
            "--wait",
            "--pivot",
        ])
        .succeeds();
    assert_eq!(
        (bench.image(), bench.content()),
        (image("copy"), content.clone())
    );
    let stored = bench.virsh(&["domblklist", "vm", "--inactive"]);
    assert!(stored.contains(&image("copy")), "{stored}");
    bench.virsh(&[
        "snapshot-create-as",
        "vm",
        "four",
        "--disk-only",
        "--no-metadata",
    ]);
    let _ = bench
        .host
        .stead(&["blockpull", "vm", "vda", "--wait"])
        .succeeds();
    assert!(
        !bench
            .virsh(&["dumpxml", "vm"])
            .contains(&format!("'{}'", image("copy"))),
        "nothing is below"
    );
    bench.virsh(&["destroy", "vm"]);
    assert_eq!(bench.content(), content);
    run("qemu-img", &["check", "-q", &bench.image()]);
}

#[test]
fn a_copy_goes_on_through_a_restart_of_the_daemon() {
    let mut bench = Bench::new();
    bench.write(0, 1);
    bench.virsh(&["start", "vm"]);
    let copy = text(&bench.folder().join("copy")).to_owned();
    bench.virsh(&["blockcopy", "vm", "vda", &copy, "--bandwidth", "1"]);
    bench.host.kill_daemon();
    bench.host.start_daemon();
    let job = bench.virsh(&["blockjob", "vm", "vda", "--info"]);
    assert!(job.contains("Bandwidth limit"), "{job}");
    bench.virsh(&["blockjob", "vm", "vda", "--abort"]);
    let none = bench.virsh(&["blockjob", "vm", "vda", "--info"]);
    assert!(none.contains("No current block job"), "{none}");
    assert!(!bench.virsh(&["dumpxml", "vm"]).contains("<mirror"));
}
