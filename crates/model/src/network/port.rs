//! `<networkport>`: what one interface has of a network.

use uuid::Uuid;

use crate::domain::interface::{Bandwidth, MacElement, PortIsolation, VirtualPort, Vlan};
use crate::xml::{
    Element, XmlError, XmlFlags, XmlWriter, YesNo, element, expect_root, parse_document,
};

element! {
    /// The machine a port belongs to.
    pub struct PortOwner {
        must name: String = "name",
        must uuid: Uuid = "uuid",
    }
}

element! {
    /// Whether a machine may change its filters.
    pub struct RxFilters {
        req trust_guest: YesNo = "trustGuest",
    }
}

element! {
    /// What a port is plugged into.
    pub struct PortPlug {
        req kind: String = "type",
        attr bridge: Option<String> = "bridge",
        attr dev: Option<String> = "dev",
        attr mode: Option<String> = "mode",
        attr mac_table_manager: Option<super::MacTableManager> = "macTableManager",
    }
}

element! {
    /// What one interface has of a network.
    pub struct NetworkPort {
        leaf uuid: Option<Uuid> = "uuid",
        part owner: PortOwner = "owner",
        leaf group: Option<String> = "group",
        child mac: Option<MacElement> = "mac",
        child virtualport: Option<VirtualPort> = "virtualport",
        child bandwidth: Option<Bandwidth> = "bandwidth",
        child vlan: Option<Vlan> = "vlan",
        child isolation: Option<PortIsolation> = "port",
        child rx_filters: Option<RxFilters> = "rxfilters",
        child plug: Option<PortPlug> = "plug",
    }
}

impl NetworkPort {
    /// Reads a port.
    pub fn parse(xml: &str) -> Result<NetworkPort, XmlError> {
        let document = parse_document(xml)?;
        Element::parse(expect_root(&document, "networkport")?)
    }

    /// Writes it as libvirt shows it.
    pub fn to_xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        self.write("networkport", &mut w);
        w.finish()
    }
}
