//! Devices of the host handed to the guest, and redirected USB devices.

use super::chardev::Chardev;
use super::hostdev_source;
use super::info::DeviceInfo;
use super::interface::Teaming;
use super::storage::{Initiator, StorageAuth, StorageHost};
use crate::xml::{Decimal, Hex, OnOff, UpperHex, YesNo, element, keyword};

keyword! {
    /// Whether a device is handed over or configured for a container.
    pub enum HostdevMode {
        Subsystem = "subsystem",
        Capabilities = "capabilities",
    }
}

keyword! {
    /// Kinds of host devices.
    pub enum HostdevType {
        Usb = "usb",
        Pci = "pci",
        Scsi = "scsi",
        ScsiHost = "scsi_host",
        Mdev = "mdev",
        Storage = "storage",
        Misc = "misc",
        Net = "net",
    }
}

element! {
    /// An identifier of a USB vendor or product.
    pub struct UsbId {
        req id: Hex<4> = "id",
    }
}

element! {
    /// A SCSI adapter of the host.
    pub struct ScsiAdapter {
        attr name: Option<String> = "name",
    }
}

element! {
    /// The host's place of a device. Which attributes are meant depends on the type.
    pub struct HostAddress {
        attr kind: Option<String> = "type",
        attr uuid: Option<uuid::Uuid> = "uuid",
        attr domain: Option<Hex<4>> = "domain",
        attr bus: Option<String> = "bus",
        attr slot: Option<Hex<2>> = "slot",
        attr function: Option<Hex<1>> = "function",
        attr target: Option<Decimal> = "target",
        attr unit: Option<Decimal> = "unit",
        attr device: Option<Decimal> = "device",
        attr port: Option<String> = "port",
    }
}

element! {
    /// The host's side of a device.
    pub struct HostdevSource {
        attr protocol: Option<String> = "protocol",
        attr wwpn: Option<String> = "wwpn",
        attr name: Option<String> = "name",
        attr startup_policy: Option<super::storage::StartupPolicy> = "startupPolicy",
        attr guest_reset: Option<String> = "guestReset",
        attr write_filtering: Option<YesNo> = "writeFiltering",
        child vendor: Option<UsbId> = "vendor",
        child product: Option<UsbId> = "product",
        list hosts: Vec<StorageHost> = "host",
        child auth: Option<StorageAuth> = "auth",
        child initiator: Option<Initiator> = "initiator",
        child adapter: Option<ScsiAdapter> = "adapter",
        child address: Option<HostAddress> = "address",
    }
}

keyword! {
    /// Drivers of the host for devices that are handed over.
    pub enum HostdevDriverName {
        Vfio = "vfio",
        Kvm = "kvm",
        Xen = "xen",
    }
}

element! {
    /// How the host drives a device that is handed over.
    pub struct HostdevDriver {
        attr name: Option<HostdevDriverName> = "name",
        attr model: Option<String> = "model",
    }
}

element! {
    /// A device of the host handed to the guest.
    pub struct Hostdev {
        always mode: HostdevMode = "mode",
        req kind: HostdevType = "type",
        attr managed: Option<YesNo> = "managed",
        attr sgio: Option<super::disk::Sgio> = "sgio",
        attr rawio: Option<YesNo> = "rawio",
        attr model: Option<String> = "model",
        attr display: Option<OnOff> = "display",
        attr ramfb: Option<OnOff> = "ramfb",
        child driver: Option<HostdevDriver> = "driver",
        child source: Option<Box<HostdevSource>> = "source",
        child teaming: Option<Teaming> = "teaming",
        flag readonly: bool = "readonly",
        flag shareable: bool = "shareable",
        flat info: DeviceInfo,
    }
    check hostdev_source::complete
}

keyword! {
    /// The bus redirected devices sit on.
    pub enum RedirBus {
        Usb = "usb",
    }
}

element! {
    /// A port for USB devices redirected over the network.
    pub struct RedirDev {
        always bus: RedirBus = "bus",
        flat chardev: Chardev,
        flat info: DeviceInfo,
    }
}

element! {
    /// Which USB devices may be redirected.
    pub struct RedirRule {
        attr class: Option<UpperHex<2>> = "class",
        attr vendor: Option<UpperHex<4>> = "vendor",
        attr product: Option<UpperHex<4>> = "product",
        attr version: Option<String> = "version",
        req allow: YesNo = "allow",
    }
}

element! {
    /// Rules on redirected USB devices, first match wins.
    pub struct RedirFilter {
        list rules: Vec<RedirRule> = "usbdev",
    }
}
