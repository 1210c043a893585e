//! Serial and parallel ports, consoles and channels.

use super::chardev::Chardev;
use super::info::DeviceInfo;
use crate::xml::{element, keyword};

keyword! {
    /// What carries a serial port.
    pub enum SerialTargetType {
        Isa = "isa-serial",
        Usb = "usb-serial",
        Pci = "pci-serial",
        SpaprVio = "spapr-vio-serial",
        System = "system-serial",
        Sclp = "sclp-serial",
        IsaDebug = "isa-debug",
        None = "none",
    }
}

keyword! {
    /// The device behind a serial port.
    pub enum SerialModelName {
        IsaSerial = "isa-serial",
        UsbSerial = "usb-serial",
        PciSerial = "pci-serial",
        SpaprVty = "spapr-vty",
        Pl011 = "pl011",
        SclpConsole = "sclpconsole",
        SclpLmConsole = "sclplmconsole",
        Uart16550a = "16550a",
        IsaDebugcon = "isa-debugcon",
    }
}

element! {
    /// The `<model>` of a serial port.
    pub struct SerialModel {
        req name: SerialModelName = "name",
    }
}

element! {
    /// Where the guest sees a serial port.
    pub struct SerialTarget {
        attr kind: Option<SerialTargetType> = "type",
        attr port: Option<u32> = "port",
        child model: Option<SerialModel> = "model",
    }
}

element! {
    /// A serial port.
    pub struct Serial {
        flat chardev: Chardev,
        child target: Option<SerialTarget> = "target",
        flat info: DeviceInfo,
    }
}

element! {
    /// Where the guest sees a parallel port.
    pub struct ParallelTarget {
        attr kind: Option<String> = "type",
        attr port: Option<u32> = "port",
    }
}

element! {
    /// A parallel port.
    pub struct Parallel {
        flat chardev: Chardev,
        child target: Option<ParallelTarget> = "target",
        flat info: DeviceInfo,
    }
}

keyword! {
    /// What a console is made of.
    pub enum ConsoleTargetType {
        Serial = "serial",
        Virtio = "virtio",
        Xen = "xen",
        Uml = "uml",
        Lxc = "lxc",
        Openvz = "openvz",
        Sclp = "sclp",
        Sclplm = "sclplm",
    }
}

element! {
    /// Where the guest sees a console.
    pub struct ConsoleTarget {
        attr kind: Option<ConsoleTargetType> = "type",
        attr port: Option<u32> = "port",
    }
}

element! {
    /// A console. The first one usually mirrors the first serial port.
    pub struct Console {
        flat chardev: Chardev,
        child target: Option<ConsoleTarget> = "target",
        flat info: DeviceInfo,
    }
}

keyword! {
    /// What a channel is made of.
    pub enum ChannelTargetType {
        Virtio = "virtio",
        Guestfwd = "guestfwd",
        Xen = "xen",
    }
}

keyword! {
    /// Whether a program in the guest has the channel open.
    pub enum ChannelState {
        Connected = "connected",
        Disconnected = "disconnected",
    }
}

element! {
    /// Where the guest sees a channel.
    pub struct ChannelTarget {
        req kind: ChannelTargetType = "type",
        attr address: Option<String> = "address",
        attr port: Option<u32> = "port",
        attr name: Option<String> = "name",
        live state: Option<ChannelState> = "state",
    }
}

element! {
    /// A channel between host and guest.
    pub struct Channel {
        flat chardev: Chardev,
        child target: Option<ChannelTarget> = "target",
        flat info: DeviceInfo,
    }
}
