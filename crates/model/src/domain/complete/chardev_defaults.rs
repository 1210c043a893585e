//! Defaults of character devices: serial and parallel ports, consoles,
//! channels, and what else has one behind it.

use crate::domain::Domain;
use crate::domain::chardev::{
    Chardev, ChardevSource, ChardevType, Protocol, SocketMode, TcpProtocol,
};
use crate::domain::rng::RngBackend;
use crate::domain::serial::{
    ConsoleTargetType, Serial, SerialModel, SerialModelName, SerialTargetType,
};
use crate::domain::smartcard::SmartcardBackend;
use crate::xml::XmlError;

/// The most ISA serial ports a machine has.
const ISA_SERIAL_PORTS_MAX: u32 = 4;

/// Fills in the defaults of everything with a character device behind it.
pub(super) fn complete(domain: &mut Domain) -> Result<(), XmlError> {
    let devices = &mut domain.devices;
    assign_isa_ports(&mut devices.serials)?;
    for i in 0..devices.serials.len() {
        complete_serial(&mut devices.serials, i);
        complete_backend(&mut devices.serials[i].chardev);
    }
    for i in 0..devices.parallels.len() {
        let ports = devices
            .parallels
            .iter()
            .filter_map(|p| p.target.as_ref()?.port);
        let next = ports.max().map_or(0, |p| p + 1);
        let parallel = &mut devices.parallels[i];
        parallel
            .target
            .get_or_insert_default()
            .port
            .get_or_insert(next);
        complete_backend(&mut parallel.chardev);
    }
    for channel in &mut devices.channels {
        complete_backend(&mut channel.chardev);
        // A UNIX socket without a path is made by us.
        if channel.chardev.kind == ChardevType::Unix && channel.chardev.path().is_none() {
            channel.chardev.sources.clear();
        }
    }
    for console in &mut devices.consoles {
        let target = console.target.get_or_insert_default();
        target.kind.get_or_insert(ConsoleTargetType::Serial);
        complete_backend(&mut console.chardev);
    }
    for redirdev in &mut devices.redirdevs {
        complete_backend(&mut redirdev.chardev);
        if redirdev.chardev.kind == ChardevType::Dbus && redirdev.chardev.sources.is_empty() {
            redirdev.chardev.sources.push(ChardevSource {
                channel: Some("org.qemu.usbredir".to_owned()),
                ..ChardevSource::default()
            });
        }
    }
    for rng in &mut devices.rngs {
        if let Some(RngBackend::Egd(chardev)) = &mut rng.backend {
            complete_backend(chardev);
        }
    }
    for smartcard in &mut devices.smartcards {
        if let SmartcardBackend::Passthrough(chardev) = &mut smartcard.backend {
            complete_backend(chardev);
        }
    }
    Ok(())
}

fn assign_isa_ports(serials: &mut [Serial]) -> Result<(), XmlError> {
    let is_isa = |s: &Serial| {
        let model = s.target.as_ref().and_then(|t| t.model.as_ref());
        model.is_some_and(|m| m.name == SerialModelName::IsaSerial)
    };
    let mut used = std::collections::BTreeSet::new();
    let mut count = 0;
    for serial in serials.iter().filter(|s| is_isa(s)) {
        count += 1;
        let port = serial.target.as_ref().and_then(|t| t.port);
        if count > ISA_SERIAL_PORTS_MAX || port.is_some_and(|p| p >= ISA_SERIAL_PORTS_MAX) {
            return Err(XmlError::unsupported(format!(
                "Maximum supported number of ISA serial ports is '{ISA_SERIAL_PORTS_MAX}'"
            )));
        }
        if let Some(port) = port
            && !used.insert(port)
        {
            return Err(XmlError::invalid(format!(
                "target port '{port}' already allocated"
            )));
        }
    }
    for serial in serials.iter_mut().filter(|s| is_isa(s)) {
        let target = serial.target.get_or_insert_default();
        if target.port.is_none() {
            let free = (0..ISA_SERIAL_PORTS_MAX).find(|p| used.insert(*p));
            target.port = free;
        }
    }
    Ok(())
}

pub(super) fn complete_serial(serials: &mut [Serial], at: usize) {
    let ports = serials.iter().filter_map(|s| s.target.as_ref()?.port);
    let next = ports.max().map_or(0, |p| p + 1);
    let target = serials[at].target.get_or_insert_default();
    let kind = match target.kind {
        None | Some(SerialTargetType::None) => SerialTargetType::Isa,
        Some(kind) => kind,
    };
    target.kind = Some(kind);
    let model = match kind {
        SerialTargetType::Isa => Some(SerialModelName::IsaSerial),
        SerialTargetType::Usb => Some(SerialModelName::UsbSerial),
        SerialTargetType::Pci => Some(SerialModelName::PciSerial),
        SerialTargetType::IsaDebug => Some(SerialModelName::IsaDebugcon),
        SerialTargetType::SpaprVio => Some(SerialModelName::SpaprVty),
        SerialTargetType::Sclp => Some(SerialModelName::SclpConsole),
        SerialTargetType::System | SerialTargetType::None => None,
    };
    if target.model.is_none() {
        target.model = model.map(|name| SerialModel { name });
    }
    target.port.get_or_insert(next);
}

/// What libvirt settles while it reads a character device.
fn complete_backend(chardev: &mut Chardev) {
    if chardev.kind != ChardevType::Tcp {
        chardev.protocol = None;
    }
    match chardev.kind {
        ChardevType::Tcp => {
            chardev.protocol.get_or_insert(Protocol {
                kind: TcpProtocol::Raw,
            });
            for source in &mut chardev.sources {
                source.mode.get_or_insert(SocketMode::Connect);
            }
        }
        ChardevType::Unix => {
            for source in &mut chardev.sources {
                source.mode.get_or_insert(SocketMode::Connect);
            }
        }
        ChardevType::Udp => {
            for source in &mut chardev.sources {
                source.mode.get_or_insert(SocketMode::Connect);
            }
            // The far end is shown after the near one.
            chardev
                .sources
                .sort_by_key(|s| s.mode == Some(SocketMode::Connect));
        }
        ChardevType::Pty
        | ChardevType::Null
        | ChardevType::Vc
        | ChardevType::Stdio
        | ChardevType::Spicevmc => chardev.sources.clear(),
        _ => {}
    }
}
