//! What each machine's own device may send and receive: rules of family `bridge`.
//!
//! The kernel need not track connections of bridges for this: TCP is told by
//! the packet that opens a connection, and answers to UDP by a set of the
//! questions the machine has asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::xml::Mac;

use crate::firewall::{Firewall, chain_id};
use crate::nwfilter::chains::{Device, DeviceChains};
use crate::nwfilter::{self, DeviceFilter, FilterError};
use crate::ruleset::{Set, Table, name_of};
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
pub(crate) fn table(firewall: &Firewall, table: &mut Table) {
    let ports = &firewall.machines;
    let ruled: Vec<&MachinePort> = ports.iter().filter(|port| port.is_ruled()).collect();
    let filters = filters(firewall);
    if ruled.is_empty() && filters.is_empty() {
        return;
    }
    sets::declare(firewall, table);
    groups(ports, table);
    nwfilter::chains::write(filters, table);
    if !ruled.is_empty() {
        policies(&ruled, table);
    }
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

fn policies(ruled: &[&MachinePort], table: &mut Table) {
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for port in ruled {
        let device = &port.device;
        senders.extend(sending(port, table).map(|chain| (device.clone(), chain)));
        receivers.extend(receiving(port, table).map(|chain| (device.clone(), chain)));
    }
    let guarded = ruled.iter().filter(|port| port.guard.is_some());
    let cards = guarded.map(|port| format!("\"{}\" . {}", port.device, port.mac));
    table.set(CARDS, Set::of("ifname . ether_addr").filled(cards));
    let mut lead = |name: &str, hook: &str, key: &str, ways: Vec<(String, String)>| {
        let rule = table.ways(&format!("{name}_ways"), key, ways);
        let hook = format!("type filter hook {hook} priority filter; policy accept;");
        table.base(name, &hook, vec![rule]);
    };
    lead("sending", "prerouting", "iifname", senders);
    if !receivers.is_empty() {
        lead("receiving", "postrouting", "oifname", receivers);
        table.chain(ANSWERS, answers());
    }
}

/// The set of the machines' devices, each with its card.
const CARDS: &str = "cards";

/// The cards of each group, also of groups that are only spoken of.
fn groups(ports: &[MachinePort], table: &mut Table) {
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
    for (name, macs) in groups {
        let set = Set::of("ether_addr").filled(macs);
        table.set(format!("group_{}", chain_id(name)), set);
    }
}

/// What no machine of a network may send, whoever it is.
fn guarding(guard: &Guard) -> Vec<String> {
    let mut rules = vec![
        format!("iifname . ether saddr != @{CARDS} counter drop"),
        format!("ether type arp iifname . arp saddr ether != @{CARDS} counter drop"),
        // Addresses are given by the host alone.
        "ether type ip udp sport 67 udp dport 68 counter drop".to_owned(),
        "ether type ip6 icmpv6 type nd-router-advert counter drop".to_owned(),
    ];
    for ipv4 in [true, false] {
        guard_family(guard, ipv4, &mut rules);
    }
    rules
}

/// The chain of what a machine sends, put into `table`: a guard alone is one that machines of a
/// network share.
fn sending(port: &MachinePort, table: &mut Table) -> Option<String> {
    let guard = port.guard.as_ref().map(|guard| {
        let rules = guarding(guard);
        let name = format!("guard_{}", name_of(&rules.join("\n")));
        table.chain(&name, rules);
        name
    });
    let mut rules = Vec::new();
    if let Some((rate, burst)) = port.sending {
        rules.push(format!(
            "limit rate over {rate} kbytes/second burst {burst} kbytes counter drop"
        ));
    }
    if port.policy.drop_inbound {
        let asked = asked_set(port);
        rules.push(format!(
            "ether type ip meta l4proto udp update @{asked} {{ ip daddr . udp dport . udp sport timeout {UDP_ANSWER_TIMEOUT_S}s }}"
        ));
        let set = Set::of_packets("ipv4_addr . inet_service . inet_service", "dynamic,timeout");
        table.set(asked, set);
    }
    if rules.is_empty() {
        return guard;
    }
    rules.splice(0..0, guard.map(|guard| format!("jump {guard}")));
    let name = format!("from_{}", chain_id(&port.device));
    table.chain(&name, rules);
    Some(name)
}

/// The set of the questions over UDP that a machine has asked.
fn asked_set(port: &MachinePort) -> String {
    format!("asked_{}", chain_id(&port.device))
}

/// Comparisons one after the other rather than sets without names: of those the kernel
/// handles each the slower the more there are.
fn guard_family(guard: &Guard, ipv4: bool, rules: &mut Vec<String>) {
    let nets = guard.nets.iter().filter(|(net, _)| net.is_ipv4() == ipv4);
    let mut nets: Vec<String> = nets
        .map(|(net, prefix)| format!("{net}/{prefix}"))
        .collect();
    if nets.is_empty() {
        return;
    }
    let gateways = guard.gateways.iter().filter(|ip| ip.is_ipv4() == ipv4);
    let fields: &[&str] = match ipv4 {
        true => &["arp saddr ip", "ip saddr"],
        false => &["ip6 saddr"],
    };
    match ipv4 {
        // A machine that asks for an address has none yet.
        true => nets.push("0.0.0.0".into()),
        false => nets.extend(["fe80::/10", "::"].map(str::to_owned)),
    }
    for field in fields {
        let outside: Vec<String> = nets.iter().map(|net| format!("{field} != {net}")).collect();
        rules.push(format!("{} counter drop", outside.join(" ")));
        let taken = gateways.clone();
        rules.extend(taken.map(|ip| format!("{field} {ip} counter drop")));
    }
}

/// The chain of what everyone may receive.
const ANSWERS: &str = "answers";

/// What neighbours must tell each other, answers of DHCP and what says that a packet was lost.
/// Rules are about IP: nothing else is kept from a machine.
fn answers() -> Vec<String> {
    let rules = [
        "ether type != ip ether type != ip6 accept",
        "ether type ip udp sport 67 udp dport 68 accept",
        "ether type ip6 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, \
         packet-too-big, destination-unreachable, time-exceeded, echo-reply } accept",
        "ether type ip icmp type { echo-reply, destination-unreachable, time-exceeded, \
         parameter-problem } accept",
    ];
    rules.map(str::to_owned).to_vec()
}

/// The chain of what a machine that drops all else may receive, put into `table`.
fn receiving(port: &MachinePort, table: &mut Table) -> Option<String> {
    if !port.policy.drop_inbound {
        return None;
    }
    let mut rules = vec![format!("jump {ANSWERS}")];
    for allow in &port.policy.allows {
        let froms = match allow.from.as_slice() {
            [] => vec![String::new()],
            peers => peers.iter().flat_map(peer_texts).collect(),
        };
        let whats = services(&allow.service, table);
        for from in froms {
            let allowed = whats
                .iter()
                .map(|what| format!("{from}{what}counter accept"));
            rules.extend(allowed);
        }
    }
    // Answers to what the machine has asked.
    rules.push("meta l4proto tcp tcp flags & (syn | ack) != syn accept".into());
    rules.push(format!(
        "ether type ip ip saddr . udp sport . udp dport @{} accept",
        asked_set(port)
    ));
    let log = match port.policy.log {
        true => format!("log prefix \"stead {} \" ", port.device),
        false => String::new(),
    };
    rules.push(format!("{log}counter drop"));
    let name = format!("to_{}", chain_id(&port.device));
    table.chain(&name, rules);
    Some(name)
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

fn services(service: &Service, table: &mut Table) -> Vec<String> {
    match service {
        Service::Tcp(ports) => vec![format!("tcp dport {} ", one_of(ports, table))],
        Service::Udp(ports) => vec![format!("udp dport {} ", one_of(ports, table))],
        Service::TcpSet(name) => vec![format!("tcp dport @{} ", sets::nft_name(name, "ports"))],
        Service::UdpSet(name) => vec![format!("udp dport @{} ", sets::nft_name(name, "ports"))],
        Service::Ping => vec![
            "icmp type echo-request ".to_owned(),
            "icmpv6 type echo-request ".to_owned(),
        ],
        Service::All => vec![String::new()],
    }
}

/// One port or range, or a set of them with a name: each set without a name makes the kernel
/// slower with all the others.
fn one_of(ports: &[(u16, u16)], table: &mut Table) -> String {
    if let [_] = ports {
        return ports_text(ports, ",");
    }
    let name = format!("ports_{}", name_of(&ports_text(ports, ",")));
    let each = ports.iter().map(|range| ports_text(&[*range], ","));
    table.set(&name, Set::of_ranges("inet_service").filled(each));
    format!("@{name}")
}
