//! Limits of traffic, put on devices of machines and bridges.

use super::tools::Tool;
use crate::engine::Engine;
use crate::error::Result;
use model::domain::Domain;
use model::domain::interface::{Bandwidth, Interface, InterfaceType};
use network::bandwidth::batch;

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
        add.reading(adding.join("\n") + "\n").run().await.map(drop)
    }

    /// Puts the limits of a machine that is being started on its devices.
    pub(super) async fn limit_machine(&self, domain: &Domain) -> Result<()> {
        for interface in &domain.devices.interfaces {
            let device = interface.target.as_ref().and_then(|t| t.dev.as_deref());
            if let (Some(device), Some(bandwidth)) = (device, self.bandwidth_of(interface)) {
                // What it sends is limited by its rules.
                let inbound = Bandwidth {
                    outbound: None,
                    ..bandwidth
                };
                if inbound.inbound.is_some() {
                    self.limit_device(device, Some(&inbound)).await?;
                }
            }
        }
        Ok(())
    }

    /// The limits of an interface: its own, else those of its port group.
    pub(super) fn bandwidth_of(&self, interface: &Interface) -> Option<Bandwidth> {
        if !matches!(
            interface.kind,
            InterfaceType::Network | InterfaceType::Bridge
        ) {
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
