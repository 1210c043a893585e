//! What a network's definition must hold to be accepted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::forward::ForwardMode;
use super::ip::{Dhcp, NetworkIp};
use super::{Network, NetworkKind, invalid};
use crate::xml::{Mac, Node, Scalar, XmlError, XmlErrorKind, YesNo};

fn unsupported(node: Node, message: impl Into<String>) -> XmlError {
    let message = format!("unsupported configuration: {}", message.into());
    node.error(XmlErrorKind::Unsupported, message)
}

/// Refuses what contradicts itself.
pub(super) fn check(network: &Network, root: Node) -> Result<(), XmlError> {
    let name = &network.name;
    if name.is_empty() {
        return Err(root.missing_child("name"));
    }
    if name.contains('\n') {
        return Err(invalid(root, format!("name {name} cannot contain '\\n'")));
    }
    if name.contains('/') {
        return Err(invalid(root, format!("name {name} cannot contain '/'")));
    }
    super::text::check(root)?;
    check_devices(network, root)?;
    let mac = network.mac.as_ref().map(|mac| mac.address);
    if let Some(mac) = mac.filter(Mac::is_multicast) {
        return Err(invalid(
            root,
            format!("Invalid multicast bridge mac address '{mac}' in network '{name}'"),
        ));
    }
    check_forward(network, root)?;
    check_bandwidth(network, root)?;
    check_groups(network, root)?;
    let nodes = root.children().filter(|child| child.is("ip"));
    for (ip, node) in network.ips.iter().zip(nodes) {
        check_ip(network, ip, node)?;
    }
    check_addresses(network, root)?;
    check_dns(network, root)?;
    let nodes = root.children().filter(|child| child.is("route"));
    for (route, node) in network.routes.iter().zip(nodes) {
        super::route::check(network, route, node)?;
    }
    Ok(())
}

/// Refuses names of devices that rules could not speak of.
fn check_devices(network: &Network, root: Node) -> Result<(), XmlError> {
    let forward = network.forward.iter();
    let devices = forward.flat_map(|f| f.interfaces.iter().chain(&f.pfs));
    let names = devices.map(|device| device.dev.as_str());
    let mut all = names.chain(network.bridge_name());
    match all.find(|name| !super::text::is_device_name(name)) {
        None => Ok(()),
        Some(name) => Err(invalid(
            root,
            format!(
                "'{name}' in network '{}' is no name of a device",
                network.name
            ),
        )),
    }
}

fn check_forward(network: &Network, root: Node) -> Result<(), XmlError> {
    let name = &network.name;
    let Some(forward) = &network.forward else {
        return Ok(());
    };
    let mode = forward.mode;
    let bridge = network.bridge.as_ref();
    match mode {
        ForwardMode::Nat | ForwardMode::Route => {
            if network.ips.is_empty() {
                return Err(invalid(
                    root,
                    format!(
                        "{mode} forwarding requested, but no IP address provided for network '{name}'"
                    ),
                ));
            }
            if forward.interfaces.len() > 1 {
                return Err(invalid(
                    root,
                    format!(
                        "multiple forwarding interfaces specified for network '{name}', only one is supported"
                    ),
                ));
            }
        }
        ForwardMode::Open => {
            if !forward.interfaces.is_empty() {
                return Err(invalid(
                    root,
                    format!(
                        "forward dev not allowed for network '{name}' with forward mode='open'"
                    ),
                ));
            }
        }
        ForwardMode::Bridge
        | ForwardMode::Private
        | ForwardMode::Vepa
        | ForwardMode::Passthrough
        | ForwardMode::Hostdev => {
            if mode != ForwardMode::Bridge && bridge.is_some_and(|b| b.name.is_some()) {
                return Err(invalid(
                    root,
                    format!("bridge name not allowed in {mode} mode (network '{name}')"),
                ));
            }
            if bridge.is_some_and(|b| b.stp.is_some() || b.delay.is_some_and(|d| d != 0)) {
                return Err(invalid(
                    root,
                    format!(
                        "bridge delay/stp options only allowed in open, route, nat, and isolated mode, not in {mode} (network '{name}')"
                    ),
                ));
            }
        }
    }
    if mode == ForwardMode::Bridge
        && bridge.is_some_and(|b| b.name.is_some())
        && forward.has_devices()
    {
        return Err(invalid(
            root,
            format!(
                "A network with forward mode='{mode}' can specify a bridge name or a forward dev, but not both (network '{name}')"
            ),
        ));
    }
    if network.mtu.is_some() && !network.kind().owns_bridge() {
        return Err(unsupported(
            root,
            format!(
                "mtu size only allowed in open, route, nat, and isolated mode, not in {mode} (network '{name}')"
            ),
        ));
    }
    if bridge.is_some_and(|b| b.zone.is_some())
        && !(network.kind().owns_bridge() || network.kind() == NetworkKind::HostBridge)
    {
        return Err(invalid(
            root,
            format!("bridge zone not allowed in {mode} mode (network '{name}')"),
        ));
    }
    Ok(())
}

fn check_bandwidth(network: &Network, root: Node) -> Result<(), XmlError> {
    let groups = network.portgroups.iter();
    let all = groups
        .filter_map(|group| group.bandwidth.as_ref())
        .chain(&network.bandwidth);
    for bandwidth in all {
        for limit in [&bandwidth.inbound, &bandwidth.outbound]
            .into_iter()
            .flatten()
        {
            if limit.average.is_none() && limit.floor.is_none() {
                return Err(invalid(
                    root,
                    "Missing mandatory average or floor attributes",
                ));
            }
            if limit.average.is_none() && (limit.peak.is_some() || limit.burst.is_some()) {
                return Err(invalid(
                    root,
                    "'peak' and 'burst' require 'average' attribute",
                ));
            }
        }
        if bandwidth
            .outbound
            .as_ref()
            .is_some_and(|limit| limit.floor.is_some())
        {
            return Err(invalid(
                root,
                "'floor' attribute allowed only in <inbound> element",
            ));
        }
    }
    let floored = network.bandwidth.as_ref().and_then(|b| b.inbound.as_ref());
    if floored.is_some_and(|limit| limit.floor.is_some()) {
        return Err(unsupported(
            root,
            "floor attribute isn't allowed for network's bandwidth elements",
        ));
    }
    Ok(())
}

fn check_groups(network: &Network, root: Node) -> Result<(), XmlError> {
    for (at, group) in network.portgroups.iter().enumerate() {
        let earlier = &network.portgroups[..at];
        if earlier.iter().any(|other| other.name == group.name) {
            return Err(invalid(
                root,
                format!(
                    "multiple <portgroup> elements with the same name ({}) in network '{}'",
                    group.name, network.name
                ),
            ));
        }
        let default = |group: &super::PortGroup| group.default.is_some_and(YesNo::is_yes);
        if default(group) && earlier.iter().any(default) {
            return Err(invalid(
                root,
                format!(
                    "multiple default <portgroup> elements in network '{}'",
                    network.name
                ),
            ));
        }
    }
    Ok(())
}

fn check_ip(network: &Network, ip: &NetworkIp, node: Node) -> Result<(), XmlError> {
    let name = &network.name;
    let text = ip.address.as_deref().unwrap_or_default();
    let bad = || {
        invalid(
            node,
            format!("Invalid address '{text}' in network '{name}'"),
        )
    };
    let address = match &ip.address {
        None => {
            return Err(invalid(
                node,
                format!("Missing required address attribute in network '{name}'"),
            ));
        }
        Some(_) => ip.ip().ok_or_else(bad)?,
    };
    match ip.family.as_deref() {
        None if address.is_ipv6() => {
            return Err(invalid(
                node,
                format!("no family specified for non-IPv4 address '{text}' in network '{name}'"),
            ));
        }
        Some("ipv4") if address.is_ipv6() => {
            return Err(invalid(
                node,
                format!("ipv4 family specified for non-IPv4 address '{text}' in network '{name}'"),
            ));
        }
        Some("ipv6") if address.is_ipv4() => {
            return Err(invalid(
                node,
                format!("ipv6 family specified for non-IPv6 address '{text}' in network '{name}'"),
            ));
        }
        None | Some("ipv4" | "ipv6") => {}
        Some(other) => {
            return Err(invalid(
                node,
                format!("Unrecognized family '{other}' in network '{name}'"),
            ));
        }
    }
    if ip.netmask.is_some() {
        if ip.prefix.is_some() {
            return Err(invalid(
                node,
                format!("network '{name}' has both prefix and netmask for address '{text}'"),
            ));
        }
        if address.is_ipv6() {
            return Err(invalid(
                node,
                format!(
                    "netmask not allowed for IPv6 address '{text}' in network '{name}', use a prefix"
                ),
            ));
        }
    }
    let longest = if address.is_ipv6() { 128 } else { 32 };
    if ip.prefix_length().is_none_or(|prefix| prefix > longest) {
        return Err(invalid(
            node,
            format!("network '{name}' has an invalid netmask or prefix for address '{text}'"),
        ));
    }
    if ip.dhcp.is_some() && !network.kind().owns_bridge() {
        return Err(unsupported(
            node,
            format!("network '{name}' has no bridge of its own to serve addresses on"),
        ));
    }
    if ip.tftp.is_some() && address.is_ipv6() {
        return Err(unsupported(
            node,
            format!("Unsupported <tftp> element in an IPv6 element in network '{name}'"),
        ));
    }
    match &ip.dhcp {
        Some(dhcp) => check_dhcp(network, ip, dhcp, node),
        None => Ok(()),
    }
}

fn check_dhcp(network: &Network, ip: &NetworkIp, dhcp: &Dhcp, node: Node) -> Result<(), XmlError> {
    for range in &dhcp.ranges {
        check_range(ip, &range.start, &range.end).map_err(|why| invalid(node, why))?;
    }
    let mut given = BTreeSet::new();
    for host in &dhcp.hosts {
        let why = check_host(network, ip, host, false);
        why.map_err(|why| invalid(node, why))?;
        let twice = [&host.mac, &host.ip].into_iter().flatten();
        // Written otherwise, it is the same.
        let mut twice = twice.filter(|text| !given.insert(text.to_ascii_lowercase()));
        if let Some(what) = twice.next() {
            return Err(invalid(
                node,
                format!(
                    "'{what}' is given to two hosts in network '{}'",
                    network.name
                ),
            ));
        }
    }
    if ip.is_ipv6() && dhcp.bootp.is_some() {
        return Err(unsupported(
            node,
            format!(
                "Unsupported <bootp> element in an IPv6 element in network '{}'",
                network.name
            ),
        ));
    }
    let server = dhcp
        .bootp
        .as_ref()
        .and_then(|bootp| bootp.server.as_deref());
    if let Some(server) = server
        && server.contains([',', '\n', ' '])
    {
        return Err(invalid(node, format!("Invalid bootp server '{server}'")));
    }
    Ok(())
}

/// What is wrong with a range in `ip`, in libvirt's words.
pub(super) fn check_range(ip: &NetworkIp, start: &str, end: &str) -> Result<(), String> {
    let mut ends = [start, end].into_iter().map(str::parse::<IpAddr>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else {
        return Err(format!("Invalid dhcp range '{start}' to '{end}'"));
    };
    if first.is_ipv4() != last.is_ipv4()
        || ip.ip().is_some_and(|ip| ip.is_ipv4() != first.is_ipv4())
    {
        return Err(format!(
            "mismatch of address family in range {start} - {end} for network {}",
            ip.address.as_deref().unwrap_or_default()
        ));
    }
    if first > last {
        return Err(format!("range {start} - {end} start larger than end"));
    }
    if let (Some(network), Some(prefix)) = (ip.network(), ip.prefix_length())
        && !(ip.contains(first) && ip.contains(last))
    {
        return Err(format!(
            "range {start} - {end} is not entirely within network {}/{prefix}",
            ip.address.as_deref().unwrap_or(&network.to_string())
        ));
    }
    check_range_ends(ip, first, last)
}

/// The ends of a range that lies within `ip`'s network.
fn check_range_ends(ip: &NetworkIp, first: IpAddr, last: IpAddr) -> Result<(), String> {
    let (Some(network), Some(prefix)) = (ip.network(), ip.prefix_length()) else {
        return Ok(());
    };
    let is_large = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => first.octets()[..2] != last.octets()[..2],
        (IpAddr::V6(first), IpAddr::V6(last)) => first.segments()[..7] != last.segments()[..7],
        _ => false,
    };
    let address = ip.address.as_deref().unwrap_or_default();
    if let (IpAddr::V4(net), IpAddr::V4(last)) = (network, last) {
        let broadcast = u32::from(net) | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let end = match (first == network, u32::from(last) == broadcast) {
            (true, _) => Some(("start", "network")),
            (_, true) => Some(("end", "broadcast")),
            _ => None,
        };
        if let Some((end, what)) = end {
            return Err(format!(
                "{end} of range {first} - {last} in network {address}/{prefix} is the {what} address"
            ));
        }
    }
    match is_large {
        true => Err(format!("range {first} - {last} is too large (> 65535)")),
        false => Ok(()),
    }
}

/// What is wrong with a host, in libvirt's words; an incomplete one only finds another.
pub(super) fn check_host(
    network: &Network,
    ip: &NetworkIp,
    host: &super::ip::DhcpHost,
    partial: bool,
) -> Result<(), String> {
    let name = &network.name;
    if let Some(mac) = &host.mac {
        if ip.is_ipv6() {
            return Err(format!(
                "Invalid to specify MAC address '{mac}' in network '{name}' IPv6 static host definition"
            ));
        }
        match Mac::parse(mac) {
            None => {
                return Err(format!(
                    "Cannot parse MAC address '{mac}' in network '{name}'"
                ));
            }
            Some(parsed) if parsed.is_multicast() => {
                return Err(format!(
                    "expected unicast mac address, found multicast '{mac}' in network '{name}'"
                ));
            }
            Some(_) => {}
        }
    }
    if let Some(id) = &host.id
        && (id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit() || c == ':'))
    {
        return Err(format!(
            "Invalid character in id '{id}' of network '{name}'"
        ));
    }
    if let Some(text) = &host.name
        && (text.is_empty() || text.contains([',', '\n', ' ', '\t']))
    {
        return Err(format!("Cannot use host name '{text}' in network '{name}'"));
    }
    if let Some(text) = &host.ip {
        let parsed = text.parse::<IpAddr>().map_err(|_| {
            format!("Invalid IP address in static host definition for network '{name}'")
        })?;
        if ip.ip().is_some_and(|ip| ip.is_ipv4() != parsed.is_ipv4()) {
            return Err(format!(
                "address '{text}' of a static host is of another family in network '{name}'"
            ));
        }
        if !partial && !ip.contains(parsed) {
            return Err(format!(
                "address '{text}' of a static host is not within network '{name}'"
            ));
        }
    }
    if partial {
        let nothing = host.mac.is_none() && host.name.is_none() && host.ip.is_none();
        return match nothing && host.id.is_none() {
            true => Err(format!(
                "At least one of name, mac, or ip attribute must be specified for static host definition in network '{name}'"
            )),
            false => Ok(()),
        };
    }
    if ip.is_ipv6() {
        if host.id.is_none() && host.name.is_none() {
            return Err(format!(
                "Static host definition in IPv6 network '{name}' must have id or name attribute"
            ));
        }
    } else if host.mac.is_none() && host.name.is_none() {
        return Err(format!(
            "Static host definition in IPv4 network '{name}' must have mac or name attribute"
        ));
    }
    if host.ip.is_none() {
        return Err(format!(
            "Missing IP address in static host definition for network '{name}'"
        ));
    }
    Ok(())
}

/// No address may lie in two of a network's own subnets.
fn check_addresses(network: &Network, root: Node) -> Result<(), XmlError> {
    for (at, ip) in network.ips.iter().enumerate() {
        for other in &network.ips[..at] {
            let (Some(a), Some(b)) = (ip.network(), other.network()) else {
                continue;
            };
            if (other.contains(a) || ip.contains(b)) && ip.ip() == other.ip() {
                return Err(invalid(
                    root,
                    format!(
                        "address '{}' is given twice in network '{}'",
                        ip.address.as_deref().unwrap_or_default(),
                        network.name
                    ),
                ));
            }
        }
    }
    let served = |ipv6: bool| {
        let ips = network.ips.iter().filter(move |ip| ip.is_ipv6() == ipv6);
        ips.filter(|ip| ip.dhcp.is_some()).count()
    };
    for (ipv6, family) in [(false, "IPv4"), (true, "IPv6")] {
        if served(ipv6) > 1 {
            return Err(unsupported(
                root,
                format!(
                    "For {family}, multiple DHCP definitions cannot be specified in network '{}'",
                    network.name
                ),
            ));
        }
    }
    Ok(())
}

fn check_dns(network: &Network, root: Node) -> Result<(), XmlError> {
    let Some(dns) = &network.dns else {
        return Ok(());
    };
    let name = &network.name;
    let node = root.child("dns").unwrap_or(root);
    for forwarder in &dns.forwarders {
        if forwarder.addr.is_none() && forwarder.domain.is_none() {
            return Err(invalid(
                node,
                format!(
                    "Invalid forwarder element, must contain at least one of addr or domain in network '{name}'"
                ),
            ));
        }
        if let Some(addr) = &forwarder.addr
            && addr.parse::<IpAddr>().is_err()
        {
            return Err(invalid(
                node,
                format!("Invalid forwarder IP address '{addr}' in network '{name}'"),
            ));
        }
    }
    for txt in &dns.txts {
        check_txt(name, txt, false).map_err(|why| invalid(node, why))?;
    }
    for srv in &dns.srvs {
        check_srv(name, srv).map_err(|why| invalid(node, why))?;
    }
    for host in &dns.hosts {
        check_dns_host(name, host, false).map_err(|why| invalid(node, why))?;
    }
    Ok(())
}

pub(super) fn check_txt(network: &str, txt: &super::dns::Txt, partial: bool) -> Result<(), String> {
    if txt.name.contains(' ') {
        return Err(format!(
            "prohibited space character in DNS TXT record name '{}' of network {network}",
            txt.name
        ));
    }
    if txt.value.is_none() && !partial {
        return Err(format!(
            "missing required value attribute in DNS TXT record named '{}' of network {network}",
            txt.name
        ));
    }
    Ok(())
}

pub(super) fn check_srv(network: &str, srv: &super::dns::Srv) -> Result<(), String> {
    if srv.service.len() > 63 {
        return Err(format!(
            "DNS SRV record for network {network}: service name is too long, limit is 63 bytes"
        ));
    }
    if srv.service.is_empty() || srv.protocol.is_empty() {
        return Err(format!(
            "Missing required service and protocol attributes in DNS SRV record of network {network}"
        ));
    }
    let bad = |what: &str, value: u32| {
        format!(
            "invalid DNS SRV {what} attribute '{value}' for service '{}' of network {network}",
            srv.service
        )
    };
    if let Some(port) = srv.port.filter(|port| !(1..=65535).contains(port)) {
        return Err(bad("port", port));
    }
    if let Some(priority) = srv.priority.filter(|p| *p > 65535) {
        return Err(bad("priority", priority));
    }
    match srv.weight.filter(|w| *w > 65535) {
        Some(weight) => Err(bad("weight", weight)),
        None => Ok(()),
    }
}

pub(super) fn check_dns_host(
    network: &str,
    host: &super::dns::DnsHost,
    partial: bool,
) -> Result<(), String> {
    match host.ip.as_deref() {
        Some(ip) if ip.parse::<IpAddr>().is_err() => Err(format!(
            "Invalid IP address in network '{network}' DNS HOST record"
        )),
        None if !partial => Err(format!(
            "Missing IP address in network '{network}' DNS HOST record"
        )),
        _ if host.hostnames.is_empty() && !partial => Err(format!(
            "Missing hostname in network '{network}' DNS HOST record"
        )),
        None if host.hostnames.is_empty() => Err(format!(
            "Missing ip and hostname in network '{network}' DNS HOST record"
        )),
        _ => Ok(()),
    }
}
