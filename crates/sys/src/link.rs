//! Links of the host through netlink: bridges with their settings, addresses, routes, and what is there.

use std::io;
use std::net::IpAddr;

use crate::error::{SysError, SysResult};
use crate::net;
use crate::netlink::{
    Message, NLM_F_CREATE, NLM_F_EXCL, address_bytes, address_of, attributes, number_of, text_of,
};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETROUTE: u16 = 26;

pub(crate) const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_MTU: u16 = 4;
pub(crate) const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
pub(crate) const IFLA_LINKINFO: u16 = 18;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
pub(crate) const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
pub(crate) const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// Hundredths of a second: how the kernel counts a bridge's times.
const TICKS_PER_SECOND: u32 = 100;
/// Bytes of `struct ifinfomsg`.
const LINK_FIXED_BYTES: usize = 16;
/// Bytes of `struct ifaddrmsg`.
const ADDRESS_FIXED_BYTES: usize = 8;
/// Bytes of `struct rtmsg` and of `struct ndmsg`.
const ROUTE_FIXED_BYTES: usize = 12;

/// A bridge to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgePlan {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Whether it looks for loops.
    pub stp: bool,
    /// How long a new port waits, in seconds.
    pub delay_s: u32,
    /// Its largest packet; none for the kernel's default.
    pub mtu: Option<u32>,
}

/// A link of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind, where it is made of software: `bridge`, `veth`, ….
    pub kind: Option<String>,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// The number of the bridge it is a port of.
    pub master: Option<u32>,
    /// The number of the device below it.
    pub lower: Option<u32>,
    /// Its largest packet.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// Whether it is a bridge that filters VLANs.
    pub filters_vlans: bool,
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddress {
    /// The link's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
}

/// A neighbour the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The number of the link behind which it is.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: [u8; 6],
}

pub(crate) fn link_body(index: u32, flags: u32, change: u32) -> [u8; LINK_FIXED_BYTES] {
    let mut body = [0; LINK_FIXED_BYTES];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

pub(crate) fn failed(operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> SysError {
    move |e| SysError::new(operation, format!("interface {name}"), e)
}

pub(crate) fn index_of(operation: &'static str, name: &str) -> SysResult<u32> {
    net::index(name)?
        .ok_or_else(|| SysError::from_errno(operation, format!("interface {name}"), libc::ENODEV))
}

/// Makes a bridge; it is not switched on. A name that is taken is an error.
pub fn create_bridge(plan: &BridgePlan) -> SysResult<()> {
    net::raw_name("make bridge", &plan.name)?;
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link_body(0, 0, 0))
        .text(IFLA_IFNAME, &plan.name)
        .attr(IFLA_ADDRESS, &plan.mac);
    if let Some(mtu) = plan.mtu {
        message = message.number(IFLA_MTU, mtu);
    }
    message
        .nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "bridge")
                .nested(IFLA_INFO_DATA, |m| {
                    m.number(IFLA_BR_FORWARD_DELAY, plan.delay_s * TICKS_PER_SECOND)
                        .number(IFLA_BR_STP_STATE, u32::from(plan.stp))
                })
        })
        .run()
        .map_err(failed("make bridge", &plan.name))
}

/// Removes a link; one that is not there is no error.
pub fn delete(name: &str) -> SysResult<()> {
    let Some(index) = net::index(name)? else {
        return Ok(());
    };
    match Message::new(RTM_DELLINK, 0, &link_body(index, 0, 0)).run() {
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        done => done.map_err(failed("remove", name)),
    }
}

/// Whether a bridge's port may not talk to other such ports of it.
pub fn set_isolated(name: &str, isolated: bool) -> SysResult<()> {
    let index = index_of("isolate", name)?;
    Message::new(RTM_NEWLINK, 0, &link_body(index, 0, 0))
        .nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_SLAVE_KIND, "bridge")
                .nested(IFLA_INFO_SLAVE_DATA, |m| {
                    m.attr(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)])
                })
        })
        .run()
        .map_err(failed("isolate", name))
}

/// Gives a link an address; one it has already is no error.
pub fn add_address(name: &str, address: IpAddr, prefix: u8) -> SysResult<()> {
    let index = index_of("give an address to", name)?;
    let bytes = address_bytes(address);
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // Ours alone on a bridge we have just made: there is nobody to ask whether it is taken.
    let flags = if address.is_ipv6() {
        libc::IFA_F_NODAD as u8
    } else {
        0
    };
    let mut body = [0; ADDRESS_FIXED_BYTES];
    body[..4].copy_from_slice(&[family as u8, prefix, flags, 0]);
    body[4..].copy_from_slice(&index.to_ne_bytes());
    let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body)
        .attr(IFA_LOCAL, &bytes)
        .attr(IFA_ADDRESS, &bytes);
    if let IpAddr::V4(ip) = address
        && prefix < 31
    {
        let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        let broadcast = u32::from(ip) | host_bits;
        message = message.attr(IFA_BROADCAST, &broadcast.to_be_bytes());
    }
    match message.run() {
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        done => done.map_err(failed("give an address to", name)),
    }
}

/// Adds a route through a link; one that is there already is an error.
pub fn add_route(
    name: &str,
    destination: IpAddr,
    prefix: u8,
    gateway: IpAddr,
    metric: Option<u32>,
) -> SysResult<()> {
    let index = index_of("route through", name)?;
    let family = if destination.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let mut body = [0; ROUTE_FIXED_BYTES];
    body[0] = family as u8;
    body[1] = prefix;
    body[4] = libc::RT_TABLE_MAIN;
    body[5] = libc::RTPROT_STATIC;
    body[6] = libc::RT_SCOPE_UNIVERSE;
    body[7] = libc::RTN_UNICAST;
    let mut message = Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &body)
        .attr(RTA_DST, &address_bytes(destination))
        .attr(RTA_GATEWAY, &address_bytes(gateway))
        .number(RTA_OIF, index);
    if let Some(metric) = metric {
        message = message.number(RTA_PRIORITY, metric);
    }
    message.run().map_err(failed("route through", name))
}

/// Every link of the host.
pub fn links() -> SysResult<Vec<Link>> {
    let mut links = Vec::new();
    Message::new(RTM_GETLINK, 0, &link_body(0, 0, 0))
        .dump(|kind, payload| {
            if kind == RTM_NEWLINK {
                links.extend(read_link(payload));
            }
        })
        .map_err(|e| SysError::new("list", "interfaces", e))?;
    Ok(links)
}

fn read_link(payload: &[u8]) -> Option<Link> {
    let index = number_of(payload.get(4..8)?)?;
    let flags = number_of(payload.get(8..12)?)? as libc::c_int;
    let mut link = Link {
        index,
        up: flags & libc::IFF_UP != 0,
        loopback: flags & libc::IFF_LOOPBACK != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(payload, LINK_FIXED_BYTES) {
        match kind {
            IFLA_IFNAME => link.name = text_of(value),
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_MTU => link.mtu = number_of(value).unwrap_or(0),
            IFLA_LINK => link.lower = number_of(value),
            IFLA_MASTER => link.master = number_of(value),
            IFLA_LINKINFO => {
                let info = attributes(value, 0);
                let kind = info.iter().find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = kind.map(|(_, value)| text_of(value));
                let data = info.iter().find(|(kind, _)| *kind == IFLA_INFO_DATA);
                link.filters_vlans = link.kind.as_deref() == Some("bridge")
                    && data.is_some_and(|(_, data)| {
                        attributes(data, 0).contains(&(IFLA_BR_VLAN_FILTERING, &[1][..]))
                    });
            }
            _ => {}
        }
    }
    Some(link)
}

/// Every address of every link.
pub fn addresses() -> SysResult<Vec<LinkAddress>> {
    let mut found = Vec::new();
    Message::new(RTM_GETADDR, 0, &[0; ADDRESS_FIXED_BYTES])
        .dump(|kind, payload| {
            if kind == RTM_NEWADDR {
                found.extend(read_address(payload));
            }
        })
        .map_err(|e| SysError::new("list", "addresses", e))?;
    Ok(found)
}

fn read_address(payload: &[u8]) -> Option<LinkAddress> {
    let prefix = *payload.get(1)?;
    let index = number_of(payload.get(4..8)?)?;
    let attributes = attributes(payload, ADDRESS_FIXED_BYTES);
    let value = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted);
    // Of a point-to-point link the other end is the plain address.
    let (_, address) = value(IFA_LOCAL).or_else(|| value(IFA_ADDRESS))?;
    Some(LinkAddress {
        index,
        address: address_of(address)?,
        prefix,
    })
}

/// Every network the kernel has a route to, but the default one.
pub fn routed_networks() -> SysResult<Vec<(IpAddr, u8)>> {
    let mut found = Vec::new();
    Message::new(RTM_GETROUTE, 0, &[0; ROUTE_FIXED_BYTES])
        .dump(|kind, payload| {
            let main = payload.get(4) == Some(&libc::RT_TABLE_MAIN);
            if kind == RTM_NEWROUTE && main {
                let destination = attributes(payload, ROUTE_FIXED_BYTES)
                    .into_iter()
                    .find(|(kind, _)| *kind == RTA_DST)
                    .and_then(|(_, value)| address_of(value));
                found.extend(destination.map(|address| (address, payload[1])));
            }
        })
        .map_err(|e| SysError::new("list", "routes", e))?;
    Ok(found)
}

/// The neighbours whose hardware address is known.
pub fn neighbours() -> SysResult<Vec<Neighbour>> {
    let mut found = Vec::new();
    Message::new(RTM_GETNEIGH, 0, &[0; ROUTE_FIXED_BYTES])
        .dump(|kind, payload| {
            if kind == RTM_NEWNEIGH {
                found.extend(read_neighbour(payload));
            }
        })
        .map_err(|e| SysError::new("list", "neighbours", e))?;
    Ok(found)
}

fn read_neighbour(payload: &[u8]) -> Option<Neighbour> {
    let index = number_of(payload.get(4..8)?)?;
    let attributes = attributes(payload, ROUTE_FIXED_BYTES);
    let value = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted);
    Some(Neighbour {
        index,
        address: address_of(value(NDA_DST)?.1)?,
        mac: value(NDA_LLADDR)?.1.try_into().ok()?,
    })
}
