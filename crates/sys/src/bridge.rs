//! VLANs of the kernel's bridges.
//!
//! A bridge that filters keeps for each of its ports the VLANs whose frames
//! pass there, and the one that frames without a tag belong to. A kernel built
//! without `CONFIG_BRIDGE_VLAN_FILTERING` refuses all of it (`EOPNOTSUPP`).

use std::io;

use crate::error::{SysError, SysResult};
use crate::link::{
    IFLA_BR_VLAN_FILTERING, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, Link, RTM_DELLINK,
    RTM_NEWLINK, failed, index_of, link_body, links,
};
use crate::netlink::Message;

const RTM_SETLINK: u16 = 19;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_FLAGS: u16 = 0;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_FLAGS_SELF: u16 = 2;
const VLAN_PVID: u16 = 1 << 1;
const VLAN_UNTAGGED: u16 = 1 << 2;
const VLAN_RANGE_BEGIN: u16 = 1 << 3;
const VLAN_RANGE_END: u16 = 1 << 4;

/// The first VLAN and the last.
const ALL_VLANS: (u16, u16) = (1, 4094);
/// Every VLAN but the one a bridge gives to its ports by itself.
const OTHER_VLANS: (u16, u16) = (2, 4094);

/// What passes a port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortVlans {
    /// VLANs that pass with their tag.
    pub tagged: Vec<u16>,
    /// The VLAN of frames that come in without a tag, and whether its frames
    /// leave with one.
    pub native: Option<(u16, bool)>,
}

impl PortVlans {
    /// The entries of the kernel's table: flags and VLAN.
    fn entries(&self) -> Vec<(u16, u16)> {
        let native = self.native.map(|(vlan, tagged)| {
            let untagged = if tagged { 0 } else { VLAN_UNTAGGED };
            (VLAN_PVID | untagged, vlan)
        });
        let tagged = self.tagged.iter();
        let others = tagged.filter(|vlan| Some(**vlan) != self.native.map(|(native, _)| native));
        others.map(|vlan| (0, *vlan)).chain(native).collect()
    }
}

/// `struct bridge_vlan_info`, one for each entry.
fn vlan_message(kind: u16, index: u32, of_bridge: bool, entries: &[(u16, u16)]) -> Message {
    let mut body = link_body(index, 0, 0);
    body[0] = libc::AF_BRIDGE as u8;
    Message::new(kind, 0, &body).nested(IFLA_AF_SPEC, |mut message| {
        if of_bridge {
            message = message.attr(IFLA_BRIDGE_FLAGS, &BRIDGE_FLAGS_SELF.to_ne_bytes());
        }
        for (flags, vlan) in entries {
            let bytes = [flags.to_ne_bytes(), vlan.to_ne_bytes()].concat();
            message = message.attr(IFLA_BRIDGE_VLAN_INFO, &bytes);
        }
        message
    })
}

fn range((first, last): (u16, u16)) -> [(u16, u16); 2] {
    [(VLAN_RANGE_BEGIN, first), (VLAN_RANGE_END, last)]
}

/// Whether an error says that the kernel cannot filter VLANs at all.
pub fn lacks_filtering(error: &SysError) -> bool {
    error.errno() == Some(libc::EOPNOTSUPP)
}

/// Lets a bridge filter VLANs. What passed before passes on: its ports but
/// those in `plain` (machines, which tag nothing) let every VLAN through with
/// its tag, and so does the bridge itself for the host. One that filters
/// already is left as it is.
pub fn filter_vlans(bridge: &str, plain: impl Fn(&Link) -> bool) -> SysResult<()> {
    let index = index_of("filter VLANs of", bridge)?;
    let links = links()?;
    let own = links.iter().find(|link| link.index == index);
    if own.is_some_and(|own| own.filters_vlans) {
        return Ok(());
    }
    let done = Message::new(RTM_NEWLINK, 0, &link_body(index, 0, 0))
        .nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "bridge")
                .nested(IFLA_INFO_DATA, |m| m.attr(IFLA_BR_VLAN_FILTERING, &[1]))
        })
        .run();
    done.map_err(failed("filter VLANs of", bridge))?;
    let trunk = range(OTHER_VLANS);
    for port in links.iter().filter(|link| link.master == Some(index)) {
        if !plain(port) {
            let done = vlan_message(RTM_SETLINK, port.index, false, &trunk).run();
            done.map_err(failed("let VLANs through", &port.name))?;
        }
    }
    let done = vlan_message(RTM_SETLINK, index, true, &trunk).run();
    done.map_err(failed("let VLANs through", bridge))
}

/// Sets which VLANs pass a bridge's port, in place of those that did.
pub fn set_port_vlans(port: &str, vlans: &PortVlans) -> SysResult<()> {
    let index = index_of("set the VLANs of", port)?;
    let fail = |e: io::Error| failed("set the VLANs of", port)(e);
    let removed = vlan_message(RTM_DELLINK, index, false, &range(ALL_VLANS)).run();
    removed.map_err(fail)?;
    let added = vlan_message(RTM_SETLINK, index, false, &vlans.entries()).run();
    added.map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attributes;

    #[test]
    fn ports_are_written_as_the_kernel_reads_them() {
        let access = PortVlans {
            tagged: Vec::new(),
            native: Some((20, false)),
        };
        assert_eq!(access.entries(), [(VLAN_PVID | VLAN_UNTAGGED, 20)]);
        let trunk = PortVlans {
            tagged: vec![20, 30],
            native: Some((30, true)),
        };
        assert_eq!(trunk.entries(), [(0, 20), (VLAN_PVID, 30)]);
        let message = vlan_message(RTM_SETLINK, 7, true, &trunk.entries());
        // Behind the header of 16 bytes.
        let payload = &message.bytes()[16..];
        assert_eq!(payload[0], 7);
        let attributes = attributes(payload, 16);
        assert_eq!(attributes[0].0, IFLA_AF_SPEC);
        let inner = crate::netlink::attributes(attributes[0].1, 0);
        let kinds: Vec<u16> = inner.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(
            kinds,
            [
                IFLA_BRIDGE_FLAGS,
                IFLA_BRIDGE_VLAN_INFO,
                IFLA_BRIDGE_VLAN_INFO
            ]
        );
        assert_eq!(
            inner[1].1,
            [0u16.to_ne_bytes(), 20u16.to_ne_bytes()].concat()
        );
    }
}
