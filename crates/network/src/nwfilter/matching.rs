//! What a rule looks for, as nft says it.

use std::fmt::Write;
use std::net::IpAddr;

use model::network::ip::masked;
use model::nwfilter::attributes::{Layer, Protocol};
use model::nwfilter::value::{Value, leading_ones};
use model::xml::Mac;

use super::bind::{Bound, Operand, Terms};
use super::expand::FilterError;

/// How long an address that was told of in ARP is remembered, in seconds: the packet's own way
/// through the rules is all that is needed.
const TOLD_TIMEOUT_S: u32 = 1;

/// Where switches send what they tell each other of loops.
pub const STP_TARGET: &str = "01:80:c2:00:00:00";

/// Fields of STP that are numbers: attribute, its end, bytes before it, bytes.
const STP_NUMBERS: &[(&str, &str, u32, u32)] = &[
    ("type", "", 20, 1),
    ("flags", "", 21, 1),
    ("root-priority", "root-priority-hi", 22, 2),
    ("root-cost", "root-cost-hi", 30, 4),
    ("sender-priority", "sender-priority-hi", 34, 2),
    ("port", "port-hi", 42, 2),
    ("age", "age-hi", 44, 2),
    ("max-age", "max-age-hi", 46, 2),
    ("hello-time", "hello-time-hi", 48, 2),
    ("forward-delay", "forward-delay-hi", 50, 2),
];
/// Fields of STP that are hardware addresses: attribute, its mask, bytes before it.
const STP_ADDRESSES: &[(&str, &str, u32)] = &[
    ("root-address", "root-address-mask", 24),
    ("sender-address", "sender-address-mask", 36),
];

/// A rule's terms on their way to text.
pub(super) struct Matcher<'a> {
    terms: &'a Terms,
    /// Whether the packet goes the other way than the rule says.
    reversed: bool,
    /// The set of addresses found so far.
    learnt: &'a str,
    /// The set of addresses that were told of in ARP just now.
    told: &'a str,
    out: String,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(terms: &'a Terms, reversed: bool, [learnt, told]: [&'a str; 2]) -> Self {
        Self {
            terms,
            reversed,
            learnt,
            told,
            out: String::new(),
        }
    }

    /// The text for `protocol`, with a blank at its end unless it is empty.
    pub(super) fn text(mut self, protocol: Option<Protocol>) -> Result<String, FilterError> {
        let Some(protocol) = protocol else {
            return Ok(self.out);
        };
        match protocol.layer() {
            Layer::Ethernet => self.frame(protocol)?,
            Layer::Ipv4 => self.packet(protocol, "ip")?,
            Layer::Ipv6 => self.packet(protocol, "ip6")?,
        }
        Ok(self.out)
    }

    fn put(&mut self, field: &str, bound: &Bound, value: &str) {
        let sign = if bound.negated { "!= " } else { "" };
        let _ = write!(self.out, "{field} {sign}{value} ");
    }

    fn get(&self, name: &str) -> Option<&'a Bound> {
        self.terms.get(name)
    }

    fn value(&self, name: &str) -> Option<(&'a Bound, &'a Value)> {
        let bound = self.get(name)?;
        match &bound.operand {
            Operand::Value(value) => Some((bound, value)),
            Operand::Learnt => None,
        }
    }

    fn number(&self, name: &str) -> Option<(&'a Bound, u32)> {
        match self.value(name)? {
            (bound, Value::Number(number, _)) => Some((bound, *number)),
            _ => None,
        }
    }

    /// One number, or those from it to another.
    fn range(&mut self, field: &str, first: &str, last: &str) {
        if let Some((bound, start)) = self.number(first) {
            let end = self.number(last).map_or(start, |(_, end)| end);
            let value = match end == start {
                true => start.to_string(),
                false => format!("{start}-{end}"),
            };
            self.put(field, bound, &value);
        }
    }

    /// What stands for the source and for the target in this direction.
    fn sides<'b>(&self, source: &'b str, target: &'b str) -> [(&'static str, &'b str); 2] {
        match self.reversed {
            false => [("src", source), ("dst", target)],
            true => [("src", target), ("dst", source)],
        }
    }

    fn frame(&mut self, protocol: Protocol) -> Result<(), FilterError> {
        for (side, field) in self.sides("ether saddr", "ether daddr") {
            self.mac(field, &format!("{side}macaddr"), &format!("{side}macmask"));
        }
        match protocol {
            Protocol::Mac => {
                if let Some((bound, number)) = self.number("protocolid") {
                    self.put("ether type", bound, &format!("{number:#06x}"));
                }
            }
            Protocol::Vlan => {
                self.out.push_str("ether type vlan ");
                self.range("vlan id", "vlanid", "");
                if let Some((bound, number)) = self.number("encap-protocol") {
                    self.put("vlan type", bound, &format!("{number:#06x}"));
                }
            }
            Protocol::Stp => self.stp(),
            Protocol::Arp => self.arp()?,
            Protocol::Rarp => self.rarp()?,
            _ => self.frame_of_ip(protocol)?,
        }
        Ok(())
    }

    fn mac(&mut self, field: &str, name: &str, mask: &str) {
        let Some((bound, Value::Mac(mac))) = self.value(name) else {
            return;
        };
        match self.value(mask) {
            Some((_, Value::Mac(mask))) if leading_ones(&mask.0) != Some(48) => {
                let of = |index: usize| mac.0[index] & mask.0[index];
                let net = Mac([of(0), of(1), of(2), of(3), of(4), of(5)]);
                let sign = if bound.negated { "!=" } else { "==" };
                let _ = write!(self.out, "{field} & {mask} {sign} {net} ");
            }
            _ => self.put(field, bound, &mac.to_string()),
        }
    }

    fn stp(&mut self) {
        let _ = write!(self.out, "ether daddr {STP_TARGET} ");
        for (name, end, offset, bytes) in STP_NUMBERS {
            let field = format!("@ll,{},{}", offset * 8, bytes * 8);
            self.range(&field, name, end);
        }
        for (name, mask, offset) in STP_ADDRESSES {
            let Some((bound, Value::Mac(mac))) = self.value(name) else {
                continue;
            };
            let mask = match self.value(mask) {
                Some((_, Value::Mac(mask))) => number_of(*mask),
                _ => number_of(Mac([0xff; 6])),
            };
            let sign = if bound.negated { "!=" } else { "==" };
            let net = number_of(*mac) & mask;
            let _ = write!(
                self.out,
                "@ll,{},48 & {mask:#x} {sign} {net:#x} ",
                offset * 8
            );
        }
    }

    fn arp(&mut self) -> Result<(), FilterError> {
        self.out.push_str("ether type arp ");
        self.range("arp htype", "hwtype", "");
        self.range("arp ptype", "protocoltype", "");
        self.range("arp operation", "opcode", "");
        for (side, field) in self.sides("arp saddr ether", "arp daddr ether") {
            self.mac(field, &format!("arp{side}macaddr"), "");
        }
        for (side, field) in self.sides("arp saddr ip", "arp daddr ip") {
            self.address(
                field,
                &format!("arp{side}ipaddr"),
                &format!("arp{side}ipmask"),
            )?;
        }
        if self.is_gratuitous() {
            // nft does not compare two fields of a packet: the sender's address goes into a set,
            // and the target's is looked for there.
            let told = self.told;
            let _ = write!(
                self.out,
                "update @{told} {{ arp saddr ip timeout {TOLD_TIMEOUT_S}s }} arp daddr ip @{told} "
            );
        }
        Ok(())
    }

    /// nft has no names for RARP's fields, which lie where those of ARP lie.
    fn rarp(&mut self) -> Result<(), FilterError> {
        self.out.push_str("ether type 0x8035 ");
        self.range("@nh,0,16", "hwtype", "");
        self.range("@nh,16,16", "protocoltype", "");
        self.range("@nh,48,16", "opcode", "");
        for (side, field) in self.sides("@nh,64,48", "@nh,144,48") {
            if let Some((bound, Value::Mac(mac))) = self.value(&format!("arp{side}macaddr")) {
                self.put(field, bound, &format!("{:#x}", number_of(*mac)));
            }
        }
        for (side, field) in self.sides("@nh,112,32", "@nh,192,32") {
            let name = format!("arp{side}ipaddr");
            if self
                .get(&name)
                .is_some_and(|b| b.operand == Operand::Learnt)
            {
                return Err(FilterError::Unsupported(
                    "an address that is found by watching the machine is not looked for in RARP"
                        .to_owned(),
                ));
            }
            let Some((bound, Value::Ip(IpAddr::V4(ip)))) = self.value(&name) else {
                continue;
            };
            let bits = match self.value(&format!("arp{side}ipmask")) {
                Some((_, Value::Prefix(bits))) => u32::from(*bits),
                _ => 32,
            };
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let net = u32::from(*ip) & mask;
            let sign = if bound.negated { "!=" } else { "==" };
            let _ = write!(self.out, "{field} & {mask:#x} {sign} {net:#x} ");
        }
        match self.is_gratuitous() {
            true => Err(FilterError::Unsupported(
                "gratuitous='true' is looked for in ARP rules only, not in those of RARP".into(),
            )),
            false => Ok(()),
        }
    }

    fn is_gratuitous(&self) -> bool {
        matches!(self.value("gratuitous"), Some((_, Value::Flag(true))))
    }

    fn frame_of_ip(&mut self, protocol: Protocol) -> Result<(), FilterError> {
        let family = if protocol == Protocol::Ip {
            "ip"
        } else {
            "ip6"
        };
        let _ = write!(self.out, "ether type {family} ");
        self.addresses(family)?;
        let Some((bound, number)) = self.number("protocol") else {
            self.range(&format!("{family} dscp"), "dscp", "");
            return Ok(());
        };
        self.put("meta l4proto", bound, &number.to_string());
        self.range(&format!("{family} dscp"), "dscp", "");
        self.ports();
        self.range("icmpv6 type", "type", "typeend");
        self.range("icmpv6 code", "code", "codeend");
        Ok(())
    }

    fn addresses(&mut self, family: &str) -> Result<(), FilterError> {
        let (source, target) = (format!("{family} saddr"), format!("{family} daddr"));
        for (side, field) in self.sides(&source, &target) {
            self.address(field, &format!("{side}ipaddr"), &format!("{side}ipmask"))?;
            if let Some((bound, Value::Ip(from))) = self.value(&format!("{side}ipfrom")) {
                let to = match self.value(&format!("{side}ipto")) {
                    Some((_, Value::Ip(to))) => to,
                    _ => from,
                };
                self.put(field, bound, &format!("{from}-{to}"));
            }
        }
        Ok(())
    }

    fn address(&mut self, field: &str, name: &str, mask: &str) -> Result<(), FilterError> {
        let Some(bound) = self.get(name) else {
            return Ok(());
        };
        let bits = match self.value(mask) {
            Some((_, Value::Prefix(bits))) => Some(*bits),
            _ => None,
        };
        match &bound.operand {
            Operand::Learnt if bits.is_some() => Err(FilterError::Unsupported(format!(
                "'{mask}' beside an address that is found by watching the machine is not supported"
            ))),
            Operand::Learnt => {
                let set = format!("@{}", self.learnt);
                self.put(field, bound, &set);
                Ok(())
            }
            Operand::Value(Value::Ip(ip)) => {
                let longest = if ip.is_ipv4() { 32 } else { 128 };
                let value = match bits.filter(|bits| *bits < longest) {
                    // Everything: nothing to look for.
                    Some(0) if !bound.negated => return Ok(()),
                    Some(bits) => {
                        let net = masked(*ip, bits).unwrap_or(*ip);
                        format!("{net}/{bits}")
                    }
                    None => ip.to_string(),
                };
                self.put(field, bound, &value);
                Ok(())
            }
            Operand::Value(_) => Ok(()),
        }
    }

    fn ports(&mut self) {
        for (side, field) in self.sides("th sport", "th dport") {
            self.range(
                field,
                &format!("{side}portstart"),
                &format!("{side}portend"),
            );
        }
    }

    /// What a rule about connections looks for.
    fn packet(&mut self, protocol: Protocol, family: &str) -> Result<(), FilterError> {
        if self.get("connlimit-above").is_some() {
            return Err(FilterError::Unsupported(
                "connlimit-above is not supported: the rules of bridges know no connections to count by their \
                 source".into(),
            ));
        }
        if !self.reversed {
            self.mac("ether saddr", "srcmacaddr", "");
        }
        let _ = write!(self.out, "ether type {family} ");
        if let Some(number) = carried(protocol) {
            let _ = write!(self.out, "meta l4proto {number} ");
        }
        self.addresses(family)?;
        self.sets(family)?;
        self.range(&format!("{family} dscp"), "dscp", "");
        self.ports();
        if let Some((bound, number)) = self.number("option") {
            let word = if bound.negated { "missing" } else { "exists" };
            let _ = write!(self.out, "tcp option {number} {word} ");
        }
        if let Some((bound, Value::TcpFlags(mask, flags))) = self.value("flags") {
            let sign = if bound.negated { "!=" } else { "==" };
            let _ = write!(self.out, "tcp flags & {mask:#x} {sign} {flags:#x} ");
        }
        let icmp = if family == "ip" { "icmp" } else { "icmpv6" };
        self.range(&format!("{icmp} type"), "type", "");
        self.range(&format!("{icmp} code"), "code", "");
        Ok(())
    }

    /// Sets of addresses that `stead firewall set` keeps.
    fn sets(&mut self, family: &str) -> Result<(), FilterError> {
        let Some((bound, Value::Text(name))) = self.value("ipset") else {
            return Ok(());
        };
        let source = match self.value("ipsetflags") {
            None => true,
            Some((_, Value::SetFields(fields))) if fields.len() == 1 => fields[0],
            Some(_) => {
                return Err(FilterError::Unsupported(format!(
                    "set '{name}' can be asked about one side of a packet only ('src' or 'dst')"
                )));
            }
        };
        let side = if source != self.reversed {
            "saddr"
        } else {
            "daddr"
        };
        let set = crate::sets::nft_name(name, family);
        self.put(&format!("{family} {side}"), bound, &format!("@{set}"));
        Ok(())
    }
}

fn number_of(Mac(bytes): Mac) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What a packet of `protocol` carries, by its number; none where it may be anything.
pub(super) fn carried(protocol: Protocol) -> Option<u32> {
    use Protocol as P;
    match protocol {
        P::Tcp | P::TcpIpv6 => Some(6),
        P::Udp | P::UdpIpv6 => Some(17),
        P::Udplite | P::UdpliteIpv6 => Some(136),
        P::Esp | P::EspIpv6 => Some(50),
        P::Ah | P::AhIpv6 => Some(51),
        P::Sctp | P::SctpIpv6 => Some(132),
        P::Icmp => Some(1),
        P::Icmpv6 => Some(58),
        P::Igmp => Some(2),
        _ => None,
    }
}
