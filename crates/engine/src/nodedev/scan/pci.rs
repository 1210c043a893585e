//! PCI devices.

use super::{Found, directories, hex, identified, last_of_link, number, safe, text};
use crate::nodedev::ids::Names;
use model::nodedev::{Address, Capability, CapabilityKind, IommuGroup, Kind, NumaNode};
use std::path::Path;

/// Where a PCI device is, from the kernel's name for it.
fn pci_parts(name: &str) -> Option<[u32; 4]> {
    let (domain, rest) = name.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (slot, function) = rest.split_once('.')?;
    let part = |text| u32::from_str_radix(text, 16).ok();
    Some([part(domain)?, part(bus)?, part(slot)?, part(function)?])
}

fn pci_address(name: &str) -> Option<Address> {
    let [domain, bus, slot, function] = pci_parts(name)?;
    Some(Address {
        domain: Some(format!("0x{domain:04x}")),
        bus: Some(format!("0x{bus:02x}")),
        slot: Some(format!("0x{slot:02x}")),
        function: Some(format!("0x{function:x}")),
        text: None,
    })
}

/// All that are on the bus.
pub(super) fn pci(sysfs: &Path) -> Vec<Found> {
    let mut names = Names::pci();
    let all = directories(&sysfs.join("bus/pci/devices")).into_iter();
    all.filter_map(|(name, directory)| {
        let [domain, bus, slot, function] = pci_parts(&name)?;
        let (vendor, product) = (hex(&directory, "vendor")?, hex(&directory, "device")?);
        let (vendor_name, product_name) = names.of_device(vendor as u16, product as u16);
        let class = hex(&directory, "class")?;
        let capability = Capability {
            class: Some(format!("0x{class:06x}")),
            domain: Some(domain),
            bus: Some(bus.to_string()),
            slot: Some(slot),
            function: Some(function),
            product: identified(product, product_name),
            vendor: identified(vendor, vendor_name),
            capabilities: pci_capabilities(&directory, class),
            iommu_group: iommu_group(&directory),
            numa: number::<i32>(&directory, "numa_node")
                .filter(|node| *node >= 0)
                .map(|node| NumaNode { node }),
            ..Capability::of(CapabilityKind::Pci)
        };
        Some(Found {
            name: format!("pci_{}", safe(&name)),
            files: Vec::new(),
            directory,
            capability,
        })
    })
    .collect()
}

fn pci_capabilities(directory: &Path, class: u32) -> Vec<Capability> {
    /// Class codes of bridges, without the programming interface.
    const PCI_BRIDGE: u32 = 0x0604;
    const CARDBUS_BRIDGE: u32 = 0x0607;
    let mut capabilities = Vec::new();
    if let Some(function) = last_of_link(&directory.join("physfn")) {
        capabilities.push(Capability {
            addresses: pci_address(&function).into_iter().collect(),
            ..Capability::of(CapabilityKind::PhysFunction)
        });
    }
    if let Some(max) = number::<u32>(directory, "sriov_totalvfs").filter(|max| *max > 0) {
        let functions = (0..max).map_while(|i| last_of_link(&directory.join(format!("virtfn{i}"))));
        capabilities.push(Capability {
            max_count: Some(max),
            addresses: functions.filter_map(|name| pci_address(&name)).collect(),
            ..Capability::of(CapabilityKind::VirtFunctions)
        });
    }
    match class >> 8 {
        PCI_BRIDGE => capabilities.push(Capability::of(CapabilityKind::PciBridge)),
        CARDBUS_BRIDGE => capabilities.push(Capability::of(CapabilityKind::CardbusBridge)),
        _ => {}
    }
    let types = mediated_types(directory);
    if !types.is_empty() {
        capabilities.push(Capability {
            types,
            ..Capability::of(CapabilityKind::MdevTypes)
        });
    }
    capabilities
}

fn mediated_types(directory: &Path) -> Vec<Kind> {
    let all = directories(&directory.join("mdev_supported_types"));
    all.into_iter()
        .map(|(id, directory)| Kind {
            id: Some(id),
            name: text(&directory, "name"),
            device_api: text(&directory, "device_api"),
            available: number(&directory, "available_instances"),
            ..Kind::default()
        })
        .collect()
}

fn iommu_group(directory: &Path) -> Option<IommuGroup> {
    let group = directory.join("iommu_group");
    let number = last_of_link(&group)?.parse().ok()?;
    let members = directories(&group.join("devices")).into_iter();
    Some(IommuGroup {
        number,
        addresses: members.filter_map(|(name, _)| pci_address(&name)).collect(),
    })
}
