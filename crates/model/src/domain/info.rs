//! What every device may carry: boot order, alias, ROM, ACPI index, address.

use crate::domain::address::{Address, PciAddress};
use crate::xml::{Decimal, Element, Node, OnOff, XmlError, XmlWriter, element};

element! {
    /// The place of a device in the boot order.
    pub struct DeviceBoot {
        req order: u32 = "order",
        attr loadparm: Option<String> = "loadparm",
    }
}

element! {
    /// The option ROM a device shows to the guest.
    pub struct Rom {
        attr enabled: Option<crate::xml::YesNo> = "enabled",
        attr bar: Option<OnOff> = "bar",
        attr file: Option<String> = "file",
    }
}

element! {
    /// The device's place among its companions (USB 2 controllers).
    pub struct Master {
        req start_port: u32 = "startport",
    }
}

element! {
    /// The number by which the guest's ACPI names the device.
    pub struct AcpiIndex {
        req index: u32 = "index",
    }
}

element! {
    /// The alias as it stands in XML.
    pub struct AliasElement {
        req name: String = "name",
    }
}

/// The prefix that marks an alias as the user's own.
pub const USER_ALIAS_PREFIX: &str = "ua-";

/// The parts of a device that are the same for all kinds of devices.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceInfo {
    /// `boot`: this device's place in the boot order.
    pub boot: Option<DeviceBoot>,
    /// `alias`: the name in QEMU. Generated while running; a user's own
    /// (`ua-…`) is part of the definition.
    pub alias: Option<String>,
    /// `master`: the first port of a companion controller.
    pub master: Option<Master>,
    /// `rom`: the option ROM.
    pub rom: Option<Rom>,
    /// `acpi`: the ACPI index.
    pub acpi: Option<AcpiIndex>,
    /// `address`: where the device sits.
    pub address: Option<Address>,
}

impl DeviceInfo {
    /// The PCI address, if the device has a complete one.
    pub fn pci(&self) -> Option<&PciAddress> {
        match &self.address {
            Some(Address::Pci(pci)) if !pci.is_empty() => Some(pci),
            _ => None,
        }
    }

    /// The boot order, if set.
    pub fn boot_order(&self) -> Option<u32> {
        self.boot.as_ref().map(|b| b.order)
    }

    /// Whether the alias was chosen by the user.
    pub fn has_user_alias(&self) -> bool {
        self.alias
            .as_deref()
            .is_some_and(|a| a.starts_with(USER_ALIAS_PREFIX))
    }
}

impl Element for DeviceInfo {
    fn take_child(&mut self, child: Node) -> Result<bool, XmlError> {
        match child.name() {
            "boot" => self.boot = Some(Element::parse(child)?),
            "alias" => self.alias = Some(AliasElement::parse(child)?.name),
            "master" => self.master = Some(Element::parse(child)?),
            "rom" => self.rom = Some(Element::parse(child)?),
            "acpi" => self.acpi = Some(Element::parse(child)?),
            "address" => self.address = Some(Element::parse(child)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn write_children(&self, w: &mut XmlWriter) {
        if let Some(boot) = &self.boot {
            boot.write("boot", w);
        }
        if let Some(alias) = &self.alias
            && (!w.flags().inactive || self.has_user_alias())
        {
            w.begin("alias");
            w.attr("name", alias);
            w.end("alias");
        }
        if let Some(master) = &self.master {
            master.write("master", w);
        }
        if let Some(rom) = &self.rom {
            rom.write("rom", w);
        }
        if let Some(acpi) = &self.acpi {
            acpi.write("acpi", w);
        }
        if let Some(address) = &self.address {
            address.write("address", w);
        }
    }
}

element! {
    /// The virtio options of a device (part of its `<driver>`).
    pub struct VirtioOptions {
        attr iommu: Option<OnOff> = "iommu",
        attr ats: Option<OnOff> = "ats",
        attr packed: Option<OnOff> = "packed",
        attr page_per_vq: Option<OnOff> = "page_per_vq",
    }
}

element! {
    /// A `<driver>` that holds nothing but virtio options.
    pub struct VirtioDriver {
        flat virtio: VirtioOptions,
    }
}

element! {
    /// The number of a thread, queue or vector.
    pub struct Numbered {
        req id: Decimal = "id",
    }
}
