//! Writing a descriptor that VMware's and VirtualBox's programs read: devices
//! that every system knows, and beside them a hint for Stead of what was virtio's.

use super::{OvfBus, OvfCardModel, OvfMachine, System};
use model::xml::{XmlFlags, XmlWriter};
use std::collections::BTreeSet;

const NAMESPACES: [(&str, &str); 6] = [
    ("xmlns", "http://schemas.dmtf.org/ovf/envelope/1"),
    ("xmlns:ovf", "http://schemas.dmtf.org/ovf/envelope/1"),
    (
        "xmlns:rasd",
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData",
    ),
    (
        "xmlns:vssd",
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData",
    ),
    ("xmlns:vmw", "http://www.vmware.com/schema/ovf"),
    ("xmlns:stead", "https://stead.dev/schemas/ovf/1"),
];
const STREAM_OPTIMIZED: &str =
    "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
/// The oldest of VMware's machines that has AHCI.
const SYSTEM_TYPE: &str = "vmx-13";
/// A card without a network is plugged into this one.
const NO_NETWORK: &str = "none";

/// The controllers, in the order in which they are written: how they are told
/// from each other, and what they are.
const CONTROLLERS: [(OvfBus, &str, &str, &str); 3] = [
    (OvfBus::Sata, "20", "AHCI", "SATA controller"),
    (OvfBus::Pvscsi, "6", "VirtualSCSI", "SCSI controller"),
    (OvfBus::LsiSas, "6", "lsilogicsas", "SAS controller"),
];

/// The controller that other programs see a disk at.
fn shown(bus: OvfBus) -> OvfBus {
    match bus {
        OvfBus::Virtio => OvfBus::Sata,
        other => other,
    }
}

/// The descriptor of a machine. Its disks' files are streamOptimized VMDKs.
pub fn write(machine: &OvfMachine) -> String {
    let mut w = XmlWriter::new(XmlFlags::default());
    w.line("<?xml version='1.0' encoding='UTF-8'?>");
    w.begin("Envelope");
    for (name, uri) in NAMESPACES {
        w.attr_str(name, uri);
    }
    references(&mut w, machine);
    disks(&mut w, machine);
    networks(&mut w, machine);
    w.begin("VirtualSystem");
    w.attr_str("ovf:id", &machine.name);
    info(&mut w, "A virtual machine");
    leaf(&mut w, "Name", &machine.name);
    operating_system(&mut w, machine.system);
    if let Some(text) = &machine.annotation {
        w.begin("AnnotationSection");
        info(&mut w, "What is known of it");
        leaf(&mut w, "Annotation", text);
        w.end("AnnotationSection");
    }
    hardware(&mut w, machine);
    w.end("VirtualSystem");
    w.end("Envelope");
    w.finish()
}

fn leaf(w: &mut XmlWriter, name: &str, text: &str) {
    w.leaf(name, &text.to_owned());
}

fn info(w: &mut XmlWriter, text: &str) {
    leaf(w, "Info", text);
}

fn references(w: &mut XmlWriter, machine: &OvfMachine) {
    w.begin("References");
    for (number, disk) in (1..).zip(&machine.disks) {
        let Some(file) = &disk.file else { continue };
        w.begin("File");
        w.attr_str("ovf:href", &file.name);
        w.attr_str("ovf:id", &format!("file{number}"));
        if let Some(size) = file.size {
            w.attr_str("ovf:size", &size.to_string());
        }
        if file.gzip {
            w.attr_str("ovf:compression", "gzip");
        }
        w.end("File");
    }
    w.end("References");
}

fn disks(w: &mut XmlWriter, machine: &OvfMachine) {
    w.begin("DiskSection");
    info(w, "Its disks");
    for (number, disk) in (1..).zip(&machine.disks) {
        w.begin("Disk");
        w.attr_str("ovf:capacity", &disk.capacity.to_string());
        w.attr_str("ovf:capacityAllocationUnits", "byte");
        w.attr_str("ovf:diskId", &format!("vmdisk{number}"));
        if disk.file.is_some() {
            w.attr_str("ovf:fileRef", &format!("file{number}"));
        }
        w.attr_str("ovf:format", STREAM_OPTIMIZED);
        w.end("Disk");
    }
    w.end("DiskSection");
}

fn network_name(name: &str) -> &str {
    if name.is_empty() { NO_NETWORK } else { name }
}

fn networks(w: &mut XmlWriter, machine: &OvfMachine) {
    let names: BTreeSet<&str> = machine
        .cards
        .iter()
        .map(|card| network_name(&card.network))
        .collect();
    w.begin("NetworkSection");
    info(w, "The networks its cards are plugged into");
    for name in names {
        w.begin("Network");
        w.attr_str("ovf:name", name);
        leaf(w, "Description", &format!("The network {name}"));
        w.end("Network");
    }
    w.end("NetworkSection");
}

fn operating_system(w: &mut XmlWriter, system: System) {
    // CIM's number, VMware's word, and a person's.
    let (number, word, text) = match system {
        System::Linux => ("101", "otherLinux64Guest", "Linux, 64 bit"),
        System::Windows => ("1", "windows9_64Guest", "Windows, 64 bit"),
        System::Other => ("1", "otherGuest64", "Other, 64 bit"),
    };
    w.begin("OperatingSystemSection");
    w.attr_str("ovf:id", number);
    w.attr_str("vmw:osType", word);
    info(w, "The system in it");
    leaf(w, "Description", text);
    w.end("OperatingSystemSection");
}

fn hardware(w: &mut XmlWriter, machine: &OvfMachine) {
    w.begin("VirtualHardwareSection");
    info(w, "What it is made of");
    w.begin("System");
    leaf(w, "vssd:ElementName", "Virtual Hardware Family");
    leaf(w, "vssd:InstanceID", "0");
    leaf(w, "vssd:VirtualSystemIdentifier", &machine.name);
    leaf(w, "vssd:VirtualSystemType", SYSTEM_TYPE);
    w.end("System");
    let mut items = Items { w, next: 1 };
    items.processors_and_memory(machine);
    items.storage(machine);
    items.cards(machine);
    w.begin("vmw:Config");
    w.attr_str("ovf:required", "false");
    w.attr_str("vmw:key", "firmware");
    w.attr_str("vmw:value", if machine.uefi { "efi" } else { "bios" });
    w.end("vmw:Config");
    hints(w, machine);
    w.end("VirtualHardwareSection");
}

fn hints(w: &mut XmlWriter, machine: &OvfMachine) {
    let word = |is_virtio: bool| if is_virtio { "virtio" } else { "-" };
    let disks = machine
        .disks
        .iter()
        .map(|disk| word(disk.bus == OvfBus::Virtio));
    let cards = machine
        .cards
        .iter()
        .map(|card| word(card.model == OvfCardModel::Virtio));
    w.begin("stead:SteadDevices");
    w.attr_str("ovf:required", "false");
    w.attr_str("disks", &disks.collect::<Vec<_>>().join(" "));
    w.attr_str("cards", &cards.collect::<Vec<_>>().join(" "));
    w.end("stead:SteadDevices");
}

/// Items are numbered; what is in one comes in the order of the alphabet, as the schema wants it.
struct Items<'w> {
    w: &'w mut XmlWriter,
    next: u32,
}

impl Items<'_> {
    fn item(&mut self, title: &str, kind: &str, others: &[(&str, &str)]) -> u32 {
        let number = self.next;
        self.next += 1;
        let text = number.to_string();
        let mut all = vec![
            ("ElementName", title),
            ("InstanceID", &*text),
            ("ResourceType", kind),
        ];
        all.extend(others);
        all.sort_by_key(|(name, _)| *name);
        self.w.begin("Item");
        for (name, value) in all {
            leaf(self.w, &format!("rasd:{name}"), value);
        }
        self.w.end("Item");
        number
    }

    fn processors_and_memory(&mut self, machine: &OvfMachine) {
        let vcpus = machine.vcpus.to_string();
        let title = format!("{vcpus} virtual CPU(s)");
        self.item(
            &title,
            "3",
            &[
                ("AllocationUnits", "hertz * 10^6"),
                ("VirtualQuantity", &vcpus),
            ],
        );
        const MIB: u64 = 1 << 20;
        // Whole megabytes in the unit that everybody knows.
        let (unit, quantity) = match machine.memory_bytes % MIB {
            0 => ("byte * 2^20", machine.memory_bytes / MIB),
            _ => ("byte", machine.memory_bytes),
        };
        let quantity = quantity.to_string();
        self.item(
            "Memory",
            "4",
            &[("AllocationUnits", unit), ("VirtualQuantity", &quantity)],
        );
    }

    fn storage(&mut self, machine: &OvfMachine) {
        let mut controllers = Vec::new();
        for (bus, kind, model, title) in CONTROLLERS {
            let is_used = machine.disks.iter().any(|disk| shown(disk.bus) == bus);
            let has_cds = bus == OvfBus::Sata && machine.cd_drives > 0;
            if is_used || has_cds {
                let number =
                    self.item(title, kind, &[("Address", "0"), ("ResourceSubType", model)]);
                controllers.push((bus, number.to_string(), 0u32));
            }
        }
        let mut place = |bus: OvfBus| {
            let found = controllers.iter_mut().find(|(of, ..)| *of == bus);
            found.map_or((String::new(), String::new()), |(_, number, next)| {
                *next += 1;
                (number.clone(), (*next - 1).to_string())
            })
        };
        for (number, disk) in (1..).zip(&machine.disks) {
            let (parent, at) = place(shown(disk.bus));
            let resource = format!("ovf:/disk/vmdisk{number}");
            self.item(
                &format!("Hard disk {number}"),
                "17",
                &[
                    ("AddressOnParent", &at),
                    ("HostResource", &resource),
                    ("Parent", &parent),
                ],
            );
        }
        for number in 1..=machine.cd_drives {
            let (parent, at) = place(OvfBus::Sata);
            self.item(
                &format!("CD drive {number}"),
                "15",
                &[
                    ("AddressOnParent", &at),
                    ("AutomaticAllocation", "false"),
                    ("Parent", &parent),
                ],
            );
        }
    }

    fn cards(&mut self, machine: &OvfMachine) {
        for (number, card) in (1..).zip(&machine.cards) {
            let model = match card.model {
                OvfCardModel::E1000 | OvfCardModel::Virtio => "E1000",
                OvfCardModel::E1000e => "E1000e",
                OvfCardModel::Vmxnet3 => "VmxNet3",
                OvfCardModel::Pcnet => "PCNet32",
            };
            self.item(
                &format!("Network adapter {number}"),
                "10",
                &[
                    ("AutomaticAllocation", "true"),
                    ("Connection", network_name(&card.network)),
                    ("ResourceSubType", model),
                ],
            );
        }
    }
}
