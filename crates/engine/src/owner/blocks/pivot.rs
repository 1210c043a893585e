//! The end of a job by a person's will: given up, or the machine goes over to
//! the other image.

use super::chain::{chain_after, find, find_mut, take_copy};
use super::{BlockEnd, BlockWhat};
use crate::definition::Definition;
use crate::error::{EngineError, ErrorKind, Result};
use crate::live::LiveMachine;
use crate::owner::errand::ErrandEnd;
use crate::owner::{Owner, Reply, answer};
use crate::snapshots::graph::set_image;
use crate::snapshots::journal::{Journal, Outcome, Way};
use crate::snapshots::live as qemu_side;
use crate::snapshots::work::Work;
use model::domain::Domain;
use model::domain::images::Link;
use qemu::machine::{BlockJobId, BlockJobStatus};
use qemu::qmp::reply::{Job, JobStatus};
use qemu::qmp::{Command, Done, commands};
use std::sync::Arc;
use storage::keys::KeyRef;

impl Owner {
    pub(super) fn abort_block_job(
        &mut self,
        live: Arc<LiveMachine>,
        disk: &str,
        pivot: bool,
        wait: bool,
        reply: Reply<()>,
    ) {
        let id = match self.job_of(&live, disk) {
            Ok(id) => id,
            Err(error) => return answer(reply, Err(error)),
        };
        let Some(running) = self.block_jobs.jobs.get_mut(&id) else {
            return answer(reply, Ok(()));
        };
        if !pivot {
            running.life.cancel();
            return self.hold_and_answer("block-job", reply, give_up(live, id, wait));
        }
        if !id.kind().pivots() {
            let what = format!("job type of disk '{}' does not support pivot", id.disk);
            return answer(reply, Err(EngineError::invalid(what)));
        }
        if !running.life.complete() {
            let what = format!("disk '{}' not ready for pivot yet", id.disk);
            let error = EngineError::new(ErrorKind::OperationFailed, what);
            return answer(reply, Err(error));
        }
        self.go_over(live, id, reply);
    }

    fn go_over(&mut self, live: Arc<LiveMachine>, id: BlockJobId, reply: Reply<()>) {
        let (after, outcome, gone) = match self.plan_pivot(&live, &id) {
            Ok(planned) => planned,
            Err(error) => return answer(reply, Err(error)),
        };
        let work = self.work();
        self.hold("block-job", async move {
            let result = complete(&work, &live, &id, &after, &outcome, &gone).await;
            let what = match &result {
                Ok(()) => BlockWhat::Over {
                    id,
                    status: BlockJobStatus::Completed,
                    live: Some(Box::new(after)),
                    outcome: Some(outcome),
                    gone,
                },
                Err(_) => not_completed(&work, &live, id).await,
            };
            ErrandEnd::Block(Box::new(BlockEnd {
                reply: Some(reply),
                result,
                what,
            }))
        });
    }

    /// The definitions once the machine has gone over, and the images it leaves.
    fn plan_pivot(
        &self,
        live: &LiveMachine,
        id: &BlockJobId,
    ) -> Result<(Domain, Outcome, Vec<Link>)> {
        let mut after = Domain::clone(&live.definition());
        let disk = find_mut(&mut after, &id.disk)?;
        let (links, gone) = chain_after(disk, id);
        let before = disk.source_path().map(str::to_owned);
        disk.mirror = None;
        disk.set_links(&links);
        let outcome = self.stored_after(&id.disk, before.as_deref(), &links[0])?;
        Ok((after, outcome, gone))
    }

    /// The stored definition with the disk's new image, where it had the old one.
    fn stored_after(&self, target: &str, before: Option<&str>, link: &Link) -> Result<Outcome> {
        let view = self.entry.view();
        let mut outcome = Outcome {
            current: view.snapshots.current().map(str::to_owned),
            layers: self.engine.records().layers(self.entry.uuid)?,
            ..Outcome::default()
        };
        if view.stored.is_some() {
            let mut stored = self.stored_definition()?;
            if let Ok(disk) = find_mut(&mut stored, target)
                && disk.source_path() == before
            {
                let path = link.path().unwrap_or_default().to_owned();
                let key = link.source.encryption.as_ref().and_then(KeyRef::of);
                set_image(disk, &path, link.format.as_str(), key.as_ref());
                outcome.definition = Some(Definition::of(stored).text);
            }
        }
        Ok(outcome)
    }
}

/// Ends a job where it is.
async fn give_up(live: Arc<LiveMachine>, id: BlockJobId, wait: bool) -> Result<()> {
    let monitor = live.monitor()?;
    let job = id.to_string();
    let cancel: Command<Done> = Command::new("block-job-cancel")
        .arg("device", job.as_str())
        .arg("force", true);
    monitor.execute(&cancel).await?;
    if wait {
        // Forgotten already is over too.
        let _ = qemu_side::wait(monitor, &job, JobStatus::Concluded).await;
    }
    Ok(())
}

/// The machine goes over to the other image. Its processors stand still until
/// the new definition is stored: whatever crashes meanwhile, the image that the
/// definition names has everything.
async fn complete(
    work: &Work,
    live: &Arc<LiveMachine>,
    id: &BlockJobId,
    after: &Domain,
    outcome: &Outcome,
    gone: &[Link],
) -> Result<()> {
    let monitor = live.monitor()?;
    let was_running = live.is_running();
    let mut journal = Journal::back(
        format!("go over to the other image of '{}'", id.disk),
        Vec::new(),
    );
    journal.way = Way::AskQemuOrBack;
    journal.resume = was_running;
    journal.live = Some(crate::run::live_xml(after));
    journal.outcome = outcome.clone();
    work.note(&journal).await?;
    let job = id.to_string();
    let completed = async {
        if was_running {
            monitor.execute(&commands::stop()).await?;
        }
        monitor.execute(&commands::job_complete(&job)).await?;
        qemu_side::wait(monitor, &job, JobStatus::Concluded).await?;
        qemu_side::dismiss(monitor, &job).await
    };
    match completed.await {
        Ok(()) => {
            work.record(live, after.clone());
            work.settle(outcome).await?;
            if was_running {
                monitor.execute(&commands::cont()).await?;
            }
        }
        Err(error) if monitor.is_silent() => return Err(error),
        Err(error) => {
            // Whatever it has done by now: QEMU is asked which image it uses.
            work.settle_live(live, journal).await?;
            if image_of(&live.definition(), id) != image_of(after, id) {
                return Err(error);
            }
            qemu_side::finish_old(monitor, &job).await?;
        }
    }
    for link in gone {
        qemu_side::drop_nodes(monitor, link).await;
    }
    Ok(())
}

fn image_of(domain: &Domain, id: &BlockJobId) -> Option<String> {
    let disk = find(domain, &id.disk).ok()?;
    disk.source_path().map(str::to_owned)
}

/// What has become of a job that could not be completed.
async fn not_completed(work: &Work, live: &LiveMachine, id: BlockJobId) -> BlockWhat {
    match asked(work, live, &id).await {
        Some(None) => failed(live, id).await,
        Some(Some(job)) if job.status == JobStatus::Ready => BlockWhat::Stays { id, known: true },
        _ => BlockWhat::Stays { id, known: false },
    }
}

/// The job as QEMU knows it, if it does; nothing at all where QEMU is silent, or has not said which
/// image it uses.
async fn asked(work: &Work, live: &LiveMachine, id: &BlockJobId) -> Option<Option<Job>> {
    let monitor = live.monitor().ok().filter(|monitor| !monitor.is_silent())?;
    match work.engine.records().journal(work.domain) {
        Ok(None) => qemu_side::find(monitor, &id.to_string()).await.ok(),
        _ => None,
    }
}

/// The job is gone, and the machine uses the image it has used before.
async fn failed(live: &LiveMachine, id: BlockJobId) -> BlockWhat {
    let mut after = Domain::clone(&live.definition());
    let copy = find_mut(&mut after, &id.disk).ok().and_then(take_copy);
    if let (Some(copy), Ok(monitor)) = (copy, live.monitor()) {
        qemu_side::drop_nodes(monitor, &copy).await;
    }
    BlockWhat::Over {
        id,
        status: BlockJobStatus::Failed,
        live: Some(Box::new(after)),
        outcome: None,
        gone: Vec::new(),
    }
}
