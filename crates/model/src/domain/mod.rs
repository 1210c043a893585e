//! A domain: the whole definition of a machine, read from libvirt's XML and
//! written back as libvirt shows it.
//!
//! One module per part. A part is a table of attributes and children in the
//! order of writing (see [`crate::xml`]); rules between parts live in
//! [`complete`](Domain::complete), never in the tables.

pub mod address;
mod address_ranges;
mod aliases;
pub mod change;
pub mod chardev;
pub mod clock;
pub mod complete;
pub mod controller;
pub mod cpu;
pub mod devices;
pub mod disk;
pub mod disk_name;
pub mod features;
pub mod filesystem;
pub mod graphics;
pub mod hostdev;
mod hostdev_source;
pub mod id_set;
pub mod images;
pub mod info;
pub mod input;
pub mod interface;
pub mod memory_device;
pub mod memory_size;
pub mod misc_devices;
pub mod os;
pub mod qemu_namespace;
pub mod resources;
pub mod rng;
pub mod seclabel;
pub mod security;
pub mod serial;
pub mod smartcard;
pub mod sound;
pub mod storage;
pub mod tpm;
pub mod video;
pub mod vlan;

use uuid::Uuid;

use crate::metadata::Metadata;
use crate::xml::{
    Element, QEMU_NAMESPACE, XmlError, XmlFlags, XmlWriter, element, expect_root, keyword,
    parse_document,
};
use clock::{Clock, LifecycleAction, LockFailureAction, PowerManagement};
use cpu::Cpu;
use devices::Devices;
use features::Features;
use memory_size::Kib;
use os::{Os, Sysinfo};
use qemu_namespace::QemuNamespace;
use resources::{
    BlkioTune, CpuTune, DefaultIothread, IdMap, IothreadIds, MaxMemory, MemTune, Memory,
    MemoryBacking, NumaTune, Perf, Resource, ThrottleGroups, Vcpu, Vcpus,
};
use seclabel::SecLabel;
use security::LaunchSecurity;

keyword! {
    /// Who runs the guest's instructions.
    pub enum DomainType {
        Qemu = "qemu",
        Kvm = "kvm",
        Hvf = "hvf",
    }
}

element! {
    /// The identifier that changes when a machine is cloned or reverted.
    pub struct GenId {
        text uuid: Option<Uuid>,
    }
}

element! {
    /// The definition of a machine, with what is only known while it runs.
    pub struct Domain {
        req kind: DomainType = "type",
        live id: Option<i32> = "id",
        must name: String = "name",
        leaf uuid: Option<Uuid> = "uuid",
        child gen_id: Option<GenId> = "genid",
        leaf title: Option<String> = "title",
        leaf description: Option<String> = "description",
        child metadata: Option<Metadata> = "metadata",
        child max_memory: Option<MaxMemory> = "maxMemory",
        part memory: Memory = "memory",
        child current_memory: Option<Kib> = "currentMemory",
        child blkiotune: Option<Box<BlkioTune>> = "blkiotune",
        child memtune: Option<Box<MemTune>> = "memtune",
        child memory_backing: Option<MemoryBacking> = "memoryBacking",
        part vcpu: Vcpu = "vcpu",
        child vcpus: Option<Vcpus> = "vcpus",
        leaf iothreads: Option<u32> = "iothreads",
        child iothread_ids: Option<IothreadIds> = "iothreadids",
        child default_iothread: Option<DefaultIothread> = "defaultiothread",
        child throttle_groups: Option<ThrottleGroups> = "throttlegroups",
        child cputune: Option<Box<CpuTune>> = "cputune",
        child numatune: Option<NumaTune> = "numatune",
        child resource: Option<Resource> = "resource",
        list sysinfos: Vec<Sysinfo> = "sysinfo",
        leaf bootloader: Option<String> = "bootloader",
        leaf bootloader_args: Option<String> = "bootloader_args",
        part os: Os = "os",
        child idmap: Option<IdMap> = "idmap",
        child features: Option<Features> = "features",
        child cpu: Option<Cpu> = "cpu",
        part clock: Clock = "clock",
        leaf on_poweroff: Option<LifecycleAction> = "on_poweroff",
        leaf on_reboot: Option<LifecycleAction> = "on_reboot",
        leaf on_crash: Option<LifecycleAction> = "on_crash",
        leaf on_lockfailure: Option<LockFailureAction> = "on_lockfailure",
        child pm: Option<PowerManagement> = "pm",
        child perf: Option<Perf> = "perf",
        part devices: Devices = "devices",
        list seclabels: Vec<SecLabel> = "seclabel",
        child launch_security: Option<Box<LaunchSecurity>> = "launchSecurity",
        flat qemu: QemuNamespace,
    }
}

impl Domain {
    /// Reads a definition. What is not known is refused by name and place.
    pub fn parse(xml: &str) -> Result<Domain, XmlError> {
        let document = parse_document(xml)?;
        Element::parse(expect_root(&document, "domain")?)
    }

    /// Whether the machine has an I/O thread with this number.
    pub fn has_iothread(&self, id: u32) -> bool {
        match &self.iothread_ids {
            Some(ids) if !ids.iothreads.is_empty() => ids.iothreads.iter().any(|t| t.id == id),
            _ => (1..=self.iothreads.unwrap_or(0)).contains(&id),
        }
    }

    /// Virtual processors that come only once QEMU runs, since they can go again.
    pub fn plugged_vcpus(&self) -> Vec<u32> {
        use crate::xml::YesNo;
        let listed = self.vcpus.iter().flat_map(|list| &list.vcpus);
        let later = listed.filter(|vcpu| {
            vcpu.enabled != Some(YesNo::No) && vcpu.hotpluggable == Some(YesNo::Yes)
        });
        later.map(|vcpu| vcpu.id).collect()
    }

    /// The numbers of its I/O threads: those given, and the lowest free ones for the others.
    pub fn iothread_numbers(&self) -> Vec<u32> {
        let named = self.iothread_ids.as_ref().map(|ids| &ids.iothreads);
        let mut numbers: Vec<u32> = named.into_iter().flatten().map(|t| t.id).collect();
        let count = self.iothreads.unwrap_or(0) as usize;
        let mut next = 1;
        while numbers.len() < count {
            if !numbers.contains(&next) {
                numbers.push(next);
            }
            next += 1;
        }
        numbers
    }

    /// Writes the I/O threads out one by one, so that each can be spoken of.
    pub fn name_iothreads(&mut self) {
        let numbers = self.iothread_numbers();
        let ids = self.iothread_ids.get_or_insert_default();
        for id in numbers {
            if ids.iothreads.iter().all(|thread| thread.id != id) {
                ids.iothreads.push(resources::IothreadId {
                    id,
                    ..resources::IothreadId::default()
                });
            }
        }
    }

    /// The definition as libvirt shows it.
    pub fn to_xml(&self, flags: XmlFlags) -> String {
        if flags.inactive && self.devices.disks.iter().any(|disk| disk.is_volume()) {
            let mut stored = self.clone();
            let disks = stored.devices.disks.iter_mut();
            disks.for_each(disk::Disk::forget_volume_place);
            return stored.written(flags);
        }
        self.written(flags)
    }

    fn written(&self, flags: XmlFlags) -> String {
        let mut w = XmlWriter::new(flags);
        w.begin("domain");
        self.write_attributes(&mut w);
        if !self.qemu.is_empty() {
            w.attr_str("xmlns:qemu", QEMU_NAMESPACE);
        }
        self.write_children(&mut w);
        w.end("domain");
        w.finish()
    }
}
