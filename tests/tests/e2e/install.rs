//! Installations, with virt-install's options.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stead_tests::clients::virt_install;
use stead_tests::{Host, clients, wait};

/// A web server for a directory.
struct WebServer {
    child: Child,
    url: String,
}

impl WebServer {
    fn of(directory: &str) -> WebServer {
        let words = [
            "-u",
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            "-d",
            directory,
            "0",
        ];
        let mut child = Command::new("python3")
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 can be run");
        let mut line = String::new();
        let said = child.stdout.take().expect("it is piped");
        let _ = BufReader::new(said)
            .read_line(&mut line)
            .expect("it says where it is");
        let at = line.find("http://").expect("an address");
        let url = line[at..].split(['/', ')']).collect::<Vec<_>>()[..3].join("/");
        WebServer { child, url }
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
            "quiet no_timer_check",
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
    let _ = host.stead(&["job", "wait", "1"]).succeeds();
    let jobs = host.stead(&["--format", "json", "jobs"]).succeeds();
    assert!(jobs.contains("\"completed\""), "{jobs}");
}

#[test]
fn a_server_is_installed_from_and_a_daemon_that_comes_later_goes_on() {
    let mut host = Host::start();
    let server = WebServer::of(&tree(&host));
    let answers = host.file("ks.txt", "# of a test\nrootpw --lock\n%packages\n%end\n");
    let words = [
        "install",
        "vm1",
        "--ram",
        "128",
        "--disk",
        "size=1",
        "--network",
        "user",
        "--location",
        &server.url,
        "--answers",
        &answers,
        "--extra-args",
        "quiet no_timer_check",
    ];
    let _ = host.stead(&words).succeeds();
    let xml = host.virsh(&["dumpxml", "vm1"]).succeeds();
    assert!(xml.contains("inst.ks=file:/ks.cfg"), "{xml}");
    let said = guest_file(&host, "vm1", "/ks.cfg");
    assert!(said.contains("IyBvZiBhIHRlc3"), "{said}");

    // Another daemon waits for the installer to be done: it reboots.
    let before = host.qemu_of("vm1");
    let _ = host.stop_daemon();
    host.start_daemon();
    let jobs = host.stead(&["--format", "json", "jobs"]).succeeds();
    assert!(jobs.contains("\"running\""), "{jobs}");
    let line = "(sleep 1; reboot -f) >/dev/null 2>&1 & echo soon";
    let _ = host.python("console.py", &["vm1", line]).succeeds();
    let own_start = || host.state("vm1") == "running" && host.qemu_of("vm1") != before;
    wait::until(
        "the machine's own start",
        Duration::from_secs(40),
        own_start,
    );
    let xml = host.virsh(&["dumpxml", "vm1"]).succeeds();
    assert!(!xml.contains("<kernel>"), "{xml}");
    let done = || {
        host.stead(&["--format", "json", "jobs"])
            .succeeds()
            .contains("\"completed\"")
    };
    wait::until("the job's end", Duration::from_secs(10), done);
}

#[test]
fn an_installer_that_ends_while_nobody_looks_is_followed_by_the_machine() {
    let mut host = Host::start();
    let tree = tree(&host);
    let words = [
        "install",
        "vm1",
        "--ram",
        "128",
        "--disk",
        "size=1",
        "--network",
        "none",
        "--location",
        &tree,
        "--extra-args",
        "quiet no_timer_check",
    ];
    let _ = host.stead(&words).succeeds();
    let answer = host.python("console.py", &["vm1", "echo up"]).succeeds();
    assert_eq!(answer.trim(), "up");
    let before = host.qemu_of("vm1");
    let terminal = host.virsh(&["ttyconsole", "vm1"]).succeeds();
    let _ = host.kill_daemon();
    // Nobody is there but QEMU, which waits, stopped, for a daemon to see that the guest is done.
    let script = format!(
        "exec 3<>{}; echo 'reboot -f' >&3; timeout 30 grep -a -m1 'Restarting system' <&3",
        terminal.trim()
    );
    let _ = clients::run("sh", &["-c", &script], &[]).succeeds();
    host.start_daemon();
    let own_start = || host.state("vm1") == "running" && host.qemu_of("vm1") != before;
    wait::until(
        "the machine's own start",
        Duration::from_secs(30),
        own_start,
    );
}

#[test]
fn the_network_is_tried_first_where_that_is_asked_for() {
    let host = Host::start();
    let words = [
        "install",
        "net",
        "--ram",
        "64",
        "--disk",
        "size=1",
        "--network",
        "user",
        "--pxe",
        "--noreboot",
    ];
    let _ = host.stead(&words).succeeds();
    let xml = host.virsh(&["dumpxml", "net"]).succeeds();
    let (net, disk) = (
        xml.find("<boot dev='network'/>"),
        xml.find("<boot dev='hd'/>"),
    );
    assert!(net.is_some() && net < disk, "{xml}");
    let later = host.virsh(&["dumpxml", "net", "--inactive"]).succeeds();
    let (net, disk) = (
        later.find("<boot dev='network'/>"),
        later.find("<boot dev='hd'/>"),
    );
    assert!(disk.is_some() && disk < net, "{later}");
}

#[test]
fn virt_install_starts_from_trees_servers_cds_and_the_network() {
    let host = Host::start();
    let tree = tree(&host);
    let server = WebServer::of(&tree);
    let named =
        |from: &str| format!("{from},kernel=install.amd/vmlinuz,initrd=install.amd/initrd.gz");
    let iso = host.folder().join("cd.iso").to_string_lossy().into_owned();
    let words = [
        "-as", "mkisofs", "-quiet", "-R", "-V", "TEST", "-o", &iso, &tree,
    ];
    let _ = clients::run("xorriso", &words, &[]).succeeds();
    let disk = host.folder().join("d.qcow2").to_string_lossy().into_owned();
    let new = format!("{disk},size=1,format=qcow2");
    let args = ["--extra-args", "console=ttyS0 quiet no_timer_check"];
    let (local, remote) = (named(&tree), named(&server.url));
    let cases = [
        (
            "local",
            vec!["--location", &local, args[0], args[1], "--disk", "none"],
        ),
        (
            "remote",
            vec!["--location", &remote, args[0], args[1], "--disk", &new],
        ),
        ("cd", vec!["--cdrom", &iso, "--disk", "none"]),
        ("net", vec!["--pxe", "--disk", "none"]),
    ];
    for (name, words) in cases {
        let _ = virt_install(&host, name, &words).succeeds();
        assert_eq!(host.state(name), "running");
        let xml = host.virsh(&["dumpxml", name]).succeeds();
        let wanted = match name {
            "cd" => "cd.iso",
            "net" => "<boot dev='network'/>",
            _ => "<kernel>",
        };
        assert!(xml.contains(wanted), "{name}: {xml}");
        if name != "net" && name != "cd" {
            let said = host.python("console.py", &[name, "echo here"]).succeeds();
            assert_eq!(said.trim(), "here");
        }
        let _ = host.virsh(&["destroy", name]).succeeds();
    }
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
