//! The definition of a new machine: the usual devices, written as the XML that
//! a person could have written; completing it is everybody's.

use model::xml::{Mac, XmlFlags, XmlWriter};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What a network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkChoice {
    /// A network of the host, by name.
    Network(String),
    /// A bridge of the host.
    Bridge(String),
    /// QEMU's own: outwards only.
    User,
}

/// A machine's screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Display {
    /// None: the serial console only.
    #[default]
    None,
    /// A server for viewers.
    Served {
        /// `vnc` or `spice`.
        kind: &'static str,
        /// The address it listens at; the host's own if not given.
        listen: Option<String>,
        /// The port; any free one if not given.
        port: Option<u16>,
        /// The password viewers must know.
        password: Option<String>,
    },
}

/// What a machine starts from, the first first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BootFrom {
    Disk,
    Cdrom,
    Network,
}

impl BootFrom {
    fn word(self) -> &'static str {
        match self {
            BootFrom::Disk => "hd",
            BootFrom::Cdrom => "cdrom",
            BootFrom::Network => "network",
        }
    }
}

/// A kernel started without a boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectKernel {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) arguments: String,
}

/// What a disk is plugged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskBus {
    Virtio,
    Sata,
    /// VMware's own SCSI controller.
    Pvscsi,
    /// LSI's SAS controller.
    LsiSas,
}

impl DiskBus {
    /// libvirt's word for the bus, and the beginning of its disks' names.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            DiskBus::Virtio => ("virtio", "vd"),
            DiskBus::Sata => ("sata", "sd"),
            DiskBus::Pvscsi | DiskBus::LsiSas => ("scsi", "sd"),
        }
    }

    /// The controller that has to be there.
    fn controller(self) -> Option<&'static str> {
        match self {
            DiskBus::Virtio | DiskBus::Sata => None,
            DiskBus::Pvscsi => Some("vmpvscsi"),
            DiskBus::LsiSas => Some("lsisas1068"),
        }
    }
}

/// The model of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CardModel {
    Virtio,
    E1000,
    E1000e,
    Vmxnet3,
    Pcnet,
}

impl CardModel {
    fn word(self) -> &'static str {
        match self {
            CardModel::Virtio => "virtio",
            CardModel::E1000 => "e1000",
            CardModel::E1000e => "e1000e",
            CardModel::Vmxnet3 => "vmxnet3",
            CardModel::Pcnet => "pcnet",
        }
    }
}

#[derive(Debug, Clone)]
struct DiskChoice {
    path: PathBuf,
    format: &'static str,
    bus: DiskBus,
}

/// A machine on its way to a definition.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    name: String,
    uuid: Uuid,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) memory_kib: u64,
    pub(crate) vcpus: u32,
    pub(crate) uefi: bool,
    pub(crate) boot: Vec<BootFrom>,
    pub(crate) kernel: Option<DirectKernel>,
    pub(crate) display: Display,
    /// Whether the guest knows virtio's devices.
    pub(crate) virtio: bool,
    /// Whether the clock is the local time, as Windows has it.
    pub(crate) local_time: bool,
    /// Whether a reboot ends the machine: at the end of an installation.
    pub(crate) ends_at_reboot: bool,
    disks: Vec<DiskChoice>,
    seed: Option<PathBuf>,
    cdroms: Vec<Option<PathBuf>>,
    cards: Vec<(NetworkChoice, Mac, CardModel)>,
}

impl Machine {
    /// A machine with 1 GiB and one processor, and no devices yet.
    pub(crate) fn new(name: &str, uuid: Uuid) -> Self {
        Self {
            name: name.to_owned(),
            uuid,
            title: None,
            description: None,
            memory_kib: 1024 * 1024,
            vcpus: 1,
            uefi: false,
            boot: vec![BootFrom::Disk],
            kernel: None,
            display: Display::None,
            virtio: true,
            local_time: false,
            ends_at_reboot: false,
            disks: Vec::new(),
            seed: None,
            cdroms: Vec::new(),
            cards: Vec::new(),
        }
    }

    /// With a disk.
    pub(crate) fn disk(&mut self, path: &Path, format: &'static str) {
        let bus = if self.virtio {
            DiskBus::Virtio
        } else {
            DiskBus::Sata
        };
        self.disk_on(path, format, bus);
    }

    /// With a disk on this bus. All SCSI disks are on the controller of the first one.
    pub(crate) fn disk_on(&mut self, path: &Path, format: &'static str, bus: DiskBus) {
        self.disks.push(DiskChoice {
            path: path.to_owned(),
            format,
            bus,
        });
    }

    /// With a CD drive, and a CD in it.
    pub(crate) fn cdrom(&mut self, path: Option<&Path>) {
        self.cdroms.push(path.map(Path::to_owned));
    }

    /// With the CD that tells it who it is. The kernels of cloud images know
    /// no CD drives, so it comes as a disk where the guest knows virtio.
    pub(crate) fn seed(&mut self, path: &Path) {
        match self.virtio {
            true => self.seed = Some(path.to_owned()),
            false => self.cdrom(Some(path)),
        }
    }

    /// With this CD in its first drive.
    pub(crate) fn insert(&mut self, path: &Path) {
        match self.cdroms.first_mut() {
            Some(drive) => *drive = Some(path.to_owned()),
            None => self.cdrom(Some(path)),
        }
    }

    /// With a network card.
    pub(crate) fn card(&mut self, network: NetworkChoice, mac: Mac) {
        let model = if self.virtio {
            CardModel::Virtio
        } else {
            CardModel::E1000e
        };
        self.card_of(network, mac, model);
    }

    /// With a network card of this model.
    pub(crate) fn card_of(&mut self, network: NetworkChoice, mac: Mac, model: CardModel) {
        self.cards.push((network, mac, model));
    }

    /// The addresses of its cards.
    pub(crate) fn macs(&self) -> Vec<String> {
        self.cards
            .iter()
            .map(|(_, mac, _)| mac.to_string())
            .collect()
    }

    /// The definition.
    pub(crate) fn xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags {
            inactive: true,
            secure: true,
            migratable: false,
        });
        w.begin("domain");
        w.attr_str("type", "kvm");
        leaf(&mut w, "name", &self.name);
        leaf(&mut w, "uuid", &self.uuid.to_string());
        if let Some(title) = &self.title {
            leaf(&mut w, "title", title);
        }
        if let Some(text) = &self.description {
            leaf(&mut w, "description", text);
        }
        w.begin("memory");
        w.attr_str("unit", "KiB");
        w.text(&self.memory_kib.to_string());
        w.end("memory");
        leaf(&mut w, "vcpu", &self.vcpus.to_string());
        self.os(&mut w);
        w.begin("features");
        empty(&mut w, "acpi", &[]);
        empty(&mut w, "apic", &[]);
        w.end("features");
        // What the host has, also where its processor is emulated.
        empty(&mut w, "cpu", &[("mode", "maximum")]);
        let offset = if self.local_time { "localtime" } else { "utc" };
        empty(&mut w, "clock", &[("offset", offset)]);
        if self.ends_at_reboot {
            leaf(&mut w, "on_reboot", "destroy");
        }
        self.devices(&mut w);
        w.end("domain");
        w.finish()
    }

    fn os(&self, w: &mut XmlWriter) {
        w.begin("os");
        if self.uefi {
            w.attr_str("firmware", "efi");
        }
        w.begin("type");
        w.attr_str("arch", std::env::consts::ARCH);
        if std::env::consts::ARCH == "x86_64" {
            w.attr_str("machine", "q35");
        }
        w.text(&"hvm".to_owned());
        w.end("type");
        if let Some(direct) = &self.kernel {
            leaf(w, "kernel", &direct.kernel.to_string_lossy());
            leaf(w, "initrd", &direct.initrd.to_string_lossy());
            leaf(w, "cmdline", &direct.arguments);
        } else {
            for from in &self.boot {
                empty(w, "boot", &[("dev", from.word())]);
            }
        }
        w.end("os");
    }

    fn devices(&self, w: &mut XmlWriter) {
        w.begin("devices");
        self.write_disks(w);
        let mut controllers = self.disks.iter().filter_map(|disk| disk.bus.controller());
        if let Some(model) = controllers.next() {
            let index = ("index", "0");
            empty(
                w,
                "controller",
                &[("type", "scsi"), index, ("model", model)],
            );
        }
        for (network, mac, model) in &self.cards {
            interface(w, network, *mac, *model);
        }
        for (port, target) in [("serial", "isa-serial"), ("console", "serial")] {
            w.begin(port);
            w.attr_str("type", "pty");
            empty(w, "target", &[("type", target), ("port", "0")]);
            w.end(port);
        }
        w.begin("channel");
        w.attr_str("type", "unix");
        empty(
            w,
            "target",
            &[("type", "virtio"), ("name", "org.qemu.guest_agent.0")],
        );
        w.end("channel");
        self.screen(w);
        w.begin("rng");
        w.attr_str("model", "virtio");
        w.begin("backend");
        w.attr_str("model", "random");
        w.text(&"/dev/urandom".to_owned());
        w.end("backend");
        w.end("rng");
        empty(w, "memballoon", &[("model", "virtio")]);
        w.end("devices");
    }

    fn write_disks(&self, w: &mut XmlWriter) {
        let (mut virtio, mut others, mut scsi) = (0, 0, 0);
        for disk in &self.disks {
            let (bus, prefix) = disk.bus.words();
            let number = match disk.bus {
                DiskBus::Virtio => &mut virtio,
                _ => &mut others,
            };
            let name = format!("{prefix}{}", letter(*number));
            *number += 1;
            w.begin("disk");
            w.attr_str("type", "file");
            w.attr_str("device", "disk");
            empty(
                w,
                "driver",
                &[
                    ("name", "qemu"),
                    ("type", disk.format),
                    ("discard", "unmap"),
                ],
            );
            empty(w, "source", &[("file", &disk.path.to_string_lossy())]);
            empty(w, "target", &[("dev", &name), ("bus", bus)]);
            if bus == "scsi" {
                // These controllers have targets, not units below one.
                let target = scsi.to_string();
                scsi += 1;
                let address = [("type", "drive"), ("controller", "0"), ("target", &*target)];
                empty(w, "address", &address);
            }
            w.end("disk");
        }
        if let Some(path) = &self.seed {
            w.begin("disk");
            w.attr_str("type", "file");
            w.attr_str("device", "disk");
            empty(w, "driver", &[("name", "qemu"), ("type", "raw")]);
            empty(w, "source", &[("file", &path.to_string_lossy())]);
            let name = format!("vd{}", letter(virtio));
            empty(w, "target", &[("dev", &name), ("bus", "virtio")]);
            empty(w, "readonly", &[]);
            w.end("disk");
        }
        for (number, cd) in self.cdroms.iter().enumerate() {
            let name = format!("sd{}", letter(others + number));
            w.begin("disk");
            w.attr_str("type", "file");
            w.attr_str("device", "cdrom");
            empty(w, "driver", &[("name", "qemu"), ("type", "raw")]);
            if let Some(path) = cd {
                empty(w, "source", &[("file", &path.to_string_lossy())]);
            }
            empty(w, "target", &[("dev", &name), ("bus", "sata")]);
            empty(w, "readonly", &[]);
            w.end("disk");
        }
    }

    fn screen(&self, w: &mut XmlWriter) {
        let Display::Served {
            kind,
            listen,
            port,
            password,
        } = &self.display
        else {
            return;
        };
        // Without a tablet the pointers of guest and viewer drift apart.
        empty(w, "input", &[("type", "tablet"), ("bus", "usb")]);
        w.begin("graphics");
        w.attr_str("type", kind);
        match port {
            Some(port) => w.attr_str("port", &port.to_string()),
            None => w.attr_str("autoport", "yes"),
        }
        if let Some(listen) = listen {
            w.attr_str("listen", listen);
        }
        if let Some(password) = password {
            w.attr_str("passwd", password);
        }
        w.end("graphics");
        w.begin("video");
        empty(
            w,
            "model",
            &[("type", if self.virtio { "virtio" } else { "vga" })],
        );
        w.end("video");
    }
}

fn interface(w: &mut XmlWriter, network: &NetworkChoice, mac: Mac, model: CardModel) {
    let (kind, source) = match network {
        NetworkChoice::Network(name) => ("network", Some(("network", name))),
        NetworkChoice::Bridge(name) => ("bridge", Some(("bridge", name))),
        NetworkChoice::User => ("user", None),
    };
    w.begin("interface");
    w.attr_str("type", kind);
    empty(w, "mac", &[("address", &mac.to_string())]);
    if let Some((attribute, name)) = source {
        empty(w, "source", &[(attribute, name)]);
    }
    empty(w, "model", &[("type", model.word())]);
    w.end("interface");
}

fn letter(number: usize) -> char {
    char::from(b'a' + u8::try_from(number).unwrap_or(25).min(25))
}

fn leaf(w: &mut XmlWriter, name: &'static str, text: &str) {
    w.begin(name);
    w.text(&text.to_owned());
    w.end(name);
}

fn empty(w: &mut XmlWriter, name: &'static str, attributes: &[(&'static str, &str)]) {
    w.begin(name);
    for (attribute, value) in attributes {
        w.attr_str(attribute, value);
    }
    w.end(name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::Domain;

    #[test]
    fn the_definition_is_one() {
        let mut machine = Machine::new("we<b1", Uuid::nil());
        machine.disk(Path::new("/p/a&b.qcow2"), "qcow2");
        machine.seed(Path::new("/p/seed.iso"));
        machine.card(NetworkChoice::User, Mac([2, 0, 0, 0, 0, 1]));
        machine.display = Display::Served {
            kind: "vnc",
            listen: None,
            port: None,
            password: Some("s3cret".into()),
        };
        let domain = Domain::parse(&machine.xml()).expect("valid XML");
        assert_eq!(domain.name, "we<b1");
        assert_eq!(domain.devices.disks[0].source_path(), Some("/p/a&b.qcow2"));
        assert_eq!(domain.devices.disks[1].target_dev(), "vdb");
        assert_eq!(machine.macs(), ["02:00:00:00:00:01"]);
        let mut foreign = Machine::new("vmware", Uuid::nil());
        foreign.disk_on(Path::new("/p/a"), "qcow2", DiskBus::Pvscsi);
        foreign.disk_on(Path::new("/p/b"), "qcow2", DiskBus::Sata);
        foreign.cdrom(None);
        let domain = Domain::parse(&foreign.xml()).expect("valid XML");
        let names = domain.devices.disks.iter().map(|disk| disk.target_dev());
        assert_eq!(names.collect::<Vec<_>>(), ["sda", "sdb", "sdc"]);
        assert_eq!(domain.devices.controllers.len(), 1);
    }
}
