//! Ports of Open vSwitch: made before a machine runs, removed after it. The
//! switch keeps a port whose device has gone, so nobody else would.

use super::tools::Tool;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use ::network::openvswitch::{self, SwitchPort};
use ::network::plug::{Plug, plug};
use model::domain::Domain;
use model::domain::interface::{Interface, InterfaceType};
use uuid::Uuid;

const PROGRAM: &str = "ovs-vsctl";
const PACKAGE: &str = "openvswitch-switch";

async fn switch(arguments: Vec<String>) -> Result<String> {
    Tool::new(PROGRAM, PACKAGE, arguments).run().await
}

impl Engine {
    /// The device of a card and its port, where it is on a switch.
    fn switch_port_of(&self, interface: &Interface, machine: Uuid) -> Option<SwitchPort> {
        let Ok(Some(Plug::Switch(plug))) = plug(interface) else {
            return None;
        };
        Some(SwitchPort {
            device: interface.target_dev()?.to_owned(),
            plug,
            mac: interface.mac()?,
            machine,
            sending: self
                .bandwidth_of(interface)
                .and_then(|limits| limits.outbound),
        })
    }

    /// Gives the wanted cards of a machine that is about to run their ports.
    pub(crate) async fn join_switches(
        &self,
        domain: &Domain,
        wanted: impl Fn(&Interface) -> bool,
    ) -> Result<()> {
        let machine = crate::facts::uuid(domain);
        for interface in domain.devices.interfaces.iter().filter(|i| wanted(i)) {
            let Some(port) = self.switch_port_of(interface, machine) else {
                continue;
            };
            switch(openvswitch::attach(&port)).await.map_err(|error| {
                EngineError::new(
                    ErrorKind::Internal,
                    format!(
                        "Unable to add port {} to OVS bridge {}: {}",
                        port.device, port.plug.bridge, error.message
                    ),
                )
            })?;
        }
        Ok(())
    }

    /// Removes the ports of a machine whose run is over, those included that no
    /// record names. What cannot be removed is told.
    pub(crate) async fn leave_switches(&self, domain: &Domain) {
        let may_be = |interface: &Interface| {
            let switched = matches!(plug(interface), Ok(Some(Plug::Switch(_))));
            switched || self.is_on_switched_network(interface)
        };
        if !domain.devices.interfaces.iter().any(may_be) {
            return;
        }
        let ports = switch(openvswitch::ports_of(crate::facts::uuid(domain))).await;
        let gone = match ports {
            Ok(text) => {
                let devices: Vec<&str> = text.split_ascii_whitespace().collect();
                match devices.is_empty() {
                    true => Ok(String::new()),
                    false => switch(openvswitch::detach(devices)).await,
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = gone {
            tracing::error!(domain = domain.name, %error, "ports of a machine are left on a switch");
        }
    }

    /// Removes the port of one card that was plugged out.
    pub(crate) async fn leave_switch(&self, interface: &Interface) {
        if let (Ok(Some(Plug::Switch(_))), Some(device)) = (plug(interface), interface.target_dev())
            && let Err(error) = switch(openvswitch::detach([device])).await
        {
            tracing::error!(device, %error, "a port is left on a switch");
        }
    }

    /// A run that ended early may not have said yet what its network gave it.
    fn is_on_switched_network(&self, interface: &Interface) -> bool {
        let source = interface.source.as_ref();
        let name = source.and_then(|source| source.network.as_deref());
        let view = name.and_then(|name| self.network_by_name(name).ok());
        interface.kind == InterfaceType::Network
            && view.is_some_and(|view| {
                let definition = view.definition();
                definition.is_some_and(|network| {
                    let groups = network.portgroups.iter();
                    let mut ports = groups
                        .filter_map(|group| group.virtualport.as_ref())
                        .chain(&network.virtualport);
                    ports.any(|port| port.kind.as_deref() == Some("openvswitch"))
                })
            })
    }
}
