//! What an interface of a machine gets of its network.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::interface::{Interface, InterfaceSource, InterfaceType};
use model::network::NetworkKind;
use uuid::Uuid;

/// What an interface is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// A bridge of the kernel.
    Bridge {
        /// Its name.
        name: String,
        /// Whether it may not talk to other such ports.
        isolated: bool,
    },
}

impl Engine {
    /// Sees that every network a machine names is active, and gives its
    /// interfaces their ports.
    pub(crate) async fn ready_networks(&self, domain: &Domain) -> Result<()> {
        for interface in &domain.devices.interfaces {
            if interface.kind == InterfaceType::Network {
                self.active_network(network_name(interface)?).await?;
            }
        }
        Ok(())
    }
}

/// One interface of a running machine on a network.
#[derive(Debug, Clone)]
pub struct UsedPort {
    /// The port's uuid.
    pub uuid: Uuid,
    /// The machine's name.
    pub machine: String,
    /// The machine's uuid.
    pub machine_uuid: Uuid,
    /// The interface as it is now.
    pub interface: Interface,
}

impl Engine {
    /// The interfaces of running machines on a network.
    pub fn network_ports(&self, network: &str) -> Vec<UsedPort> {
        let mut ports = Vec::new();
        for domain in self.domains() {
            let view = domain.view();
            let Some(live) = &view.live else { continue };
            for interface in &live.definition().devices.interfaces {
                let source = interface.source.as_ref();
                if interface.kind == InterfaceType::Network
                    && source.is_some_and(|s| s.network.as_deref() == Some(network))
                    && let Some(uuid) = source.and_then(|s| s.portid)
                {
                    ports.push(UsedPort {
                        uuid,
                        machine: view.name.to_string(),
                        machine_uuid: view.uuid,
                        interface: interface.clone(),
                    });
                }
            }
        }
        ports
    }
}

fn network_name(interface: &Interface) -> Result<&str> {
    let source = interface.source.as_ref();
    source.and_then(|s| s.network.as_deref()).ok_or_else(|| {
        EngineError::new(
            ErrorKind::XmlError,
            "the interface of type 'network' names no network",
        )
    })
}

/// What is asked for and not done is said, rather than left out.
fn refuse_unsupported(interface: &Interface) -> Result<()> {
    if let Some(filter) = &interface.filterref {
        return Err(not_done(&format!("network filters ('{}')", filter.filter)));
    }
    let tapped = matches!(
        interface.kind,
        InterfaceType::Network | InterfaceType::Bridge
    );
    if tapped && interface.vlan.is_some() {
        return Err(not_done("VLANs of interfaces"));
    }
    if tapped && interface.virtualport.is_some() {
        return Err(not_done("virtual switches (<virtualport>)"));
    }
    if matches!(
        interface.kind,
        InterfaceType::Direct | InterfaceType::Ethernet
    ) {
        return Err(not_done(&format!(
            "interfaces of type '{}'",
            interface.kind
        )));
    }
    Ok(())
}

fn not_done(what: &str) -> EngineError {
    EngineError::new(
        ErrorKind::ConfigUnsupported,
        format!("{what} are not supported yet"),
    )
}

/// What an interface is plugged into; none for those that need nothing of the
/// host. The running definition is told.
pub(crate) fn attachment(engine: &Engine, interface: &mut Interface) -> Result<Option<Attachment>> {
    let isolated = |port: &Option<model::domain::interface::PortIsolation>| {
        let isolated = port.as_ref().and_then(|port| port.isolated);
        isolated.is_some_and(model::xml::YesNo::is_yes)
    };
    refuse_unsupported(interface)?;
    match interface.kind {
        InterfaceType::Bridge => {
            let source = interface.source.as_ref();
            let name = source.and_then(|s| s.bridge.clone()).ok_or_else(|| {
                EngineError::new(
                    ErrorKind::ConfigUnsupported,
                    "the interface names no bridge of the host",
                )
            })?;
            Ok(Some(Attachment::Bridge {
                name,
                isolated: isolated(&interface.isolation),
            }))
        }
        InterfaceType::Network => {
            let name = network_name(interface)?.to_owned();
            let view = engine.network_by_name(&name)?;
            let live = view
                .live
                .as_ref()
                .ok_or_else(|| EngineError::invalid(format!("network '{name}' is not active")))?;
            let network = &live.definition;
            if !(network.kind().owns_bridge() || network.kind() == NetworkKind::HostBridge) {
                return Err(EngineError::new(
                    ErrorKind::ConfigUnsupported,
                    format!(
                        "machines cannot be connected to network '{name}' yet: it has no bridge"
                    ),
                ));
            }
            let bridge = view.bridge()?;
            let source = interface.source.get_or_insert_with(Default::default);
            let source: &mut InterfaceSource = source;
            let group = network.port_group(source.portgroup.as_deref());
            let tagged = network.vlan.is_some() || group.is_some_and(|group| group.vlan.is_some());
            let switched = network.virtualport.is_some()
                || group.is_some_and(|group| group.virtualport.is_some());
            if tagged || switched {
                return Err(not_done(&format!(
                    "VLANs and virtual switches (network '{name}')"
                )));
            }
            if source.portgroup.is_some() && group.is_none() {
                return Err(EngineError::new(
                    ErrorKind::ConfigUnsupported,
                    format!(
                        "network '{name}' has no port group '{}'",
                        source.portgroup.clone().unwrap_or_default()
                    ),
                ));
            }
            source.portid.get_or_insert_with(Uuid::new_v4);
            source.bridge = Some(bridge.clone());
            let alone = isolated(&interface.isolation)
                || isolated(&network.isolation)
                || group.is_some_and(|group| isolated(&group.isolation));
            Ok(Some(Attachment::Bridge {
                name: bridge,
                isolated: alone,
            }))
        }
        _ => Ok(None),
    }
}
