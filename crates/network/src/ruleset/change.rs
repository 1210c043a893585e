//! One ruleset where another is in force, as a transaction of what differs.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Chain, Filling, Ruleset, Set, Table, joined};

impl Ruleset {
    /// The transaction that makes the tables so where `old` is in force; empty where that is the
    /// same. None where something has become of another kind: then only the whole will do.
    pub fn change_from(&self, old: &Ruleset) -> Option<String> {
        let mut out = String::new();
        for ((family, new), (_, old)) in self.tables().into_iter().zip(old.tables()) {
            match (old.is_empty(), new.is_empty()) {
                (true, true) => {}
                (false, true) => out.push_str(&self.removal_of(family)),
                (true, false) => {
                    out.push_str(&self.removal_of(family));
                    self.write_table(family, new, &mut out);
                }
                (false, false) => Change {
                    at: format!("{family} {}", self.name),
                    old,
                    new,
                }
                .write(&mut out)?,
            }
        }
        Some(out)
    }

    /// What is in force where only names are known, from `nft -j -t list table` of each family:
    /// tables of `self`'s name, with its sets and chains where these have the same names.
    pub fn in_force(&self, listed: [&str; 2]) -> Ruleset {
        let [inet, bridge] = listed;
        Ruleset {
            name: self.name.clone(),
            inet: self.inet.in_force(inet),
            bridge: self.bridge.in_force(bridge),
        }
    }
}

impl Table {
    fn in_force(&self, listed: &str) -> Table {
        let listed: serde_json::Value = serde_json::from_str(listed).unwrap_or_default();
        let mut table = Table::default();
        for entry in listed["nftables"].as_array().into_iter().flatten() {
            if let Some(name) = entry["chain"]["name"].as_str() {
                let hook = self.chains.get(name).and_then(|chain| chain.hook.clone());
                let chain = Chain { hook, rules: None };
                table.chains.insert(name.to_owned(), chain);
            }
            for kind in ["set", "map"] {
                if let Some(name) = entry[kind]["name"].as_str() {
                    let known = self.sets.get(name).filter(|set| set.kind == kind);
                    let mut set = known
                        .cloned()
                        .unwrap_or_else(|| Set::new(kind, "?", Filling::Unknown));
                    if set.filling != Filling::Packets {
                        set.filling = Filling::Unknown;
                    }
                    set.elements.clear();
                    table.sets.insert(name.to_owned(), set);
                }
            }
        }
        table
    }
}

/// From one table to another.
struct Change<'a> {
    /// Its family and name.
    at: String,
    old: &'a Table,
    new: &'a Table,
}

impl Change<'_> {
    /// In the order that references need: what is new is there before it is referred to, and
    /// nothing refers to what goes.
    fn write(&self, out: &mut String) -> Option<()> {
        let Change { at, old, new } = self;
        if self.is_of_another_kind() {
            return None;
        }
        let changed = |name: &String, chain: &&Chain| old.chains.get(name) != Some(chain);
        let chains: Vec<(&String, &Chain)> = new
            .chains
            .iter()
            .filter(|(name, chain)| changed(name, chain))
            .collect();
        let mut fresh = Table::default();
        for (name, set) in &new.sets {
            if !old.sets.contains_key(name) {
                fresh.sets.insert(name.clone(), set.clone());
            }
        }
        for (name, chain) in chains {
            if !old.chains.contains_key(name) {
                let _ = writeln!(out, "add chain {at} {name}{}", head(chain));
            }
            let _ = writeln!(out, "flush chain {at} {name}");
            fresh.chains.insert(name.clone(), chain.clone());
        }
        if !fresh.is_empty() || !fresh.sets.is_empty() {
            let _ = writeln!(out, "table {at} {{");
            fresh.write(out);
            out.push_str("}\n");
        }
        for (name, set) in &new.sets {
            if let Some(before) = old.sets.get(name) {
                self.refill(name, before, set, out);
            }
        }
        self.remove(out);
        Some(())
    }

    fn is_of_another_kind(&self) -> bool {
        let sets = self.new.sets.iter().any(|(name, set)| {
            let old = self.old.sets.get(name);
            old.is_some_and(|old| (old.kind, &old.head) != (set.kind, &set.head))
        });
        let chains = self.new.chains.iter().any(|(name, chain)| {
            let old = self.old.chains.get(name);
            old.is_some_and(|old| old.hook != chain.hook)
        });
        sets || chains
    }

    fn refill(&self, name: &str, old: &Set, new: &Set, out: &mut String) {
        let at = &self.at;
        let mut put = |verb: &str, elements: &BTreeSet<&String>| {
            if !elements.is_empty() {
                let elements = joined(elements.iter().copied());
                let _ = writeln!(out, "{verb} element {at} {name} {{ {elements} }}");
            }
        };
        match (old.filling, new.filling) {
            (_, Filling::Packets) => {}
            (Filling::Single, Filling::Single) => {
                put("delete", &old.elements.difference(&new.elements).collect());
                put("add", &new.elements.difference(&old.elements).collect());
            }
            (Filling::Ranges, _) if old.elements == new.elements => {}
            _ => {
                let _ = writeln!(out, "flush {} {at} {name}", new.kind);
                let all: BTreeSet<&String> = new.elements.iter().collect();
                if !all.is_empty() {
                    let _ = writeln!(out, "add element {at} {name} {{ {} }}", joined(all));
                }
            }
        }
    }

    /// Chains are emptied before any of them goes, since they may refer to each other.
    fn remove(&self, out: &mut String) {
        let Change { at, old, new } = self;
        let gone = || old.chains.keys().filter(|n| !new.chains.contains_key(*n));
        for verb in ["flush", "delete"] {
            for name in gone() {
                let _ = writeln!(out, "{verb} chain {at} {name}");
            }
        }
        for (name, set) in &old.sets {
            if !new.sets.contains_key(name) {
                let _ = writeln!(out, "delete {} {at} {name}", set.kind);
            }
        }
    }
}

fn head(chain: &Chain) -> String {
    let hook = chain.hook.as_ref();
    hook.map_or(String::new(), |hook| format!(" {{ {hook} }}"))
}
