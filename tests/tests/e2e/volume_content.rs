//! What volumes hold: uploaded, downloaded, overwritten.

use std::fs;

use stead_tests::Host;

use crate::storage::pool;
use crate::volume_disks::Loop;

#[test]
fn what_is_uploaded_comes_back_with_its_holes() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    const LENGTH: u64 = 24 << 20;
    let host = Host::start();
    let folder = pool(&host, "p");
    let source = host.folder().join("source");
    let file = fs::File::create(&source).expect("made");
    file.set_len(LENGTH).expect("extended");
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    file.write_all_at(&content, 8 << 20).expect("written");
    let source = source.to_string_lossy().into_owned();

    for (client, name) in [(0, "by-virsh"), (1, "by-stead")] {
        let run = |words: &[&str]| match client {
            0 => host.virsh(words),
            _ => host.stead(words),
        };
        let _ = run(&["vol-create-as", "p", name, "1M", "--allocation", "0"]).succeeds();
        for sparse in [&[][..], &["--sparse"]] {
            let back = host.folder().join(format!("back-{name}-{}", sparse.len()));
            let path = back.to_string_lossy().into_owned();
            let _ = run(&[&["vol-upload", name, &source, "p"], sparse].concat()).succeeds();
            let _ = run(&[&["vol-download", name, &path, "p"], sparse].concat()).succeeds();
            assert!(
                fs::read(&back).expect("it is there") == fs::read(&source).expect("it is there")
            );
            if !sparse.is_empty() {
                for file in [&back, &folder.join(name)] {
                    let taken = fs::metadata(file).expect("it is there").blocks() * 512;
                    assert!(taken < 4 << 20, "{} takes {taken}", file.display());
                }
            }
        }
        let piece = host.folder().join("piece").to_string_lossy().into_owned();
        let words = [
            "vol-download",
            name,
            &piece,
            "p",
            "--offset",
            "8388608",
            "--length",
            "100",
        ];
        let _ = run(&words).succeeds();
        assert_eq!(fs::read(&piece).expect("it is there"), &content[..100]);
        // A piece at the beginning leaves the rest as it was.
        let _ = run(&["vol-upload", name, &piece, "p"]).succeeds();
        let now = fs::read(folder.join(name)).expect("it is there");
        assert_eq!((now.len() as u64, &now[..100]), (LENGTH, &content[..100]));
        assert_eq!(&now[8 << 20..(8 << 20) + 100], &content[..100]);
    }
}

#[test]
fn a_volume_with_holes_fills_a_device_that_had_something() {
    use std::os::unix::fs::FileExt;
    const LENGTH: usize = 2 << 20;
    let host = Host::start();
    let folder = pool(&host, "p");
    let Some(device) = Loop::of(&host, LENGTH as u64) else {
        return;
    };
    let old = |device: &str| fs::write(device, vec![b'o'; LENGTH]).expect("written");
    // Holes before and behind the data, the latter with an end that is no whole block's.
    let volume = fs::File::create(folder.join("v")).expect("made");
    volume.write_all_at(&[b'n'; 4096], 1 << 20).expect("room");
    let end = LENGTH - 100;
    volume.set_len(end as u64).expect("extended");
    let _ = host.virsh(&["pool-refresh", "p"]).succeeds();

    old(&device.0);
    let take = ["vol-download", "v", &device.0, "p", "--sparse"];
    let _ = host.stead(&take).succeeds();
    let mut expected = fs::read(folder.join("v")).expect("it is there");
    expected.extend(vec![b'o'; LENGTH - end]);
    assert!(fs::read(&device.0).expect("it is there") == expected);

    // The other way the device is the volume.
    let source = folder.join("v").to_string_lossy().into_owned();
    let link = folder.join("device");
    std::os::unix::fs::symlink(&device.0, link).expect("it is ours");
    let _ = host.virsh(&["pool-refresh", "p"]).succeeds();
    for client in [Host::stead, Host::virsh] {
        old(&device.0);
        let give = ["vol-upload", "device", &source, "p", "--sparse"];
        let _ = client(&host, &give).succeeds();
        assert!(fs::read(&device.0).expect("it is there") == expected);
    }
}

#[test]
fn uploads_share_their_connection_and_give_way() {
    let host = Host::start();
    let folder = pool(&host, "p");
    for name in ["v", "w"] {
        let _ = host.virsh(&["vol-create-as", "p", name, "1M"]).succeeds();
    }
    let place = folder.to_string_lossy();
    let seen = host.python("uploads.py", &["p", &place]).succeeds();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], "beside {2} True");
    assert_eq!(lines[1], "by turns True True");
    assert_eq!(lines[2], "given up True 2");
    assert!(lines[3].starts_with("refused"), "{seen}");
    assert!(lines[3].contains("longer than the 1000000 bytes"), "{seen}");
    assert_eq!(lines[4], "as before True");
    assert_eq!(lines[5], "deleted ['w']");
    assert!(
        lines[6].contains("'v' was deleted while it was uploaded"),
        "{seen}"
    );
    assert_eq!(lines[7], "new 1000 ['v', 'w']");
}

#[test]
fn a_wiped_volume_holds_nothing() {
    let host = Host::start();
    let folder = pool(&host, "p");
    let _ = host.virsh(&["vol-create-as", "p", "v", "1M"]).succeeds();
    for algorithm in ["zero", "nnsa", "bsi", "schneier", "random", "trim"] {
        fs::write(folder.join("v"), vec![b's'; 1 << 20]).expect("written");
        let _ = host
            .virsh(&["vol-wipe", "v", "p", "--algorithm", algorithm])
            .succeeds();
        let now = fs::read(folder.join("v")).expect("it is there");
        assert_eq!(now.len(), 1 << 20);
        assert!(
            !now.windows(8).any(|piece| piece == b"ssssssss"),
            "{algorithm}"
        );
    }
}
