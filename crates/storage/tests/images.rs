//! Headers as the real qemu-img writes them, and headers nobody should write.

// The test runs a program and reads files; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use stead_storage::image::{Image, inspect};

fn make(folder: &Path, args: &str) -> Image {
    let created = || {
        let mut command = Command::new("qemu-img");
        let _ = command.args(["create", "-q"]).args(args.split(' '));
        let status = command.current_dir(folder).status();
        status.expect("qemu-img is installed").success()
    };
    // QEMU 7.2 needs luck with LUKS where the kernel counts time in ticks.
    assert!((0..10).any(|_| created()), "qemu-img create {args}");
    let name = args.split(' ').rev().nth(1).expect("a name");
    let bytes = std::fs::read(folder.join(name)).expect("the image");
    inspect(&mut &bytes[..])
}

#[test]
fn images_of_every_format_are_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for format in ["qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx", "raw"] {
        let image = make(folder, &format!("-f {format} a.{format} 8M"));
        assert_eq!(image.format, format);
        assert_eq!(image.damage, None, "{format}");
        if format != "raw" {
            assert_eq!(image.capacity, Some(8 << 20), "{format}");
        }
    }
    // Its size is a whole number of cylinders.
    let vpc = make(folder, "-f vpc a.vpc 8M");
    assert_eq!(vpc.format, "vpc");
    assert!(vpc.capacity.is_some_and(|bytes| bytes >= 8 << 20));
    let luks = "--object secret,id=s,data=abc -f luks -o key-secret=s,iter-time=10 a.luks 8M";
    let luks = make(folder, luks);
    assert_eq!((luks.format, luks.encryption), ("raw", Some("luks")));
    assert_eq!(luks.capacity, Some(8 << 20));
}

#[test]
fn overlays_tell_what_they_build_upon() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    make(folder, "-f qcow2 base.qcow2 8M");
    make(folder, "-f raw base.raw 8M");
    for (overlay, base, format) in [
        ("qcow2", "base.qcow2", Some("qcow2")),
        ("qcow2", "base.raw", Some("raw")),
        ("qed", "base.raw", Some("raw")),
        ("qcow", "base.raw", None),
    ] {
        let args = format!(
            "-f {overlay} -b {base} -F {} top.{overlay} 8M",
            format.unwrap_or("raw")
        );
        let backing = make(folder, &args).backing.expect("a backing image");
        assert_eq!(backing.name, base);
        assert_eq!(backing.format.as_deref(), format, "{overlay}");
    }
}

proptest! {
    #[test]
    fn no_header_is_too_strange(
        magic in prop::sample::select(vec![
            &b"QFI\xfb\0\0\0\x03"[..], b"QFI\xfb\0\0\0\x01", b"QED\0", b"KDMV", b"conectix", b"vhdxfile",
            b"LUKS\xba\xbe\0\x01", b"# Disk DescriptorFile\nRW ", b"",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let bytes = [magic, &rest].concat();
        let image = inspect(&mut &bytes[..]);
        prop_assert!(image.capacity.unwrap_or(0) <= i64::MAX as u64);
        if let Some(backing) = image.backing {
            prop_assert!(backing.name.len() <= 1023);
        }
    }
}
