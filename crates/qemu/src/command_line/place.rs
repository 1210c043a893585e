//! Where a device sits: the properties that name its bus and its place there, and those every
//! device may carry.

use model::domain::address::{Address, PciAddress};
use model::domain::controller::{ControllerModel, ControllerType};
use model::domain::disk::VirtioModel;
use model::domain::info::{DeviceInfo, VirtioOptions};
use model::xml::OnOff;

use super::builder::{Builder, Result};
use super::launch::{FileMode, FileRole, Unsupported};
use super::props::Props;

impl Builder<'_> {
    /// Sets where a device sits, its option ROM and its ACPI index.
    pub(super) fn place(&mut self, props: &mut Props, info: &DeviceInfo) -> Result<()> {
        match &info.address {
            None | Some(Address::Unassigned) => {}
            Some(Address::Pci(pci)) => self.place_on_pci(props, pci)?,
            Some(Address::Usb(usb)) => {
                let bus = self.controller_id(ControllerType::Usb, usb.bus);
                props.set("bus", format!("{bus}.0"));
                props.set_some("port", usb.port.as_deref());
            }
            Some(Address::VirtioSerial(serial)) => {
                let bus = self.controller_id(ControllerType::VirtioSerial, serial.controller);
                props.set("bus", format!("{bus}.{}", serial.bus));
                props.set("nr", serial.port);
            }
            Some(Address::Ccid(ccid)) => {
                let bus = self.controller_id(ControllerType::Ccid, ccid.controller);
                props.set("bus", format!("{bus}.0"));
            }
            Some(Address::Isa(isa)) => {
                props.set_some("iobase", isa.iobase.map(|base| base.0));
                props.set_some("irq", isa.irq.map(|irq| irq.0));
            }
            Some(other) => {
                let kind = other.kind();
                return Err(Unsupported::new(format!(
                    "an address of type '{kind}' is not supported for this device"
                )));
            }
        }
        self.place_rom(props, info);
        Ok(())
    }

    fn place_rom(&mut self, props: &mut Props, info: &DeviceInfo) {
        if let Some(rom) = &info.rom {
            if rom.enabled.is_some_and(|enabled| !enabled.is_yes()) {
                props.set("romfile", "");
            }
            props.set_some("rombar", rom.bar.map(|bar| u8::from(bar.is_on())));
            if let Some(file) = &rom.file {
                props.set("romfile", file.as_str());
                self.file(file, FileMode::Read, FileRole::Firmware);
            }
        }
        props.set_some("acpi-index", info.acpi.as_ref().map(|acpi| acpi.index));
    }

    fn place_on_pci(&self, props: &mut Props, pci: &PciAddress) -> Result<()> {
        let (_, bus, slot, function) = pci.place();
        props.set("bus", self.pci_bus(bus)?);
        if let Some(multifunction) = pci.multifunction {
            props.set("multifunction", multifunction.is_on());
        }
        let address = match function {
            0 => format!("0x{slot:x}"),
            _ => format!("0x{slot:x}.0x{function:x}"),
        };
        props.set("addr", address);
        Ok(())
    }

    /// QEMU's name of a PCI bus.
    pub(super) fn pci_bus(&self, number: u64) -> Result<String> {
        let mut controllers = self.domain.devices.controllers.iter();
        let found = controllers
            .find(|c| c.kind == ControllerType::Pci && u64::from(c.index()) == number)
            .ok_or_else(|| {
                Unsupported::new(format!(
                    "a device sits on PCI bus {number}, and there is no such bus"
                ))
            })?;
        Ok(match found.model {
            Some(ControllerModel::PciRoot) => format!("pci.{number}"),
            Some(ControllerModel::PcieRoot) => format!("pcie.{number}"),
            _ => found
                .info
                .alias
                .clone()
                .unwrap_or_else(|| format!("pci.{number}")),
        })
    }
}

/// Sets the options every virtio device has.
pub(super) fn virtio(props: &mut Props, options: &VirtioOptions) {
    let on = |switch: Option<OnOff>| switch.map(OnOff::is_on);
    props.set_some("iommu_platform", on(options.iommu));
    props.set_some("ats", on(options.ats));
    props.set_some("packed", on(options.packed));
    props.set_some("page-per-vq", on(options.page_per_vq));
}

/// The name of a virtio device on PCI, in the variant the definition asks for.
pub(super) fn virtio_driver(base: &str, model: Option<VirtioModel>) -> String {
    match model.unwrap_or_default() {
        VirtioModel::Virtio => format!("{base}-pci"),
        VirtioModel::Transitional => format!("{base}-pci-transitional"),
        VirtioModel::NonTransitional => format!("{base}-pci-non-transitional"),
    }
}
