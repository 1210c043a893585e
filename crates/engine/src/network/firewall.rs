//! The firewall's tables as the active networks and machines want them.

use crate::engine::Engine;
use crate::error::Result;
use crate::events::Happening;
use crate::limits::FORWARD_RETRY_MS;
use ::network::bandwidth::sending;
use ::network::firewall::{Firewall, NetworkRules};
use ::network::machine_rules::{Guard, MachinePort};
use model::domain::Domain;
use model::domain::interface::{Interface, InterfaceType};
use model::network::Network;
use model::network::ip::{DhcpHost, NetworkIp};
use model::network::policy::{NAMESPACE, Policy};
use model::network::text::is_device_name;
use model::xml::YesNo;
use qemu::machine::LifecycleEvent;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

impl Engine {
    /// The tables' name: the daemon's own, so that several do not disturb each other.
    pub(crate) fn firewall_table(&self) -> String {
        match self.places() == &crate::places::Places::system() {
            true => "stead".to_owned(),
            false => format!("stead_{}", &self.host_id().simple().to_string()[..8]),
        }
    }

    /// All rules there should be now.
    pub(crate) fn firewall(&self) -> Firewall {
        let networks = self.networks().into_iter().filter_map(|view| {
            let live = view.live.as_ref()?;
            Some(NetworkRules {
                bridge: live.bridge.clone()?,
                network: live.definition.clone(),
            })
        });
        Firewall {
            table: self.firewall_table(),
            networks: networks.collect(),
            machines: self.machine_ports(),
            sets: self.firewall_sets(),
            ..Firewall::default()
        }
    }

    /// The devices of running machines, with what they may do.
    fn machine_ports(&self) -> Vec<MachinePort> {
        let mut ports = Vec::new();
        for domain in self.domains() {
            let view = domain.view();
            let Some(live) = &view.live else { continue };
            let definition = live.definition();
            ports.extend(self.ports_of_machine(&definition));
        }
        let mut starting = self.starting_ports();
        // One that runs by now is known better; one without its device is gone.
        let known = |port: &MachinePort| ports.iter().any(|p| p.device == port.device);
        let there = |device: &str| sys::net::index(device).is_ok_and(|index| index.is_some());
        starting.retain(|port| !known(port) && there(&port.device));
        ports.extend(starting.iter().cloned());
        drop(starting);
        let bound = self.bound_ports();
        ports.retain(|port| !bound.iter().any(|b| b.device == port.device));
        ports.extend(bound);
        ports
    }

    fn starting_ports(&self) -> MutexGuard<'_, Vec<MachinePort>> {
        let starting = self.networks_table().starting.lock();
        starting.unwrap_or_else(PoisonError::into_inner)
    }

    /// The devices of one machine.
    pub(crate) fn ports_of_machine(&self, domain: &Domain) -> Vec<MachinePort> {
        let policy = policy_of(domain);
        let interfaces = domain.devices.interfaces.iter();
        let port = |interface: &Interface| {
            let device = interface.target.as_ref()?.dev.clone()?;
            let mac = interface.mac()?;
            if !super::attach::is_within_reach(interface) {
                return None;
            }
            let network = match interface.kind {
                InterfaceType::Network => {
                    let name = interface.source.as_ref()?.network.as_deref()?;
                    let view = self.network_by_name(name).ok()?;
                    view.live.clone()
                }
                _ => None,
            };
            let network = network.as_ref().map(|live| &live.definition);
            let address = match policy.forwards.is_empty() {
                true => None,
                false => self
                    .leases_of_mac(&mac.to_string())
                    .first()
                    .map(|l| l.lease.address),
            };
            let filter = self.filter_of(&device, mac, interface.filterref.as_ref());
            Some(MachinePort {
                device,
                mac,
                guard: network.and_then(|network| guard(network, interface)),
                policy: policy.clone(),
                sending: self.bandwidth_of(interface).as_ref().and_then(sending),
                address,
                filter,
            })
        };
        interfaces.filter_map(port).collect()
    }

    /// Follows what happens to machines: their rules come, change and go with it.
    pub(crate) fn follow_machines(&self) {
        let engine = self.clone();
        let mut stopping = self.stopping();
        tokio::spawn(async move {
            let mut events = engine.events();
            let mut forwards = engine.forwards_ports();
            loop {
                let look_again = async {
                    let pause = Duration::from_millis(FORWARD_RETRY_MS);
                    match forwards {
                        true => tokio::time::sleep(pause).await,
                        false => std::future::pending().await,
                    }
                };
                let event = tokio::select! {
                    event = events.next() => Some(event),
                    () = look_again => None,
                    _ = stopping.wait_for(|stop| *stop) => return,
                };
                let relevant = match &event {
                    Some(Ok(event)) => is_about_rules(&event.what),
                    // Some were missed.
                    Some(Err(_)) => {
                        events = engine.events();
                        true
                    }
                    None => true,
                };
                forwards = (forwards || relevant) && engine.forwards_ports();
                if relevant && let Err(error) = engine.apply_firewall().await {
                    tracing::error!(%error, "the rules of machines could not be put in force");
                }
            }
        });
    }

    /// Puts the rules of a machine that is being started in force.
    pub(crate) async fn rule_machine(&self, domain: &Domain) -> Result<()> {
        self.limit_machine(domain).await?;
        let ports = self.ports_of_machine(domain);
        if ports.is_empty() {
            return Ok(());
        }
        if let Some(port) = ports.iter().find(|port| !is_device_name(&port.device)) {
            let message = format!("'{}' is no name of a device for rules", port.device);
            return Err(crate::error::EngineError::invalid(message));
        }
        self.refuse_same_card(domain)?;
        self.bind_anew(domain);
        self.check_filters(domain)?;
        self.starting_ports().extend(ports);
        self.apply_firewall().await
    }

    /// Has the rules put in force that a change of a running machine wants.
    pub(crate) fn renew_rules(&self) {
        let engine = self.clone();
        tokio::spawn(async move {
            if let Err(error) = engine.apply_firewall().await {
                tracing::error!(%error, "the rules of machines could not be put in force");
            }
        });
    }

    /// Whether ports lead to a running machine: its address may change.
    fn forwards_ports(&self) -> bool {
        self.domains().iter().any(|domain| {
            let view = domain.view();
            let live = view.live.as_ref();
            live.is_some_and(|live| !policy_of(&live.definition()).forwards.is_empty())
        })
    }
}

/// Whether something that happened to a machine may change the rules.
fn is_about_rules(what: &Happening) -> bool {
    match what {
        Happening::MetadataChange { namespace, .. } => namespace.as_deref() == Some(NAMESPACE),
        Happening::Lifecycle(LifecycleEvent::Started(_) | LifecycleEvent::Stopped(_)) => true,
        Happening::DeviceRemoved { .. } => true,
        _ => false,
    }
}

/// The rules a machine's metadata holds; unreadable ones let nothing in.
pub(super) fn policy_of(domain: &Domain) -> Policy {
    let held = domain.metadata.as_ref().and_then(|m| m.get(NAMESPACE));
    let Some(text) = held else {
        return Policy::default();
    };
    Policy::parse(&text).unwrap_or_else(|error| {
        tracing::error!(domain = domain.name, %error, "the machine's firewall rules cannot be read");
        Policy {
            drop_inbound: true,
            ..Policy::default()
        }
    })
}

/// What a machine may call itself on a network that gives out addresses,
/// unless network or interface trust it.
fn guard(network: &Network, interface: &Interface) -> Option<Guard> {
    let trusted = |trust: Option<YesNo>| trust.is_some_and(YesNo::is_yes);
    if !network.serves_dhcp()
        || trusted(network.trust_guest_rx_filters)
        || trusted(interface.trust_guest_rx_filters)
    {
        return None;
    }
    let routes = network.routes.iter();
    let routed = routes.filter_map(|r| model::network::route::target(r).ok());
    let mac = interface.mac()?.to_string();
    let own = |ip: &NetworkIp| {
        let hosts = ip.dhcp.iter().flat_map(|dhcp| &dhcp.hosts);
        let reserved = |host: &&DhcpHost| {
            let known = host.mac.as_deref();
            known.is_some_and(|known| known.eq_ignore_ascii_case(&mac))
        };
        let address: IpAddr = hosts
            .into_iter()
            .find(reserved)?
            .ip
            .as_ref()?
            .parse()
            .ok()?;
        Some((address, 32))
    };
    Some(Guard {
        nets: network
            .ips
            .iter()
            // One with an address of its own has no other.
            .filter_map(|ip| own(ip).or_else(|| Some((ip.network()?, ip.prefix_length()?))))
            .chain(routed.map(|target| (target.destination, target.prefix)))
            .collect(),
        gateways: network.ips.iter().filter_map(|ip| ip.ip()).collect(),
    })
}
