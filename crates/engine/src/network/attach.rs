//! What an interface of a machine gets of its network.

use super::NetworkView;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use ::network::plug;
use model::domain::Domain;
use model::domain::interface::{Interface, InterfaceType};
use model::network::NetworkKind;
use model::network::policy::Policy;
use uuid::Uuid;

impl Engine {
    /// Sees that every network a machine's wanted interfaces name is active, and
    /// writes what these networks give into the running definition.
    pub(crate) async fn settle_networks(
        &self,
        domain: &mut Domain,
        wanted: impl Fn(&Interface) -> bool,
    ) -> Result<()> {
        let machine = crate::facts::uuid(domain);
        let drops = super::firewall::policy_of(domain).drop_inbound;
        let interfaces = domain.devices.interfaces.iter_mut();
        for interface in interfaces.filter(|interface| wanted(interface)) {
            if interface.kind == InterfaceType::Network {
                let view = self.active_network(network_name(interface)?).await?;
                self.settle_card(interface, &view, machine)?;
            } else {
                plug::settle_alone(interface, Uuid::new_v4());
            }
            plug::plug(interface).map_err(refused)?;
            refuse_unfiltered(interface, drops)?;
        }
        Ok(())
    }

    fn settle_card(
        &self,
        interface: &mut Interface,
        view: &NetworkView,
        machine: Uuid,
    ) -> Result<()> {
        let name = &view.name;
        let live = view.live.clone();
        let live =
            live.ok_or_else(|| EngineError::invalid(format!("network '{name}' is not active")))?;
        let source = interface.source.get_or_insert_with(Default::default);
        // Of an earlier run.
        (source.mode, source.dev, source.hostdev) = (None, None, None);
        let fresh = [Uuid::new_v4(), Uuid::new_v4()];
        plug::settle(interface, &live.definition, live.bridge.as_deref(), fresh)
            .map_err(refused)?;
        match live.definition.kind() {
            NetworkKind::Direct | NetworkKind::Hostdev => {
                self.give_device(interface, &live.definition, machine)
            }
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// Gives a machine's wanted cards what they have of the host but for their devices there: a
    /// place on their networks, which the administrator's programs are told of, and functions. On
    /// an error they have nothing of it.
    pub(crate) async fn give_cards(
        &self,
        domain: &mut Domain,
        wanted: impl Fn(&Interface) -> bool,
    ) -> Result<()> {
        let given = self.give_places(domain, &wanted).await;
        if given.is_err() {
            let cards = domain.devices.interfaces.iter();
            cards
                .filter(|card| wanted(card))
                .for_each(|card| self.free_device_of(card));
        }
        given
    }

    async fn give_places(
        &self,
        domain: &mut Domain,
        wanted: impl Fn(&Interface) -> bool,
    ) -> Result<()> {
        self.settle_networks(domain, &wanted).await?;
        self.announce_ports(domain, &wanted).await?;
        let taken = self.take_functions(domain, &wanted);
        if taken.is_err() {
            self.withdraw_ports(domain, &wanted).await;
        }
        taken
    }

    /// Takes away what one card that is plugged out had of the host.
    pub(crate) async fn disconnect_card(&self, domain: &Domain, interface: &Interface) {
        crate::taps::remove(interface);
        self.leave_switch(interface).await;
        self.free_function(crate::facts::uuid(domain), interface);
        self.free_device_of(interface);
        self.withdraw_port(domain, interface).await;
    }
}

pub(super) fn refused(refusal: plug::Refusal) -> EngineError {
    EngineError::new(ErrorKind::ConfigUnsupported, refusal.to_string())
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

impl Engine {
    /// Refuses a machine one of whose cards another running machine has on the
    /// same network: both would get each other's packets.
    pub(super) fn refuse_same_card(&self, domain: &Domain) -> Result<()> {
        let own = crate::facts::uuid(domain);
        for other in self.domains() {
            let view = other.view();
            let Some(live) = view.live.as_ref().filter(|_| view.uuid != own) else {
                continue;
            };
            let definition = live.definition();
            for interface in &domain.devices.interfaces {
                let same = |card: &&Interface| {
                    card.mac() == interface.mac() && place(card) == place(interface)
                };
                let taken = definition.devices.interfaces.iter().find(same);
                if let (Some(mac), Some(place), Some(_)) =
                    (interface.mac(), place(interface), taken)
                {
                    return Err(EngineError::new(
                        ErrorKind::ResourceUnavailable,
                        format!(
                            "the machine '{}' has the MAC address {mac} on {place} already",
                            view.name
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Where a card meets others; nothing where it meets none.
fn place(interface: &Interface) -> Option<String> {
    let source = interface.source.as_ref()?;
    match interface.kind {
        InterfaceType::Network => Some(format!("network '{}'", source.network.as_ref()?)),
        InterfaceType::Bridge => Some(format!("bridge '{}'", source.bridge.as_ref()?)),
        _ => None,
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

/// Whether rules reach a settled card: they see the ports of the kernel's own
/// bridges, and a tap of type `ethernet` that somebody puts on one.
pub(super) fn is_within_reach(interface: &Interface) -> bool {
    match interface.actual_kind() {
        InterfaceType::Bridge => interface.virtualport.is_none(),
        InterfaceType::Ethernet => interface.filterref.is_some(),
        _ => false,
    }
}

impl Engine {
    /// Refuses rules that a running machine's cards are out of reach of, before they are stored.
    pub(crate) fn check_reach(&self, domain: &Domain, policy: &Policy) -> Result<()> {
        let interfaces = domain.devices.interfaces.iter();
        let mut refused = interfaces.map(|card| refuse_unfiltered(card, policy.drop_inbound));
        refused.find(Result::is_err).unwrap_or(Ok(()))
    }
}

/// A card that is to be filtered, by a filter of its own or by a machine that
/// drops what nothing allows, is not run open where no rule reaches it.
fn refuse_unfiltered(interface: &Interface, drops: bool) -> Result<()> {
    let kind = interface.actual_kind();
    // Nobody outside begins a connection to one that goes out through a process.
    let closed = kind == InterfaceType::User;
    if is_within_reach(interface) || !(interface.filterref.is_some() || drops && !closed) {
        return Ok(());
    }
    let place = match interface.virtualport.is_some() {
        true => format!("type {kind} on a switch"),
        false => format!("type {kind}"),
    };
    let what = match interface.filterref.is_some() {
        true => format!("filterref is not supported for network interfaces of {place}"),
        false => format!(
            "the firewall of this machine drops what nothing allows, and its rules do not reach \
             network interfaces of {place}: use a Linux bridge, or let everything in \
             (stead firewall default MACHINE accept)"
        ),
    };
    Err(EngineError::new(ErrorKind::ConfigUnsupported, what))
}
