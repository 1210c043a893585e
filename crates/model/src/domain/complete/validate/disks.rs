//! Disks: targets, formats, sources, addresses.

use std::collections::{BTreeMap, BTreeSet};

use super::internal;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::complete::basics::xml_error;
use crate::domain::disk::{Disk, DiskBus, DiskDevice, Sgio};
use crate::domain::disk_name::parse_disk_name;
use crate::domain::storage::{Encryption, ImageFormat, NetworkProtocol, StorageType};
use crate::xml::{XmlError, XmlErrorKind};

pub(super) fn check(domain: &Domain) -> Result<(), XmlError> {
    for disk in &domain.devices.disks {
        check_target(disk)?;
        check_source(disk)?;
        check_encryption(disk)?;
        check_address(disk)?;
        check_iothreads(domain, disk)?;
        check_limits(disk)?;
        check_throttle_groups(domain, disk)?;
        if disk.shareable && !can_be_shared(disk.format()) {
            return Err(XmlError::unsupported(format!(
                "shared access for disk '{}' requires use of supported storage format",
                disk.target_dev()
            )));
        }
    }
    check_unique_targets(domain)?;
    check_unique_drives(domain)
}

/// The groups of limits a disk names are there, and it has none of its own.
fn check_throttle_groups(domain: &Domain, disk: &Disk) -> Result<(), XmlError> {
    let filters = disk.throttle_filters.as_ref().map(|all| &all.filters);
    let Some(filters) = filters.filter(|filters| !filters.is_empty()) else {
        return Ok(());
    };
    let groups = domain.throttle_groups.iter().flat_map(|all| &all.groups);
    let names: BTreeSet<_> = groups
        .filter_map(|group| group.group_name.as_deref())
        .collect();
    if let Some(filter) = filters
        .iter()
        .find(|filter| !names.contains(filter.group.as_str()))
    {
        let name = &filter.group;
        return Err(XmlError::unsupported(format!(
            "throttle group '{name}' not found"
        )));
    }
    if disk.device == DiskDevice::Cdrom {
        return Err(XmlError::unsupported(
            "cdrom device with throttle filters isn't supported",
        ));
    }
    if disk.iotune.is_some() {
        return Err(XmlError::unsupported(format!(
            "block 'throttlefilters' can't be used together with 'iotune' for disk '{}'",
            disk.target_dev()
        )));
    }
    Ok(())
}

/// Only formats without state of their own can have several writers.
fn can_be_shared(format: ImageFormat) -> bool {
    matches!(
        format,
        ImageFormat::Raw | ImageFormat::Dir | ImageFormat::Iso
    )
}

fn check_target(disk: &Disk) -> Result<(), XmlError> {
    let target = disk.target_dev();
    if let Some((_, Some(partition))) = parse_disk_name(target)
        && partition > 0
    {
        return Err(XmlError::unsupported(format!(
            "invalid disk target '{target}', partitions can't appear in disk targets"
        )));
    }
    let on_virtio = disk.bus() == Some(DiskBus::Virtio);
    let removable = matches!(disk.device, DiskDevice::Cdrom | DiskDevice::Floppy);
    if on_virtio && removable {
        return Err(XmlError::unsupported(format!(
            "disk type of '{target}' does not support ejectable media"
        )));
    }
    if disk.wwn.is_some() && !matches!(disk.bus(), Some(DiskBus::Ide | DiskBus::Scsi)) {
        return Err(XmlError::unsupported("Only ide and scsi disk support wwn"));
    }
    if disk.sgio == Some(Sgio::Unfiltered) {
        return Err(XmlError::unsupported(
            "unfiltered sgio is no longer supported",
        ));
    }
    let reservations = disk
        .source
        .as_ref()
        .is_some_and(|s| s.reservations.is_some());
    if reservations && disk.device != DiskDevice::Lun {
        return Err(XmlError::unsupported(
            "<reservations/> allowed only for lun devices",
        ));
    }
    let is_fdc = disk.bus() == Some(DiskBus::Fdc);
    if is_fdc != (disk.device == DiskDevice::Floppy) {
        let bus = disk.bus().map_or("", DiskBus::as_str);
        return Err(XmlError::unsupported(format!(
            "unexpected disk device '{}' on bus '{bus}' for target '{target}'",
            disk.device
        )));
    }
    Ok(())
}

fn check_source(disk: &Disk) -> Result<(), XmlError> {
    let target = disk.target_dev();
    let fixed = matches!(disk.device, DiskDevice::Disk | DiskDevice::Lun);
    if fixed && disk.is_empty() {
        return Err(XmlError::new(
            XmlErrorKind::Missing,
            format!("missing source information for device {target}"),
        ));
    }
    if disk.is_empty() && matches!(disk.bus(), Some(DiskBus::Usb | DiskBus::Virtio)) {
        let bus = disk.bus().map_or("", DiskBus::as_str);
        return Err(XmlError::unsupported(format!(
            "'{bus}' disk must not be empty"
        )));
    }
    if disk.format() == ImageFormat::Dir {
        return Err(XmlError::unsupported(
            "'directory' storage format is not directly supported by QEMU, use 'dir' disk type \
             instead",
        ));
    }
    let Some(source) = &disk.source else {
        return Ok(());
    };
    if disk.auth.is_some() && source.auth.is_some() {
        return Err(XmlError::unsupported(
            "an <auth> definition already found for disk source",
        ));
    }
    if disk.encryption.is_some() && source.encryption.is_some() {
        return Err(XmlError::unsupported(
            "an <encryption> definition already found for disk source",
        ));
    }
    if disk.kind != StorageType::Network {
        return Ok(());
    }
    match source.protocol {
        Some(protocol @ NetworkProtocol::Sheepdog) => Err(XmlError::unsupported(format!(
            "'{protocol}' protocol is no longer supported by any hypervisor driver"
        ))),
        Some(protocol @ NetworkProtocol::Tftp) => Err(XmlError::unsupported(format!(
            "'{protocol}' protocol is not supported with this QEMU binary"
        ))),
        Some(_) => Ok(()),
        None => Err(xml_error("missing network source protocol type")),
    }
}

fn check_encryption(disk: &Disk) -> Result<(), XmlError> {
    let in_source = disk.source.as_ref().and_then(|s| s.encryption.as_ref());
    let encryption: Option<&Encryption> = disk.encryption.as_ref().or(in_source);
    if encryption.is_some_and(|e| e.cipher.is_some() || e.ivgen.is_some()) {
        return Err(XmlError::unsupported(
            "supplying <cipher> for domain disk definition is unnecessary",
        ));
    }
    Ok(())
}

fn check_address(disk: &Disk) -> Result<(), XmlError> {
    let Some(address) = &disk.info.address else {
        return Ok(());
    };
    let fits = match disk.bus() {
        Some(DiskBus::Ide | DiskBus::Scsi | DiskBus::Sata | DiskBus::Fdc) => {
            matches!(address, Address::Drive(_))
        }
        Some(DiskBus::Usb) => matches!(address, Address::Usb(_)),
        _ => true,
    };
    if fits {
        return Ok(());
    }
    let bus = disk.bus().map_or("", DiskBus::as_str);
    Err(internal(format!("unexpected address type for {bus} disk")))
}

/// A limit on everything and one on a part of it exclude each other.
fn check_limits(disk: &Disk) -> Result<(), XmlError> {
    let Some(tune) = &disk.iotune else {
        return Ok(());
    };
    let set = |limit: Option<u64>| limit.is_some_and(|l| l > 0);
    let pairs = [
        (
            "bytes_sec",
            tune.total_bytes_sec,
            tune.read_bytes_sec,
            tune.write_bytes_sec,
        ),
        (
            "iops_sec",
            tune.total_iops_sec,
            tune.read_iops_sec,
            tune.write_iops_sec,
        ),
    ];
    for (what, total, read, write) in pairs {
        if set(total) && (set(read) || set(write)) {
            return Err(xml_error(format!(
                "total and read/write {what} cannot be set at the same time"
            )));
        }
    }
    Ok(())
}

fn check_iothreads(domain: &Domain, disk: &Disk) -> Result<(), XmlError> {
    let iothread = disk.driver.as_ref().and_then(|d| d.iothread);
    match iothread.filter(|id| !domain.has_iothread(*id)) {
        Some(id) => Err(XmlError::unsupported(format!(
            "Disk iothread '{id}' not defined in iothreadid"
        ))),
        None => Ok(()),
    }
}

fn check_unique_targets(domain: &Domain) -> Result<(), XmlError> {
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

fn check_unique_drives(domain: &Domain) -> Result<(), XmlError> {
    let mut seen = BTreeSet::new();
    for disk in &domain.devices.disks {
        let Some(Address::Drive(at)) = &disk.info.address else {
            continue;
        };
        if !seen.insert((disk.bus(), at.controller, at.bus, at.target, at.unit)) {
            return Err(xml_error(format!(
                "Found duplicate drive address for disk with target name '{}' controller='{}' \
                 bus='{}' target='{}' unit='{}'",
                disk.target_dev(),
                at.controller,
                at.bus,
                at.target,
                at.unit
            )));
        }
    }
    Ok(())
}
