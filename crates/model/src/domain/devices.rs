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

/// Runs `$do` on every list of devices that have a common part.
macro_rules! for_each_list {
    ($do:ident, $self:ident, $visit:ident) => {
        for_each_list!(@ $do, $self, $visit,
            disks controllers filesystems interfaces smartcards serials parallels consoles
            channels inputs tpms graphics sounds videos hostdevs redirdevs hubs watchdogs
            memballoon rngs nvram panics shmems memories cryptos iommu vsock pstore)
    };
    (@ $do:ident, $self:ident, $visit:ident, $($field:ident)*) => {
        $($do!($self, $visit, $field);)*
    };
}

macro_rules! visit_list {
    ($self:ident, $visit:ident, $field:ident) => {
        for device in $self.$field.iter() {
            $visit(&device.info);
        }
    };
}

macro_rules! visit_list_mut {
    ($self:ident, $visit:ident, $field:ident) => {
        for device in $self.$field.iter_mut() {
            $visit(&mut device.info);
        }
    };
}

impl Devices {
    /// Visits the common part of every device, in the order of the XML.
    pub fn each_info<'a>(&'a self, visit: &mut dyn FnMut(&'a DeviceInfo)) {
        for_each_list!(visit_list, self, visit);
    }

    /// The same, to change it.
    pub fn each_info_mut(&mut self, visit: &mut dyn FnMut(&mut DeviceInfo)) {
        for_each_list!(visit_list_mut, self, visit);
    }
}
