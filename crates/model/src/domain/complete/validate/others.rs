//! Controllers, displays, cards, character devices and the rest.

use super::super::DefineContext;
use super::super::basics::xml_error;
use super::machine::{acpi, is_q35};
use super::{internal, plain};
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::chardev::{Chardev, TcpProtocol};
use crate::domain::controller::{ControllerModel, ControllerType};
use crate::domain::graphics::GraphicsType;
use crate::domain::input::{InputBus, InputType};
use crate::domain::interface::{Interface, InterfaceType};
use crate::domain::misc_devices::IommuModel;
use crate::domain::rng::RngBackend;
use crate::domain::video::VideoType;
use crate::xml::{Scalar, XmlError, XmlErrorKind};

/// How deep a USB port may be: `1.2.3.4`.
const USB_PORT_DEPTH_MAX: usize = 4;

pub(super) fn check(domain: &Domain, context: &DefineContext) -> Result<(), XmlError> {
    check_usb(domain)?;
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
    check_videos(domain)?;
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
    check_usb_controllers(domain)
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
    let mut bad_port = false;
    devices.each_info(&mut |info| {
        if let Some(Address::Usb(usb)) = &info.address
            && let Some(port) = &usb.port
        {
            let parts: Vec<&str> = port.split('.').collect();
            let valid = parts.iter().all(|p| u32::parse(p).is_some());
            bad_port |= !valid || parts.len() > USB_PORT_DEPTH_MAX;
        }
    });
    if bad_port {
        return Err(internal("Cannot parse <address> 'port' attribute"));
    }
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
    for kind in [GraphicsType::Sdl, GraphicsType::Vnc, GraphicsType::Spice] {
        if graphics.iter().filter(|g| g.kind == kind).count() > 1 {
            return Err(XmlError::unsupported(
                "only 1 graphics device of each type (sdl, vnc, spice, headless) is supported",
            ));
        }
    }
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

fn check_videos(domain: &Domain) -> Result<(), XmlError> {
    for video in &domain.devices.videos {
        if video.kind() == VideoType::Ramfb && video.info.address.is_some() {
            return Err(XmlError::unsupported(
                "address not supported for video type ramfb",
            ));
        }
    }
    Ok(())
}
