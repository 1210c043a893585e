//! What a network's server has given out.

use super::NetworkView;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use network::leases::{self, LEASES_MAX_BYTES, Lease};
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// A lease, and where it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkLease {
    /// The lease itself.
    pub lease: Lease,
    /// The network's bridge.
    pub bridge: String,
    /// The length of the prefix of the network it lies in.
    pub prefix: u8,
    /// Whether the definition gives the address to this machine for good.
    pub reserved: bool,
}

impl Engine {
    /// The leases of a network that hold now, of one machine or all.
    pub fn network_leases(&self, uuid: Uuid, mac: Option<&str>) -> Result<Vec<NetworkLease>> {
        let view = self.network_by_uuid(uuid)?;
        let mut leases = self.read_leases(&view);
        if let Some(mac) = mac {
            leases.retain(|lease| {
                let own = lease.lease.mac.as_deref();
                own.is_some_and(|own| own.eq_ignore_ascii_case(mac))
            });
        }
        Ok(leases)
    }

    fn read_leases(&self, view: &Arc<NetworkView>) -> Vec<NetworkLease> {
        let Some(live) = &view.live else {
            return Vec::new();
        };
        let path = self.dnsmasq_files(view.uuid).leases;
        let mut text = String::new();
        if let Ok(file) = std::fs::File::open(path) {
            // Half a file is better than none: the next look sees the rest.
            let _ = file.take(LEASES_MAX_BYTES as u64).read_to_string(&mut text);
        }
        let now = jiff::Timestamp::now().as_second();
        let bridge = live.bridge.clone().unwrap_or_default();
        let ips = &live.definition.ips;
        leases::current(leases::parse(&text), now)
            .into_iter()
            .map(|lease| {
                let ip = ips.iter().find(|ip| ip.contains(lease.address));
                let address = lease.address.to_string();
                let hosts = ip.and_then(|ip| ip.dhcp.as_ref()).map(|dhcp| &dhcp.hosts);
                NetworkLease {
                    bridge: bridge.clone(),
                    prefix: ip.and_then(|ip| ip.prefix_length()).unwrap_or(0),
                    reserved: hosts.is_some_and(|hosts| {
                        hosts.iter().any(|h| h.ip.as_deref() == Some(&address))
                    }),
                    lease,
                }
            })
            .collect()
    }

    /// The neighbours the host's kernel knows: addresses with their cards.
    pub fn neighbours(&self) -> Result<Vec<(IpAddr, [u8; 6])>> {
        let known = sys::link::neighbours()
            .map_err(|e| EngineError::system("cannot look at the host's neighbours", e))?;
        Ok(known.into_iter().map(|n| (n.address, n.mac)).collect())
    }

    /// The leases of one card, whatever network it is on.
    pub fn leases_of_mac(&self, mac: &str) -> Vec<NetworkLease> {
        let active = self.networks().into_iter().filter(|view| view.is_active());
        active
            .flat_map(|view| {
                self.network_leases(view.uuid, Some(mac))
                    .unwrap_or_default()
            })
            .collect()
    }
}
