//! The difference between two rulesets: as text, and that it leads from one to the other.

use std::collections::{BTreeMap, BTreeSet};

use model::network::policy::Policy;
use model::xml::Mac;
use proptest::prelude::*;
use stead_network::firewall::Firewall;
use stead_network::machine_rules::{Guard, MachinePort};
use stead_network::ruleset::Ruleset;
use stead_network::sets::NamedSet;

fn machine(number: u8, policy: &str) -> MachinePort {
    MachinePort {
        device: format!("vnet{number}"),
        mac: Mac([0x52, 0x54, 0, 0, 0, number]),
        guard: Some(Guard {
            nets: vec![("192.168.50.0".parse().expect("an address"), 24)],
            gateways: vec!["192.168.50.1".parse().expect("an address")],
        }),
        policy: Policy::parse(policy).expect("a policy"),
        sending: None,
        address: None,
        filter: None,
    }
}

fn firewall(machines: Vec<MachinePort>) -> Firewall {
    Firewall {
        table: "stead_t".into(),
        machines,
        ..Firewall::default()
    }
}

const CLOSED: &str = "<f inbound='drop'><member group='web'/></f>";
const OPENED: &str = "<f inbound='drop'><member group='web'/><allow in='tcp/80'/></f>";
const FREE: &str = "<f/>";

#[test]
fn only_what_differs_is_said() {
    let two = firewall(vec![machine(1, CLOSED), machine(2, CLOSED)]);
    let allowed = firewall(vec![machine(1, OPENED), machine(2, CLOSED)]);
    let three = firewall(vec![
        machine(1, OPENED),
        machine(2, CLOSED),
        machine(3, CLOSED),
    ]);
    let free = firewall(vec![machine(1, OPENED), machine(2, FREE)]);
    let none = firewall(Vec::new());
    let way = [&two, &two, &allowed, &three, &free, &none, &two];
    let said: Vec<String> = way
        .windows(2)
        .map(|pair| {
            let (old, new) = (pair[0].ruleset(), pair[1].ruleset());
            new.change_from(&old).expect("a difference")
        })
        .collect();
    assert_eq!(said[0], "");
    insta::assert_snapshot!(said[1..].join("#\n"));
}

#[test]
fn elements_that_may_be_joined_change_together() {
    let with = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut firewall = firewall(vec![machine(
            1,
            "<f inbound='drop'><allow in='tcp/set:s' from='set:s'/></f>",
        )]);
        firewall.sets = vec![NamedSet::read("s", &words).expect("elements")];
        firewall.ruleset()
    };
    let change = with(&["10.0.0.0/8", "81"]).change_from(&with(&["10.1.0.0/16", "81"]));
    assert_eq!(
        change.as_deref(),
        Some(
            "flush set bridge stead_t set_ip_s\n\
             add element bridge stead_t set_ip_s { 10.0.0.0/8 }\n"
        )
    );
}

#[test]
fn what_is_listed_is_changed_in_place() {
    let rules = firewall(vec![machine(1, CLOSED)]).ruleset();
    let listed = r#"{"nftables": [{"metainfo": {}}, {"table": {"name": "stead_t"}},
        {"set": {"name": "asked_vnet1", "type": ["ipv4_addr"]}}, {"set": {"name": "group_web"}},
        {"set": {"name": "asked_vnet9"}}, {"map": {"name": "sending_ways"}},
        {"chain": {"name": "to_vnet1"}}, {"chain": {"name": "from_vnet9"}},
        {"rule": {"chain": "to_vnet1"}}]}"#;
    let there = rules.in_force(["", listed]);
    insta::assert_snapshot!(rules.change_from(&there).expect("a difference"));
    assert!(rules.in_force(["", "no JSON"]).is_empty());
}

/// What a kernel has: tables with sets and chains, as their lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Kernel {
    tables: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    rules: BTreeMap<String, Vec<String>>,
}

impl Kernel {
    fn of(rules: &Ruleset) -> Kernel {
        let mut kernel = Kernel::default();
        kernel.carry_out(&rules.whole());
        kernel
    }

    /// Carries a transaction out, as nft does: what it says must be there.
    fn carry_out(&mut self, text: &str) {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let table = |at: usize| format!("{} {}", words[at], words[at + 1]);
            match words[..2] {
                ["add", "table"] => _ = self.tables.entry(table(2)).or_default(),
                ["delete", "table"] => {
                    let table = table(2);
                    assert!(self.tables.remove(&table).is_some(), "{line}");
                    let inside = format!("{table} ");
                    self.rules.retain(|name, _| !name.starts_with(&inside));
                }
                ["table", _] => self.fill(&table(1), &mut lines),
                ["add", "chain"] => _ = self.rules.entry(self.name(&words)).or_default(),
                ["flush", "chain"] => {
                    let name = self.name(&words);
                    self.rules.get_mut(&name).expect("a chain to empty").clear();
                }
                ["delete", "chain"] => {
                    let rules = self.rules.remove(&self.name(&words));
                    assert_eq!(rules, Some(Vec::new()), "{line}");
                }
                [verb, what] => self.change_set(verb, what, &words, line),
                _ => panic!("no command: {line}"),
            }
        }
        self.check_references();
    }

    fn name(&self, words: &[&str]) -> String {
        format!("{} {} {}", words[2], words[3], words[4])
    }

    fn change_set(&mut self, verb: &str, what: &str, words: &[&str], line: &str) {
        let sets = self.tables.get_mut(&format!("{} {}", words[2], words[3]));
        let sets = sets.expect("a table");
        if verb == "delete" && what != "element" {
            assert!(sets.remove(words[4]).is_some(), "{line}");
            return;
        }
        let set = sets.get_mut(words[4]).expect("a set");
        let elements = line.split_once('{').map_or("", |(_, rest)| rest);
        let elements = elements.trim_end_matches('}').split(',').map(str::trim);
        match verb {
            "add" => set.extend(elements.map(str::to_owned)),
            "flush" => set.clear(),
            "delete" => elements.for_each(|gone| assert!(set.remove(gone), "{line}")),
            _ => panic!("no command: {line}"),
        }
    }

    fn fill(&mut self, table: &str, lines: &mut std::str::Lines) {
        let sets = self.tables.entry(table.to_owned()).or_default();
        while let Some(line) = lines.next().filter(|line| *line != "}") {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let body: Vec<&str> = lines
                .by_ref()
                .take_while(|line| *line != "\t}")
                .map(str::trim)
                .collect();
            if words[0] == "chain" {
                let rules = self
                    .rules
                    .entry(format!("{table} {}", words[1]))
                    .or_default();
                let rule = |line: &&&str| !line.starts_with("type ");
                rules.extend(body.iter().filter(rule).map(|line| (*line).to_owned()));
                continue;
            }
            let set = sets.entry(words[1].to_owned()).or_default();
            for line in body {
                if let Some(elements) = line.strip_prefix("elements = {") {
                    let elements = elements.trim_end_matches('}').split(',');
                    set.extend(elements.map(|element| element.trim().to_owned()));
                }
            }
        }
    }

    /// Nothing speaks of what is not there.
    fn check_references(&self) {
        for (table, sets) in &self.tables {
            let rules = self
                .rules
                .iter()
                .filter(|(name, _)| name.starts_with(&format!("{table} ")));
            let rules = rules.flat_map(|(_, rules)| rules);
            for text in rules.chain(sets.values().flatten()) {
                let words: Vec<&str> = text.split_ascii_whitespace().collect();
                for pair in words.windows(2) {
                    let chain = format!("{table} {}", pair[1]);
                    assert!(
                        pair[0] != "jump" || self.rules.contains_key(&chain),
                        "{text}"
                    );
                }
                let mut spoken = words.iter().filter_map(|word| word.strip_prefix('@'));
                assert!(spoken.all(|name| sets.contains_key(name)), "{text}");
            }
        }
    }
}

fn firewalls() -> impl Strategy<Value = Firewall> {
    let policies = prop::sample::select(vec![
        CLOSED,
        OPENED,
        FREE,
        "<f inbound='drop' log='yes'><allow in='udp/set:s' from='set:s group:db'/></f>",
    ]);
    let ports = prop::collection::btree_map(0u8..6, (policies, any::<bool>()), 0..5);
    let set = prop::option::of(prop::sample::subsequence(
        vec!["10.0.0.0/8", "::1", "53"],
        0..3,
    ));
    (ports, set).prop_map(|(ports, set)| {
        let mut all = firewall(Vec::new());
        for (number, (policy, guarded)) in ports {
            let mut machine = machine(number, policy);
            machine.guard = machine.guard.filter(|_| guarded);
            all.machines.push(machine);
        }
        all.sets.extend(set.map(|words| {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            NamedSet::read("s", &words).expect("elements")
        }));
        all
    })
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_to_the_other(old in firewalls(), new in firewalls()) {
        let (old, new) = (old.ruleset(), new.ruleset());
        let mut kernel = Kernel::of(&old);
        let change = new.change_from(&old).expect("a difference");
        kernel.carry_out(&change);
        prop_assert_eq!(&kernel, &Kernel::of(&new));
        prop_assert_eq!(new.change_from(&new), Some(String::new()));
    }
}
