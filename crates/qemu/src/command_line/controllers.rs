//! Controllers: PCI bridges and ports, USB, SCSI, SATA, virtio-serial, smartcard readers.

use model::domain::address::Address;
use model::domain::controller::{
    Controller, ControllerModel as Model, ControllerType as Type, PciModelName,
};
use model::xml::OnOff;

use super::builder::{Builder, Result, alias, is_uhci_companion};
use super::launch::Unsupported;
use super::place::virtio;
use super::props::Props;

/// The order in which controllers have to be made: those that others sit on come first.
const ORDER: [Type; 8] = [
    Type::Pci,
    Type::Usb,
    Type::Scsi,
    Type::Sata,
    Type::Ide,
    Type::Fdc,
    Type::VirtioSerial,
    Type::Ccid,
];

impl Builder<'_> {
    /// All controllers that are not part of the machine.
    pub(super) fn controllers(&mut self) -> Result<()> {
        let all = self.domain.devices.controllers.clone();
        if let Some(other) = all.iter().find(|c| !ORDER.contains(&c.kind)) {
            return Err(unsupported(other));
        }
        for kind in ORDER {
            let mut list: Vec<_> = all.iter().filter(|c| c.kind == kind).collect();
            if kind == Type::Pci {
                list = self.pci_order(list);
            } else if kind == Type::Usb {
                // A USB 2 controller comes before its companions.
                list.sort_by_key(|c| (c.index(), is_uhci_companion(c.model)));
            }
            for controller in list {
                if let Some(props) = self.controller(controller)? {
                    self.device(props)?;
                }
            }
        }
        Ok(())
    }

    /// Bridges in an order in which each one's own bus is already there.
    fn pci_order<'c>(&self, mut left: Vec<&'c Controller>) -> Vec<&'c Controller> {
        let mut ordered: Vec<&Controller> = Vec::new();
        while !left.is_empty() {
            let known = |bus: u64| ordered.iter().any(|c| u64::from(c.index()) == bus);
            let next = left.iter().position(|c| match &c.info.address {
                Some(Address::Pci(pci)) => known(pci.bus.0),
                _ => true,
            });
            // A ring cannot be ordered; QEMU names the missing bus.
            ordered.push(left.remove(next.unwrap_or(0)));
        }
        ordered
    }

    fn controller(&mut self, controller: &Controller) -> Result<Option<Props>> {
        match controller.kind {
            Type::Pci => self.pci_controller(controller),
            Type::Usb => self.usb_controller(controller),
            Type::Scsi => self.scsi_controller(controller).map(Some),
            Type::Sata => self.sata_controller(controller),
            Type::Ide if self.is_i440fx() && controller.index() == 0 => Ok(None),
            Type::Ide => Err(Unsupported::new(if self.is_i440fx() {
                "Only a single IDE controller is supported for this machine type"
            } else {
                "IDE controllers are unsupported for this QEMU binary or machine type"
            })),
            Type::Fdc => Ok(self.floppy_controller()),
            Type::VirtioSerial => self.serial_controller(controller).map(Some),
            Type::Ccid => {
                let mut props = Props::device("usb-ccid").with("id", alias(&controller.info)?);
                self.place(&mut props, &controller.info)?;
                Ok(Some(props))
            }
            _ => Err(unsupported(controller)),
        }
    }

    fn pci_controller(&mut self, controller: &Controller) -> Result<Option<Props>> {
        let Some(model) = controller.model else {
            return Err(unsupported(controller));
        };
        let target = controller.target.clone().unwrap_or_default();
        let name = controller.pci_model.as_ref().map(|model| model.name);
        let port = target.port.map(|port| port.0);
        let chassis = target.chassis.map(|chassis| chassis.0);
        let mut props = match model {
            Model::PciRoot | Model::PcieRoot => {
                self.root_hotplug(controller);
                return Ok(None);
            }
            Model::PciBridge => Props::device("pci-bridge").maybe("chassis_nr", target.chassis_nr),
            Model::DmiToPciBridge => Props::device("i82801b11-bridge"),
            Model::PcieToPciBridge => Props::device("pcie-pci-bridge"),
            Model::PcieRootPort => {
                let driver = match name {
                    Some(PciModelName::Ioh3420) => "ioh3420",
                    _ => "pcie-root-port",
                };
                Props::device(driver)
                    .maybe("port", port)
                    .maybe("chassis", chassis)
            }
            Model::PcieSwitchUpstreamPort => Props::device("x3130-upstream"),
            Model::PcieSwitchDownstreamPort => Props::device("xio3130-downstream")
                .maybe("port", port)
                .maybe("chassis", chassis),
            Model::PciExpanderBus => Props::device("pxb").maybe("bus_nr", target.bus_nr),
            Model::PcieExpanderBus => Props::device("pxb-pcie").maybe("bus_nr", target.bus_nr),
            _ => return Err(unsupported(controller)),
        };
        props.set("id", alias(&controller.info)?);
        props.set_some("hotplug", target.hotplug.map(OnOff::is_on));
        props.set_some("numa_node", target.node);
        props.set_some("mem-reserve", target.memory_reserve.map(|kib| kib * 1024));
        self.place(&mut props, &controller.info)?;
        Ok(Some(props))
    }

    /// Whether cards can be plugged into the machine's first bus while it runs.
    fn root_hotplug(&mut self, controller: &Controller) {
        let hotplug = controller.target.as_ref().and_then(|target| target.hotplug);
        if let Some(hotplug) = hotplug.filter(|_| self.is_i440fx()) {
            self.option(
                "-global",
                format!("PIIX4_PM.acpi-root-pci-hotplug={hotplug}"),
            );
        }
    }

    fn usb_controller(&mut self, controller: &Controller) -> Result<Option<Props>> {
        let driver = match controller.model.unwrap_or(Model::Piix3Uhci) {
            Model::None => return Ok(None),
            Model::Piix3Uhci => "piix3-usb-uhci",
            Model::Piix4Uhci => "piix4-usb-uhci",
            Model::Ehci => "usb-ehci",
            Model::Ich9Ehci1 => "ich9-usb-ehci1",
            Model::Ich9Uhci1 => "ich9-usb-uhci1",
            Model::Ich9Uhci2 => "ich9-usb-uhci2",
            Model::Ich9Uhci3 => "ich9-usb-uhci3",
            Model::Vt82c686bUhci => "vt82c686b-usb-uhci",
            Model::PciOhci => "pci-ohci",
            Model::NecXhci => "nec-usb-xhci",
            Model::QemuXhci => "qemu-xhci",
            _ => return Err(unsupported(controller)),
        };
        let mut props = Props::device(driver);
        props.set_some("p2", controller.ports);
        props.set_some("p3", controller.ports);
        if is_uhci_companion(controller.model) {
            let master = self.controller_id(Type::Usb, controller.index());
            props.set("masterbus", format!("{master}.0"));
            props.set(
                "firstport",
                controller.info.master.as_ref().map_or(0, |m| m.start_port),
            );
        } else {
            props.set("id", alias(&controller.info)?);
        }
        self.place(&mut props, &controller.info)?;
        Ok(Some(props))
    }

    fn scsi_controller(&mut self, controller: &Controller) -> Result<Props> {
        let model = controller.model.unwrap_or(Model::Lsilogic);
        let driver = match model {
            Model::Lsilogic | Model::Auto => "lsi",
            Model::Lsisas1068 => "mptsas1068",
            Model::Lsisas1078 => "megasas",
            Model::Vmpvscsi => "pvscsi",
            Model::VirtioScsi | Model::Virtio => "virtio-scsi-pci",
            Model::VirtioTransitional => "virtio-scsi-pci-transitional",
            Model::VirtioNonTransitional => "virtio-scsi-pci-non-transitional",
            Model::Dc390 => "dc390",
            Model::Am53c974 => "am53c974",
            _ => return Err(unsupported(controller)),
        };
        let mut props = Props::device(driver);
        if driver.starts_with("virtio") {
            self.virtio_controller(&mut props, controller);
        }
        props.set("id", alias(&controller.info)?);
        if let Some(settings) = &controller.driver {
            props.set_some("num_queues", settings.queues);
            props.set_some("cmd_per_lun", settings.cmd_per_lun);
            props.set_some("max_sectors", settings.max_sectors);
        }
        self.place(&mut props, &controller.info)?;
        Ok(props)
    }

    fn virtio_controller(&self, props: &mut Props, controller: &Controller) {
        let Some(settings) = &controller.driver else {
            return;
        };
        props.set_some("ioeventfd", settings.ioeventfd.map(OnOff::is_on));
        virtio(props, &settings.virtio);
        props.set_some(
            "iothread",
            settings.iothread.map(|id| format!("iothread{id}")),
        );
    }

    fn sata_controller(&mut self, controller: &Controller) -> Result<Option<Props>> {
        if self.is_q35() && controller.index() == 0 {
            return Ok(None);
        }
        let mut props = Props::device("ahci").with("id", alias(&controller.info)?);
        self.place(&mut props, &controller.info)?;
        Ok(Some(props))
    }

    fn floppy_controller(&self) -> Option<Props> {
        if self.is_i440fx() {
            return None;
        }
        let mut props = Props::device("isa-fdc");
        for (property, index) in self.floppy_boot_indexes() {
            props.set(property, index);
        }
        Some(props)
    }

    fn serial_controller(&mut self, controller: &Controller) -> Result<Props> {
        let driver = match controller.model {
            Some(Model::VirtioTransitional) => "virtio-serial-pci-transitional",
            Some(Model::VirtioNonTransitional) => "virtio-serial-pci-non-transitional",
            _ => "virtio-serial-pci",
        };
        let mut props = Props::device(driver);
        self.virtio_controller(&mut props, controller);
        props.set("id", alias(&controller.info)?);
        props.set_some("max_ports", controller.ports);
        props.set_some("vectors", controller.vectors);
        self.place(&mut props, &controller.info)?;
        Ok(props)
    }
}

fn unsupported(controller: &Controller) -> Unsupported {
    match controller.model {
        Some(model) => Unsupported::new(format!(
            "Unsupported controller model: {model} ({})",
            controller.kind
        )),
        None => Unsupported::new(format!("Unsupported controller type: {}", controller.kind)),
    }
}
