//! Cards of a running machine: new ones, and those that are connected otherwise.

use super::{aliases, is_new_to};
use crate::error::Result;
use crate::owner::Owner;
use crate::taps::Queues;
use model::domain::Domain;
use model::domain::interface::Interface;

impl Owner {
    /// Connects the cards of `after` that the running machine does not have yet. On an error they
    /// have nothing of the host.
    pub(super) async fn connect_new(&self, before: &Domain, after: &mut Domain) -> Result<Queues> {
        let known = aliases(before);
        let new_card = |card: &Interface| is_new_to(&known, card.info.alias.as_deref());
        self.engine.give_cards(after, new_card).await?;
        let connected = self.make_cards(&known, after).await;
        if connected.is_err() {
            self.disconnect_new(before, after).await;
        }
        connected
    }

    /// Takes away what the cards that [`Owner::connect_new`] connected have of the host.
    pub(super) async fn disconnect_new(&self, before: &Domain, after: &Domain) {
        let known = aliases(before);
        for card in &after.devices.interfaces {
            if is_new_to(&known, card.info.alias.as_deref()) {
                self.engine.disconnect_card(after, card).await;
            }
        }
    }

    /// Makes the devices of cards on the host.
    async fn make_cards(&self, known: &[String], after: &mut Domain) -> Result<Queues> {
        let engine = &self.engine;
        let is_new = |alias: &str| is_new_to(known, Some(alias));
        let new_card = |card: &Interface| is_new_to(known, card.info.alias.as_deref());
        crate::taps::name_lasting(after, is_new)?;
        let mut taps = crate::taps::make(after, is_new)?;
        engine.join_switches(after, new_card).await?;
        if !taps.is_empty() {
            engine.rule_machine(after).await?;
        }
        let cgroup = self.live()?.cgroup.clone();
        taps.extend(crate::passt::start(engine, after, cgroup.as_ref(), is_new)?);
        Ok(taps)
    }

    /// Cards that are to be connected otherwise: as they are, and as they are to be.
    pub(super) async fn settle_changed(
        &self,
        before: &Domain,
        after: &mut Domain,
    ) -> Result<Vec<(Interface, Interface)>> {
        let pairs = before.devices.interfaces.iter();
        let pairs = pairs.zip(&after.devices.interfaces);
        let changed: Vec<Interface> = pairs
            .filter(|(old, new)| {
                Interface {
                    link: new.link.clone(),
                    ..(*old).clone()
                } != **new
            })
            .map(|(old, _)| old.clone())
            .collect();
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let alias = |card: &Interface| card.info.alias.clone();
        let wanted = |card: &Interface| changed.iter().any(|old| alias(old) == alias(card));
        self.engine.settle_networks(after, wanted).await?;
        let settled = |old: Interface| {
            let new = card_of(after, old.info.alias.as_deref()?)?.clone();
            Some((old, new))
        };
        Ok(changed.into_iter().filter_map(settled).collect())
    }
}

/// The card with this alias.
pub(super) fn card_of<'a>(domain: &'a Domain, alias: &str) -> Option<&'a Interface> {
    let mut cards = domain.devices.interfaces.iter();
    cards.find(|card| card.info.alias.as_deref() == Some(alias))
}
