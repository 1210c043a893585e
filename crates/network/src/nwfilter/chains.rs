//! The chains of one device, and the base chains that lead there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

use model::nwfilter::attributes::Layer;
use model::nwfilter::rule::{Action, Direction, Rule};
use model::nwfilter::value::{States, Value};
use model::nwfilter::{ROOT, chain_subject};
use model::xml::Mac;

use super::DeviceFilter;
use super::bind::{Operand, Terms, bind};
use super::expand::FilterError;
use super::flows::{Begun, Flows, Shape};
use super::matching::{Matcher, STP_TARGET, carried};
use crate::firewall::chain_id;
use crate::ruleset::{Set, Table};

/// Most addresses that DHCP servers are seen to give one machine.
pub const LEARNT_MAX: u32 = 16;
/// Most addresses of one machine told of in ARP that are remembered at once.
const TOLD_MAX: u32 = 768;
/// Numbers that many devices' rules speak of, as sets: name, type, elements. Without a name each
/// mention would be a set of its own, which the kernel handles the slower the more there are.
const SHARED: [(&str, &str, &str); 4] = [
    (
        "errors_icmp",
        "icmp_type",
        "destination-unreachable, time-exceeded, parameter-problem",
    ),
    (
        "errors_icmpv6",
        "icmpv6_type",
        "destination-unreachable, packet-too-big, time-exceeded, parameter-problem",
    ),
    ("protocols_ported", "inet_proto", "17, 33, 132, 136"),
    (
        "protocols_known",
        "inet_proto",
        "1, 6, 17, 33, 58, 132, 136",
    ),
];

/// How a machine's address is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Learning {
    /// The first it uses.
    Any,
    /// Those that DHCP servers give it; these servers only, where some are named.
    Dhcp(Vec<Ipv4Addr>),
}

/// The way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the machine.
    Sent,
    /// To the machine.
    Received,
}

impl Way {
    const BOTH: [Way; 2] = [Way::Sent, Way::Received];

    fn word(self) -> &'static str {
        match self {
            Way::Sent => "from",
            Way::Received => "to",
        }
    }

    fn hook(self) -> (&'static str, &'static str) {
        match self {
            Way::Sent => ("prerouting", "iifname"),
            Way::Received => ("postrouting", "oifname"),
        }
    }

    /// Whether a rule is for packets going this way, and whether it then says
    /// things the other way round.
    fn takes(self, direction: Direction) -> Option<bool> {
        match (self, direction) {
            (Way::Sent, Direction::Out) | (Way::Received, Direction::In | Direction::Inout) => {
                Some(false)
            }
            (Way::Sent, Direction::Inout) => Some(true),
            _ => None,
        }
    }
}

/// What is known of a device beside its filter.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// Its name.
    pub name: &'a str,
    /// The machine's card.
    pub mac: Mac,
    /// Whether the kernel can answer for what it refuses.
    pub rejects: bool,
}

/// The sets and chains of one device.
#[derive(Debug, Default)]
pub struct DeviceChains {
    table: Table,
    id: String,
    /// The base chains that must lead here: stage and way.
    entries: Vec<(&'static str, Way)>,
}

impl DeviceChains {
    /// Makes a device's chains; refused where its filter cannot be.
    pub fn of(device: Device, filter: &DeviceFilter) -> Result<DeviceChains, FilterError> {
        let id = chain_id(device.name);
        let mut work = Work {
            device,
            learnt: learnt_set(device.name, device.mac),
            id,
            learning: filter.learning.is_some(),
            flows: Flows::default(),
            tells: BTreeSet::new(),
            table: Table::default(),
            entries: Vec::new(),
        };
        work.flows = Flows::new(&work.id);
        let mut rules = Vec::new();
        for placed in &filter.rules {
            let bound = bind(&placed.rule, &placed.variables, work.learning)?;
            rules.extend(bound.into_iter().map(|terms| BoundRule {
                chain: &placed.chain,
                chain_priority: placed.chain_priority,
                rule: &placed.rule,
                terms,
            }));
        }
        rules.sort_by_key(|bound| bound.rule.priority);
        for way in Way::BOTH {
            work.frames(way, &rules, filter.learning.as_ref())?;
        }
        work.packets(&rules)?;
        if let Some(learning) = &filter.learning {
            let set = declare_learnt(learning, &filter.learnt);
            work.table.set(&work.learnt, set);
        }
        work.flows.declare(&mut work.table);
        for set in work.tells {
            let told = Set::of_packets("ipv4_addr", "dynamic,timeout").of_size(TOLD_MAX);
            work.table.set(set, told);
        }
        Ok(DeviceChains {
            table: work.table,
            id: work.id,
            entries: work.entries,
        })
    }
}

impl DeviceChains {
    /// Chains through which nothing passes.
    pub(crate) fn closed(device: &str) -> DeviceChains {
        let id = chain_id(device);
        let mut table = Table::default();
        for way in Way::BOTH {
            let name = format!("frames_{}_{id}", way.word());
            table.chain(name, vec!["counter drop".to_owned()]);
        }
        DeviceChains {
            table,
            id,
            entries: Way::BOTH.map(|way| ("frames", way)).to_vec(),
        }
    }
}

/// Puts the chains of all devices and the base chains that lead there into `table`.
pub(crate) fn write(devices: Vec<(&str, DeviceChains)>, table: &mut Table) {
    for (stage, priority) in [("frames", 20), ("packets", 10)] {
        for way in Way::BOTH {
            let led = devices
                .iter()
                .filter(|(_, c)| c.entries.contains(&(stage, way)));
            let name = format!("{stage}_{}", way.word());
            let ways: Vec<(String, String)> = led
                .map(|(device, c)| ((*device).to_owned(), format!("{name}_{}", c.id)))
                .collect();
            if ways.is_empty() {
                continue;
            }
            let (hook, device) = way.hook();
            let rule = table.ways(&format!("{name}_ways"), device, ways);
            let hook =
                format!("type filter hook {hook} priority filter - {priority}; policy accept;");
            table.base(&name, &hook, vec![rule]);
        }
    }
    for (_, device) in devices {
        table.merge(device.table);
    }
    for (name, of, elements) in SHARED {
        if table.mentions(&format!("@{name} ")) {
            let elements = elements.split(", ").map(str::to_owned);
            table.set(name, Set::of(of).filled(elements));
        }
    }
}

struct BoundRule<'a> {
    chain: &'a str,
    chain_priority: i32,
    rule: &'a Rule,
    terms: Terms,
}

impl BoundRule<'_> {
    fn layer(&self) -> Layer {
        self.rule
            .protocol
            .map_or(Layer::Ethernet, |protocol| protocol.layer())
    }

    fn states(&self) -> Option<States> {
        match &self.terms.get("state")?.operand {
            Operand::Value(Value::States(states)) => Some(*states),
            _ => None,
        }
    }
}

struct Work<'a> {
    device: Device<'a>,
    id: String,
    learnt: String,
    learning: bool,
    flows: Flows,
    /// Sets of addresses that were told of in ARP.
    tells: BTreeSet<String>,
    table: Table,
    entries: Vec<(&'static str, Way)>,
}

impl Work<'_> {
    fn text(&mut self, bound: &BoundRule, way: Way, reversed: bool) -> Result<String, FilterError> {
        let told = format!("told_{}_{}", way.word(), self.id);
        let matcher = Matcher::new(&bound.terms, reversed, [&self.learnt, &told]);
        let text = matcher.text(bound.rule.protocol)?;
        if text.contains(&told) {
            self.tells.insert(told);
        }
        Ok(text)
    }

    fn verdict(&self, action: Action, way: Way, packets: bool) -> &'static str {
        match action {
            Action::Accept => "accept",
            Action::Return => "return",
            Action::Continue => "continue",
            // The kernel answers only on the way in.
            Action::Reject if packets && way == Way::Sent && self.device.rejects => {
                "counter reject"
            }
            Action::Drop | Action::Reject => "counter drop",
        }
    }

    /// The chains of rules about frames.
    fn frames(
        &mut self,
        way: Way,
        rules: &[BoundRule],
        learning: Option<&Learning>,
    ) -> Result<(), FilterError> {
        let root = format!("frames_{}_{}", way.word(), self.id);
        // Place, jumps before rules, text.
        let mut top: Vec<(i32, bool, String)> = Vec::new();
        let mut others: BTreeMap<&str, (i32, Vec<String>)> = BTreeMap::new();
        for bound in rules
            .iter()
            .filter(|bound| bound.layer() == Layer::Ethernet)
        {
            let Some(reversed) = way.takes(bound.rule.direction) else {
                continue;
            };
            let verdict = self.verdict(bound.rule.action, way, false);
            let text = format!("{}{verdict}", self.text(bound, way, reversed)?);
            match bound.chain {
                ROOT => top.push((bound.rule.priority, true, text)),
                chain => {
                    let entry = others
                        .entry(chain)
                        .or_insert((bound.chain_priority, Vec::new()));
                    entry.1.push(text);
                }
            }
        }
        for (chain, (priority, rules)) in others {
            let name = format!("{root}_{}", chain_id(chain));
            self.table.chain(&name, rules);
            top.push((priority, false, format!("{}jump {name}", led_to(chain))));
        }
        top.sort_by_key(|(priority, is_rule, _)| (*priority, *is_rule));
        let learn = learning.map(|learning| self.learn(way, learning));
        let texts: Vec<String> = learn
            .into_iter()
            .flatten()
            .chain(top.into_iter().map(|(_, _, text)| text))
            .collect();
        if !texts.is_empty() {
            self.table.chain(&root, texts);
            self.entries.push(("frames", way));
        }
        Ok(())
    }

    /// The rules that find the machine's address.
    fn learn(&self, way: Way, learning: &Learning) -> Vec<String> {
        let (mac, set) = (self.device.mac, &self.learnt);
        match (way, learning) {
            (Way::Sent, Learning::Any) => vec![
                format!(
                    "ether saddr {mac} ether type ip ip saddr != 0.0.0.0 add @{set} {{ ip saddr }}"
                ),
                format!(
                    "ether saddr {mac} arp saddr ether {mac} arp saddr ip != 0.0.0.0 add @{set} {{ arp saddr ip }}"
                ),
            ],
            (Way::Sent, Learning::Dhcp(_)) => Vec::new(),
            (Way::Received, learning) => {
                let servers = match learning {
                    Learning::Dhcp(servers) => match servers.as_slice() {
                        [] => String::new(),
                        [server] => format!("ip saddr {server} "),
                        servers => {
                            let each: Vec<String> =
                                servers.iter().map(Ipv4Addr::to_string).collect();
                            format!("ip saddr {{ {} }} ", each.join(", "))
                        }
                    },
                    Learning::Any => String::new(),
                };
                // The answer's chaddr and yiaddr.
                let card = mac.0.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
                vec![format!(
                    "ether type ip {servers}udp sport 67 udp dport 68 @th,288,48 {card:#x} \
                     @th,192,32 != 0 add @{set} {{ @th,192,32 }}"
                )]
            }
        }
    }

    /// The chains of rules about connections.
    fn packets(&mut self, rules: &[BoundRule]) -> Result<(), FilterError> {
        let rules: Vec<&BoundRule> = rules
            .iter()
            .filter(|bound| bound.layer() != Layer::Ethernet)
            .collect();
        if rules.is_empty() {
            return Ok(());
        }
        let asked = States::NEW | States::ESTABLISHED;
        let tracks = rules
            .iter()
            .any(|bound| bound.states().is_some_and(|states| states.has(asked)));
        for way in Way::BOTH {
            let mut texts = Vec::new();
            if way == Way::Received {
                // The host's own DHCP server may always answer.
                texts.push("meta iif 0 ether type ip udp sport 67 udp dport 68 accept".to_owned());
            }
            for bound in &rules {
                self.packet(bound, way, tracks, &mut texts)?;
            }
            if tracks {
                for family in ["ip", "ip6"] {
                    let all = format!("ether type {family} ");
                    self.note_all(&all, None, family, way, &mut texts);
                }
            }
            let name = format!("packets_{}_{}", way.word(), self.id);
            self.table.chain(&name, texts);
            self.entries.push(("packets", way));
        }
        Ok(())
    }

    fn packet(
        &mut self,
        bound: &BoundRule,
        way: Way,
        tracks: bool,
        texts: &mut Vec<String>,
    ) -> Result<(), FilterError> {
        let rule = bound.rule;
        let own = way.takes(rule.direction);
        let states = bound.states().filter(|_| rule.statematch);
        let typed = bound.terms.contains_key("type");
        let Some(protocol) = rule.protocol else {
            return Ok(());
        };
        let family = if protocol.layer() == Layer::Ipv4 {
            "ip"
        } else {
            "ip6"
        };
        let carried = carried(protocol);
        let verdict = self.verdict(rule.action, way, true);
        if let Some(states) = states {
            if let Some(reversed) = own {
                let text = self.text(bound, way, reversed)?;
                self.in_states(states, &text, carried, family, way, verdict, texts);
            }
            return Ok(());
        }
        let stateful = rule.action == Action::Accept
            && rule.statematch
            && rule.direction != Direction::Inout
            && !typed;
        let reversed = match own {
            Some(reversed) => reversed,
            // What asks by type is answered by another type.
            None if typed => return Ok(()),
            None => true,
        };
        let text = self.text(bound, way, reversed)?;
        let begun = match rule.direction {
            Direction::In => Begun::In,
            Direction::Out | Direction::Inout => Begun::Out,
        };
        if !stateful {
            if tracks && rule.action == Action::Accept {
                self.note_all(&text, carried, family, way, texts);
            }
            texts.push(format!("{text}{verdict}"));
            return Ok(());
        }
        for (shape, condition, answer) in Shape::of(carried, family) {
            let sent = way == Way::Sent;
            let known = match own {
                Some(_) => self.flows.note(begun, shape, family, sent),
                None => format!(
                    "{answer}{}",
                    self.flows.is(begun, shape, family, sent, true)
                ),
            };
            texts.push(format!("{text}{condition}{known}accept"));
        }
        Ok(())
    }

    /// A rule for connections in certain states only.
    #[allow(clippy::too_many_arguments)]
    fn in_states(
        &mut self,
        states: States,
        text: &str,
        carried: Option<u32>,
        family: &'static str,
        way: Way,
        verdict: &str,
        texts: &mut Vec<String>,
    ) {
        let sent = way == Way::Sent;
        let begun = if sent { Begun::Out } else { Begun::In };
        let accepts = verdict == "accept";
        if states.has(States::NONE) {
            texts.push(format!("{text}{verdict}"));
            return;
        }
        for (shape, condition, answer) in Shape::of(carried, family) {
            for (known, answer) in [(begun, ""), (begun.other(), answer)] {
                if states.has(States::ESTABLISHED) {
                    let is = self.flows.is(known, shape, family, sent, true);
                    texts.push(format!("{text}{condition}{answer}{is}{verdict}"));
                }
            }
            if states.has(States::NEW) {
                let fresh = self.flows.is(begun, shape, family, sent, false)
                    + &self.flows.is(begun.other(), shape, family, sent, false);
                let note = match accepts {
                    true => self.flows.note(begun, shape, family, sent),
                    false => String::new(),
                };
                texts.push(format!("{text}{condition}{fresh}{note}{verdict}"));
            }
        }
        let icmp = if family == "ip" { 1 } else { 58 };
        if states.has(States::RELATED) && carried.is_none_or(|number| number == icmp) {
            let errors = match family {
                "ip" => "icmp type @errors_icmp ",
                _ => "icmpv6 type @errors_icmpv6 ",
            };
            texts.push(format!("{text}{errors}{verdict}"));
        }
    }

    /// Notes the conversations that packets begin.
    fn note_all(
        &mut self,
        text: &str,
        carried: Option<u32>,
        family: &'static str,
        way: Way,
        texts: &mut Vec<String>,
    ) {
        let sent = way == Way::Sent;
        let begun = if sent { Begun::Out } else { Begun::In };
        for (shape, condition, _) in Shape::of(carried, family) {
            let fresh = self.flows.is(begun.other(), shape, family, sent, false);
            let note = self.flows.note(begun, shape, family, sent);
            texts.push(format!("{text}{condition}{fresh}{}", note.trim_end()));
        }
    }
}

/// What leads into a chain, by its name.
fn led_to(chain: &str) -> String {
    match chain_subject(chain) {
        Some("vlan") => "ether type vlan ".to_owned(),
        Some("stp") => format!("ether daddr {STP_TARGET} "),
        Some("arp") => "ether type arp ".to_owned(),
        Some("rarp") => "ether type 0x8035 ".to_owned(),
        Some("ipv4") => "ether type ip ".to_owned(),
        Some("ipv6") => "ether type ip6 ".to_owned(),
        _ => String::new(),
    }
}

fn declare_learnt(learning: &Learning, found: &[Ipv4Addr]) -> Set {
    let most = match learning {
        Learning::Any => 1,
        Learning::Dhcp(_) => LEARNT_MAX,
    };
    let kept = found.iter().take(most as usize);
    let set = Set::of_packets("ipv4_addr", "dynamic").of_size(most);
    set.filled(kept.map(Ipv4Addr::to_string))
}

/// The set of the addresses found for a device's machine.
pub fn learnt_set(device: &str, Mac(mac): Mac) -> String {
    let mut name = format!("learnt_{}_", chain_id(device));
    for byte in mac {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
