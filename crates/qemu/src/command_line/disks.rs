//! Disks as the guest sees them.

use model::domain::address::{Address, DriveAddress};
use model::domain::controller::{ControllerModel, ControllerType};
use model::domain::disk::{
    Disk, DiskBus, DiskCache, DiskDevice, DiskDriver, ErrorPolicy, GeometryTranslation,
};
use model::domain::storage::StorageType;
use model::xml::OnOff;
use serde_json::{Value, json};

use super::block::{disk_cache, has_write_cache};
use super::builder::{Builder, Result, alias};
use super::launch::Unsupported;
use super::place::{virtio, virtio_driver};
use super::props::Props;

impl Builder<'_> {
    /// All disks, with their block nodes.
    pub(super) fn disks(&mut self) -> Result<()> {
        for position in 0..self.domain.devices.disks.len() {
            let disk = self.domain.devices.disks[position].clone();
            let mut node = self.disk_nodes(position)?;
            if let Some(top) = node {
                node = Some(self.throttled(&disk, top));
            }
            let device = self.disk(&disk, position, node)?;
            self.device(device)?;
        }
        Ok(())
    }

    /// The device of a disk on the block node `node`.
    fn disk(&mut self, disk: &Disk, position: usize, node: Option<String>) -> Result<Props> {
        let bus = disk.bus().unwrap_or_default();
        if node.is_none() && disk.device == DiskDevice::Disk {
            return Err(Unsupported::new(format!(
                "disk '{}' has no source",
                disk.target_dev()
            )));
        }
        let mut props = match bus {
            DiskBus::Virtio => self.virtio_disk(disk)?,
            DiskBus::Scsi => self.scsi_disk(disk)?,
            DiskBus::Ide => self.ide_disk(disk)?,
            DiskBus::Sata => self.sata_disk(disk)?,
            DiskBus::Usb => self.usb_disk(disk)?,
            DiskBus::Fdc => floppy(disk)?,
            other => {
                return Err(Unsupported::new(format!("unsupported disk bus '{other}'")));
            }
        };
        if disk.shareable {
            props.set("share-rw", true);
        }
        props.set_some("drive", node);
        props.set("id", alias(&disk.info)?);
        if bus == DiskBus::Fdc {
            self.floppy_boot(position);
        } else {
            props.set_some("bootindex", self.disk_boot_index(position));
        }
        disk_settings(&mut props, disk, bus);
        Ok(props)
    }

    fn virtio_disk(&mut self, disk: &Disk) -> Result<Props> {
        if disk.device != DiskDevice::Disk {
            return Err(Unsupported::new(format!(
                "disk type '{}' of '{}' does not support the bus 'virtio'",
                disk.device,
                disk.target_dev()
            )));
        }
        let mut props = Props::device(&virtio_driver("virtio-blk", disk.model));
        let driver = disk.driver.clone().unwrap_or_default();
        virtio(&mut props, &driver.virtio);
        props.set_some("ioeventfd", driver.ioeventfd.map(OnOff::is_on));
        props.set_some("event_idx", driver.event_idx.map(OnOff::is_on));
        props.set_some("num-queues", driver.queues);
        props.set_some("queue-size", driver.queue_size);
        props.set_some(
            "iothread",
            driver.iothread.map(|id| format!("iothread{id}")),
        );
        self.iothread_mapping(&mut props, &driver)?;
        self.place(&mut props, &disk.info)?;
        Ok(props)
    }

    fn iothread_mapping(&self, props: &mut Props, driver: &DiskDriver) -> Result<()> {
        let Some(mappings) = &driver.iothreads else {
            return Ok(());
        };
        if !self
            .caps
            .has_property("virtio-blk-pci", "iothread-vq-mapping")
        {
            return Err(Unsupported::new(
                "this QEMU cannot spread a disk over I/O threads",
            ));
        }
        let list: Vec<Value> = mappings
            .iothreads
            .iter()
            .map(|mapping| {
                let thread = format!("iothread{}", mapping.id);
                let queues: Vec<u64> = mapping.queues.iter().map(|queue| queue.id.0).collect();
                if queues.is_empty() {
                    json!({"iothread": thread})
                } else {
                    json!({"iothread": thread, "vqs": queues})
                }
            })
            .collect();
        props.set("iothread-vq-mapping", list);
        Ok(())
    }

    fn scsi_disk(&mut self, disk: &Disk) -> Result<Props> {
        let driver = match disk.device {
            DiskDevice::Disk => "scsi-hd",
            DiskDevice::Cdrom => "scsi-cd",
            DiskDevice::Lun => "scsi-block",
            DiskDevice::Floppy => return Err(wrong_bus(disk)),
        };
        if disk.device == DiskDevice::Lun && disk.kind != StorageType::Block {
            return Err(Unsupported::new(format!(
                "disk device='lun' is not supported for type='{}'",
                disk.kind
            )));
        }
        let drive = drive_address(disk)?;
        let bus = self.controller_id(ControllerType::Scsi, drive.controller);
        let mut props = Props::device(driver).with("bus", format!("{bus}.0"));
        let controllers = &self.domain.devices.controllers;
        let model = controllers
            .iter()
            .find(|c| c.kind == ControllerType::Scsi && c.index() == drive.controller)
            .and_then(|controller| controller.model);
        let narrow = matches!(
            model,
            None | Some(
                ControllerModel::Lsilogic
                    | ControllerModel::Auto
                    | ControllerModel::Dc390
                    | ControllerModel::Am53c974
                    | ControllerModel::Buslogic
            )
        );
        if narrow {
            props.set("scsi-id", drive.unit);
        } else {
            props.set("channel", drive.bus);
            props.set("scsi-id", drive.target);
            props.set("lun", drive.unit);
        }
        if disk.device != DiskDevice::Lun {
            let id = match &disk.serial {
                Some(serial) => serial.clone(),
                None => format!("drive-{}", alias(&disk.info)?),
            };
            props.set("device_id", id);
        }
        if disk.device == DiskDevice::Disk {
            let removable = disk.target.as_ref().and_then(|target| target.removable);
            props.set_some("removable", removable.map(OnOff::is_on));
        }
        Ok(props)
    }

    fn ide_disk(&mut self, disk: &Disk) -> Result<Props> {
        let drive = drive_address(disk)?;
        Ok(Props::device(ide_driver(disk)?)
            .with("bus", format!("ide.{}", drive.bus))
            .with("unit", drive.unit))
    }

    fn sata_disk(&mut self, disk: &Disk) -> Result<Props> {
        let drive = drive_address(disk)?;
        // The first controller of a q35 is part of its chipset.
        let bus = match self.is_q35() && drive.controller == 0 {
            true => "ide".to_owned(),
            false => self.controller_id(ControllerType::Sata, drive.controller),
        };
        Ok(Props::device(ide_driver(disk)?).with("bus", format!("{bus}.{}", drive.unit)))
    }

    fn usb_disk(&mut self, disk: &Disk) -> Result<Props> {
        let mut props = Props::device("usb-storage");
        self.place(&mut props, &disk.info)?;
        let removable = disk.target.as_ref().and_then(|target| target.removable);
        props.set_some("removable", removable.map(OnOff::is_on));
        Ok(props)
    }

    /// The places of floppy drives in the boot order, as properties of their controller.
    pub(super) fn floppy_boot_indexes(&self) -> Vec<(&'static str, u32)> {
        let disks = self.domain.devices.disks.iter().enumerate();
        disks
            .filter(|(_, disk)| disk.bus() == Some(DiskBus::Fdc))
            .filter_map(|(position, disk)| {
                let index = self.disk_boot_index(position)?;
                let unit = drive_address(disk).ok()?.unit;
                Some((
                    if unit == 0 {
                        "bootindexA"
                    } else {
                        "bootindexB"
                    },
                    index,
                ))
            })
            .collect()
    }

    fn floppy_boot(&mut self, position: usize) {
        let Some(index) = self.disk_boot_index(position).filter(|_| self.is_i440fx()) else {
            return;
        };
        let unit =
            drive_address(&self.domain.devices.disks[position]).map_or(0, |drive| drive.unit);
        let property = if unit == 0 {
            "bootindexA"
        } else {
            "bootindexB"
        };
        self.option("-global", format!("isa-fdc.{property}={index}"));
    }
}

fn wrong_bus(disk: &Disk) -> Unsupported {
    let bus = disk.bus().unwrap_or_default();
    Unsupported::new(format!(
        "a disk of type '{}' cannot sit on the bus '{bus}'",
        disk.device
    ))
}

fn ide_driver(disk: &Disk) -> Result<&'static str> {
    match disk.device {
        DiskDevice::Disk => Ok("ide-hd"),
        DiskDevice::Cdrom => Ok("ide-cd"),
        _ => Err(wrong_bus(disk)),
    }
}

fn floppy(disk: &Disk) -> Result<Props> {
    Ok(Props::device("floppy").with("unit", drive_address(disk)?.unit))
}

fn drive_address(disk: &Disk) -> Result<DriveAddress> {
    match &disk.info.address {
        Some(Address::Drive(drive)) => Ok(drive.clone()),
        _ => Err(Unsupported::new(format!(
            "disk '{}' has no drive address",
            disk.target_dev()
        ))),
    }
}

fn disk_settings(props: &mut Props, disk: &Disk, bus: DiskBus) {
    let block = disk.blockio.clone().unwrap_or_default();
    props.set_some("logical_block_size", block.logical_block_size);
    props.set_some("physical_block_size", block.physical_block_size);
    props.set_some("discard_granularity", block.discard_granularity);
    if let Some(geometry) = &disk.geometry {
        props.set("cyls", geometry.cylinders);
        props.set("heads", geometry.heads);
        props.set("secs", geometry.sectors);
        let translation = geometry
            .translation
            .filter(|t| *t != GeometryTranslation::Default);
        props.set_some(
            "bios-chs-trans",
            translation.map(GeometryTranslation::as_str),
        );
    }
    props.set_some(
        "wwn",
        disk.wwn
            .as_deref()
            .and_then(|wwn| u64::from_str_radix(wwn, 16).ok()),
    );
    props.set_some("vendor", disk.vendor.as_deref());
    props.set_some("product", disk.product.as_deref());
    props.set_some(
        "rotation_rate",
        disk.target.as_ref().and_then(|target| target.rotation_rate),
    );
    let driver = disk.driver.clone().unwrap_or_default();
    if has_write_cache(bus) && disk.device != DiskDevice::Lun {
        let on = match disk_cache(disk) {
            DiskCache::Default => None,
            DiskCache::Writethrough | DiskCache::Directsync => Some("off"),
            DiskCache::None | DiskCache::Writeback | DiskCache::Unsafe => Some("on"),
        };
        props.set_some("write-cache", on);
    }
    if disk.device != DiskDevice::Lun {
        props.set_some("serial", disk.serial.as_deref());
    }
    let (on_write, on_read) = error_policies(&driver);
    props.set_some("werror", on_write);
    props.set_some("rerror", on_read);
}

/// What happens on an error of writing and of reading.
fn error_policies(driver: &DiskDriver) -> (Option<&'static str>, Option<&'static str>) {
    let word = |policy: ErrorPolicy| match policy {
        ErrorPolicy::Default => None,
        ErrorPolicy::Enospace => Some("enospc"),
        other => Some(other.as_str()),
    };
    let write = driver.error_policy.and_then(word);
    let read = driver.rerror_policy.and_then(word);
    // Reading cannot fail for lack of space.
    let read = read.or(write.filter(|policy| *policy != "enospc"));
    (write, read)
}
