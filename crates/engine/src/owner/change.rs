//! The end of a change: what was carried out on the running machine is
//! recorded, what is stored is stored, and everyone is told.

use super::errand::ErrandEnd;
use super::{Owner, Reply, answer};
use crate::definition::Definition;
use crate::error::Result;
use crate::events::Happening;
use crate::facts;
use crate::live::LiveMachine;
use crate::options::Affect;
use crate::tuning::Tuning;
use model::domain::Domain;
use std::future::Future;
use std::sync::Arc;

/// What is known once the running machine has been changed.
pub(super) struct ChangeEnd {
    pub(super) reply: Reply<()>,
    pub(super) result: Result<()>,
    /// The running definition with the change, unless the guest has its say first.
    pub(super) live: Option<Domain>,
    pub(super) stored: Option<Definition>,
    pub(super) told: Option<Happening>,
}

impl ChangeEnd {
    /// A change of the stored definition alone.
    pub(super) fn of_stored(reply: Reply<()>, stored: Option<Definition>) -> Self {
        ChangeEnd {
            reply,
            result: Ok(()),
            live: None,
            stored,
            told: None,
        }
    }
}

/// The definitions a change leads to.
pub(super) struct Changed {
    /// The running machine and its definition with the change.
    pub(super) live: Option<(Arc<LiveMachine>, Domain)>,
    pub(super) stored: Option<Definition>,
}

impl Owner {
    pub(super) async fn changed(&mut self, end: ChangeEnd) {
        let ChangeEnd {
            reply,
            mut result,
            live,
            stored,
            told,
        } = end;
        let mut refilters = false;
        if result.is_ok() {
            if let Some(definition) = stored {
                let name = self.entry.view().name.clone();
                result = self.store_definition(&definition, &name, false).await;
            }
            if let (Some(machine), Some(definition)) = (&self.live, live) {
                refilters = other_filters(&machine.definition(), &definition);
                self.life.set_policy(facts::end_policy(&definition));
                let rules = |domain: &Domain| self.engine.ports_of_machine(domain);
                let ruled = rules(&machine.definition()) != rules(&definition);
                machine.set_definition(definition);
                if ruled {
                    self.engine.renew_rules();
                }
                self.engine
                    .write_status(machine, &self.entry, self.life.status());
            }
            if refilters && let Err(error) = self.engine.apply_firewall().await {
                result = Err(error);
            }
            if let Some(told) = told {
                self.emit(told);
            }
        }
        answer(reply, result);
    }

    /// Makes a change in the definitions it concerns, without carrying it
    /// out; the flag says whether it is the running machine's.
    pub(super) fn amended(
        &self,
        affect: Affect,
        amend: impl Fn(&mut Domain, bool) -> Result<()>,
    ) -> Result<Changed> {
        let affect = self.resolve(affect)?;
        let mut changed = Changed {
            live: None,
            stored: None,
        };
        if affect.live {
            let live = self.live()?;
            let mut definition = Domain::clone(&live.definition());
            amend(&mut definition, true)?;
            changed.live = Some((live, definition));
        }
        if affect.config {
            let mut definition = self.stored_definition()?;
            amend(&mut definition, false)?;
            changed.stored = Some(Definition::of(definition));
        }
        Ok(changed)
    }

    /// Carries a change out on the running machine, if it concerns one, and
    /// then records and tells it.
    pub(super) async fn carry_change<F>(
        &mut self,
        what: &'static str,
        changed: Result<Changed>,
        told: Option<Happening>,
        reply: Reply<()>,
        enact: impl FnOnce(Arc<LiveMachine>, Domain) -> F,
    ) where
        F: Future<Output = Result<Domain>> + Send + 'static,
    {
        let Changed { live, stored } = match changed {
            Ok(changed) => changed,
            Err(error) => return answer(reply, Err(error)),
        };
        let Some((live, definition)) = live else {
            return self.changed(ChangeEnd::of_stored(reply, stored)).await;
        };
        let enacted = enact(live, definition);
        self.hold(what, async move {
            let (result, live) = match enacted.await {
                Ok(definition) => (Ok(()), Some(definition)),
                Err(error) => (Err(error), None),
            };
            ErrandEnd::Change(Box::new(ChangeEnd {
                reply,
                result,
                live,
                stored,
                told,
            }))
        });
    }

    /// Changes what the machine may use of its host.
    pub(super) async fn tune(&mut self, tuning: Tuning, affect: Affect, reply: Reply<()>) {
        let changed = self.amended(affect, |domain, running| tuning.amend(domain, running));
        let live = changed
            .as_ref()
            .ok()
            .and_then(|changed| changed.live.as_ref());
        let told = live.map(|(_, definition)| tuning.told(definition));
        let told = told.filter(|told| !told.is_empty()).map(Happening::Tunable);
        let engine = self.engine.clone();
        self.carry_change(
            "tuning",
            changed,
            told,
            reply,
            |live, definition| async move {
                tuning.enact(&engine, &live, &definition).await?;
                Ok(definition)
            },
        )
        .await;
    }
}

/// Whether cards that stay have other network filters.
fn other_filters(before: &Domain, after: &Domain) -> bool {
    let (before, after) = (&before.devices.interfaces, &after.devices.interfaces);
    before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .any(|(old, new)| old.filterref != new.filterref)
}
