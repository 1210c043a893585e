//! `<filterbinding>`: the filter of one device, and whose the device is.

use crate::domain::interface::{FilterRef, MacElement};
use crate::network::port::PortOwner;
use crate::xml::{Element, XmlError, XmlFlags, XmlWriter, element, expect_root, parse_document};

element! {
    /// A device of the host.
    pub struct Device {
        req name: String = "name",
    }
}

element! {
    /// Which device a filter is for.
    pub struct Binding {
        part owner: PortOwner = "owner",
        part portdev: Device = "portdev",
        child linkdev: Option<Device> = "linkdev",
        part mac: MacElement = "mac",
        part filterref: FilterRef = "filterref",
    }
}

impl Binding {
    /// Reads a binding.
    pub fn parse(xml: &str) -> Result<Binding, XmlError> {
        let document = parse_document(xml)?;
        let root = expect_root(&document, "filterbinding")?;
        let mut binding: Binding = Element::parse(root)?;
        for name in ["owner", "portdev", "mac", "filterref"] {
            root.child(name).ok_or_else(|| root.missing_child(name))?;
        }
        if let Some(node) = root.child("filterref") {
            binding.filterref = super::reference(node)?;
        }
        Ok(binding)
    }

    /// Writes it as libvirt shows it.
    pub fn to_xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        self.write("filterbinding", &mut w);
        w.finish()
    }
}
