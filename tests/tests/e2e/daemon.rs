//! The daemon comes and goes; machines stay.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use stead_tests::{Host, clients, guest, host, wait};

#[test]
fn machines_outlive_a_stopped_and_a_killed_daemon() {
    let mut host = Host::start();
    for name in ["one", "two", "dies"] {
        host.define(&guest::bare_machine(name));
        let _ = host.virsh(&["start", name]).succeeds();
    }
    let _ = host.virsh(&["suspend", "two"]).succeeds();
    let (one, two) = (host.qemu_of("one"), host.qemu_of("two"));

    assert!(host.stop_daemon().success(), "SIGTERM is an orderly end");
    host.start_daemon();
    assert_eq!(
        (host.state("one"), host.state("two")),
        ("running".to_owned(), "paused".to_owned())
    );

    host.kill_daemon();
    host::signal(host.qemu_of("dies"), "KILL");
    host.start_daemon();
    assert_eq!(
        (host.state("one"), host.state("two")),
        ("running".to_owned(), "paused".to_owned())
    );
    assert_eq!(
        (host.qemu_of("one"), host.qemu_of("two")),
        (one, two),
        "still the same processes"
    );
    let reason = host.virsh(&["domstate", "dies", "--reason"]).succeeds();
    assert!(
        reason.starts_with("shut off (") || reason.starts_with("crashed"),
        "{reason}"
    );

    // Found again means under control again.
    let _ = host.virsh(&["resume", "two"]).succeeds();
    let _ = host.virsh(&["destroy", "one"]).succeeds();
    assert!(!host::is_alive(one) && host::is_alive(two));
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_half_made() {
    let mut host = Host::start();
    for round in 0..6 {
        let name = format!("m{round}");
        let path = host.file("m.xml", &guest::bare_machine(&name));
        let uri = host.uri();
        let script = format!("define {path}; start {name}");
        let mut client = Command::new("virsh")
            .args(["-c", &uri, &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("virsh is there");
        // Later in every round, so that another step is hit.
        wait::until("the moment", Duration::from_secs(5), {
            let begin = std::time::Instant::now();
            move || begin.elapsed() >= Duration::from_millis(15 * round)
        });
        host.kill_daemon();
        let _ = client.wait();
        host.start_daemon();
        let listed = host.virsh(&["list", "--all", "--name"]).succeeds();
        let running = listed
            .lines()
            .filter(|name| !name.is_empty())
            .filter(|name| {
                let _ = host.virsh(&["dumpxml", name]).succeeds();
                host.state(name) == "running"
            });
        assert_eq!(
            running.count(),
            host.qemus().len(),
            "every QEMU has its machine and the other way round"
        );
    }
}

#[test]
fn a_second_daemon_on_the_same_root_is_refused() {
    let host = Host::start();
    let second = host
        .daemon_command()
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .output()
        .expect("stead can be run");
    assert!(!second.status.success());
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(
        message.contains(&*host.root().to_string_lossy()),
        "it names the place: {message}"
    );
    assert_eq!(
        host.virsh(&["list", "--name"]).status,
        0,
        "the first one is not disturbed"
    );
}

#[test]
fn the_sockets_let_in_whom_they_should() {
    let host = Host::start();
    let mode = |suffix: &str| {
        fs::metadata(host.socket(suffix))
            .expect("it listens")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("-ro"), 0o777, "anyone may read");
    assert_eq!(mode("") & 0o007, 0, "only root and a group may write");

    host.define(&guest::bare_machine("web1"));
    let uri = format!(
        "qemu+unix:///system?socket={}",
        host.socket("-ro").display()
    );
    let as_nobody = |words: &[&str]| {
        let all = [
            &[
                "--reuid=nobody",
                "--regid=nogroup",
                "--clear-groups",
                "virsh",
                "-r",
                "-c",
                &uri,
            ],
            words,
        ]
        .concat();
        clients::run("setpriv", &all, &[("HOME", "/nonexistent")])
    };
    assert!(as_nobody(&["list", "--all"]).succeeds().contains("web1"));
    assert!(as_nobody(&["start", "web1"]).fails().contains("read only"));
    assert_eq!(host.state("web1"), "shut off");
}

#[test]
fn an_ordinary_user_has_a_session_of_their_own() {
    let folder = tempfile::Builder::new()
        .prefix("st")
        .tempdir_in("/tmp")
        .expect("/tmp can be written");
    let home = folder.path().to_string_lossy().into_owned();
    let nobody = fs::metadata("/proc/self").expect("/proc is mounted").uid();
    assert_eq!(nobody, 0, "this test needs root, to become someone else");
    let owned = Command::new("chown")
        .args(["nobody:nogroup", &home])
        .status();
    assert!(owned.is_ok_and(|status| status.success()));
    let runtime = format!("{home}/run");
    let environment = [
        ("HOME", home.as_str()),
        ("XDG_RUNTIME_DIR", runtime.as_str()),
    ];
    let user = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"];
    let made = clients::run(
        "setpriv",
        &[&user[..], &["mkdir", "-m", "700", &runtime]].concat(),
        &environment,
    );
    let _ = made.succeeds();

    // The user must be able to reach the program, which may lie below root's home.
    let binary = folder.path().join("stead");
    let _ = fs::copy(host::binary(), &binary).expect("there is room");
    let mut daemon = Command::new("setpriv")
        .args(user)
        .arg(&binary)
        .args(["daemon", "--listen", "none"])
        .envs(environment)
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null())
        .spawn()
        .expect("setpriv is there");
    let virsh = |words: &[&str]| {
        let all = [&user[..], &["virsh", "-c", "qemu:///session"], words].concat();
        clients::run("setpriv", &all, &environment)
    };
    wait::until("the session's socket", Duration::from_secs(30), || {
        assert!(
            daemon.try_wait().expect("it is our child").is_none(),
            "the session's daemon ended"
        );
        fs::metadata(format!("{runtime}/libvirt/libvirt-sock")).is_ok()
            || fs::metadata(format!("{runtime}/libvirt/virtqemud-sock")).is_ok()
    });
    let xml = format!("{home}/m.xml");
    fs::write(&xml, guest::bare_machine("mine")).expect("there is room");
    fs::set_permissions(&xml, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let _ = virsh(&["define", &xml]).succeeds();
    let _ = virsh(&["start", "mine"]).succeeds();
    assert_eq!(virsh(&["domstate", "mine"]).succeeds().trim(), "running");
    let _ = virsh(&["destroy", "mine"]).succeeds();
    host::signal(daemon.id(), "TERM");
    assert!(daemon.wait().expect("it is our child").success());
}
