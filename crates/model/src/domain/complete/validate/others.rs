//! Controllers, displays, cards, character devices and the rest.

use super::super::DefineContext;
use super::super::basics::xml_error;
use super::machine::{acpi, is_q35};
use super::{internal, plain};
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::chardev::{Chardev, TcpProtocol};
use crate::domain::complete::machine::MachineFamily;
use crate::domain::controller::{ControllerModel, ControllerType};
use crate::domain::filesystem::FilesystemDriverType;
use crate::domain::graphics::GraphicsType;
use crate::domain::input::{InputBus, InputType};
use crate::domain::interface::{Interface, InterfaceType};
use crate::domain::misc_devices::{IommuModel, Shmem, ShmemModelType, WatchdogModel};
use crate::domain::rng::RngBackend;
use crate::domain::sound::SoundModel;
use crate::domain::storage::StorageType;
use crate::domain::video::VideoType;
use crate::xml::{XmlError, XmlErrorKind};

pub(super) fn check(domain: &Domain, context: &DefineContext) -> Result<(), XmlError> {
    check_graphics(domain)?;
    check_inputs(domain)?;
    for interface in &domain.devices.interfaces {
        check_interface(interface)?;
    }
    check_chardevs(domain)?;
    check_load_parameters(domain)?;
    check_iommu(domain)?;
    for tpm in &domain.devices.tpms {
        if tpm.backend.is_none() {
            return Err(xml_error("missing TPM device backend"));
        }
    }
    check_videos(domain, context)?;
    check_watchdogs(domain)?;
    check_panics(domain)?;
    check_shared_memory(domain)?;
    check_iothreads(domain)?;
    check_retired(domain)?;
    for controller in &domain.devices.controllers {
        if let Some(model @ ControllerModel::NecXhci) = controller.model
            && !context.has_device("nec-usb-xhci")
        {
            return Err(XmlError::unsupported(format!(
                "USB controller model '{model}' not supported in this QEMU binary"
            )));
        }
    }
    Ok(())
}

/// Controllers whose number or kind rules each other out.
pub(super) fn check_controllers(domain: &Domain) -> Result<(), XmlError> {
    let controllers = &domain.devices.controllers;
    for (i, controller) in controllers.iter().enumerate() {
        let kind = controller.kind;
        // The parts of a USB 2 controller share a number.
        let twice = |c: &crate::domain::controller::Controller| {
            kind != ControllerType::Usb && c.kind == kind && c.index() == controller.index()
        };
        if controllers[..i].iter().any(twice) {
            return Err(xml_error(format!(
                "Multiple '{kind}' controllers with index '{}'",
                controller.index()
            )));
        }
        let virtio_scsi = matches!(
            controller.model,
            Some(
                ControllerModel::VirtioScsi
                    | ControllerModel::VirtioTransitional
                    | ControllerModel::VirtioNonTransitional
            )
        );
        let iothread = controller.driver.as_ref().and_then(|d| d.iothread);
        if iothread.is_some() && !(virtio_scsi && kind == ControllerType::Scsi) {
            return Err(xml_error(
                "'iothread' attribute only supported for virtio scsi controllers",
            ));
        }
        let root = matches!(
            controller.model,
            Some(ControllerModel::PciRoot | ControllerModel::PcieRoot)
        );
        if root && controller.index() != 0 {
            return Err(xml_error(
                "pci-root and pcie-root controllers should have index 0",
            ));
        }
    }
    check_usb_controllers(domain)?;
    check_usb(domain)
}

fn check_usb_controllers(domain: &Domain) -> Result<(), XmlError> {
    let usb = || {
        domain
            .devices
            .controllers
            .iter()
            .filter(|c| c.kind == ControllerType::Usb)
    };
    let none = usb()
        .filter(|c| c.model == Some(ControllerModel::None))
        .count();
    if none > 0 && usb().count() > 1 {
        return Err(plain(
            "Can't add another USB controller: USB is disabled for this domain",
        ));
    }
    for companion in usb().filter(|c| c.info.master.is_some()) {
        let has_master = usb().any(|c| c.index() == companion.index() && c.info.master.is_none());
        if !has_master {
            return Err(plain("No master USB controller specified"));
        }
    }
    Ok(())
}

fn check_usb(domain: &Domain) -> Result<(), XmlError> {
    let devices = &domain.devices;
    let disabled = devices
        .controllers
        .iter()
        .any(|c| c.kind == ControllerType::Usb && c.model == Some(ControllerModel::None));
    if disabled && devices.inputs.iter().any(|i| i.bus == Some(InputBus::Usb)) {
        return Err(XmlError::unsupported(
            "Can't add USB input device. USB bus is disabled",
        ));
    }
    if disabled && !devices.hubs.is_empty() {
        return Err(XmlError::unsupported(
            "Can't add USB hub: USB is disabled for this domain",
        ));
    }
    Ok(())
}

fn check_graphics(domain: &Domain) -> Result<(), XmlError> {
    let graphics = &domain.devices.graphics;
    let has = |kind| graphics.iter().any(|g| g.kind == kind);
    if has(GraphicsType::EglHeadless) && has(GraphicsType::Sdl) {
        return Err(XmlError::unsupported(
            "graphics type 'egl-headless' is only supported with one of: 'vnc', 'spice' graphics \
             types",
        ));
    }
    Ok(())
}

fn check_inputs(domain: &Domain) -> Result<(), XmlError> {
    for input in &domain.devices.inputs {
        let transitional = input.model.is_some_and(|m| m.as_str() != "virtio");
        if transitional && input.kind != InputType::Passthrough {
            return Err(XmlError::unsupported(format!(
                "virtio (non-)transitional models are not supported for input type={}",
                input.kind
            )));
        }
    }
    Ok(())
}

fn check_interface(interface: &Interface) -> Result<(), XmlError> {
    let passt = interface.backend.as_ref().and_then(|b| b.kind.as_deref()) == Some("passt");
    if !interface.port_forwards.is_empty() && !passt {
        return Err(XmlError::unsupported(
            "The <portForward> element can only be used with the 'passt' backend of interface \
             type='user' or type='vhostuser'",
        ));
    }
    let source = interface.source.as_ref();
    if source.is_none()
        && matches!(
            interface.kind,
            InterfaceType::Network | InterfaceType::Bridge | InterfaceType::Direct
        )
    {
        return Err(xml_error(format!(
            "interface type='{}' requires a 'source' element",
            interface.kind
        )));
    }
    if interface.kind == InterfaceType::User && interface.mtu.is_some() {
        return Err(XmlError::unsupported(format!(
            "setting MTU on interface type {} is not supported yet",
            interface.kind
        )));
    }
    let missing = |what: &str| {
        Err(xml_error(format!(
            "Missing required attribute '{what}' in element 'source'"
        )))
    };
    match interface.kind {
        InterfaceType::Network if source.and_then(|s| s.network.as_ref()).is_none() => {
            missing("network")
        }
        InterfaceType::Bridge if source.and_then(|s| s.bridge.as_ref()).is_none() => {
            missing("bridge")
        }
        InterfaceType::Direct if source.and_then(|s| s.dev.as_ref()).is_none() => missing("dev"),
        _ => Ok(()),
    }
}

fn check_chardevs(domain: &Domain) -> Result<(), XmlError> {
    let devices = &domain.devices;
    let ports = devices.serials.iter().map(|d| &d.chardev);
    let all = ports
        .chain(devices.parallels.iter().map(|d| &d.chardev))
        .chain(devices.consoles.iter().map(|d| &d.chardev))
        .chain(devices.channels.iter().map(|d| &d.chardev))
        .chain(devices.redirdevs.iter().map(|d| &d.chardev));
    for chardev in all {
        check_chardev(chardev)?;
    }
    for rng in &devices.rngs {
        if let Some(RngBackend::Egd(chardev)) = &rng.backend {
            check_chardev(chardev)?;
        }
    }
    Ok(())
}

fn check_chardev(chardev: &Chardev) -> Result<(), XmlError> {
    if let Some(protocol) = &chardev.protocol
        && !matches!(protocol.kind, TcpProtocol::Raw | TcpProtocol::Telnet)
    {
        return Err(XmlError::unsupported(format!(
            "tcp chardev protocol '{}' not supported",
            protocol.kind
        )));
    }
    let reconnect = chardev.sources.iter().filter_map(|s| s.reconnect.as_ref());
    for reconnect in reconnect {
        if reconnect.timeout == Some(0) {
            return Err(XmlError::new(
                XmlErrorKind::Invalid,
                "invalid argument: chardev reconnect source timeout cannot be '0'",
            ));
        }
    }
    Ok(())
}

/// What z/Architecture's firmware is told; up to eight characters.
const LOAD_PARAMETER_MAX: usize = 8;

fn check_load_parameters(domain: &Domain) -> Result<(), XmlError> {
    let mut parameters: Vec<&str> = Vec::new();
    domain.devices.each_info(&mut |info| {
        parameters.extend(info.boot.as_ref().and_then(|b| b.loadparm.as_deref()));
    });
    for text in parameters {
        if text.is_empty() || text.len() > LOAD_PARAMETER_MAX {
            return Err(internal(format!(
                "loadparm value '{text}' must be between 1 and {LOAD_PARAMETER_MAX} characters"
            )));
        }
        if !text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == ' ')
        {
            return Err(internal(format!(
                "invalid loadparm value '{text}', expecting chars in set of [a-zA-Z0-9.] and \
                 blank spaces"
            )));
        }
    }
    Ok(())
}

fn check_watchdogs(domain: &Domain) -> Result<(), XmlError> {
    for watchdog in &domain.devices.watchdogs {
        let q35 = is_q35(domain);
        let model = watchdog.model;
        let refusal = match model {
            WatchdogModel::Itco if !q35 => "is only part of q35 machine",
            WatchdogModel::Ib700 if q35 => "cannot be used with this machine type",
            WatchdogModel::Diag288 => "is allowed for s390 and s390x only",
            _ => continue,
        };
        return Err(XmlError::unsupported(format!(
            "{model} model of watchdog {refusal}"
        )));
    }
    Ok(())
}

fn check_panics(domain: &Domain) -> Result<(), XmlError> {
    let panics = &domain.devices.panics;
    for (i, panic) in panics.iter().enumerate() {
        let model = panic.model.unwrap_or_default();
        if panics[..i]
            .iter()
            .any(|p| p.model.unwrap_or_default() == model)
        {
            return Err(xml_error(format!(
                "Multiple panic devices with model '{model}'"
            )));
        }
    }
    Ok(())
}

/// Programs beside QEMU that serve a device read and write the guest's memory.
fn check_shared_memory(domain: &Domain) -> Result<(), XmlError> {
    if super::memory::is_shared(domain) {
        return Ok(());
    }
    let devices = &domain.devices;
    let who = if devices
        .disks
        .iter()
        .any(|d| d.kind == StorageType::VhostUser)
    {
        "vhostuser"
    } else if devices
        .interfaces
        .iter()
        .any(|d| d.kind == InterfaceType::VhostUser)
    {
        "interface"
    } else if devices
        .filesystems
        .iter()
        .any(|f| f.driver.as_ref().and_then(|d| d.kind) == Some(FilesystemDriverType::Virtiofs))
    {
        "virtiofs"
    } else {
        return Ok(());
    };
    Err(XmlError::unsupported(format!(
        "'{who}' requires shared memory"
    )))
}

fn check_iothreads(domain: &Domain) -> Result<(), XmlError> {
    let drivers = domain
        .devices
        .controllers
        .iter()
        .filter_map(|c| c.driver.as_ref());
    let mut used = drivers.filter_map(|d| d.iothread);
    match used.find(|id| !domain.has_iothread(*id)) {
        Some(id) => Err(XmlError::unsupported(format!(
            "controller iothread '{id}' not defined in iothreadid"
        ))),
        None => Ok(()),
    }
}

/// Devices QEMU no longer has, or never had on these machines.
fn check_retired(domain: &Domain) -> Result<(), XmlError> {
    let devices = &domain.devices;
    let old = |s: &Shmem| {
        s.model
            .as_ref()
            .is_some_and(|m| m.kind == ShmemModelType::Ivshmem)
    };
    if devices.shmems.iter().any(old) {
        return Err(XmlError::unsupported(
            "ivshmem device is no longer supported",
        ));
    }
    if devices.sounds.iter().any(|s| s.model == SoundModel::Ich7) {
        return Err(XmlError::unsupported(
            "sound card model 'ich7' is not supported",
        ));
    }
    let ide = devices
        .controllers
        .iter()
        .any(|c| c.kind == ControllerType::Ide);
    if ide && domain.is_x86() && domain.machine_family() != MachineFamily::I440fx {
        return Err(XmlError::unsupported(
            "IDE controllers are unsupported for this QEMU binary or machine type",
        ));
    }
    let without_target = devices.channels.iter().any(|c| c.target.is_none());
    if without_target {
        return Err(xml_error(
            "target type must be specified for channel device",
        ));
    }
    Ok(())
}

fn check_iommu(domain: &Domain) -> Result<(), XmlError> {
    let Some(iommu) = &domain.devices.iommu else {
        return Ok(());
    };
    let model = iommu.model;
    if model == IommuModel::Intel && !is_q35(domain) {
        return Err(XmlError::unsupported(format!(
            "IOMMU device: '{model}' is only supported with Q35 machines"
        )));
    }
    if model != IommuModel::Virtio {
        return Ok(());
    }
    if !is_q35(domain) {
        return Err(XmlError::unsupported(format!(
            "IOMMU device: '{model}' is only supported with Q35 and ARM Virt machines"
        )));
    }
    if !acpi(domain) {
        return Err(XmlError::unsupported(format!(
            "IOMMU device: '{model}' requires ACPI"
        )));
    }
    if !matches!(iommu.info.address, Some(Address::Pci(_))) {
        return Err(XmlError::unsupported(format!(
            "IOMMU device: '{model}' needs a PCI address"
        )));
    }
    Ok(())
}

fn check_videos(domain: &Domain, context: &DefineContext) -> Result<(), XmlError> {
    for (i, video) in domain.devices.videos.iter().enumerate() {
        let kind = video.kind();
        if i > 0 && !matches!(kind, VideoType::Qxl | VideoType::Virtio) {
            return Err(XmlError::unsupported(format!(
                "video type '{kind}' is only valid as primary video device"
            )));
        }
        let device = match kind {
            VideoType::Vga => "VGA",
            VideoType::Cirrus => "cirrus-vga",
            VideoType::Vmvga => "vmware-svga",
            VideoType::Qxl => "qxl-vga",
            VideoType::Virtio => "virtio-gpu-pci",
            VideoType::Bochs => "bochs-display",
            VideoType::Ramfb => "ramfb",
            VideoType::None | VideoType::Default => continue,
            _ => "",
        };
        if device.is_empty() || !context.has_device(device) {
            return Err(XmlError::unsupported(format!(
                "domain configuration does not support video model '{kind}'"
            )));
        }
        if video.kind() == VideoType::Ramfb && video.info.address.is_some() {
            return Err(XmlError::unsupported(
                "address not supported for video type ramfb",
            ));
        }
    }
    Ok(())
}
