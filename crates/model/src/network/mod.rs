//! Networks: libvirt's `<network>` as typed tables.
//!
//! [`Network::parse`] reads what a person wrote, [`Network::complete`] fills
//! in what libvirt fills in and refuses what cannot be, [`Network::to_xml`]
//! writes it back. [`update`] changes one section in place, [`port`] is the
//! `<networkport>` of one interface on a network.

mod check;
pub mod dns;
pub mod forward;
pub mod ip;
pub mod policy;
pub mod port;
pub mod route;
pub mod text;
pub mod update;

use uuid::Uuid;

use crate::domain::interface::{Bandwidth, Mtu, PortIsolation, Route, VirtualPort, Vlan};
use crate::metadata::Metadata;
use crate::xml::{
    DNSMASQ_NAMESPACE, Element, Mac, Node, OnOff, XmlError, XmlErrorKind, XmlFlags, XmlWriter,
    YesNo, element, expect_root, keyword, parse_document,
};
use dns::Dns;
use forward::{Forward, ForwardMode};
use ip::NetworkIp;

keyword! {
    /// Who fills in the table by which a bridge knows its neighbours.
    pub enum MacTableManager {
        Kernel = "kernel",
        Libvirt = "libvirt",
    }
}

element! {
    /// The bridge of a network.
    pub struct Bridge {
        attr name: Option<String> = "name",
        attr zone: Option<String> = "zone",
        attr stp: Option<OnOff> = "stp",
        attr delay: Option<u32> = "delay",
        attr mac_table_manager: Option<MacTableManager> = "macTableManager",
    }
}

element! {
    /// The hardware address of a network's bridge.
    pub struct BridgeMac {
        req address: Mac = "address",
    }
}

element! {
    /// The domain names of a network end in.
    pub struct DnsDomain {
        req name: String = "name",
        attr local_only: Option<YesNo> = "localOnly",
        attr register: Option<YesNo> = "register",
    }
}

element! {
    /// Settings that interfaces choose by name.
    pub struct PortGroup {
        req name: String = "name",
        attr default: Option<YesNo> = "default",
        attr trust_guest_rx_filters: Option<YesNo> = "trustGuestRxFilters",
        child isolation: Option<PortIsolation> = "port",
        child vlan: Option<Vlan> = "vlan",
        child virtualport: Option<VirtualPort> = "virtualport",
        child bandwidth: Option<Bandwidth> = "bandwidth",
    }
}

element! {
    /// A line of dnsmasq's own configuration.
    pub struct DnsmasqOption {
        req value: String = "value",
    }
}

element! {
    /// Lines of dnsmasq's own configuration.
    pub struct DnsmasqOptions {
        list options: Vec<DnsmasqOption> = "dnsmasq:option",
    }
}

element! {
    /// The definition of a network.
    pub struct Network {
        live connections: Option<u32> = "connections",
        attr ipv6: Option<YesNo> = "ipv6",
        attr trust_guest_rx_filters: Option<YesNo> = "trustGuestRxFilters",
        must name: String = "name",
        leaf uuid: Option<Uuid> = "uuid",
        leaf title: Option<String> = "title",
        leaf description: Option<String> = "description",
        child metadata: Option<Metadata> = "metadata",
        child forward: Option<Forward> = "forward",
        child bridge: Option<Bridge> = "bridge",
        child mtu: Option<Mtu> = "mtu",
        child mac: Option<BridgeMac> = "mac",
        child domain: Option<DnsDomain> = "domain",
        child dns: Option<Dns> = "dns",
        child vlan: Option<Vlan> = "vlan",
        child virtualport: Option<VirtualPort> = "virtualport",
        child bandwidth: Option<Bandwidth> = "bandwidth",
        child isolation: Option<PortIsolation> = "port",
        list ips: Vec<NetworkIp> = "ip",
        list routes: Vec<Route> = "route",
        list portgroups: Vec<PortGroup> = "portgroup",
        child dnsmasq: Option<DnsmasqOptions> = "dnsmasq:options",
    }
}

/// How a network reaches the world: the forward mode, with the two cases
/// that have none told apart by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkKind {
    /// No way out: machines and the host reach each other.
    Isolated,
    /// Out through the host's address.
    Nat,
    /// Out by routes others know.
    Route,
    /// As routed, without any rule of ours.
    Open,
    /// On a bridge of the host that is not ours.
    HostBridge,
    /// On a device of the host, through macvtap.
    Direct,
    /// A pool of PCI devices.
    Hostdev,
}

impl NetworkKind {
    /// Whether the bridge is made, addressed and removed by us.
    pub fn owns_bridge(self) -> bool {
        matches!(
            self,
            NetworkKind::Isolated | NetworkKind::Nat | NetworkKind::Route | NetworkKind::Open
        )
    }
}

impl Network {
    /// Reads a definition. What is not known is refused by name and place.
    pub fn parse(xml: &str) -> Result<Network, XmlError> {
        let document = parse_document(xml)?;
        let root = expect_root(&document, "network")?;
        let mut network: Network = Element::parse(root)?;
        network.normalise(root)?;
        Ok(network)
    }

    /// The definition as libvirt shows it.
    pub fn to_xml(&self, flags: XmlFlags) -> String {
        let mut w = XmlWriter::new(flags);
        w.begin("network");
        if self.dnsmasq.is_some() {
            w.attr_str("xmlns:dnsmasq", DNSMASQ_NAMESPACE);
        }
        self.write_attributes(&mut w);
        self.write_children(&mut w);
        w.end("network");
        w.finish()
    }

    /// How it reaches the world.
    pub fn kind(&self) -> NetworkKind {
        let Some(forward) = &self.forward else {
            return NetworkKind::Isolated;
        };
        match forward.mode {
            ForwardMode::Nat => NetworkKind::Nat,
            ForwardMode::Route => NetworkKind::Route,
            ForwardMode::Open => NetworkKind::Open,
            ForwardMode::Hostdev => NetworkKind::Hostdev,
            ForwardMode::Bridge if self.bridge_name().is_some() => NetworkKind::HostBridge,
            ForwardMode::Bridge if forward.has_devices() => NetworkKind::Direct,
            ForwardMode::Bridge => NetworkKind::HostBridge,
            ForwardMode::Private | ForwardMode::Vepa | ForwardMode::Passthrough => {
                NetworkKind::Direct
            }
        }
    }

    /// The bridge's name, once chosen.
    pub fn bridge_name(&self) -> Option<&str> {
        self.bridge.as_ref()?.name.as_deref()
    }

    /// Gives the bridge a name.
    pub fn set_bridge_name(&mut self, name: &str) {
        self.bridge.get_or_insert_with(Bridge::default).name = Some(name.to_owned());
    }

    /// The port group an interface gets: the one it names, else the default one.
    pub fn port_group(&self, name: Option<&str>) -> Option<&PortGroup> {
        match name {
            Some(name) => self.portgroups.iter().find(|group| group.name == name),
            None => self
                .portgroups
                .iter()
                .find(|group| group.default.is_some_and(YesNo::is_yes)),
        }
    }

    /// Whether machines get their addresses from this network.
    pub fn serves_dhcp(&self) -> bool {
        self.ips.iter().any(|ip| ip.dhcp.is_some())
    }

    /// Whether a name server is wanted.
    pub fn serves_dns(&self) -> bool {
        self.dns
            .as_ref()
            .and_then(|dns| dns.enable)
            .is_none_or(YesNo::is_yes)
    }

    /// What libvirt makes of a definition while reading it.
    fn normalise(&mut self, root: Node) -> Result<(), XmlError> {
        self.ipv6 = self.ipv6.filter(|ipv6| ipv6.is_yes());
        self.connections = None;
        if let Some(forward) = &mut self.forward {
            forward.normalise(root)?;
        }
        let owned = self.kind().owns_bridge();
        if owned {
            let bridge = self.bridge.get_or_insert_with(Bridge::default);
            bridge.stp.get_or_insert(OnOff::On);
            bridge.delay.get_or_insert(0);
        }
        if let Some(dns) = &mut self.dns {
            dns.normalise();
        }
        self.dns.take_if(|dns| *dns == Dns::default());
        self.dnsmasq.take_if(|dnsmasq| dnsmasq.options.is_empty());
        check::check(self, root)
    }
}

fn invalid(node: Node, message: impl Into<String>) -> XmlError {
    node.error(
        XmlErrorKind::Invalid,
        format!("XML error: {}", message.into()),
    )
}
