//! Pools and volumes: virsh and stead against the daemon.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use stead_tests::{Host, guest};

/// A pool that is a new directory, in use.
pub(crate) fn pool(host: &Host, name: &str) -> PathBuf {
    let folder = host.folder().join(name);
    let target = folder.to_string_lossy().into_owned();
    let words = [
        "pool-create-as",
        name,
        "dir",
        "--target",
        &target,
        "--build",
    ];
    let _ = host.virsh(&words).succeeds();
    folder
}

fn names(host: &Host, pool: &str) -> Vec<String> {
    let list = host.virsh(&["-q", "vol-list", pool]).succeeds();
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    list.lines().filter_map(first).collect()
}

/// What is in a directory, also what is no volume.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_pool_is_defined_built_started_and_survives_the_daemon() {
    let mut host = Host::start();
    let target = host.folder().join("images");
    let path = target.to_string_lossy().into_owned();
    let _ = host
        .virsh(&["pool-define-as", "images", "dir", "--target", &path])
        .succeeds();
    let error = host.virsh(&["pool-start", "images"]).fails();
    assert!(
        error.contains(&format!(
            "cannot open directory '{path}': No such file or directory"
        )),
        "{error}"
    );
    let _ = host.virsh(&["pool-build", "images"]).succeeds();
    let _ = host.virsh(&["pool-start", "images"]).succeeds();
    let _ = host
        .virsh(&[
            "vol-create-as",
            "images",
            "a.qcow2",
            "8M",
            "--format",
            "qcow2",
        ])
        .succeeds();
    pool(&host, "passing");

    let _ = host.kill_daemon();
    host.start_daemon();
    let list = host.virsh(&["pool-list", "--name"]).succeeds();
    assert!(
        list.contains("images") && list.contains("passing"),
        "both are in use again: {list}"
    );
    assert_eq!(names(&host, "images"), ["a.qcow2"]);

    let _ = host.virsh(&["pool-destroy", "passing"]).succeeds();
    assert!(
        !host
            .virsh(&["pool-list", "--all", "--name"])
            .succeeds()
            .contains("passing")
    );
    let error = host.virsh(&["pool-undefine", "images"]).fails();
    assert!(
        error.contains("storage pool 'images' is still active"),
        "{error}"
    );
    let _ = host.virsh(&["vol-delete", "a.qcow2", "images"]).succeeds();
    let _ = host.virsh(&["pool-destroy", "images"]).succeeds();
    let _ = host.virsh(&["pool-delete", "images"]).succeeds();
    assert!(!target.exists());
    let _ = host.virsh(&["pool-undefine", "images"]).succeeds();
    let error = host.virsh(&["pool-info", "images"]).fails();
    assert!(
        error.contains("Storage pool not found: no storage pool with matching name 'images'"),
        "{error}"
    );
}

#[test]
fn kinds_that_cannot_be_used_are_refused_by_name() {
    let host = Host::start();
    let words = [
        "pool-define-as",
        "far",
        "iscsi",
        "--source-host",
        "h",
        "--source-dev",
        "d",
        "--target",
        "/dev",
    ];
    let error = host.virsh(&words).fails();
    assert!(
        error.contains("storage pools of type 'iscsi' are not supported yet"),
        "{error}"
    );
    let capabilities = host.virsh(&["pool-capabilities"]).succeeds();
    assert!(
        capabilities.contains("<pool type='fs' supported='yes'>"),
        "{capabilities}"
    );
    assert!(
        capabilities.contains("<pool type='iscsi' supported='no'>"),
        "{capabilities}"
    );
}

#[test]
fn stead_says_of_pools_and_volumes_what_virsh_says() {
    let host = Host::start();
    let folder = pool(&host, "p");
    for (name, rest) in [
        ("raw", &["--allocation", "0"][..]),
        ("a.qcow2", &["--format", "qcow2"]),
        (
            "b.qcow2",
            &[
                "--format",
                "qcow2",
                "--backing-vol",
                "a.qcow2",
                "--backing-vol-format",
                "qcow2",
            ],
        ),
    ] {
        let words = [&["vol-create-as", "p", name, "16M"], rest].concat();
        let _ = host.stead(&words).succeeds();
    }
    let raw = folder.join("raw").to_string_lossy().into_owned();
    let missing = host.folder().join("nothing").to_string_lossy().into_owned();
    for words in [
        &["pool-list", "--all"][..],
        &["pool-list", "--details"],
        &["pool-list", "--uuid"],
        &["pool-list", "--type", "fs"],
        &["pool-info", "p"],
        &["pool-info", "p", "--bytes"],
        &["pool-dumpxml", "p"],
        &["pool-uuid", "p"],
        &["pool-autostart", "p"],
        &["pool-capabilities"],
        &["pool-event", "--list"],
        &[
            "pool-define-as",
            "n",
            "dir",
            "--target",
            "/t",
            "--print-xml",
        ],
        &["find-storage-pool-sources", "dir"],
        &["vol-list", "p"],
        &["vol-list", "p", "--details"],
        &["vol-info", "a.qcow2", "p"],
        &["vol-info", "raw", "p", "--bytes", "--physical"],
        &["vol-dumpxml", "b.qcow2", "p"],
        &["vol-dumpxml", "nothing", "p"],
        &["vol-key", "raw", "p"],
        &["vol-path", "raw", "p"],
        &["vol-name", &raw],
        &["vol-pool", &raw],
        &["vol-pool", "/nowhere/x"],
        &["vol-info", "raw"],
        &["vol-resize", "raw", "1M", "p"],
        &["vol-resize", "raw", "1x", "p"],
        &["vol-wipe", "raw", "p", "--algorithm", "soap"],
        &["vol-create-as", "p", "raw", "1M"],
        &["vol-create-as", "p", "x", "1M", "--format", "soap"],
        &["vol-upload", "nothing", &raw, "p"],
        &["vol-download", "raw", &missing, "nopool"],
        &["vol-delete", "nothing", "p"],
    ] {
        let (virsh, stead) = (host.virsh(words), host.stead(words));
        assert_eq!(
            stead.stdout, virsh.stdout,
            "{words:?}: stead said {stead:?}"
        );
        assert_eq!(
            (stead.status, &stead.stderr),
            (virsh.status, &virsh.stderr),
            "{words:?}"
        );
    }
}

#[test]
fn volumes_of_every_format_are_made_copied_and_resized() {
    let host = Host::start();
    let folder = pool(&host, "p");
    for format in ["raw", "qcow2", "vmdk", "vdi", "qed", "qcow"] {
        let _ = host
            .virsh(&["vol-create-as", "p", format, "8M", "--format", format])
            .succeeds();
        let copy = format!("copy-{format}");
        let _ = host.virsh(&["vol-clone", format, &copy, "p"]).succeeds();
        for name in [format, &copy] {
            let info = host.virsh(&["vol-info", name, "p", "--bytes"]).succeeds();
            assert!(
                info.contains("Capacity:       8388608 bytes"),
                "{name}: {info}"
            );
            let xml = host.virsh(&["vol-dumpxml", name, "p"]).succeeds();
            assert!(xml.contains(&format!("<format type='{format}'/>")), "{xml}");
        }
    }
    let xml = host.file(
        "options.xml",
        "<volume><name>options</name><capacity unit='MiB'>8</capacity><target><format type='qcow2'/>\
         <clusterSize unit='KiB'>128</clusterSize><features><lazy_refcounts/><extended_l2/></features>\
         </target></volume>",
    );
    let _ = host.virsh(&["vol-create", "p", &xml]).succeeds();
    let shown = host.virsh(&["vol-dumpxml", "options", "p"]).succeeds();
    for part in [
        "<clusterSize unit='B'>131072</clusterSize>",
        "<lazy_refcounts/>",
        "<extended_l2/>",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    for (words, capacity) in [
        (&["16M"][..], 16 << 20),
        (&["4M", "--delta"], 20 << 20),
        (&["8M", "--shrink"], 8 << 20),
    ] {
        for name in ["raw", "qcow2"] {
            let _ = host
                .virsh(&[&["vol-resize", name, words[0], "p"], &words[1..]].concat())
                .succeeds();
            let info = host.virsh(&["vol-info", name, "p", "--bytes"]).succeeds();
            assert!(
                info.contains(&format!("Capacity:       {capacity} bytes")),
                "{info}"
            );
        }
    }
    let check = Command::new("qemu-img")
        .arg("check")
        .arg(folder.join("qcow2"))
        .status();
    assert!(check.expect("qemu-img is there").success());
    assert!(
        files(&folder).iter().all(|name| !name.starts_with('.')),
        "{:?}",
        files(&folder)
    );
}

#[test]
fn a_file_a_header_names_is_not_opened() {
    let host = Host::start();
    let folder = pool(&host, "p");
    let evil = folder.join("evil.qcow2");
    let made = Command::new("qemu-img")
        .args([
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-b",
            "/etc/shadow",
            "-F",
            "raw",
        ])
        .arg(&evil)
        .arg("1M")
        .status();
    assert!(made.expect("qemu-img is there").success());
    let _ = host.virsh(&["pool-refresh", "p"]).succeeds();
    let xml = host.virsh(&["vol-dumpxml", "evil.qcow2", "p"]).succeeds();
    assert!(
        xml.contains("<path>/etc/shadow</path>"),
        "it is shown: {xml}"
    );
    let copy = host.file(
        "copy.xml",
        "<volume><name>copy</name><capacity>0</capacity><target><format type='raw'/></target></volume>",
    );
    let error = host
        .virsh(&[
            "vol-create-from",
            "p",
            &copy,
            "evil.qcow2",
            "--inputpool",
            "p",
        ])
        .fails();
    assert!(
        error.contains("'/etc/shadow', which is no volume of an active storage pool"),
        "{error}"
    );
    assert_eq!(files(&folder), ["evil.qcow2"]);

    // Nor does a machine get it, and it stays whose it is.
    let disk = evil.to_string_lossy().into_owned();
    let owner = || {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata("/etc/shadow").expect("Debian has it");
        (metadata.uid(), metadata.gid(), metadata.mode())
    };
    let before = owner();
    host.define(&with_disk("curious", &disk));
    let error = host.virsh(&["start", "curious"]).fails();
    assert!(
        error.contains("'/etc/shadow', which is not there or cannot be an image"),
        "{error}"
    );
    assert_eq!(owner(), before);
}

/// A machine with a qcow2 disk.
fn with_disk(name: &str, disk: &str) -> String {
    let disk = format!(
        "<devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    guest::bare_machine(name).replace("<devices>", &disk)
}

#[test]
fn images_in_use_and_images_others_build_upon_stay_as_they_are() {
    let host = Host::start();
    let folder = pool(&host, "p");
    let _ = host
        .virsh(&["vol-create-as", "p", "base", "8M", "--format", "qcow2"])
        .succeeds();
    let words = [
        "vol-create-as",
        "p",
        "top",
        "8M",
        "--format",
        "qcow2",
        "--backing-vol",
        "base",
        "--backing-vol-format",
        "qcow2",
    ];
    let _ = host.virsh(&words).succeeds();
    let error = host.virsh(&["vol-wipe", "base", "p"]).fails();
    assert!(
        error.contains("it is the base of") && error.contains("/top"),
        "{error}"
    );
    let disk = folder.join("top").to_string_lossy().into_owned();
    host.define(&with_disk("one", &disk));
    host.define(&with_disk("two", &disk));
    let error = host.virsh(&["vol-delete", "base", "p"]).fails();
    assert!(error.contains("it is the base of one, two"), "{error}");
    let _ = host.virsh(&["start", "one"]).succeeds();
    let upload = host.file("upload", "x");
    for words in [
        &["vol-resize", "top", "16M", "p"][..],
        &["vol-upload", "top", &upload, "p"],
        &["vol-wipe", "top", "p"],
        &["vol-delete", "top", "p"],
    ] {
        let error = host.virsh(words).fails();
        assert!(
            error.contains("the running machine 'one' uses it"),
            "{words:?}: {error}"
        );
    }
    let error = host.virsh(&["start", "two"]).fails();
    assert!(
        error.contains("lock") && error.contains(&disk),
        "who has the disk is told: {error}"
    );
    let _ = host.virsh(&["destroy", "one"]).succeeds();
    let _ = host.virsh(&["start", "two"]).succeeds();
    let _ = host.virsh(&["destroy", "two"]).succeeds();
    for name in ["one", "two"] {
        let _ = host.virsh(&["undefine", name]).succeeds();
    }
    // Only a volume that nobody uses is lost with it.
    let _ = host.virsh(&["vol-delete", "base", "p"]).succeeds();
}

#[test]
fn events_of_pools_are_told() {
    let host = Host::start();
    pool(&host, "p");
    let seen = std::thread::scope(|scope| {
        let watch =
            scope.spawn(|| host.virsh(&["pool-event", "--event", "lifecycle", "--timeout", "20"]));
        // Until the watcher has subscribed nothing reaches it.
        while !watch.is_finished() {
            pool(&host, "q");
            let _ = host.virsh(&["pool-destroy", "q"]).succeeds();
        }
        watch.join().expect("the watcher ends")
    });
    let seen = seen.succeeds();
    assert!(
        seen.contains("event 'lifecycle' for storage pool q: "),
        "{seen}"
    );
    let ours = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            host.stead(&[
                "pool-event",
                "--event",
                "refresh",
                "--pool",
                "p",
                "--timeout",
                "20",
            ])
        });
        while !watch.is_finished() {
            let _ = host.virsh(&["pool-refresh", "p"]).succeeds();
        }
        watch.join().expect("the watcher ends")
    });
    let ours = ours.succeeds();
    assert!(
        ours.contains("event 'refresh' for storage pool p\n"),
        "{ours}"
    );
}

#[test]
fn images_are_made_copied_and_looked_at_outside_of_pools() {
    let host = Host::start();
    let path = |name: &str| host.folder().join(name).to_string_lossy().into_owned();
    let (a, b) = (path("a.qcow2"), path("b.raw"));
    let _ = host
        .stead(&[
            "image",
            "create",
            &a,
            "8M",
            "--options",
            "cluster_size=128k",
        ])
        .succeeds();
    let info = host.stead(&["image", "info", &a]).succeeds();
    assert!(
        info.contains("virtual size: 8 MiB") && info.contains("cluster_size: 131072"),
        "{info}"
    );
    let _ = host
        .stead(&["image", "convert", &a, &b, "--to", "raw"])
        .succeeds();
    assert_eq!(fs::metadata(&b).expect("it is there").len(), 8 << 20);
    let error = host.stead(&["image", "convert", &a, &b]).fails();
    assert!(error.contains("is there already"), "{error}");
    let same = host.stead(&["image", "compare", &a, &b]).succeeds();
    assert!(same.contains("Images are identical."), "{same}");
    let written = fs::File::options()
        .write(true)
        .open(&b)
        .expect("it is there");
    written.write_all_at(b"x", 4096).expect("written");
    let differ = host.stead(&["image", "compare", &a, &b]);
    assert_eq!(differ.status, 1, "{differ:?}");
    assert!(
        differ.stdout.contains("Content mismatch at offset 4096"),
        "{differ:?}"
    );
    let _ = host.stead(&["image", "resize", &a, "16M"]).succeeds();
    let check = host.stead(&["image", "check", &a]).succeeds();
    assert!(check.contains("No errors were found"), "{check}");
    let _ = host
        .stead(&["image", "snapshot", &a, "--create", "one"])
        .succeeds();
    let list = host.stead(&["image", "snapshot", &a]).succeeds();
    assert!(list.contains("one"), "{list}");
    let top = path("top.qcow2");
    let _ = host
        .stead(&[
            "image",
            "create",
            &top,
            "--backing",
            &a,
            "--backing-format",
            "qcow2",
        ])
        .succeeds();
    let chain = host
        .stead(&["image", "info", &top, "--backing-chain"])
        .succeeds();
    assert!(
        chain.contains("backing file:") && chain.contains("a.qcow2"),
        "{chain}"
    );
    for words in [
        &["image", "map", &top][..],
        &["image", "measure", &top],
        &["image", "rebase", &top],
    ] {
        let _ = host.stead(words).succeeds();
    }
    let alone = host.stead(&["image", "info", &top]).succeeds();
    assert!(!alone.contains("backing file"), "{alone}");

    host.define(&with_disk("user", &a));
    let _ = host.virsh(&["start", "user"]).succeeds();
    let over = path("over.qcow2");
    let behind = ["--backing", &a, "--backing-format", "qcow2"];
    let _ = host
        .stead(&[&["image", "create", &over], &behind[..]].concat())
        .succeeds();
    for words in [
        &["resize", &a, "32M"][..],
        &["resize", &a, "8M", "--shrink"],
        &["check", &a, "--repair", "all"],
        &["rebase", &a],
        &["snapshot", &a, "--create", "two"],
        &["snapshot", &a, "--apply", "one"],
        &["snapshot", &a, "--delete", "one"],
        &["commit", &over],
        &["convert", &a, &format!("{a}.copy")],
    ] {
        let error = host.stead(&[&["image"], words].concat()).fails();
        assert!(
            error.contains("the running machine 'user' uses it"),
            "{words:?}: {error}"
        );
    }
    let copy = path("copy.qcow2");
    for words in [
        &["info", &a][..],
        &["map", &a],
        &["measure", &a],
        &["snapshot", &a],
        &["check", &a],
    ] {
        let _ = host.stead(&[&["image"], words].concat()).succeeds();
    }
    // Once it has stopped, everything goes.
    let _ = host.virsh(&["destroy", "user"]).succeeds();
    let _ = host.stead(&["image", "commit", &over]).succeeds();
    let _ = host
        .stead(&["image", "snapshot", &a, "--delete", "one"])
        .succeeds();
    let words = ["image", "convert", &a, &copy, "--compress"];
    let _ = host.stead(&words).succeeds();
}

#[test]
fn what_another_daemon_left_is_named() {
    let host = Host::start();
    let folder = pool(&host, "p");
    fs::write(folder.join(".stead-unfinished-01234567-x"), "half").expect("written");
    let _ = host.virsh(&["pool-refresh", "p"]).succeeds();
    let found = host.stead(&["storage", "fsck"]).succeeds();
    assert!(
        found.contains(".stead-unfinished-01234567-x") && found.contains("another host"),
        "{found}"
    );
    assert!(names(&host, "p").is_empty());
}
