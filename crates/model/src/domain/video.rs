//! Graphics cards.

use super::info::{DeviceInfo, VirtioOptions};
use crate::xml::{OnOff, YesNo, element, keyword};

keyword! {
    /// Models of graphics cards; `default` is replaced on completion.
    pub enum VideoType {
        Default = "default",
        Vga = "vga",
        Cirrus = "cirrus",
        Vmvga = "vmvga",
        Xen = "xen",
        Vbox = "vbox",
        Qxl = "qxl",
        Parallels = "parallels",
        Virtio = "virtio",
        Gop = "gop",
        None = "none",
        Bochs = "bochs",
        Ramfb = "ramfb",
    }
}

element! {
    /// Acceleration of a graphics card.
    pub struct Acceleration {
        attr accel2d: Option<YesNo> = "accel2d",
        attr accel3d: Option<YesNo> = "accel3d",
        attr rendernode: Option<String> = "rendernode",
    }
}

element! {
    /// The resolution a card starts with.
    pub struct Resolution {
        req x: u32 = "x",
        req y: u32 = "y",
    }
}

element! {
    /// The model of a graphics card. Memory in KiB.
    pub struct VideoModel {
        req kind: VideoType = "type",
        attr ram: Option<u32> = "ram",
        attr vram: Option<u32> = "vram",
        attr vram64: Option<u32> = "vram64",
        attr vgamem: Option<u32> = "vgamem",
        attr heads: Option<u32> = "heads",
        attr primary: Option<YesNo> = "primary",
        attr blob: Option<OnOff> = "blob",
        attr edid: Option<OnOff> = "edid",
        child acceleration: Option<Acceleration> = "acceleration",
        child resolution: Option<Resolution> = "resolution",
    }
}

keyword! {
    /// Who renders.
    pub enum VideoBackend {
        Qemu = "qemu",
        VhostUser = "vhostuser",
    }
}

keyword! {
    /// Where a VGA BIOS's output goes.
    pub enum VgaConf {
        Io = "io",
        On = "on",
        Off = "off",
    }
}

element! {
    /// How QEMU handles a graphics card.
    pub struct VideoDriver {
        flat virtio: VirtioOptions,
        attr name: Option<VideoBackend> = "name",
        attr vgaconf: Option<VgaConf> = "vgaconf",
    }
}

element! {
    /// A graphics card.
    pub struct Video {
        child driver: Option<VideoDriver> = "driver",
        child model: Option<VideoModel> = "model",
        flat info: DeviceInfo,
    }
}

impl Video {
    /// The model; `default` until completed.
    pub fn kind(&self) -> VideoType {
        self.model.as_ref().map_or(VideoType::Default, |m| m.kind)
    }

    /// Whether this is the primary card.
    pub fn is_primary(&self) -> bool {
        self.model
            .as_ref()
            .and_then(|m| m.primary)
            .is_some_and(YesNo::is_yes)
    }
}
