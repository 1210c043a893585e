//! A running machine's card on another network, in another VLAN, with other limits.

use super::attach::refused;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use ::network::plug::{Plug, plug};
use model::domain::Domain;
use model::domain::interface::{Bandwidth, Interface};

impl Engine {
    /// Makes of a card's connection what the new definition says; `after` is the
    /// whole of it. Where that fails, the card is as it was.
    pub(crate) async fn replug(
        &self,
        old: &Interface,
        new: &Interface,
        after: &Domain,
    ) -> Result<()> {
        let (was, wanted) = (plug(old).map_err(refused)?, plug(new).map_err(refused)?);
        if was != wanted {
            check(was.as_ref(), wanted.as_ref(), old, new)?;
            self.unplug_from(was.as_ref(), old).await?;
            if let Err(error) = self.plug_into(wanted.as_ref(), new, after).await {
                if let Err(worse) = self.plug_into(was.as_ref(), old, after).await {
                    tracing::error!(%worse, "a card could not be put back where it was");
                }
                return Err(error);
            }
        }
        let (before, limits) = (self.bandwidth_of(old), self.bandwidth_of(new));
        match new.target_dev() {
            Some(device) if before != limits => {
                self.limit_device(device, None::<&Bandwidth>).await?;
                self.limit_card(device, new).await?;
                // A switch limits what is sent by itself.
                match wanted {
                    Some(Plug::Switch(_)) => self.plug_into(wanted.as_ref(), new, after).await,
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    async fn unplug_from(&self, plug: Option<&Plug>, card: &Interface) -> Result<()> {
        match (plug, card.target_dev()) {
            (Some(Plug::Bridge { name, .. }), Some(device)) => sys::net::detach(name, device)
                .map_err(|e| EngineError::system("cannot take the card off its bridge", e)),
            (Some(Plug::Switch(_)), _) => {
                self.leave_switch(card).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn plug_into(
        &self,
        plug: Option<&Plug>,
        card: &Interface,
        domain: &Domain,
    ) -> Result<()> {
        match (plug, card.target_dev()) {
            (
                Some(Plug::Bridge {
                    name,
                    isolated,
                    vlans,
                }),
                Some(device),
            ) => crate::taps::join_bridge(device, name, *isolated, vlans.as_ref()),
            (Some(Plug::Switch(_)), _) => {
                let alias = card.info.alias.clone();
                self.join_switches(domain, |other| other.info.alias == alias)
                    .await
            }
            _ => Ok(()),
        }
    }
}

/// Only what is on a bridge can go to another one.
fn check(
    was: Option<&Plug>,
    wanted: Option<&Plug>,
    old: &Interface,
    new: &Interface,
) -> Result<()> {
    let on_bridge =
        |plug: Option<&Plug>| matches!(plug, Some(Plug::Bridge { .. } | Plug::Switch(_)));
    if on_bridge(was) && on_bridge(wanted) {
        return Ok(());
    }
    let what = match old.kind == new.kind {
        true => format!("unable to change config on '{}' network type", old.kind),
        false => format!(
            "unable to change connection of a running machine's card from '{}' to '{}'",
            old.kind, new.kind
        ),
    };
    Err(EngineError::new(ErrorKind::ConfigUnsupported, what))
}
