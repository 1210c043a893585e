//! Carries steps out while the machine runs: what its QEMU has open is left to
//! QEMU, the rest is done as for a stopped machine.

use crate::crash::{Step as CrashStep, crash_point};
use crate::error::Result;
use crate::live::LiveMachine;
use crate::snapshots::journal::Journal;
use crate::snapshots::live::{self, place_of};
use crate::snapshots::nodes;
use crate::snapshots::steps;
use crate::snapshots::work::Work;
use model::domain::Domain;
use qemu::qmp::commands;
use std::sync::Arc;
use storage::chain::Step;

impl Work {
    /// Does the steps that are left, then writes the outcome.
    pub(crate) async fn finish_live(
        &self,
        live: &Arc<LiveMachine>,
        mut journal: Journal,
    ) -> Result<()> {
        while let Some(step) = journal.steps.get(journal.done).cloned() {
            if let Err(error) = self.live_step(live, &step, &mut journal).await {
                self.let_run(live, &mut journal).await?;
                return Err(error);
            }
            crash_point(CrashStep::SnapshotStepDone);
            journal.done += 1;
            self.note(&journal).await?;
            self.let_run(live, &mut journal).await?;
        }
        self.settle(&journal.outcome).await
    }

    async fn live_step(
        &self,
        live: &Arc<LiveMachine>,
        step: &Step,
        journal: &mut Journal,
    ) -> Result<()> {
        let definition = live.definition();
        let monitor = live.monitor()?;
        match step {
            Step::Untag { image, tag } => match place_of(&definition, image) {
                None => steps::run(&self.engine, step, &journal.keys).await,
                Some((disk, at)) => {
                    let path = std::path::Path::new(image);
                    if !crate::snapshots::images::has_tag(path, tag)? {
                        return Ok(());
                    }
                    live::untag(monitor, &definition.devices.disks[disk], at, tag).await
                }
            },
            Step::Commit { top, base, .. } => match place_of(&definition, top) {
                // It was merged and recorded before a crash.
                None if place_of(&definition, base).is_some() => Ok(()),
                None => steps::run(&self.engine, step, &journal.keys).await,
                Some((disk, at)) => self.merge(live, &definition, disk, at, journal).await,
            },
            // QEMU has written the name of the image below already.
            Step::Rebase { image, .. } if place_of(&definition, image).is_some() => Ok(()),
            _ => steps::run(&self.engine, step, &journal.keys).await,
        }
    }

    async fn merge(
        &self,
        live: &Arc<LiveMachine>,
        definition: &Domain,
        disk: usize,
        at: usize,
        journal: &mut Journal,
    ) -> Result<()> {
        let monitor = live.monitor()?;
        live::begin_merge(monitor, &definition.devices.disks[disk], at).await?;
        if at == 0 {
            // From here to the next note the guest writes nothing: whatever
            // crashes meanwhile, the upper image has everything.
            if !journal.resume {
                journal.resume = live.is_running();
                self.note(journal).await?;
            }
            monitor.execute(&commands::stop()).await?;
            live::complete_merge(monitor).await?;
        }
        let mut after = definition.clone();
        let mut links = after.devices.disks[disk].links();
        let gone = links.remove(at);
        after.devices.disks[disk].set_links(&links);
        self.record(live, after);
        live::drop_nodes(monitor, &gone).await;
        Ok(())
    }

    /// Publishes another running definition and records it for the next daemon.
    pub(crate) fn record(&self, live: &LiveMachine, definition: Domain) {
        live.set_definition(definition);
        if let Some(entry) = self.engine.table().by_uuid(self.domain) {
            self.engine.write_status(live, &entry, entry.view().status);
        }
    }

    /// The guest goes on if it stood still for this.
    pub(crate) async fn let_run(&self, live: &LiveMachine, journal: &mut Journal) -> Result<()> {
        if std::mem::take(&mut journal.resume) {
            live.monitor()?.execute(&commands::cont()).await?;
        }
        Ok(())
    }

    /// Settles a journal that was found while its machine runs.
    pub(crate) async fn settle_live(
        &self,
        live: &Arc<LiveMachine>,
        mut journal: Journal,
    ) -> Result<()> {
        use crate::snapshots::journal::Way;
        let monitor = live.monitor()?;
        live::finish_old(monitor, "snapshot").await?;
        if matches!(journal.way, Way::AskQemu | Way::AskQemuOrBack) {
            journal.way = match uses_new_images(live, &journal).await? {
                true => Way::Forward,
                false => Way::Back,
            };
        }
        let settled = match journal.way {
            Way::Back => {
                for step in journal.undo.clone() {
                    self.live_step(live, &step, &mut journal).await?;
                }
                self.engine.records().drop_journal(self.domain).await
            }
            _ => {
                if let Some(xml) = &journal.live {
                    let mut definition = self.engine.parse_stored(xml)?;
                    definition.id = Some(live.id);
                    self.record(live, definition);
                }
                self.finish_live(live, journal.clone()).await
            }
        };
        settled?;
        self.let_run(live, &mut journal).await
    }
}

/// Whether QEMU's disks are based on the images that were being switched to.
async fn uses_new_images(live: &LiveMachine, journal: &Journal) -> Result<bool> {
    let monitor = live.monitor()?;
    let graph = monitor
        .execute(&commands::query_named_block_nodes(true))
        .await?;
    let Some(xml) = &journal.live else {
        return Ok(false);
    };
    let Ok(after) = Domain::parse(xml) else {
        return Ok(false);
    };
    let disks = monitor.execute(&commands::query_block()).await?;
    let on_top = |name: &str| {
        let mut media = disks.iter().filter_map(|disk| disk.inserted.as_ref());
        media.any(|medium| medium.node_name.as_deref() == Some(name))
    };
    let before = live.definition();
    for (old, new) in before.devices.disks.iter().zip(&after.devices.disks) {
        if old.source_path() == new.source_path() {
            continue;
        }
        let Some(link) = new.links().into_iter().next() else {
            continue;
        };
        let name = nodes::node(&link)?;
        let found = nodes::node_of(&graph, &name);
        // A new image has the one below it open behind it once it is in use.
        let is_overlay = new.links().len() > old.links().len()
            && found.is_some_and(|entry| entry["backing_file_depth"].as_u64() > Some(0));
        return Ok(is_overlay || on_top(&name));
    }
    Ok(false)
}
