//! What a machine may receive and where it is reached: the simple rules that
//! `stead firewall` keeps in the machine's own metadata.

use std::fmt;
use std::net::IpAddr;

use super::ip::masked;
use crate::xml::{Node, XmlError, XmlErrorKind, parse_document, root};

/// The namespace of the metadata element that holds them.
pub const NAMESPACE: &str = "urn:stead:firewall:1";
/// The prefix that element is written with.
pub const PREFIX: &str = "stead";
/// Most rules of one machine.
pub const RULES_MAX: usize = 256;

/// A machine's rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whether what no rule allows is dropped.
    pub drop_inbound: bool,
    /// Whether what is dropped is logged.
    pub log: bool,
    /// Groups it belongs to.
    pub groups: Vec<String>,
    /// What may come in.
    pub allows: Vec<Allow>,
    /// Ports of the host that lead to it.
    pub forwards: Vec<Forward>,
}

/// Something that may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// What.
    pub service: Service,
    /// From whom; anybody where nobody is named.
    pub from: Vec<Peer>,
}

/// A kind of traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// TCP to these ports.
    Tcp(Vec<(u16, u16)>),
    /// UDP to these ports.
    Udp(Vec<(u16, u16)>),
    /// TCP to the ports of a set.
    TcpSet(String),
    /// UDP to the ports of a set.
    UdpSet(String),
    /// Being asked whether it is there.
    Ping,
    /// Everything.
    All,
}

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A network, or one address.
    Net(IpAddr, u8),
    /// The machines of a group.
    Group(String),
    /// The addresses of a set.
    Set(String),
}

/// A port of the host that leads to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The host's port.
    pub port: u16,
    /// The machine's.
    pub to: u16,
}

impl Service {
    /// Reads `tcp/80,443`, `udp/5000-5100`, `tcp/set:NAME`, `icmp` or `all`.
    pub fn parse(text: &str) -> Option<Service> {
        if let Some((protocol, name)) = text.split_once("/set:") {
            let name = is_name(name).then(|| name.to_owned())?;
            return match protocol {
                "tcp" => Some(Service::TcpSet(name)),
                "udp" => Some(Service::UdpSet(name)),
                _ => None,
            };
        }
        match text.split_once('/') {
            None if text == "icmp" || text == "ping" => Some(Service::Ping),
            None if text == "all" => Some(Service::All),
            Some(("tcp", ports)) => parse_ports(ports).map(Service::Tcp),
            Some(("udp", ports)) => parse_ports(ports).map(Service::Udp),
            _ => None,
        }
    }
}

/// Reads `80,443,8000-8010`.
pub fn parse_ports(text: &str) -> Option<Vec<(u16, u16)>> {
    text.split(',')
        .map(|part| {
            let (start, end) = part.split_once('-').unwrap_or((part, part));
            let (start, end) = (start.parse().ok()?, end.parse().ok()?);
            (start > 0 && start <= end).then_some((start, end))
        })
        .collect()
}

/// Ports as nft and people write them.
pub fn ports_text(ports: &[(u16, u16)], separator: &str) -> String {
    let each = ports.iter().map(|(start, end)| match start == end {
        true => start.to_string(),
        false => format!("{start}-{end}"),
    });
    each.collect::<Vec<_>>().join(separator)
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Tcp(ports) => write!(f, "tcp/{}", ports_text(ports, ",")),
            Service::Udp(ports) => write!(f, "udp/{}", ports_text(ports, ",")),
            Service::TcpSet(name) => write!(f, "tcp/set:{name}"),
            Service::UdpSet(name) => write!(f, "udp/set:{name}"),
            Service::Ping => f.write_str("icmp"),
            Service::All => f.write_str("all"),
        }
    }
}

impl Peer {
    /// Reads an address, a network, `group:NAME` or `set:NAME`.
    pub fn parse(text: &str) -> Option<Peer> {
        if let Some(name) = text.strip_prefix("set:") {
            return is_name(name).then(|| Peer::Set(name.to_owned()));
        }
        if let Some(name) = text.strip_prefix("group:") {
            return is_name(name).then(|| Peer::Group(name.to_owned()));
        }
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        Some(Peer::Net(masked(address, prefix)?, prefix))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Net(address, prefix) => write!(f, "{address}/{prefix}"),
            Peer::Group(name) => write!(f, "group:{name}"),
            Peer::Set(name) => write!(f, "set:{name}"),
        }
    }
}

/// Whether a word may name a group or a set.
pub fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl Forward {
    /// Reads `tcp/8080:80`, or `tcp/80` for the same port.
    pub fn parse(text: &str) -> Option<Forward> {
        let (protocol, ports) = text.split_once('/')?;
        let protocol = ["tcp", "udp"].into_iter().find(|p| *p == protocol)?;
        let (port, to) = ports.split_once(':').unwrap_or((ports, ports));
        let number = |text: &str| text.parse::<u16>().ok().filter(|n| *n > 0);
        Some(Forward {
            protocol,
            port: number(port)?,
            to: number(to)?,
        })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.protocol, self.port, self.to)
    }
}

impl Policy {
    /// The sets its rules speak of.
    pub fn sets(&self) -> impl Iterator<Item = &str> {
        self.allows.iter().flat_map(|allow| {
            let service = match &allow.service {
                Service::TcpSet(name) | Service::UdpSet(name) => Some(name.as_str()),
                _ => None,
            };
            let peers = allow.from.iter().filter_map(|peer| match peer {
                Peer::Set(name) => Some(name.as_str()),
                _ => None,
            });
            service.into_iter().chain(peers)
        })
    }

    /// Reads the metadata element.
    pub fn parse(xml: &str) -> Result<Policy, XmlError> {
        let document = parse_document(xml)?;
        let root = root(&document);
        let mut policy = Policy {
            drop_inbound: root.attribute("inbound") == Some("drop"),
            log: root.attribute("log") == Some("yes"),
            ..Policy::default()
        };
        for (count, child) in root.children().enumerate() {
            if count >= RULES_MAX {
                let message = format!("a machine can have at most {RULES_MAX} rules");
                return Err(child.error(XmlErrorKind::TooLarge, message));
            }
            policy.take(child)?;
        }
        Ok(policy)
    }

    fn take(&mut self, node: Node) -> Result<(), XmlError> {
        let wrong = |name: &str, value: &str| {
            let message = format!("'{value}' is no value for '{name}' of a firewall rule");
            node.error(XmlErrorKind::Invalid, message)
        };
        let needed = |name: &'static str| {
            let value = node.attribute(name);
            value.ok_or_else(|| node.missing_attribute(name))
        };
        match node.name() {
            "member" => {
                let group = needed("group")?;
                if !is_name(group) {
                    return Err(wrong("group", group));
                }
                self.groups.push(group.to_owned());
            }
            "allow" => {
                let what = needed("in")?;
                let service = Service::parse(what).ok_or_else(|| wrong("in", what))?;
                let words = node.attribute("from").unwrap_or_default();
                let words = words.split_ascii_whitespace();
                let from = words.map(|word| Peer::parse(word).ok_or_else(|| wrong("from", word)));
                self.allows.push(Allow {
                    service,
                    from: from.collect::<Result<_, _>>()?,
                });
            }
            "forward" => {
                let port = needed("port")?;
                let forward = Forward::parse(port).ok_or_else(|| wrong("port", port))?;
                self.forwards.push(forward);
            }
            _ => return Err(node.unknown_element()),
        }
        Ok(())
    }

    /// Writes the metadata element, without its namespace.
    pub fn to_xml(&self) -> String {
        let mut out = format!(
            "<firewall inbound='{}'{}>",
            if self.drop_inbound { "drop" } else { "accept" },
            if self.log { " log='yes'" } else { "" }
        );
        for group in &self.groups {
            out.push_str(&format!("<member group='{group}'/>"));
        }
        for allow in &self.allows {
            let from: Vec<String> = allow.from.iter().map(Peer::to_string).collect();
            let from = match from.is_empty() {
                true => String::new(),
                false => format!(" from='{}'", from.join(" ")),
            };
            out.push_str(&format!("<allow in='{}'{from}/>", allow.service));
        }
        for forward in &self.forwards {
            out.push_str(&format!("<forward port='{forward}'/>"));
        }
        out + "</firewall>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_policy_comes_back_as_it_was() {
        let policy = Policy {
            drop_inbound: true,
            log: true,
            groups: vec!["web".into()],
            allows: vec![
                Allow {
                    service: Service::parse("tcp/80,443,8000-8010").unwrap(),
                    from: vec![
                        Peer::parse("10.1.2.3/8").unwrap(),
                        Peer::parse("group:db").unwrap(),
                    ],
                },
                Allow {
                    service: Service::Ping,
                    from: Vec::new(),
                },
                Allow {
                    service: Service::parse("tcp/set:web").unwrap(),
                    from: vec![Peer::parse("set:office").unwrap()],
                },
            ],
            forwards: vec![Forward::parse("tcp/8080:80").unwrap()],
        };
        let text = policy.to_xml();
        assert!(text.contains("from='10.0.0.0/8 group:db'"), "{text}");
        assert_eq!(Policy::parse(&text).unwrap(), policy);
        assert_eq!(policy.sets().collect::<Vec<_>>(), ["web", "office"]);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for wrong in ["tcp", "tcp/0", "tcp/9-3", "sctp/1", "tcp/70000", ""] {
            assert_eq!(Service::parse(wrong), None, "{wrong}");
        }
        for wrong in ["set:", "group:", "group:a b", "1.2.3", "1.2.3.4/33"] {
            assert_eq!(Peer::parse(wrong), None, "{wrong}");
        }
        assert!(Policy::parse("<f><allow in='x'/></f>").is_err());
        assert!(Policy::parse("<f><drop/></f>").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,80}") {
            let _ = (Policy::parse(&text), Service::parse(&text), Peer::parse(&text));
            let _ = Forward::parse(&text);
        }
    }
}
