//! The values of a rule's attributes.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attributes::Kind;
use super::variables::Access;
use crate::xml::{Mac, Scalar};

/// Longest comment kept; what is longer is cut.
pub const COMMENT_MAX_BYTES: usize = 256;
/// Most fields of a packet that one set is asked about.
pub const SET_FIELDS_MAX: usize = 6;
/// Longest name of a set.
pub const SET_NAME_MAX_BYTES: usize = 31;

const ETHER_TYPES: &[(u32, &str)] = &[
    (0x0806, "arp"),
    (0x8035, "rarp"),
    (0x0800, "ipv4"),
    (0x86dd, "ipv6"),
    (0x8100, "vlan"),
];
const OPCODES: &[(u32, &str)] = &[
    (1, "Request"),
    (2, "Reply"),
    (3, "Request_Reverse"),
    (4, "Reply_Reverse"),
    (5, "DRARP_Request"),
    (6, "DRARP_Reply"),
    (7, "DRARP_Error"),
    (8, "InARP_Request"),
    (9, "ARP_NAK"),
];
const IP_PROTOCOLS: &[(u32, &str)] = &[
    (6, "tcp"),
    (17, "udp"),
    (136, "udplite"),
    (50, "esp"),
    (51, "ah"),
    (1, "icmp"),
    (2, "igmp"),
    (132, "sctp"),
    (58, "icmpv6"),
];
const TCP_FLAGS: &[(u32, &str)] = &[
    (0x1, "FIN"),
    (0x2, "SYN"),
    (0x4, "RST"),
    (0x8, "PSH"),
    (0x10, "ACK"),
    (0x20, "URG"),
    (TCP_FLAGS_ALL, "ALL"),
    (0, "NONE"),
];
const TCP_FLAGS_ALL: u32 = 0x3f;
const STATES: &[(u32, &str)] = &[
    (States::NEW, "NEW"),
    (States::ESTABLISHED, "ESTABLISHED"),
    (States::RELATED, "RELATED"),
    (States::INVALID, "INVALID"),
    (States::NONE, "NONE"),
];

/// States a connection may have, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States(pub u32);

impl States {
    /// Not seen before.
    pub const NEW: u32 = 1;
    /// Seen in both directions.
    pub const ESTABLISHED: u32 = 2;
    /// Comes of another connection.
    pub const RELATED: u32 = 4;
    /// Part of none.
    pub const INVALID: u32 = 8;
    /// Not looked at.
    pub const NONE: u32 = 16;

    /// Whether one of these is among them.
    pub fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Whatever a variable holds.
    Variable(Access),
    /// A number, and whether it was given in hexadecimal.
    Number(u32, bool),
    /// An address.
    Ip(IpAddr),
    /// How many leading bits count.
    Prefix(u8),
    /// A hardware address, or a mask of one.
    Mac(Mac),
    /// States of a connection.
    States(States),
    /// Flags of TCP: those looked at, those of them set.
    TcpFlags(u8, u8),
    /// Yes or no.
    Flag(bool),
    /// Words.
    Text(String),
    /// For each field, whether it is the source's.
    SetFields(Vec<bool>),
}

impl Value {
    /// Reads what `text` means for an attribute of `kind`.
    pub fn parse(kind: Kind, text: &str) -> Option<Value> {
        if let Some(variable) = text.strip_prefix('$') {
            return Access::parse(variable).map(Value::Variable);
        }
        match kind {
            Kind::U8 => number(text, 0xff),
            Kind::U16 => number(text, 0xffff),
            Kind::U32 => number(text, u32::MAX),
            Kind::Count => number(text, 0xffff).filter(|v| matches!(v, Value::Number(_, false))),
            Kind::EtherType => named(text, ETHER_TYPES, 0xffff, 0x600),
            Kind::Encapsulated => named(text, ETHER_TYPES, 0xffff, 0x3c),
            Kind::VlanId => number(text, 4095),
            Kind::Opcode => named(text, OPCODES, 0xffff, 0),
            Kind::IpProtocol => named(text, IP_PROTOCOLS, 0xff, 0),
            Kind::Dscp => number(text, 63),
            Kind::Mac => <Mac as Scalar>::parse(text).map(Value::Mac),
            Kind::MacMask => {
                let mask = <Mac as Scalar>::parse(text)?;
                leading_ones(&mask.0).map(|_| Value::Mac(mask))
            }
            Kind::Ipv4 => text.parse().ok().map(|ip: Ipv4Addr| Value::Ip(ip.into())),
            Kind::Ipv6 => text.parse().ok().map(|ip: Ipv6Addr| Value::Ip(ip.into())),
            Kind::Ipv4Mask => prefix(text, 32, |text| {
                leading_ones(&text.parse::<Ipv4Addr>().ok()?.octets())
            }),
            Kind::Ipv6Mask => prefix(text, 128, |text| {
                leading_ones(&text.parse::<Ipv6Addr>().ok()?.octets())
            }),
            Kind::State => words(text, STATES).map(|bits| {
                let none = bits & States::NONE != 0;
                Value::States(States(if none { States::NONE } else { bits }))
            }),
            Kind::TcpFlags => {
                let (mask, flags) = text.split_once('/')?;
                let bits = |text| words(text, TCP_FLAGS).and_then(|bits| u8::try_from(bits).ok());
                Some(Value::TcpFlags(bits(mask)?, bits(flags)?))
            }
            Kind::Flag => Some(Value::Flag(matches!(text, "true" | "1" | "yes"))),
            Kind::Comment => {
                let mut end = text.len().min(COMMENT_MAX_BYTES);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                Some(Value::Text(text[..end].to_owned()))
            }
            Kind::Set => is_set_name(text).then(|| Value::Text(text.to_owned())),
            Kind::SetFields => {
                let fields: Option<Vec<bool>> = text.split(',').map(field).collect();
                let fields = fields.filter(|fields| fields.len() <= SET_FIELDS_MAX);
                fields.map(Value::SetFields)
            }
        }
    }

    /// Writes it as libvirt shows it.
    pub fn text(&self, kind: Kind) -> String {
        match self {
            Value::Variable(access) => format!("${access}"),
            Value::Number(number, hex) => number_text(*number, *hex, kind),
            Value::Ip(ip) => Shown(*ip).to_string(),
            Value::Prefix(bits) => bits.to_string(),
            Value::Mac(mac) => mac.to_string(),
            Value::States(states) => bits_text(states.0, STATES),
            Value::TcpFlags(mask, flags) => {
                format!("{}/{}", flags_text(*mask), flags_text(*flags))
            }
            Value::Flag(flag) => flag.to_string(),
            Value::Text(text) => text.clone(),
            Value::SetFields(fields) => {
                let each = fields
                    .iter()
                    .map(|source| if *source { "src" } else { "dst" });
                each.collect::<Vec<_>>().join(",")
            }
        }
    }
}

fn field(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "src" => Some(true),
        "dst" => Some(false),
        _ => None,
    }
}

fn is_set_name(text: &str) -> bool {
    (1..=SET_NAME_MAX_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:+ ".contains(&b))
}

/// A decimal number, else one in hexadecimal, with or without `0x`.
fn number(text: &str, most: u32) -> Option<Value> {
    let fits = |number: u32| (number <= most).then_some(number);
    if let Some(number) = text.parse().ok().and_then(fits) {
        return Some(Value::Number(number, false));
    }
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let digits = digits.unwrap_or(text);
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(digits, 16).ok().and_then(fits)?;
    Some(Value::Number(number, true))
}

fn named(text: &str, names: &[(u32, &str)], most: u32, least: u32) -> Option<Value> {
    let named = names
        .iter()
        .find(|(_, name)| name.eq_ignore_ascii_case(text));
    match named {
        Some((value, _)) => Some(Value::Number(*value, false)),
        None => number(text, most).filter(|v| matches!(v, Value::Number(n, _) if *n >= least)),
    }
}

fn number_text(number: u32, hex: bool, kind: Kind) -> String {
    let (names, hex) = match kind {
        Kind::EtherType | Kind::Encapsulated => (ETHER_TYPES, hex),
        Kind::Opcode => (OPCODES, false),
        Kind::IpProtocol => (IP_PROTOCOLS, hex),
        _ => (&[][..], hex),
    };
    match names.iter().find(|(value, _)| *value == number) {
        Some((_, name)) => (*name).to_owned(),
        None if hex => format!("0x{number:x}"),
        None => number.to_string(),
    }
}

fn prefix(text: &str, most: u8, mask: impl Fn(&str) -> Option<u8>) -> Option<Value> {
    let bits = match text.parse::<u8>() {
        Ok(bits) => (bits <= most).then_some(bits),
        Err(_) => mask(text),
    };
    bits.map(Value::Prefix)
}

/// How many ones a mask begins with; none where ones come after zeros.
pub fn leading_ones(bytes: &[u8]) -> Option<u8> {
    let bits = || {
        let each = |byte: &u8| {
            (0..8)
                .rev()
                .map(|shift| byte >> shift & 1)
                .collect::<Vec<_>>()
        };
        bytes.iter().flat_map(each)
    };
    let ones = bits().take_while(|bit| *bit == 1).count();
    let all = bits().filter(|bit| *bit == 1).count();
    (ones == all).then(|| u8::try_from(ones).ok())?
}

/// Words joined by commas, each a bit; letters' case is not looked at.
fn words(text: &str, known: &[(u32, &str)]) -> Option<u32> {
    let parts = text.split(|c: char| c == ',' || c.is_ascii_whitespace());
    let bits = parts.filter(|part| !part.is_empty()).map(|part| {
        let found = known
            .iter()
            .find(|(_, word)| word.eq_ignore_ascii_case(part));
        found.map(|(bit, _)| *bit)
    });
    bits.sum_bits()
}

trait SumBits {
    fn sum_bits(self) -> Option<u32>;
}

impl<I: Iterator<Item = Option<u32>>> SumBits for I {
    fn sum_bits(mut self) -> Option<u32> {
        self.try_fold(0, |sum, bit| Some(sum | bit?))
    }
}

fn bits_text(bits: u32, known: &[(u32, &str)]) -> String {
    let each = known
        .iter()
        .filter(|(bit, _)| bit.count_ones() == 1 && bits & bit != 0);
    each.map(|(_, word)| *word).collect::<Vec<_>>().join(",")
}

fn flags_text(flags: u8) -> String {
    match u32::from(flags) {
        0 => "NONE".to_owned(),
        TCP_FLAGS_ALL => "ALL".to_owned(),
        bits => bits_text(bits, TCP_FLAGS),
    }
}

/// An address as the C library writes it.
struct Shown(IpAddr);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let IpAddr::V6(ip) = self.0
            && let [0, 0, 0, 0, 0, 0, high, low] = ip.segments()
            && high != 0
        {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            f.write_str("::")?;
            return Ipv4Addr::new(a, b, c, d).fmt(f);
        }
        let mut text = String::new();
        write!(text, "{}", self.0)?;
        f.write_str(&text)
    }
}
