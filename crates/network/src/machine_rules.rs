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
/// Most questions over UDP of one machine whose answers are waited for: 64 KiB of the kernel's
/// memory for each machine.
pub const UDP_ASKED_MAX: u32 = 6144;

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
    for port in ruled {
        let id = chain_id(&port.device);
        // Machines of one network mostly have the same guard.
        let guard = port.guard.as_ref().map(|guard| {
            let rules = guarding(guard);
            let name = format!("guard_{}", name_of(&rules.join("\n")));
            table.chain(&name, rules);
            name
        });
        table.chain(format!("from_{id}"), sending(port, &id, guard.as_deref()));
        if port.policy.drop_inbound {
            let asked = Set::of_packets(
                "ipv4_addr . inet_service . inet_service",
                UDP_ASKED_MAX,
                "dynamic,timeout",
            );
            table.set(format!("asked_{id}"), asked);
            table.chain(format!("to_{id}"), receiving(port, &id));
        }
    }
    let closed = ruled.iter().filter(|port| port.policy.drop_inbound);
    let closed: Vec<&MachinePort> = closed.copied().collect();
    let mut lead = |name: &str, hook: &str, key: &str, way: &str, ports: &[&MachinePort]| {
        let ways = ports.iter().map(|port| {
            (
                port.device.clone(),
                format!("{way}_{}", chain_id(&port.device)),
            )
        });
        let rule = table.ways(&format!("{name}_ways"), key, ways);
        let hook = format!("type filter hook {hook} priority filter; policy accept;");
        table.base(name, &hook, vec![rule]);
    };
    lead("sending", "prerouting", "iifname", "from", ruled);
    if !closed.is_empty() {
        lead("receiving", "postrouting", "oifname", "to", &closed);
        table.chain(ANSWERS, answers());
    }
}

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

fn sending(port: &MachinePort, id: &str, guard: Option<&str>) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(guard) = guard {
        let mac = port.mac;
        rules.push(format!("ether saddr != {mac} counter drop"));
        rules.push(format!("arp saddr ether != {mac} counter drop"));
        rules.push(format!("jump {guard}"));
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

fn receiving(port: &MachinePort, id: &str) -> Vec<String> {
    let mut rules = vec![format!("jump {ANSWERS}")];
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
    rules.push(format!("{log}counter drop"));
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
        Service::Tcp(ports) => vec![format!("tcp dport {} ", one_of(ports))],
        Service::Udp(ports) => vec![format!("udp dport {} ", one_of(ports))],
        Service::TcpSet(name) => vec![format!("tcp dport @{} ", sets::nft_name(name, "ports"))],
        Service::UdpSet(name) => vec![format!("udp dport @{} ", sets::nft_name(name, "ports"))],
        Service::Ping => vec![
            "icmp type echo-request ".to_owned(),
            "icmpv6 type echo-request ".to_owned(),
        ],
        Service::All => vec![String::new()],
    }
}

fn one_of(ports: &[(u16, u16)]) -> String {
    let text = ports_text(ports, ", ");
    match ports {
        [_] => text,
        _ => format!("{{ {text} }}"),
    }
}
