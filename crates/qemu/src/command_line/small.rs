//! Small devices: input, random numbers, TPM, watchdogs, balloon, panic notifiers, vsock, hubs,
//! shared memory, crypto, IOMMU.

use model::domain::address::Address;
use model::domain::input::{Input, InputBus, InputType};
use model::domain::misc_devices::{
    BalloonModel, CryptoBackendModel, IommuModel, PanicModel, Shmem, ShmemModelType, ShmemRole,
    WatchdogAction, WatchdogModel,
};
use model::domain::rng::{Rng, RngBackend};
use model::domain::tpm::{Tpm, TpmBackendType, TpmModel};
use model::xml::{OnOff, YesNo};

use super::builder::{Builder, Result, alias};
use super::launch::{DescriptorPurpose, FileMode, FileRole, Unsupported};
use super::place::{virtio, virtio_driver};
use super::props::{List, Props};

/// Where the panic notifier sits if nothing else is said.
const PVPANIC_PORT: u64 = 0x505;

/// The size of shared memory where none is given, in MiB.
const SHMEM_MIB: u64 = 4;

impl Builder<'_> {
    /// Hubs come before what is plugged into them.
    pub(super) fn hubs(&mut self) -> Result<()> {
        for hub in &self.domain.devices.hubs {
            let mut props = Props::device("usb-hub").with("id", alias(&hub.info)?);
            self.place(&mut props, &hub.info)?;
            self.device(props)?;
        }
        Ok(())
    }

    /// Keyboards, mice and tablets.
    pub(super) fn inputs(&mut self) -> Result<()> {
        for input in &self.domain.devices.inputs {
            self.input(input)?;
        }
        Ok(())
    }

    fn input(&mut self, input: &Input) -> Result<()> {
        let source = input.source.clone().unwrap_or_default();
        let path = source
            .evdev
            .as_deref()
            .or(source.dev.as_deref())
            .unwrap_or_default();
        if input.kind == InputType::Evdev {
            let mut props = Props::object("input-linux", alias(&input.info)?).with("evdev", path);
            props.set_some("repeat", source.repeat.map(OnOff::is_on));
            if source.grab.is_some() {
                props.set("grab_all", true);
            }
            props.set_some("grab-toggle", source.grab_toggle.as_deref());
            self.file(path, FileMode::ReadWrite, FileRole::Device);
            self.object(&props);
            return Ok(());
        }
        let driver = match (input.bus.unwrap_or_default(), input.kind) {
            // The machine has them.
            (InputBus::Ps2, _) => return Ok(()),
            (InputBus::Usb, InputType::Mouse) => "usb-mouse".to_owned(),
            (InputBus::Usb, InputType::Tablet) => "usb-tablet".to_owned(),
            (InputBus::Usb, InputType::Keyboard) => "usb-kbd".to_owned(),
            (InputBus::Virtio, InputType::Mouse) => virtio_driver("virtio-mouse", input.model),
            (InputBus::Virtio, InputType::Tablet) => virtio_driver("virtio-tablet", input.model),
            (InputBus::Virtio, InputType::Keyboard) => {
                virtio_driver("virtio-keyboard", input.model)
            }
            (InputBus::Virtio, InputType::Passthrough) => {
                virtio_driver("virtio-input-host", input.model)
            }
            (bus, kind) => {
                return Err(Unsupported::new(format!(
                    "input device '{kind}' is not supported on the bus '{bus}'"
                )));
            }
        };
        let mut props = Props::device(&driver);
        if let Some(settings) = &input.driver {
            virtio(&mut props, &settings.virtio);
        }
        props.set("id", alias(&input.info)?);
        if input.kind == InputType::Passthrough {
            props.set("evdev", path);
            self.file(path, FileMode::ReadWrite, FileRole::Device);
        }
        self.place(&mut props, &input.info)?;
        self.device(props)
    }

    /// Sources of random numbers.
    pub(super) fn random_numbers(&mut self) -> Result<()> {
        for rng in &self.domain.devices.rngs {
            self.random_number(rng)?;
        }
        Ok(())
    }

    fn random_number(&mut self, rng: &Rng) -> Result<()> {
        let alias = alias(&rng.info)?;
        let id = format!("obj{alias}");
        let object = match rng.backend.clone().unwrap_or_default() {
            RngBackend::Random(path) => {
                let path = path.unwrap_or_else(|| "/dev/urandom".to_owned());
                self.file(&path, FileMode::Read, FileRole::SharedDevice);
                Props::object("rng-random", &id).with("filename", path)
            }
            RngBackend::Builtin => Props::object("rng-builtin", &id),
            RngBackend::Egd(chardev) => {
                let chardev = self.chardev(&chardev, alias)?;
                Props::object("rng-egd", &id).with("chardev", chardev)
            }
        };
        self.object(&object);
        let mut props = Props::device(&virtio_driver("virtio-rng", Some(rng.model)));
        if let Some(settings) = &rng.driver {
            virtio(&mut props, &settings.virtio);
        }
        props.set("rng", id);
        props.set("id", alias);
        if let Some(rate) = &rng.rate {
            props.set("max-bytes", rate.bytes);
            props.set("period", rate.period.unwrap_or(1000));
        }
        self.place(&mut props, &rng.info)?;
        self.device(props)
    }

    /// TPM devices.
    pub(super) fn tpms(&mut self) -> Result<()> {
        for tpm in &self.domain.devices.tpms {
            self.tpm(tpm)?;
        }
        Ok(())
    }

    fn tpm(&mut self, tpm: &Tpm) -> Result<()> {
        let alias = alias(&tpm.info)?;
        let id = format!("tpm-{alias}");
        let backend = tpm.backend.clone().unwrap_or_default();
        match backend.kind {
            TpmBackendType::Emulator | TpmBackendType::External => {
                let path = match (backend.kind, &self.context.tpm_socket) {
                    (TpmBackendType::Emulator, Some(path)) => path.to_string_lossy().into_owned(),
                    (TpmBackendType::Emulator, None) => {
                        return Err(Unsupported::new("this host has no TPM emulator (swtpm)"));
                    }
                    _ => backend
                        .source
                        .and_then(|source| source.path)
                        .unwrap_or_default(),
                };
                let mut list = List::new("socket");
                self.option(
                    "-chardev",
                    list.set("id", "chrtpm").set("path", &path).finish(),
                );
                self.file(path, FileMode::ReadWrite, FileRole::Socket);
                let mut list = List::new("emulator");
                self.option(
                    "-tpmdev",
                    list.set("id", &id).set("chardev", "chrtpm").finish(),
                );
            }
            TpmBackendType::Passthrough => {
                let device = backend.device.map(|device| device.path);
                let path = device.unwrap_or_else(|| "/dev/tpm0".to_owned());
                let mut list = List::new("passthrough");
                self.option("-tpmdev", list.set("id", &id).set("path", &path).finish());
                self.file(path, FileMode::ReadWrite, FileRole::Device);
            }
        }
        let driver = match tpm.model.unwrap_or_default() {
            TpmModel::Tis => "tpm-tis",
            TpmModel::Crb => "tpm-crb",
            other => {
                return Err(Unsupported::new(format!(
                    "TPM model '{other}' is not supported"
                )));
            }
        };
        self.device(Props::device(driver).with("tpmdev", id).with("id", alias))
    }

    /// Watchdogs, and what happens when one is not fed.
    pub(super) fn watchdogs(&mut self) -> Result<()> {
        let watchdogs = &self.domain.devices.watchdogs;
        for watchdog in watchdogs {
            let driver = match watchdog.model {
                WatchdogModel::I6300esb => "i6300esb",
                WatchdogModel::Ib700 => "ib700",
                WatchdogModel::Itco => {
                    // It is part of the chipset, where it is off.
                    self.option("-global", "ICH9-LPC.noreboot=off");
                    continue;
                }
                WatchdogModel::Diag288 => {
                    return Err(Unsupported::new(
                        "watchdog model 'diag288' is not supported",
                    ));
                }
            };
            let mut props = Props::device(driver).with("id", alias(&watchdog.info)?);
            self.place(&mut props, &watchdog.info)?;
            self.device(props)?;
        }
        if let Some(first) = watchdogs.first() {
            // To dump, QEMU has to stop; the engine writes the dump then.
            let action = match first.action {
                WatchdogAction::Dump => "pause",
                other => other.as_str(),
            };
            self.option("-watchdog-action", action);
        }
        Ok(())
    }

    /// The memory balloon.
    pub(super) fn balloon(&mut self) -> Result<()> {
        let Some(balloon) = &self.domain.devices.memballoon else {
            return Ok(());
        };
        let driver = match balloon.model {
            BalloonModel::None => return Ok(()),
            BalloonModel::Virtio => "virtio-balloon-pci",
            BalloonModel::VirtioTransitional => "virtio-balloon-pci-transitional",
            BalloonModel::VirtioNonTransitional => "virtio-balloon-pci-non-transitional",
            BalloonModel::Xen => {
                return Err(Unsupported::new(
                    "memory balloon device type 'xen' is not supported",
                ));
            }
        };
        let mut props = Props::device(driver);
        if let Some(settings) = &balloon.driver {
            virtio(&mut props, &settings.virtio);
        }
        props.set("id", alias(&balloon.info)?);
        props.set_some("deflate-on-oom", balloon.autodeflate.map(OnOff::is_on));
        props.set_some(
            "free-page-reporting",
            balloon.free_page_reporting.map(OnOff::is_on),
        );
        let period = balloon.stats.as_ref().map(|stats| stats.period);
        props.set_some(
            "guest-stats-polling-interval",
            period.filter(|period| *period > 0),
        );
        self.place(&mut props, &balloon.info)?;
        self.device(props)
    }

    /// Panic notifiers.
    pub(super) fn panics(&mut self) -> Result<()> {
        for panic in &self.domain.devices.panics {
            match panic.model.unwrap_or_default() {
                PanicModel::Isa => {
                    let port = match &panic.info.address {
                        Some(Address::Isa(isa)) => isa.iobase.map(|base| base.0),
                        _ => None,
                    };
                    let props = Props::device("pvpanic");
                    self.device(props.with("ioport", port.unwrap_or(PVPANIC_PORT)))?;
                }
                PanicModel::Pvpanic => {
                    let mut props = Props::device("pvpanic-pci");
                    self.place(&mut props, &panic.info)?;
                    self.device(props)?;
                }
                // A feature of the processor.
                PanicModel::Hyperv => {}
                other => {
                    return Err(Unsupported::new(format!(
                        "the panic model '{other}' is not supported"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The socket between guest and host.
    pub(super) fn vsock(&mut self) -> Result<()> {
        let Some(vsock) = &self.domain.devices.vsock else {
            return Ok(());
        };
        let alias = alias(&vsock.info)?;
        let Some(cid) = vsock.cid.as_ref().and_then(|cid| cid.address) else {
            return Err(Unsupported::new(
                "no context identifier was chosen for vsock",
            ));
        };
        let number = self.descriptor(DescriptorPurpose::VhostVsock {
            alias: alias.to_owned(),
        });
        let mut props = Props::device(&virtio_driver("vhost-vsock", vsock.model));
        if let Some(settings) = &vsock.driver {
            virtio(&mut props, &settings.virtio);
        }
        props.set("id", alias);
        props.set("guest-cid", cid);
        props.set("vhostfd", number.to_string());
        self.place(&mut props, &vsock.info)?;
        self.device(props)
    }

    /// Memory shared between machines.
    pub(super) fn shared_memory(&mut self) -> Result<()> {
        for shmem in &self.domain.devices.shmems {
            let kind = shmem
                .model
                .as_ref()
                .map(|model| model.kind)
                .unwrap_or_default();
            let mut props = match kind {
                ShmemModelType::Plain => self.plain_memory(shmem)?,
                ShmemModelType::Doorbell => self.doorbell_memory(shmem)?,
                ShmemModelType::Ivshmem => {
                    return Err(Unsupported::new(
                        "shmem model 'ivshmem' is not supported by this QEMU",
                    ));
                }
            };
            self.place(&mut props, &shmem.info)?;
            self.device(props)?;
        }
        Ok(())
    }

    fn plain_memory(&mut self, shmem: &Shmem) -> Result<Props> {
        let alias = alias(&shmem.info)?;
        let id = format!("shmmem-{alias}");
        let path = format!("/dev/shm/{}", shmem.name);
        let size = shmem.size.map_or(SHMEM_MIB, |size| size.0);
        let object = Props::object("memory-backend-file", &id)
            .with("mem-path", path.as_str())
            .with("share", true)
            .with("size", size * 1024 * 1024);
        self.file(path, FileMode::Create, FileRole::Memory);
        self.object(&object);
        let role = shmem.role.map(|role| match role {
            ShmemRole::Master => "on",
            ShmemRole::Peer => "off",
        });
        Ok(Props::device("ivshmem-plain")
            .with("id", alias)
            .with("memdev", id)
            .maybe("master", role))
    }

    fn doorbell_memory(&mut self, shmem: &Shmem) -> Result<Props> {
        let alias = alias(&shmem.info)?;
        let id = format!("char{alias}");
        let path = shmem.server.as_ref().and_then(|server| server.path.clone());
        let path = path.unwrap_or_else(|| format!("/var/lib/libvirt/shmem-{}-sock", shmem.name));
        let mut list = List::new("socket");
        self.option("-chardev", list.set("id", &id).set("path", &path).finish());
        self.file(path, FileMode::ReadWrite, FileRole::Socket);
        let mut props = Props::device("ivshmem-doorbell")
            .with("id", alias)
            .with("chardev", id);
        if let Some(msi) = &shmem.msi {
            props.set_some("vectors", msi.vectors.map(|vectors| vectors.0));
            props.set_some("ioeventfd", msi.ioeventfd.map(OnOff::is_on));
        }
        Ok(props)
    }

    /// Crypto devices.
    pub(super) fn cryptos(&mut self) -> Result<()> {
        for crypto in &self.domain.devices.cryptos {
            let alias = alias(&crypto.info)?;
            let backend = crypto.backend.clone().unwrap_or_default();
            let kind = match backend.model {
                CryptoBackendModel::Builtin => "cryptodev-backend-builtin",
                CryptoBackendModel::Lkcf => "cryptodev-backend-lkcf",
            };
            let id = format!("obj{alias}");
            let object = Props::object(kind, &id).maybe("queues", backend.queues);
            self.object(&object);
            let mut props = Props::device("virtio-crypto-pci")
                .with("cryptodev", id)
                .with("id", alias);
            if let Some(settings) = &crypto.driver {
                virtio(&mut props, &settings.virtio);
            }
            self.place(&mut props, &crypto.info)?;
            self.device(props)?;
        }
        Ok(())
    }

    /// The IOMMU, which has to come before the devices it is for.
    pub(super) fn iommu(&mut self) -> Result<()> {
        let Some(iommu) = &self.domain.devices.iommu else {
            return Ok(());
        };
        let settings = iommu.driver.clone().unwrap_or_default();
        let mut props = match iommu.model {
            IommuModel::Intel => Props::device("intel-iommu"),
            IommuModel::Virtio => Props::device("virtio-iommu-pci"),
            IommuModel::Amd => Props::device("amd-iommu"),
            IommuModel::Smmuv3 => {
                return Err(Unsupported::new("IOMMU device: 'smmuv3' is not supported"));
            }
        };
        props.set("id", iommu.info.alias.as_deref().unwrap_or("iommu0"));
        let on = |switch: Option<OnOff>| switch.map(OnOff::is_on);
        props.set_some("intremap", settings.intremap.map(|switch| switch.as_str()));
        props.set_some("caching-mode", on(settings.caching_mode));
        props.set_some("eim", settings.eim.map(|switch| switch.as_str()));
        props.set_some("device-iotlb", on(settings.iotlb));
        props.set_some("aw-bits", settings.aw_bits);
        props.set_some("dma-translation", on(settings.dma_translation));
        props.set_some("pt", on(settings.passthrough));
        props.set_some("xtsup", on(settings.xtsup));
        self.place(&mut props, &iommu.info)?;
        self.device(props)
    }

    /// The place where a guest's kernel describes its memory for dumps, and the identifier that
    /// changes when the machine is cloned.
    pub(super) fn descriptions(&mut self) -> Result<()> {
        let features = self.domain.features.clone().unwrap_or_default();
        if features.vmcoreinfo.is_some_and(|switch| switch.is_on()) {
            self.device(Props::device("vmcoreinfo"))?;
        }
        if let Some(id) = self.domain.gen_id.as_ref().and_then(|id| id.uuid) {
            let props = Props::device("vmgenid").with("guid", id.to_string());
            self.device(props.with("id", "vmgenid0"))?;
        }
        if let Some(teardown) = &features.async_teardown
            && teardown.enabled == Some(YesNo::Yes)
        {
            let known = self.caps.options.get("run-with");
            if !known.is_some_and(|options| options.contains("async-teardown")) {
                return Err(Unsupported::new(
                    "asynchronous teardown is not supported by this QEMU",
                ));
            }
            self.option("-run-with", "async-teardown=on");
        }
        Ok(())
    }
}
