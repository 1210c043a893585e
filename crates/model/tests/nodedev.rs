//! Runs libvirt's own descriptions of devices (found by `STEAD_CORPUS`) through the model.

// The test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr)]

use std::path::PathBuf;
use stead_model::nodedev::NodeDevice;

/// Those that need not come back as they were: one that libvirt refuses too,
/// and one written with an empty element in two lines.
const DIFFERENT: [&str; 2] = [
    "css_0_0_ffff_channel_dev_addr-invalid.xml",
    "pci_82579LM_network_adapter.xml",
];

#[test]
fn what_libvirt_shows_is_read_and_written_unchanged() {
    let Some(root) = std::env::var_os("STEAD_CORPUS") else {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return;
    };
    let folder = PathBuf::from(root).join("nodedevschemadata");
    let mut failed = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the corpus can be listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        let text = std::fs::read_to_string(&path).expect("text");
        match NodeDevice::parse(&text).map(|device| device.to_xml()) {
            Ok(shown) if shown == text || DIFFERENT.contains(&name) => {}
            Ok(shown) => failed.push(format!("{name}:\n{shown}")),
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
