//! What one daemon has in the kernel's packet filter, as data: tables with
//! sets, maps and chains by name.
//!
//! - [`Ruleset::whole`] is the transaction that makes it so whatever is there.
//! - [`Ruleset::change_from`] is the one that makes it so where another is in
//!   force: what is the same in both is not touched, so that counters go on and
//!   what packets have filled sets with is kept.
//!
//! Either can be carried out twice.

mod change;

/// Most values that packets put into a set without a size: the kernel's own limit. It takes about
/// 100 bytes for each that is there.
pub const FILLED_BY_PACKETS_MAX: u32 = 65_535;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The tables of one daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// What each of its tables is called.
    pub name: String,
    /// What crosses the host.
    pub(crate) inet: Table,
    /// What each machine's own device may send and receive.
    pub(crate) bridge: Table,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Table {
    sets: BTreeMap<String, Set>,
    chains: BTreeMap<String, Chain>,
}

/// A set, or a map of names to chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    /// What nft calls it: `set` or `map`.
    kind: &'static str,
    /// What it is of, and how it is kept.
    head: Vec<String>,
    filling: Filling,
    elements: BTreeSet<String>,
}

/// Who knows what is in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    /// We do, each element for itself.
    Single,
    /// We do; its elements are ranges that the kernel may join.
    Ranges,
    /// Packets fill it: its elements here are what it begins with.
    Packets,
    /// It is in force, with elements that are not known here.
    Unknown,
}

/// A chain. One of the kernel's hooks leads there, or other chains do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Chain {
    hook: Option<String>,
    /// None where it is in force with rules that are not known here.
    rules: Option<Vec<String>>,
}

impl Set {
    fn new(kind: &'static str, of: &str, filling: Filling) -> Set {
        Set {
            kind,
            head: vec![format!("type {of}")],
            filling,
            elements: BTreeSet::new(),
        }
    }

    /// Single values.
    pub(crate) fn of(what: &str) -> Set {
        Set::new("set", what, Filling::Single)
    }

    /// Values and ranges of them.
    pub(crate) fn of_ranges(what: &str) -> Set {
        let set = Set::new("set", what, Filling::Ranges);
        set.with("flags interval").with("auto-merge")
    }

    /// What packets put there, at most [`FILLED_BY_PACKETS_MAX`] values.
    pub(crate) fn of_packets(what: &str, flags: &str) -> Set {
        let set = Set::new("set", what, Filling::Packets);
        set.with(&format!("flags {flags}"))
    }

    /// Holding at most `size` values, for which the kernel takes eight to sixteen bytes each at
    /// once, rather than as they come.
    pub(crate) fn of_size(self, size: u32) -> Set {
        self.with(&format!("size {size}"))
    }

    /// Chains by the names of devices.
    fn of_ways() -> Set {
        Set::new("map", "ifname : verdict", Filling::Single)
    }

    fn with(mut self, line: &str) -> Set {
        self.head.push(line.to_owned());
        self
    }

    /// With these elements.
    pub(crate) fn filled(mut self, elements: impl IntoIterator<Item = String>) -> Set {
        self.elements.extend(elements);
        self
    }
}

impl Table {
    pub(crate) fn set(&mut self, name: impl Into<String>, set: Set) {
        self.sets.insert(name.into(), set);
    }

    /// A chain that others jump to.
    pub(crate) fn chain(&mut self, name: impl Into<String>, rules: Vec<String>) {
        self.put(name.into(), None, rules);
    }

    /// A chain that the kernel leads to, by its type, hook, priority and policy.
    pub(crate) fn base(&mut self, name: &str, hook: &str, rules: Vec<String>) {
        self.put(name.to_owned(), Some(hook.to_owned()), rules);
    }

    fn put(&mut self, name: String, hook: Option<String>, rules: Vec<String>) {
        let rules = Some(rules);
        self.chains.insert(name, Chain { hook, rules });
    }

    /// The map `name` of devices to the chains their packets go through, and the rule that asks
    /// it by `key` (`iifname`, `oifname`).
    pub(crate) fn ways(
        &mut self,
        name: &str,
        key: &str,
        ways: impl IntoIterator<Item = (String, String)>,
    ) -> String {
        let elements = ways
            .into_iter()
            .map(|(device, chain)| format!("\"{device}\" : jump {chain}"));
        self.set(name, Set::of_ways().filled(elements));
        format!("{key} vmap @{name}")
    }

    /// With all that another holds.
    pub(crate) fn merge(&mut self, other: Table) {
        self.sets.extend(other.sets);
        self.chains.extend(other.chains);
    }

    /// Whether a rule has these words.
    pub(crate) fn mentions(&self, words: &str) -> bool {
        let mut rules = self.chains.values().filter_map(|c| c.rules.as_ref());
        rules.any(|rules| rules.iter().any(|rule| rule.contains(words)))
    }

    fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    fn write(&self, out: &mut String) {
        for (name, set) in &self.sets {
            set.write(name, out);
        }
        for (name, chain) in &self.chains {
            chain.write(name, out);
        }
    }
}

impl Set {
    fn write(&self, name: &str, out: &mut String) {
        let _ = writeln!(out, "\t{} {name} {{", self.kind);
        for line in &self.head {
            let _ = writeln!(out, "\t\t{line}");
        }
        if !self.elements.is_empty() {
            let _ = writeln!(out, "\t\telements = {{ {} }}", joined(&self.elements));
        }
        out.push_str("\t}\n");
    }
}

impl Chain {
    fn write(&self, name: &str, out: &mut String) {
        let _ = writeln!(out, "\tchain {name} {{");
        for line in self.hook.iter().chain(self.rules.iter().flatten()) {
            let _ = writeln!(out, "\t\t{line}");
        }
        out.push_str("\t}\n");
    }
}

fn joined<'a>(elements: impl IntoIterator<Item = &'a String>) -> String {
    let each: Vec<&str> = elements.into_iter().map(String::as_str).collect();
    each.join(", ")
}

impl Ruleset {
    fn tables(&self) -> [(&'static str, &Table); 2] {
        [("inet", &self.inet), ("bridge", &self.bridge)]
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.tables().iter().all(|(_, table)| table.is_empty())
    }

    /// The transaction that makes the tables so; with nothing to say, that they are gone.
    pub fn whole(&self) -> String {
        let mut out = self.removal();
        for (family, table) in self.tables() {
            self.write_table(family, table, &mut out);
        }
        out
    }

    /// The transaction after which none of the tables is there.
    pub fn removal(&self) -> String {
        let each = self.tables().map(|(family, _)| self.removal_of(family));
        each.concat()
    }

    fn removal_of(&self, family: &str) -> String {
        let name = &self.name;
        // Deleting needs a table, so it is made first where there is none.
        format!("add table {family} {name}\ndelete table {family} {name}\n")
    }

    fn write_table(&self, family: &str, table: &Table, out: &mut String) {
        if !table.is_empty() {
            let _ = writeln!(out, "table {family} {} {{", self.name);
            table.write(out);
            out.push_str("}\n");
        }
    }
}

/// A name for what has no better one: the same for the same text.
pub(crate) fn name_of(text: &str) -> String {
    // FNV-1a: what it is given is no secret, and comes from those who administrate.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}
