//! Pools and volumes when things go wrong: full disks, directories that hang, a daemon that is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use engine::crash::Step;
use stead_tests::host::signal;
use stead_tests::{Host, wait};

fn run(program: &str, words: &[&str]) {
    let done = Command::new(program).args(words).status();
    assert!(done.expect(program).success(), "{program} {words:?}");
}

/// Something mounted, until it is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn start_pool(host: &Host, name: &str, folder: &Path) {
    let target = folder.to_string_lossy();
    let _ = host
        .virsh(&["pool-create-as", name, "dir", "--target", &target])
        .succeeds();
}

fn unfinished(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with(".stead-unfinished-"))
        .count()
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let host = Host::start();
    let folder = host.folder().join("small");
    fs::create_dir(&folder).expect("made");
    let path = folder.to_string_lossy().into_owned();
    run(
        "mount",
        &["-t", "tmpfs", "-o", "size=8m,mode=755", "none", &path],
    );
    let _mounted = Mounted(folder.clone());
    start_pool(&host, "small", &folder);

    let error = host
        .virsh(&["vol-create-as", "small", "large", "64M"])
        .fails();
    assert!(error.contains("No space left on device"), "{error}");
    let _ = host
        .virsh(&["vol-create-as", "small", "v", "1M", "--allocation", "0"])
        .succeeds();
    fs::write(folder.join("v"), "old content").expect("written");
    let source = host.folder().join("source");
    fs::write(&source, vec![7; 16 << 20]).expect("written");
    let source = source.to_string_lossy().into_owned();
    for run in [Host::virsh, Host::stead] {
        let error = run(&host, &["vol-upload", "v", &source, "small"]).fails();
        assert!(error.contains("No space left on device"), "{error}");
    }
    let left = fs::read(folder.join("v")).expect("it is there");
    assert!(
        left == b"old content",
        "{} bytes of something else",
        left.len()
    );
    assert_eq!(
        host.virsh(&["-q", "vol-list", "small"])
            .succeeds()
            .trim()
            .lines()
            .count(),
        1
    );
    assert_eq!(unfinished(&folder), 0);
}

/// A file that a stopped program serves: whoever looks at it waits for ever.
struct HangingFile(Child);

impl HangingFile {
    /// Serves `file` at itself.
    fn serve(file: &Path, backend: &Path) -> HangingFile {
        fs::write(backend, vec![0; 1 << 20]).expect("written");
        fs::write(file, "").expect("written");
        let (file_path, backend) = (file.display(), backend.display());
        let server = Command::new("qemu-storage-daemon")
            .args([
                "--blockdev",
                &format!("driver=file,node-name=n,filename={backend}"),
            ])
            .args([
                "--export",
                &format!("type=fuse,id=e,node-name=n,mountpoint={file_path},writable=on"),
            ])
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-storage-daemon is there");
        let server = HangingFile(server);
        wait::until("the served file", Duration::from_secs(20), || {
            fs::metadata(file).is_ok_and(|metadata| metadata.len() == 1 << 20)
        });
        server
    }

    fn stop(&self) {
        signal(self.0.id(), "STOP");
    }

    fn go_on(&self) {
        signal(self.0.id(), "CONT");
    }
}

impl Drop for HangingFile {
    fn drop(&mut self) {
        self.go_on();
        signal(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

#[test]
fn a_directory_that_hangs_holds_up_nobody_else() {
    let mut host = Host::start();
    let folder = host.folder().join("hangs");
    fs::create_dir(&folder).expect("made");
    let file = HangingFile::serve(&folder.join("served"), &host.folder().join("backend"));
    start_pool(&host, "hangs", &folder);
    fs::create_dir(host.folder().join("fine")).expect("made");
    start_pool(&host, "fine", &host.folder().join("fine"));
    file.stop();

    let begin = Instant::now();
    let error = std::thread::scope(|scope| {
        let refresh = scope.spawn(|| host.virsh(&["pool-refresh", "hangs"]));
        // Meanwhile everything else goes on.
        for words in [
            &["vol-create-as", "fine", "v", "1M"][..],
            &["pool-refresh", "fine"],
            &["vol-list", "hangs", "--details"],
            &["pool-dumpxml", "hangs"],
            &["vol-delete", "v", "fine"],
            &["list", "--all"],
        ] {
            let one = Instant::now();
            let _ = host.virsh(words).succeeds();
            assert!(
                one.elapsed() < Duration::from_secs(5),
                "{words:?} took {:?}",
                one.elapsed()
            );
        }
        refresh.join().expect("virsh ends").fails()
    });
    assert!(error.contains("'hangs' has not answered for"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20));
    // Who comes next is told at once.
    let again = Instant::now();
    let error = host.virsh(&["vol-create-as", "hangs", "v", "1M"]).fails();
    assert!(error.contains("has not answered for"), "{error}");
    assert!(again.elapsed() < Duration::from_secs(5));
    // Also a daemon that comes back does not wait for it.
    let _ = host.kill_daemon();
    let start = Instant::now();
    host.start_daemon();
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "the start took {:?}",
        start.elapsed()
    );
    let _ = host.virsh(&["vol-list", "fine"]).succeeds();
    file.go_on();
    wait::until("the pool", Duration::from_secs(20), || {
        host.virsh(&["pool-refresh", "hangs"]).status == 0
    });
}

/// The steps of an operation of the engine's table.
fn steps_of(operation: &str) -> impl Iterator<Item = &'static str> {
    let prefix = format!("{operation}/");
    let steps = Step::ALL.iter().map(|step| step.name());
    steps.filter(move |name| name.starts_with(&prefix))
}

#[test]
fn a_volume_is_there_or_not_wherever_the_daemon_dies() {
    let mut host = Host::without_daemon();
    let folder = host.folder().join("p");
    fs::create_dir(&folder).expect("made");
    host.start_daemon();
    let target = folder.to_string_lossy().into_owned();
    let _ = host
        .virsh(&["pool-define-as", "p", "dir", "--target", &target])
        .succeeds();
    let _ = host.virsh(&["pool-autostart", "p"]).succeeds();
    let _ = host.virsh(&["pool-start", "p"]).succeeds();
    assert!(host.stop_daemon().success());
    for step in steps_of("vol-make") {
        for format in ["raw", "qcow2"] {
            host.start_daemon_to_crash_at(step);
            let _ = host
                .virsh(&["vol-create-as", "p", "v", "4M", "--format", format])
                .fails();
            host.wait_for_crash(step);
            host.start_daemon();
            let list = host.virsh(&["-q", "vol-list", "p"]).succeeds();
            assert_eq!(
                list.contains(" v "),
                step == "vol-make/named",
                "after {step}: {list}"
            );
            assert_eq!(unfinished(&folder), 0, "after {step}");
            if list.contains(" v ") {
                let info = host.virsh(&["vol-info", "v", "p", "--bytes"]).succeeds();
                assert!(info.contains("4194304 bytes"), "{info}");
                let _ = host.virsh(&["vol-delete", "v", "p"]).succeeds();
            }
            assert!(host.stop_daemon().success());
        }
    }
}

#[test]
fn an_upload_is_complete_or_has_not_been_wherever_the_daemon_dies() {
    let mut host = Host::start();
    let folder = host.folder().join("p");
    fs::create_dir(&folder).expect("made");
    start_pool(&host, "p", &folder);
    let _ = host.virsh(&["vol-create-as", "p", "v", "2M"]).succeeds();
    assert!(host.stop_daemon().success());
    let source = host.folder().join("source");
    fs::write(&source, vec![b'n'; 2 << 20]).expect("written");
    let source = source.to_string_lossy().into_owned();
    for step in steps_of("vol-upload") {
        fs::write(folder.join("v"), vec![b'o'; 2 << 20]).expect("written");
        host.start_daemon_to_crash_at(step);
        let _ = host.virsh(&["vol-upload", "v", &source, "p"]).fails();
        host.wait_for_crash(step);
        host.start_daemon();
        let now = fs::read(folder.join("v")).expect("it is there");
        let expected = if step == "vol-upload/named" {
            b'n'
        } else {
            b'o'
        };
        assert!(
            now.len() == 2 << 20 && now.iter().all(|byte| *byte == expected),
            "after {step}"
        );
        assert_eq!(unfinished(&folder), 0, "after {step}");
        assert!(host.stop_daemon().success());
    }
}

#[test]
fn a_device_is_formatted_and_mounted() {
    let host = Host::start();
    let image = host.folder().join("device");
    let file = fs::File::create(&image).expect("made");
    file.set_len(64 << 20).expect("extended");
    let folder = host.folder().join("mnt");
    let (device, target) = (image.to_string_lossy(), folder.to_string_lossy());
    let words = [
        "pool-define-as",
        "disk",
        "fs",
        "--source-dev",
        &device,
        "--source-format",
        "ext4",
        "--target",
        &target,
    ];
    let _ = host.virsh(&words).succeeds();
    let _mounted = Mounted(folder.clone());
    let error = host.virsh(&["pool-start", "disk"]).fails();
    assert!(error.contains("pool-build makes it"), "{error}");
    let _ = host.virsh(&["pool-build", "disk"]).succeeds();
    let error = host.virsh(&["pool-start", "disk"]).fails();
    assert!(error.contains("holds no file system"), "{error}");
    assert!(!error.contains("dmesg"), "{error}");
    let _ = host
        .virsh(&["pool-build", "disk", "--no-overwrite"])
        .succeeds();
    let other = host.folder().join("other");
    let _ = fs::copy(&image, &other).expect("there is room");
    let error = host
        .virsh(&["pool-build", "disk", "--no-overwrite"])
        .fails();
    assert!(error.contains("already 'ext4'"), "{error}");
    let _ = host.virsh(&["pool-start", "disk"]).succeeds();
    let _ = host.virsh(&["vol-create-as", "disk", "v", "1M"]).succeeds();
    assert!(folder.join("v").exists());
    let mounts = fs::read_to_string("/proc/mounts").expect("the kernel tells");
    let mount = mounts
        .lines()
        .find(|line| line.contains(&*target))
        .expect("it is mounted");
    assert!(
        mount.contains("nosuid") && mount.contains("noexec"),
        "{mount}"
    );
    // Behind the daemon's back: nothing is made on the disk below.
    let unmounted = Command::new("umount").arg("-l").arg(&folder).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    for words in [
        &["pool-refresh", "disk"][..],
        &["vol-create-as", "disk", "w", "1M"],
    ] {
        let error = host.virsh(words).fails();
        assert!(error.contains("nothing is mounted at"), "{error}");
    }
    let _ = host.virsh(&["pool-destroy", "disk"]).succeeds();
    assert!(!folder.join("v").exists() && !folder.join("w").exists());
    let mounted = Command::new("mount")
        .args(["-t", "ext4", "-o", "loop"])
        .arg(&other)
        .arg(&folder)
        .status();
    assert!(mounted.is_ok_and(|status| status.success()));
    let error = host.virsh(&["pool-start", "disk"]).fails();
    assert!(
        error.contains("already, and the pool's device is"),
        "{error}"
    );
    let unmounted = Command::new("umount").arg(&folder).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    let _ = host.virsh(&["pool-start", "disk"]).succeeds();
    assert!(folder.join("v").exists());
    let _ = host.virsh(&["pool-destroy", "disk"]).succeeds();
    let _ = host
        .virsh(&["pool-build", "disk", "--overwrite"])
        .succeeds();
    let _ = host.virsh(&["pool-start", "disk"]).succeeds();
    assert!(!folder.join("v").exists());
    let _ = host.virsh(&["pool-destroy", "disk"]).succeeds();
}
