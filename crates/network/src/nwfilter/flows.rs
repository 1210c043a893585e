//! Answers known by what was asked, without the kernel's tracking of
//! connections, which bridges mostly lack: each device has sets of the
//! conversations its machine began (`out`) and of those others began (`in`).

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::ruleset::{Set, Table};

/// How long a silent TCP connection is remembered, in seconds: as long as RFC 5382 asks for at
/// least, since the end of a connection is not seen.
pub const TCP_TIMEOUT_S: u32 = 7_440;
/// How long anything else is, in seconds.
pub const OTHER_TIMEOUT_S: u32 = 180;

/// Who began a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Begun {
    /// The machine.
    Out,
    /// Another.
    In,
}

impl Begun {
    fn word(self) -> &'static str {
        match self {
            Begun::Out => "out",
            Begun::In => "in",
        }
    }

    pub(super) fn other(self) -> Begun {
        match self {
            Begun::Out => Begun::In,
            Begun::In => Begun::Out,
        }
    }
}

/// What conversations are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// Addresses and ports, of TCP.
    Tcp,
    /// Addresses and ports.
    Ported,
    /// Addresses and protocol.
    Plain,
}

/// Protocols with ports beside TCP: UDP, DCCP, SCTP, UDP-Lite.
const PORTED: [u32; 4] = [17, 33, 132, 136];

impl Shape {
    /// Those that packets of a protocol can have: what tells them apart, and
    /// what an answer looks like.
    pub(super) fn of(
        carried: Option<u32>,
        family: &str,
    ) -> Vec<(Shape, &'static str, &'static str)> {
        let (icmp, answer) = match family {
            "ip" => ("meta l4proto 1 ", "icmp type != echo-request "),
            _ => ("meta l4proto 58 ", "icmpv6 type != echo-request "),
        };
        match carried {
            Some(6) => vec![(Shape::Tcp, "", "")],
            Some(number) if PORTED.contains(&number) => vec![(Shape::Ported, "", "")],
            Some(1 | 58) => vec![(Shape::Plain, "", answer)],
            Some(_) => vec![(Shape::Plain, "", "")],
            None => vec![
                (Shape::Tcp, "meta l4proto 6 ", ""),
                (Shape::Ported, "meta l4proto @protocols_ported ", ""),
                (Shape::Plain, icmp, answer),
                (Shape::Plain, "meta l4proto != @protocols_known ", ""),
            ],
        }
    }

    fn timeout_s(self) -> u32 {
        match self {
            Shape::Tcp => TCP_TIMEOUT_S,
            Shape::Ported | Shape::Plain => OTHER_TIMEOUT_S,
        }
    }
}

/// The sets of one device's conversations that its rules speak of.
#[derive(Debug, Default)]
pub(super) struct Flows {
    id: String,
    used: BTreeSet<(Begun, &'static str, bool)>,
}

impl Flows {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            used: BTreeSet::new(),
        }
    }

    /// Notes the conversation that a packet belongs to. `sent` is whether the machine sends it.
    pub(super) fn note(
        &mut self,
        begun: Begun,
        shape: Shape,
        family: &'static str,
        sent: bool,
    ) -> String {
        let set = self.set(begun, shape, family);
        let key = key(shape, family, sent);
        format!("update @{set} {{ {key} timeout {}s }} ", shape.timeout_s())
    }

    /// Whether the conversation is a known one, or (`known` false) is not.
    pub(super) fn is(
        &mut self,
        begun: Begun,
        shape: Shape,
        family: &'static str,
        sent: bool,
        known: bool,
    ) -> String {
        let set = self.set(begun, shape, family);
        let sign = if known { "" } else { "!= " };
        format!("{} {sign}@{set} ", key(shape, family, sent))
    }

    fn set(&mut self, begun: Begun, shape: Shape, family: &'static str) -> String {
        let ported = shape != Shape::Plain;
        self.used.insert((begun, family, ported));
        self.name(begun, family, ported)
    }

    fn name(&self, begun: Begun, family: &str, ported: bool) -> String {
        let shape = if ported { "ported" } else { "plain" };
        format!("{}_{family}_{shape}_{}", begun.word(), self.id)
    }

    /// The sets, as nft declares them.
    pub(super) fn declare(&self, table: &mut Table) {
        for (begun, family, ported) in &self.used {
            let address = if *family == "ip" {
                "ipv4_addr"
            } else {
                "ipv6_addr"
            };
            let ports = match ported {
                true => " . inet_service . inet_service",
                false => "",
            };
            let of = format!("{address} . {address} . inet_proto{ports}");
            let set = Set::of_packets(&of, "dynamic,timeout");
            table.set(self.name(*begun, family, *ported), set);
        }
    }
}

/// A conversation from the machine's side: own address first, own port first.
fn key(shape: Shape, family: &str, sent: bool) -> String {
    let (own, other) = if sent { ("s", "d") } else { ("d", "s") };
    let mut key = format!("{family} {own}addr . {family} {other}addr . meta l4proto");
    if shape != Shape::Plain {
        let _ = write!(key, " . th {own}port . th {other}port");
    }
    key
}
