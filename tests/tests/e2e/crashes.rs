//! The daemon killed at every named step of an operation (`engine::crash`), and what the next one finds:
//! machines that ran go on, each machine is in its true state, nothing is half-made and nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::crash::Step;
use stead_tests::{Host, guest, wait};

/// Within this time a TPM's emulator notices that its QEMU is gone.
const SOON: Duration = Duration::from_secs(5);

/// The steps of an operation; their names begin with its name.
fn steps_of(operation: &str) -> impl Iterator<Item = &'static str> {
    let prefix = format!("{operation}/");
    let steps = Step::ALL.iter().map(|step| step.name());
    steps.filter(move |name| name.starts_with(&prefix))
}

/// A host on which a machine runs that no crash may disturb.
struct Walk {
    host: Host,
    bystander: u32,
}

impl Walk {
    fn begin() -> Self {
        let mut host = Host::start();
        host.define(&guest::bare_machine("bystander"));
        let _ = host.virsh(&["start", "bystander"]).succeeds();
        let bystander = host.qemu_of("bystander");
        assert!(host.stop_daemon().success());
        Self { host, bystander }
    }

    /// Runs a command against a daemon that dies at `step` of it, then starts the next daemon.
    fn crash_at(&mut self, step: &str, words: &[&str]) {
        if self.host.has_daemon() {
            assert!(self.host.stop_daemon().success());
        }
        self.host.start_daemon_to_crash_at(step);
        let _ = self.host.virsh(words).fails();
        self.host.wait_for_crash(step);
        self.host.start_daemon();
        self.check(step);
    }

    /// What must hold whenever a daemon has come up.
    fn check(&self, step: &str) {
        let host = &self.host;
        let words = |words: &[&str]| -> Vec<String> {
            let listed = host.virsh(words).succeeds();
            listed.split_whitespace().map(str::to_owned).collect()
        };
        let running = words(&["list", "--name"]);
        assert!(running.contains(&"bystander".to_owned()), "after {step}");
        assert_eq!(host.state("bystander"), "running", "after {step}");
        assert_eq!(host.qemu_of("bystander"), self.bystander, "after {step}");
        for name in words(&["list", "--all", "--name"]) {
            let _ = host.virsh(&["dumpxml", &name]).succeeds();
        }
        assert_eq!(
            (host.qemus().len(), host.run_directories().len()),
            (running.len(), running.len()),
            "after {step}: every QEMU and every run's directory has its machine {running:?}"
        );
        let with_tpm = running.iter().filter(|name| {
            let xml = host.virsh(&["dumpxml", name]).succeeds();
            xml.contains("<tpm ")
        });
        let with_tpm = with_tpm.count();
        wait::until(
            &format!("after {step}: as many TPMs as machines with one"),
            SOON,
            || host.tpm_emulators().len() == with_tpm,
        );
        let groups: BTreeSet<_> = host
            .groups()
            .iter()
            .filter_map(|group| Some(group.file_name()?.to_owned()))
            .collect();
        assert_eq!(groups.len(), running.len(), "after {step}: {groups:?}");
        let saved = words(&["list", "--all", "--with-managed-save", "--name"]);
        assert_eq!(
            files(&host.root().join("save")).len(),
            saved.len(),
            "after {step}: every saved state has its machine {saved:?}"
        );
    }

    fn has_saved_state(&self, name: &str) -> bool {
        let info = self.host.virsh(&["dominfo", name]).succeeds();
        info.lines()
            .any(|line| line.starts_with("Managed save:") && line.ends_with("yes"))
    }

    fn is_listed(&self, name: &str) -> bool {
        let all = self.host.virsh(&["list", "--all", "--name"]).succeeds();
        all.lines().any(|line| line == name)
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// A machine that takes something of everything of the host: a port, a disk of root's, a TPM's emulator.
fn greedy_machine(host: &Host, name: &str) -> (String, String) {
    let disk = host.file(&format!("{name}.raw"), &"\0".repeat(65536));
    let xml = guest::bare_machine(name).replace(
        "<devices>",
        &format!(
            "<devices><disk type='file'><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>\
             <graphics type='vnc'/><tpm model='tpm-crb'><backend type='emulator'/></tpm>"
        ),
    );
    (xml, disk)
}

#[test]
fn a_step_that_is_not_there_is_refused() {
    let host = Host::without_daemon();
    let refused = host
        .daemon_command()
        .env("STEAD_CRASH_AT", "define/nowhere")
        .stderr(std::process::Stdio::piped())
        .output()
        .expect("stead can be run");
    assert!(!refused.status.success());
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("define/checked"), "{error}");
}

#[test]
fn every_step_belongs_to_an_operation_that_is_walked() {
    let here = ["define", "undefine", "start", "restore", "save", "destroy"];
    let elsewhere = [
        "clone",
        "export",
        "image-task",
        "package-import",
        "pool-define",
        "secret",
        "snapshot",
        "vol-make",
        "vol-upload",
    ];
    for step in Step::ALL {
        let operation = step.name().split('/').next().unwrap_or_default();
        assert!(
            here.contains(&operation) || elsewhere.contains(&operation),
            "no test walks {}",
            step.name()
        );
    }
}

#[test]
fn a_definition_is_there_or_not_wherever_the_daemon_dies() {
    let mut walk = Walk::begin();
    for step in steps_of("define") {
        let path = walk.host.file("new.xml", &guest::bare_machine("new"));
        walk.crash_at(step, &["define", &path]);
        assert_eq!(walk.is_listed("new"), step == "define/stored");
    }
    for step in steps_of("define") {
        let titled =
            guest::bare_machine("new").replace("<memory", &format!("<title>{step}</title><memory"));
        let uuid = walk.host.virsh(&["domuuid", "new"]).succeeds();
        let with_uuid = format!("<uuid>{}</uuid><title", uuid.trim());
        let path = walk
            .host
            .file("new.xml", &titled.replace("<title", &with_uuid));
        walk.crash_at(step, &["define", &path]);
        let xml = walk.host.virsh(&["dumpxml", "new"]).succeeds();
        assert_eq!(xml.contains(step), step == "define/stored", "{step}: {xml}");
    }
}

#[test]
fn an_undefined_machine_is_gone_with_its_files_wherever_the_daemon_dies() {
    let mut walk = Walk::begin();
    walk.host.start_daemon();
    for step in steps_of("undefine") {
        let variables = walk.host.root().join("nvram/old_VARS.fd");
        let with_variables = guest::bare_machine("old").replace(
            "</os>",
            &format!(
                "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>\
                 <nvram>{}</nvram></os><features><acpi/></features>",
                variables.display()
            ),
        );
        if !walk.is_listed("old") {
            walk.host.define(&with_variables.replace("'pc'", "'q35'"));
            let _ = walk.host.virsh(&["start", "old"]).succeeds();
            let _ = walk.host.virsh(&["managedsave", "old"]).succeeds();
        }
        assert!(variables.exists() && walk.has_saved_state("old"));
        let undefine = ["undefine", "old", "--managed-save", "--nvram"];
        walk.crash_at(step, &undefine);
        let kept = step == "undefine/admitted";
        assert_eq!(walk.is_listed("old"), kept, "after {step}");
        assert_eq!(variables.exists(), kept, "after {step}");
    }
}

#[test]
fn a_start_is_done_or_undone_wherever_the_daemon_dies() {
    let mut walk = Walk::begin();
    let (xml, disk) = greedy_machine(&walk.host, "new");
    walk.host.start_daemon();
    walk.host.define(&xml);
    let owner = |disk: &str| fs::metadata(disk).expect("it is there").uid();
    for step in steps_of("start") {
        walk.crash_at(step, &["start", "new"]);
        if step == "start/recorded" {
            assert_eq!(walk.host.state("new"), "running");
            let _ = walk.host.virsh(&["destroy", "new"]).succeeds();
        }
        assert_eq!(walk.host.state("new"), "shut off", "after {step}");
        assert_eq!(owner(&disk), 0, "after {step}: the disk is root's again");
    }
    let _ = walk.host.virsh(&["start", "new"]).succeeds();
}

#[test]
fn a_transient_machine_runs_or_is_unknown_wherever_the_daemon_dies() {
    let mut walk = Walk::begin();
    let path = walk.host.file("new.xml", &guest::bare_machine("new"));
    for step in steps_of("start") {
        walk.crash_at(step, &["create", &path]);
        assert_eq!(walk.is_listed("new"), step == "start/recorded");
    }
    for step in steps_of("destroy") {
        if !walk.is_listed("new") {
            let _ = walk.host.virsh(&["create", &path]).succeeds();
        }
        walk.crash_at(step, &["destroy", "new"]);
        assert!(!walk.is_listed("new"), "after {step}");
    }
}

#[test]
fn a_machine_is_destroyed_wherever_the_daemon_dies() {
    let mut walk = Walk::begin();
    let (xml, disk) = greedy_machine(&walk.host, "old");
    walk.host.start_daemon();
    walk.host.define(&xml);
    for step in steps_of("destroy") {
        let _ = walk.host.virsh(&["start", "old"]).succeeds();
        walk.crash_at(step, &["destroy", "old"]);
        let state = walk.host.virsh(&["domstate", "old", "--reason"]).succeeds();
        let reason = match step {
            // Nothing is left that could tell.
            "destroy/released" => "unknown",
            _ => "destroyed",
        };
        assert_eq!(state.trim(), format!("shut off ({reason})"), "after {step}");
        let owner = fs::metadata(&disk).expect("it is there").uid();
        assert_eq!(owner, 0, "after {step}: the disk is root's again");
    }
}

#[test]
fn a_machine_runs_on_or_is_saved_wherever_the_daemon_dies() {
    let mut walk = Walk::begin();
    walk.host.start_daemon();
    walk.host.define(&guest::bare_machine("vm"));
    let _ = walk.host.virsh(&["start", "vm"]).succeeds();
    // A save ends as a destroy does, once QEMU is gone.
    let end = steps_of("destroy").skip_while(|step| *step != "destroy/gone");
    for step in steps_of("save").chain(end) {
        let qemu = walk.host.qemu_of("vm");
        walk.crash_at(step, &["managedsave", "vm"]);
        let complete = step == "save/complete" || step.starts_with("destroy/");
        assert_eq!(walk.has_saved_state("vm"), complete, "after {step}");
        if complete {
            let state = walk.host.virsh(&["domstate", "vm", "--reason"]).succeeds();
            let told = state.trim() == "shut off (saved)" || step == "destroy/released";
            assert!(told, "after {step}: {state}");
            let _ = walk.host.virsh(&["start", "vm"]).succeeds();
        } else {
            assert_eq!(walk.host.qemu_of("vm"), qemu, "after {step}: it goes on");
        }
        assert_eq!(walk.host.state("vm"), "running", "after {step}");
    }
}

#[test]
fn a_saved_state_is_used_exactly_once_wherever_the_daemon_dies() {
    let mut walk = Walk::begin();
    walk.host.start_daemon();
    walk.host.define(&guest::bare_machine("vm"));
    let _ = walk.host.virsh(&["start", "vm"]).succeeds();
    let _ = walk.host.virsh(&["managedsave", "vm"]).succeeds();
    for step in steps_of("restore").chain(steps_of("start")) {
        walk.crash_at(step, &["start", "vm"]);
        let state = walk.host.state("vm");
        let used = match step {
            "restore/recorded" => state == "paused",
            "restore/running" | "restore/removed" | "start/up" | "start/joined"
            | "start/recorded" => state == "running",
            _ => false,
        };
        assert!(used || state == "shut off", "after {step}: {state}");
        assert_eq!(walk.has_saved_state("vm"), !used, "after {step}");
        if state == "paused" {
            let _ = walk.host.virsh(&["resume", "vm"]).succeeds();
        }
        if used {
            let _ = walk.host.virsh(&["managedsave", "vm"]).succeeds();
        }
    }
}
