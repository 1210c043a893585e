//! What a snapshot does with each disk of a domain, settled before anything
//! is done: which disks take part, how, and where new images go.

use model::domain::Domain;
use model::domain::disk::{Disk, DiskDevice, SnapshotMode};
use model::domain::storage::{ImageFormat, StorageSource, StorageType};
use model::snapshot::{Snapshot, SnapshotDisk, SnapshotDisks, SnapshotDriver};
use std::collections::BTreeSet;

/// Why the disks cannot take part as was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was asked contradicts itself or the domain.
    #[error("{0}")]
    Invalid(String),
    /// It is understood, and not done.
    #[error("{0}")]
    Unsupported(String),
}

fn invalid(message: String) -> Refusal {
    Refusal::Invalid(message)
}

fn unsupported(message: String) -> Refusal {
    Refusal::Unsupported(message)
}

/// How disks that say nothing take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// How.
    pub mode: SnapshotMode,
    /// Whether disks that ask for something else are refused.
    pub only: bool,
}

/// Gives every disk of the domain its part in the snapshot, in the domain's
/// order, and new images a name beside the present ones.
///
/// # Errors
/// If a disk is unknown, named twice, or cannot take part as was asked.
pub fn align(snapshot: &mut Snapshot, domain: &Domain, defaults: Defaults) -> Result<(), Refusal> {
    let mut wishes = snapshot.disks.take().unwrap_or_default().disks;
    let mut seen = BTreeSet::new();
    for wish in &mut wishes {
        let Some(disk) = find(domain, wish.name()) else {
            return Err(unsupported(format!("no disk named '{}'", wish.name())));
        };
        if !seen.insert(disk.target_dev()) {
            return Err(unsupported(format!(
                "disk '{}' specified twice",
                disk.target_dev()
            )));
        }
        wish.name = Some(disk.target_dev().to_owned());
    }
    let name = snapshot.name().to_owned();
    let mut disks = Vec::with_capacity(domain.devices.disks.len());
    for disk in &domain.devices.disks {
        let at = wishes
            .iter()
            .position(|wish| wish.name() == disk.target_dev());
        let wish = at.map(|at| wishes.remove(at));
        disks.push(settle(wish, disk, &name, defaults)?);
    }
    let memory = snapshot.memory.as_ref().and_then(|m| m.file.as_deref());
    check_collisions(&disks, memory)?;
    snapshot.disks = Some(SnapshotDisks { disks });
    Ok(())
}

/// The disk with this target or source.
pub fn find<'a>(domain: &'a Domain, name: &str) -> Option<&'a Disk> {
    let disks = &domain.devices.disks;
    disks
        .iter()
        .find(|disk| disk.target_dev() == name)
        .or_else(|| disks.iter().find(|disk| disk.source_path() == Some(name)))
}

fn settle(
    wish: Option<SnapshotDisk>,
    disk: &Disk,
    snapshot: &str,
    defaults: Defaults,
) -> Result<SnapshotDisk, Refusal> {
    let target = disk.target_dev();
    let mut settled = wish.unwrap_or_default();
    settled.name = Some(target.to_owned());
    let mode = match settled.mode {
        Some(mode) => mode,
        None if disk.is_empty() || disk.device != DiskDevice::Disk || disk.readonly => {
            SnapshotMode::No
        }
        None => disk.snapshot.unwrap_or(defaults.mode),
    };
    settled.mode = Some(mode);
    let takes_part = matches!(mode, SnapshotMode::Internal | SnapshotMode::External);
    if takes_part && defaults.only && mode != defaults.mode {
        return Err(unsupported(format!(
            "disk '{target}' must use snapshot mode '{}'",
            defaults.mode
        )));
    }
    if takes_part && disk.is_empty() {
        return Err(unsupported(format!(
            "disk '{target}' has no medium to take a snapshot of"
        )));
    }
    match mode {
        SnapshotMode::External => settle_external(&mut settled, disk, snapshot)?,
        _ if settled.path().is_some() => {
            return Err(unsupported(format!(
                "file '{}' for disk '{target}' requires use of external snapshot mode",
                settled.path().unwrap_or_default()
            )));
        }
        SnapshotMode::Internal => check_internal(disk)?,
        SnapshotMode::No | SnapshotMode::Manual => {}
    }
    Ok(settled)
}

fn check_internal(disk: &Disk) -> Result<(), Refusal> {
    let format = disk.format();
    if format == ImageFormat::Qcow2 && disk.kind != StorageType::Network {
        return Ok(());
    }
    Err(unsupported(format!(
        "internal snapshot for disk {} unsupported for storage type {format}",
        disk.target_dev()
    )))
}

fn settle_external(settled: &mut SnapshotDisk, disk: &Disk, snapshot: &str) -> Result<(), Refusal> {
    let target = disk.target_dev();
    let format = settled.format().unwrap_or(ImageFormat::Qcow2);
    if !matches!(format, ImageFormat::Qcow2 | ImageFormat::Qed) {
        return Err(unsupported(format!(
            "external snapshot format for disk {target} is unsupported: {format}"
        )));
    }
    if !matches!(disk.kind, StorageType::File | StorageType::Block) {
        return Err(unsupported(format!(
            "external snapshots are not supported on '{}' disks",
            disk.kind
        )));
    }
    settled
        .driver
        .get_or_insert_with(SnapshotDriver::default)
        .kind = Some(format);
    let kind = *settled.kind.get_or_insert(StorageType::File);
    if !matches!(kind, StorageType::File | StorageType::Block) {
        return Err(unsupported(format!(
            "external snapshots are not supported on '{kind}' disks"
        )));
    }
    if settled.path().is_some() {
        return Ok(());
    }
    let file = overlay_name(disk, snapshot)?;
    settled.source = Some(StorageSource {
        file: Some(file),
        ..StorageSource::default()
    });
    Ok(())
}

/// The name of a new image beside the present one: its suffix becomes the
/// snapshot's name.
fn overlay_name(disk: &Disk, snapshot: &str) -> Result<String, Refusal> {
    let target = disk.target_dev();
    if disk.kind != StorageType::File {
        return Err(unsupported(format!(
            "cannot generate external snapshot name for disk '{target}' on a '{}' device",
            disk.kind
        )));
    }
    let path = disk.source_path().ok_or_else(|| {
        unsupported(format!(
            "cannot generate external snapshot name for disk '{target}' without source"
        ))
    })?;
    Ok(beside(path, snapshot))
}

/// `path` with its suffix, if it has one, replaced by `suffix`.
pub fn beside(path: &str, suffix: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => file,
    };
    format!("{folder}/{stem}.{suffix}")
}

fn check_collisions(disks: &[SnapshotDisk], memory: Option<&str>) -> Result<(), Refusal> {
    let mut paths = std::collections::BTreeMap::new();
    for disk in disks {
        let Some(path) = disk.path() else { continue };
        if memory == Some(path) {
            return Err(invalid(format!(
                "the new image of disk '{}' and the memory cannot both be '{path}': give one of \
                 them another name",
                disk.name()
            )));
        }
        if let Some(other) = paths.insert(path, disk.name()) {
            return Err(invalid(format!(
                "cannot generate external snapshot name for disk '{}': collision with disk \
                 '{other}'",
                disk.name()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERNAL: Defaults = Defaults {
        mode: SnapshotMode::Internal,
        only: false,
    };
    const EXTERNAL: Defaults = Defaults {
        mode: SnapshotMode::External,
        only: false,
    };

    fn domain(disks: &str) -> Domain {
        let xml = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><devices>{disks}</devices></domain>"
        );
        Domain::parse(&xml).expect("a domain")
    }

    fn disk(target: &str, format: &str, source: &str) -> String {
        format!(
            "<disk type='file' device='disk'><driver type='{format}'/><source file='{source}'/>\
             <target dev='{target}' bus='virtio'/></disk>"
        )
    }

    fn settled(wish: &str, domain: &Domain, defaults: Defaults) -> Result<Vec<String>, String> {
        let xml = format!("<domainsnapshot><name>s1</name><disks>{wish}</disks></domainsnapshot>");
        let mut snapshot = Snapshot::parse_request(&xml, 5).expect("a snapshot");
        align(&mut snapshot, domain, defaults).map_err(|e| e.to_string())?;
        Ok(snapshot
            .disks()
            .iter()
            .map(|d| {
                format!(
                    "{} {} {}",
                    d.name(),
                    d.mode.unwrap_or_default(),
                    d.path().unwrap_or("-")
                )
            })
            .collect())
    }

    #[test]
    fn each_disk_gets_its_part() {
        let cdrom =
            "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>";
        let domain =
            domain(&(disk("vda", "qcow2", "/i/a.qcow2") + &disk("vdb", "raw", "/i/b") + cdrom));
        assert_eq!(
            settled("<disk name='vdb' snapshot='no'/>", &domain, INTERNAL).unwrap(),
            ["vda internal -", "vdb no -", "sda no -"]
        );
        assert_eq!(
            settled(
                "<disk name='/i/a.qcow2'><source file='/x'/></disk>",
                &domain,
                EXTERNAL
            )
            .unwrap(),
            ["vda external /x", "vdb external /i/b.s1", "sda no -"]
        );
        assert!(
            settled("", &domain, INTERNAL)
                .unwrap_err()
                .contains("storage type raw")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let domain = domain(&disk("vda", "qcow2", "/i/a.qcow2"));
        for (wish, why) in [
            ("<disk name='vdz'/>", "no disk named 'vdz'"),
            (
                "<disk name='vda'/><disk name='/i/a.qcow2'/>",
                "specified twice",
            ),
            (
                "<disk name='vda' snapshot='internal'><source file='/x'/></disk>",
                "requires use of",
            ),
            (
                "<disk name='vda' snapshot='external'><driver type='raw'/></disk>",
                "unsupported: raw",
            ),
        ] {
            let error = settled(wish, &domain, INTERNAL).unwrap_err();
            assert!(error.contains(why), "{wish}: {error}");
        }
    }

    #[test]
    fn memory_and_a_new_image_are_not_one_file() {
        let domain = domain(&disk("vda", "qcow2", "/i/a.qcow2"));
        let xml = "<domainsnapshot><name>mem</name><memory snapshot='external' file='/i/a.mem'/>\
                   </domainsnapshot>";
        let mut snapshot = Snapshot::parse_request(xml, 5).expect("a snapshot");
        let error = align(&mut snapshot, &domain, EXTERNAL).unwrap_err();
        assert!(error.to_string().contains("cannot both be '/i/a.mem'"));
    }

    #[test]
    fn new_images_are_named_beside_the_old_ones() {
        assert_eq!(beside("/i/a.b.qcow2", "s"), "/i/a.b.s");
        assert_eq!(beside("/i.d/a", "s"), "/i.d/a.s");
        assert_eq!(beside("/i/.hidden", "s"), "/i/.hidden.s");
    }
}
