//! The probe against the installed QEMU.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "runs a real QEMU"
)]

mod support;

use stead_qemu::caps::{Accelerator, CpuVendor, QemuCaps};

#[test]
fn the_installed_qemu_says_what_it_can_do() {
    let Some(binary) = support::binary() else {
        return;
    };
    let caps = support::probe(&binary);
    assert_eq!(caps.arch, "x86_64");
    assert!(caps.version_number() >= 7_002_000);
    let q35 = caps.machine("q35").expect("there is a q35");
    assert!(q35.name.starts_with("pc-q35-") && q35.cpus_max >= 255);
    assert_eq!(
        caps.default_machine().and_then(|m| m.alias.as_deref()),
        Some("pc")
    );
    for kind in [
        "virtio-blk-pci",
        "ich9-ahci",
        "memory-backend-memfd",
        "secret",
        "tpm-crb",
    ] {
        assert!(caps.has_type(kind), "{kind}");
    }
    assert!(caps.has_command("screendump") && caps.has_option("sandbox"));
    assert!(caps.has_property("scsi-hd", "wwn"));
    let tcg = caps
        .accelerator(Accelerator::Tcg)
        .expect("TCG is always there");
    assert!(
        tcg.cpu("qemu64")
            .expect("every QEMU has qemu64")
            .is_usable()
    );
    assert!(!tcg.cpu("host").expect("it is listed").is_usable());
    let host = tcg.host_model.as_ref().expect("some model is nearest");
    // What QEMU 7.2 emulates lacks too much of every EPYC.
    assert!(
        host.model.starts_with("EPYC") || caps.version_number() < 8_000_000,
        "{host:?}"
    );
    assert_eq!(host.vendor, Some(CpuVendor::Amd));
    if let Ok(path) = std::env::var("STEAD_SAVE_CAPS") {
        std::fs::write(path, caps.to_json()).expect("the capabilities can be written");
    }
    assert_eq!(QemuCaps::from_json(&caps.to_json()), Some(caps));
}
