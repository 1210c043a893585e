//! Defaults of single devices, without regard to the others.

use super::basics::xml_error;
use super::{DefineContext, chardev_defaults};
use crate::domain::Domain;
use crate::domain::controller::{Controller, ControllerModel, ControllerType};
use crate::domain::disk::{Disk, DiskBus, DiskCache, DiskDevice, SnapshotMode, VirtioModel};
use crate::domain::filesystem::{AccessMode, Filesystem};
use crate::domain::hostdev::Hostdev;
use crate::domain::info::Master;
use crate::domain::input::{InputBus, InputType};
use crate::domain::interface::{
    Interface, InterfaceBackendDriver, InterfaceModel, InterfaceTarget, InterfaceType, MacElement,
};
use crate::domain::memory_device::{MemoryAccess, MemoryModel};
use crate::domain::memory_size::Mib;
use crate::domain::misc_devices::{PanicModel, Shmem, ShmemModelType, ShmemMsi, VsockCid};
use crate::domain::rng::RngBackend;
use crate::domain::sound::SoundModel;
use crate::domain::storage::{
    EncryptionEngine, HostTransport, ImageFormat, NetworkProtocol, StorageSource, StorageType,
};
use crate::domain::tpm::{TpmBackendType, TpmDevice, TpmModel, TpmVersion};
use crate::domain::video::{Video, VideoType};
use crate::xml::{OnOff, XmlError, XmlErrorKind, YesNo};

/// Fills in the defaults of every device.
pub(super) fn complete(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    chardev_defaults::complete(domain)?;
    let mut macs = context.macs.iter().copied();
    let devices = &mut domain.devices;
    for disk in &mut devices.disks {
        complete_disk(disk)?;
    }
    for interface in &mut devices.interfaces {
        complete_interface(interface, context, &mut macs)?;
    }
    for sound in &mut devices.sounds {
        if sound.model == SoundModel::Virtio {
            sound.streams.get_or_insert(2);
        }
    }
    for video in &mut devices.videos {
        complete_video(video, context);
    }
    for controller in &mut devices.controllers {
        complete_controller(controller, context)?;
    }
    for input in &mut devices.inputs {
        let bus = match input.kind {
            InputType::Mouse | InputType::Keyboard => InputBus::Ps2,
            InputType::Passthrough => InputBus::Virtio,
            InputType::Evdev => continue,
            InputType::Tablet => InputBus::Usb,
        };
        input.bus.get_or_insert(bus);
    }
    for filesystem in &mut devices.filesystems {
        complete_filesystem(filesystem)?;
    }
    for rng in &mut devices.rngs {
        if let Some(RngBackend::Random(path)) = &mut rng.backend {
            path.get_or_insert_with(|| "/dev/random".to_owned());
        }
    }
    for panic in &mut devices.panics {
        panic.model.get_or_insert(PanicModel::Isa);
    }
    for shmem in &mut devices.shmems {
        complete_shmem(shmem)?;
    }
    complete_tpms(domain);
    let devices = &mut domain.devices;
    for memory in &mut devices.memories {
        if memory.model == MemoryModel::VirtioPmem {
            memory.access.get_or_insert(MemoryAccess::Shared);
        }
    }
    for hostdev in &mut devices.hostdevs {
        use crate::domain::hostdev::HostdevType;
        if hostdev.kind == HostdevType::Mdev && hostdev.model.as_deref() == Some("vfio-pci") {
            hostdev.display.get_or_insert(OnOff::Off);
        }
        hostdev.managed.get_or_insert(YesNo::No);
        if hostdev.kind == HostdevType::Pci {
            complete_host_address(hostdev);
        }
    }
    for vsock in devices.vsock.iter_mut() {
        vsock.model.get_or_insert(VirtioModel::Virtio);
        let cid = vsock.cid.get_or_insert_with(VsockCid::default);
        let fixed = cid.address.is_some_and(|a| a != 0);
        cid.auto
            .get_or_insert(if fixed { YesNo::No } else { YesNo::Yes });
    }
    Ok(())
}

/// Writes the host's PCI address in full.
fn complete_host_address(hostdev: &mut Hostdev) {
    let Some(source) = &mut hostdev.source else {
        return;
    };
    let address = source.address.get_or_insert_default();
    address.domain.get_or_insert_default();
    address.slot.get_or_insert_default();
    address.function.get_or_insert_default();
    address.bus.get_or_insert_with(|| "0x00".to_owned());
}

fn complete_filesystem(filesystem: &mut Filesystem) -> Result<(), XmlError> {
    let has_socket = filesystem
        .source
        .as_ref()
        .is_some_and(|s| s.socket.is_some());
    if !has_socket {
        filesystem
            .access_mode
            .get_or_insert(AccessMode::Passthrough);
    }
    for mode in [&mut filesystem.fmode, &mut filesystem.dmode]
        .into_iter()
        .flatten()
    {
        let octal = u32::from_str_radix(mode, 8)
            .map_err(|_| xml_error(format!("invalid file mode '{mode}'")))?;
        *mode = format!("{octal:04o}");
    }
    Ok(())
}

fn complete_disk(disk: &mut Disk) -> Result<(), XmlError> {
    let path = disk.source_path().unwrap_or("").to_owned();
    let target = disk.target.as_mut().ok_or_else(|| {
        XmlError::new(
            XmlErrorKind::Missing,
            format!("missing target information for device {path}"),
        )
    })?;
    if let Some(rest) = target.dev.strip_prefix("ioemu:") {
        target.dev = rest.to_owned();
    }
    target
        .bus
        .get_or_insert_with(|| default_bus(disk.device, &target.dev));
    if matches!(disk.device, DiskDevice::Cdrom) {
        disk.readonly = true;
    }
    let driver = disk.driver.get_or_insert_default();
    driver.name.get_or_insert_with(|| "qemu".to_owned());
    if disk.kind != StorageType::Volume {
        driver.format.get_or_insert(ImageFormat::Raw);
    }
    if disk.kind == StorageType::VhostUser {
        disk.snapshot.get_or_insert(SnapshotMode::No);
    }
    // A read-only disk takes no part in snapshots, which goes without saying.
    if disk.readonly && disk.snapshot == Some(SnapshotMode::No) {
        disk.snapshot = None;
    }
    if let Some(tray) = target.tray
        && tray == crate::domain::disk::Tray::Closed
    {
        target.tray = None;
    }
    if target.bus != Some(DiskBus::Usb) {
        target.removable = None;
    }
    if driver.cache == Some(DiskCache::Default) {
        driver.cache = None;
    }
    if let Some(source) = &mut disk.source {
        // Labels that are left alone are not part of the definition.
        source
            .seclabels
            .retain(|l| l.label_skip != Some(YesNo::Yes));
        complete_hosts(source);
        if source.protocol == Some(NetworkProtocol::Http) {
            source.ssl = None;
        }
        if disk.kind == StorageType::Nvme {
            source.managed.get_or_insert(YesNo::Yes);
        }
        if let Some(encryption) = &mut source.encryption {
            encryption.engine.get_or_insert(EncryptionEngine::Qemu);
        }
        if source.protocol == Some(NetworkProtocol::Iscsi)
            && let Some(name) = &mut source.name
            && !name.contains('/')
        {
            name.push_str("/0");
        }
    }
    if let Some(encryption) = &mut disk.encryption {
        encryption.engine.get_or_insert(EncryptionEngine::Qemu);
    }
    Ok(())
}

/// Hosts of network storage without a port get the usual one.
fn complete_hosts(source: &mut StorageSource) {
    let port = match source.protocol {
        Some(NetworkProtocol::Http) => "80",
        Some(NetworkProtocol::Https) => "443",
        Some(NetworkProtocol::Ftp) => "21",
        Some(NetworkProtocol::Ftps) => "990",
        Some(NetworkProtocol::Tftp) => "69",
        Some(NetworkProtocol::Ssh) => "22",
        Some(NetworkProtocol::Nbd) => "10809",
        Some(NetworkProtocol::Iscsi) => "3260",
        Some(NetworkProtocol::Gluster) => "24007",
        _ => return,
    };
    for host in &mut source.hosts {
        if host.transport != Some(HostTransport::Unix) && host.name.is_some() {
            host.port.get_or_insert_with(|| port.to_owned());
        }
    }
}

fn default_bus(device: DiskDevice, target: &str) -> DiskBus {
    if device == DiskDevice::Floppy {
        return DiskBus::Fdc;
    }
    let by_prefix = [
        ("hd", DiskBus::Ide),
        ("sd", DiskBus::Scsi),
        ("vd", DiskBus::Virtio),
        ("xvd", DiskBus::Xen),
        ("ubd", DiskBus::Uml),
        ("nvme", DiskBus::Nvme),
    ];
    by_prefix
        .iter()
        .find(|(p, _)| target.starts_with(p))
        .map_or(DiskBus::Ide, |(_, bus)| *bus)
}

fn complete_interface(
    interface: &mut Interface,
    context: &DefineContext,
    macs: &mut impl Iterator<Item = crate::xml::Mac>,
) -> Result<(), XmlError> {
    if interface.mac.is_none() {
        let address = macs.next().ok_or_else(|| {
            XmlError::invalid("internal error: no MAC address left for an interface")
        })?;
        interface.mac = Some(MacElement {
            address,
            ..MacElement::default()
        });
    }
    if let Some(mac) = interface.mac().filter(|m| m.is_multicast()) {
        return Err(xml_error(format!(
            "expected unicast mac address, found multicast '{mac}'"
        )));
    }
    drop_unused(interface);
    if interface.model.is_none() && interface.kind != InterfaceType::Hostdev {
        let name = match interface.kind {
            InterfaceType::Vdpa | InterfaceType::VhostUser => "virtio",
            _ if context.has_device("rtl8139") => "rtl8139",
            _ if context.has_device("e1000") => "e1000",
            _ => "virtio",
        };
        interface.model = Some(InterfaceModel {
            name: name.to_owned(),
        });
    }
    if let Some(model) = &mut interface.model {
        let lower = model.name.to_ascii_lowercase();
        if KNOWN_MODELS.contains(&lower.as_str()) {
            model.name = lower;
        }
    }
    if let Some(target) = &mut interface.target {
        // Names that are made up at start are not part of the definition.
        let made_up = |dev: &String| GENERATED_PREFIXES.iter().any(|p| dev.starts_with(p));
        target.dev = target.dev.take().filter(|dev| !made_up(dev));
        if *target == InterfaceTarget::default() {
            interface.target = None;
        }
    }
    if interface.kind == InterfaceType::Direct
        && let Some(source) = &mut interface.source
    {
        source.mode.get_or_insert_with(|| "vepa".to_owned());
    }
    Ok(())
}

/// How the names of host devices begin that are made up at start.
const GENERATED_PREFIXES: [&str; 3] = ["vnet", "macvtap", "macvlan"];

/// Drops what libvirt does not read for this kind of card.
fn drop_unused(interface: &mut Interface) {
    let is_hostdev = interface.kind == InterfaceType::Hostdev;
    if is_hostdev {
        interface.filterref = None;
    }
    if is_hostdev || !interface.is_virtio() {
        let driver = interface.driver.as_ref();
        if driver.is_some_and(|d| d.name != Some(InterfaceBackendDriver::Vfio)) {
            interface.driver = None;
        }
        if let Some(backend) = &mut interface.backend {
            backend.vhost = None;
        }
    }
    if let Some(driver) = &mut interface.driver
        && driver.queues == Some(1)
    {
        driver.queues = None;
    }
}

/// Models known by name, whatever the case they are written in.
const KNOWN_MODELS: [&str; 15] = [
    "netfront",
    "rtl8139",
    "virtio",
    "e1000",
    "e1000e",
    "igb",
    "virtio-transitional",
    "virtio-non-transitional",
    "usb-net",
    "spapr-vlan",
    "lan9118",
    "smc91c111",
    "vlance",
    "vmxnet3",
    "am79c970a",
];

/// Video memory of most cards, in KiB.
const VIDEO_MEMORY_KIB: u32 = 16 * 1024;
/// Memory of a QXL card's two regions, in KiB.
const QXL_MEMORY_KIB: u32 = 64 * 1024;

pub(super) fn complete_video(video: &mut Video, context: &DefineContext) {
    let model = video.model.get_or_insert_default();
    if model.kind == VideoType::Default {
        model.kind = if context.has_device("cirrus-vga") {
            VideoType::Cirrus
        } else {
            VideoType::Vga
        };
    }
    if model.kind == VideoType::None {
        *model = crate::domain::video::VideoModel {
            kind: VideoType::None,
            ..Default::default()
        };
        return;
    }
    // None at all is not shown by libvirt, and would be one when read again.
    model.heads = Some(model.heads.unwrap_or(1).max(1));
    model.primary = model.primary.filter(|p| p.is_yes());
    if model.kind == VideoType::Qxl {
        model.vgamem.get_or_insert(VIDEO_MEMORY_KIB);
        let ram = model.ram.filter(|r| *r > 0).unwrap_or(QXL_MEMORY_KIB);
        model.ram = Some(ram.checked_next_power_of_two().unwrap_or(ram));
    }
    let default_vram = match model.kind {
        VideoType::Vga | VideoType::Cirrus | VideoType::Vmvga | VideoType::Bochs => {
            Some(VIDEO_MEMORY_KIB)
        }
        VideoType::Qxl => Some(QXL_MEMORY_KIB),
        _ => None,
    };
    let vram = model.vram.filter(|v| *v > 0).or(default_vram);
    model.vram = vram.map(|v| v.checked_next_power_of_two().unwrap_or(v));
}

fn complete_controller(
    controller: &mut Controller,
    context: &DefineContext,
) -> Result<(), XmlError> {
    match controller.kind {
        ControllerType::Scsi if matches!(controller.model, None | Some(ControllerModel::Auto)) => {
            controller.model = Some(if context.has_device("lsi53c895a") {
                ControllerModel::Lsilogic
            } else {
                ControllerModel::VirtioScsi
            });
        }
        ControllerType::Usb => {
            complete_usb_controller(controller, context)?;
        }
        ControllerType::Pci if controller.model.is_none() => {
            return Err(xml_error("PCI controllers must have a model"));
        }
        _ => {}
    }
    Ok(())
}

/// The USB 1 parts of an ICH9 controller take over ports of its USB 2 part.
pub(super) fn name_companions(controllers: &mut [Controller]) {
    for controller in controllers {
        let start_port = match controller.model {
            Some(ControllerModel::Ich9Uhci1) => 0,
            Some(ControllerModel::Ich9Uhci2) => 2,
            Some(ControllerModel::Ich9Uhci3) => 4,
            _ => continue,
        };
        controller.info.master.get_or_insert(Master { start_port });
    }
}

/// The most ports of a USB 3 controller.
const XHCI_PORTS_MAX: u32 = 15;

fn complete_usb_controller(
    controller: &mut Controller,
    context: &DefineContext,
) -> Result<(), XmlError> {
    if controller.model.is_none() && context.has_device("piix3-usb-uhci") {
        controller.model = Some(ControllerModel::Piix3Uhci);
    }
    match controller.model {
        None => Err(XmlError::unsupported(
            "no model provided for USB controller",
        )),
        Some(ControllerModel::None) => {
            controller.info.address = None;
            Ok(())
        }
        Some(model @ (ControllerModel::QusbOne | ControllerModel::QusbTwo)) => Err(
            XmlError::unsupported(format!("USB controller model '{model}' is not supported")),
        ),
        Some(model @ (ControllerModel::NecXhci | ControllerModel::QemuXhci))
            if controller.ports.is_some_and(|p| p > XHCI_PORTS_MAX) =>
        {
            Err(XmlError::unsupported(format!(
                "'{model}' controller only supports up to '{XHCI_PORTS_MAX}' ports"
            )))
        }
        Some(_) => Ok(()),
    }
}

/// Size of shared memory where none is given.
const SHMEM_DEFAULT: Mib = Mib(4);

fn complete_shmem(shmem: &mut Shmem) -> Result<(), XmlError> {
    let kind = shmem.model.get_or_insert_default().kind;
    if kind != ShmemModelType::Doorbell {
        shmem.size.get_or_insert(SHMEM_DEFAULT);
    }
    if let Some(msi) = &mut shmem.msi {
        msi.enabled = None;
    }
    if kind == ShmemModelType::Ivshmem {
        return Ok(());
    }
    let refuse = |what: &str| {
        Err(XmlError::unsupported(format!(
            "shmem model '{kind}' {what}"
        )))
    };
    if shmem.server.is_none() {
        if kind == ShmemModelType::Doorbell {
            return refuse("is supported only with server option enabled");
        }
        if shmem.msi.is_some() {
            return Err(xml_error("msi option is only supported with a server"));
        }
        return Ok(());
    }
    if kind == ShmemModelType::Plain {
        return refuse("is supported only with server option disabled");
    }
    if shmem.size.is_some() {
        return refuse("does not support size setting");
    }
    shmem
        .msi
        .get_or_insert_with(ShmemMsi::default)
        .ioeventfd
        .get_or_insert(OnOff::On);
    Ok(())
}

fn complete_tpms(domain: &mut Domain) {
    let x86 = domain.is_x86();
    for tpm in &mut domain.devices.tpms {
        let model = *tpm.model.get_or_insert(TpmModel::Tis);
        let Some(backend) = &mut tpm.backend else {
            continue;
        };
        if backend.kind == TpmBackendType::Passthrough {
            backend.device.get_or_insert_with(|| TpmDevice {
                path: "/dev/tpm0".to_owned(),
            });
        }
        if backend.kind == TpmBackendType::Emulator {
            let old = model == TpmModel::Tis && x86;
            backend.version.get_or_insert(if old {
                TpmVersion::V1_2
            } else {
                TpmVersion::V2_0
            });
        }
    }
}
