//! Ports of networks: one for each interface of a running machine, and those
//! that were made by hand.

use super::NetworkView;
use super::attach::UsedPort;
use super::hooks::Operation;
use super::status::Phase;
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::options::Affect;
use crate::tuning::Tuning;
use model::domain::Domain;
use model::domain::interface::{Bandwidth, Interface, InterfaceType};
use model::network::port::{NetworkPort, PortOwner, PortPlug};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use uuid::Uuid;

/// A port.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Its uuid.
    pub uuid: Uuid,
    /// What it is.
    pub port: NetworkPort,
}

impl Engine {
    /// The ports of an active network.
    pub fn ports_of(&self, view: &NetworkView) -> Vec<Port> {
        let used = self.network_ports(&view.name).into_iter();
        let mut ports: Vec<Port> = used.map(|used| of_interface(&used)).collect();
        let made = self.made_ports();
        let own = made
            .iter()
            .filter(|(_, (network, _))| *network == view.uuid);
        ports.extend(own.map(|(uuid, (_, port))| Port {
            uuid: *uuid,
            port: port.clone(),
        }));
        ports
    }

    /// The port with this uuid.
    pub fn port(&self, view: &NetworkView, uuid: Uuid) -> Result<NetworkPort> {
        let found = self.ports_of(view).into_iter().find(|p| p.uuid == uuid);
        found.map(|port| port.port).ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoNetworkPort,
                format!("Network port with UUID {uuid} does not exist"),
            )
        })
    }

    /// Makes a port by hand. It stays until it is removed or its network is stopped.
    pub async fn make_port(&self, view: &NetworkView, xml: &str) -> Result<Uuid> {
        let mut port = NetworkPort::parse(xml).map_err(xml_error)?;
        let uuid = *port.uuid.get_or_insert_with(Uuid::new_v4);
        let Some(live) = &view.live else {
            return Err(EngineError::invalid(format!(
                "network '{}' is not active",
                view.name
            )));
        };
        if self.ports_of(view).iter().any(|other| other.uuid == uuid) {
            return Err(EngineError::failed(format!(
                "Network port with UUID {uuid} already exists"
            )));
        }
        port.plug = live.bridge.as_ref().map(|bridge| plug(bridge));
        let created = Operation::PortCreated;
        self.run_port_hooks(&live.definition, Some(&port), created)
            .await?;
        self.made_ports().insert(uuid, (view.uuid, port));
        self.keep_ports(view).await?;
        Ok(uuid)
    }

    /// Sets the limits of a port's traffic; a machine's card gets them at once.
    pub async fn limit_port(
        &self,
        view: &NetworkView,
        uuid: Uuid,
        bandwidth: Bandwidth,
    ) -> Result<()> {
        self.port(view, uuid)?;
        let used = self.network_ports(&view.name);
        if let Some(used) = used.into_iter().find(|used| used.uuid == uuid) {
            let device = used.interface.target_dev().unwrap_or_default().to_owned();
            let tuning = Tuning::Interface {
                device,
                bandwidth: Box::new(bandwidth),
            };
            let affect = Affect {
                live: true,
                ..Affect::default()
            };
            return self
                .domain_by_uuid(used.machine_uuid)?
                .tune(tuning, affect)
                .await;
        }
        if let Some((_, port)) = self.made_ports().get_mut(&uuid) {
            port.bandwidth = Some(bandwidth);
        }
        self.keep_ports(view).await
    }

    fn made_ports(&self) -> MutexGuard<'_, BTreeMap<Uuid, (Uuid, NetworkPort)>> {
        let made = self.networks_table().ports.lock();
        made.unwrap_or_else(PoisonError::into_inner)
    }

    /// The ports made by hand, as the network's record keeps them.
    pub(super) fn ports_to_keep(&self, network: Uuid) -> Vec<String> {
        let made = self.made_ports();
        let own = made.values().filter(|(of, _)| *of == network);
        own.map(|(_, port)| port.to_xml()).collect()
    }

    /// Takes over what an earlier daemon's record has kept.
    pub(super) fn restore_ports(&self, network: Uuid, kept: &[String]) {
        for xml in kept {
            if let Ok(port) = NetworkPort::parse(xml)
                && let Some(uuid) = port.uuid
            {
                self.made_ports().insert(uuid, (network, port));
            }
        }
    }

    /// Forgets the ports of a network that was stopped.
    pub(super) fn forget_ports(&self, network: Uuid) {
        self.made_ports().retain(|_, (of, _)| *of != network);
    }

    async fn keep_ports(&self, view: &NetworkView) -> Result<()> {
        let entry = self.network_entry(view.uuid)?;
        let held = entry.owner.lock().await;
        let now = entry.view();
        match &now.live {
            Some(live) => self.record_network(now.uuid, live, &held, Phase::Active),
            None => Ok(()),
        }
    }

    /// Removes a port that was made by hand; a machine's goes with its interface.
    pub async fn remove_port(&self, view: &NetworkView, uuid: Uuid) -> Result<()> {
        self.port(view, uuid)?;
        let removed = self.made_ports().remove(&uuid);
        match removed {
            Some((_, port)) => {
                if let Some(live) = &view.live {
                    let told = self
                        .run_port_hooks(&live.definition, Some(&port), Operation::PortDeleted)
                        .await;
                    if let Err(error) = told {
                        tracing::error!(%error, "a hook has failed");
                    }
                }
                self.keep_ports(view).await
            }
            None => Err(EngineError::invalid(format!(
                "network port {uuid} belongs to a running machine: detach the interface instead"
            ))),
        }
    }
}

fn plug(bridge: &str) -> PortPlug {
    PortPlug {
        kind: "bridge".into(),
        bridge: Some(bridge.to_owned()),
        ..PortPlug::default()
    }
}

/// What a running machine's card is plugged into, in libvirt's words.
fn plug_of(interface: &Interface) -> Option<PortPlug> {
    let source = interface.source.as_deref()?;
    match interface.actual_kind() {
        InterfaceType::Direct => Some(PortPlug {
            kind: "direct".into(),
            dev: source.dev.clone(),
            mode: source.mode.clone(),
            ..PortPlug::default()
        }),
        _ => source.bridge.as_deref().map(plug),
    }
}

/// The port that a machine's card has on its network, once it has one.
pub(super) fn of_card(domain: &Domain, card: &Interface) -> Option<NetworkPort> {
    let used = UsedPort {
        uuid: card.source.as_ref()?.portid?,
        machine: domain.name.clone(),
        machine_uuid: crate::facts::uuid(domain),
        interface: card.clone(),
    };
    Some(of_interface(&used).port)
}

fn of_interface(used: &UsedPort) -> Port {
    let Interface {
        source,
        mac,
        virtualport,
        bandwidth,
        vlan,
        isolation,
        ..
    } = &used.interface;
    let source = source.as_deref();
    let port = NetworkPort {
        uuid: Some(used.uuid),
        owner: PortOwner {
            name: used.machine.clone(),
            uuid: used.machine_uuid,
        },
        group: source.and_then(|source| source.portgroup.clone()),
        mac: mac.clone(),
        virtualport: virtualport.clone(),
        bandwidth: bandwidth.clone(),
        vlan: vlan.clone(),
        isolation: isolation.clone(),
        rx_filters: None,
        plug: plug_of(&used.interface),
    };
    Port {
        uuid: used.uuid,
        port,
    }
}
