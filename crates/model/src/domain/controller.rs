//! Controllers: the buses other devices sit on.

use super::disk::QueueMappings;
use super::info::{DeviceInfo, VirtioOptions};
use crate::xml::{Decimal, Hex, OnOff, XmlWriter, element, keyword};

keyword! {
    /// Kinds of controllers.
    pub enum ControllerType {
        Ide = "ide",
        Fdc = "fdc",
        Scsi = "scsi",
        Sata = "sata",
        VirtioSerial = "virtio-serial",
        Ccid = "ccid",
        Usb = "usb",
        Pci = "pci",
        Xenbus = "xenbus",
        Isa = "isa",
        Nvme = "nvme",
    }
}

keyword! {
    /// Models of all kinds of controllers.
    pub enum ControllerModel {
        // PCI
        PciRoot = "pci-root",
        PcieRoot = "pcie-root",
        PciBridge = "pci-bridge",
        DmiToPciBridge = "dmi-to-pci-bridge",
        PcieToPciBridge = "pcie-to-pci-bridge",
        PcieRootPort = "pcie-root-port",
        PcieSwitchUpstreamPort = "pcie-switch-upstream-port",
        PcieSwitchDownstreamPort = "pcie-switch-downstream-port",
        PciExpanderBus = "pci-expander-bus",
        PcieExpanderBus = "pcie-expander-bus",
        // USB
        Piix3Uhci = "piix3-uhci",
        Piix4Uhci = "piix4-uhci",
        Ehci = "ehci",
        Ich9Ehci1 = "ich9-ehci1",
        Ich9Uhci1 = "ich9-uhci1",
        Ich9Uhci2 = "ich9-uhci2",
        Ich9Uhci3 = "ich9-uhci3",
        Vt82c686bUhci = "vt82c686b-uhci",
        PciOhci = "pci-ohci",
        NecXhci = "nec-xhci",
        QusbOne = "qusb1",
        QusbTwo = "qusb2",
        QemuXhci = "qemu-xhci",
        None = "none",
        // SCSI
        Auto = "auto",
        Buslogic = "buslogic",
        Lsilogic = "lsilogic",
        Lsisas1068 = "lsisas1068",
        Vmpvscsi = "vmpvscsi",
        Ibmvscsi = "ibmvscsi",
        VirtioScsi = "virtio-scsi",
        Lsisas1078 = "lsisas1078",
        VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional",
        Ncr53c90 = "ncr53c90",
        Dc390 = "dc390",
        Am53c974 = "am53c974",
        // IDE
        Piix3 = "piix3",
        Piix4 = "piix4",
        Ich6 = "ich6",
        // virtio-serial
        Virtio = "virtio",
    }
}

keyword! {
    /// The device QEMU has for a PCI controller.
    pub enum PciModelName {
        PciBridge = "pci-bridge",
        I82801b11Bridge = "i82801b11-bridge",
        Ioh3420 = "ioh3420",
        X3130Upstream = "x3130-upstream",
        Xio3130Downstream = "xio3130-downstream",
        Pxb = "pxb",
        PxbPcie = "pxb-pcie",
        PcieRootPort = "pcie-root-port",
        SpaprPciHostBridge = "spapr-pci-host-bridge",
        PciePciBridge = "pcie-pci-bridge",
    }
}

element! {
    /// The `<model>` of a PCI controller.
    pub struct PciModel {
        req name: PciModelName = "name",
    }
}

element! {
    /// The `<target>` of a PCI controller.
    pub struct PciTarget {
        attr chassis_nr: Option<u32> = "chassisNr",
        attr chassis: Option<Decimal> = "chassis",
        attr port: Option<Hex<1>> = "port",
        attr bus_nr: Option<u32> = "busNr",
        attr index: Option<u32> = "index",
        attr hotplug: Option<OnOff> = "hotplug",
        attr memory_reserve: Option<u64> = "memReserve",
        leaf node: Option<u32> = "node",
    }
}

element! {
    /// The `<driver>` of a controller.
    pub struct ControllerDriver {
        attr queues: Option<u32> = "queues",
        attr cmd_per_lun: Option<u32> = "cmd_per_lun",
        attr max_sectors: Option<u32> = "max_sectors",
        attr ioeventfd: Option<OnOff> = "ioeventfd",
        attr iothread: Option<u32> = "iothread",
        flat virtio: VirtioOptions,
        child iothreads: Option<QueueMappings> = "iothreads",
    }
}

/// The index of a controller among its kind; none until one is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ControllerIndex(pub Option<u32>);

impl crate::xml::Scalar for ControllerIndex {
    const EXPECTED: &'static str = "Expected non-negative value";

    fn parse(text: &str) -> Option<Self> {
        u32::parse(text)
            .filter(|i| i32::try_from(*i).is_ok())
            .map(|i| ControllerIndex(Some(i)))
    }

    fn put(&self, out: &mut XmlWriter) {
        crate::xml::Scalar::put(&self.0.unwrap_or(0), out);
    }
}

element! {
    /// A controller.
    pub struct Controller {
        req kind: ControllerType = "type",
        always index_or_any: ControllerIndex = "index",
        attr model: Option<ControllerModel> = "model",
        attr ports: Option<u32> = "ports",
        attr vectors: Option<u32> = "vectors",
        attr max_grant_frames: Option<u32> = "maxGrantFrames",
        attr max_event_channels: Option<u32> = "maxEventChannels",
        leaf serial: Option<String> = "serial",
        child pci_model: Option<PciModel> = "model",
        child target: Option<PciTarget> = "target",
        child driver: Option<ControllerDriver> = "driver",
        flat info: DeviceInfo,
        child pci_hole64: Option<super::memory_size::Kib> = "pcihole64",
    }
}

impl Controller {
    /// A controller of `kind` with `index`.
    pub fn new(kind: ControllerType, index: u32, model: Option<ControllerModel>) -> Self {
        Controller {
            kind,
            index_or_any: ControllerIndex(Some(index)),
            model,
            ..Controller::default()
        }
    }

    /// The index; 0 where none is chosen yet.
    pub fn index(&self) -> u32 {
        self.index_or_any.0.unwrap_or(0)
    }

    /// Whether this is one of the parts of an ICH9 USB 2 controller.
    pub fn is_usb2(&self) -> bool {
        use ControllerModel::{Ich9Ehci1, Ich9Uhci1, Ich9Uhci2, Ich9Uhci3};
        self.kind == ControllerType::Usb
            && matches!(
                self.model,
                Some(Ich9Ehci1 | Ich9Uhci1 | Ich9Uhci2 | Ich9Uhci3)
            )
    }

    /// Whether this is a PCI controller of `model`.
    pub fn is_pci(&self, model: ControllerModel) -> bool {
        self.kind == ControllerType::Pci && self.model == Some(model)
    }
}
