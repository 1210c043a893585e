//! Which addresses are in use on networks: by whom, since when, and from where
//! that is known.

use super::NetworkView;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::AGENT_ADDRESSES_TIMEOUT_MS;
use model::network::Network;
use model::network::ip::DhcpHost;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Where it is known from that somebody has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressSource {
    /// The network's own server has given it out.
    Lease,
    /// The guest says so, through its agent.
    Agent,
    /// The host has talked to it.
    Arp,
    /// A network filter has seen the machine use it.
    Filter,
    /// It is kept for a machine that does not use it now.
    Reservation,
    /// It is the host's own.
    Host,
}

impl AddressSource {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            AddressSource::Lease => "lease",
            AddressSource::Agent => "agent",
            AddressSource::Arp => "arp",
            AddressSource::Filter => "filter",
            AddressSource::Reservation => "reservation",
            AddressSource::Host => "host",
        }
    }
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAddress {
    /// The network.
    pub network: Arc<str>,
    /// The address.
    pub address: IpAddr,
    /// The card, where one is known.
    pub mac: Option<String>,
    /// The running machine with that card.
    pub machine: Option<String>,
    /// What whoever has it calls itself.
    pub name: Option<String>,
    /// Whether the definition keeps it for this card.
    pub fixed: bool,
    /// From where it is known, best first.
    pub sources: Vec<AddressSource>,
    /// Since when it was seen there, in seconds since 1970 (UTC).
    pub since_s: Option<i64>,
    /// Until when a lease holds, in seconds since 1970 (UTC).
    pub expires_s: Option<i64>,
}

/// When addresses were first seen with their cards: `ADDRESS MAC`, seconds.
type FirstSeen = BTreeMap<String, i64>;

const FIRST_SEEN_FILE: &str = "first-seen.json";

impl Engine {
    /// The addresses of one active network, or of all, in their order.
    pub async fn network_addresses(&self, network: Option<&str>) -> Result<Vec<NetworkAddress>> {
        let views = match network {
            Some(name) => vec![self.network_by_name(name)?],
            None => self.networks(),
        };
        if let (Some(name), [view]) = (network, views.as_slice())
            && !view.is_active()
        {
            return Err(EngineError::new(
                ErrorKind::OperationInvalid,
                format!("network '{name}' is not active"),
            ));
        }
        let told = self.told_by_agents().await;
        let firewall = self.firewall();
        if firewall.learns() {
            self.read_learnt(&firewall.table).await;
        }
        let mut all = Vec::new();
        for view in views.iter().filter(|view| view.is_active()) {
            all.extend(self.addresses_on(view, &told));
        }
        Ok(all)
    }

    /// What the guests of running machines say of their cards. One that does not answer soon says nothing.
    async fn told_by_agents(&self) -> Vec<(String, IpAddr)> {
        let mut asked = tokio::task::JoinSet::new();
        for domain in self.domains() {
            let view = domain.view();
            let has_agent = view
                .live
                .as_ref()
                .is_some_and(|live| crate::facts::agent_is_connected(&live.definition()));
            if has_agent {
                let bound = Duration::from_millis(AGENT_ADDRESSES_TIMEOUT_MS);
                asked.spawn(
                    async move { tokio::time::timeout(bound, domain.guest_interfaces()).await },
                );
            }
        }
        let mut told = Vec::new();
        while let Some(answer) = asked.join_next().await {
            let Ok(Ok(Ok(interfaces))) = answer else {
                continue;
            };
            for interface in interfaces {
                let Some(mac) = interface.hardware_address.clone() else {
                    continue;
                };
                let addresses = interface.ip_addresses.iter();
                let parsed = addresses.filter_map(|ip| ip.ip_address.parse::<IpAddr>().ok());
                told.extend(
                    parsed
                        .filter(|ip| !ip.is_loopback())
                        .map(|ip| (mac.to_ascii_lowercase(), ip)),
                );
            }
        }
        told
    }

    fn addresses_on(&self, view: &NetworkView, told: &[(String, IpAddr)]) -> Vec<NetworkAddress> {
        let Some(live) = &view.live else {
            return Vec::new();
        };
        let definition = &live.definition;
        let machines = self.cards_on(&view.name);
        let mut found = Found::new(view.name.clone(), machines);
        for ip in definition.ips.iter().filter_map(|ip| ip.ip()) {
            found.note(ip, None, AddressSource::Host);
        }
        for lease in self.network_leases(view.uuid, None).unwrap_or_default() {
            let entry = found.note(
                lease.lease.address,
                lease.lease.mac.clone(),
                AddressSource::Lease,
            );
            entry.name = lease.lease.name.clone();
            entry.fixed = lease.reserved;
            entry.expires_s = Some(lease.lease.expires_s).filter(|at| *at > 0);
        }
        for (mac, address) in told {
            if found.is_card(mac) {
                found.note(*address, Some(mac.clone()), AddressSource::Agent);
            }
        }
        for (address, mac) in self.neighbours().unwrap_or_default() {
            let mac = model::xml::Mac(mac).to_string();
            let inside = definition.ips.iter().any(|ip| ip.contains(address));
            if inside || found.is_card(&mac) {
                found.note(address, Some(mac), AddressSource::Arp);
            }
        }
        for (mac, address) in self.watched_addresses() {
            if found.is_card(&mac) {
                found.note(address, Some(mac), AddressSource::Filter);
            }
        }
        for (host, address) in reservations(definition) {
            let entry = found.note(address, host.mac.clone(), AddressSource::Reservation);
            entry.fixed = true;
            entry.name = entry.name.take().or_else(|| host.name.clone());
        }
        self.date(view.uuid, &mut found.by_address);
        found.by_address.into_values().collect()
    }

    /// The cards of running machines on a network, with the machines' names.
    fn cards_on(&self, network: &str) -> BTreeMap<String, String> {
        let ports = self.network_ports(network).into_iter();
        ports
            .filter_map(|port| Some((port.interface.mac()?.to_string(), port.machine)))
            .collect()
    }

    /// Notes since when each address is known, and forgets those that are no more.
    fn date(&self, uuid: Uuid, addresses: &mut BTreeMap<IpAddr, NetworkAddress>) {
        let file = self.network_state(uuid).join(FIRST_SEEN_FILE);
        let before: FirstSeen = std::fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let now = jiff::Timestamp::now().as_second();
        let mut seen = FirstSeen::new();
        for entry in addresses.values_mut() {
            let used = entry
                .sources
                .iter()
                .any(|source| !matches!(source, AddressSource::Reservation | AddressSource::Host));
            if let (true, Some(mac)) = (used, &entry.mac) {
                let key = format!("{} {mac}", entry.address);
                let since = before.get(&key).copied().unwrap_or(now);
                entry.since_s = Some(since);
                seen.insert(key, since);
            }
        }
        if seen != before
            && let Ok(bytes) = serde_json::to_vec(&seen)
            && let Err(error) = std::fs::write(&file, bytes)
        {
            tracing::debug!(%error, "when addresses were first seen is not kept");
        }
    }
}

fn reservations(network: &Network) -> impl Iterator<Item = (&DhcpHost, IpAddr)> {
    let hosts = network
        .ips
        .iter()
        .flat_map(|ip| ip.dhcp.iter().flat_map(|dhcp| &dhcp.hosts));
    hosts.filter_map(|host| Some((host, host.ip.as_ref()?.parse().ok()?)))
}

struct Found {
    network: Arc<str>,
    machines: BTreeMap<String, String>,
    by_address: BTreeMap<IpAddr, NetworkAddress>,
}

impl Found {
    fn new(network: Arc<str>, machines: BTreeMap<String, String>) -> Self {
        Self {
            network,
            machines,
            by_address: BTreeMap::new(),
        }
    }

    fn is_card(&self, mac: &str) -> bool {
        self.machines.contains_key(mac)
    }

    fn note(
        &mut self,
        address: IpAddr,
        mac: Option<String>,
        source: AddressSource,
    ) -> &mut NetworkAddress {
        let mac = mac.map(|mac| mac.to_ascii_lowercase());
        let machine = mac.as_ref().and_then(|mac| self.machines.get(mac)).cloned();
        let entry = self
            .by_address
            .entry(address)
            .or_insert_with(|| NetworkAddress {
                network: self.network.clone(),
                address,
                mac: None,
                machine: None,
                name: None,
                fixed: false,
                sources: Vec::new(),
                since_s: None,
                expires_s: None,
            });
        entry.mac = entry.mac.take().or(mac);
        entry.machine = entry.machine.take().or(machine);
        if !entry.sources.contains(&source) {
            entry.sources.push(source);
        }
        entry
    }
}
