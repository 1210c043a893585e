//! Ports of USB devices. They are chosen once, when a definition is new.

use std::collections::{BTreeMap, BTreeSet};

use super::DefineContext;
use super::basics::xml_error;
use crate::domain::Domain;
use crate::domain::address::{Address, UsbAddress};
use crate::domain::controller::{Controller, ControllerModel, ControllerType};
use crate::domain::devices::Devices;
use crate::domain::disk::DiskBus;
use crate::domain::filesystem::FilesystemDriverType;
use crate::domain::hostdev::HostdevType;
use crate::domain::info::DeviceInfo;
use crate::domain::input::InputBus;
use crate::domain::misc_devices::{Hub, HubType};
use crate::domain::serial::SerialTargetType;
use crate::domain::sound::SoundModel;
use crate::xml::XmlError;

/// Ports of a hub.
const HUB_PORTS: u32 = 8;
/// How deep hubs may be plugged into each other.
const PORT_PATH_MAX: usize = 4;

type Path = Vec<u32>;

/// A bus or hub: its ports, those in use, and the hubs plugged into it.
#[derive(Default)]
struct UsbHub {
    ports: u32,
    used: BTreeSet<u32>,
    hubs: BTreeMap<u32, UsbHub>,
}

impl UsbHub {
    fn new(ports: u32) -> Self {
        UsbHub {
            ports,
            ..UsbHub::default()
        }
    }

    /// A free port on this hub, else on the hubs below it.
    fn free_port(&self, depth: usize) -> Option<Path> {
        if let Some(port) = (1..=self.ports).find(|p| !self.used.contains(p)) {
            return Some(vec![port]);
        }
        if depth >= PORT_PATH_MAX {
            return None;
        }
        self.hubs.iter().find_map(|(port, hub)| {
            let mut path = vec![*port];
            path.extend(hub.free_port(depth + 1)?);
            Some(path)
        })
    }

    fn hub_at(&mut self, path: &[u32]) -> Option<&mut UsbHub> {
        match path {
            [] => Some(self),
            [port, rest @ ..] => self.hubs.get_mut(port)?.hub_at(rest),
        }
    }
}

/// Chooses ports for new definitions; checks those given otherwise.
pub(super) fn assign(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    let devices = &mut domain.devices;
    if !context.abi_update && !all_have_ports(devices) {
        return Ok(());
    }
    add_hubs(devices)?;
    let mut buses = buses(&devices.controllers);
    for hub in &devices.hubs {
        reserve(&mut buses, &hub.info, true)?;
    }
    let mut problem = None;
    each_usb(devices, &mut |info| {
        if problem.is_none() {
            problem = reserve(&mut buses, info, false).err();
        }
    });
    for hub in &mut devices.hubs {
        if port_of(&hub.info).is_none() && problem.is_none() {
            problem = give(&mut buses, &mut hub.info).err();
            add_hub(&mut buses, &hub.info);
        }
    }
    each_usb(devices, &mut |info| {
        let unplaced = matches!(info.address, None | Some(Address::Usb(_)));
        if problem.is_none() && unplaced && port_of(info).is_none() {
            problem = give(&mut buses, info).err();
        }
    });
    problem.map_or(Ok(()), Err)
}

/// Every USB device but hubs, in the order libvirt serves them.
fn each_usb(devices: &mut Devices, visit: &mut dyn FnMut(&mut DeviceInfo)) {
    for d in devices
        .hostdevs
        .iter_mut()
        .filter(|d| d.kind == HostdevType::Usb)
    {
        visit(&mut d.info);
    }
    for d in devices
        .disks
        .iter_mut()
        .filter(|d| d.bus() == Some(DiskBus::Usb))
    {
        visit(&mut d.info);
    }
    for d in devices
        .controllers
        .iter_mut()
        .filter(|d| d.kind == ControllerType::Ccid)
    {
        visit(&mut d.info);
    }
    for d in devices
        .inputs
        .iter_mut()
        .filter(|d| d.bus == Some(InputBus::Usb))
    {
        visit(&mut d.info);
    }
    for d in &mut devices.serials {
        if d.target.as_ref().and_then(|t| t.kind) == Some(SerialTargetType::Usb) {
            visit(&mut d.info);
        }
    }
    for d in devices
        .sounds
        .iter_mut()
        .filter(|d| d.model == SoundModel::Usb)
    {
        visit(&mut d.info);
    }
    for d in &mut devices.filesystems {
        if d.driver.as_ref().and_then(|d| d.kind) == Some(FilesystemDriverType::Mtp) {
            visit(&mut d.info);
        }
    }
    for d in &mut devices.redirdevs {
        visit(&mut d.info);
    }
    for d in devices
        .interfaces
        .iter_mut()
        .filter(|d| d.model_name() == Some("usb-net"))
    {
        visit(&mut d.info);
    }
}

fn all_have_ports(devices: &mut Devices) -> bool {
    let mut all = devices.hubs.iter().all(|h| port_of(&h.info).is_some());
    each_usb(devices, &mut |info| all &= port_of(info).is_some());
    all
}

fn port_of(info: &DeviceInfo) -> Option<(u32, Path)> {
    let Some(Address::Usb(UsbAddress {
        bus,
        port: Some(port),
    })) = &info.address
    else {
        return None;
    };
    let path: Path = port
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    (!path.contains(&0)).then_some((*bus, path))
}

fn controller_ports(controller: &Controller) -> u32 {
    match controller.model {
        Some(ControllerModel::Ehci | ControllerModel::Ich9Ehci1) => 6,
        Some(ControllerModel::PciOhci) => 3,
        Some(ControllerModel::NecXhci | ControllerModel::QemuXhci) => controller.ports.unwrap_or(4),
        Some(ControllerModel::None) => 0,
        _ => 2,
    }
}

/// The buses by number. Companions share the ports of their master.
fn buses(controllers: &[Controller]) -> BTreeMap<u32, UsbHub> {
    let mut buses = BTreeMap::new();
    let masters = controllers.iter().filter(|c| {
        c.kind == ControllerType::Usb
            && c.info.master.is_none()
            && c.model != Some(ControllerModel::None)
    });
    for controller in masters {
        buses
            .entry(controller.index())
            .or_insert_with(|| UsbHub::new(controller_ports(controller)));
    }
    buses
}

/// Adds hubs where the controllers have too few ports.
fn add_hubs(devices: &mut Devices) -> Result<(), XmlError> {
    let buses = buses(&devices.controllers);
    let hub_ports = devices.hubs.len() as u32 * HUB_PORTS;
    let available = buses.values().map(|b| b.ports).sum::<u32>() + hub_ports;
    let mut count = devices.hubs.len() as u32;
    each_usb(devices, &mut |_| count += 1);
    if count > 0 && buses.is_empty() {
        return Err(XmlError::unsupported(
            "USB is disabled for this domain, but USB devices are present in the domain XML",
        ));
    }
    if count > available {
        let wanted = (count - available + 1).div_ceil(HUB_PORTS - 1);
        for _ in 0..wanted {
            devices.hubs.push(Hub {
                kind: HubType::Usb,
                info: DeviceInfo::default(),
            });
        }
    }
    Ok(())
}

fn reserve(
    buses: &mut BTreeMap<u32, UsbHub>,
    info: &DeviceInfo,
    is_hub: bool,
) -> Result<(), XmlError> {
    let Some((bus, path)) = port_of(info) else {
        return Ok(());
    };
    let shown = path
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(".");
    let Some(root) = buses.get_mut(&bus) else {
        return Err(xml_error(format!("Missing USB bus {bus}")));
    };
    let Some((port, parents)) = path.split_last() else {
        return Ok(());
    };
    let missing = || {
        xml_error(format!(
            "requested USB port {shown} not present on USB bus {bus}"
        ))
    };
    let hub = root.hub_at(parents).ok_or_else(missing)?;
    if *port > hub.ports {
        return Err(missing());
    }
    if !hub.used.insert(*port) {
        return Err(xml_error(format!(
            "Duplicate USB address bus {bus} port {shown}"
        )));
    }
    if is_hub {
        hub.hubs.insert(*port, UsbHub::new(HUB_PORTS));
    }
    Ok(())
}

fn give(buses: &mut BTreeMap<u32, UsbHub>, info: &mut DeviceInfo) -> Result<(), XmlError> {
    let only = match &info.address {
        Some(Address::Usb(usb)) => Some(usb.bus),
        _ => None,
    };
    let candidates = buses
        .iter()
        .filter(|(bus, _)| only.is_none_or(|o| o == **bus));
    let found = candidates
        .map(|(bus, hub)| (*bus, hub.free_port(1)))
        .find(|(_, p)| p.is_some());
    let Some((bus, Some(path))) = found else {
        return Err(xml_error("No free USB ports"));
    };
    let port = path
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(".");
    if let Some((last, parents)) = path.split_last()
        && let Some(hub) = buses.get_mut(&bus).and_then(|b| b.hub_at(parents))
    {
        hub.used.insert(*last);
    }
    info.address = Some(Address::Usb(UsbAddress {
        bus,
        port: Some(port),
    }));
    Ok(())
}

/// Makes the ports of a hub that was just plugged in available.
fn add_hub(buses: &mut BTreeMap<u32, UsbHub>, info: &DeviceInfo) {
    let Some((bus, path)) = port_of(info) else {
        return;
    };
    if let Some((port, parents)) = path.split_last()
        && let Some(hub) = buses.get_mut(&bus).and_then(|b| b.hub_at(parents))
    {
        hub.hubs.insert(*port, UsbHub::new(HUB_PORTS));
    }
}
