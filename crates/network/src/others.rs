//! What the rules of others do to a network: every filter on the host has a
//! say, and what one of them drops is dropped, whatever Stead's own rules say.

use std::collections::BTreeMap;

use crate::listing::{Chain, Listing, Rule};

/// What stops the traffic of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The chain, as `FAMILY TABLE CHAIN`.
    pub chain: String,
    /// Whether it stops what the host forwards (or what machines ask of the host).
    pub forwards: bool,
    /// What to do about it.
    pub remedy: String,
}

impl Obstacle {
    /// One sentence for a person.
    pub fn sentence(&self, network: &str) -> String {
        let what = match self.forwards {
            true => "what machines send to the world",
            false => "what machines ask of the host (addresses and names)",
        };
        format!(
            "the rules of another program (nftables chain '{}') drop {what} on network '{network}'; to let it through: {}",
            self.chain, self.remedy
        )
    }
}

/// The chains of others that stop the traffic of a network on `bridge`.
/// `own` is the name of Stead's tables; `forwards` whether the network leads
/// out of the host, `serves` whether the host answers machines there.
pub fn obstacles(
    listing: &str,
    own: &str,
    bridge: &str,
    forwards: bool,
    serves: bool,
) -> Vec<Obstacle> {
    let listing = Listing::read(listing);
    let mut rules: BTreeMap<(&str, &str, &str), Vec<&Rule>> = BTreeMap::new();
    for rule in listing.rules() {
        let chain = (&*rule.family, &*rule.table, &*rule.chain);
        rules.entry(chain).or_default().push(rule);
    }
    // A table that speaks of the bridge knows what it does.
    let knows = |family: &str, table: &str| {
        let of_table = rules
            .iter()
            .filter(|((f, t, _), _)| *f == family && *t == table);
        of_table
            .flat_map(|(_, rules)| rules)
            .any(|rule| speaks_of(&rule.expr, bridge))
    };
    // Docker's policy has exceptions for our bridges.
    let excepted = |chain: &Chain| {
        let mut others = listing
            .chains()
            .filter(|other| other.family == chain.family);
        chain.policy.as_deref() == Some("drop") && others.any(|other| other.name == "DOCKER-USER")
    };
    let stopping = listing.chains().filter(|chain| {
        let at = chain.hook.as_deref();
        let concerned = (at == Some("forward") && forwards) || (at == Some("input") && serves);
        let filters = chain.kind.as_deref() == Some("filter") && chain.table != own;
        let of_ip = matches!(chain.family.as_str(), "ip" | "inet");
        let own_rules = rules.get(&(&*chain.family, &*chain.table, &*chain.name));
        let last = own_rules.and_then(|rules| rules.last());
        concerned
            && filters
            && of_ip
            && (chain.policy.as_deref() == Some("drop")
                || last.is_some_and(|rule| stops(&rule.expr)))
            && !knows(&chain.family, &chain.table)
            && !(at == Some("forward") && excepted(chain))
    });
    stopping
        .map(|chain| {
            let forwards = chain.hook.as_deref() == Some("forward");
            Obstacle {
                chain: format!("{} {} {}", chain.family, chain.table, chain.name),
                forwards,
                remedy: remedy(chain, bridge, forwards),
            }
        })
        .collect()
}

fn remedy(chain: &Chain, bridge: &str, forwards: bool) -> String {
    if chain.table == "firewalld" {
        return format!(
            "firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"
        );
    }
    let Chain {
        family,
        table,
        name,
        ..
    } = chain;
    let into = format!("nft insert rule {family} {table} {name}");
    match forwards {
        true => format!("{into} iifname {bridge} accept && {into} oifname {bridge} accept"),
        false => format!("{into} iifname {bridge} accept"),
    }
}

/// Whether a rule stops whatever reaches it.
fn stops(expr: &serde_json::Value) -> bool {
    let Some(parts) = expr.as_array() else {
        return false;
    };
    let is = |part: &serde_json::Value, words: &[&str]| {
        words.iter().any(|word| part.get(word).is_some())
    };
    !parts.is_empty()
        && parts
            .iter()
            .all(|part| is(part, &["drop", "reject", "counter", "log"]))
        && parts.iter().any(|part| is(part, &["drop", "reject"]))
}

fn speaks_of(expr: &serde_json::Value, word: &str) -> bool {
    match expr {
        serde_json::Value::String(text) => text == word,
        serde_json::Value::Array(all) => all.iter().any(|part| speaks_of(part, word)),
        serde_json::Value::Object(all) => all.values().any(|part| speaks_of(part, word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAND_MADE: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "ip", "name": "filter", "handle": 1}},
        {"chain": {"family": "ip", "table": "filter", "name": "OTHER", "handle": 1}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 2, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}}]}"#;
    const FIREWALLD: &str = r#"{"nftables": [
        {"chain": {"family": "inet", "table": "firewalld", "name": "filter_INPUT", "type": "filter", "hook": "input", "prio": 10, "policy": "accept"}},
        {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "expr": [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]}}]}"#;

    #[test]
    fn a_policy_and_a_last_rule_are_obstacles() {
        let found = obstacles(HAND_MADE, "stead", "lab0", true, true);
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .remedy
                .contains("rule ip filter FORWARD iifname lab0"),
            "{found:?}"
        );
        assert!(obstacles(HAND_MADE, "stead", "lab0", false, true).is_empty());
        // Docker's has exceptions.
        let docker = HAND_MADE.replace("OTHER", "DOCKER-USER");
        assert!(obstacles(&docker, "stead", "lab0", true, true).is_empty());
        let found = obstacles(FIREWALLD, "stead", "lab0", true, true);
        assert_eq!(found[0].chain, "inet firewalld filter_INPUT");
        assert!(found[0].sentence("lab").contains("--add-interface=lab0"));
    }

    #[test]
    fn a_table_that_knows_the_bridge_is_none() {
        let knowing = HAND_MADE.replace(
            "]}",
            r#",{"rule": {"family": "ip", "table": "filter", "chain": "OTHER", "expr": [{"match": {"right": "lab0"}}, {"accept": null}]}}]}"#,
        );
        assert!(obstacles(&knowing, "stead", "lab0", true, true).is_empty());
        assert!(obstacles("no JSON", "stead", "lab0", true, true).is_empty());
        assert!(obstacles(HAND_MADE, "filter", "lab0", true, true).is_empty());
    }
}
