//! Sets of addresses and ports with names, which rules speak of.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::network::policy::{Peer, parse_ports, ports_text};
use model::nwfilter::value::Value;

use crate::firewall::{Firewall, chain_id};
use crate::machine_rules::MachinePort;
use crate::ruleset::{Set, Table};

/// A set with a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedSet {
    /// Its name.
    pub name: String,
    /// Networks and addresses.
    pub nets: Vec<(IpAddr, u8)>,
    /// Ports.
    pub ports: Vec<(u16, u16)>,
}

/// What nft calls a set's addresses of one family (`ip`, `ip6`), or its ports (`ports`).
pub fn nft_name(name: &str, part: &str) -> String {
    format!("set_{part}_{}", chain_id(name))
}

impl NamedSet {
    /// Reads what people write as elements: addresses, networks, ports (`80`, `8000-8010`).
    ///
    /// # Errors
    /// The word that is none of these.
    pub fn read(name: &str, words: &[String]) -> Result<NamedSet, String> {
        let mut set = NamedSet {
            name: name.to_owned(),
            ..NamedSet::default()
        };
        for word in words {
            if let Some(ports) = parse_ports(word) {
                set.ports.extend(ports);
            } else if let Some(Peer::Net(net, prefix)) = Peer::parse(word) {
                set.nets.push((net, prefix));
            } else {
                return Err(word.clone());
            }
        }
        set.nets.sort();
        set.nets.dedup();
        set.ports.sort_unstable();
        set.ports.dedup();
        Ok(set)
    }

    /// Its elements, as [`NamedSet::read`] takes them.
    pub fn words(&self) -> Vec<String> {
        let nets = self
            .nets
            .iter()
            .map(|(net, prefix)| Peer::Net(*net, *prefix).to_string());
        let ports = self.ports.iter().map(|range| ports_text(&[*range], ","));
        nets.chain(ports).collect()
    }
}

/// The sets that rules speak of and those there are, as nft declares them; one
/// that does not exist is empty. Each has all its parts.
pub(crate) fn declare(firewall: &Firewall, table: &mut Table) {
    let mut sets: BTreeMap<&str, Option<&NamedSet>> = BTreeMap::new();
    for set in &firewall.sets {
        sets.insert(&set.name, Some(set));
    }
    for port in &firewall.machines {
        for name in port.policy.sets().chain(filter_sets(port)) {
            sets.entry(name).or_default();
        }
    }
    let empty = NamedSet::default();
    for (name, set) in sets {
        let set = set.unwrap_or(&empty);
        for (part, kind) in [("ip", "ipv4_addr"), ("ip6", "ipv6_addr")] {
            let of_family = set
                .nets
                .iter()
                .filter(|(net, _)| net.is_ipv4() == (part == "ip"));
            let elements = of_family.map(|(net, prefix)| format!("{net}/{prefix}"));
            let declared = Set::of_ranges(kind).filled(elements);
            table.set(nft_name(name, part), declared);
        }
        let ports = set.ports.iter().map(|range| ports_text(&[*range], ","));
        let declared = Set::of_ranges("inet_service").filled(ports);
        table.set(nft_name(name, "ports"), declared);
    }
}

/// The sets that a network filter speaks of.
fn filter_sets(port: &MachinePort) -> impl Iterator<Item = &str> {
    let filter = port.filter.as_ref().and_then(|filter| filter.as_ref().ok());
    let rules = filter.into_iter().flat_map(|filter| &filter.rules);
    rules.filter_map(|placed| match &placed.rule.item("ipset")?.value {
        Value::Text(name) => Some(name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::NamedSet;

    #[test]
    fn a_set_comes_back_as_it_was() {
        let words = [
            "192.0.2.7",
            "10.1.2.3/8",
            "2001:db8::/32",
            "80",
            "8000-8010",
            "80",
        ];
        let set = NamedSet::read("s", &words.map(str::to_owned)).expect("elements");
        let shown = set.words();
        assert_eq!(
            shown,
            [
                "10.0.0.0/8",
                "192.0.2.7/32",
                "2001:db8::/32",
                "80",
                "8000-8010"
            ]
        );
        assert_eq!(NamedSet::read("s", &shown), Ok(set));
        assert_eq!(NamedSet::read("s", &["x".to_owned()]), Err("x".to_owned()));
    }
}
