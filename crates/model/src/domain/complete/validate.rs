//! What cannot work, refused in libvirt's words.

use std::collections::BTreeMap;

use super::basics::xml_error;
use crate::domain::Domain;
use crate::xml::XmlError;

/// Checks a completed definition.
pub(super) fn check(domain: &Domain) -> Result<(), XmlError> {
    check_disk_targets(domain)
}

fn check_disk_targets(domain: &Domain) -> Result<(), XmlError> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for disk in &domain.devices.disks {
        let source = disk.source_path().unwrap_or("");
        if let Some(other) = seen.insert(disk.target_dev(), source) {
            return Err(xml_error(format!(
                "target '{}' duplicated for disk sources '{other}' and '{source}'",
                disk.target_dev()
            )));
        }
    }
    Ok(())
}
