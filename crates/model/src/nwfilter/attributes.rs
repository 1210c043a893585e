//! What a rule may look at: every protocol's attributes, in libvirt's order.

use crate::xml::keyword;

keyword! {
    /// What a rule is about: the element inside `<rule>`.
    pub enum Protocol {
        Mac = "mac",
        Vlan = "vlan",
        Stp = "stp",
        Arp = "arp",
        Rarp = "rarp",
        Ip = "ip",
        Ipv6 = "ipv6",
        Tcp = "tcp",
        Icmp = "icmp",
        Igmp = "igmp",
        Udp = "udp",
        Udplite = "udplite",
        Esp = "esp",
        Ah = "ah",
        Sctp = "sctp",
        All = "all",
        TcpIpv6 = "tcp-ipv6",
        Icmpv6 = "icmpv6",
        UdpIpv6 = "udp-ipv6",
        UdpliteIpv6 = "udplite-ipv6",
        EspIpv6 = "esp-ipv6",
        AhIpv6 = "ah-ipv6",
        SctpIpv6 = "sctp-ipv6",
        AllIpv6 = "all-ipv6",
    }
}

/// What kind of packet a rule's protocol belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Frames, whatever they carry.
    Ethernet,
    /// IPv4 with connections.
    Ipv4,
    /// IPv6 with connections.
    Ipv6,
}

/// How an attribute's value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number of one byte.
    U8,
    /// A number of two bytes.
    U16,
    /// A number of four bytes.
    U32,
    /// A decimal number of two bytes.
    Count,
    /// What a frame carries.
    EtherType,
    /// What a tagged frame carries.
    Encapsulated,
    /// A VLAN.
    VlanId,
    /// What an ARP packet asks or answers.
    Opcode,
    /// What an IP packet carries.
    IpProtocol,
    /// A class of service.
    Dscp,
    /// A hardware address.
    Mac,
    /// Which leading bits of one count.
    MacMask,
    /// An IPv4 address.
    Ipv4,
    /// Which leading bits of one count.
    Ipv4Mask,
    /// An IPv6 address.
    Ipv6,
    /// Which leading bits of one count.
    Ipv6Mask,
    /// Of a connection.
    State,
    /// Of TCP: those looked at, those set.
    TcpFlags,
    /// Yes or no.
    Flag,
    /// Words for people.
    Comment,
    /// The name of a set of addresses.
    Set,
    /// Which sides of a packet are looked up in a set.
    SetFields,
}

/// One attribute of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// How it is read.
    pub kind: Kind,
    /// The attribute whose `match='no'` holds for this one too.
    pub sign_of: Option<&'static str>,
}

const fn plain(name: &'static str, kind: Kind) -> Attribute {
    Attribute {
        name,
        kind,
        sign_of: None,
    }
}

const fn of(owner: &'static str, name: &'static str, kind: Kind) -> Attribute {
    Attribute {
        name,
        kind,
        sign_of: Some(owner),
    }
}

const SOURCE_MAC: &[Attribute] = &[
    plain("srcmacaddr", Kind::Mac),
    of("srcmacaddr", "srcmacmask", Kind::MacMask),
];
const TARGET_MAC: &[Attribute] = &[
    plain("dstmacaddr", Kind::Mac),
    of("dstmacaddr", "dstmacmask", Kind::MacMask),
];
/// The masks of ARP do not follow their addresses.
const ARP_MACS: &[Attribute] = &[
    plain("srcmacaddr", Kind::Mac),
    plain("srcmacmask", Kind::MacMask),
    plain("dstmacaddr", Kind::Mac),
    plain("dstmacmask", Kind::MacMask),
];
const MAC: &[Attribute] = &[plain("protocolid", Kind::EtherType)];
const VLAN: &[Attribute] = &[
    plain("vlanid", Kind::VlanId),
    plain("encap-protocol", Kind::Encapsulated),
];
const STP: &[Attribute] = &[
    plain("type", Kind::U8),
    plain("flags", Kind::U8),
    plain("root-priority", Kind::U16),
    of("root-priority", "root-priority-hi", Kind::U16),
    plain("root-address", Kind::Mac),
    of("root-address", "root-address-mask", Kind::MacMask),
    plain("root-cost", Kind::U32),
    of("root-cost", "root-cost-hi", Kind::U32),
    plain("sender-priority", Kind::U16),
    of("sender-priority", "sender-priority-hi", Kind::U16),
    plain("sender-address", Kind::Mac),
    of("sender-address", "sender-address-mask", Kind::MacMask),
    plain("port", Kind::U16),
    of("port", "port-hi", Kind::U16),
    plain("age", Kind::U16),
    of("age", "age-hi", Kind::U16),
    plain("max-age", Kind::U16),
    of("max-age", "max-age-hi", Kind::U16),
    plain("hello-time", Kind::U16),
    of("hello-time", "hello-time-hi", Kind::U16),
    plain("forward-delay", Kind::U16),
    of("forward-delay", "forward-delay-hi", Kind::U16),
];
const ARP: &[Attribute] = &[
    plain("hwtype", Kind::U16),
    plain("protocoltype", Kind::U16),
    plain("opcode", Kind::Opcode),
    plain("arpsrcmacaddr", Kind::Mac),
    plain("arpdstmacaddr", Kind::Mac),
    plain("arpsrcipaddr", Kind::Ipv4),
    plain("arpsrcipmask", Kind::Ipv4Mask),
    plain("arpdstipaddr", Kind::Ipv4),
    plain("arpdstipmask", Kind::Ipv4Mask),
    plain("gratuitous", Kind::Flag),
];
const COMMENT: &[Attribute] = &[plain("comment", Kind::Comment)];

macro_rules! addresses {
    ($addresses:ident, $ranges:ident, $kind:ident, $mask:ident) => {
        const $addresses: &[Attribute] = &[
            plain("srcipaddr", Kind::$kind),
            of("srcipaddr", "srcipmask", Kind::$mask),
            plain("dstipaddr", Kind::$kind),
            of("dstipaddr", "dstipmask", Kind::$mask),
        ];
        const $ranges: &[Attribute] = &[
            plain("srcipfrom", Kind::$kind),
            of("srcipfrom", "srcipto", Kind::$kind),
            plain("dstipfrom", Kind::$kind),
            of("dstipfrom", "dstipto", Kind::$kind),
        ];
    };
}

addresses!(ADDRESSES4, RANGES4, Ipv4, Ipv4Mask);
addresses!(ADDRESSES6, RANGES6, Ipv6, Ipv6Mask);

const PACKET: &[Attribute] = &[plain("protocol", Kind::IpProtocol)];
/// Ports of frames' rules, each with a sign of its own.
const FRAME_PORTS: &[Attribute] = &[
    plain("srcportstart", Kind::U16),
    plain("srcportend", Kind::U16),
    plain("dstportstart", Kind::U16),
    plain("dstportend", Kind::U16),
];
/// Ports of connections: libvirt gives all of them one sign.
const PORTS: &[Attribute] = &[
    plain("srcportstart", Kind::U16),
    of("srcportstart", "srcportend", Kind::U16),
    of("srcportstart", "dstportstart", Kind::U16),
    of("srcportstart", "dstportend", Kind::U16),
];
const DSCP: &[Attribute] = &[plain("dscp", Kind::Dscp)];
const FRAME_ICMPV6: &[Attribute] = &[
    plain("type", Kind::U8),
    of("type", "typeend", Kind::U8),
    of("type", "code", Kind::U8),
    of("type", "codeend", Kind::U8),
];
const CARD: &[Attribute] = &[plain("srcmacaddr", Kind::Mac)];
const CONNECTION: &[Attribute] = &[
    plain("dscp", Kind::Dscp),
    plain("connlimit-above", Kind::Count),
    plain("state", Kind::State),
    plain("ipset", Kind::Set),
    plain("ipsetflags", Kind::SetFields),
];
const TCP_OPTION: &[Attribute] = &[plain("option", Kind::U8)];
const TCP_FLAGS: &[Attribute] = &[plain("flags", Kind::TcpFlags)];
const ICMP: &[Attribute] = &[plain("type", Kind::U8), of("type", "code", Kind::U8)];

impl Protocol {
    /// The groups of its attributes, in the order they are written.
    pub fn groups(self) -> &'static [&'static [Attribute]] {
        use Protocol as P;
        match self {
            P::Mac => &[SOURCE_MAC, TARGET_MAC, MAC, COMMENT],
            P::Vlan => &[SOURCE_MAC, TARGET_MAC, VLAN, COMMENT],
            P::Stp => &[SOURCE_MAC, STP, COMMENT],
            P::Arp | P::Rarp => &[ARP_MACS, ARP, COMMENT],
            P::Ip => &[
                SOURCE_MAC,
                TARGET_MAC,
                ADDRESSES4,
                PACKET,
                FRAME_PORTS,
                DSCP,
                COMMENT,
            ],
            P::Ipv6 => &[
                SOURCE_MAC,
                TARGET_MAC,
                ADDRESSES6,
                PACKET,
                FRAME_PORTS,
                FRAME_ICMPV6,
                COMMENT,
            ],
            P::Tcp => &[
                CARD, ADDRESSES4, RANGES4, CONNECTION, PORTS, TCP_OPTION, TCP_FLAGS, COMMENT,
            ],
            P::Udp | P::Sctp => &[CARD, ADDRESSES4, RANGES4, CONNECTION, PORTS, COMMENT],
            P::Udplite | P::Esp | P::Ah | P::All | P::Igmp => {
                &[CARD, ADDRESSES4, RANGES4, CONNECTION, COMMENT]
            }
            P::Icmp => &[CARD, ADDRESSES4, RANGES4, CONNECTION, ICMP, COMMENT],
            P::TcpIpv6 => &[
                CARD, ADDRESSES6, RANGES6, CONNECTION, PORTS, TCP_OPTION, COMMENT,
            ],
            P::UdpIpv6 | P::SctpIpv6 => &[CARD, ADDRESSES6, RANGES6, CONNECTION, PORTS, COMMENT],
            P::UdpliteIpv6 | P::EspIpv6 | P::AhIpv6 | P::AllIpv6 => {
                &[CARD, ADDRESSES6, RANGES6, CONNECTION, COMMENT]
            }
            P::Icmpv6 => &[CARD, ADDRESSES6, RANGES6, CONNECTION, ICMP, COMMENT],
        }
    }

    /// Its attributes, in the order they are written.
    pub fn attributes(self) -> impl Iterator<Item = &'static Attribute> {
        self.groups().iter().flat_map(|group| group.iter())
    }

    /// What kind of packet it belongs to.
    pub fn layer(self) -> Layer {
        use Protocol as P;
        match self {
            P::Mac | P::Vlan | P::Stp | P::Arp | P::Rarp | P::Ip | P::Ipv6 => Layer::Ethernet,
            P::Tcp
            | P::Icmp
            | P::Igmp
            | P::Udp
            | P::Udplite
            | P::Esp
            | P::Ah
            | P::Sctp
            | P::All => Layer::Ipv4,
            _ => Layer::Ipv6,
        }
    }
}
