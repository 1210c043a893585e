//! Jobs on a running machine's images: commit, pull, copy; and a disk's size.

mod begin;
mod chain;
mod pivot;
mod plan;

use super::errand::ErrandEnd;
use super::{Owner, Reply, Request, answer};
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::Happening;
use crate::live::LiveMachine;
use crate::options::{BlockAsk, BlockWork};
use crate::snapshots::journal::Outcome;
use crate::snapshots::{live as qemu_side, nodes};
pub(crate) use chain::find;
use chain::{chain_after, find_mut, take_copy};
use model::domain::Domain;
use model::domain::disk::MirrorReady;
use model::domain::images::Link;
use plan::Plan;
use qemu::machine::{
    BlockJobEffect, BlockJobId, BlockJobLife, BlockJobPhase, BlockJobStatus, Operation,
};
use qemu::qmp::reply::JobStatus;
use qemu::qmp::{Command, Done, commands};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The jobs there are, and whether merged images are to be removed.
#[derive(Debug, Default)]
pub(super) struct BlockJobs {
    jobs: BTreeMap<BlockJobId, Running>,
    /// Work that waits until the job before it on the same disk is forgotten: clients
    /// see in QEMU that it is over before this owner has put everything right.
    waiting: Vec<Request>,
}

impl BlockJobs {
    /// The job on a disk.
    fn on(&self, target: &str) -> Option<&Running> {
        let mut jobs = self.jobs.iter();
        jobs.find(|(id, _)| id.disk == target)
            .map(|(_, running)| running)
    }

    /// Whether QEMU did not say of some job whether the machine has gone over.
    fn any_in_doubt(&self) -> bool {
        let mut jobs = self.jobs.values();
        jobs.any(|running| running.life.phase() == BlockJobPhase::InDoubt)
    }
}

#[derive(Debug, Default)]
struct Running {
    life: BlockJobLife,
    remove: bool,
}

/// How work on a job ended.
pub(super) struct BlockEnd {
    reply: Option<Reply<()>>,
    result: Result<()>,
    what: BlockWhat,
}

impl BlockEnd {
    /// Whether the machine was held for it: somebody waits for an answer then.
    pub(super) fn held(&self) -> bool {
        self.reply.is_some()
    }
}

enum BlockWhat {
    /// A job was begun.
    Begun {
        id: BlockJobId,
        live: Box<Domain>,
        remove: bool,
    },
    /// A job could not be completed, and may go on: `known` is whether QEMU has said so.
    Stays { id: BlockJobId, known: bool },
    /// A job is over.
    Over {
        id: BlockJobId,
        status: BlockJobStatus,
        live: Option<Box<Domain>>,
        outcome: Option<Outcome>,
        gone: Vec<Link>,
    },
}

impl Owner {
    pub(super) fn block_ask(&mut self, disk: String, ask: BlockAsk, reply: Reply<()>) {
        if self.block_jobs.any_in_doubt() {
            return self.settle_first(Request::BlockAsk { disk, ask, reply });
        }
        if matches!(ask, BlockAsk::Resize { .. }) && self.live.is_none() {
            let what = "domain is not running; the image of a stopped machine is resized with \
                        'vol-resize' or 'stead image resize'";
            return answer(reply, Err(EngineError::invalid(what)));
        }
        let live = self.admit(Operation::UseMonitor).and_then(|_| self.live());
        let live = match live {
            Ok(live) => live,
            Err(error) => return answer(reply, Err(error)),
        };
        let done = match ask {
            BlockAsk::Resize { bytes } => self.plan_command(&live, &disk, |links| {
                Ok(commands::block_resize(&nodes::node(&links[0])?, bytes))
            }),
            BlockAsk::SetSpeed { bytes } => self
                .job_of(&live, &disk)
                .map(|id| commands::block_job_set_speed(&id.to_string(), bytes)),
            BlockAsk::Abort { pivot, wait } => {
                return self.abort_block_job(live, &disk, pivot, wait, reply);
            }
            BlockAsk::Begin(work) => return self.begin_block_job(live, &disk, *work, reply),
        };
        match done {
            Err(error) => answer(reply, Err(error)),
            Ok(command) => self.hold_and_answer("block", reply, async move {
                live.monitor()?.execute(&command).await.map(drop)
            }),
        }
    }

    fn plan_command(
        &self,
        live: &LiveMachine,
        disk: &str,
        plan: impl FnOnce(&[Link]) -> Result<Command<Done>>,
    ) -> Result<Command<Done>> {
        let definition = live.definition();
        let links = find(&definition, disk)?.links();
        match links.is_empty() {
            true => Err(EngineError::invalid(format!("disk '{disk}' has no image"))),
            false => plan(&links),
        }
    }

    fn job_of(&self, live: &LiveMachine, disk: &str) -> Result<BlockJobId> {
        let definition = live.definition();
        let target = find(&definition, disk)?.target_dev().to_owned();
        let mut jobs = self.block_jobs.jobs.keys();
        jobs.find(|id| id.disk == target).cloned().ok_or_else(|| {
            EngineError::invalid(format!("disk {disk} does not have an active block job"))
        })
    }

    fn begin_block_job(
        &mut self,
        live: Arc<LiveMachine>,
        disk: &str,
        work: BlockWork,
        reply: Reply<()>,
    ) {
        let definition = live.definition();
        let before = find(&definition, disk).ok();
        let before = before.and_then(|disk| self.block_jobs.on(disk.target_dev()));
        if before.is_some_and(|job| job.life.is_ending()) {
            return self.block_jobs.waiting.push(Request::BlockAsk {
                disk: disk.to_owned(),
                ask: BlockAsk::Begin(Box::new(work)),
                reply,
            });
        }
        let remove = matches!(&work, BlockWork::Commit(commit) if commit.remove);
        let plan = match self.plan_block_job(&live, disk, work) {
            Ok(plan) => plan,
            Err(error) => return answer(reply, Err(error)),
        };
        let engine = self.engine.clone();
        self.hold("block-job", async move {
            let result = begin::begin(&engine, &live, &plan).await;
            ErrandEnd::Block(Box::new(BlockEnd {
                reply: Some(reply),
                result,
                what: BlockWhat::Begun {
                    id: plan.id,
                    live: Box::new(plan.after),
                    remove,
                },
            }))
        });
    }

    fn plan_block_job(&self, live: &LiveMachine, disk: &str, work: BlockWork) -> Result<Plan> {
        let definition = live.definition();
        let disk = find(&definition, disk)?;
        let target = disk.target_dev();
        if self.block_jobs.on(target).is_some() {
            return Err(EngineError::new(
                ErrorKind::OperationFailed,
                format!("disk '{target}' already in active block job"),
            ));
        }
        Plan::of(&definition, disk, work)
    }

    pub(super) async fn block_work_ended(&mut self, end: BlockEnd) {
        let BlockEnd {
            reply,
            result,
            what,
        } = end;
        match what {
            BlockWhat::Begun { id, live, remove } if result.is_ok() => {
                self.set_live_definition(*live);
                let life = BlockJobLife::default();
                self.block_jobs.jobs.insert(id, Running { life, remove });
                self.look_at_block_jobs();
            }
            BlockWhat::Over {
                id,
                status,
                live,
                outcome,
                gone,
            } => {
                if let Some(live) = live {
                    self.set_live_definition(*live);
                }
                if let Some(outcome) = outcome {
                    self.publish_outcome(&outcome);
                }
                let running = self.block_jobs.jobs.remove(&id);
                if running.is_some_and(|running| running.remove)
                    && status == BlockJobStatus::Completed
                {
                    for path in gone.iter().filter_map(Link::path) {
                        if let Err(error) = super::remove_file(Path::new(path)) {
                            tracing::warn!(%error, "a merged image is not removed");
                        }
                    }
                }
                self.tell_block_job(&id, status);
                for request in std::mem::take(&mut self.block_jobs.waiting) {
                    self.queue_first(request);
                }
            }
            BlockWhat::Stays { id, known } => {
                if let Some(running) = self.block_jobs.jobs.get_mut(&id) {
                    running.life.stays(known);
                }
            }
            BlockWhat::Begun { .. } => {}
        }
        if let Some(reply) = reply {
            answer(reply, result);
        }
    }

    fn set_live_definition(&self, definition: Domain) {
        if let Some(live) = &self.live {
            live.set_definition(definition);
            self.engine
                .write_status(live, &self.entry, self.life.status());
        }
    }

    fn tell_block_job(&self, id: &BlockJobId, status: BlockJobStatus) {
        let path = self.live.as_ref().and_then(|live| {
            let definition = live.definition();
            let disk = find(&definition, &id.disk).ok()?;
            disk.source_path().map(str::to_owned)
        });
        self.emit(Happening::BlockJob {
            path: path.unwrap_or_default(),
            disk: id.disk.clone(),
            kind: id.kind().number(),
            status: status.number(),
        });
    }

    /// QEMU says where one of its jobs is.
    pub(super) fn block_job_news(&mut self, id: &str, status: JobStatus) {
        let Some(id) = BlockJobId::parse(id) else {
            return;
        };
        let Some(running) = self.block_jobs.jobs.get_mut(&id) else {
            return;
        };
        match running.life.on_status(status) {
            None => {}
            Some(BlockJobEffect::TellReady) => {
                if let Some(live) = self.live.clone() {
                    let mut definition = Domain::clone(&live.definition());
                    if let Ok(disk) = find_mut(&mut definition, &id.disk)
                        && let Some(mirror) = &mut disk.mirror
                    {
                        mirror.ready = Some(MirrorReady::Yes);
                    }
                    self.set_live_definition(definition);
                }
                self.tell_block_job(&id, BlockJobStatus::Ready);
            }
            Some(BlockJobEffect::Settle) => self.settle_block_job(id),
            Some(BlockJobEffect::Ask) => self.look_for_journal(),
        }
    }

    /// QEMU speaks again: what it did not say is asked.
    pub(super) fn look_at_jobs_in_doubt(&mut self) {
        if self.block_jobs.any_in_doubt() {
            self.look_for_journal();
        }
    }

    /// It has been found out and recorded which image the machine uses; QEMU knows the rest.
    pub(super) fn no_job_is_in_doubt(&mut self) {
        if self.block_jobs.any_in_doubt() {
            let jobs = &mut self.block_jobs.jobs;
            jobs.retain(|_, running| running.life.phase() != BlockJobPhase::InDoubt);
            self.look_at_block_jobs();
        }
    }

    fn settle_block_job(&mut self, id: BlockJobId) {
        let (Ok(live), Some(running)) = (self.live(), self.block_jobs.jobs.get(&id)) else {
            return;
        };
        let life = running.life;
        self.beside(async move {
            let ended = settle(&live, &id).await;
            let status = life.ended(ended.is_err());
            let mut after = Domain::clone(&live.definition());
            let mut gone = Vec::new();
            if let Ok(disk) = find_mut(&mut after, &id.disk) {
                if status == BlockJobStatus::Completed && !id.kind().pivots() {
                    let (links, left) = chain_after(disk, &id);
                    disk.set_links(&links);
                    gone = left;
                }
                gone.extend(take_copy(disk));
            }
            if let Ok(monitor) = live.monitor() {
                for link in &gone {
                    qemu_side::drop_nodes(monitor, link).await;
                }
            }
            ErrandEnd::Block(Box::new(BlockEnd {
                reply: None,
                result: Ok(()),
                what: BlockWhat::Over {
                    id,
                    status,
                    live: Some(Box::new(after)),
                    outcome: None,
                    gone,
                },
            }))
        });
    }

    /// Asks QEMU for its jobs: those of a machine just taken over, and those
    /// that were quicker than our own record of them.
    pub(super) fn look_at_block_jobs(&mut self) {
        let Ok(live) = self.live() else { return };
        self.beside(async move {
            let jobs = match live.monitor() {
                Ok(monitor) => monitor.execute(&commands::query_jobs()).await,
                Err(error) => Err(error),
            };
            let jobs = jobs.unwrap_or_default();
            let known = jobs.into_iter().map(|job| (job.id, job.status));
            ErrandEnd::BlockJobs(known.collect())
        });
    }

    /// QEMU's jobs are these.
    pub(super) fn block_jobs_seen(&mut self, jobs: Vec<(String, JobStatus)>) {
        for (id, status) in jobs {
            if let Some(parsed) = BlockJobId::parse(&id) {
                self.block_jobs.jobs.entry(parsed).or_default();
                self.block_job_news(&id, status);
            }
        }
    }

    /// The machine is gone, and its jobs with it.
    pub(super) fn forget_block_jobs(&mut self) {
        for request in std::mem::take(&mut self.block_jobs).waiting {
            self.queue_first(request);
        }
    }
}

/// How a job that is over ended; QEMU may forget it.
async fn settle(live: &LiveMachine, id: &BlockJobId) -> Result<()> {
    qemu_side::dismiss(live.monitor()?, &id.to_string()).await
}
