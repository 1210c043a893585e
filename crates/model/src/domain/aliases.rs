//! The names devices have in a running QEMU, as libvirt gives them.

use std::collections::BTreeMap;

use super::Domain;
use super::address::Address;
use super::complete::MachineFamily;
use super::controller::{Controller, ControllerModel, ControllerType};
use super::devices::Devices;
use super::disk::{Disk, DiskBus};
use super::disk_name::disk_index;
use super::info::DeviceInfo;
use super::interface::InterfaceType;
use super::memory_device::MemoryModel;
use super::misc_devices::BalloonModel;

impl Domain {
    /// Names every device that has no name of the user's. Call when the
    /// machine starts; on a stopped machine names are not shown.
    pub fn assign_aliases(&mut self) {
        let family = self.machine_family();
        let devices = &mut self.devices;
        name_disks(devices);
        for controller in &mut devices.controllers {
            let name = controller_alias(controller, family);
            set(&mut controller.info, name);
        }
        name_interfaces_and_hostdevs(devices);
        name_memories(devices);
        name_numbered(devices);
        self.mirror_consoles();
    }

    /// Shows the consoles that are serial ports with what those ports have.
    /// Call again when a port's terminal or alias changes.
    pub fn mirror_consoles(&mut self) {
        super::complete::mirror_consoles(self);
    }

    /// The device whose alias is `alias`.
    pub fn info_by_alias(&self, alias: &str) -> Option<&DeviceInfo> {
        let mut found = None;
        self.devices.each_info(&mut |info| {
            if info.alias.as_deref() == Some(alias) {
                found = found.or(Some(info));
            }
        });
        found
    }
}

/// Names a device that has no name yet: the devices of a running machine keep
/// theirs, however many come and go around them.
fn set(info: &mut DeviceInfo, alias: String) {
    info.alias.get_or_insert(alias);
}

/// Names devices of one kind `prefix0`, `prefix1` and so on, after the highest
/// number in use.
fn number<'a>(prefix: &str, infos: impl Iterator<Item = &'a mut DeviceInfo>) {
    let infos: Vec<&mut DeviceInfo> = infos.collect();
    let numbers = infos.iter().filter_map(|info| {
        info.alias
            .as_deref()?
            .strip_prefix(prefix)?
            .parse::<usize>()
            .ok()
    });
    let mut next = numbers.max().map_or(0, |highest| highest + 1);
    for (index, info) in infos.into_iter().enumerate() {
        next = next.max(index);
        if info.alias.is_none() {
            info.alias = Some(format!("{prefix}{next}"));
            next += 1;
        }
    }
}

fn name_numbered(devices: &mut Devices) {
    number("fs", devices.filesystems.iter_mut().map(|d| &mut d.info));
    number("sound", devices.sounds.iter_mut().map(|d| &mut d.info));
    number("video", devices.videos.iter_mut().map(|d| &mut d.info));
    number("serial", devices.serials.iter_mut().map(|d| &mut d.info));
    number(
        "parallel",
        devices.parallels.iter_mut().map(|d| &mut d.info),
    );
    number("channel", devices.channels.iter_mut().map(|d| &mut d.info));
    number("console", devices.consoles.iter_mut().map(|d| &mut d.info));
    number("hub", devices.hubs.iter_mut().map(|d| &mut d.info));
    number("input", devices.inputs.iter_mut().map(|d| &mut d.info));
    number(
        "smartcard",
        devices.smartcards.iter_mut().map(|d| &mut d.info),
    );
    number("redir", devices.redirdevs.iter_mut().map(|d| &mut d.info));
    number(
        "watchdog",
        devices.watchdogs.iter_mut().map(|d| &mut d.info),
    );
    number(
        "balloon",
        devices
            .memballoon
            .iter_mut()
            .filter(|balloon| balloon.model != BalloonModel::None)
            .map(|d| &mut d.info),
    );
    number("rng", devices.rngs.iter_mut().map(|d| &mut d.info));
    number("tpm", devices.tpms.iter_mut().map(|d| &mut d.info));
    number("panic", devices.panics.iter_mut().map(|d| &mut d.info));
    number("shmem", devices.shmems.iter_mut().map(|d| &mut d.info));
    number("crypto", devices.cryptos.iter_mut().map(|d| &mut d.info));
    number("iommu", devices.iommu.iter_mut().map(|d| &mut d.info));
    number("vsock", devices.vsock.iter_mut().map(|d| &mut d.info));
    number("pstore", devices.pstore.iter_mut().map(|d| &mut d.info));
    if let Some(nvram) = &mut devices.nvram {
        set(&mut nvram.info, "nvram".to_owned());
    }
}

fn name_disks(devices: &mut Devices) {
    let controllers = &devices.controllers;
    for disk in &mut devices.disks {
        let name = disk_alias(disk, controllers);
        set(&mut disk.info, name);
    }
}

/// A disk on a controller is named by its place there, any other by its number.
fn disk_alias(disk: &Disk, controllers: &[Controller]) -> String {
    let bus = disk.bus().unwrap_or(DiskBus::Virtio);
    let Some(Address::Drive(at)) = &disk.info.address else {
        let index = disk_index(disk.target_dev()).unwrap_or(0);
        return format!("{bus}-disk{index}");
    };
    let on_lsi = controllers
        .iter()
        .find(|c| c.kind == ControllerType::Scsi && c.index() == at.controller)
        .is_some_and(|c| c.model == Some(ControllerModel::Lsilogic));
    if bus == DiskBus::Scsi && !on_lsi {
        format!(
            "{bus}{}-{}-{}-{}",
            at.controller, at.bus, at.target, at.unit
        )
    } else {
        format!("{bus}{}-{}-{}", at.controller, at.bus, at.unit)
    }
}

fn controller_alias(controller: &Controller, family: MachineFamily) -> String {
    let index = controller.index();
    match controller.kind {
        ControllerType::Pci if controller.model == Some(ControllerModel::PcieRoot) => {
            format!("pcie.{index}")
        }
        ControllerType::Pci => format!("pci.{index}"),
        ControllerType::Ide if index == 0 && family == MachineFamily::I440fx => "ide".to_owned(),
        // The built-in SATA controller of Q35 is known by this name.
        ControllerType::Sata if index == 0 && family == MachineFamily::Q35 => "ide".to_owned(),
        ControllerType::Usb if index == 0 => "usb".to_owned(),
        kind => format!("{kind}{index}"),
    }
}

/// A card that is a host device is counted among those.
fn name_interfaces_and_hostdevs(devices: &mut Devices) {
    let (passed, cards): (Vec<_>, Vec<_>) = devices
        .interfaces
        .iter_mut()
        .partition(|i| i.kind == InterfaceType::Hostdev);
    number("net", cards.into_iter().map(|card| &mut card.info));
    let hostdevs = devices.hostdevs.iter_mut().map(|hostdev| &mut hostdev.info);
    number(
        "hostdev",
        passed
            .into_iter()
            .map(|card| &mut card.info)
            .chain(hostdevs),
    );
}

/// Modules in slots are named by slot, the others counted by kind.
fn name_memories(devices: &mut Devices) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for memory in &mut devices.memories {
        let prefix = match memory.model {
            MemoryModel::Dimm => "dimm",
            MemoryModel::Nvdimm => "nvdimm",
            MemoryModel::VirtioPmem => "virtiopmem",
            MemoryModel::VirtioMem => "virtiomem",
            MemoryModel::SgxEpc => "epc",
        };
        let count = counts.entry(prefix).or_default();
        let number = match &memory.info.address {
            Some(Address::Dimm(dimm)) => dimm.slot.0,
            _ => *count,
        };
        *count += 1;
        set(&mut memory.info, format!("{prefix}{number}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::complete::DefineContext;
    use crate::xml::XmlFlags;

    const GUEST: &str = "<domain type='kvm'>
      <name>a</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid><memory>1024</memory>
      <os><type arch='x86_64' machine='q35'>hvm</type></os>
      <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
        <disk type='file'><source file='/a'/><target dev='vda'/></disk>
        <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
        <interface type='user'><mac address='52:54:00:00:00:01'/><alias name='ua-card'/></interface>
        <serial type='pty'/>
      </devices></domain>";

    #[test]
    fn a_running_machine_shows_names_and_a_stopped_one_only_the_users() {
        let mut domain = Domain::parse(GUEST).unwrap();
        domain.complete(&DefineContext::default()).unwrap();
        domain.assign_aliases();
        let live = domain.to_xml(XmlFlags::default());
        for alias in [
            "virtio-disk0",
            "sata0-0-0",
            "ua-card",
            "pcie.0",
            "pci.1",
            "ide",
            "usb",
        ] {
            assert!(
                live.contains(&format!("<alias name='{alias}'/>")),
                "{alias} in {live}"
            );
        }
        // The console is the serial port.
        assert_eq!(live.matches("<alias name='serial0'/>").count(), 2);
        assert!(domain.info_by_alias("ua-card").is_some());
        let stopped = domain.to_xml(XmlFlags {
            inactive: true,
            ..XmlFlags::default()
        });
        assert_eq!(stopped.matches("<alias").count(), 1);
    }

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
