//! All devices of a machine, in the order libvirt shows them.

use super::controller::Controller;
use super::disk::Disk;
use super::filesystem::Filesystem;
use super::graphics::Graphics;
use super::hostdev::{Hostdev, RedirDev, RedirFilter};
use super::info::DeviceInfo;
use super::input::Input;
use super::interface::Interface;
use super::memory_device::MemoryDevice;
use super::misc_devices::{
    Crypto, Hub, Iommu, Lease, MemBalloon, Nvram, Panic, Pstore, Shmem, Vsock, Watchdog,
};
use super::rng::Rng;
use super::serial::{Channel, Console, Parallel, Serial};
use super::smartcard::Smartcard;
use super::sound::{Audio, Sound};
use super::tpm::Tpm;
use super::video::Video;
use crate::xml::element;

element! {
    /// All devices of a machine.
    pub struct Devices {
        leaf emulator: Option<String> = "emulator",
        list disks: Vec<Disk> = "disk",
        list controllers: Vec<Controller> = "controller",
        list leases: Vec<Lease> = "lease",
        list filesystems: Vec<Filesystem> = "filesystem",
        list interfaces: Vec<Interface> = "interface",
        list smartcards: Vec<Smartcard> = "smartcard",
        list serials: Vec<Serial> = "serial",
        list parallels: Vec<Parallel> = "parallel",
        list consoles: Vec<Console> = "console",
        list channels: Vec<Channel> = "channel",
        list inputs: Vec<Input> = "input",
        list tpms: Vec<Tpm> = "tpm",
        list graphics: Vec<Graphics> = "graphics",
        list sounds: Vec<Sound> = "sound",
        list audios: Vec<Audio> = "audio",
        list videos: Vec<Video> = "video",
        list hostdevs: Vec<Hostdev> = "hostdev",
        list redirdevs: Vec<RedirDev> = "redirdev",
        child redirfilter: Option<RedirFilter> = "redirfilter",
        list hubs: Vec<Hub> = "hub",
        list watchdogs: Vec<Watchdog> = "watchdog",
        child memballoon: Option<MemBalloon> = "memballoon",
        list rngs: Vec<Rng> = "rng",
        child nvram: Option<Nvram> = "nvram",
        list panics: Vec<Panic> = "panic",
        list shmems: Vec<Shmem> = "shmem",
        list memories: Vec<MemoryDevice> = "memory",
        list cryptos: Vec<Crypto> = "crypto",
        child iommu: Option<Iommu> = "iommu",
        child vsock: Option<Vsock> = "vsock",
        child pstore: Option<Pstore> = "pstore",
    }
}

impl Devices {
    /// The common parts of every device, in the order of the XML.
    pub fn infos(&self) -> Vec<&DeviceInfo> {
        let mut infos: Vec<&DeviceInfo> = Vec::new();
        infos.extend(self.disks.iter().map(|d| &d.info));
        infos.extend(self.controllers.iter().map(|d| &d.info));
        infos.extend(self.filesystems.iter().map(|d| &d.info));
        infos.extend(self.interfaces.iter().map(|d| &d.info));
        infos.extend(self.smartcards.iter().map(|d| &d.info));
        infos.extend(self.serials.iter().map(|d| &d.info));
        infos.extend(self.parallels.iter().map(|d| &d.info));
        infos.extend(self.consoles.iter().map(|d| &d.info));
        infos.extend(self.channels.iter().map(|d| &d.info));
        infos.extend(self.inputs.iter().map(|d| &d.info));
        infos.extend(self.tpms.iter().map(|d| &d.info));
        infos.extend(self.graphics.iter().map(|d| &d.info));
        infos.extend(self.sounds.iter().map(|d| &d.info));
        infos.extend(self.videos.iter().map(|d| &d.info));
        infos.extend(self.hostdevs.iter().map(|d| &d.info));
        infos.extend(self.redirdevs.iter().map(|d| &d.info));
        infos.extend(self.hubs.iter().map(|d| &d.info));
        infos.extend(self.watchdogs.iter().map(|d| &d.info));
        infos.extend(self.memballoon.iter().map(|d| &d.info));
        infos.extend(self.rngs.iter().map(|d| &d.info));
        infos.extend(self.nvram.iter().map(|d| &d.info));
        infos.extend(self.panics.iter().map(|d| &d.info));
        infos.extend(self.shmems.iter().map(|d| &d.info));
        infos.extend(self.memories.iter().map(|d| &d.info));
        infos.extend(self.cryptos.iter().map(|d| &d.info));
        infos.extend(self.iommu.iter().map(|d| &d.info));
        infos.extend(self.vsock.iter().map(|d| &d.info));
        infos.extend(self.pstore.iter().map(|d| &d.info));
        infos
    }
}
