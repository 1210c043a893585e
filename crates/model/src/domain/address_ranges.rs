//! What the numbers of an address may be, whichever document it stands in.

use super::address::{CcwAddress, IsaAddress, PciAddress, UsbAddress, ZpciAddress};
use crate::xml::{Node, Scalar, XmlError, XmlErrorKind};

/// The highest bus of a PCI domain.
const PCI_BUS_MAX: u64 = 0xff;
/// The highest slot of a PCI bus.
const PCI_SLOT_MAX: u64 = 0x1f;
/// The highest function of a PCI slot.
const PCI_FUNCTION_MAX: u64 = 7;
/// The highest channel subsystem image.
const CCW_CSSID_MAX: u64 = 0xfe;
/// The highest set of subchannels.
const CCW_SSID_MAX: u64 = 3;
/// The highest device number of a set of subchannels.
const CCW_DEVNO_MAX: u64 = 0xffff;
/// Hubs that a port can lie behind, and the port itself.
const USB_PORT_DEPTH_MAX: usize = 4;

/// The number in attribute `name`, where libvirt takes 32 bits for it.
pub(super) fn fits_32_bits(node: Node, name: &str, number: u64) -> Result<(), XmlError> {
    match u32::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(not_a_number(node, name)),
    }
}

/// Attribute `name` is none of the numbers it can be.
pub(super) fn not_a_number(node: Node, name: &str) -> XmlError {
    let message = format!(
        "XML error: Invalid value for attribute '{name}' in element '{}': '{}'. {}",
        node.name(),
        node.attribute(name).unwrap_or_default(),
        <u32 as Scalar>::EXPECTED
    );
    node.attribute_error(name, XmlErrorKind::Invalid, message)
}

/// The ranges of a PCI address of the host or of a guest; that a guest has the bus is not their
/// business.
pub(super) fn check_pci(address: &PciAddress, node: Node) -> Result<(), XmlError> {
    let (domain, bus, slot, function) = address.place();
    check_pci_place(node, [domain, bus, slot, function])
}

/// The same, of domain, bus, slot and function.
pub(super) fn check_pci_place(node: Node, place: [u64; 4]) -> Result<(), XmlError> {
    for (name, number) in ["domain", "bus", "slot", "function"].iter().zip(place) {
        fits_32_bits(node, name, number)?;
    }
    let [domain, bus, slot, function] = place;
    if (domain, bus, slot) == (0, 0, 0) {
        // No place yet.
        return Ok(());
    }
    let (name, fault) = if bus > PCI_BUS_MAX {
        ("bus", format!("bus='0x{bus:x}', must be <= 0xFF"))
    } else if slot > PCI_SLOT_MAX {
        ("slot", format!("slot='0x{slot:x}', must be <= 0x1F"))
    } else if function > PCI_FUNCTION_MAX {
        (
            "function",
            format!("function=0x{function:x}, must be <= {PCI_FUNCTION_MAX}"),
        )
    } else {
        return Ok(());
    };
    Err(node.attribute_error(
        name,
        XmlErrorKind::Invalid,
        format!("XML error: Invalid PCI address {fault}"),
    ))
}

pub(super) fn check_zpci(address: &ZpciAddress, node: Node) -> Result<(), XmlError> {
    fits_32_bits(node, "uid", address.uid.unwrap_or_default().0)?;
    fits_32_bits(node, "fid", address.fid.unwrap_or_default().0)
}

pub(super) fn check_isa(address: &IsaAddress, node: Node) -> Result<(), XmlError> {
    fits_32_bits(node, "iobase", address.iobase.unwrap_or_default().0)?;
    fits_32_bits(node, "irq", address.irq.unwrap_or_default().0)
}

/// All three numbers of a channel's address are given, or none.
pub(super) fn check_ccw(address: &CcwAddress, node: Node) -> Result<(), XmlError> {
    let (cssid, ssid, devno) = (address.cssid.0, address.ssid.0, address.devno.0);
    let parts = [("cssid", cssid), ("ssid", ssid), ("devno", devno)];
    for (name, number) in parts {
        fits_32_bits(node, name, number)?;
    }
    if cssid > CCW_CSSID_MAX || ssid > CCW_SSID_MAX || devno > CCW_DEVNO_MAX {
        return Err(internal(
            node,
            format!(
                "Invalid specification for virtio ccw address: cssid='0x{cssid:x}' \
                 ssid='0x{ssid:x}' devno='0x{devno:04x}'"
            ),
        ));
    }
    let given = parts.iter().filter(|part| node.attribute(part.0).is_some());
    match given.count() {
        0 | 3 => Ok(()),
        _ => Err(internal(
            node,
            "Invalid partial specification for virtio ccw address".to_owned(),
        )),
    }
}

/// A port is numbers with dots between them.
pub(super) fn check_usb(address: &UsbAddress, node: Node) -> Result<(), XmlError> {
    let Some(port) = &address.port else {
        return Ok(());
    };
    let is_number = |part: &str| part.parse::<u32>().is_ok() && !part.starts_with('+');
    let fits = port.split('.').count() <= USB_PORT_DEPTH_MAX && port.split('.').all(is_number);
    if fits {
        return Ok(());
    }
    Err(internal(
        node,
        "Cannot parse <address> 'port' attribute".to_owned(),
    ))
}

/// A refusal that libvirt calls an internal error.
pub(super) fn internal(node: Node, message: String) -> XmlError {
    node.error(
        XmlErrorKind::Unsupported,
        format!("internal error: {message}"),
    )
}

#[cfg(test)]
mod tests {
    use crate::domain::address::Address;
    use crate::network::Network;
    use crate::xml::{Element, expect_root, parse_document};

    /// What is said of an address with these attributes.
    fn refusal(attributes: &str) -> Option<String> {
        let xml = format!("<address {attributes}/>");
        let document = parse_document(&xml).expect("well formed");
        let root = expect_root(&document, "address").expect("an address");
        Address::parse(root).err().map(|error| error.message)
    }

    #[test]
    fn numbers_beyond_what_there_can_be_are_refused_by_name() {
        for (attributes, words) in [
            (
                "type='pci' slot='0x55'",
                "Invalid PCI address slot='0x55', must be <= 0x1F",
            ),
            (
                "type='pci' bus='256' slot='1'",
                "Invalid PCI address bus='0x100', must be <= 0xFF",
            ),
            (
                "type='pci' slot='1' function='8'",
                "Invalid PCI address function=0x8, must be <= 7",
            ),
            ("type='pci' domain='0x1000000000'", "attribute 'domain'"),
            (
                "type='ccw' cssid='0xff' ssid='0' devno='1'",
                "cssid='0xff' ssid='0x0' devno='0x0001'",
            ),
            ("type='ccw' cssid='0xfe'", "partial specification"),
            (
                "type='usb' bus='0' port='1.2.3.4.5'",
                "Cannot parse <address> 'port'",
            ),
            (
                "type='usb' bus='0' port='1.'",
                "Cannot parse <address> 'port'",
            ),
        ] {
            let said = refusal(attributes).expect("refused");
            assert!(said.contains(words), "{said}");
        }
        for attributes in [
            "type='pci' domain='0x10000' bus='0xff' slot='0x1f' function='7'",
            "type='pci' function='9'",
            "type='ccw' cssid='0xfe' ssid='3' devno='0xffff'",
            "type='usb' bus='0' port='1.2.3.4'",
        ] {
            assert_eq!(refusal(attributes), None, "{attributes}");
        }
    }

    #[test]
    fn a_networks_functions_are_looked_at_too() {
        let network = |slot: &str| {
            Network::parse(&format!(
                "<network><name>x</name><forward mode='hostdev'>\
                 <address type='pci' domain='0' bus='3' slot='{slot}' function='1'/>\
                 </forward></network>"
            ))
        };
        let error = network("0x20").expect_err("no such slot");
        assert!(error.message.contains("slot='0x20'"), "{error}");
        assert!(network("0x1f").is_ok());
    }
}
