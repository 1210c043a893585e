//! Where a device sits: on PCI, on a disk controller, on USB and so on.

use super::address_ranges;
use crate::xml::{
    Decimal, Element, Hex, Node, OnOff, Scalar, XmlError, XmlErrorKind, XmlWriter, element, keyword,
};

element! {
    /// The identifiers of a PCI device on z/Architecture.
    pub struct ZpciAddress {
        attr uid: Option<Hex<4>> = "uid",
        attr fid: Option<Hex<8>> = "fid",
    }
    check address_ranges::check_zpci
}

element! {
    /// A place on a PCI bus.
    pub struct PciAddress {
        always domain: Hex<4> = "domain",
        always bus: Hex<2> = "bus",
        always slot: Hex<2> = "slot",
        always function: Hex<1> = "function",
        attr multifunction: Option<OnOff> = "multifunction",
        child zpci: Option<ZpciAddress> = "zpci",
    }
    check address_ranges::check_pci
}

impl PciAddress {
    /// Function `function` of `slot` on `bus`.
    pub fn new(bus: u32, slot: u32, function: u32) -> Self {
        PciAddress {
            bus: Hex(bus.into()),
            slot: Hex(slot.into()),
            function: Hex(function.into()),
            ..PciAddress::default()
        }
    }

    /// Reads `0000:04:10.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (place, function) = text.split_once('.')?;
        let mut numbers = place.split(':').map(|part| u64::from_str_radix(part, 16));
        let address = PciAddress {
            domain: Hex(numbers.next()?.ok()?),
            bus: Hex(numbers.next()?.ok()?),
            slot: Hex(numbers.next()?.ok()?),
            function: Hex(u64::from_str_radix(function, 16).ok()?),
            ..PciAddress::default()
        };
        numbers.next().is_none().then_some(address)
    }

    /// Whether no place was chosen yet (0000:00:00, whatever the function).
    pub fn is_empty(&self) -> bool {
        self.domain.0 == 0 && self.bus.0 == 0 && self.slot.0 == 0
    }

    /// Domain, bus, slot and function, without the flags.
    pub fn place(&self) -> (u64, u64, u64, u64) {
        (self.domain.0, self.bus.0, self.slot.0, self.function.0)
    }
}

impl std::fmt::Display for PciAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (domain, bus, slot, function) = self.place();
        write!(f, "{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
    }
}

element! {
    /// A place on a disk controller.
    pub struct DriveAddress {
        always controller: u32 = "controller",
        always bus: u32 = "bus",
        always target: u32 = "target",
        always unit: u32 = "unit",
    }
}

element! {
    /// A place on a virtio-serial controller.
    pub struct VirtioSerialAddress {
        always controller: u32 = "controller",
        always bus: u32 = "bus",
        always port: u32 = "port",
    }
}

element! {
    /// A place on a smartcard controller.
    pub struct CcidAddress {
        always controller: u32 = "controller",
        always slot: u32 = "slot",
    }
}

element! {
    /// A place on a USB bus; the port is a path through hubs (`1.4`).
    pub struct UsbAddress {
        always bus: u32 = "bus",
        attr port: Option<String> = "port",
    }
    check address_ranges::check_usb
}

element! {
    /// A place on the ISA bus.
    pub struct IsaAddress {
        attr iobase: Option<Hex<1>> = "iobase",
        attr irq: Option<Hex<1>> = "irq",
    }
    check address_ranges::check_isa
}

element! {
    /// A memory slot and the guest address it shows up at.
    pub struct DimmAddress {
        always slot: Decimal = "slot",
        attr base: Option<Hex<1>> = "base",
    }
}

element! {
    /// A place on POWER's virtual I/O bus.
    pub struct SpaprVioAddress {
        attr reg: Option<Hex<8>> = "reg",
    }
}

element! {
    /// A place on z/Architecture's channel subsystem.
    pub struct CcwAddress {
        always cssid: Hex<1> = "cssid",
        always ssid: Hex<1> = "ssid",
        always devno: Hex<4> = "devno",
    }
    check address_ranges::check_ccw
}

keyword! {
    /// The kinds of addresses.
    pub enum AddressType {
        Unassigned = "unassigned",
        Pci = "pci",
        Drive = "drive",
        VirtioSerial = "virtio-serial",
        Ccid = "ccid",
        Usb = "usb",
        Isa = "isa",
        Dimm = "dimm",
        SpaprVio = "spapr-vio",
        VirtioMmio = "virtio-mmio",
        VirtioS390 = "virtio-s390",
        Ccw = "ccw",
    }
}

/// Where a device sits.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Address {
    /// Deliberately nowhere: described, but not given to the guest.
    #[default]
    Unassigned,
    /// On a PCI bus.
    Pci(PciAddress),
    /// On a disk controller.
    Drive(DriveAddress),
    /// On a virtio-serial controller.
    VirtioSerial(VirtioSerialAddress),
    /// On a smartcard controller.
    Ccid(CcidAddress),
    /// On a USB bus.
    Usb(UsbAddress),
    /// On the ISA bus.
    Isa(IsaAddress),
    /// In a memory slot.
    Dimm(DimmAddress),
    /// On POWER's virtual I/O bus.
    SpaprVio(SpaprVioAddress),
    /// In the machine's own memory map.
    VirtioMmio,
    /// On the old s390 virtio bus.
    VirtioS390,
    /// On a channel subsystem.
    Ccw(CcwAddress),
}

impl Address {
    /// Which kind of address this is.
    pub fn kind(&self) -> AddressType {
        match self {
            Address::Unassigned => AddressType::Unassigned,
            Address::Pci(_) => AddressType::Pci,
            Address::Drive(_) => AddressType::Drive,
            Address::VirtioSerial(_) => AddressType::VirtioSerial,
            Address::Ccid(_) => AddressType::Ccid,
            Address::Usb(_) => AddressType::Usb,
            Address::Isa(_) => AddressType::Isa,
            Address::Dimm(_) => AddressType::Dimm,
            Address::SpaprVio(_) => AddressType::SpaprVio,
            Address::VirtioMmio => AddressType::VirtioMmio,
            Address::VirtioS390 => AddressType::VirtioS390,
            Address::Ccw(_) => AddressType::Ccw,
        }
    }

    fn empty(kind: AddressType) -> Self {
        match kind {
            AddressType::Unassigned => Address::Unassigned,
            AddressType::Pci => Address::Pci(PciAddress::default()),
            AddressType::Drive => Address::Drive(DriveAddress::default()),
            AddressType::VirtioSerial => Address::VirtioSerial(VirtioSerialAddress::default()),
            AddressType::Ccid => Address::Ccid(CcidAddress::default()),
            AddressType::Usb => Address::Usb(UsbAddress::default()),
            AddressType::Isa => Address::Isa(IsaAddress::default()),
            AddressType::Dimm => Address::Dimm(DimmAddress::default()),
            AddressType::SpaprVio => Address::SpaprVio(SpaprVioAddress::default()),
            AddressType::VirtioMmio => Address::VirtioMmio,
            AddressType::VirtioS390 => Address::VirtioS390,
            AddressType::Ccw => Address::Ccw(CcwAddress::default()),
        }
    }

    /// The part that is written inside the element, if the kind has one.
    fn part(&mut self) -> Option<&mut dyn AddressPart> {
        match self {
            Address::Unassigned | Address::VirtioMmio | Address::VirtioS390 => None,
            Address::Pci(a) => Some(a),
            Address::Drive(a) => Some(a),
            Address::VirtioSerial(a) => Some(a),
            Address::Ccid(a) => Some(a),
            Address::Usb(a) => Some(a),
            Address::Isa(a) => Some(a),
            Address::Dimm(a) => Some(a),
            Address::SpaprVio(a) => Some(a),
            Address::Ccw(a) => Some(a),
        }
    }
}

/// The methods of [`Element`] that one kind of address needs, as an object.
trait AddressPart {
    fn attribute(&mut self, node: Node, name: &str, value: &str) -> Result<bool, XmlError>;
    fn child(&mut self, child: Node) -> Result<bool, XmlError>;
    fn finish(&mut self, node: Node) -> Result<(), XmlError>;
}

impl<T: Element> AddressPart for T {
    fn attribute(&mut self, node: Node, name: &str, value: &str) -> Result<bool, XmlError> {
        self.take_attribute(node, name, value)
    }

    fn child(&mut self, child: Node) -> Result<bool, XmlError> {
        self.take_child(child)
    }

    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        Element::finish(self, node)
    }
}

impl Element for Address {
    fn parse(node: Node) -> Result<Self, XmlError> {
        let word = node
            .attribute("type")
            .ok_or_else(|| node.missing_attribute("type"))?;
        let Some(kind) = AddressType::parse(word) else {
            return Err(node.attribute_error(
                "type",
                XmlErrorKind::Invalid,
                format!("XML error: unknown address type '{word}'"),
            ));
        };
        let mut address = Address::empty(kind);
        for (name, value) in node.attributes().filter(|(name, _)| *name != "type") {
            let known = address
                .part()
                .map_or(Ok(false), |p| p.attribute(node, name, value))?;
            if !known {
                return Err(node.unknown_attribute(name));
            }
        }
        for child in node.children() {
            if !address.part().map_or(Ok(false), |p| p.child(child))? {
                return Err(child.unknown_element());
            }
        }
        address.part().map_or(Ok(()), |part| part.finish(node))?;
        Ok(address)
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        w.attr("type", &self.kind());
        match self {
            Address::Unassigned | Address::VirtioMmio | Address::VirtioS390 => {}
            Address::Pci(a) => a.write_attributes(w),
            Address::Drive(a) => a.write_attributes(w),
            Address::VirtioSerial(a) => a.write_attributes(w),
            Address::Ccid(a) => a.write_attributes(w),
            Address::Usb(a) => a.write_attributes(w),
            Address::Isa(a) => a.write_attributes(w),
            Address::Dimm(a) => a.write_attributes(w),
            Address::SpaprVio(a) => a.write_attributes(w),
            Address::Ccw(a) => a.write_attributes(w),
        }
    }

    fn write_children(&self, w: &mut XmlWriter) {
        if let Address::Pci(pci) = self {
            pci.write_children(w);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{XmlFlags, expect_root, parse_document};

    fn round_trip(xml: &str) -> Result<String, XmlError> {
        let document = parse_document(xml)?;
        let address = Address::parse(expect_root(&document, "address")?)?;
        let mut w = XmlWriter::new(XmlFlags::default());
        address.write("address", &mut w);
        Ok(w.finish())
    }

    #[test]
    fn pci_is_written_in_full() {
        assert_eq!(
            round_trip("<address type='pci' slot='3' bus='0x1'/>").unwrap(),
            "<address type='pci' domain='0x0000' bus='0x01' slot='0x03' function='0x0'/>\n"
        );
    }

    #[test]
    fn an_attribute_of_another_kind_is_refused_by_name() {
        let error = round_trip("<address type='pci' unit='3'/>").unwrap_err();
        assert_eq!(error.kind, XmlErrorKind::Unknown);
        assert!(error.message.contains("'unit'"), "{error}");
        assert_eq!((error.line, error.column), (1, 21));
    }
}
