//! Addresses other than PCI's: drives, virtio-serial ports, memory slots.

use std::collections::{BTreeMap, BTreeSet};

use super::basics::xml_error;
use super::{DefineContext, implicit, pci, usb};
use crate::domain::Domain;
use crate::domain::address::{
    Address, DimmAddress, DriveAddress, SpaprVioAddress, VirtioSerialAddress,
};
use crate::domain::controller::{Controller, ControllerModel, ControllerType};
use crate::domain::devices::Devices;
use crate::domain::disk::{Disk, DiskBus};
use crate::domain::disk_name::disk_index;
use crate::domain::hostdev::HostdevType;
use crate::domain::info::DeviceInfo;
use crate::domain::memory_device::MemoryModel;
use crate::domain::serial::ChannelTargetType;
use crate::xml::{Decimal, Hex, XmlError};

/// Gives every device without one its address.
pub(super) fn assign(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    assign_virtio_serial(&mut domain.devices)?;
    assign_spapr_vio(&mut domain.devices);
    pci::assign(domain)?;
    usb::assign(domain, context)?;
    assign_memory_slots(domain)
}

/// Units on one SCSI controller.
const SCSI_UNITS: u32 = 7;
/// Units on one SATA controller.
const SATA_UNITS: u32 = 6;

/// Derives the place of a disk from its name.
pub(super) fn assign_drives(domain: &mut Domain) -> Result<(), XmlError> {
    let devices = &mut domain.devices;
    let hostdevs: Vec<DriveAddress> = devices
        .hostdevs
        .iter()
        .filter(|h| h.kind == HostdevType::Scsi)
        .filter_map(|h| drive(&h.info).cloned())
        .collect();
    for disk in &mut devices.disks {
        if disk.info.address.is_some() {
            continue;
        }
        let Some(address) = default_drive(disk)? else {
            continue;
        };
        if disk.bus() == Some(DiskBus::Scsi) && hostdevs.contains(&address) {
            return Err(xml_error(format!(
                "using disk target name '{}' conflicts with SCSI host device address \
                 controller='{}' bus='{}' target='{}' unit='{}'",
                disk.target_dev(),
                address.controller,
                address.bus,
                address.target,
                address.unit
            )));
        }
        disk.info.address = Some(Address::Drive(address));
    }
    assign_scsi_hostdevs(devices);
    Ok(())
}

fn drive(info: &DeviceInfo) -> Option<&DriveAddress> {
    match &info.address {
        Some(Address::Drive(drive)) => Some(drive),
        _ => None,
    }
}

fn default_drive(disk: &Disk) -> Result<Option<DriveAddress>, XmlError> {
    let name = disk.target_dev();
    let Some(bus) = disk.bus() else {
        return Ok(None);
    };
    if !matches!(
        bus,
        DiskBus::Ide | DiskBus::Fdc | DiskBus::Scsi | DiskBus::Sata
    ) {
        return Ok(None);
    }
    let index = disk_index(name).ok_or_else(|| {
        xml_error(format!(
            "Unknown disk name '{name}' and no address specified"
        ))
    })?;
    let mut address = DriveAddress::default();
    match bus {
        DiskBus::Ide => {
            address.controller = index / 4;
            address.bus = index % 4 / 2;
            address.unit = index % 2;
        }
        DiskBus::Fdc => {
            address.controller = index / 2;
            address.unit = index % 2;
        }
        DiskBus::Scsi => {
            address.controller = index / SCSI_UNITS;
            address.unit = index % SCSI_UNITS;
        }
        _ => {
            address.controller = index / SATA_UNITS;
            address.unit = index % SATA_UNITS;
        }
    }
    if address.controller >= implicit::DISK_CONTROLLERS_MAX {
        return Err(XmlError::unsupported(format!(
            "disk '{name}' would need more than {} controllers",
            implicit::DISK_CONTROLLERS_MAX
        )));
    }
    Ok(Some(address))
}

/// SCSI devices of the host take the first free units.
fn assign_scsi_hostdevs(devices: &mut Devices) {
    let scsi_disks = devices
        .disks
        .iter()
        .filter(|d| d.bus() == Some(DiskBus::Scsi));
    let place = |d: &DriveAddress| (d.controller, d.bus, d.target, d.unit);
    let mut used: BTreeSet<_> = scsi_disks
        .filter_map(|d| drive(&d.info))
        .map(place)
        .collect();
    used.extend(
        devices
            .hostdevs
            .iter()
            .filter_map(|h| drive(&h.info))
            .map(place),
    );
    for hostdev in &mut devices.hostdevs {
        if hostdev.kind != HostdevType::Scsi || hostdev.info.address.is_some() {
            continue;
        }
        let mut places = (0..).flat_map(|c| (0..SCSI_UNITS).map(move |u| (c, 0, 0, u)));
        if let Some((controller, bus, target, unit)) = places.find(|p| used.insert(*p)) {
            let address = DriveAddress {
                controller,
                bus,
                target,
                unit,
            };
            hostdev.info.address = Some(Address::Drive(address));
        }
    }
}

/// Ports of a virtio-serial controller where none are given.
const VIRTIO_SERIAL_PORTS: u32 = 31;

/// The ports in use on each virtio-serial controller.
struct VirtioSerialPorts {
    /// Number of ports by controller.
    sizes: BTreeMap<u32, u32>,
    used: BTreeSet<(u32, u32)>,
}

impl VirtioSerialPorts {
    fn new(controllers: &[Controller]) -> Self {
        let serial = controllers
            .iter()
            .filter(|c| c.kind == ControllerType::VirtioSerial);
        let sizes = serial
            .map(|c| (c.index(), c.ports.unwrap_or(VIRTIO_SERIAL_PORTS)))
            .collect();
        VirtioSerialPorts {
            sizes,
            used: BTreeSet::new(),
        }
    }

    fn reserve(&mut self, info: &DeviceInfo) -> Result<(), XmlError> {
        let Some(Address::VirtioSerial(a)) = &info.address else {
            return Ok(());
        };
        if a.port == 0 {
            return Ok(());
        }
        let Some(size) = self.sizes.get(&a.controller) else {
            return Err(xml_error(format!(
                "virtio serial controller {} is missing",
                a.controller
            )));
        };
        if a.port >= *size {
            return Err(xml_error(format!(
                "virtio serial controller {} does not have port {}",
                a.controller, a.port
            )));
        }
        if !self.used.insert((a.controller, a.port)) {
            return Err(xml_error(format!(
                "virtio serial port {} on controller {} is already occupied",
                a.port, a.controller
            )));
        }
        Ok(())
    }

    /// The first free port on `only` or on any controller. Port 0 is left to
    /// consoles, which QEMU places by itself.
    fn next(&mut self, only: Option<u32>) -> Option<(u32, u32)> {
        let controllers = self
            .sizes
            .iter()
            .filter(|(c, _)| only.is_none_or(|o| o == **c));
        for (controller, size) in controllers {
            let free = (1..*size).find(|p| !self.used.contains(&(*controller, *p)));
            if let Some(port) = free {
                let place = (*controller, port);
                self.used.insert(place);
                return Some(place);
            }
        }
        None
    }
}

fn assign_virtio_serial(devices: &mut Devices) -> Result<(), XmlError> {
    let mut ports = VirtioSerialPorts::new(&devices.controllers);
    for channel in &devices.channels {
        ports.reserve(&channel.info)?;
    }
    let controllers = &mut devices.controllers;
    for channel in &mut devices.channels {
        if channel
            .target
            .as_ref()
            .is_some_and(|t| t.kind == ChannelTargetType::Virtio)
        {
            give_port(&mut channel.info, &mut ports, controllers)?;
        }
    }
    Ok(())
}

fn give_port(
    info: &mut DeviceInfo,
    ports: &mut VirtioSerialPorts,
    controllers: &mut Vec<Controller>,
) -> Result<(), XmlError> {
    let only = match &info.address {
        Some(Address::VirtioSerial(a)) if a.port == 0 => Some(a.controller),
        Some(_) => return Ok(()),
        None => None,
    };
    let mut place = ports.next(only);
    if place.is_none() && only.is_none() {
        let index = super::order::free_index(controllers, ControllerType::VirtioSerial);
        implicit::maybe_add(controllers, ControllerType::VirtioSerial, index, None);
        ports.sizes.insert(index, VIRTIO_SERIAL_PORTS);
        place = ports.next(None);
    }
    let Some((controller, port)) = place else {
        return Err(xml_error("Unable to find a free virtio-serial port"));
    };
    info.address = Some(Address::VirtioSerial(VirtioSerialAddress {
        controller,
        bus: 0,
        port,
    }));
    Ok(())
}

/// Where POWER's SCSI controllers start on their bus, and how far apart.
const SPAPR_VIO_SCSI: (u64, u64) = (0x2000, 0x1000);

/// The SCSI controller of POWER sits on a bus of its own on any machine.
fn assign_spapr_vio(devices: &mut Devices) {
    let (mut reg, step) = SPAPR_VIO_SCSI;
    for controller in &mut devices.controllers {
        if controller.model == Some(ControllerModel::Ibmvscsi) && controller.info.address.is_none()
        {
            let address = SpaprVioAddress {
                reg: Some(Hex(reg)),
            };
            controller.info.address = Some(Address::SpaprVio(address));
            reg += step;
        }
    }
}

fn assign_memory_slots(domain: &mut Domain) -> Result<(), XmlError> {
    let Some(max) = &domain.max_memory else {
        return Ok(());
    };
    let slots = u64::from(max.slots.unwrap_or(0));
    let memories = &mut domain.devices.memories;
    let mut used: BTreeSet<u64> = memories
        .iter()
        .filter_map(|m| match &m.info.address {
            Some(Address::Dimm(dimm)) => Some(dimm.slot.0),
            _ => None,
        })
        .collect();
    for memory in memories {
        let in_slot = matches!(memory.model, MemoryModel::Dimm | MemoryModel::Nvdimm);
        if !in_slot || memory.info.address.is_some() {
            continue;
        }
        let Some(slot) = (0..slots).find(|s| used.insert(*s)) else {
            return Err(XmlError::unsupported("failed to find an empty memory slot"));
        };
        let address = DimmAddress {
            slot: Decimal(slot),
            base: None,
        };
        memory.info.address = Some(Address::Dimm(address));
    }
    Ok(())
}
