//! Networks of the host: their definitions, the bridges, servers and rules
//! that make them, and the interfaces of machines on them.
//!
//! One at a time changes a network: whoever holds its entry's lock. Readers
//! see the [`NetworkView`] published after each change and never wait. What is
//! done to the host comes as plain data from the `network` crate.

mod addresses;
mod attach;
mod bandwidth;
mod bus;
mod define;
mod dnsmasq;
mod enforce;
mod firewall;
mod firewalld;
mod functions;
mod hooks;
mod interfaces;
mod leases;
mod others;
mod planned;
mod pool;
mod ports;
mod record;
mod replug;
mod sets;
mod start;
mod status;
mod switch;
pub(crate) mod tools;
pub mod update;

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::notices::{NetworkHappening, Notice};
use model::XmlFlags;
use model::network::Network;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use uuid::Uuid;

pub use addresses::{AddressSource, NetworkAddress};
pub use define::DefineMode;
pub use interfaces::HostInterface;
pub use leases::NetworkLease;
pub use planned::PlannedChange;
pub use ports::Port;
pub use sets::NamedSet;

/// What readers see of a network.
#[derive(Debug, Clone)]
pub struct NetworkView {
    /// Its uuid.
    pub uuid: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// The stored definition; none of a transient network.
    pub stored: Option<Arc<Network>>,
    /// What it is while it is active.
    pub live: Option<Arc<LiveNetwork>>,
    /// Made by the daemon itself and untouched since: names and subnet are ours to change.
    pub(crate) ours: bool,
}

/// An active network.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveNetwork {
    /// The definition it was started from, changes to the live network included.
    pub definition: Network,
    /// The bridge that was made for it, or that it names.
    pub bridge: Option<String>,
}

impl NetworkView {
    /// Whether it is active.
    pub fn is_active(&self) -> bool {
        self.live.is_some()
    }

    /// Whether its definition is stored.
    pub fn is_persistent(&self) -> bool {
        self.stored.is_some()
    }

    /// The definition in force: of the active network, or the stored one.
    pub fn definition(&self) -> Option<&Network> {
        let live = self.live.as_ref().map(|live| &live.definition);
        live.or(self.stored.as_deref())
    }

    /// The definition as libvirt shows it.
    pub fn xml(&self, inactive: bool) -> String {
        let stored = self.stored.as_deref();
        let shown = match inactive {
            true => stored.or(self.definition()),
            false => self.definition(),
        };
        let flags = XmlFlags {
            inactive: inactive || !self.is_active(),
            secure: true,
            migratable: false,
        };
        shown
            .map(|network| network.to_xml(flags))
            .unwrap_or_default()
    }

    /// The bridge it is on; refused for networks without one.
    pub fn bridge(&self) -> Result<String> {
        let live = self.live.as_ref().and_then(|live| live.bridge.clone());
        let named = || self.definition()?.bridge_name().map(str::to_owned);
        live.or_else(named).ok_or_else(|| {
            EngineError::new(
                ErrorKind::Internal,
                format!("network '{}' does not have a bridge name.", self.name),
            )
        })
    }
}

const DEFINED: i32 = 0;
const UNDEFINED: i32 = 1;
const STARTED: i32 = 2;
const STOPPED: i32 = 3;

/// A network, and the right to change it.
#[derive(Debug)]
pub(crate) struct Entry {
    view: RwLock<Arc<NetworkView>>,
    /// Held by whoever changes the network; in it, what only they need.
    pub(crate) owner: tokio::sync::Mutex<Held>,
}

/// What the holder of a network's lock knows.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The server of addresses and names.
    pub(crate) server: Option<dnsmasq::Server>,
}

impl Entry {
    fn view(&self) -> Arc<NetworkView> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.clone()
    }

    fn publish(&self, change: impl FnOnce(&mut NetworkView)) -> Arc<NetworkView> {
        let mut slot = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut view = NetworkView::clone(&slot);
        change(&mut view);
        *slot = Arc::new(view);
        slot.clone()
    }
}

/// All networks of the host.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    by_uuid: Mutex<BTreeMap<Uuid, Arc<Entry>>>,
    /// Devices of machines that are being started, until those are seen to run.
    starting: Mutex<Vec<::network::machine_rules::MachinePort>>,
    /// Ports made by hand, with their networks.
    ports: Mutex<BTreeMap<Uuid, (Uuid, model::network::port::NetworkPort)>>,
    /// Devices of pools that machines were given.
    claims: Mutex<Vec<pool::Claim>>,
    /// Named sets that rules speak of.
    sets: Mutex<BTreeMap<String, NamedSet>>,
    /// What is in force of the firewall's tables.
    firewall: enforce::Enforcement,
    /// Held while Docker's policy gets its exceptions.
    beside_docker: tokio::sync::Mutex<()>,
    /// Which machine has which virtual function.
    functions: functions::Owners,
    /// Whether firewalld's news are followed.
    following: firewalld::Following,
    /// Held while something of the host is chosen: a bridge's name, a subnet.
    choosing: tokio::sync::Mutex<()>,
}

impl Networks {
    fn all(&self) -> Vec<Arc<Entry>> {
        let map = self.by_uuid.lock().unwrap_or_else(PoisonError::into_inner);
        map.values().cloned().collect()
    }

    fn get(&self, uuid: Uuid) -> Option<Arc<Entry>> {
        let map = self.by_uuid.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&uuid).cloned()
    }

    fn remove(&self, uuid: Uuid) {
        let mut map = self.by_uuid.lock().unwrap_or_else(PoisonError::into_inner);
        map.remove(&uuid);
    }

    /// Puts a network into the table, unless its name or uuid belongs to another one.
    fn claim(&self, view: NetworkView) -> Result<Arc<Entry>> {
        let mut map = self.by_uuid.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = |what: String| Err(EngineError::failed(what));
        if let Some(entry) = map.get(&view.uuid) {
            let present = entry.view();
            return match present.name == view.name {
                true => Ok(entry.clone()),
                false => taken(format!(
                    "network '{}' is already defined with uuid {}",
                    present.name, present.uuid
                )),
            };
        }
        if let Some(other) = map.values().find(|e| e.view().name == view.name) {
            return taken(format!(
                "network '{}' already exists with uuid {}",
                view.name,
                other.view().uuid
            ));
        }
        let uuid = view.uuid;
        let entry = Arc::new(Entry {
            view: RwLock::new(Arc::new(view)),
            owner: tokio::sync::Mutex::default(),
        });
        map.insert(uuid, entry.clone());
        Ok(entry)
    }
}

fn no_network(what: &str) -> EngineError {
    EngineError::new(
        ErrorKind::NoNetwork,
        format!("no network with matching {what}"),
    )
}

impl Engine {
    /// Every network, in the order of their names.
    pub fn networks(&self) -> Vec<Arc<NetworkView>> {
        let mut views: Vec<_> = self
            .networks_table()
            .all()
            .iter()
            .map(|e| e.view())
            .collect();
        // One that is neither stored nor active is being made, or is gone.
        views.retain(|view| view.is_active() || view.is_persistent());
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// The network with this uuid.
    pub fn network_by_uuid(&self, uuid: Uuid) -> Result<Arc<NetworkView>> {
        let found = self.networks_table().get(uuid).map(|entry| entry.view());
        found
            .filter(|view| view.is_active() || view.is_persistent())
            .ok_or_else(|| no_network(&format!("uuid '{uuid}'")))
    }

    /// The network with this name.
    pub fn network_by_name(&self, name: &str) -> Result<Arc<NetworkView>> {
        let views = self.networks();
        views
            .into_iter()
            .find(|view| &*view.name == name)
            .ok_or_else(|| no_network(&format!("name '{name}'")))
    }

    /// A network's definition as libvirt shows it, with how many machines are on it now.
    pub fn network_xml(&self, view: &NetworkView, inactive: bool) -> String {
        let mut view = view.clone();
        if let (Some(live), false) = (&view.live, inactive) {
            let mut live = LiveNetwork::clone(live);
            let count = self.network_ports(&view.name).len();
            live.definition.connections = u32::try_from(count).ok().filter(|n| *n > 0);
            self.count_connections(&view, &mut live.definition);
            view.live = Some(Arc::new(live));
        }
        view.xml(inactive)
    }

    fn network_entry(&self, uuid: Uuid) -> Result<Arc<Entry>> {
        self.network_by_uuid(uuid)?;
        self.networks_table()
            .get(uuid)
            .ok_or_else(|| no_network(&format!("uuid '{uuid}'")))
    }

    fn tell_network(&self, view: &NetworkView, what: NetworkHappening) {
        self.notices_hub().tell(Notice::Network {
            name: view.name.clone(),
            uuid: view.uuid,
            what,
        });
    }

    fn tell_network_life(&self, view: &NetworkView, number: i32) {
        self.tell_network(view, NetworkHappening::Lifecycle(number));
    }
}
