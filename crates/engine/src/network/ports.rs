//! Ports of networks: one for each interface of a running machine, and those
//! that were made by hand.

use super::NetworkView;
use super::attach::UsedPort;
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use model::domain::interface::Interface;
use model::network::port::{NetworkPort, PortOwner, PortPlug};
use std::sync::PoisonError;
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
        let made = self.networks_table().ports.lock();
        let made = made.unwrap_or_else(PoisonError::into_inner);
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

    /// Makes a port by hand.
    pub fn make_port(&self, view: &NetworkView, xml: &str) -> Result<Uuid> {
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
        let made = self.networks_table().ports.lock();
        let mut made = made.unwrap_or_else(PoisonError::into_inner);
        made.insert(uuid, (view.uuid, port));
        Ok(uuid)
    }

    /// Removes a port that was made by hand; a machine's goes with its interface.
    pub fn remove_port(&self, view: &NetworkView, uuid: Uuid) -> Result<()> {
        self.port(view, uuid)?;
        let made = self.networks_table().ports.lock();
        let mut made = made.unwrap_or_else(PoisonError::into_inner);
        match made.remove(&uuid) {
            Some(_) => Ok(()),
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
        plug: source.and_then(|s| s.bridge.as_deref()).map(plug),
    };
    Port {
        uuid: used.uuid,
        port,
    }
}
