//! Networks beside Docker. Docker gives the chain of forwarded packets in
//! `ip filter` the policy drop, for everything it has no rule for itself. At
//! the end of that chain, after Docker's own rules and the administrator's in
//! `DOCKER-USER`, each network's bridge gets an exception from the policy:
//! what Docker decides stays decided, and Stead's own rules judge the rest.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::listing::{Listing, Rule};

pub use crate::listing::Chain;

/// The chains of Docker's that drop what is forwarded, of a listing of all
/// chains (`nft -j list chains`).
pub fn chains(listing: &str) -> Vec<Chain> {
    let listing = Listing::read(listing);
    let of_docker = |chain: &&Chain| {
        let beside = |other: &Chain| {
            other.name == "DOCKER-USER"
                && other.family == chain.family
                && other.table == chain.table
        };
        chain.drops_at("forward") && listing.chains().any(beside)
    };
    listing.chains().filter(of_docker).cloned().collect()
}

/// The transaction after which exactly these bridges are excepted from the
/// policy of `chain`, whose rules `listing` has (`nft -j list chain …`). The
/// rules bear `own` as their comment. Empty where nothing is to be done.
pub fn exceptions(chain: &Chain, listing: &str, own: &str, bridges: &BTreeSet<String>) -> String {
    let listing = Listing::read(listing);
    let Chain {
        family,
        table,
        name,
        ..
    } = chain;
    let mut missing: BTreeSet<(&str, &str)> = bridges
        .iter()
        .flat_map(|bridge| [("iifname", bridge.as_str()), ("oifname", bridge.as_str())])
        .collect();
    let mut text = String::new();
    let own_rules = |rule: &&Rule| rule.comment.as_deref() == Some(own);
    for rule in listing.rules().filter(own_rules) {
        let found = device_of(&rule.expr);
        if !found.is_some_and(|device| missing.remove(&device)) {
            let _ = writeln!(
                text,
                "delete rule {family} {table} {name} handle {}",
                rule.handle
            );
        }
    }
    for (direction, bridge) in missing {
        let _ = writeln!(
            text,
            "add rule {family} {table} {name} {direction} \"{bridge}\" counter accept comment \"{own}\""
        );
    }
    text
}

/// The device a rule is about, and the direction.
fn device_of(expr: &serde_json::Value) -> Option<(&str, &str)> {
    let matched = expr.get(0)?.get("match")?;
    let direction = matched.get("left")?.get("meta")?.get("key")?.as_str()?;
    Some((direction, matched.get("right")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAINS: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "ip", "name": "filter", "handle": 1}},
        {"chain": {"family": "ip", "table": "filter", "name": "DOCKER-USER", "handle": 1}},
        {"chain": {"family": "ip", "table": "mangle", "name": "FORWARD", "hook": "forward", "policy": "drop"}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 2, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}}]}"#;

    fn bridges(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_the_chain_beside_dockers_own_is_found() {
        let found = chains(CHAINS);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].table, "filter");
        assert!(chains(&CHAINS.replace("\"drop\"", "\"accept\"")).is_empty());
        assert!(chains("no JSON").is_empty());
    }

    #[test]
    fn bridges_come_and_go_and_rules_of_others_stay() {
        let chain = chains(CHAINS).remove(0);
        let text = exceptions(&chain, "{\"nftables\":[]}", "stead", &bridges(&["b0"]));
        assert_eq!(
            text,
            "add rule ip filter FORWARD iifname \"b0\" counter accept comment \"stead\"\n\
             add rule ip filter FORWARD oifname \"b0\" counter accept comment \"stead\"\n"
        );
        let listed = r#"{"nftables": [
            {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 3, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "b1"}}, {"accept": null}]}},
            {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 4, "comment": "stead", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "b0"}}, {"accept": null}]}},
            {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 5, "comment": "stead", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "gone"}}, {"accept": null}]}}]}"#;
        let text = exceptions(&chain, listed, "stead", &bridges(&["b0"]));
        assert_eq!(
            text,
            "delete rule ip filter FORWARD handle 5\n\
             add rule ip filter FORWARD oifname \"b0\" counter accept comment \"stead\"\n"
        );
        assert!(
            exceptions(&chain, listed, "stead", &bridges(&[]))
                .starts_with("delete rule ip filter FORWARD handle 4")
        );
    }
}
