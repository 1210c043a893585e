//! Addresses of machines that the kernel finds out by itself, in sets: they are
//! remembered, so that sets which have to be made again begin with them.

use crate::engine::Engine;
use crate::network::tools::Tool;
use ::network::firewall::Firewall;
use ::network::nwfilter::DeviceFilter;
use ::network::nwfilter::chains::learnt_set;
use model::nwfilter::rule::Action;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::PoisonError;

const PACKAGE: &str = "nftables";

/// A table nobody is to see: it is only checked.
const REJECTING: &str = "table bridge stead_check { chain c { \
     type filter hook prerouting priority filter; ether type ip reject; }; }";

impl Engine {
    /// Whether what a rule refuses is answered: not every kernel can on a bridge.
    pub(crate) async fn kernel_rejects(&self, firewall: &Firewall) -> bool {
        let refused = |filter: &DeviceFilter| {
            let mut rules = filter.rules.iter();
            rules.any(|placed| placed.rule.action == Action::Reject)
        };
        if !firewall.filters().any(refused) {
            return false;
        }
        let known = &self.filters_table().rejects;
        *known
            .get_or_init(|| async {
                let tool = Tool::new("nft", PACKAGE, ["-c", "-f", "-"]);
                tool.reading(REJECTING.to_owned()).run().await.is_ok()
            })
            .await
    }

    /// Reads the addresses that the kernel has found so far.
    pub(crate) async fn read_learnt(&self, table: &str) {
        let tool = Tool::new("nft", PACKAGE, ["-j", "list", "sets", "bridge"]);
        // A table that somebody removed has none: what was known before still holds.
        if let Ok(listed) = tool.run().await {
            let found = read_sets(&listed, table);
            self.learnt().extend(found);
        }
    }

    /// Gives the filters of `firewall` the addresses read last, and forgets all others.
    pub(crate) fn recall_addresses(&self, firewall: &mut Firewall) {
        let mut kept = BTreeMap::new();
        for port in &mut firewall.machines {
            let Some(Ok(filter)) = &mut port.filter else {
                continue;
            };
            if filter.learning.is_none() {
                continue;
            }
            let set = learnt_set(&port.device, port.mac);
            if let Some(addresses) = self.learnt().get(&set) {
                filter.learnt = addresses.clone();
                kept.insert(set, addresses.clone());
            }
        }
        *self.learnt() = kept;
    }

    /// The addresses found by watching, as known last, with the cards.
    pub(crate) fn watched_addresses(&self) -> Vec<(String, std::net::IpAddr)> {
        let learnt = self.learnt();
        let each = learnt.iter().flat_map(|(set, addresses)| {
            let digits = set.rsplit('_').next().unwrap_or_default();
            let pairs = digits.as_bytes().chunks(2).map(String::from_utf8_lossy);
            let mac = pairs.collect::<Vec<_>>().join(":");
            addresses
                .iter()
                .map(move |address| (mac.clone(), (*address).into()))
        });
        each.collect()
    }

    fn learnt(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<Ipv4Addr>>> {
        let learnt = self.filters_table().learnt.lock();
        learnt.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses in the sets of one table, as `nft -j` lists them.
fn read_sets(listed: &str, table: &str) -> BTreeMap<String, Vec<Ipv4Addr>> {
    let listed: serde_json::Value = serde_json::from_str(listed).unwrap_or_default();
    let all = listed["nftables"].as_array().into_iter().flatten();
    let sets = all.filter_map(|entry| entry.get("set"));
    let own = sets.filter(|set| set["table"] == table);
    let found = own.filter_map(|set| {
        let name = set["name"]
            .as_str()
            .filter(|name| name.starts_with("learnt_"))?;
        let elements = set["elem"].as_array()?.iter();
        // An element may stand alone or with what is known of it.
        let text = |element: &serde_json::Value| {
            let value = element
                .get("elem")
                .and_then(|e| e.get("val"))
                .unwrap_or(element);
            value.as_str().and_then(|text| text.parse().ok())
        };
        Some((name.to_owned(), elements.filter_map(text).collect()))
    });
    found
        .filter(|(_, addresses): &(String, Vec<Ipv4Addr>)| !addresses.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::read_sets;

    #[test]
    fn addresses_are_read_from_a_listing() {
        let listed = r#"{"nftables": [{"metainfo": {}},
            {"set": {"family": "bridge", "name": "learnt_a_1", "table": "t", "elem": ["10.0.0.1"]}},
            {"set": {"family": "bridge", "name": "learnt_b_1", "table": "t", "elem": [{"elem": {"val": "10.0.0.2"}}]}},
            {"set": {"family": "bridge", "name": "learnt_c_1", "table": "other", "elem": ["10.0.0.3"]}},
            {"set": {"family": "bridge", "name": "learnt_d_1", "table": "t"}}]}"#;
        let found = read_sets(listed, "t");
        assert_eq!(found.len(), 2);
        assert_eq!(found["learnt_b_1"][0].to_string(), "10.0.0.2");
        assert!(read_sets("no JSON", "t").is_empty());
    }
}
