//! The engine with a real QEMU: machines without a guest system, which is
//! all that life cycle, adoption and errors need. Reported as skipped where
//! no QEMU is installed.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::Path;
use std::time::{Duration, Instant};
use stead_engine::events::Happening;
use stead_engine::machine::{LifecycleEvent, OffReason, PausedReason, Status, StoppedDetail};
use stead_engine::options::{
    Affect, DeviceChange, SaveOptions, SessionId, StartOptions, UndefineOptions, XmlOptions,
};
use stead_engine::places::Places;
use stead_engine::stats::StatsWanted;
use stead_engine::{Config, DomainHandle, Engine, ErrorKind, Mode};
use tempfile::TempDir;

/// A machine without disk or network.
fn tiny(name: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features><devices>\
         <controller type='usb' model='none'/><memballoon model='none'/>{devices}</devices></domain>"
    )
}

struct Host {
    root: TempDir,
    engine: Engine,
}

async fn host() -> Option<Host> {
    if !Path::new("/usr/bin/qemu-system-x86_64").exists() {
        eprintln!("skipped: no QEMU is installed");
        return None;
    }
    // Short, so that socket paths fit; readable for QEMU's own user.
    let root = tempfile::Builder::new()
        .prefix("stead")
        .tempdir_in("/tmp")
        .expect("directory");
    std::process::Command::new("chmod")
        .arg("755")
        .arg(root.path())
        .status()
        .expect("chmod");
    let engine = Engine::start(config(root.path())).await.expect("engine");
    Some(Host { root, engine })
}

fn config(root: &Path) -> Config {
    Config::new(Mode::System, Places::below(root))
}

impl Host {
    /// The daemon goes and another comes: what a restart is to machines.
    async fn restart(self) -> Self {
        self.restart_after(|| ()).await
    }

    /// The same, and something happens while no daemon watches.
    async fn restart_after(self, meanwhile: impl FnOnce()) -> Self {
        let Self { root, engine } = self;
        engine.stop();
        drop(engine);
        meanwhile();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match Engine::start(config(root.path())).await {
                Ok(engine) => return Self { root, engine },
                // The old engine's tasks let go of the lock when they next run.
                Err(error)
                    if error.kind == ErrorKind::OperationInvalid && Instant::now() < deadline =>
                {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn end(self) {
        for domain in self.engine.domains() {
            if domain.view().is_active() {
                domain.destroy(false).await.expect("destroy");
            }
        }
    }
}

async fn define(host: &Host, name: &str, devices: &str) -> DomainHandle {
    host.engine
        .define(&tiny(name, devices))
        .await
        .expect("define")
}

/// Waits until the domain is as wanted.
async fn until(domain: &DomainHandle, what: impl Fn(Status) -> bool) -> Status {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status = domain.view().status;
        if what(status) {
            return status;
        }
        assert!(Instant::now() < deadline, "still {status:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_defined_started_suspended_resumed_and_destroyed() {
    let Some(host) = host().await else { return };
    let mut events = host.engine.events();
    let vm = define(&host, "vm", "<console type='pty'/>").await;
    assert!(vm.view().is_persistent() && !vm.view().is_active());
    vm.start(StartOptions::default()).await.expect("start");
    assert!(matches!(vm.view().status, Status::Running(_)));
    let again = vm
        .start(StartOptions::default())
        .await
        .expect_err("it runs already");
    assert_eq!(again.message, "domain is already running");

    let xml = vm.xml(XmlOptions::default()).expect("xml");
    assert!(xml.contains("<domain type='qemu' id='1'>"), "{xml}");
    assert!(xml.contains("tty='/dev/pts/"), "{xml}");
    assert!(xml.contains("<alias name='serial0'/>"), "{xml}");

    vm.suspend().await.expect("suspend");
    assert_eq!(vm.view().status, Status::Paused(PausedReason::User));
    vm.resume().await.expect("resume");
    vm.destroy(false).await.expect("destroy");
    assert_eq!(vm.view().status, Status::Off(OffReason::Destroyed));
    assert!(vm.view().live.is_none());

    let mut seen = Vec::new();
    while seen.last() != Some(&LifecycleEvent::Stopped(StoppedDetail::Destroyed)) {
        if let Happening::Lifecycle(event) = events.next().await.expect("event").what {
            seen.push(event);
        }
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    vm.undefine(UndefineOptions::default())
        .await
        .expect("undefine");
    assert!(host.engine.domain_by_name("vm").is_err());
    assert_eq!(
        std::fs::read_dir(host.root.path().join("run/qemu"))
            .expect("runs")
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_outlive_the_engine_and_are_found_again() {
    let Some(host) = host().await else { return };
    let kept = define(&host, "kept", "<console type='pty'/>").await;
    let died = define(&host, "died", "").await;
    host.engine
        .create(&tiny("transient", ""), StartOptions::default())
        .await
        .expect("create");
    kept.start(StartOptions::default()).await.expect("start");
    died.start(StartOptions::default()).await.expect("start");
    kept.suspend().await.expect("suspend");
    let pids = [
        kept.live().expect("live").pid(),
        died.live().expect("live").pid(),
    ];
    drop((kept, died));

    let host = host.restart().await;
    let kept = host.engine.domain_by_name("kept").expect("kept");
    assert_eq!(kept.view().status, Status::Paused(PausedReason::User));
    assert_eq!(kept.live().expect("live").pid(), pids[0]);
    let transient = host.engine.domain_by_name("transient").expect("transient");
    assert!(!transient.view().is_persistent() && transient.view().is_active());
    drop((kept, transient));

    // A QEMU that dies while nobody watches is known for dead.
    let died = host.engine.domain_by_name("died").expect("died");
    let process = died.live().expect("live").pid();
    drop(died);
    let kill = || {
        std::process::Command::new("kill")
            .args(["-9", &process.to_string()])
            .status()
            .expect("kill");
    };
    let host = host.restart_after(kill).await;
    let died = host.engine.domain_by_name("died").expect("died");
    until(&died, |status| status == Status::Off(OffReason::Crashed)).await;
    let kept = host.engine.domain_by_name("kept").expect("kept");
    kept.resume().await.expect("resume");
    kept.destroy(false).await.expect("destroy");
    drop((kept, died));
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_that_dies_is_a_crash_with_a_reason() {
    let Some(host) = host().await else { return };
    let vm = define(&host, "vm", "").await;
    vm.start(StartOptions::default()).await.expect("start");
    let pid = vm.live().expect("live").pid().to_string();
    std::process::Command::new("kill")
        .args(["-SEGV", &pid])
        .status()
        .expect("kill");
    until(&vm, |status| status == Status::Off(OffReason::Crashed)).await;
    let reason = host.engine.crash_reason(vm.uuid()).expect("a reason");
    assert!(reason.contains("signal 11"), "{reason}");
    vm.start(StartOptions::default())
        .await
        .expect("it can be started again");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_qemu_times_out_alone_and_can_be_destroyed_at_once() {
    let Some(host) = host().await else { return };
    let held = define(&host, "held", "").await;
    let free = define(&host, "free", "").await;
    held.start(StartOptions::default()).await.expect("start");
    free.start(StartOptions::default()).await.expect("start");
    let pid = held.live().expect("live").pid().to_string();
    std::process::Command::new("kill")
        .args(["-STOP", &pid])
        .status()
        .expect("kill");

    let began = Instant::now();
    let wanted = StatsWanted {
        cpu: true,
        balloon: true,
        vcpu: true,
        interface: true,
        block: true,
        dirty_rate: false,
        perf: false,
        iothread: false,
    };
    let both = [held.clone(), free.clone()];
    let stats = stead_engine::stats::stats_of_all(&both, wanted).await;
    assert!(stats[1].cpu.is_some());
    free.suspend().await.expect("the other is not disturbed");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );

    let suspending = tokio::spawn({
        let held = held.clone();
        async move { held.suspend().await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    held.destroy(false).await.expect("destroy");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    suspending
        .await
        .expect("task")
        .expect_err("its QEMU is gone");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_says_why_and_leaves_nothing() {
    let Some(host) = host().await else { return };
    let missing = "<disk type='file' device='disk'><driver name='qemu' type='raw'/>\
                   <source file='/nowhere/disk.img'/><target dev='vda' bus='virtio'/></disk>";
    let vm = define(&host, "vm", missing).await;
    let error = vm
        .start(StartOptions::default())
        .await
        .expect_err("no disk");
    assert!(error.message.contains("/nowhere/disk.img"), "{error}");
    assert!(
        error.message.contains("No such file or directory"),
        "{error}"
    );
    assert_eq!(vm.view().status, Status::Off(OffReason::Failed));

    let broken = tiny("broken", "").replace(
        "</devices>",
        "</devices><qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
         <qemu:arg value='-no-such-option'/></qemu:commandline>",
    );
    let error = host
        .engine
        .create(&broken, StartOptions::default())
        .await
        .expect_err("refused");
    assert!(
        error.message.contains("-no-such-option"),
        "QEMU's own words: {error}"
    );
    assert!(
        host.engine.domain_by_name("broken").is_err(),
        "a transient one is gone"
    );
    assert_eq!(
        std::fs::read_dir(host.root.path().join("run/qemu"))
            .expect("runs")
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_save_is_used_by_the_next_start() {
    let Some(host) = host().await else { return };
    let vm = define(&host, "vm", "").await;
    vm.start(StartOptions::default()).await.expect("start");
    vm.save(SaveOptions::default()).await.expect("managed save");
    assert_eq!(vm.view().status, Status::Off(OffReason::Saved));
    assert!(vm.view().managed_save);
    let refused = vm
        .undefine(UndefineOptions::default())
        .await
        .expect_err("the image is in the way");
    assert!(
        refused.message.contains("managed save image exists"),
        "{refused}"
    );
    drop(vm);

    let host = host.restart().await;
    let vm = host.engine.domain_by_name("vm").expect("vm");
    assert!(vm.view().managed_save, "it is found again");
    vm.start(StartOptions::default())
        .await
        .expect("start from it");
    assert!(matches!(vm.view().status, Status::Running(reason) if reason.number() == 3));
    assert!(!vm.view().managed_save);
    drop(vm);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_saved_to_a_file_is_restored_by_name_of_the_file() {
    let Some(host) = host().await else { return };
    let vm = host
        .engine
        .create(&tiny("vm", ""), StartOptions::default())
        .await
        .expect("create");
    let path = host.root.path().join("vm.state");
    let options = SaveOptions {
        path: Some(path.clone()),
        ..SaveOptions::default()
    };
    vm.save(options).await.expect("save");
    assert!(
        host.engine.domain_by_name("vm").is_err(),
        "a transient machine ends with its save"
    );
    let vm = host
        .engine
        .restore(&path, None, Some(false))
        .await
        .expect("restore");
    assert!(matches!(vm.view().status, Status::Paused(_)));
    vm.resume().await.expect("resume");
    drop(vm);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_definitions_are_kept_apart() {
    let Some(host) = host().await else { return };
    let vm = define(&host, "vm", "").await;
    let other = host
        .engine
        .define(&tiny("vm", ""))
        .await
        .expect_err("another uuid, the same name");
    assert_eq!(other.kind, ErrorKind::DomainExists);
    vm.rename("www").await.expect("rename");
    assert_eq!(&*vm.view().name, "www");
    let vm2 = define(&host, "vm", "").await;
    let taken = vm2.rename("www").await.expect_err("taken");
    assert_eq!(taken.kind, ErrorKind::DomainExists);
    vm.set_autostart(true).await.expect("autostart");
    drop((vm, vm2));
    let host = host.restart().await;
    let vm = host.engine.domain_by_name("www").expect("renamed for good");
    assert!(vm.view().autostart);
    assert!(
        vm.xml(XmlOptions::default())
            .expect("xml")
            .contains("<name>www</name>")
    );
    assert_eq!(host.engine.domain_counts(), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_ends_with_the_client_that_wanted_it_so() {
    let Some(host) = host().await else { return };
    let session = SessionId(7);
    let options = StartOptions {
        autodestroy: Some(session),
        paused: true,
        ..StartOptions::default()
    };
    let vm = host
        .engine
        .create(&tiny("vm", ""), options)
        .await
        .expect("create");
    assert!(matches!(vm.view().status, Status::Paused(_)));
    host.engine.session_closed(SessionId(8)).await;
    assert!(vm.view().is_active());
    host.engine.session_closed(session).await;
    assert!(!vm.view().is_active());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_that_hangs_over_a_restart_is_shown_and_comes_back() {
    let Some(host) = host().await else { return };
    let vm = define(&host, "vm", "").await;
    vm.start(StartOptions::default()).await.expect("start");
    let pid = vm.live().expect("live").pid().to_string();
    drop(vm);
    let signal = |name: &str| {
        std::process::Command::new("kill")
            .args([name, &pid])
            .status()
            .expect("kill");
    };
    signal("-STOP");
    let host = host.restart().await;
    let vm = host.engine.domain_by_name("vm").expect("it is known");
    assert!(
        matches!(vm.view().status, Status::Running(_)),
        "as it was recorded"
    );
    let error = vm.suspend().await.expect_err("it does not answer");
    assert!(error.message.contains("has not answered"), "{error}");
    signal("-CONT");
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = vm.suspend().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(vm.view().status, Status::Paused(PausedReason::User));
    drop(vm);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_plugged_in_and_a_medium_changed() {
    let Some(host) = host().await else { return };
    for name in ["a.iso", "b.iso", "disk.img"] {
        std::fs::write(host.root.path().join(name), vec![0; 1 << 20]).expect("image");
    }
    let path = |name: &str| host.root.path().join(name).display().to_string();
    let cdrom = |file: &str| {
        format!(
            "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>{}\
             <target dev='hda' bus='ide'/><readonly/></disk>",
            if file.is_empty() {
                String::new()
            } else {
                format!("<source file='{}'/>", path(file))
            }
        )
    };
    let vm = define(&host, "vm", &cdrom("a.iso")).await;
    vm.start(StartOptions::default()).await.expect("start");
    let both = Affect {
        live: true,
        config: true,
    };
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/></disk>",
        path("disk.img")
    );
    vm.change_device(DeviceChange::Attach, &disk, both)
        .await
        .expect("attach");
    let twice = vm
        .change_device(DeviceChange::Attach, &disk, both)
        .await
        .expect_err("it is there");
    assert!(
        twice.message.contains("target vda already exists"),
        "{twice}"
    );
    let live = vm.xml(XmlOptions::default()).expect("xml");
    assert!(live.contains("<alias name='virtio-disk0'/>"), "{live}");
    let stored = vm
        .xml(XmlOptions {
            inactive: true,
            ..XmlOptions::default()
        })
        .expect("xml");
    assert!(
        stored.contains("disk.img") && !stored.contains("virtio-disk0"),
        "{stored}"
    );
    let blocks = vm
        .monitor_command("info block", true)
        .await
        .expect("monitor");
    assert!(blocks.contains("virtio-disk0"), "{blocks}");

    let live_only = Affect {
        live: true,
        config: false,
    };
    vm.change_device(DeviceChange::Update, &cdrom("b.iso"), live_only)
        .await
        .expect("insert");
    vm.change_device(DeviceChange::Update, &cdrom(""), live_only)
        .await
        .expect("eject");
    assert!(!vm.xml(XmlOptions::default()).expect("xml").contains(".iso"));

    let missing = disk.replace("disk.img", "none.img").replace("vda", "vdb");
    let error = vm
        .change_device(DeviceChange::Attach, &missing, live_only)
        .await
        .expect_err("no file");
    assert!(error.message.contains("none.img"), "{error}");
    let nodes = vm
        .monitor_command(r#"{"execute":"query-named-block-nodes"}"#, false)
        .await
        .expect("nodes");
    assert!(
        !nodes.contains("none.img"),
        "nothing is left of it: {nodes}"
    );
    drop(vm);
    host.end().await;
}
