//! What the host's side of a device must say, for each kind of device.

use super::address_ranges::{check_pci_place, fits_32_bits, internal, not_a_number};
use super::hostdev::{HostAddress, Hostdev, HostdevMode, HostdevSource, HostdevType};
use crate::xml::{Hex, Node, Scalar, XmlError, XmlErrorKind};

/// The hexadecimal digits of a world wide name.
const WWPN_DIGITS: usize = 16;

/// Checks the source of a device that was just read, and writes its bus as libvirt does.
pub(super) fn complete(hostdev: &mut Hostdev, node: Node) -> Result<(), XmlError> {
    let (Some(source), Some(node)) = (&mut hostdev.source, node.child("source")) else {
        // That there is none is said later.
        return Ok(());
    };
    if hostdev.mode != HostdevMode::Subsystem {
        return Ok(());
    }
    match hostdev.kind {
        HostdevType::Pci => match (&mut source.address, node.child("address")) {
            (Some(address), Some(node)) => complete_pci(address, node),
            _ => Ok(()),
        },
        HostdevType::Usb => complete_usb(source, node),
        // The other protocols are told from each other elsewhere.
        HostdevType::Scsi if source.protocol.as_deref().is_none_or(|p| p == "adapter") => {
            complete_scsi(source, node)
        }
        HostdevType::ScsiHost => check_vhost(source, node),
        HostdevType::Mdev => check_mediated(source, node),
        _ => Ok(()),
    }
}

/// The number of the bus, in any notation; none given is `None`.
fn bus(address: &HostAddress, node: Node) -> Result<Option<u64>, XmlError> {
    let Some(text) = &address.bus else {
        return Ok(None);
    };
    match Hex::<2>::parse(text) {
        Some(Hex(number)) => {
            fits_32_bits(node, "bus", number)?;
            Ok(Some(number))
        }
        None => Err(not_a_number(node, "bus")),
    }
}

fn complete_pci(address: &mut HostAddress, node: Node) -> Result<(), XmlError> {
    let bus = bus(address, node)?;
    let domain = address.domain.unwrap_or_default().0;
    let slot = address.slot.unwrap_or_default().0;
    let function = address.function.unwrap_or_default().0;
    check_pci_place(node, [domain, bus.unwrap_or_default(), slot, function])?;
    address.bus = bus.map(|bus| format!("0x{bus:02x}"));
    Ok(())
}

/// A bus that must be given, and is written in decimal; the other numbers fit libvirt's.
fn complete_place(address: &mut HostAddress, node: Node) -> Result<(), XmlError> {
    let bus = bus(address, node)?.ok_or_else(|| node.missing_attribute("bus"))?;
    address.bus = Some(bus.to_string());
    for (name, number) in [("device", address.device), ("target", address.target)] {
        fits_32_bits(node, name, number.unwrap_or_default().0)?;
    }
    Ok(())
}

fn complete_usb(source: &mut HostdevSource, node: Node) -> Result<(), XmlError> {
    for (name, id) in [("vendor", &source.vendor), ("product", &source.product)] {
        let (Some(id), Some(node)) = (id, node.child(name)) else {
            continue;
        };
        fits_32_bits(node, "id", id.id.0)?;
        // Product 0 there is, vendor 0 not.
        if name == "vendor" && id.id.0 == 0 {
            return Err(invalid(
                node,
                "Invalid value for attribute 'id' in element 'vendor': Zero is not permitted",
            ));
        }
    }
    match (&source.vendor, &source.product) {
        (Some(_), None) => return Err(internal(node, "missing product".to_owned())),
        (None, Some(_)) => return Err(internal(node, "missing vendor".to_owned())),
        _ => {}
    }
    let (Some(address), Some(node)) = (&mut source.address, node.child("address")) else {
        return Ok(());
    };
    complete_place(address, node)?;
    match address.device {
        Some(_) => Ok(()),
        None => Err(node.missing_attribute("device")),
    }
}

fn complete_scsi(source: &mut HostdevSource, node: Node) -> Result<(), XmlError> {
    let (Some(address), Some(place)) = (&mut source.address, node.child("address")) else {
        return Err(invalid(
            node,
            "'address' must be specified for scsi hostdev source",
        ));
    };
    complete_place(address, place)?;
    let numbers = [("target", address.target), ("unit", address.unit)];
    if let Some((name, _)) = numbers.iter().find(|(_, number)| number.is_none()) {
        return Err(place.missing_attribute(name));
    }
    let adapter = source.adapter.as_ref();
    if adapter.is_none_or(|adapter| adapter.name.is_none()) {
        return Err(invalid(
            node,
            "'adapter' name must be specified for scsi hostdev source",
        ));
    }
    Ok(())
}

fn check_vhost(source: &HostdevSource, node: Node) -> Result<(), XmlError> {
    let Some(protocol) = &source.protocol else {
        return Err(node.missing_attribute("protocol"));
    };
    if protocol != "vhost" {
        return Ok(());
    }
    let Some(wwpn) = &source.wwpn else {
        return Err(invalid(node, "missing vhost-scsi hostdev source wwpn"));
    };
    let digits = wwpn.strip_prefix("naa.").unwrap_or_default();
    if digits.len() == WWPN_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(invalid(node, "malformed 'wwpn' value"))
}

fn check_mediated(source: &HostdevSource, node: Node) -> Result<(), XmlError> {
    let uuid = source.address.as_ref().and_then(|address| address.uuid);
    match uuid {
        Some(_) => Ok(()),
        None => Err(node.error(
            XmlErrorKind::Unsupported,
            "unsupported configuration: Missing 'uuid' attribute for element <address>",
        )),
    }
}

fn invalid(node: Node, message: &str) -> XmlError {
    node.error(XmlErrorKind::Invalid, format!("XML error: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Element, XmlFlags, XmlWriter, expect_root, parse_document};

    fn read(kind: &str, source: &str) -> Result<Hostdev, XmlError> {
        let xml = format!("<hostdev mode='subsystem' type='{kind}'>{source}</hostdev>");
        let document = parse_document(&xml)?;
        Hostdev::parse(expect_root(&document, "hostdev")?)
    }

    fn source(inside: &str) -> String {
        format!("<source>{inside}</source>")
    }

    #[test]
    fn what_a_kind_must_say_is_asked_for_by_name() {
        for (kind, inside, words) in [
            (
                "pci",
                "<address slot='0x55'/>",
                "slot='0x55', must be <= 0x1F",
            ),
            (
                "pci",
                "<address bus='-1'/>",
                "attribute 'bus' in element 'address': '-1'",
            ),
            (
                "usb",
                "<address device='1'/>",
                "Missing required attribute 'bus'",
            ),
            (
                "usb",
                "<address bus='1'/>",
                "Missing required attribute 'device'",
            ),
            ("usb", "<vendor id='1'/>", "missing product"),
            (
                "usb",
                "<vendor id='0'/><product id='1'/>",
                "Zero is not permitted",
            ),
            (
                "scsi",
                "<adapter name='scsi_host0'/>",
                "'address' must be specified",
            ),
            (
                "scsi",
                "<address bus='0' target='0' unit='0'/>",
                "'adapter' name must be",
            ),
            (
                "scsi",
                "<adapter name='h'/><address bus='0' unit='0'/>",
                "attribute 'target'",
            ),
            ("mdev", "<address/>", "Missing 'uuid' attribute"),
        ] {
            let error = read(kind, &source(inside)).expect_err(inside);
            assert!(error.message.contains(words), "{error}");
        }
        let wwpn = |digits| format!("<source protocol='vhost' wwpn='naa.{digits}'/>");
        assert!(read("scsi_host", &wwpn("5123456789abcde")).is_err());
        assert!(read("scsi_host", &wwpn("5123456789abcde0")).is_ok());
    }

    #[test]
    fn numbers_of_any_notation_are_written_as_libvirt_does() {
        for (kind, inside, shown) in [
            (
                "usb",
                "<address bus='0x01' device='0x12'/>",
                "<address bus='1' device='18'/>",
            ),
            (
                "pci",
                "<address bus='10' slot='1'/>",
                "<address bus='0x0a' slot='0x01'/>",
            ),
            (
                "scsi",
                "<adapter name='h'/><address bus='0x1' target='010' unit='0x3'/>",
                "<address bus='1' target='8' unit='3'/>",
            ),
        ] {
            let hostdev = read(kind, &source(inside)).expect("right");
            let mut w = XmlWriter::new(XmlFlags::default());
            hostdev.write("hostdev", &mut w);
            let written = w.finish();
            assert!(written.contains(shown), "{written}");
        }
    }
}
