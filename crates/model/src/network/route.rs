//! Static routes of a network.

use std::net::IpAddr;

use super::ip::{mask_length, masked};
use super::{Network, invalid};
use crate::domain::interface::Route;
use crate::xml::{Node, XmlError};

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteTarget {
    /// The network's address.
    pub destination: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
    /// Who leads there.
    pub gateway: IpAddr,
    /// The lower, the rather.
    pub metric: Option<u32>,
}

/// The route with its addresses read; what is wrong with it otherwise.
pub fn target(route: &Route) -> Result<RouteTarget, String> {
    let destination: IpAddr = route.address.parse().map_err(|_| {
        format!(
            "Bad network address '{}' in route definition",
            route.address
        )
    })?;
    let gateway = route.gateway.as_deref().unwrap_or_default();
    let gateway: IpAddr = gateway
        .parse()
        .map_err(|_| format!("Bad gateway address '{gateway}' in route definition"))?;
    let longest = if destination.is_ipv4() { 32 } else { 128 };
    let prefix = match (&route.netmask, route.prefix) {
        (Some(_), Some(_)) => {
            return Err("Route definition cannot have both prefix and netmask".into());
        }
        (Some(mask), None) => mask_length(mask),
        (None, Some(prefix)) => u8::try_from(prefix).ok(),
        (None, None) if destination.is_unspecified() => Some(0),
        (None, None) => Some(longest),
    };
    let prefix = prefix.filter(|prefix| *prefix <= longest).ok_or_else(|| {
        format!(
            "Invalid netmask or prefix for route address '{}'",
            route.address
        )
    })?;
    if destination.is_ipv4() != gateway.is_ipv4() {
        return Err(format!(
            "route address '{destination}' and gateway '{gateway}' are of two families"
        ));
    }
    if masked(destination, prefix) != Some(destination) {
        return Err(format!(
            "address '{destination}' in route definition is not a network address"
        ));
    }
    if route.metric == Some(0) {
        return Err("Invalid metric value, must be > 0 in route definition".into());
    }
    Ok(RouteTarget {
        destination,
        prefix,
        gateway,
        metric: route.metric,
    })
}

/// Refuses a route whose gateway no address of the network reaches.
pub(super) fn check(network: &Network, route: &Route, node: Node) -> Result<(), XmlError> {
    let target = target(route)
        .map_err(|why| invalid(node, format!("{why} of network '{}'", network.name)))?;
    if network.ips.iter().any(|ip| ip.contains(target.gateway)) {
        return Ok(());
    }
    Err(invalid(
        node,
        format!(
            "unreachable static route gateway '{}' specified for network '{}'",
            target.gateway, network.name
        ),
    ))
}
