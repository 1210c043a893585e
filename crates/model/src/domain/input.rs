//! Keyboards, mice, tablets and event devices of the host.

use super::disk::VirtioModel;
use super::info::{DeviceInfo, VirtioDriver};
use crate::xml::{OnOff, element, keyword};

keyword! {
    /// Kinds of input devices.
    pub enum InputType {
        Mouse = "mouse",
        Tablet = "tablet",
        Keyboard = "keyboard",
        Passthrough = "passthrough",
        Evdev = "evdev",
    }
}

keyword! {
    /// The bus an input device sits on.
    pub enum InputBus {
        Ps2 = "ps2",
        Usb = "usb",
        Xen = "xen",
        Parallels = "parallels",
        Virtio = "virtio",
    }
}

keyword! {
    /// Whether all devices are grabbed together.
    pub enum Grab {
        All = "all",
    }
}

element! {
    /// The host's device.
    pub struct InputSource {
        attr evdev: Option<String> = "evdev",
        attr dev: Option<String> = "dev",
        attr grab: Option<Grab> = "grab",
        attr grab_toggle: Option<String> = "grabToggle",
        attr repeat: Option<OnOff> = "repeat",
    }
}

element! {
    /// An input device.
    pub struct Input {
        req kind: InputType = "type",
        attr bus: Option<InputBus> = "bus",
        attr model: Option<VirtioModel> = "model",
        child driver: Option<VirtioDriver> = "driver",
        child source: Option<InputSource> = "source",
        flat info: DeviceInfo,
    }
}
