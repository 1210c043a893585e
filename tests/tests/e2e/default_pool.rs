//! The pool of a new host, where the disks of machines that Stead makes are volumes.

use std::fs;
use std::path::{Path, PathBuf};
use stead_tests::{Host, clients};

use crate::library::from_image;

fn images(host: &Host) -> PathBuf {
    host.root().join("images")
}

fn volumes(host: &Host) -> Vec<String> {
    let list = host
        .virsh(&["-q", "vol-list", "default", "--details"])
        .succeeds();
    let named = list.lines().filter(|line| !line.contains(" dir "));
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    named.filter_map(first).collect()
}

fn make_image(path: &Path) {
    let path = path.to_string_lossy();
    let words = ["create", "-q", "-f", "qcow2", &path, "8M"];
    let _ = clients::run("qemu-img", &words, &[]).succeeds();
}

#[test]
fn a_new_host_has_a_pool_and_one_that_is_removed_does_not_come_back() {
    let mut host = Host::start();
    let target = host
        .virsh(&["pool-dumpxml", "default", "--xpath", "//target/path/text()"])
        .succeeds();
    assert_eq!(target.trim(), images(&host).to_string_lossy());
    let info = host.virsh(&["pool-info", "default"]).succeeds();
    for line in ["State:          running", "Autostart:      yes"] {
        assert!(info.contains(line), "{info}");
    }
    let _ = host.virsh(&["pool-destroy", "default"]).succeeds();
    let _ = host.virsh(&["pool-undefine", "default"]).succeeds();
    let _ = host.kill_daemon();
    host.start_daemon();
    let pools = host.virsh(&["pool-list", "--all", "--name"]).succeeds();
    assert_eq!(pools.trim(), "");
    from_image(&host, "web1");
    assert!(images(&host).join("web1.qcow2").exists());
}

#[test]
fn scripts_that_make_their_own_default_find_none_in_their_way() {
    let mut host = Host::start();
    let _ = host.kill_daemon();
    host.start_daemon();

    let target = host.folder().join("own").to_string_lossy().into_owned();
    let define = ["pool-define-as", "default", "dir", "--target", &target];
    let _ = host.virsh(&define).succeeds();
    for verb in ["pool-build", "pool-start", "pool-autostart"] {
        let _ = host.virsh(&[verb, "default"]).succeeds();
    }
    let list = host.virsh(&["pool-list", "--all", "--name"]).succeeds();
    assert_eq!(list.split_whitespace().collect::<Vec<_>>(), ["default"]);
    let shown = host.virsh(&["pool-dumpxml", "default"]).succeeds();
    assert!(shown.contains(&target), "{shown}");
    // That one is somebody's.
    let error = host.virsh(&define).fails();
    assert!(error.contains("pool 'default' already exists"), "{error}");

    // Another name for the same directory; but not once somebody has defined the pool himself.
    let host = Host::start();
    let target = images(&host).to_string_lossy().into_owned();
    let create = ["pool-create-as", "images", "dir", "--target", &target];
    let _ = host.virsh(&create).succeeds();
    let list = host.virsh(&["pool-list", "--all", "--name"]).succeeds();
    assert_eq!(list.split_whitespace().collect::<Vec<_>>(), ["images"]);

    let host = Host::start();
    let xml = host.virsh(&["pool-dumpxml", "default"]).succeeds();
    let _ = host
        .virsh(&["pool-define", &host.file("default.xml", &xml)])
        .succeeds();
    let error = host.virsh(&define).fails();
    assert!(error.contains("pool 'default' already exists"), "{error}");
}

#[test]
fn disks_of_machines_are_volumes_and_go_with_them() {
    let host = Host::start();
    from_image(&host, "web1");
    assert_eq!(volumes(&host), ["web1-seed.iso", "web1.qcow2"]);
    let _ = host.stead(&["template", "web1"]).succeeds();
    let _ = host.stead(&["clone", "web1", "n{1..2}"]).succeeds();
    let made = [
        "n1-seed.iso",
        "n1.qcow2",
        "n2-seed.iso",
        "n2.qcow2",
        "web1-seed.iso",
        "web1.qcow2",
    ];
    assert_eq!(volumes(&host), made);

    // The overlay of a snapshot is nothing the pool was told of.
    let take = ["snapshot-create-as", "n1", "before", "--disk-only"];
    let _ = host.virsh(&take).succeeds();
    let undefine = [
        "undefine",
        "n1",
        "--snapshots-metadata",
        "--remove-all-storage",
    ];
    let said = host.virsh(&undefine).succeeds();
    assert!(
        said.contains("n1.before) removed.") && said.contains("n1-seed.iso) removed."),
        "{said}"
    );
    let _ = host
        .virsh(&["undefine", "n2", "--remove-all-storage"])
        .succeeds();
    let left = ["n1.qcow2", "web1-seed.iso", "web1.qcow2"];
    assert_eq!(volumes(&host), left);
}

#[test]
fn what_somebody_put_there_or_took_away_is_seen_when_it_is_asked_for() {
    let host = Host::start();
    let path = images(&host).join("by-hand.qcow2");
    make_image(&path);
    let text = path.to_string_lossy().into_owned();
    assert_eq!(volumes(&host), Vec::<String>::new());
    let info = host.virsh(&["vol-info", &text]).succeeds();
    assert!(info.contains("8.00 MiB"), "{info}");
    assert_eq!(volumes(&host), ["by-hand.qcow2"]);
    for strange in ["..", ".", "", "nothing", "web1.qcow2/.."] {
        let strange = images(&host)
            .join(strange)
            .to_string_lossy()
            .trim_end_matches('/')
            .to_owned();
        let error = host.virsh(&["vol-info", &strange]).fails();
        assert!(error.contains("no storage vol"), "{strange}: {error}");
    }

    // The name of one that was taken away is free, although the pool shows it still.
    from_image(&host, "web1");
    let _ = host.virsh(&["undefine", "web1"]).succeeds();
    let again = [
        "create",
        "web1",
        "--image",
        "base",
        "--network",
        "none",
        "--nostart",
    ];
    let error = host.stead(&again).fails();
    assert!(error.contains("web1.qcow2' is there already"), "{error}");
    for file in ["web1.qcow2", "web1-seed.iso"] {
        fs::remove_file(images(&host).join(file)).expect("it is there");
    }
    let _ = host.stead(&again).succeeds();
    let made = ["by-hand.qcow2", "web1-seed.iso", "web1.qcow2"];
    assert_eq!(volumes(&host), made);
}
