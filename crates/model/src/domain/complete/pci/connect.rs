//! What a device needs of a bus, and what a bus offers.

use crate::domain::controller::{Controller, ControllerModel, ControllerType};
use crate::domain::disk::{Disk, DiskBus, VirtioModel};
use crate::domain::filesystem::{Filesystem, FilesystemDriverType};
use crate::domain::input::{Input, InputBus};
use crate::domain::interface::{Interface, InterfaceType};
use crate::domain::misc_devices::{
    BalloonModel, Iommu, IommuModel, Panic, PanicModel, Watchdog, WatchdogModel,
};
use crate::domain::serial::{Serial, SerialTargetType};
use crate::domain::sound::{Sound, SoundModel};
use crate::domain::video::VideoType;

/// A set of connection types and conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Connect(u16);

impl Connect {
    pub(super) const NONE: Connect = Connect(0);
    /// The address is chosen, not given: only buses meant for that.
    pub(super) const AUTOASSIGN: Connect = Connect(1);
    /// Several devices may share a slot.
    pub(super) const AGGREGATE: Connect = Connect(2);
    /// Belongs on the root bus.
    pub(super) const INTEGRATED: Connect = Connect(4);
    pub(super) const PCI_DEVICE: Connect = Connect(8);
    pub(super) const PCIE_DEVICE: Connect = Connect(16);
    pub(super) const PCIE_ROOT_PORT: Connect = Connect(32);
    pub(super) const SWITCH_UPSTREAM_PORT: Connect = Connect(64);
    pub(super) const SWITCH_DOWNSTREAM_PORT: Connect = Connect(128);
    pub(super) const DMI_TO_PCI_BRIDGE: Connect = Connect(256);
    pub(super) const PCI_EXPANDER_BUS: Connect = Connect(512);
    pub(super) const PCIE_EXPANDER_BUS: Connect = Connect(1024);
    pub(super) const PCI_BRIDGE: Connect = Connect(2048);
    pub(super) const PCIE_TO_PCI_BRIDGE: Connect = Connect(4096);

    const ENDPOINTS: Connect = Connect::PCI_DEVICE.or(Connect::PCIE_DEVICE);
    const TYPES: Connect = Connect(!7);

    /// Both sets together.
    pub(super) const fn or(self, other: Connect) -> Connect {
        Connect(self.0 | other.0)
    }

    /// The same, for an address that is to be chosen.
    pub(super) const fn auto(self) -> Connect {
        self.or(Connect::AUTOASSIGN)
    }

    /// Whether the sets have something in common.
    pub(super) const fn has(self, other: Connect) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Why a device does not fit on a bus.
pub(super) enum Misfit {
    NotIntegrated,
    NotAutoassigned,
    WrongType(&'static str),
}

/// Whether a device with `device` fits on bus number `bus` that offers `offer`.
/// An address the user gave may put PCI devices on PCI Express and back.
pub(super) fn check(
    bus: u64,
    mut offer: Connect,
    mut device: Connect,
    from_config: bool,
) -> Result<(), Misfit> {
    if device.has(Connect::INTEGRATED) {
        if bus != 0 {
            return Err(Misfit::NotIntegrated);
        }
        offer = offer.auto();
        if offer.has(Connect::ENDPOINTS) {
            offer = offer.or(Connect::ENDPOINTS);
        }
    }
    if from_config {
        if offer.has(Connect::ENDPOINTS) {
            offer = offer.or(Connect::ENDPOINTS);
        }
        if device.has(Connect::PCI_BRIDGE) {
            device = device.or(Connect::PCI_DEVICE);
        }
    } else if device.has(Connect::AUTOASSIGN) && !offer.has(Connect::AUTOASSIGN) {
        return Err(Misfit::NotAutoassigned);
    }
    if Connect(device.0 & offer.0).has(Connect::TYPES) {
        Ok(())
    } else {
        Err(Misfit::WrongType(needs(device)))
    }
}

/// What a device needs, in libvirt's words.
fn needs(device: Connect) -> &'static str {
    const WORDS: [(Connect, &str); 10] = [
        (Connect::PCI_DEVICE, "standard PCI device"),
        (Connect::PCIE_DEVICE, "PCI Express device"),
        (Connect::PCIE_ROOT_PORT, "pcie-root-port"),
        (Connect::SWITCH_UPSTREAM_PORT, "pcie-switch-upstream-port"),
        (
            Connect::SWITCH_DOWNSTREAM_PORT,
            "pcie-switch-downstream-port",
        ),
        (Connect::DMI_TO_PCI_BRIDGE, "dmi-to-pci-bridge"),
        (Connect::PCIE_TO_PCI_BRIDGE, "pcie-to-pci-bridge"),
        (Connect::PCI_EXPANDER_BUS, "pci-expander-bus"),
        (Connect::PCIE_EXPANDER_BUS, "pcie-expander-bus"),
        (Connect::PCI_BRIDGE, "pci-bridge"),
    ];
    WORDS
        .iter()
        .find(|(c, _)| device.has(*c))
        .map_or("PCI device", |(_, word)| word)
}

/// What a PCI controller needs upstream.
pub(super) fn of_controller_model(model: ControllerModel) -> Connect {
    match model {
        ControllerModel::PciBridge => Connect::PCI_BRIDGE,
        ControllerModel::PciExpanderBus => Connect::PCI_EXPANDER_BUS,
        ControllerModel::PcieExpanderBus => Connect::PCIE_EXPANDER_BUS,
        ControllerModel::DmiToPciBridge => Connect::DMI_TO_PCI_BRIDGE,
        ControllerModel::PcieToPciBridge => Connect::PCIE_TO_PCI_BRIDGE,
        ControllerModel::PcieRootPort => Connect::PCIE_ROOT_PORT.or(Connect::AGGREGATE),
        ControllerModel::PcieSwitchUpstreamPort => Connect::SWITCH_UPSTREAM_PORT,
        ControllerModel::PcieSwitchDownstreamPort => Connect::SWITCH_DOWNSTREAM_PORT,
        _ => Connect::NONE,
    }
}

/// What a bus offers, and its first and last slot.
pub(super) fn offer_of(model: ControllerModel) -> (Connect, u64, u64) {
    let pci = Connect::PCI_DEVICE.or(Connect::PCI_BRIDGE);
    match model {
        ControllerModel::PcieRoot => (
            Connect::PCIE_DEVICE
                .or(Connect::PCIE_ROOT_PORT)
                .or(Connect::DMI_TO_PCI_BRIDGE)
                .or(Connect::PCIE_EXPANDER_BUS),
            1,
            31,
        ),
        ControllerModel::PciBridge | ControllerModel::PcieToPciBridge => (pci.auto(), 1, 31),
        ControllerModel::PciExpanderBus => (pci.auto(), 0, 31),
        ControllerModel::DmiToPciBridge => (pci, 0, 31),
        ControllerModel::PcieRootPort | ControllerModel::PcieSwitchDownstreamPort => (
            Connect::PCIE_DEVICE
                .or(Connect::SWITCH_UPSTREAM_PORT)
                .or(Connect::PCIE_TO_PCI_BRIDGE)
                .auto(),
            0,
            0,
        ),
        ControllerModel::PcieSwitchUpstreamPort => (Connect::SWITCH_DOWNSTREAM_PORT, 0, 31),
        ControllerModel::PcieExpanderBus => (
            Connect::PCIE_ROOT_PORT.or(Connect::DMI_TO_PCI_BRIDGE),
            0,
            31,
        ),
        // Anything else that got here is the root of a PC.
        _ => (pci.or(Connect::PCI_EXPANDER_BUS).auto(), 1, 31),
    }
}

/// What the devices of one domain need: on a machine without PCI Express,
/// everything is a PCI device.
#[derive(Clone, Copy)]
pub(super) struct Needs {
    pci: Connect,
    pcie: Connect,
}

impl Needs {
    pub(super) fn new(has_pcie_root: bool) -> Self {
        let pci = Connect::PCI_DEVICE.auto();
        Needs {
            pci,
            pcie: if has_pcie_root {
                Connect::PCIE_DEVICE.auto()
            } else {
                pci
            },
        }
    }

    /// Transitional devices only work in conventional slots.
    pub(super) fn virtio(self, model: Option<VirtioModel>) -> Connect {
        if model == Some(VirtioModel::Transitional) {
            self.pci
        } else {
            self.pcie
        }
    }

    pub(super) fn pcie(self) -> Connect {
        self.pcie
    }

    pub(super) fn pci(self) -> Connect {
        self.pci
    }

    pub(super) fn controller(self, controller: &Controller) -> Connect {
        use ControllerModel as M;
        match controller.kind {
            ControllerType::Pci => controller.model.map_or(Connect::NONE, of_controller_model),
            ControllerType::Sata | ControllerType::Ide => self.pci,
            ControllerType::Usb => match controller.model {
                Some(M::NecXhci | M::QemuXhci) => self.pcie,
                Some(M::None | M::QusbOne | M::QusbTwo) => Connect::NONE,
                _ => self.pci,
            },
            ControllerType::Scsi => match controller.model {
                Some(M::VirtioScsi | M::VirtioNonTransitional) => self.pcie,
                None | Some(M::Ncr53c90) => Connect::NONE,
                _ => self.pci,
            },
            ControllerType::VirtioSerial => match controller.model {
                Some(M::VirtioTransitional) => self.pci,
                _ => self.pcie,
            },
            ControllerType::Nvme => self.pcie,
            ControllerType::Fdc
            | ControllerType::Ccid
            | ControllerType::Xenbus
            | ControllerType::Isa => Connect::NONE,
        }
    }

    pub(super) fn filesystem(self, filesystem: &Filesystem) -> Connect {
        use FilesystemDriverType as T;
        match filesystem
            .driver
            .as_ref()
            .and_then(|d| d.kind)
            .unwrap_or_default()
        {
            T::Default | T::Path | T::Handle => self.virtio(filesystem.model),
            T::Virtiofs => self.pcie,
            T::Loop | T::Nbd | T::Ploop | T::Mtp => Connect::NONE,
        }
    }

    pub(super) fn interface(self, interface: &Interface) -> Connect {
        match (interface.kind, interface.model_name()) {
            (InterfaceType::Hostdev, _) | (_, Some("usb-net")) => Connect::NONE,
            (
                _,
                None
                | Some("virtio" | "virtio-non-transitional" | "e1000e" | "igb" | "vmxnet3-pcie"),
            ) => self.pcie,
            _ => self.pci,
        }
    }

    pub(super) fn sound(self, sound: &Sound) -> Connect {
        match sound.model {
            SoundModel::Es1370 | SoundModel::Ac97 | SoundModel::Ich6 | SoundModel::Ich9 => self.pci,
            SoundModel::Virtio => self.pcie,
            SoundModel::Sb16 | SoundModel::Pcspk | SoundModel::Usb | SoundModel::Ich7 => {
                Connect::NONE
            }
        }
    }

    pub(super) fn disk(self, disk: &Disk) -> Connect {
        match disk.bus() {
            Some(DiskBus::Virtio) => self.virtio(disk.model),
            _ => Connect::NONE,
        }
    }

    pub(super) fn balloon(self, model: BalloonModel) -> Connect {
        match model {
            BalloonModel::VirtioTransitional => self.pci,
            BalloonModel::Virtio | BalloonModel::VirtioNonTransitional => self.pcie,
            BalloonModel::Xen | BalloonModel::None => Connect::NONE,
        }
    }

    pub(super) fn watchdog(self, watchdog: &Watchdog) -> Connect {
        if watchdog.model == WatchdogModel::I6300esb {
            self.pci
        } else {
            Connect::NONE
        }
    }

    pub(super) fn video(self, kind: VideoType) -> Connect {
        match kind {
            VideoType::Virtio | VideoType::Bochs => self.pcie,
            VideoType::Default | VideoType::Gop | VideoType::None | VideoType::Ramfb => {
                Connect::NONE
            }
            _ => self.pci,
        }
    }

    pub(super) fn input(self, input: &Input) -> Connect {
        if input.bus == Some(InputBus::Virtio) {
            self.virtio(input.model)
        } else {
            Connect::NONE
        }
    }

    pub(super) fn serial(self, serial: &Serial) -> Connect {
        match serial.target.as_ref().and_then(|t| t.kind) {
            Some(SerialTargetType::Pci) => self.pci,
            _ => Connect::NONE,
        }
    }

    pub(super) fn iommu(self, iommu: &Iommu) -> Connect {
        match iommu.model {
            IommuModel::Virtio => self.pcie.or(Connect::INTEGRATED),
            IommuModel::Amd => Connect::PCI_DEVICE.auto().or(Connect::INTEGRATED),
            IommuModel::Intel | IommuModel::Smmuv3 => Connect::NONE,
        }
    }

    pub(super) fn panic(self, panic: &Panic) -> Connect {
        match panic.model {
            Some(PanicModel::Pvpanic) => self.pci.or(Connect::INTEGRATED),
            _ => Connect::NONE,
        }
    }
}
