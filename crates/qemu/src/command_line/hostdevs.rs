//! Devices and directories of the host which the guest gets.

use model::domain::address::Address;
use model::domain::filesystem::{AccessMode, Filesystem, FilesystemDriverType, FilesystemType};
use model::domain::hostdev::{Hostdev, HostdevMode, HostdevType};
use model::xml::OnOff;

use super::builder::{Builder, Result, alias};
use super::launch::{FileMode, FileRole, Unsupported};
use super::place::{virtio, virtio_driver};
use super::props::{List, Props};

impl Builder<'_> {
    /// Devices that are handed over.
    pub(super) fn hostdevs(&mut self) -> Result<()> {
        for hostdev in &self.domain.devices.hostdevs {
            if hostdev.mode != HostdevMode::Subsystem {
                return Err(Unsupported::new(
                    "hostdev mode 'capabilities' is not supported",
                ));
            }
            if hostdev.info.address == Some(Address::Unassigned) {
                continue;
            }
            let mut props = match hostdev.kind {
                HostdevType::Pci => self.pci_hostdev(hostdev)?,
                HostdevType::Usb => self.usb_hostdev(hostdev)?,
                HostdevType::Mdev => self.mediated_hostdev(hostdev)?,
                other => {
                    return Err(Unsupported::new(format!(
                        "hostdev type '{other}' is not supported"
                    )));
                }
            };
            props.set("id", alias(&hostdev.info)?);
            props.set_some("bootindex", hostdev.info.boot_order());
            self.place(&mut props, &hostdev.info)?;
            self.device(props)?;
        }
        Ok(())
    }

    fn pci_hostdev(&mut self, hostdev: &Hostdev) -> Result<Props> {
        let source = hostdev.source.as_deref().cloned().unwrap_or_default();
        let address = source.address.unwrap_or_default();
        let number = |text: Option<String>| {
            let text = text.unwrap_or_default();
            match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            }
        };
        let bus =
            number(address.bus).ok_or_else(|| Unsupported::new("a PCI device needs a bus"))?;
        let host = format!(
            "{:04x}:{bus:02x}:{:02x}.{:x}",
            address.domain.map_or(0, |domain| domain.0),
            address.slot.map_or(0, |slot| slot.0),
            address.function.map_or(0, |function| function.0)
        );
        self.file("/dev/vfio", FileMode::ReadWrite, FileRole::Device);
        let mut props = Props::device("vfio-pci").with("host", host);
        if let Some(teaming) = &hostdev.teaming {
            props.set_some("failover_pair_id", teaming.persistent.as_deref());
        }
        props.set_some("display", hostdev.display.map(OnOff::as_str));
        Ok(props)
    }

    /// A part of a host device that its driver offers.
    fn mediated_hostdev(&mut self, hostdev: &Hostdev) -> Result<Props> {
        let address = hostdev
            .source
            .as_ref()
            .and_then(|source| source.address.as_ref());
        let Some(uuid) = address.and_then(|address| address.uuid) else {
            return Err(Unsupported::new("a mediated device needs a UUID"));
        };
        if hostdev
            .model
            .as_deref()
            .is_some_and(|model| model != "vfio-pci")
        {
            return Err(Unsupported::new(
                "only mediated devices of model 'vfio-pci' are supported",
            ));
        }
        self.file("/dev/vfio", FileMode::ReadWrite, FileRole::Device);
        let ramfb = hostdev.ramfb.filter(|ramfb| ramfb.is_on());
        let driver = if ramfb.is_some() {
            "vfio-pci-nohotplug"
        } else {
            "vfio-pci"
        };
        Ok(Props::device(driver)
            .with("sysfsdev", format!("/sys/bus/mdev/devices/{uuid}"))
            .maybe("display", hostdev.display.map(OnOff::as_str))
            .maybe("ramfb", ramfb.map(OnOff::is_on)))
    }

    fn usb_hostdev(&mut self, hostdev: &Hostdev) -> Result<Props> {
        let source = hostdev.source.as_deref().cloned().unwrap_or_default();
        let mut props = Props::device("usb-host");
        if let Some(address) = &source.address
            && let (Some(bus), Some(device)) = (&address.bus, address.device)
        {
            let bus: u32 = bus.parse().unwrap_or(0);
            let path = format!("/dev/bus/usb/{bus:03}/{:03}", device.0);
            props.set("hostdevice", path.as_str());
            self.file(path, FileMode::ReadWrite, FileRole::Device);
        } else if let (Some(vendor), Some(product)) = (&source.vendor, &source.product) {
            props.set("vendorid", vendor.id.0);
            props.set("productid", product.id.0);
            self.file("/dev/bus/usb", FileMode::ReadWrite, FileRole::Device);
        } else {
            return Err(Unsupported::new(
                "a USB device needs a vendor and product, or a place",
            ));
        }
        props.set_some(
            "guest-resets-all",
            source.guest_reset.as_deref().map(|r| r != "off"),
        );
        Ok(props)
    }

    /// Directories shown to the guest.
    pub(super) fn filesystems(&mut self) -> Result<()> {
        for filesystem in &self.domain.devices.filesystems {
            self.filesystem(filesystem)?;
        }
        Ok(())
    }

    fn filesystem(&mut self, filesystem: &Filesystem) -> Result<()> {
        let alias = alias(&filesystem.info)?;
        let driver = filesystem.driver.clone().unwrap_or_default();
        let source = filesystem.source.clone().unwrap_or_default();
        let tag = filesystem
            .target
            .as_ref()
            .map_or("", |target| target.dir.as_str());
        if driver.kind == Some(FilesystemDriverType::Virtiofs) {
            return self.virtiofs(filesystem, alias, source.socket.as_deref(), tag);
        }
        if driver.kind == Some(FilesystemDriverType::Mtp) {
            let directory = source.dir.unwrap_or_default();
            let mut props = Props::device("usb-mtp")
                .with("id", alias)
                .with("rootdir", directory.as_str())
                .with("desc", tag)
                .with("readonly", filesystem.readonly);
            let mode = if filesystem.readonly {
                FileMode::Read
            } else {
                FileMode::ReadWrite
            };
            self.file(directory, mode, FileRole::Directory);
            self.place(&mut props, &filesystem.info)?;
            return self.device(props);
        }
        if filesystem.kind != FilesystemType::Mount {
            return Err(Unsupported::new("only supports mount filesystem type"));
        }
        let directory = source.dir.unwrap_or_default();
        let mut list = List::new("local");
        let model = match filesystem.access_mode.unwrap_or_default() {
            AccessMode::Passthrough => "passthrough",
            AccessMode::Mapped => "mapped",
            AccessMode::Squash => "none",
        };
        list.set("security_model", model);
        list.set_some(
            "multidevs",
            filesystem.multidevs.filter(|m| m.as_str() != "default"),
        );
        list.set_some("fmode", filesystem.fmode.as_deref());
        list.set_some("dmode", filesystem.dmode.as_deref());
        list.set_some("writeout", driver.write_policy.as_deref());
        list.set("id", format!("fsdev-{alias}"))
            .set("path", &directory);
        if filesystem.readonly {
            list.set("readonly", "on");
        }
        self.option("-fsdev", list.finish());
        let mode = if filesystem.readonly {
            FileMode::Read
        } else {
            FileMode::ReadWrite
        };
        self.file(directory, mode, FileRole::Directory);
        let mut props = Props::device(&virtio_driver("virtio-9p", filesystem.model));
        virtio(&mut props, &driver.virtio);
        props.set("id", alias);
        props.set("fsdev", format!("fsdev-{alias}"));
        props.set("mount_tag", tag);
        self.place(&mut props, &filesystem.info)?;
        self.device(props)
    }

    fn virtiofs(
        &mut self,
        filesystem: &Filesystem,
        alias: &str,
        socket: Option<&str>,
        tag: &str,
    ) -> Result<()> {
        let Some(socket) = socket else {
            return Err(Unsupported::new(
                "virtiofs is only supported with a socket of its server",
            ));
        };
        let id = format!("chr-vu-{alias}");
        let mut list = List::new("socket");
        self.option("-chardev", list.set("id", &id).set("path", socket).finish());
        self.file(socket, FileMode::ReadWrite, FileRole::Socket);
        let queue = filesystem.driver.as_ref().and_then(|driver| driver.queue);
        let mut props = Props::device("vhost-user-fs-pci")
            .with("id", alias)
            .with("chardev", id);
        props.set_some("queue-size", queue);
        props.set("tag", tag);
        props.set_some("bootindex", filesystem.info.boot_order());
        self.place(&mut props, &filesystem.info)?;
        self.device(props)
    }
}
