//! Limits of traffic, put on devices of machines and bridges.

use super::tools::Tool;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::interface::{Bandwidth, Interface, InterfaceType};
use network::bandwidth::batch;
use network::plug::{Plug, plug};

const PACKAGE: &str = "iproute2";

impl Engine {
    /// Puts limits on a device's traffic in place of those it has; none for no limits.
    pub(crate) async fn limit_device(
        &self,
        device: &str,
        bandwidth: Option<&Bandwidth>,
    ) -> Result<()> {
        let text = batch(device, bandwidth);
        // What is not there cannot be taken away, which is no failure.
        let mut removing: Vec<&str> = text.lines().collect();
        let adding = removing.split_off(2);
        let remove = Tool::new("tc", PACKAGE, ["-force", "-batch", "-"]);
        let _ = remove.reading(removing.join("\n") + "\n").run().await;
        if adding.is_empty() {
            return Ok(());
        }
        let add = Tool::new("tc", PACKAGE, ["-batch", "-"]);
        let added = add.reading(adding.join("\n") + "\n").run().await;
        added.map(drop).map_err(named)
    }

    /// Puts the limits of a machine that is being started on its devices.
    pub(super) async fn limit_machine(&self, domain: &Domain) -> Result<()> {
        for interface in &domain.devices.interfaces {
            if let Some(device) = interface.target_dev() {
                self.limit_card(device, interface).await?;
            }
        }
        Ok(())
    }

    /// Puts the limits of one card on its device.
    pub(crate) async fn limit_card(&self, device: &str, interface: &Interface) -> Result<()> {
        match self.limits_of_card(interface) {
            None => Ok(()),
            limits => self.limit_device(device, limits.as_ref()).await,
        }
    }

    /// Puts the limits of a card of a running machine in place of those it had.
    pub(crate) async fn limit_running_card(
        &self,
        interface: &Interface,
        domain: &Domain,
    ) -> Result<()> {
        if !is_limited(interface) {
            let message = "only cards on networks, bridges and devices of the host can have their \
                           traffic limited";
            return Err(EngineError::new(ErrorKind::Unsupported, message));
        }
        let Some(device) = interface.target_dev() else {
            return Err(EngineError::invalid("the card has no device on the host"));
        };
        let limits = self.limits_of_card(interface);
        self.limit_device(device, limits.as_ref()).await?;
        if let Ok(Some(Plug::Switch(_))) = plug(interface) {
            let alias = &interface.info.alias;
            self.join_switches(domain, |other| other.info.alias == *alias)
                .await?;
        }
        self.apply_firewall().await
    }

    /// What a card's device is limited to; nothing for no limits.
    fn limits_of_card(&self, interface: &Interface) -> Option<Bandwidth> {
        let bandwidth = self.bandwidth_of(interface)?;
        let limits = match interface.actual_kind() {
            // The device has the machine's own view: it sends what the machine sends.
            InterfaceType::Direct => Bandwidth {
                inbound: bandwidth.outbound,
                outbound: bandwidth.inbound,
            },
            // What it sends is limited by its rules, or by its switch.
            _ => Bandwidth {
                outbound: None,
                ..bandwidth
            },
        };
        (limits != Bandwidth::default()).then_some(limits)
    }

    /// The limits of an interface: its own, else those of its port group.
    pub(super) fn bandwidth_of(&self, interface: &Interface) -> Option<Bandwidth> {
        if !is_limited(interface) {
            return None;
        }
        if let Some(own) = &interface.bandwidth {
            return Some(own.clone());
        }
        let source = interface.source.as_ref()?;
        let view = self.network_by_name(source.network.as_deref()?).ok()?;
        let live = view.live.as_ref()?;
        let group = live.definition.port_group(source.portgroup.as_deref())?;
        group.bandwidth.clone()
    }
}

/// What tc says where the kernel lacks a part, and which part that is.
const MISSING: [(&str, &str); 3] = [
    ("TC action module", "policing (CONFIG_NET_ACT_POLICE)"),
    (
        "TC classifier not found",
        "classifiers (CONFIG_NET_CLS_U32)",
    ),
    (
        "qdisc kind is unknown",
        "queues of this kind (CONFIG_NET_SCH_HTB, CONFIG_NET_SCH_INGRESS)",
    ),
];

/// The failure, with the part of the kernel that is missing named.
fn named(error: EngineError) -> EngineError {
    let missing = MISSING
        .iter()
        .find(|(said, _)| error.message.contains(said));
    match missing {
        // What follows is how tc is used.
        None => EngineError::new(error.kind, error.message.lines().next().unwrap_or_default()),
        Some((_, part)) => EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!("the kernel cannot limit this traffic: it is built without {part}"),
        ),
    }
}

/// Whether traffic of such a card can be limited.
fn is_limited(interface: &Interface) -> bool {
    matches!(
        interface.actual_kind(),
        InterfaceType::Bridge | InterfaceType::Direct | InterfaceType::Ethernet
    )
}
