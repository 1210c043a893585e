//! What each machine's own device may send and receive: rules of family `bridge`.
//!
//! The kernel need not track connections of bridges for this: TCP is told by
//! the packet that opens a connection, and answers to UDP by a set of the
//! questions the machine has asked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use model::xml::Mac;

use crate::firewall::{Firewall, block, chain_id};
use crate::nwfilter::chains::{Device, DeviceChains};
use crate::nwfilter::{self, DeviceFilter, FilterError};
use crate::sets;
use model::network::policy::{Peer, Policy, Service, ports_text};

/// How long an answer to UDP may come, in seconds.
pub const UDP_ANSWER_TIMEOUT_S: u32 = 120;

/// A machine's device on the host, and what it may do.
#[derive(Debug, Clone, PartialEq)]
pub struct MachinePort {
    /// The device.
    pub device: String,
    /// The machine's card.
    pub mac: Mac,
    /// What it may call itself; none where that is left to it.
    pub guard: Option<Guard>,
    /// What it may receive.
    pub policy: Policy,
    /// How much it may send: KiB per second, and KiB at once.
    pub sending: Option<(u64, u64)>,
    /// Its address, where one is known.
    pub address: Option<IpAddr>,
    /// The network filter of the card, or why it cannot be.
    pub filter: Option<Result<DeviceFilter, FilterError>>,
}

impl MachinePort {
    /// The chains of its network filter; refused where that cannot be.
    pub fn filter_chains(&self, rejects: bool) -> Result<Option<DeviceChains>, FilterError> {
        let device = Device {
            name: &self.device,
            mac: self.mac,
            rejects,
        };
        match &self.filter {
            None => Ok(None),
            Some(Ok(filter)) => DeviceChains::of(device, filter).map(Some),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    fn is_ruled(&self) -> bool {
        self.guard.is_some() || self.policy.drop_inbound || self.sending.is_some()
    }
}

/// Addresses a machine may send from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    /// The networks its address must lie in.
    pub nets: Vec<(IpAddr, u8)>,
    /// The host's own addresses there, which it must not take.
    pub gateways: Vec<IpAddr>,
}

/// The rules of all machines.
pub(crate) fn table(firewall: &Firewall, out: &mut String) {
    let ports = &firewall.machines;
    let ruled: Vec<&MachinePort> = ports.iter().filter(|port| port.is_ruled()).collect();
    let filters = filters(firewall);
    if ruled.is_empty() && filters.is_empty() {
        return;
    }
    let _ = writeln!(out, "table bridge {} {{", firewall.table);
    sets::declare(firewall, out);
    groups(ports, out);
    nwfilter::chains::write(&filters, out);
    if !ruled.is_empty() {
        policies(&ruled, out);
    }
    out.push_str("}\n");
}

/// The chains of network filters. One that cannot be made lets nothing through:
/// it was refused before, so this is a definition that has changed since.
fn filters(firewall: &Firewall) -> Vec<(&str, DeviceChains)> {
    let ports = firewall.machines.iter();
    ports
        .filter_map(|port| {
            let chains = port
                .filter_chains(firewall.rejects)
                .unwrap_or_else(|_| Some(DeviceChains::closed(&port.device)))?;
            Some((port.device.as_str(), chains))
        })
        .collect()
}

fn policies(ruled: &[&MachinePort], out: &mut String) {
    let guards = guards(ruled);
    for (number, guard) in guards.iter().enumerate() {
        block(out, &format!("guard_{number}"), &guarding(guard));
    }
    for port in ruled {
        let id = chain_id(&port.device);
        if port.policy.drop_inbound {
            let _ = writeln!(
                out,
                "\tset asked_{id} {{\n\t\ttype ipv4_addr . inet_service . inet_service\n\t\tflags dynamic,timeout\n\t}}"
            );
        }
        block(out, &format!("from_{id}"), &sending(port, &id, &guards));
        if port.policy.drop_inbound {
            block(out, &format!("to_{id}"), &receiving(port, &id));
        }
    }
    let jump = |direction: &str, ports: &[&MachinePort]| {
        let each = ports.iter().map(|p| {
            format!(
                "\"{}\" : jump {direction}_{}",
                p.device,
                chain_id(&p.device)
            )
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let from = [
        "type filter hook prerouting priority filter; policy accept;".to_owned(),
        format!("iifname vmap {{ {} }}", jump("from", ruled)),
    ];
    block(out, "sending", &from);
    let closed: Vec<&MachinePort> = ruled
        .iter()
        .copied()
        .filter(|p| p.policy.drop_inbound)
        .collect();
    if !closed.is_empty() {
        let to = [
            "type filter hook postrouting priority filter; policy accept;".to_owned(),
            format!("oifname vmap {{ {} }}", jump("to", &closed)),
        ];
        block(out, "receiving", &to);
    }
}

/// The cards of each group, also of groups that are only spoken of.
fn groups(ports: &[MachinePort], out: &mut String) {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for port in ports {
        for group in &port.policy.groups {
            groups.entry(group).or_default().push(port.mac.to_string());
        }
        let peers = port.policy.allows.iter().flat_map(|allow| &allow.from);
        for peer in peers {
            if let Peer::Group(name) = peer {
                groups.entry(name).or_default();
            }
        }
    }
    for (name, mut macs) in groups {
        macs.sort();
        macs.dedup();
        let _ = writeln!(
            out,
            "\tset group_{} {{\n\t\ttype ether_addr",
            chain_id(name)
        );
        if !macs.is_empty() {
            let _ = writeln!(out, "\t\telements = {{ {} }}", macs.join(", "));
        }
        out.push_str("\t}\n");
    }
}

/// Each guard once: machines of one network mostly have the same.
fn guards<'a>(ports: &[&'a MachinePort]) -> Vec<&'a Guard> {
    let mut guards: Vec<&Guard> = Vec::new();
    for guard in ports.iter().filter_map(|port| port.guard.as_ref()) {
        if !guards.contains(&guard) {
            guards.push(guard);
        }
    }
    guards
}

/// What no machine of a network may send, whoever it is.
fn guarding(guard: &Guard) -> Vec<String> {
    // Addresses are given by the host alone.
    let mut rules = vec![
        "ether type ip udp sport 67 udp dport 68 counter drop".to_owned(),
        "ether type ip6 icmpv6 type nd-router-advert counter drop".to_owned(),
    ];
    for ipv4 in [true, false] {
        guard_family(guard, ipv4, &mut rules);
    }
    rules
}

fn sending(port: &MachinePort, id: &str, guards: &[&Guard]) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(guard) = &port.guard {
        let mac = port.mac;
        rules.push(format!("ether saddr != {mac} counter drop"));
        rules.push(format!("arp saddr ether != {mac} counter drop"));
        if let Some(number) = guards.iter().position(|other| *other == guard) {
            rules.push(format!("jump guard_{number}"));
        }
    }
    if let Some((rate, burst)) = port.sending {
        rules.push(format!(
            "limit rate over {rate} kbytes/second burst {burst} kbytes counter drop"
        ));
    }
    if port.policy.drop_inbound {
        rules.push(format!(
            "ether type ip meta l4proto udp update @asked_{id} {{ ip daddr . udp dport . udp sport timeout {UDP_ANSWER_TIMEOUT_S}s }}"
        ));
    }
    rules
}

fn guard_family(guard: &Guard, ipv4: bool, rules: &mut Vec<String>) {
    let nets = guard.nets.iter().filter(|(net, _)| net.is_ipv4() == ipv4);
    let mut nets: Vec<String> = nets
        .map(|(net, prefix)| format!("{net}/{prefix}"))
        .collect();
    if nets.is_empty() {
        return;
    }
    let gateways = guard.gateways.iter().filter(|ip| ip.is_ipv4() == ipv4);
    let gateways: Vec<String> = gateways.map(IpAddr::to_string).collect();
    let gateways = gateways.join(", ");
    if ipv4 {
        // A machine that asks for an address has none yet.
        nets.push("0.0.0.0".into());
        let nets = nets.join(", ");
        rules.push(format!("arp saddr ip != {{ {nets} }} counter drop"));
        rules.push(format!("arp saddr ip {{ {gateways} }} counter drop"));
        rules.push(format!("ip saddr != {{ {nets} }} counter drop"));
        rules.push(format!("ip saddr {{ {gateways} }} counter drop"));
    } else {
        nets.extend(["fe80::/10", "::"].map(str::to_owned));
        rules.push(format!(
            "ip6 saddr != {{ {} }} counter drop",
            nets.join(", ")
        ));
        rules.push(format!("ip6 saddr {{ {gateways} }} counter drop"));
    }
}

fn receiving(port: &MachinePort, id: &str) -> Vec<String> {
    let mut rules = vec![
        "ether type arp accept".to_owned(),
        "ether type ip udp sport 67 udp dport 68 accept".to_owned(),
        "ether type ip6 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, \
         packet-too-big, destination-unreachable, time-exceeded, echo-reply } accept"
            .to_owned(),
        "ether type ip icmp type { echo-reply, destination-unreachable, time-exceeded, \
         parameter-problem } accept"
            .to_owned(),
    ];
    for allow in &port.policy.allows {
        let froms = match allow.from.as_slice() {
            [] => vec![String::new()],
            peers => peers.iter().flat_map(peer_texts).collect(),
        };
        for from in froms {
            rules.extend(
                services(&allow.service)
                    .into_iter()
                    .map(|what| format!("{from}{what}counter accept")),
            );
        }
    }
    // Answers to what the machine has asked.
    rules.push("meta l4proto tcp tcp flags & (syn | ack) != syn accept".into());
    rules.push(format!(
        "ether type ip ip saddr . udp sport . udp dport @asked_{id} accept"
    ));
    let log = match port.policy.log {
        true => format!("log prefix \"stead {} \" ", port.device),
        false => String::new(),
    };
    rules.push(format!("ether type {{ ip, ip6 }} {log}counter drop"));
    rules
}

fn peer_texts(peer: &Peer) -> Vec<String> {
    let text = match peer {
        Peer::Group(name) => format!("ether saddr @group_{} ", chain_id(name)),
        Peer::Set(name) => {
            let of = |family: &str| format!("{family} saddr @{} ", sets::nft_name(name, family));
            return vec![of("ip"), of("ip6")];
        }
        Peer::Net(net, prefix) => {
            let family = if net.is_ipv4() { "ip" } else { "ip6" };
            format!("{family} saddr {net}/{prefix} ")
        }
    };
    vec![text]
}

fn services(service: &Service) -> Vec<String> {
    match service {
        Service::Tcp(ports) => vec![format!("tcp dport {{ {} }} ", ports_text(ports, ", "))],
        Service::Udp(ports) => vec![format!("udp dport {{ {} }} ", ports_text(ports, ", "))],
        Service::TcpSet(name) => vec![format!("tcp dport @{} ", sets::nft_name(name, "ports"))],
        Service::UdpSet(name) => vec![format!("udp dport @{} ", sets::nft_name(name, "ports"))],
        Service::Ping => vec![
            "icmp type echo-request ".to_owned(),
            "icmpv6 type echo-request ".to_owned(),
        ],
        Service::All => vec!["ether type { ip, ip6 } ".to_owned()],
    }
}
