//! SCSI hosts and devices, and block devices.

use super::{Found, directories, node, number, safe, text};
use model::nodedev::{Capability, CapabilityKind, Identified, Kind};
use std::path::Path;

/// Hosts, targets and devices of SCSI.
pub(super) fn scsi(sysfs: &Path) -> Vec<Found> {
    let all = directories(&sysfs.join("bus/scsi/devices")).into_iter();
    all.filter_map(|(name, directory)| {
        let (prefix, capability) = match &name {
            host if host.starts_with("host") => ("scsi_", scsi_host(sysfs, host)?),
            target if target.starts_with("target") => (
                "scsi_",
                Capability {
                    target: Some(target.clone()),
                    ..Capability::of(CapabilityKind::ScsiTarget)
                },
            ),
            _ => ("scsi_", scsi_device(&name, &directory)?),
        };
        Some(Found {
            name: format!("{prefix}{}", safe(&name)),
            files: Vec::new(),
            directory,
            capability,
        })
    })
    .collect()
}

fn scsi_host(sysfs: &Path, name: &str) -> Option<Capability> {
    let of_class = |class: &str| sysfs.join("class").join(class).join(name);
    let fibre = of_class("fc_host");
    let wwn = |file| text(&fibre, file).map(|wwn| wwn.trim_start_matches("0x").to_owned());
    let mut capabilities = Vec::new();
    if fibre.exists() {
        capabilities.push(Capability {
            wwnn: wwn("node_name"),
            wwpn: wwn("port_name"),
            fabric_wwn: wwn("fabric_name"),
            ..Capability::of(CapabilityKind::FcHost)
        });
    }
    if fibre.join("vport_create").exists() {
        capabilities.push(Capability {
            max_vports: number(&fibre, "max_npiv_vports"),
            vports: number(&fibre, "npiv_vports_inuse"),
            ..Capability::of(CapabilityKind::VportOps)
        });
    }
    Some(Capability {
        host: Some(name.strip_prefix("host")?.parse().ok()?),
        unique_id: number(&of_class("scsi_host"), "unique_id"),
        capabilities,
        ..Capability::of(CapabilityKind::ScsiHost)
    })
}

fn scsi_device(name: &str, directory: &Path) -> Option<Capability> {
    /// SCSI's types of devices, by their numbers.
    const TYPES: [(u32, &str); 9] = [
        (0, "disk"),
        (1, "tape"),
        (2, "printer"),
        (3, "processor"),
        (4, "worm"),
        (5, "cdrom"),
        (6, "scanner"),
        (7, "mod"),
        (8, "changer"),
    ];
    let parts: Vec<u32> = name
        .split(':')
        .filter_map(|part| part.parse().ok())
        .collect();
    let [host, bus, target, lun] = parts.try_into().ok()?;
    let wanted = number::<u32>(directory, "type");
    let word = TYPES.iter().find(|(code, _)| Some(*code) == wanted);
    Some(Capability {
        host: Some(host),
        bus: Some(bus.to_string()),
        target: Some(target.to_string()),
        lun: Some(lun),
        types: word
            .map(|(_, word)| Kind {
                text: Some((*word).to_owned()),
                ..Kind::default()
            })
            .into_iter()
            .collect(),
        ..Capability::of(CapabilityKind::Scsi)
    })
}

/// Whole disks; those that only stand for a file or for others are no devices.
pub(super) fn block(sysfs: &Path) -> Vec<Found> {
    const DISKS: [&str; 9] = [
        "vd", "sd", "hd", "xvd", "nvme", "mmcblk", "sr", "dasd", "pmem",
    ];
    let all = directories(&sysfs.join("class/block")).into_iter();
    all.filter(|(name, directory)| {
        let is_disk = DISKS.iter().any(|prefix| name.starts_with(prefix));
        is_disk && !directory.join("partition").exists()
    })
    .filter_map(|(name, directory)| {
        let device = directory.join("device");
        let serial = text(&directory, "serial").or_else(|| text(&device, "serial"));
        let path = format!("/dev/{name}");
        let capability = storage(&path, &name, &directory, serial.clone())?;
        let serial = serial.map(|serial| format!("_{}", safe(&serial)));
        Some(Found {
            name: format!("block_{}{}", safe(&name), serial.unwrap_or_default()),
            files: vec![node(path)],
            directory,
            capability,
        })
    })
    .collect()
}

fn storage(path: &str, name: &str, directory: &Path, serial: Option<String>) -> Option<Capability> {
    /// The unit of the kernel's sizes.
    const SECTOR_BYTES: u64 = 512;
    let device = directory.join("device");
    let bytes = number::<u64>(directory, "size")? * SECTOR_BYTES;
    let block = number::<u64>(&directory.join("queue"), "logical_block_size").unwrap_or(512);
    let is_optical = name.starts_with("sr");
    let removable = number::<u32>(directory, "removable") == Some(1);
    let sizes = Capability {
        size: (!removable).then_some(bytes),
        block_size: Some(block),
        blocks: Some(bytes / block.max(1)),
        ..Capability::default()
    };
    let media = removable.then(|| Capability {
        media_available: Some(u32::from(bytes > 0)),
        media_size: Some(bytes),
        block_size: sizes.block_size.filter(|_| bytes > 0),
        blocks: sizes.blocks.filter(|_| bytes > 0),
        ..Capability::of(CapabilityKind::Removable)
    });
    Some(Capability {
        kind: CapabilityKind::Storage,
        block: Some(path.to_owned()),
        bus: name.starts_with("sd").then(|| "scsi".to_owned()),
        drive_type: Some(if is_optical { "cdrom" } else { "disk" }.to_owned()),
        model: text(&device, "model"),
        vendor: text(&device, "vendor").map(|vendor| Identified {
            id: None,
            name: Some(vendor),
        }),
        serial,
        capabilities: media.into_iter().collect(),
        block_size: sizes.block_size.filter(|_| !removable),
        blocks: sizes.blocks.filter(|_| !removable),
        ..sizes
    })
}
