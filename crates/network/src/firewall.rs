//! The nftables tables of one daemon, made of what networks and machines want
//! and changed in one transaction, so that no packet ever meets half of it.
//!
//! One table of family `inet` holds what crosses the host (forwarding, address
//! translation), one of family `bridge` what each machine may send and
//! receive. Both bear the daemon's own name, and no other table is touched.

use std::fmt::Write;
use std::net::IpAddr;

use crate::machine_rules::{self, MachinePort};
use crate::nwfilter::DeviceFilter;
use crate::ruleset::{Ruleset, Table};
use crate::sets::NamedSet;
use model::network::forward::{Forward, Nat};
use model::network::{Network, NetworkKind};
use model::xml::YesNo;

/// A network as its rules need it.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkRules {
    /// Its bridge.
    pub bridge: String,
    /// The definition.
    pub network: Network,
}

/// All there is to say in rules.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Firewall {
    /// The tables' name.
    pub table: String,
    /// Active networks.
    pub networks: Vec<NetworkRules>,
    /// Devices of running machines.
    pub machines: Vec<MachinePort>,
    /// Sets that rules speak of by name.
    pub sets: Vec<NamedSet>,
    /// Whether the kernel can answer on a bridge for what is refused.
    pub rejects: bool,
}

impl Firewall {
    /// The network filters of devices that can have theirs.
    pub fn filters(&self) -> impl Iterator<Item = &DeviceFilter> {
        let ports = self.machines.iter();
        ports.filter_map(|port| port.filter.as_ref()?.as_ref().ok())
    }

    /// Whether addresses of machines are found by watching them.
    pub fn learns(&self) -> bool {
        self.filters().any(|filter| filter.learning.is_some())
    }

    /// The tables that say so.
    pub fn ruleset(&self) -> Ruleset {
        let mut rules = Ruleset {
            name: self.table.clone(),
            ..Ruleset::default()
        };
        let chains: Vec<NetworkChains> =
            self.networks.iter().filter_map(NetworkChains::of).collect();
        if !chains.is_empty() {
            self.crossing(&chains, &mut rules.inet);
        }
        machine_rules::table(self, &mut rules.bridge);
        rules
    }

    fn crossing(&self, networks: &[NetworkChains], table: &mut Table) {
        for network in networks {
            table.chain(format!("in_{}", network.id), network.inward.clone());
            table.chain(format!("out_{}", network.id), network.outward.clone());
        }
        // What stays on a bridge is decided there.
        let within = networks
            .iter()
            .map(|n| format!("iifname \"{0}\" oifname \"{0}\" accept", n.bridge));
        let mut forward: Vec<String> = within.collect();
        for (direction, key) in [("in", "oifname"), ("out", "iifname")] {
            let ways = networks
                .iter()
                .map(|n| (n.bridge.clone(), format!("{direction}_{}", n.id)));
            forward.push(table.ways(&format!("{direction}_ways"), key, ways));
        }
        let hook = "type filter hook forward priority filter; policy accept;";
        table.base("forward", hook, forward);
        let source: Vec<String> = networks.iter().flat_map(|n| n.source.clone()).collect();
        if !source.is_empty() {
            let hook = "type nat hook postrouting priority srcnat; policy accept;";
            table.base("source_nat", hook, source);
        }
        let forwarded: Vec<String> = self.machines.iter().flat_map(destination_rules).collect();
        for (name, hook) in [("forwarded", "prerouting"), ("forwarded_here", "output")] {
            if !forwarded.is_empty() {
                let hook = format!("type nat hook {hook} priority -100; policy accept;");
                table.base(name, &hook, forwarded.clone());
            }
        }
    }
}

/// The ports of the host that lead to a machine whose address is known.
fn destination_rules(port: &MachinePort) -> Vec<String> {
    let Some(IpAddr::V4(address)) = port.address else {
        return Vec::new();
    };
    let forwards = port.policy.forwards.iter();
    let rule = |f: &model::network::policy::Forward| {
        format!(
            "fib daddr type local {} dport {} counter dnat ip to {address}:{}",
            f.protocol, f.port, f.to
        )
    };
    forwards.map(rule).collect()
}

/// A name as part of a chain's: what nft does not take there is written as its number.
pub(crate) fn chain_id(name: &str) -> String {
    let mut id = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => id.push(c),
            c => _ = write!(id, "_{:x}", u32::from(c)),
        }
    }
    id
}

/// The rules of one network.
struct NetworkChains {
    bridge: String,
    id: String,
    /// For what is about to enter: returns where it may.
    inward: Vec<String>,
    /// For what has left.
    outward: Vec<String>,
    source: Vec<String>,
}

impl NetworkChains {
    /// None for networks that cross nothing, or whose crossing is left to others.
    fn of(rules: &NetworkRules) -> Option<NetworkChains> {
        let network = &rules.network;
        let kind = network.kind();
        if !matches!(
            kind,
            NetworkKind::Isolated | NetworkKind::Nat | NetworkKind::Route
        ) {
            return None;
        }
        let mut chains = NetworkChains {
            bridge: rules.bridge.clone(),
            id: chain_id(&rules.bridge),
            inward: Vec::new(),
            outward: Vec::new(),
            source: Vec::new(),
        };
        if let Some(forward) = &network.forward {
            for ip in &network.ips {
                if let (Some(subnet), Some(prefix)) = (ip.network(), ip.prefix_length()) {
                    chains.add(forward, kind, subnet, prefix);
                }
            }
            for route in &network.routes {
                if let Ok(target) = model::network::route::target(route) {
                    chains.add(forward, kind, target.destination, target.prefix);
                }
            }
        }
        // Told at once, rather than left to wait.
        chains.inward.push("counter reject".into());
        chains.outward.push("counter reject".into());
        Some(chains)
    }

    fn add(&mut self, forward: &Forward, kind: NetworkKind, subnet: IpAddr, prefix: u8) {
        let family = if subnet.is_ipv4() { "ip" } else { "ip6" };
        let net = format!("{subnet}/{prefix}");
        let dev = |word: &str| {
            let dev = forward.interfaces.first();
            dev.map_or(String::new(), |dev| format!("{word} \"{}\" ", dev.dev))
        };
        let nat_ipv6 = || {
            let nat = forward.nat.as_ref().and_then(|nat| nat.ipv6);
            nat.is_some_and(YesNo::is_yes)
        };
        let translated = kind == NetworkKind::Nat && (subnet.is_ipv4() || nat_ipv6());
        let state = match translated {
            true => "ct state established,related ",
            false => "",
        };
        self.inward.push(format!(
            "{}{family} daddr {net} {state}counter return",
            dev("iifname")
        ));
        if translated {
            // What a forwarded port led here.
            self.inward.push(format!(
                "{family} daddr {net} ct status dnat counter return"
            ));
            self.translate(forward.nat.as_ref(), family, &net, &dev("oifname"));
        }
        self.outward.push(format!(
            "{}{family} saddr {net} counter accept",
            dev("oifname")
        ));
    }

    fn translate(&mut self, nat: Option<&Nat>, family: &str, net: &str, dev: &str) {
        let from = format!("{family} saddr {net}");
        let (neighbours, everyone) = match family {
            "ip" => ("224.0.0.0/24", "255.255.255.255"),
            _ => ("ff02::/16", ""),
        };
        self.source
            .push(format!("{from} {family} daddr {neighbours} return"));
        if !everyone.is_empty() {
            self.source
                .push(format!("{from} {family} daddr {everyone} return"));
        }
        let range = nat
            .and_then(|nat| nat.port.as_ref())
            .map_or("1024-65535".to_owned(), |p| {
                format!("{}-{}", p.start, p.end)
            });
        let address = nat
            .and_then(|nat| nat.address.as_ref())
            .filter(|_| family == "ip")
            .map(|a| match a.start == a.end {
                true => a.start.clone(),
                false => format!("{}-{}", a.start, a.end),
            });
        let out = format!("{dev}{from} {family} daddr != {net}");
        let (ported, plain) = match address {
            Some(address) => (
                format!("snat {family} to {address}:{range}"),
                format!("snat {family} to {address}"),
            ),
            None => (format!("masquerade to :{range}"), "masquerade".to_owned()),
        };
        for protocol in ["tcp", "udp"] {
            self.source
                .push(format!("{out} meta l4proto {protocol} counter {ported}"));
        }
        self.source.push(format!("{out} counter {plain}"));
    }
}
