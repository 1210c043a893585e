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

#[derive(Debug, Clone)]
struct DiskChoice {
    path: PathBuf,
    format: &'static str,
}

/// A machine on its way to a definition.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    name: String,
    uuid: Uuid,
    pub(crate) title: Option<String>,
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
    cards: Vec<(NetworkChoice, Mac)>,
}

impl Machine {
    /// A machine with 1 GiB and one processor, and no devices yet.
    pub(crate) fn new(name: &str, uuid: Uuid) -> Self {
        Self {
            name: name.to_owned(),
            uuid,
            title: None,
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
        self.disks.push(DiskChoice {
            path: path.to_owned(),
            format,
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
        self.cards.push((network, mac));
    }

    /// The addresses of its cards.
    pub(crate) fn macs(&self) -> Vec<String> {
        self.cards.iter().map(|(_, mac)| mac.to_string()).collect()
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
        for (network, mac) in &self.cards {
            self.interface(w, network, *mac);
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
        let (bus, prefix) = if self.virtio {
            ("virtio", "vd")
        } else {
            ("sata", "sd")
        };
        for (number, disk) in self.disks.iter().enumerate() {
            let name = format!("{prefix}{}", letter(number));
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
            w.end("disk");
        }
        if let Some(path) = &self.seed {
            w.begin("disk");
            w.attr_str("type", "file");
            w.attr_str("device", "disk");
            empty(w, "driver", &[("name", "qemu"), ("type", "raw")]);
            empty(w, "source", &[("file", &path.to_string_lossy())]);
            let name = format!("vd{}", letter(self.disks.len()));
            empty(w, "target", &[("dev", &name), ("bus", "virtio")]);
            empty(w, "readonly", &[]);
            w.end("disk");
        }
        let taken = if self.virtio { 0 } else { self.disks.len() };
        for (number, cd) in self.cdroms.iter().enumerate() {
            let name = format!("sd{}", letter(taken + number));
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

    fn interface(&self, w: &mut XmlWriter, network: &NetworkChoice, mac: Mac) {
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
        let model = if self.virtio { "virtio" } else { "e1000e" };
        empty(w, "model", &[("type", model)]);
        w.end("interface");
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
    }
}
