//! Reading a descriptor.

use super::units;
use super::{
    OvfBus, OvfCard, OvfCardModel, OvfDisk, OvfError, OvfFile, OvfMachine, System, is_file_name,
};
use crate::limits::{
    CAPACITY_MAX_BYTES, OVF_CARDS_MAX, OVF_DISKS_MAX, OVF_MEMORY_MAX_BYTES, OVF_TEXT_MAX_BYTES,
    OVF_VCPUS_MAX,
};
use model::xml::{Node, XmlErrorKind, parse_document, root};
use std::collections::{BTreeMap, BTreeSet};

/// CIM's numbers of what can be in a machine.
mod resource {
    pub(super) const PROCESSOR: u32 = 3;
    pub(super) const MEMORY: u32 = 4;
    pub(super) const IDE: u32 = 5;
    pub(super) const SCSI: u32 = 6;
    pub(super) const ETHERNET: u32 = 10;
    pub(super) const CD: u32 = 15;
    pub(super) const DVD: u32 = 16;
    pub(super) const DISK: u32 = 17;
    pub(super) const OTHER_STORAGE: u32 = 20;
    /// What has a counterpart in every machine, or needs none: other devices
    /// (VMCI), floppy drives, USB, graphics.
    pub(super) const QUIET: [u32; 4] = [1, 14, 23, 24];
}

/// An error placed at a node.
fn error<T>(node: Node<'_, '_>, what: impl Into<String>) -> Result<T, OvfError> {
    let at = node.error(XmlErrorKind::Invalid, "");
    Err(OvfError::Content {
        line: at.line,
        what: what.into(),
    })
}

/// An attribute by its local name: writers differ in what they prefix.
fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let found = node.raw().attributes().find(|a| a.name() == name)?;
    Some(found.value())
}

/// The text of a child, if there is any.
fn child_text(node: Node<'_, '_>, name: &str) -> Option<String> {
    let text = node.child(name)?.text();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.name() == name)
}

/// Reads the one machine that a descriptor describes.
///
/// # Errors
/// If it is no descriptor, describes several machines, or asks for something that cannot be.
pub fn read(text: &str) -> Result<OvfMachine, OvfError> {
    // Some writers begin with a byte order mark.
    let document = parse_document(text.trim_start_matches('\u{feff}'))?;
    let envelope = root(&document);
    if envelope.name() != "Envelope" {
        return error(
            envelope,
            format!("<{}> is no OVF envelope", envelope.name()),
        );
    }
    let Some(system) = envelope.child("VirtualSystem") else {
        return match envelope.child("VirtualSystemCollection") {
            Some(several) => error(
                several,
                "a collection of machines: only a package of one machine is imported",
            ),
            None => error(envelope, "there is no machine in it (VirtualSystem)"),
        };
    };
    let package = Package::of(envelope)?;
    package.machine(system)
}

/// What the descriptor says beside its machine.
struct Package<'a, 'i> {
    files: BTreeMap<String, OvfFile>,
    disks: BTreeMap<String, Node<'a, 'i>>,
    /// The configuration that is the default one.
    configuration: Option<String>,
}

impl<'a, 'i> Package<'a, 'i> {
    fn of(envelope: Node<'a, 'i>) -> Result<Self, OvfError> {
        let mut package = Package {
            files: BTreeMap::new(),
            disks: BTreeMap::new(),
            configuration: None,
        };
        let references = children(envelope, "References");
        for file in references.flat_map(|node| children(node, "File")) {
            let id = attribute(file, "id").unwrap_or_default().to_owned();
            package.files.insert(id, file_of(file)?);
        }
        let sections = children(envelope, "DiskSection").chain(children(envelope, "Section"));
        for disk in sections.flat_map(|node| children(node, "Disk")) {
            let id = attribute(disk, "diskId").unwrap_or_default().to_owned();
            package.disks.insert(id, disk);
        }
        let options = children(envelope, "DeploymentOptionSection");
        let mut options = options.flat_map(|node| children(node, "Configuration"));
        let first = options.next();
        let chosen = options.find(|one| attribute(*one, "default") == Some("true"));
        let is_default = |one: &Node<'_, '_>| attribute(*one, "default") == Some("true");
        let chosen = first.filter(is_default).or(chosen).or(first);
        package.configuration = chosen
            .and_then(|one| attribute(one, "id"))
            .map(str::to_owned);
        Ok(package)
    }

    fn machine(&self, system: Node<'_, '_>) -> Result<OvfMachine, OvfError> {
        let mut machine = OvfMachine {
            name: child_text(system, "Name")
                .or_else(|| attribute(system, "id").map(str::to_owned))
                .unwrap_or_default(),
            vcpus: 1,
            system: system_of(system),
            ..OvfMachine::default()
        };
        let note = system.child("AnnotationSection");
        machine.annotation = note.and_then(|section| child_text(section, "Annotation"));
        if [Some(&machine.name), machine.annotation.as_ref()]
            .into_iter()
            .flatten()
            .any(|text| text.len() > OVF_TEXT_MAX_BYTES)
        {
            return error(
                system,
                format!("a text longer than {OVF_TEXT_MAX_BYTES} bytes"),
            );
        }
        let Some(hardware) = system.child("VirtualHardwareSection") else {
            return error(
                system,
                "it does not say what its machine is made of (VirtualHardwareSection)",
            );
        };
        machine.uefi = is_uefi(system, hardware);
        let items: Vec<Item<'_, '_>> = hardware
            .children()
            .filter(|node| ["Item", "StorageItem", "EthernetPortItem"].contains(&node.name()))
            .filter(|node| self.applies(*node))
            .map(Item::of)
            .collect::<Result<_, _>>()?;
        self.add(&mut machine, &items)?;
        hints(&mut machine, hardware);
        if machine.memory_bytes == 0 {
            return error(hardware, "it does not say how much memory its machine has");
        }
        Ok(machine)
    }

    /// Whether an item belongs to the configuration that is imported.
    fn applies(&self, item: Node<'_, '_>) -> bool {
        let is_bound = attribute(item, "bound").is_some_and(|bound| bound != "normal");
        let fits = match attribute(item, "configuration") {
            None => true,
            Some(names) => names
                .split_whitespace()
                .any(|name| Some(name) == self.configuration.as_deref()),
        };
        fits && !is_bound
    }

    fn add(&self, machine: &mut OvfMachine, items: &[Item<'_, '_>]) -> Result<(), OvfError> {
        let mut disks: Vec<&Item<'_, '_>> = Vec::new();
        let mut left_out = BTreeSet::new();
        for item in items {
            match item.kind {
                resource::PROCESSOR => machine.vcpus = item.vcpus()?,
                resource::MEMORY => machine.memory_bytes = item.memory_bytes()?,
                resource::ETHERNET => machine.cards.push(item.card()),
                resource::CD | resource::DVD => machine.cd_drives += 1,
                resource::DISK => disks.push(item),
                resource::IDE | resource::SCSI | resource::OTHER_STORAGE => {}
                quiet if resource::QUIET.contains(&quiet) => {}
                _ => drop(left_out.insert(item.title())),
            }
        }
        if machine.cards.len() > OVF_CARDS_MAX || disks.len() > OVF_DISKS_MAX {
            return error(
                items[0].node,
                format!("more than {OVF_DISKS_MAX} disks or {OVF_CARDS_MAX} network cards"),
            );
        }
        for item in disks {
            let disk = self.disk(item, items)?;
            machine.disks.push(disk);
        }
        let left_out = left_out.into_iter().map(|what| format!("left out: {what}"));
        machine.notes.extend(left_out);
        Ok(())
    }

    fn disk(&self, item: &Item<'_, '_>, items: &[Item<'_, '_>]) -> Result<OvfDisk, OvfError> {
        let bus = item.text("Parent").map_or(OvfBus::default(), |parent| {
            let carrier = items
                .iter()
                .find(|one| one.text("InstanceID").as_deref() == Some(&parent));
            carrier.map_or(OvfBus::default(), Item::bus)
        });
        let resource = item.text("HostResource").unwrap_or_default();
        let resource = resource.strip_prefix("ovf:").unwrap_or(&resource);
        match resource.trim_start_matches('/').split_once('/') {
            Some(("disk", id)) => match self.disks.get(id) {
                Some(node) => self.described(*node, bus),
                None => error(item.node, format!("there is no disk '{id}'")),
            },
            Some(("file", id)) => match self.files.get(id) {
                Some(file) => Ok(OvfDisk {
                    file: Some(file.clone()),
                    capacity: 0,
                    bus,
                }),
                None => error(item.node, format!("there is no file '{id}'")),
            },
            _ => error(item.node, format!("'{resource}' is no disk of a package")),
        }
    }

    fn described(&self, node: Node<'_, '_>, bus: OvfBus) -> Result<OvfDisk, OvfError> {
        if attribute(node, "parentRef").is_some() {
            return error(
                node,
                "a disk that builds upon another of the package: export it whole",
            );
        }
        let capacity = attribute(node, "capacity").unwrap_or_default();
        let unit = attribute(node, "capacityAllocationUnits").unwrap_or_default();
        let bytes = capacity
            .trim()
            .parse::<u64>()
            .ok()
            .zip(units::bytes(unit))
            .and_then(|(count, unit)| count.checked_mul(unit))
            .filter(|bytes| *bytes <= CAPACITY_MAX_BYTES);
        let Some(capacity) = bytes else {
            return error(node, format!("a capacity of '{capacity} {unit}' is none"));
        };
        let file = match attribute(node, "fileRef") {
            None => None,
            Some(id) => match self.files.get(id) {
                Some(file) => Some(file.clone()),
                None => return error(node, format!("there is no file '{id}'")),
            },
        };
        Ok(OvfDisk {
            file,
            capacity,
            bus,
        })
    }
}

fn file_of(node: Node<'_, '_>) -> Result<OvfFile, OvfError> {
    let name = attribute(node, "href").unwrap_or_default();
    if !is_file_name(name) {
        return error(
            node,
            format!(
                "'{name}' is no name of a file in the package: paths and addresses are not followed"
            ),
        );
    }
    if attribute(node, "chunkSize").is_some() {
        return error(
            node,
            format!("the file '{name}' is cut into pieces (chunkSize), which is not supported"),
        );
    }
    let gzip = match attribute(node, "compression") {
        None | Some("" | "identity") => false,
        Some("gzip") => true,
        Some(other) => {
            return error(
                node,
                format!("the file '{name}' is compressed by '{other}': only gzip is supported"),
            );
        }
    };
    Ok(OvfFile {
        name: name.to_owned(),
        size: attribute(node, "size").and_then(|size| size.parse().ok()),
        gzip,
    })
}

/// VMware says it in a setting, VirtualBox in its own description of the machine.
fn is_uefi(system: Node<'_, '_>, hardware: Node<'_, '_>) -> bool {
    let configured = children(hardware, "Config").any(|config| {
        attribute(config, "key") == Some("firmware")
            && attribute(config, "value").is_some_and(|value| value.eq_ignore_ascii_case("efi"))
    });
    let mut nodes = system.raw().descendants();
    configured
        || nodes.any(|node| {
            let is_firmware = node.tag_name().name() == "Firmware";
            is_firmware
                && node
                    .attribute("type")
                    .is_some_and(|kind| kind.starts_with("EFI"))
        })
}

/// The system, by VMware's word for it, CIM's number, or what a person reads.
fn system_of(system: Node<'_, '_>) -> System {
    let Some(section) = system.child("OperatingSystemSection") else {
        return System::Other;
    };
    let words = [
        attribute(section, "osType").map(str::to_owned),
        child_text(section, "Description"),
        child_text(section, "OSType"),
    ];
    let words = words
        .into_iter()
        .flatten()
        .collect::<String>()
        .to_lowercase();
    const LINUXES: [&str; 11] = [
        "linux", "ubuntu", "debian", "rhel", "red hat", "centos", "fedora", "suse", "sles",
        "photon", "rocky",
    ];
    // Numbers of CIM_OperatingSystem's OSType.
    let number: u32 = attribute(section, "id")
        .and_then(|id| id.parse().ok())
        .unwrap_or(0);
    if words.contains("windows") || words.starts_with("win") {
        return System::Windows;
    }
    let is_linux = LINUXES.iter().any(|name| words.contains(name));
    match number {
        _ if is_linux => System::Linux,
        36 | 79..=80 | 82..=85 | 93..=101 | 106..=107 | 109 => System::Linux,
        16..=18 | 58 | 63 | 67 | 69..=77 | 103..=105 | 111..=116 => System::Windows,
        _ => System::Other,
    }
}

/// What Stead itself wrote for Stead: which devices were virtio's.
fn hints(machine: &mut OvfMachine, hardware: Node<'_, '_>) {
    let Some(devices) = hardware
        .children()
        .find(|node| node.is_foreign() && node.name() == "SteadDevices")
    else {
        return;
    };
    let words = |name: &str| {
        attribute(devices, name)
            .unwrap_or_default()
            .split(' ')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for (disk, word) in machine.disks.iter_mut().zip(words("disks")) {
        if word == "virtio" {
            disk.bus = OvfBus::Virtio;
        }
    }
    for (card, word) in machine.cards.iter_mut().zip(words("cards")) {
        if word == "virtio" {
            card.model = OvfCardModel::Virtio;
        }
    }
}

/// One thing a machine is made of.
struct Item<'a, 'i> {
    node: Node<'a, 'i>,
    kind: u32,
}

impl<'a, 'i> Item<'a, 'i> {
    fn of(node: Node<'a, 'i>) -> Result<Self, OvfError> {
        let kind = child_text(node, "ResourceType").and_then(|kind| kind.parse().ok());
        match kind {
            Some(kind) => Ok(Item { node, kind }),
            None => error(node, "an item without a ResourceType"),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        // OVF 0.9 called it InstanceId.
        child_text(self.node, name).or_else(|| match name {
            "InstanceID" => child_text(self.node, "InstanceId"),
            _ => None,
        })
    }

    fn title(&self) -> String {
        let title = self.text("ElementName").or_else(|| self.text("Caption"));
        let mut title = title.unwrap_or_else(|| format!("a resource of type {}", self.kind));
        title.retain(|c| !c.is_control());
        title.truncate(title.floor_char_boundary(OVF_TITLE_MAX_BYTES));
        title
    }

    fn quantity(&self) -> Option<u64> {
        self.text("VirtualQuantity")?.parse().ok()
    }

    fn vcpus(&self) -> Result<u32, OvfError> {
        let count = self.quantity().and_then(|count| u32::try_from(count).ok());
        match count.filter(|count| (1..=OVF_VCPUS_MAX).contains(count)) {
            Some(count) => Ok(count),
            None => error(
                self.node,
                format!("the number of processors is between 1 and {OVF_VCPUS_MAX}"),
            ),
        }
    }

    fn memory_bytes(&self) -> Result<u64, OvfError> {
        let unit = self
            .text("AllocationUnits")
            .unwrap_or_else(|| "MegaBytes".to_owned());
        let bytes = self.quantity().zip(units::bytes(&unit));
        let bytes = bytes.and_then(|(count, unit)| count.checked_mul(unit));
        match bytes.filter(|bytes| (1..=OVF_MEMORY_MAX_BYTES).contains(bytes)) {
            Some(bytes) => Ok(bytes),
            None => error(
                self.node,
                format!("memory of this size in '{unit}' cannot be"),
            ),
        }
    }

    fn card(&self) -> OvfCard {
        let model = self
            .text("ResourceSubType")
            .unwrap_or_default()
            .to_lowercase();
        OvfCard {
            model: match model.as_str() {
                "e1000e" => OvfCardModel::E1000e,
                "vmxnet3" => OvfCardModel::Vmxnet3,
                "pcnet32" => OvfCardModel::Pcnet,
                "virtio" => OvfCardModel::Virtio,
                _ => OvfCardModel::E1000,
            },
            network: self.text("Connection").unwrap_or_default(),
        }
    }

    fn bus(&self) -> OvfBus {
        let model = self
            .text("ResourceSubType")
            .unwrap_or_default()
            .to_lowercase();
        match (self.kind, model.as_str()) {
            (resource::SCSI, "virtualscsi" | "pvscsi") => OvfBus::Pvscsi,
            (resource::SCSI, "lsilogicsas") => OvfBus::LsiSas,
            (_, "virtio" | "virtioscsi" | "virtio-scsi") => OvfBus::Virtio,
            _ => OvfBus::Sata,
        }
    }
}

/// The longest name of a device that is told.
const OVF_TITLE_MAX_BYTES: usize = 60;
