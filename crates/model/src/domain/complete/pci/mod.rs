//! PCI addresses, chosen as libvirt chooses them, so that a guest sees its
//! devices where it would see them under libvirt.
//!
//! - `connect`: what a device needs and what a bus offers;
//! - `set`: which functions of which slots are taken, and how buses are added;
//! - `slots`: the order in which devices are served, and the fixed places;
//! - this file: the two passes over them.

mod connect;
mod set;
mod slots;

use connect::Connect;
use set::AddressSet;

use super::machine::MachineFamily;
use super::order;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::controller::{
    Controller, ControllerModel, ControllerType, PciModel, PciModelName, PciTarget,
};
use crate::domain::info::DeviceInfo;
use crate::xml::{Decimal, Hex, OnOff, XmlError};

/// Gives every PCI device its address, adding bridges and ports as needed.
pub(super) fn assign(domain: &mut Domain) -> Result<(), XmlError> {
    let family = domain.machine_family();
    let highest = pci_controllers(domain).map(Controller::index).max();
    let mut buses = highest.map_or(0, |i| i as usize + 1);
    if buses > 0 {
        buses = add_buses(domain, family, buses)?;
    }
    let mut set = AddressSet::from_domain(domain, buses, false)?;
    if matches!(family, MachineFamily::Microvm | MachineFamily::Other) {
        return Ok(());
    }
    slots::reserve_chipset(domain, family, &mut set)?;
    slots::assign_devices(domain, &mut set)?;
    mark_multifunction(domain);
    complete_controllers(domain)
}

fn pci_controllers(domain: &Domain) -> impl Iterator<Item = &Controller> {
    domain
        .devices
        .controllers
        .iter()
        .filter(|c| c.kind == ControllerType::Pci)
}

/// The dry run: finds out how many buses the devices need and adds their
/// controllers. Returns the number of buses.
fn add_buses(domain: &mut Domain, family: MachineFamily, buses: usize) -> Result<usize, XmlError> {
    let mut set = AddressSet::from_domain(domain, buses, true)?;
    slots::reserve_chipset(domain, family, &mut set)?;
    let has_pci_root = pci_controllers(domain).any(|c| c.is_pci(ControllerModel::PciRoot));
    let has_pcie_root = pci_controllers(domain).any(|c| c.is_pci(ControllerModel::PcieRoot));
    if has_pci_root && !set.is_full() {
        // One slot stays free for a later bridge.
        set.reserve_next(&mut DeviceInfo::default(), Connect::PCI_DEVICE.auto())?;
    }
    slots::assign_devices(domain, &mut set)?;
    if buses <= 1 && set.bus_count() > buses && has_pcie_root {
        // The first time ports are added, one is added for hotplug.
        set.reserve_next(&mut DeviceInfo::default(), Connect::PCIE_DEVICE.auto())?;
    }
    for index in 1.. {
        if index >= set.bus_count() {
            break;
        }
        let number = index as u32;
        if pci_controllers(domain).any(|c| c.index() == number) {
            continue;
        }
        let model = set.model(index);
        let mut controller = Controller::new(ControllerType::Pci, number, Some(model));
        if !matches!(model, ControllerModel::PciRoot | ControllerModel::PcieRoot) {
            set.reserve_next(&mut controller.info, connect::of_controller_model(model))?;
        }
        order::insert_controller(&mut domain.devices.controllers, controller);
    }
    Ok(set.bus_count())
}

/// Function 0 of a slot with more functions says so.
fn mark_multifunction(domain: &mut Domain) {
    let mut shared = std::collections::BTreeSet::new();
    domain.devices.each_info_mut(&mut |info| {
        if let Some(Address::Pci(pci)) = &info.address
            && pci.function.0 != 0
        {
            shared.insert((pci.domain, pci.bus, pci.slot));
        }
    });
    if shared.is_empty() {
        return;
    }
    domain.devices.each_info_mut(&mut |info| {
        if let Some(Address::Pci(pci)) = &mut info.address
            && pci.function.0 == 0
            && pci.multifunction.is_none()
            && shared.contains(&(pci.domain, pci.bus, pci.slot))
        {
            pci.multifunction = Some(OnOff::On);
        }
    });
}

/// Fills in what QEMU is told about each PCI controller.
fn complete_controllers(domain: &mut Domain) -> Result<(), XmlError> {
    for i in 0..domain.devices.controllers.len() {
        let free_bus_number = free_bus_number(domain);
        let controller = &mut domain.devices.controllers[i];
        if controller.kind != ControllerType::Pci {
            continue;
        }
        complete_controller(controller, free_bus_number)?;
    }
    Ok(())
}

fn complete_controller(
    controller: &mut Controller,
    free_bus_number: Option<u32>,
) -> Result<(), XmlError> {
    let index = controller.index();
    let (bus, slot, function) = match controller.info.pci() {
        Some(pci) => (pci.bus.0, pci.slot.0, pci.function.0),
        None => (0, 0, 0),
    };
    let Some(model) = controller.model else {
        return Ok(());
    };
    if controller.pci_model.is_none()
        && let Some(name) = default_model_name(model)
    {
        controller.pci_model = Some(PciModel { name });
    }
    let target = controller.target.get_or_insert_default();
    match model {
        ControllerModel::PciBridge => {
            target.chassis_nr.get_or_insert(index);
            if u64::from(index) <= bus {
                return Err(XmlError::unsupported(format!(
                    "PCI controller at index {index} (0x{index:02x}) has bus='0x{bus:02x}', \
                     but index must be larger than bus"
                )));
            }
        }
        ControllerModel::PcieRootPort => {
            target.chassis.get_or_insert(Decimal(index.into()));
            target.port.get_or_insert(Hex((slot << 3) + function));
        }
        ControllerModel::PcieSwitchDownstreamPort => {
            target.chassis.get_or_insert(Decimal(index.into()));
            target.port.get_or_insert(Hex(slot));
        }
        ControllerModel::PciExpanderBus | ControllerModel::PcieExpanderBus
            if target.bus_nr.is_none() =>
        {
            target.bus_nr = Some(free_bus_number.ok_or_else(|| {
                XmlError::unsupported(format!(
                    "No free busNr lower than current lowest busNr is available to auto-assign \
                     to bus {bus}. Must be manually assigned"
                ))
            })?);
        }
        _ => {}
    }
    if *target == PciTarget::default() {
        controller.target = None;
    }
    Ok(())
}

fn default_model_name(model: ControllerModel) -> Option<PciModelName> {
    Some(match model {
        ControllerModel::PciBridge => PciModelName::PciBridge,
        ControllerModel::DmiToPciBridge => PciModelName::I82801b11Bridge,
        ControllerModel::PcieToPciBridge => PciModelName::PciePciBridge,
        ControllerModel::PcieRootPort => PciModelName::PcieRootPort,
        ControllerModel::PcieSwitchUpstreamPort => PciModelName::X3130Upstream,
        ControllerModel::PcieSwitchDownstreamPort => PciModelName::Xio3130Downstream,
        ControllerModel::PciExpanderBus => PciModelName::Pxb,
        ControllerModel::PcieExpanderBus => PciModelName::PxbPcie,
        _ => return None,
    })
}

/// Bus numbers of expander buses are given out from the top, two at a time:
/// one for the bus, one for the bridge inside it.
fn free_bus_number(domain: &Domain) -> Option<u32> {
    let used = pci_controllers(domain).filter_map(|c| c.target.as_ref()?.bus_nr);
    let lowest = used.min().unwrap_or(256).min(256);
    (lowest > 2).then(|| lowest - 2)
}
