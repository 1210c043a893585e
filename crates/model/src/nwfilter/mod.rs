//! Network filters: libvirt's `<filter>` and `<filterbinding>` as typed tables.
//!
//! - [`attributes`][]: what rules may look at, by protocol.
//! - [`value`][]: the values of these.
//! - [`rule`][]: `<rule>`.
//! - [`variables`][]: `$NAME` in rules and what is given for it.
//! - [`builtin`][]: the filters every host has.
//! - [`binding`][]: which device a filter is for.

pub mod attributes;
pub mod binding;
pub mod builtin;
pub mod rule;
pub mod value;
pub mod variables;

use uuid::Uuid;

use crate::domain::interface::FilterRef;
use crate::xml::{
    Element, Node, Scalar, XmlError, XmlErrorKind, XmlFlags, XmlWriter, expect_root, parse_document,
};
pub use rule::Rule;
use variables::{is_variable, is_variable_value};

/// The chain every packet goes through first.
pub const ROOT: &str = "root";
/// Longest name of a chain.
pub const CHAIN_NAME_MAX_BYTES: usize = 13;
/// Most rules and references of one filter.
pub const ENTRIES_MAX: usize = 16_384;

/// What a chain's name may begin with, and its place when none is given.
const CHAINS: &[(&str, i32)] = &[
    ("mac", -800),
    ("vlan", -750),
    ("stp", 0),
    ("arp", -500),
    ("rarp", -400),
    ("ipv4", -700),
    ("ipv6", -600),
];

/// A filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Its name.
    pub name: String,
    /// The chain its rules about frames are in.
    pub chain: String,
    /// That chain's place among the others.
    pub priority: i32,
    /// Its uuid.
    pub uuid: Option<Uuid>,
    /// What it consists of.
    pub entries: Vec<Entry>,
}

/// A part of a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A rule.
    Rule(Rule),
    /// Another filter.
    Reference(FilterRef),
}

impl Filter {
    /// Reads a definition.
    pub fn parse(xml: &str) -> Result<Filter, XmlError> {
        let document = parse_document(xml)?;
        let root = expect_root(&document, "filter")?;
        let name = root.attribute("name").filter(|name| !name.is_empty());
        let mut filter = Filter {
            name: name.map(str::to_owned).ok_or_else(|| {
                root.error(XmlErrorKind::Missing, "internal error: filter has no name")
            })?,
            chain: ROOT.to_owned(),
            priority: 0,
            uuid: None,
            entries: Vec::new(),
        };
        if filter.name.contains('/') {
            return Err(root.attribute_error(
                "name",
                XmlErrorKind::Invalid,
                format!("XML error: name {} cannot contain '/'", filter.name),
            ));
        }
        filter.take_chain(root)?;
        for child in root.children() {
            if filter.entries.len() >= ENTRIES_MAX {
                let message = format!("a filter has at most {ENTRIES_MAX} rules");
                return Err(child.error(XmlErrorKind::TooLarge, message));
            }
            match child.name() {
                "uuid" => {
                    let uuid = <Uuid as Scalar>::parse(&child.text());
                    filter.uuid = Some(uuid.ok_or_else(|| {
                        child.error(XmlErrorKind::Invalid, "XML error: malformed uuid element")
                    })?);
                }
                "rule" => filter.entries.push(Entry::Rule(Rule::parse(child)?)),
                "filterref" => filter.entries.push(Entry::Reference(reference(child)?)),
                _ => return Err(child.unknown_element()),
            }
        }
        Ok(filter)
    }

    fn take_chain(&mut self, root: Node) -> Result<(), XmlError> {
        let wrong = |name: &str, message: String| {
            root.attribute_error(name, XmlErrorKind::Invalid, message)
        };
        let known = ["name", "chain", "priority"];
        if let Some((name, _)) = root.attributes().find(|(name, _)| !known.contains(name)) {
            return Err(root.unknown_attribute(name));
        }
        let given = match root.attribute("priority") {
            None | Some("") => None,
            Some(text) => {
                let number: i32 = text.parse().map_err(|_| {
                    wrong(
                        "priority",
                        format!("Could not parse chain priority '{text}'"),
                    )
                })?;
                if !rule::PRIORITIES.contains(&number) {
                    let (least, most) = (rule::PRIORITIES.start(), rule::PRIORITIES.end());
                    return Err(wrong(
                        "priority",
                        format!("Priority '{number}' is outside valid range of [{least},{most}]"),
                    ));
                }
                Some(number)
            }
        };
        if let Some(chain) = root.attribute("chain").filter(|chain| !chain.is_empty()) {
            let usual = usual_priority(chain).map_err(|message| wrong("chain", message))?;
            self.chain = chain.to_owned();
            self.priority = given.unwrap_or(usual);
        }
        Ok(())
    }

    /// Writes it as libvirt shows it.
    pub fn to_xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("filter");
        w.attr_str("name", &self.name);
        w.attr_str("chain", &self.chain);
        if self.priority != 0 {
            w.attr("priority", &self.priority);
        }
        if let Some(uuid) = &self.uuid {
            w.leaf("uuid", uuid);
        }
        for entry in &self.entries {
            match entry {
                Entry::Rule(rule) => rule.write(&mut w),
                Entry::Reference(reference) => reference.write("filterref", &mut w),
            }
        }
        w.end("filter");
        w.finish()
    }

    /// The filters it refers to.
    pub fn references(&self) -> impl Iterator<Item = &FilterRef> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Reference(reference) => Some(reference),
            Entry::Rule(_) => None,
        })
    }
}

/// What a chain's name says it is about: `root`, `mac`, `vlan`, `stp`, `arp`, `rarp`, `ipv4` or `ipv6`.
pub fn chain_subject(chain: &str) -> Option<&'static str> {
    if chain == ROOT {
        return Some(ROOT);
    }
    let found = CHAINS.iter().find(|(prefix, _)| chain.starts_with(prefix));
    found.map(|(prefix, _)| *prefix)
}

fn usual_priority(chain: &str) -> Result<i32, String> {
    if chain.len() > CHAIN_NAME_MAX_BYTES {
        return Err(format!(
            "Name of chain is longer than {CHAIN_NAME_MAX_BYTES} characters"
        ));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    if !chain.bytes().all(fits) {
        return Err("Chain name contains invalid characters".to_owned());
    }
    if chain == ROOT {
        return Ok(0);
    }
    let found = CHAINS.iter().find(|(prefix, _)| chain.starts_with(prefix));
    found.map(|(_, usual)| *usual).ok_or_else(|| {
        let names: Vec<&str> = CHAINS.iter().map(|(name, _)| *name).collect();
        format!(
            "Invalid chain name '{chain}'. Please use a chain name called 'root' or any of the \
             following prefixes: {}",
            names.join(", ")
        )
    })
}

/// Reads `<filterref>`: its parameters come by name, as libvirt shows them.
pub fn reference(node: Node) -> Result<FilterRef, XmlError> {
    let mut reference: FilterRef = Element::parse(node)?;
    for parameter in &reference.parameters {
        if !is_variable(&parameter.name) || !is_variable_value(&parameter.value) {
            let message = format!(
                "XML error: parameter '{}' of filter '{}' cannot have the value '{}'",
                parameter.name, reference.filter, parameter.value
            );
            return Err(node.error(XmlErrorKind::Invalid, message));
        }
    }
    reference.parameters.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reference)
}
