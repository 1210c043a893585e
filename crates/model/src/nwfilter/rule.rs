//! `<rule>`: what is done with the packets that it describes.

use std::collections::BTreeMap;

use super::attributes::{Attribute, Protocol};
use super::value::Value;
use super::variables::Access;
use crate::xml::{Node, Scalar, XmlError, XmlErrorKind, XmlWriter, keyword};

/// The priorities a rule may have; the lowest comes first.
pub const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;
/// The priority of a rule that gives none.
pub const PRIORITY_DEFAULT: i32 = 500;

keyword! {
    /// What a rule does.
    pub enum Action {
        Drop = "drop",
        Accept = "accept",
        Reject = "reject",
        Return = "return",
        Continue = "continue",
    }
}

keyword! {
    /// Which packets a rule is for, as the machine sees them.
    pub enum Direction {
        In = "in",
        Out = "out",
        Inout = "inout",
    }
}

/// What one attribute must be, or must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// Whether the packet must be another.
    pub negated: bool,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// For which packets.
    pub direction: Direction,
    /// Its place among the others.
    pub priority: i32,
    /// Whether answers are known by the connection they belong to.
    pub statematch: bool,
    /// What it looks at; nothing where every packet is meant.
    pub protocol: Option<Protocol>,
    /// What it looks for.
    pub items: BTreeMap<&'static str, Item>,
}

impl Rule {
    /// What it looks for in one attribute.
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items.get(name)
    }

    /// The variables it names.
    pub fn variables(&self) -> impl Iterator<Item = &Access> {
        self.items.values().filter_map(|item| match &item.value {
            Value::Variable(access) => Some(access),
            _ => None,
        })
    }

    pub(super) fn parse(node: Node) -> Result<Rule, XmlError> {
        let known = ["action", "direction", "priority", "statematch"];
        if let Some((name, _)) = node.attributes().find(|(name, _)| !known.contains(name)) {
            return Err(node.unknown_attribute(name));
        }
        let mut rule = Rule {
            action: word(node, "action")?,
            direction: word(node, "direction")?,
            priority: PRIORITY_DEFAULT,
            statematch: !matches!(
                node.attribute("statematch")
                    .map(str::to_ascii_lowercase)
                    .as_deref(),
                Some("0" | "false")
            ),
            protocol: None,
            items: BTreeMap::new(),
        };
        let priority = node
            .attribute("priority")
            .and_then(|text| text.parse().ok());
        if let Some(priority) = priority.filter(|priority| PRIORITIES.contains(priority)) {
            rule.priority = priority;
        }
        for child in node.children() {
            let protocol = Protocol::parse(child.name()).ok_or_else(|| child.unknown_element())?;
            if rule.protocol.is_some_and(|first| first != protocol) {
                return Err(child.error(
                    XmlErrorKind::Invalid,
                    format!(
                        "XML error: a rule is about one protocol, and <{protocol}> is a second one"
                    ),
                ));
            }
            rule.protocol = Some(protocol);
            rule.take(protocol, child)?;
        }
        rule.align_signs();
        Ok(rule)
    }

    fn take(&mut self, protocol: Protocol, node: Node) -> Result<(), XmlError> {
        let negated = node.attribute("match") == Some("no");
        for (name, text) in node.attributes().filter(|(name, _)| *name != "match") {
            let Some(attribute) = protocol.attributes().find(|a| a.name == name) else {
                // What belongs to other protocols says nothing here, as with libvirt.
                if Protocol::ALL
                    .iter()
                    .any(|other| other.attributes().any(|a| a.name == name))
                {
                    continue;
                }
                return Err(node.unknown_attribute(name));
            };
            let value = Value::parse(attribute.kind, text).ok_or_else(|| {
                let message = format!("internal error: {name} has illegal value {text}");
                node.attribute_error(name, XmlErrorKind::Invalid, message)
            })?;
            self.items.insert(attribute.name, Item { value, negated });
        }
        self.check_ports(protocol, node)
    }

    /// Ports are looked for only where there are some.
    fn check_ports(&self, protocol: Protocol, node: Node) -> Result<(), XmlError> {
        let shown = match protocol {
            Protocol::Ip => "IP",
            Protocol::Ipv6 => "IPv6",
            _ => return Ok(()),
        };
        let ports = ["srcportstart", "srcportend", "dstportstart", "dstportend"];
        let carried = self.item("protocol").map(|item| &item.value);
        /// TCP, UDP, DCCP, SCTP.
        const PORTED: [u32; 4] = [6, 17, 33, 132];
        let ported = matches!(carried, Some(Value::Number(n, _)) if PORTED.contains(n));
        if ported || !ports.iter().any(|name| self.items.contains_key(name)) {
            return Ok(());
        }
        Err(node.error(
            XmlErrorKind::Invalid,
            format!(
                "internal error: {shown} rule with port specification requires protocol specification \
                 with protocol to be either one of tcp(6), udp(17), dccp(33), or sctp(132)"
            ),
        ))
    }

    /// A mask is meant as its address is, the end of a range as its beginning.
    fn align_signs(&mut self) {
        let Some(protocol) = self.protocol else {
            return;
        };
        for Attribute { name, sign_of, .. } in protocol.attributes() {
            let owner = sign_of.and_then(|owner| self.items.get(owner));
            let Some(negated) = owner.map(|item| item.negated) else {
                continue;
            };
            if let Some(item) = self.items.get_mut(name) {
                item.negated = negated;
            }
        }
    }

    pub(super) fn write(&self, w: &mut XmlWriter) {
        w.begin("rule");
        w.attr("action", &self.action);
        w.attr("direction", &self.direction);
        w.attr("priority", &self.priority);
        if !self.statematch {
            w.attr_str("statematch", "false");
        }
        if let Some(protocol) = self.protocol {
            self.write_items(protocol, w);
        }
        w.end("rule");
    }

    /// First what the packet must be, then what it must not be.
    fn write_items(&self, protocol: Protocol, w: &mut XmlWriter) {
        let name = protocol.as_str();
        if self.items.is_empty() {
            w.empty(name);
        }
        for negated in [false, true] {
            let items = protocol.attributes().filter_map(|attribute| {
                let item = self.items.get(attribute.name)?;
                (item.negated == negated).then_some((attribute, item))
            });
            let mut items = items.peekable();
            if items.peek().is_none() {
                continue;
            }
            w.begin(name);
            if negated {
                w.attr_str("match", "no");
            }
            for (attribute, item) in items {
                w.attr_str(attribute.name, &item.value.text(attribute.kind));
            }
            w.end(name);
        }
    }
}

fn word<T: Scalar>(node: Node, name: &str) -> Result<T, XmlError> {
    let text = node.attribute(name).ok_or_else(|| {
        let message = format!("internal error: rule node requires {name} attribute");
        node.error(XmlErrorKind::Missing, message)
    })?;
    T::parse(text).ok_or_else(|| {
        let message = format!("unsupported configuration: unknown rule {name} attribute value");
        node.attribute_error(name, XmlErrorKind::Unsupported, message)
    })
}
