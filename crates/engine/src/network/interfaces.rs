//! Interfaces of the host, as libvirt describes them.

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use model::XmlFlags;
use model::xml::{Mac, XmlWriter};
use std::net::IpAddr;
use sys::link::Link;

/// An interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its hardware address as text.
    pub mac: String,
    /// Whether it is switched on.
    pub active: bool,
    kind: Option<String>,
    mtu: u32,
    addresses: Vec<(IpAddr, u8)>,
    ports: Vec<(String, String)>,
}

impl Engine {
    /// The interfaces of the host, in the order of their names; not those of machines.
    pub fn host_interfaces(&self) -> Result<Vec<HostInterface>> {
        let failed = |e| EngineError::system("cannot list the host's interfaces", e);
        let links = sys::link::links().map_err(failed)?;
        let addresses = sys::link::addresses().map_err(failed)?;
        let mac_of = |link: &Link| Mac(link.mac.unwrap_or_default()).to_string();
        let mut found: Vec<HostInterface> = links
            .iter()
            .filter(|link| link.kind.as_deref() != Some("tun"))
            .map(|link| HostInterface {
                name: link.name.clone(),
                mac: mac_of(link),
                active: link.up,
                kind: link.kind.clone(),
                mtu: link.mtu,
                addresses: addresses
                    .iter()
                    .filter(|a| a.index == link.index)
                    .map(|a| (a.address, a.prefix))
                    .collect(),
                ports: links
                    .iter()
                    .filter(|port| port.master == Some(link.index))
                    .map(|port| (port.name.clone(), mac_of(port)))
                    .collect(),
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

impl Engine {
    /// Switches an interface of the host on or off.
    pub fn switch_host_interface(&self, name: &str, on: bool) -> Result<()> {
        let there = sys::net::is_up(name).is_ok_and(|up| up == on);
        if there {
            let state = if on { "active" } else { "inactive" };
            return Err(EngineError::invalid(format!(
                "interface '{name}' is already {state}"
            )));
        }
        sys::net::set_up(name, on)
            .map_err(|e| EngineError::system("cannot switch the interface", e))
    }
}

impl HostInterface {
    /// Its description.
    pub fn xml(&self) -> String {
        let bridge = self.kind.as_deref() == Some("bridge");
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("interface");
        w.attr_str("type", if bridge { "bridge" } else { "ethernet" });
        w.attr_str("name", &self.name);
        w.begin("mtu");
        w.attr_str("size", &self.mtu.to_string());
        w.end("mtu");
        w.begin("mac");
        w.attr_str("address", &self.mac);
        w.end("mac");
        w.begin("link");
        w.attr_str("state", if self.active { "up" } else { "down" });
        w.end("link");
        for (family, ipv6) in [("ipv4", false), ("ipv6", true)] {
            let own = self.addresses.iter().filter(|(a, _)| a.is_ipv6() == ipv6);
            let own: Vec<_> = own.collect();
            if own.is_empty() {
                continue;
            }
            w.begin("protocol");
            w.attr_str("family", family);
            for (address, prefix) in own {
                w.begin("ip");
                w.attr_str("address", &address.to_string());
                w.attr_str("prefix", &prefix.to_string());
                w.end("ip");
            }
            w.end("protocol");
        }
        if bridge {
            w.begin("bridge");
            for (name, mac) in &self.ports {
                w.begin("interface");
                w.attr_str("type", "ethernet");
                w.attr_str("name", name);
                w.begin("mac");
                w.attr_str("address", mac);
                w.end("mac");
                w.end("interface");
            }
            w.end("bridge");
        }
        w.end("interface");
        w.finish()
    }
}
