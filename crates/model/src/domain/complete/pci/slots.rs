//! The order in which devices get their addresses, and the fixed places of
//! the devices a machine always has.

use super::connect::Connect;
use super::set::AddressSet;
use crate::domain::Domain;
use crate::domain::address::{Address, PciAddress};
use crate::domain::complete::machine::MachineFamily;
use crate::domain::controller::{Controller, ControllerModel, ControllerType};
use crate::domain::hostdev::{Hostdev, HostdevType};
use crate::domain::info::DeviceInfo;
use crate::domain::interface::InterfaceType;
use crate::domain::memory_device::MemoryModel;
use crate::domain::sound::SoundModel;
use crate::domain::video::VideoType;
use crate::xml::{OnOff, XmlError, XmlErrorKind};

/// The IDE controller of the PIIX3.
const PIIX3_IDE: (u32, u32, u32) = (0, 1, 1);
/// The USB controller of the PIIX3.
const PIIX3_USB: (u32, u32, u32) = (0, 1, 2);
/// The SATA controller of the ICH9.
const ICH9_SATA: (u32, u32, u32) = (0, 0x1f, 2);

fn fixed((bus, slot, function): (u32, u32, u32)) -> PciAddress {
    PciAddress::new(bus, slot, function)
}

/// Whether the device is on PCI but has no place yet.
fn is_wanted(info: &DeviceInfo) -> bool {
    match &info.address {
        None => true,
        Some(Address::Pci(pci)) => pci.is_empty(),
        Some(_) => false,
    }
}

/// Takes the addresses the devices already have.
pub(super) fn collect(domain: &Domain, set: &mut AddressSet) -> Result<(), XmlError> {
    let needs = set.needs;
    let devices = &domain.devices;
    let mut take = |info: &DeviceInfo, device: Connect| match info.pci() {
        // An address on a device that needs none is still taken.
        Some(pci) if device.is_none() => set.reserve(pci, Connect::PCI_DEVICE),
        Some(pci) => set.reserve(pci, device),
        None => Ok(()),
    };
    for d in &devices.disks {
        take(&d.info, needs.disk(d))?;
    }
    for d in &devices.interfaces {
        let hostdev = d.kind == InterfaceType::Hostdev;
        take(
            &d.info,
            if hostdev {
                needs.pcie()
            } else {
                needs.interface(d)
            },
        )?;
    }
    for d in &devices.sounds {
        take(&d.info, needs.sound(d))?;
    }
    for d in &devices.hostdevs {
        take(&d.info, hostdev_connect(d, needs))?;
    }
    for d in &devices.videos {
        take(&d.info, needs.video(d.kind()))?;
    }
    for d in devices.controllers.iter().filter(|c| !is_piix3_part(c)) {
        take(&d.info, needs.controller(d))?;
    }
    for d in &devices.serials {
        take(&d.info, needs.serial(d))?;
    }
    for d in &devices.inputs {
        take(&d.info, needs.input(d))?;
    }
    for d in &devices.filesystems {
        take(&d.info, needs.filesystem(d))?;
    }
    for d in &devices.watchdogs {
        take(&d.info, needs.watchdog(d))?;
    }
    if let Some(d) = &devices.memballoon {
        take(&d.info, needs.balloon(d.model))?;
    }
    for d in &devices.rngs {
        take(&d.info, needs.virtio(Some(d.model)))?;
    }
    for d in &devices.shmems {
        take(&d.info, needs.pci())?;
    }
    for d in &devices.panics {
        take(&d.info, needs.panic(d))?;
    }
    for d in &devices.memories {
        take(&d.info, needs.pcie())?;
    }
    for d in &devices.cryptos {
        take(&d.info, needs.pci())?;
    }
    if let Some(d) = &devices.iommu {
        take(&d.info, needs.iommu(d))?;
    }
    if let Some(d) = &devices.vsock {
        take(&d.info, needs.virtio(d.model))?;
    }
    let root_takes_pci = set.offers_pci_on_root();
    if !root_takes_pci && devices.controllers.iter().any(is_piix3_part) {
        return Err(XmlError::new(
            XmlErrorKind::Unsupported,
            "internal error: Bus 0 must be PCI for integrated PIIX3 USB or IDE controllers",
        ));
    }
    Ok(())
}

/// The controllers inside the PIIX3 are reserved with the chipset.
fn is_piix3_part(c: &Controller) -> bool {
    let Some(pci) = c.info.pci() else {
        return false;
    };
    if c.index() != 0 {
        return false;
    }
    match c.kind {
        ControllerType::Ide => pci.place() == fixed(PIIX3_IDE).place(),
        ControllerType::Usb => {
            matches!(c.model, None | Some(ControllerModel::Piix3Uhci))
                && pci.place() == fixed(PIIX3_USB).place()
        }
        _ => false,
    }
}

fn hostdev_connect(hostdev: &Hostdev, needs: super::connect::Needs) -> Connect {
    match hostdev.kind {
        HostdevType::Pci | HostdevType::Mdev => needs.pcie(),
        HostdevType::ScsiHost if hostdev.model.as_deref() == Some("virtio-transitional") => {
            needs.pci()
        }
        HostdevType::ScsiHost => needs.pcie(),
        _ => Connect::NONE,
    }
}

/// Reserves what the machine's chipset holds, and the usual place of the
/// primary graphics card.
pub(super) fn reserve_chipset(
    domain: &mut Domain,
    family: MachineFamily,
    set: &mut AddressSet,
) -> Result<(), XmlError> {
    match family {
        MachineFamily::I440fx => {
            reserve_piix3(domain, set)?;
            place_primary_video(domain, set, 2, Connect::PCI_DEVICE.auto())
        }
        MachineFamily::Q35 => {
            reserve_ich9(domain, set)?;
            place_primary_video(domain, set, 1, Connect::PCIE_DEVICE)?;
            place_ich9_sound(domain, set)
        }
        _ => Ok(()),
    }
}

fn internal(message: &str) -> XmlError {
    XmlError::new(
        XmlErrorKind::Unsupported,
        format!("internal error: {message}"),
    )
}

/// Puts `info` at a fixed place, or checks that it is there.
fn fix(info: &mut DeviceInfo, place: &PciAddress, message: &str) -> Result<(), XmlError> {
    match info.pci() {
        Some(pci) if pci.place() == place.place() => Ok(()),
        Some(_) => Err(internal(message)),
        None => {
            info.address = Some(Address::Pci(place.clone()));
            Ok(())
        }
    }
}

fn reserve_piix3(domain: &mut Domain, set: &mut AddressSet) -> Result<(), XmlError> {
    let flags = Connect::PCI_DEVICE.auto();
    for c in domain
        .devices
        .controllers
        .iter_mut()
        .filter(|c| c.index() == 0)
    {
        let piix3_usb = matches!(c.model, None | Some(ControllerModel::Piix3Uhci));
        let (place, message) = match c.kind {
            ControllerType::Ide => (
                fixed(PIIX3_IDE),
                "Primary IDE controller must have PCI address 0:0:1.1",
            ),
            ControllerType::Usb if piix3_usb => (
                fixed(PIIX3_USB),
                "PIIX3 USB controller at index 0 must have PCI address 0:0:1.2",
            ),
            _ => continue,
        };
        fix(&mut c.info, &place, message)?;
        set.reserve(&place, flags)?;
    }
    // The ISA bridge and the ACPI function.
    set.reserve(&PciAddress::new(0, 1, 0), flags)?;
    set.reserve(&PciAddress::new(0, 1, 3), flags)
}

fn reserve_ich9(domain: &mut Domain, set: &mut AddressSet) -> Result<(), XmlError> {
    let flags = Connect::PCIE_DEVICE;
    for c in &mut domain.devices.controllers {
        let free = |set: &AddressSet, slots: &[u32]| {
            slots
                .iter()
                .copied()
                .find(|s| !set.slot_in_use(0, u64::from(*s)))
        };
        match (c.kind, c.model) {
            (ControllerType::Sata, _) if c.index() == 0 => {
                let place = fixed(ICH9_SATA);
                let present = c.info.pci().is_some();
                fix(
                    &mut c.info,
                    &place,
                    "Primary SATA controller must have PCI address 0:0:1f.2",
                )?;
                if !present {
                    set.reserve(&place, flags)?;
                }
            }
            (ControllerType::Usb, Some(ControllerModel::Ich9Uhci1)) if c.info.address.is_none() => {
                if let Some(slot) = free(set, &[0x1d, 0x1a]) {
                    let mut place = PciAddress::new(0, slot, 0);
                    set.reserve(&place, flags)?;
                    place.multifunction = Some(OnOff::On);
                    c.info.address = Some(Address::Pci(place));
                }
            }
            (ControllerType::Pci, Some(ControllerModel::DmiToPciBridge))
                if c.info.address.is_none() =>
            {
                if let Some(slot) = free(set, &[0x1e]) {
                    let place = PciAddress::new(0, slot, 0);
                    set.reserve(&place, Connect::DMI_TO_PCI_BRIDGE)?;
                    c.info.address = Some(Address::Pci(place));
                }
            }
            _ => {}
        }
    }
    // The ISA bridge and the SMBus.
    set.reserve(&PciAddress::new(0, 0x1f, 0), flags)?;
    set.reserve(&PciAddress::new(0, 0x1f, 3), flags)
}

fn place_primary_video(
    domain: &mut Domain,
    set: &mut AddressSet,
    slot: u32,
    flags: Connect,
) -> Result<(), XmlError> {
    let needs = set.needs;
    let Some(video) = domain.devices.videos.first_mut() else {
        return Ok(());
    };
    let kind = video.kind();
    if matches!(kind, VideoType::None | VideoType::Ramfb) || !is_wanted(&video.info) {
        return Ok(());
    }
    let place = PciAddress::new(0, slot, 0);
    set.validate(&place, flags, true)?;
    if set.slot_in_use(0, slot.into()) {
        return set.reserve_next(&mut video.info, needs.video(kind));
    }
    set.reserve(&place, flags)?;
    video.info.address = Some(Address::Pci(place));
    Ok(())
}

/// The ICH9's own place for HD Audio.
fn place_ich9_sound(domain: &mut Domain, set: &mut AddressSet) -> Result<(), XmlError> {
    const SLOT: u32 = 0x1b;
    if set.slot_in_use(0, SLOT.into()) {
        return Ok(());
    }
    let mut sounds = domain.devices.sounds.iter_mut();
    let Some(sound) = sounds.find(|s| s.model == SoundModel::Ich9 && is_wanted(&s.info)) else {
        return Ok(());
    };
    let place = PciAddress::new(0, SLOT, 0);
    set.reserve(&place, Connect::PCIE_DEVICE)?;
    sound.info.address = Some(Address::Pci(place));
    Ok(())
}

/// Gives addresses to all devices without one, in libvirt's order.
pub(super) fn assign_devices(domain: &mut Domain, set: &mut AddressSet) -> Result<(), XmlError> {
    assign_pci_controllers(domain, set)?;
    let needs = set.needs;
    let devices = &mut domain.devices;
    for d in &mut devices.filesystems {
        let connect = needs.filesystem(d);
        give(set, &mut d.info, connect)?;
    }
    for d in &mut devices.interfaces {
        let connect = needs.interface(d);
        give(set, &mut d.info, connect)?;
    }
    for d in &mut devices.sounds {
        let connect = needs.sound(d);
        give(set, &mut d.info, connect)?;
    }
    assign_other_controllers(&mut devices.controllers, set)?;
    for d in &mut devices.disks {
        let connect = needs.disk(d);
        give(set, &mut d.info, connect)?;
    }
    for d in devices
        .interfaces
        .iter_mut()
        .filter(|d| d.kind == InterfaceType::Hostdev)
    {
        let is_usb = d
            .source
            .as_ref()
            .and_then(|s| s.hostdev.as_ref()?.kind.as_deref())
            .is_some_and(|kind| kind == "usb");
        give(
            set,
            &mut d.info,
            if is_usb { Connect::NONE } else { needs.pcie() },
        )?;
    }
    for d in &mut devices.hostdevs {
        let is_other_mdev = d.kind == HostdevType::Mdev && d.model.as_deref() != Some("vfio-pci");
        let connect = if is_other_mdev {
            Connect::NONE
        } else {
            hostdev_connect(d, needs)
        };
        give(set, &mut d.info, connect)?;
    }
    if let Some(d) = &mut devices.memballoon {
        give(set, &mut d.info, needs.balloon(d.model))?;
    }
    for d in &mut devices.rngs {
        give(set, &mut d.info, needs.virtio(Some(d.model)))?;
    }
    for d in &mut devices.watchdogs {
        let connect = needs.watchdog(d);
        give(set, &mut d.info, connect)?;
    }
    for d in &mut devices.videos {
        let connect = needs.video(d.kind());
        give(set, &mut d.info, connect)?;
    }
    for d in &mut devices.shmems {
        give(set, &mut d.info, needs.pci())?;
    }
    for d in &mut devices.inputs {
        let connect = needs.input(d);
        give(set, &mut d.info, connect)?;
    }
    for d in &mut devices.serials {
        let connect = needs.serial(d);
        give(set, &mut d.info, connect)?;
    }
    if let Some(d) = &mut devices.iommu {
        let connect = needs.iommu(d);
        give(set, &mut d.info, connect)?;
    }
    if let Some(d) = &mut devices.vsock {
        give(set, &mut d.info, needs.virtio(d.model))?;
    }
    for d in &mut devices.memories {
        let virtio = matches!(d.model, MemoryModel::VirtioPmem | MemoryModel::VirtioMem);
        give(
            set,
            &mut d.info,
            if virtio { needs.pcie() } else { Connect::NONE },
        )?;
    }
    for d in &mut devices.cryptos {
        give(set, &mut d.info, needs.pci())?;
    }
    for d in &mut devices.panics {
        let connect = needs.panic(d);
        give(set, &mut d.info, connect)?;
    }
    Ok(())
}

fn give(set: &mut AddressSet, info: &mut DeviceInfo, connect: Connect) -> Result<(), XmlError> {
    if connect.is_none() || !is_wanted(info) {
        return Ok(());
    }
    set.reserve_next(info, connect)
}

fn assign_pci_controllers(domain: &mut Domain, set: &mut AddressSet) -> Result<(), XmlError> {
    for c in domain
        .devices
        .controllers
        .iter_mut()
        .filter(|c| c.kind == ControllerType::Pci)
    {
        if matches!(
            c.model,
            Some(ControllerModel::PciRoot | ControllerModel::PcieRoot)
        ) {
            continue;
        }
        let connect = set.needs.controller(c);
        give(set, &mut c.info, connect)?;
    }
    Ok(())
}

fn assign_other_controllers(
    controllers: &mut [Controller],
    set: &mut AddressSet,
) -> Result<(), XmlError> {
    for i in 0..controllers.len() {
        let c = &controllers[i];
        let skipped = match c.kind {
            ControllerType::Pci | ControllerType::Fdc | ControllerType::Ccid => true,
            ControllerType::Usb => c.model == Some(ControllerModel::None),
            ControllerType::Ide => c.index() == 0,
            ControllerType::Scsi => c.model == Some(ControllerModel::Ncr53c90),
            _ => false,
        };
        if skipped || !is_wanted(&c.info) {
            continue;
        }
        if c.is_usb2() {
            assign_usb2(controllers, i, set)?;
        } else {
            let connect = set.needs.controller(c);
            give(set, &mut controllers[i].info, connect)?;
        }
    }
    Ok(())
}

/// The parts of a USB 2 controller share a slot.
fn assign_usb2(
    controllers: &mut [Controller],
    at: usize,
    set: &mut AddressSet,
) -> Result<(), XmlError> {
    let index = controllers[at].index();
    let connect = set.needs.controller(&controllers[at]);
    let (function, multifunction) = match controllers[at].model {
        Some(ControllerModel::Ich9Ehci1) => (7, None),
        Some(ControllerModel::Ich9Uhci2) => (1, None),
        Some(ControllerModel::Ich9Uhci3) => (2, None),
        _ => (0, Some(OnOff::On)),
    };
    let sibling = controllers
        .iter()
        .filter(|c| c.is_usb2() && c.index() == index)
        .find_map(|c| c.info.pci().cloned());
    let info = &mut controllers[at].info;
    if let Some(mut place) = sibling {
        place.function.0 = function;
        place.multifunction = multifunction;
        set.reserve(&place, connect)?;
        info.address = Some(Address::Pci(place));
        return Ok(());
    }
    set.reserve_next_function(info, connect, Some(function))?;
    if let Some(Address::Pci(pci)) = &mut info.address {
        pci.multifunction = multifunction;
    }
    Ok(())
}
