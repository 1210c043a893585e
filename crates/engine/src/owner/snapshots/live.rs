//! Snapshots of a machine that runs.

use super::super::{Owner, Reply, answer};
use super::create::{Wish, copied, overlay_step};
use super::{Changed, Then};
use crate::error::Result;
use crate::job::JobOperation;
use crate::limits::{AGENT_FREEZE_TIMEOUT_MS, AGENT_REPLY_TIMEOUT_MS};
use crate::live::LiveMachine;
use crate::monitor::Monitor;
use crate::owner::write_state;
use crate::saved::Saving;
use crate::snapshots::journal::{Journal, Outcome, Way};
use crate::snapshots::nodes::Taken;
use crate::snapshots::work::{Plan, Work};
use crate::snapshots::{live as qemu_side, nodes, spell};
use model::XmlFlags;
use model::domain::Domain;
use model::domain::disk::SnapshotMode;
use model::domain::images::Link;
use model::domain::storage::ImageFormat;
use qemu::machine::Input;
use qemu::qmp::commands;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage::chain::Step;
use storage::keys::Keys;

/// A snapshot of a running machine, planned.
struct LivePlan {
    name: String,
    /// Files to be made before anything happens, and how to take them back.
    make: Vec<Step>,
    undo: Vec<Step>,
    /// What encrypted images among them are opened with.
    keys: Keys,
    /// The memory's file.
    memory: Option<PathBuf>,
    /// Whether memory and disks go inside the images.
    inside: bool,
    /// The nodes of disks that keep their content inside while there is no memory to keep.
    tagged: Vec<String>,
    /// The running definition before and after.
    before: Domain,
    after: Domain,
    outcome: Outcome,
    quiesce: bool,
    /// The guest runs while its memory is written.
    live: bool,
    was_running: bool,
}

impl Owner {
    pub(super) fn create_live_snapshot(&mut self, wish: Wish, reply: Reply<()>) {
        let halt = wish.options.halt;
        match self.plan_live_snapshot(wish) {
            Err(error) => answer(reply, Err(error)),
            Ok((live, plan)) => {
                live.begin_job(JobOperation::Snapshot);
                self.life.handle(Input::Snapshotting(true));
                let work = self.work();
                self.hold_snapshot_work("snapshot", reply, async move {
                    carry_out(&work, &live, &plan).await?;
                    Ok(Changed {
                        outcome: plan.outcome,
                        live: None,
                        then: match halt {
                            true => Then::Halt,
                            false => Then::Answer,
                        },
                    })
                });
            }
        }
    }

    fn plan_live_snapshot(&self, wish: Wish) -> Result<(Arc<LiveMachine>, LivePlan)> {
        let live = self.live()?;
        let mut plan = LivePlan {
            name: wish.snapshot.name().to_owned(),
            make: Vec::new(),
            undo: Vec::new(),
            keys: wish.keys(),
            memory: wish
                .snapshot
                .memory
                .as_ref()
                .and_then(|memory| memory.file.clone().map(Into::into)),
            inside: wish.snapshot.memory_mode() == Some(SnapshotMode::Internal),
            tagged: Vec::new(),
            before: wish.domain.clone(),
            after: wish.domain.clone(),
            outcome: Outcome::default(),
            quiesce: wish.options.quiesce,
            live: wish.options.live,
            was_running: matches!(self.life.status(), qemu::machine::Status::Running(_)),
        };
        for (wanted, disk) in wish.parts() {
            if wanted.mode != Some(SnapshotMode::External) {
                if wanted.mode == Some(SnapshotMode::Internal) {
                    plan.undo.push(Step::Untag {
                        image: super::create::source(disk)?,
                        tag: plan.name.clone(),
                    });
                    if !plan.inside {
                        plan.tagged
                            .extend(disk.links().first().map(nodes::node).transpose()?);
                    }
                }
                continue;
            }
            let path = wanted.path().unwrap_or_default();
            if !wish.options.reuse {
                plan.make.push(overlay_step(wanted, disk)?);
                plan.undo.push(Step::Remove {
                    image: path.to_owned(),
                });
            }
            let format = wanted.format().unwrap_or(ImageFormat::Qcow2);
            let mut links = disk.links();
            let mut link = spell::link(Path::new(path), format);
            link.source.encryption = wanted.source.as_ref().and_then(|s| s.encryption.clone());
            links.insert(0, link);
            let same = plan.after.devices.disks.iter_mut();
            if let Some(same) = same
                .into_iter()
                .find(|d| d.target_dev() == disk.target_dev())
            {
                same.set_links(&links);
            }
        }
        plan.after.number_images();
        let nvram = self.nvram_steps(&wish.snapshot, &wish.domain);
        let copy = nvram.as_ref().and_then(|(make, _)| copied(make));
        if let Some((make, undo)) = nvram {
            plan.make.push(make);
            plan.undo.push(undo);
        }
        if let Some(memory) = &plan.memory {
            plan.undo.push(Step::Remove {
                image: memory.to_string_lossy().into_owned(),
            });
        }
        plan.outcome = self.created(&wish, copy);
        Ok((live, plan))
    }

    pub(super) fn delete_live_snapshots(&mut self, plan: Plan, reply: Reply<()>) {
        let live = match self.live() {
            Ok(live) => live,
            Err(error) => return answer(reply, Err(error)),
        };
        live.begin_job(JobOperation::SnapshotDelete);
        let work = self.work();
        self.hold_snapshot_work("snapshot-delete", reply, async move {
            let journal = Journal {
                keys: plan.keys,
                ..Journal::forward(&plan.what, plan.finish, plan.outcome.clone())
            };
            work.note(&journal).await?;
            work.finish_live(&live, journal).await?;
            Ok(Changed {
                outcome: plan.outcome,
                live: None,
                then: Then::Answer,
            })
        });
    }
}

/// Takes the snapshot; where that fails, the machine goes on as it was.
async fn carry_out(work: &Work, live: &Arc<LiveMachine>, plan: &LivePlan) -> Result<()> {
    let monitor = live.monitor()?;
    let what = format!("take snapshot '{}'", plan.name);
    let mut journal = Journal {
        keys: plan.keys.clone(),
        ..Journal::back(&what, plan.undo.clone())
    };
    journal.resume = plan.was_running && (plan.inside || plan.memory.is_some());
    work.note(&journal).await?;
    let taken = take(work, live, monitor, plan, &mut journal).await;
    let resumed = match journal.resume {
        true => monitor.execute(&commands::cont()).await.map(drop),
        false => Ok(()),
    };
    match taken {
        Ok(()) => {
            work.settle(&plan.outcome).await?;
            resumed
        }
        Err(error) => {
            let undo = Journal {
                resume: false,
                way: Way::Back,
                ..journal
            };
            if let Err(left) = work.settle_live(live, undo).await {
                tracing::error!(error = %left, "a failed snapshot left something behind");
            }
            Err(error)
        }
    }
}

async fn take(
    work: &Work,
    live: &Arc<LiveMachine>,
    monitor: &Monitor,
    plan: &LivePlan,
    journal: &mut Journal,
) -> Result<()> {
    if journal.resume && !plan.live {
        monitor.execute(&commands::stop()).await?;
    }
    for step in &plan.make {
        crate::snapshots::steps::run(&work.engine, step, &journal.keys).await?;
        crate::crash::crash_point(crate::crash::Step::SnapshotStepDone);
    }
    if plan.inside {
        return qemu_side::save(monitor, &plan.before, &plan.name).await;
    }
    if let Some(file) = &plan.memory {
        write_memory(live, plan, file).await?;
    }
    let switched = take_disks(work, live, monitor, plan, journal);
    match plan.quiesce {
        false => switched.await,
        true => {
            freeze(live).await?;
            let result = switched.await;
            thaw(live).await;
            result
        }
    }
}

async fn write_memory(live: &LiveMachine, plan: &LivePlan, file: &Path) -> Result<()> {
    let flags = XmlFlags {
        inactive: true,
        secure: true,
        migratable: true,
    };
    let xml = plan.before.to_xml(flags);
    let mut saving = Saving::create(file, &xml, plan.was_running)?;
    write_state(live, &mut saving).await?;
    saving.finish(&xml, plan.was_running)
}

/// The disks go over to their new images, or keep their content inside, all at one moment.
async fn take_disks(
    work: &Work,
    live: &Arc<LiveMachine>,
    monitor: &Monitor,
    plan: &LivePlan,
    journal: &mut Journal,
) -> Result<()> {
    let tags = plan.tagged.iter().map(|node| Taken::Tag {
        node: node.clone(),
        tag: plan.name.clone(),
    });
    let mut taken: Vec<Taken> = tags.collect();
    let mut added: Vec<Link> = Vec::new();
    let disks = plan
        .before
        .devices
        .disks
        .iter()
        .zip(&plan.after.devices.disks);
    for (before, after) in disks {
        let (old, new) = (before.links(), after.links());
        if old.len() == new.len() {
            continue;
        }
        if let (Some(old), Some(new)) = (old.first(), new.first()) {
            nodes::add(&work.engine, monitor, after, new, &[]).await?;
            added.push(new.clone());
            taken.push(Taken::Overlay {
                node: nodes::node(old)?,
                overlay: nodes::node(new)?,
            });
        }
    }
    if added.is_empty() {
        // What is inside the images is taken back by its name.
        return match taken.is_empty() {
            true => Ok(()),
            false => nodes::take(monitor, &taken).await,
        };
    }
    journal.way = Way::AskQemu;
    journal.outcome = plan.outcome.clone();
    journal.live = Some(crate::run::live_xml(&plan.after));
    work.note(journal).await?;
    if let Err(error) = nodes::take(monitor, &taken).await {
        for link in &added {
            qemu_side::drop_nodes(monitor, link).await;
        }
        return Err(error);
    }
    crate::crash::crash_point(crate::crash::Step::SnapshotStepDone);
    work.record(live, plan.after.clone());
    Ok(())
}

async fn freeze(live: &LiveMachine) -> Result<()> {
    let timeout = Duration::from_millis(AGENT_FREEZE_TIMEOUT_MS);
    live.agent()?
        .run(&qemu::agent::commands::freeze(None), timeout)
        .await
        .map(drop)
}

async fn thaw(live: &LiveMachine) {
    let timeout = Duration::from_millis(AGENT_REPLY_TIMEOUT_MS);
    let Ok(agent) = live.agent() else { return };
    if let Err(error) = agent.run(&qemu::agent::commands::thaw(), timeout).await {
        tracing::error!(%error, "the guest's file systems could not be thawed after a snapshot");
    }
}
