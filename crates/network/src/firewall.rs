//! The nftables tables of one daemon: always rendered whole, and replaced in
//! one transaction, so that no packet ever meets half of them.
//!
//! One table of family `inet` holds what crosses the host (forwarding, address
//! translation), one of family `bridge` what each machine may send and
//! receive. Both bear the daemon's own name, and no other table is touched.

use std::fmt::Write;
use std::net::IpAddr;

use crate::machine_rules::{self, MachinePort};
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
    /// The transaction that makes the tables so; with nothing to say, that they are gone.
    pub fn text(&self) -> String {
        let mut out = self.removal();
        let chains: Vec<NetworkChains> =
            self.networks.iter().filter_map(NetworkChains::of).collect();
        if !chains.is_empty() {
            self.crossing(&chains, &mut out);
        }
        machine_rules::table(self, &mut out);
        out
    }

    /// The transaction after which none of the tables is there.
    pub fn removal(&self) -> String {
        let table = &self.table;
        // Deleting needs a table, so it is made first where there is none.
        format!(
            "add table inet {table}\ndelete table inet {table}\n\
             add table bridge {table}\ndelete table bridge {table}\n"
        )
    }

    fn crossing(&self, chains: &[NetworkChains], out: &mut String) {
        let _ = writeln!(out, "table inet {} {{", self.table);
        for chain in chains {
            block(out, &format!("in_{}", chain.id), &chain.inward);
            block(out, &format!("out_{}", chain.id), &chain.outward);
        }
        let mut forward =
            vec!["type filter hook forward priority filter; policy accept;".to_owned()];
        // What stays on a bridge is decided there.
        forward.extend(
            chains
                .iter()
                .map(|c| format!("iifname \"{0}\" oifname \"{0}\" accept", c.bridge)),
        );
        forward.push(format!("oifname vmap {{ {} }}", jumps(chains, "in")));
        forward.push(format!("iifname vmap {{ {} }}", jumps(chains, "out")));
        block(out, "forward", &forward);
        let source: Vec<String> = chains.iter().flat_map(|c| c.source.clone()).collect();
        if !source.is_empty() {
            let mut nat =
                vec!["type nat hook postrouting priority srcnat; policy accept;".to_owned()];
            nat.extend(source);
            block(out, "source_nat", &nat);
        }
        let forwarded: Vec<String> = self.machines.iter().flat_map(destination_rules).collect();
        for (name, hook) in [("forwarded", "prerouting"), ("forwarded_here", "output")] {
            if !forwarded.is_empty() {
                let head = format!("type nat hook {hook} priority -100; policy accept;");
                let rules: Vec<String> = [head].into_iter().chain(forwarded.clone()).collect();
                block(out, name, &rules);
            }
        }
        out.push_str("}\n");
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

pub(crate) fn block(out: &mut String, name: &str, rules: &[String]) {
    let _ = writeln!(out, "\tchain {name} {{");
    for rule in rules {
        let _ = writeln!(out, "\t\t{rule}");
    }
    out.push_str("\t}\n");
}

fn jumps(chains: &[NetworkChains], direction: &str) -> String {
    let each = chains
        .iter()
        .map(|c| format!("\"{}\" : jump {direction}_{}", c.bridge, c.id));
    each.collect::<Vec<_>>().join(", ")
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
        self.source.push(format!(
            "{out} meta l4proto {{ tcp, udp }} counter {ported}"
        ));
        self.source.push(format!("{out} counter {plain}"));
    }
}
