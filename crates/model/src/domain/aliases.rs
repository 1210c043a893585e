//! The names devices are known by while a machine runs. They are libvirt's,
//! since clients and users name devices by them (`virtio-disk0`, `net0`).

use super::Domain;
use super::address::Address;
use super::controller::{Controller, ControllerModel, ControllerType};
use super::disk::{Disk, DiskBus};
use super::disk_name::disk_index;
use super::info::DeviceInfo;
use super::memory_device::MemoryModel;
use std::collections::BTreeMap;

impl Domain {
    /// Gives every device its alias. Aliases a user chose (`ua-…`) stay.
    pub fn assign_aliases(&mut self) {
        let is_q35 = self.os.machine().contains("q35");
        for disk in &mut self.devices.disks {
            let alias = disk_alias(disk);
            set(&mut disk.info, alias);
        }
        for controller in &mut self.devices.controllers {
            let alias = controller_alias(controller, is_q35);
            set(&mut controller.info, alias);
        }
        self.number_devices();
        self.alias_consoles();
        self.alias_memories();
    }

    /// Devices that are simply numbered by their kind.
    fn number_devices(&mut self) {
        let devices = &mut self.devices;
        number("fs", devices.filesystems.iter_mut().map(|d| &mut d.info));
        number("net", devices.interfaces.iter_mut().map(|d| &mut d.info));
        number(
            "smartcard",
            devices.smartcards.iter_mut().map(|d| &mut d.info),
        );
        number("serial", devices.serials.iter_mut().map(|d| &mut d.info));
        number(
            "parallel",
            devices.parallels.iter_mut().map(|d| &mut d.info),
        );
        number("channel", devices.channels.iter_mut().map(|d| &mut d.info));
        number("input", devices.inputs.iter_mut().map(|d| &mut d.info));
        number("tpm", devices.tpms.iter_mut().map(|d| &mut d.info));
        number("sound", devices.sounds.iter_mut().map(|d| &mut d.info));
        number("video", devices.videos.iter_mut().map(|d| &mut d.info));
        number("hostdev", devices.hostdevs.iter_mut().map(|d| &mut d.info));
        number("redir", devices.redirdevs.iter_mut().map(|d| &mut d.info));
        number("hub", devices.hubs.iter_mut().map(|d| &mut d.info));
        number(
            "watchdog",
            devices.watchdogs.iter_mut().map(|d| &mut d.info),
        );
        number(
            "balloon",
            devices.memballoon.iter_mut().map(|d| &mut d.info),
        );
        number("rng", devices.rngs.iter_mut().map(|d| &mut d.info));
        number("panic", devices.panics.iter_mut().map(|d| &mut d.info));
        number("shmem", devices.shmems.iter_mut().map(|d| &mut d.info));
        number("crypto", devices.cryptos.iter_mut().map(|d| &mut d.info));
        number("iommu", devices.iommu.iter_mut().map(|d| &mut d.info));
        number("vsock", devices.vsock.iter_mut().map(|d| &mut d.info));
        number("pstore", devices.pstore.iter_mut().map(|d| &mut d.info));
    }

    /// A console that is a serial port is known by the port's name.
    fn alias_consoles(&mut self) {
        use super::serial::ConsoleTargetType::Serial;
        let devices = &mut self.devices;
        for (index, console) in devices.consoles.iter_mut().enumerate() {
            let is_serial = console
                .target
                .as_ref()
                .is_none_or(|t| t.kind.is_none_or(|k| k == Serial));
            let alias = match devices.serials.get(index).filter(|_| is_serial) {
                Some(serial) => serial.info.alias.clone(),
                None => Some(format!("console{index}")),
            };
            if !console.info.has_user_alias() {
                console.info.alias = alias;
            }
        }
    }

    fn alias_memories(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for memory in &mut self.devices.memories {
            let prefix = match memory.model {
                MemoryModel::Dimm => "dimm",
                MemoryModel::Nvdimm => "nvdimm",
                MemoryModel::VirtioPmem => "virtiopmem",
                MemoryModel::VirtioMem => "virtiomem",
                MemoryModel::SgxEpc => "epc",
            };
            // Modules in slots carry the slot's number.
            let slot = match &memory.info.address {
                Some(Address::Dimm(dimm)) => usize::try_from(dimm.slot.0).ok(),
                _ => None,
            };
            let count = counts.entry(prefix).or_default();
            set(
                &mut memory.info,
                format!("{prefix}{}", slot.unwrap_or(*count)),
            );
            *count += 1;
        }
    }
}

fn set(info: &mut DeviceInfo, alias: String) {
    if !info.has_user_alias() {
        info.alias = Some(alias);
    }
}

fn number<'a>(prefix: &str, infos: impl Iterator<Item = &'a mut DeviceInfo>) {
    for (index, info) in infos.enumerate() {
        set(info, format!("{prefix}{index}"));
    }
}

fn disk_alias(disk: &Disk) -> String {
    let bus = disk.bus().unwrap_or(DiskBus::Virtio);
    let index = disk_index(disk.target_dev()).unwrap_or(0);
    let Some(Address::Drive(at)) = &disk.info.address else {
        return match bus {
            DiskBus::Virtio => format!("virtio-disk{index}"),
            DiskBus::Usb => format!("usb-disk{index}"),
            other => format!("{}-disk{index}", other.as_str()),
        };
    };
    match bus {
        DiskBus::Scsi => format!("scsi{}-{}-{}-{}", at.controller, at.bus, at.target, at.unit),
        bus => format!("{}{}-{}-{}", bus.as_str(), at.controller, at.bus, at.unit),
    }
}

fn controller_alias(controller: &Controller, is_q35: bool) -> String {
    let index = controller.index();
    match controller.kind {
        ControllerType::Pci if controller.model == Some(ControllerModel::PcieRoot) => {
            format!("pcie.{index}")
        }
        ControllerType::Pci => format!("pci.{index}"),
        // The controllers that are part of the machine keep QEMU's own names.
        ControllerType::Ide if index == 0 => "ide".to_owned(),
        ControllerType::Sata if index == 0 && is_q35 => "ide".to_owned(),
        ControllerType::Usb if index == 0 => "usb".to_owned(),
        kind => format!("{}{index}", kind.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_libvirt_gives_them() {
        let xml = "<domain type='qemu'><name>a</name><memory>1024</memory>\
            <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os><devices>\
            <disk type='file'><source file='/a'/><target dev='vdb' bus='virtio'/></disk>\
            <disk type='file'><source file='/b'/><target dev='sda' bus='scsi'/>\
              <address type='drive' controller='1' bus='0' target='2' unit='3'/></disk>\
            <disk type='file'><source file='/c'/><target dev='sdb' bus='sata'/>\
              <alias name='ua-mine'/></disk>\
            <controller type='pci' index='0' model='pcie-root'/>\
            <controller type='pci' index='2' model='pcie-root-port'/>\
            <controller type='usb' index='0' model='qemu-xhci'/>\
            <controller type='sata' index='0'/>\
            <controller type='virtio-serial' index='0'/>\
            <serial type='pty'><target port='0'/></serial>\
            <console type='pty'><target type='serial' port='0'/></console>\
            <console type='pty'><target type='virtio' port='1'/></console>\
            <memballoon model='virtio'/></devices></domain>";
        let mut domain = Domain::parse(xml).expect("a domain");
        domain.assign_aliases();
        let devices = &domain.devices;
        let mut infos: Vec<&DeviceInfo> = devices.disks.iter().map(|d| &d.info).collect();
        infos.extend(devices.controllers.iter().map(|d| &d.info));
        infos.extend(devices.serials.iter().map(|d| &d.info));
        infos.extend(devices.consoles.iter().map(|d| &d.info));
        infos.extend(devices.memballoon.iter().map(|d| &d.info));
        let aliases: Vec<&str> = infos
            .iter()
            .filter_map(|info| info.alias.as_deref())
            .collect();
        assert_eq!(
            aliases,
            [
                "virtio-disk1",
                "scsi1-0-2-3",
                "ua-mine",
                "pcie.0",
                "pci.2",
                "usb",
                "ide",
                "virtio-serial0",
                "serial0",
                "serial0",
                "console1",
                "balloon0"
            ]
        );
    }
}
