//! Installations, with virt-install's options.

use std::time::Duration;

use stead_tests::{Host, clients, wait};

/// A directory with the small guest's kernel where Debian's media have theirs.
fn tree(host: &Host) -> String {
    let folder = host.folder().join("tree/install.amd");
    std::fs::create_dir_all(&folder).expect("there is room");
    let copy = |from: &str, to: &str| {
        let from = host.guest_file(from);
        let _ = std::fs::copy(from, folder.join(to)).expect("there is room");
    };
    copy("vmlinuz", "vmlinuz");
    copy("initrd", "initrd.gz");
    host.folder().join("tree").to_string_lossy().into_owned()
}

/// A file of the guest, read by its agent.
fn guest_file(host: &Host, machine: &str, path: &str) -> String {
    let ask = |words: String| {
        let said = host.virsh(&["qemu-agent-command", machine, &words]);
        (said.status == 0).then(|| {
            let value: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
            value["return"].clone()
        })
    };
    let open = format!("{{\"execute\":\"guest-file-open\",\"arguments\":{{\"path\":\"{path}\"}}}}");
    let mut handle = None;
    wait::until("the guest's agent", Duration::from_secs(60), || {
        handle = ask(open.clone());
        handle.is_some()
    });
    let read = format!(
        "{{\"execute\":\"guest-file-read\",\"arguments\":{{\"handle\":{}}}}}",
        handle.expect("opened")
    );
    ask(read).expect("read")["buf-b64"].to_string()
}

#[test]
fn a_tree_is_installed_from_and_then_the_disk_is_started() {
    let host = Host::start();
    let tree = tree(&host);
    let preseed = host.file(
        "answers.txt",
        "# of a test\nd-i debian-installer/locale string C\n",
    );
    let _ = host
        .stead(&[
            "install",
            "--name",
            "vm1",
            "--ram",
            "128",
            "--vcpus",
            "1",
            "--disk",
            "size=1",
            "--network",
            "user",
            "--location",
            &tree,
            "--answers",
            &preseed,
            "--extra-args",
            "quiet",
            "--graphics",
            "vnc,password=s3cret",
            "--noautoconsole",
        ])
        .succeeds();
    assert_eq!(host.state("vm1"), "running");
    let xml = host.virsh(&["dumpxml", "vm1"]).succeeds();
    assert!(
        xml.contains("auto=true priority=critical") && xml.contains("<kernel>"),
        "{xml}"
    );
    let later = host
        .virsh(&["dumpxml", "vm1", "--inactive", "--security-info"])
        .succeeds();
    assert!(
        !later.contains("<kernel>") && later.contains("passwd='s3cret'"),
        "{later}"
    );
    // What was injected is where the installer looks.
    let said = guest_file(&host, "vm1", "/preseed.cfg");
    assert!(said.contains("IyBvZiBhIHRlc3"), "{said}");
    let left = host.root().join("images/vm1-install-initrd");
    assert!(!left.exists(), "QEMU has read it");

    // The installer ends: the machine starts from its disk.
    let before = host.qemu_of("vm1");
    let _ = host.virsh(&["destroy", "vm1"]).succeeds();
    wait::until("the machine's own start", Duration::from_secs(20), || {
        host.state("vm1") == "running" && host.qemu_of("vm1") != before
    });
    let jobs = host.stead(&["--format", "json", "jobs"]).succeeds();
    assert!(jobs.contains("\"completed\""), "{jobs}");
}

#[test]
fn a_cd_is_started_from_and_its_kernel_found_on_it() {
    let host = Host::start();
    let tree = tree(&host);
    let iso = host.folder().join("cd.iso").to_string_lossy().into_owned();
    let words = [
        "-as", "mkisofs", "-quiet", "-R", "-V", "TEST", "-o", &iso, &tree,
    ];
    let _ = clients::run("xorriso", &words, &[]).succeeds();
    let common = ["--memory", "128", "--disk", "none", "--network", "none"];
    let install = |words: &[&str]| host.stead(&[&["install"], words, &common[..]].concat());
    let _ = install(&["located", "--location", &iso]).succeeds();
    let xml = host.virsh(&["dumpxml", "located"]).succeeds();
    assert!(xml.contains("<kernel>") && xml.contains("cd.iso") && xml.contains("console=ttyS0"));
    let _ = install(&["started", "--cdrom", &iso, "--noreboot"]).succeeds();
    let xml = host.virsh(&["dumpxml", "started"]).succeeds();
    assert!(
        xml.contains("<boot dev='cdrom'/>") && xml.contains("cd.iso"),
        "{xml}"
    );
    let later = host.virsh(&["dumpxml", "started", "--inactive"]).succeeds();
    assert!(!later.contains("cd.iso"), "{later}");
    let _ = host.virsh(&["destroy", "started"]).succeeds();
    assert_eq!(host.state("started"), "shut off");
}

#[test]
fn a_disk_that_is_there_is_only_started() {
    let host = Host::start();
    let disk = host
        .folder()
        .join("there.qcow2")
        .to_string_lossy()
        .into_owned();
    let words = ["create", "-q", "-f", "qcow2", &disk, "64M"];
    let _ = clients::run("qemu-img", &words, &[]).succeeds();
    let install = [
        "install",
        "vm2",
        "--import",
        "--disk",
        &disk,
        "--network",
        "user",
    ];
    let _ = host
        .stead(&[&install[..], &["--memory", "64"]].concat())
        .succeeds();
    assert_eq!(host.state("vm2"), "running");
    let _ = host.virsh(&["destroy", "vm2"]).succeeds();
    assert_eq!(host.state("vm2"), "shut off");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let host = Host::start();
    let refused = |words: &[&str]| host.stead(&[&["install", "x"], words].concat()).fails();
    assert!(refused(&[]).contains("say what it starts from"));
    assert!(refused(&["--cdrom", "/nowhere.iso"]).contains("no CD image"));
    assert!(refused(&["--import"]).contains("--import needs a disk"));
    assert!(refused(&["--pxe", "--extra-args", "x"]).contains("need --location"));
    assert!(refused(&["--pxe", "--disk", "size=1,pool=x"]).contains("'pool=x' of --disk"));
    let empty = host.folder().join("empty");
    std::fs::create_dir(&empty).expect("there is room");
    let said = refused(&["--location", &empty.to_string_lossy()]);
    assert!(said.contains("no installer's kernel"), "{said}");
    assert!(
        !host.root().join("images/x.qcow2").exists(),
        "what was made is undone"
    );
    assert_eq!(
        host.virsh(&["list", "--all", "--name"]).succeeds().trim(),
        ""
    );
}
