//! What a machine of one kind can have: [`QemuCaps`] and facts about the host as libvirt's
//! domain capabilities.
//!
//! Only what Stead can start is claimed: clients compose definitions from this.

use model::domain_capabilities::{
    CpuCapabilities, CpuModelCapabilities, DomainCapabilities, HostModelCapabilities,
    OsCapabilities, Support,
};
use thiserror::Error;

use crate::caps::{AccelCaps, Accelerator, CpuModel, CpuVendor, MachineType, QemuCaps};

/// A firmware image of the host, as its descriptor says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostLoader {
    /// The image.
    pub path: String,
    /// The machine types it is for, `*` for any tail.
    pub machines: Vec<String>,
    /// Guests start only what is signed.
    pub secure: bool,
}

/// Facts about the host that decide what machines can have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostSupport {
    /// The UEFI images, best first.
    pub loaders: Vec<HostLoader>,
    /// There is a TPM emulator.
    pub tpm_emulator: bool,
    /// Devices can be handed over with VFIO.
    pub vfio: bool,
    /// The width of physical addresses in bits.
    pub address_bits: Option<u32>,
}

/// Which machine is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'a> {
    /// The QEMU program.
    pub emulator: &'a str,
    /// The machine type; the program's own choice if absent.
    pub machine: Option<&'a str>,
    /// The guest's architecture; the program's own if absent.
    pub arch: Option<&'a str>,
    /// What is to run the guest.
    pub accelerator: Accelerator,
}

/// Why there are no capabilities for a question; the words are libvirt's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoCapabilities {
    /// The program does not emulate the architecture.
    #[error("architecture from emulator '{emulator}' doesn't match given architecture '{arch}'")]
    Architecture {
        /// The program's architecture.
        emulator: String,
        /// The one asked for.
        arch: String,
    },
    /// The program has no such machine type.
    #[error("the machine '{machine}' is not supported by emulator '{emulator}'")]
    Machine {
        /// The machine type.
        machine: String,
        /// The program.
        emulator: String,
    },
    /// KVM cannot be used.
    #[error("KVM is not supported by '{emulator}' on this host")]
    Kvm {
        /// The program.
        emulator: String,
    },
}

/// What a machine can have.
///
/// # Errors
/// If the program cannot run such machines at all.
pub fn domain_capabilities(
    caps: &QemuCaps,
    question: &Question,
    host: &HostSupport,
) -> Result<DomainCapabilities, NoCapabilities> {
    let emulator = || question.emulator.to_owned();
    if let Some(arch) = question
        .arch
        .filter(|arch| *arch != caps.arch && !is_i686(arch, caps))
    {
        let (emulator, arch) = (caps.arch.clone(), arch.to_owned());
        return Err(NoCapabilities::Architecture { emulator, arch });
    }
    let machine = match question.machine {
        Some(name) => caps.machine(name),
        None => caps.default_machine(),
    };
    let machine = machine.ok_or_else(|| NoCapabilities::Machine {
        machine: question.machine.unwrap_or_default().to_owned(),
        emulator: emulator(),
    })?;
    let accelerator =
        caps.accelerator(question.accelerator)
            .ok_or_else(|| NoCapabilities::Kvm {
                emulator: emulator(),
            })?;
    let kvm = question.accelerator == Accelerator::Kvm;
    let view = View {
        caps,
        machine,
        host,
        kvm,
    };
    Ok(DomainCapabilities {
        path: emulator(),
        domain_type: if kvm { "kvm" } else { "qemu" }.to_owned(),
        machine: machine.name.clone(),
        arch: question.arch.unwrap_or(&caps.arch).to_owned(),
        vcpus_max: machine.cpus_max,
        iothreads: caps.has_type("iothread"),
        os: view.os(),
        cpu: view.cpu(accelerator),
        memory_backing: Support::new("memoryBacking", true).with(
            "sourceType",
            [
                Some("file"),
                Some("anonymous"),
                caps.has_type("memory-backend-memfd").then_some("memfd"),
            ]
            .into_iter()
            .flatten(),
        ),
        devices: view.devices(),
        features: view.features(),
    })
}

/// A 64-bit PC runs 32-bit guests too.
fn is_i686(arch: &str, caps: &QemuCaps) -> bool {
    arch == "i686" && caps.arch == "x86_64"
}

struct View<'a> {
    caps: &'a QemuCaps,
    machine: &'a MachineType,
    host: &'a HostSupport,
    kvm: bool,
}

impl View<'_> {
    fn is_q35(&self) -> bool {
        self.machine.name.starts_with("pc-q35-")
    }

    fn os(&self) -> OsCapabilities {
        let fits = |loader: &&HostLoader| {
            loader
                .machines
                .iter()
                .any(|pattern| match pattern.split_once('*') {
                    Some((start, _)) => self.machine.name.starts_with(start),
                    None => *pattern == self.machine.name,
                })
        };
        let loaders: Vec<&HostLoader> = self.host.loaders.iter().filter(fits).collect();
        let secure = loaders.iter().any(|loader| loader.secure);
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        OsCapabilities {
            firmware: if loaders.is_empty() {
                Vec::new()
            } else {
                words(&["efi"])
            },
            loaders: loaders.iter().map(|loader| loader.path.clone()).collect(),
            loader_types: words(&["rom", "pflash"]),
            loader_readonly: words(&["yes", "no"]),
            loader_secure: if secure {
                words(&["yes", "no"])
            } else {
                words(&["no"])
            },
        }
    }

    fn cpu(&self, accelerator: &AccelCaps) -> CpuCapabilities {
        let named = |cpu: &&CpuModel| !matches!(cpu.name.as_str(), "host" | "max" | "base");
        CpuCapabilities {
            host_passthrough: self.kvm,
            maximum: true,
            host_model: accelerator.host_model.as_ref().map(|host| {
                let feature = |policy: &str, name: &String| (policy.to_owned(), name.clone());
                let require = host.require.iter().map(|name| feature("require", name));
                let disable = host.disable.iter().map(|name| feature("disable", name));
                HostModelCapabilities {
                    model: host.model.clone(),
                    vendor: host.vendor.map(|vendor| vendor.name().to_owned()),
                    address_bits_max: self.host.address_bits.filter(|_| self.kvm),
                    features: require.chain(disable).collect(),
                }
            }),
            models: accelerator
                .cpus
                .iter()
                .filter(named)
                .map(cpu_model)
                .collect(),
        }
    }

    /// Those of `list` whose device this QEMU has, by the setting's value.
    fn having<'v>(&self, list: &[(&'v str, &str)]) -> Vec<&'v str> {
        list.iter()
            .filter(|(_, device)| self.caps.has_type(device))
            .map(|(word, _)| *word)
            .collect()
    }

    fn devices(&self) -> Vec<Support> {
        let spice = self.caps.has_option("spice");
        vec![
            self.disk(),
            self.graphics(spice),
            self.video(),
            self.hostdev(),
            Support::new("rng", self.caps.has_type("virtio-rng-pci"))
                .with("model", self.virtio("virtio-rng-pci"))
                .with("backendModel", ["random", "egd", "builtin"]),
            Support::new("filesystem", self.caps.has_type("virtio-9p-pci"))
                .with("driverType", ["path", "handle"]),
            self.tpm(),
            Support::new("redirdev", self.caps.has_type("usb-redir")).with("bus", ["usb"]),
            Support::new("channel", true).with(
                "type",
                ["pty", "unix"]
                    .into_iter()
                    .chain(spice.then_some("spicevmc")),
            ),
            Support::new("crypto", self.caps.has_type("virtio-crypto-pci"))
                .with("model", ["virtio"])
                .with("type", ["qemu"])
                .with("backendModel", ["builtin"]),
            Support::new("interface", true).with("backendType", ["default"]),
            Support::new("panic", true).with("model", self.panic()),
        ]
    }

    fn virtio(&self, device: &str) -> Vec<&'static str> {
        let transitional = format!("{device}-transitional");
        let list = [
            ("virtio", device),
            ("virtio-transitional", &transitional),
            ("virtio-non-transitional", &transitional),
        ];
        self.having(&list)
    }

    fn disk(&self) -> Support {
        let ide = (!self.is_q35()).then_some("ide");
        let buses = [
            ide,
            Some("fdc"),
            Some("scsi"),
            Some("virtio"),
            Some("usb"),
            Some("sata"),
        ];
        Support::new("disk", true)
            .with("diskDevice", ["disk", "cdrom", "floppy", "lun"])
            .with("bus", buses.into_iter().flatten())
            .with("model", self.virtio("virtio-blk-pci"))
    }

    fn graphics(&self, spice: bool) -> Support {
        let opengl = self.caps.has_type("virtio-vga-gl");
        let kinds = [
            self.caps.has_option("vnc").then_some("vnc"),
            spice.then_some("spice"),
            opengl.then_some("egl-headless"),
        ];
        Support::new("graphics", true).with("type", kinds.into_iter().flatten())
    }

    fn video(&self) -> Support {
        let mut models = self.having(&[
            ("vga", "VGA"),
            ("cirrus", "cirrus-vga"),
            ("vmvga", "vmware-svga"),
            ("qxl", "qxl-vga"),
            ("virtio", "virtio-gpu-pci"),
        ]);
        models.push("none");
        models.extend(self.having(&[("bochs", "bochs-display"), ("ramfb", "ramfb")]));
        Support::new("video", true).with("modelType", models)
    }

    fn hostdev(&self) -> Support {
        let vfio = self.host.vfio && self.caps.has_type("vfio-pci");
        Support::new("hostdev", true)
            .with("mode", ["subsystem"])
            .with(
                "startupPolicy",
                ["default", "mandatory", "requisite", "optional"],
            )
            .with(
                "subsysType",
                self.having(&[("usb", "usb-host"), ("pci", "vfio-pci")]),
            )
            .with("capsType", [])
            .with("pciBackend", vfio.then_some("vfio"))
    }

    fn tpm(&self) -> Support {
        let models = self.caps.tpm_models.iter().rev().map(String::as_str);
        let emulator = self.host.tpm_emulator && self.caps.tpm_backends.contains("emulator");
        let passthrough = self.caps.tpm_backends.contains("passthrough");
        let backends = [
            passthrough.then_some("passthrough"),
            emulator.then_some("emulator"),
        ];
        let support = Support::new("tpm", !self.caps.tpm_models.is_empty())
            .with("model", models)
            .with("backendModel", backends.into_iter().flatten());
        if emulator {
            support.with("backendVersion", ["1.2", "2.0"])
        } else {
            support
        }
    }

    fn panic(&self) -> Vec<&'static str> {
        let mut models = self.having(&[("isa", "pvpanic")]);
        models.push("hyperv");
        models.extend(self.having(&[("pvpanic", "pvpanic-pci")]));
        models
    }

    fn features(&self) -> Vec<Support> {
        let options = self.caps.options.get("run-with");
        let teardown = options.is_some_and(|options| options.contains("async-teardown"));
        vec![
            Support::new("gic", false),
            Support::new("vmcoreinfo", self.caps.has_type("vmcoreinfo")),
            Support::new("genid", self.caps.has_type("vmgenid")),
            Support::new("backingStoreInput", true),
            Support::new("backup", false),
            Support::new("async-teardown", teardown),
            Support::new("ps2", true),
            Support::new("sev", false),
            Support::new("sgx", false),
            self.hyperv(),
            Support::new("launchSecurity", false),
        ]
    }

    /// Most enlightenments come from the kernel.
    fn hyperv(&self) -> Support {
        let all: &[&str] = if self.kvm {
            &[
                "relaxed",
                "vapic",
                "spinlocks",
                "vpindex",
                "runtime",
                "synic",
                "stimer",
                "reset",
                "vendor_id",
                "frequencies",
                "reenlightenment",
                "tlbflush",
                "ipi",
                "evmcs",
                "avic",
                "emsr_bitmap",
                "xmm_input",
            ]
        } else {
            &["spinlocks", "vendor_id"]
        };
        Support::new("hyperv", true).with("features", all.iter().copied())
    }
}

fn cpu_model(cpu: &CpuModel) -> CpuModelCapabilities {
    let vendor = CpuVendor::of_model(&cpu.name).map_or("unknown", CpuVendor::name);
    CpuModelCapabilities {
        name: cpu.name.clone(),
        usable: Some(cpu.is_usable()),
        vendor: vendor.to_owned(),
        canonical: cpu.canonical.clone(),
        deprecated: cpu.deprecated,
        blockers: cpu.blockers.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps() -> QemuCaps {
        QemuCaps::from_json(include_str!("../tests/data/caps-10.0.json")).unwrap()
    }

    fn question(machine: Option<&str>) -> Question<'_> {
        let emulator = "/usr/bin/qemu-system-x86_64";
        Question {
            emulator,
            machine,
            arch: Some("x86_64"),
            accelerator: Accelerator::Tcg,
        }
    }

    fn host() -> HostSupport {
        let loader = |path: &str, machine: &str, secure| HostLoader {
            path: path.to_owned(),
            machines: vec![machine.to_owned()],
            secure,
        };
        HostSupport {
            loaders: vec![
                loader("/ovmf/secure.fd", "pc-q35-*", true),
                loader("/ovmf/any.fd", "pc-*", false),
            ],
            ..HostSupport::default()
        }
    }

    #[test]
    fn a_q35_has_no_ide_and_may_be_secure() {
        let found = domain_capabilities(&caps(), &question(Some("q35")), &host()).unwrap();
        assert_eq!(found.machine, "pc-q35-10.0");
        assert_eq!(found.vcpus_max, 4096);
        assert_eq!(found.os.loaders, ["/ovmf/secure.fd", "/ovmf/any.fd"]);
        assert_eq!(found.os.loader_secure, ["yes", "no"]);
        assert!(!found.to_xml().contains("<value>ide</value>"));
        let plain = domain_capabilities(&caps(), &question(None), &host()).unwrap();
        assert_eq!(plain.os.loaders, ["/ovmf/any.fd"]);
        assert!(plain.to_xml().contains("<value>ide</value>"));
    }

    #[test]
    fn models_say_what_the_host_lacks() {
        let found = domain_capabilities(&caps(), &question(None), &host()).unwrap();
        let epyc = found
            .cpu
            .models
            .iter()
            .find(|model| model.name == "EPYC")
            .unwrap();
        assert_eq!((epyc.usable, epyc.vendor.as_str()), (Some(false), "AMD"));
        assert!(epyc.blockers.contains(&"fxsr_opt".to_owned()));
        assert!(!found.cpu.models.iter().any(|model| model.name == "max"));
        assert!(!found.cpu.host_passthrough);
        let host = found.cpu.host_model.unwrap();
        assert_eq!(host.model, "EPYC");
        assert!(
            host.features
                .contains(&("disable".into(), "fxsr_opt".into()))
        );
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let refused = |caps: &QemuCaps, question: &Question| {
            domain_capabilities(caps, question, &host())
                .unwrap_err()
                .to_string()
        };
        let mut caps = caps();
        assert_eq!(
            refused(&caps, &question(Some("pc-0.1"))),
            "the machine 'pc-0.1' is not supported by emulator '/usr/bin/qemu-system-x86_64'"
        );
        let arm = Question {
            arch: Some("aarch64"),
            ..question(None)
        };
        assert!(refused(&caps, &arm).starts_with("architecture from emulator 'x86_64'"));
        caps.accelerators.remove(&Accelerator::Kvm);
        let kvm = Question {
            accelerator: Accelerator::Kvm,
            ..question(None)
        };
        assert!(refused(&caps, &kvm).starts_with("KVM is not supported by"));
    }
}
