//! How a network's traffic leaves it.

use super::invalid;
use crate::domain::address::PciAddress;
use crate::xml::{Node, XmlError, XmlErrorKind, YesNo, element, keyword};
use std::net::Ipv4Addr;

keyword! {
    /// How a network reaches the world.
    pub enum ForwardMode {
        Nat = "nat",
        Route = "route",
        Open = "open",
        Bridge = "bridge",
        Private = "private",
        Vepa = "vepa",
        Passthrough = "passthrough",
        Hostdev = "hostdev",
    }
}

element! {
    /// The driver of a pool's devices.
    pub struct ForwardDriver {
        attr name: Option<String> = "name",
        attr model: Option<String> = "model",
    }
}

element! {
    /// The addresses that traffic leaves with.
    pub struct NatAddress {
        req start: String = "start",
        req end: String = "end",
    }
}

element! {
    /// The ports that traffic leaves with.
    pub struct NatPort {
        req start: u16 = "start",
        req end: u16 = "end",
    }
}

element! {
    /// How addresses are translated.
    pub struct Nat {
        attr ipv6: Option<YesNo> = "ipv6",
        child address: Option<NatAddress> = "address",
        child port: Option<NatPort> = "port",
    }
}

element! {
    /// A device of the host.
    pub struct ForwardInterface {
        req dev: String = "dev",
        live connections: Option<u32> = "connections",
    }
}

element! {
    /// A PCI device of the host.
    pub struct ForwardAddress {
        req kind: String = "type",
        flat pci: PciAddress,
        live connections: Option<u32> = "connections",
    }
}

element! {
    /// How a network's traffic leaves it.
    pub struct Forward {
        attr dev: Option<String> = "dev",
        always mode: ForwardMode = "mode",
        attr managed: Option<YesNo> = "managed",
        child driver: Option<ForwardDriver> = "driver",
        child nat: Option<Nat> = "nat",
        list pfs: Vec<ForwardInterface> = "pf",
        list interfaces: Vec<ForwardInterface> = "interface",
        list addresses: Vec<ForwardAddress> = "address",
    }
}

impl Forward {
    /// Whether devices of the host are named.
    pub fn has_devices(&self) -> bool {
        !(self.pfs.is_empty() && self.interfaces.is_empty() && self.addresses.is_empty())
    }

    /// The first device and `dev` are the same thing said twice.
    pub(super) fn normalise(&mut self, root: Node) -> Result<(), XmlError> {
        let node = root.child("forward").unwrap_or(root);
        self.managed = self.managed.filter(|managed| managed.is_yes());
        if let Some(nat) = &mut self.nat {
            nat.ipv6 = nat.ipv6.filter(|ipv6| ipv6.is_yes());
        }
        self.check_lists(node)?;
        if let Some(dev) = &self.dev {
            match self.interfaces.first() {
                Some(first) if first.dev != *dev => {
                    return Err(invalid(
                        node,
                        format!(
                            "forward dev '{dev}' must match first interface element dev '{}' in network",
                            first.dev
                        ),
                    ));
                }
                Some(_) => {}
                None => self.interfaces.push(ForwardInterface {
                    dev: dev.clone(),
                    connections: None,
                }),
            }
        }
        self.show_first();
        self.check_nat(node)
    }

    /// Writes the first device as `dev` too, as libvirt does.
    pub(super) fn show_first(&mut self) {
        self.dev = self.interfaces.first().map(|first| first.dev.clone());
    }

    fn check_lists(&self, node: Node) -> Result<(), XmlError> {
        let kinds = [
            !self.interfaces.is_empty() || self.dev.is_some(),
            !self.addresses.is_empty(),
            !self.pfs.is_empty(),
        ];
        if kinds.into_iter().filter(|given| *given).count() > 1 {
            return Err(invalid(
                node,
                "<address>, <interface>, and <pf> elements of <forward> in network are mutually \
                 exclusive",
            ));
        }
        if self.pfs.len() > 1 {
            return Err(invalid(
                node,
                "Only one <pf> element is allowed in <forward> of network",
            ));
        }
        for (at, interface) in self.interfaces.iter().enumerate() {
            let earlier = &self.interfaces[..at];
            if earlier.iter().any(|other| other.dev == interface.dev) {
                return Err(invalid(
                    node,
                    format!(
                        "interface '{}' can only be listed once in network",
                        interface.dev
                    ),
                ));
            }
        }
        for (at, address) in self.addresses.iter().enumerate() {
            let earlier = &self.addresses[..at];
            if earlier
                .iter()
                .any(|other| other.pci.place() == address.pci.place())
            {
                return Err(invalid(
                    node,
                    format!(
                        "PCI device '{}' can only be listed once in network",
                        address.pci
                    ),
                ));
            }
            if address.kind != "pci" {
                return Err(node.error(
                    XmlErrorKind::Unsupported,
                    format!(
                        "unsupported configuration: unknown address type '{}' in network",
                        address.kind
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_nat(&self, node: Node) -> Result<(), XmlError> {
        let Some(nat) = &self.nat else {
            return Ok(());
        };
        if self.mode != ForwardMode::Nat {
            return Err(invalid(
                node,
                "The <nat> element can only be used when <forward> 'mode' is 'nat' in network",
            ));
        }
        if let Some(address) = &nat.address {
            let ends = [&address.start, &address.end].map(|text| text.parse::<Ipv4Addr>());
            let [Ok(start), Ok(end)] = ends else {
                return Err(invalid(
                    node,
                    format!(
                        "Bad ipv4 address '{}'-'{}' in <nat> in <forward> in network",
                        address.start, address.end
                    ),
                ));
            };
            if start > end {
                return Err(invalid(
                    node,
                    format!("<nat> address range {start}-{end} ends before it starts"),
                ));
            }
        }
        match &nat.port {
            Some(port) if port.start > port.end || port.start == 0 => Err(invalid(
                node,
                format!("<nat> port range {}-{} is none", port.start, port.end),
            )),
            _ => Ok(()),
        }
    }
}
