//! Jobs on a running machine's images: commit, pull, copy; and a disk's size.

use super::errand::ErrandEnd;
use super::{Owner, Reply, answer};
use crate::definition::Definition;
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::Happening;
use crate::live::LiveMachine;
use crate::options::{BlockAsk, BlockCopy};
use crate::snapshots::journal::{Journal, Outcome, Way};
use crate::snapshots::work::Work;
use crate::snapshots::{live as qemu_side, nodes, spell};
use model::domain::Domain;
use model::domain::disk::{Disk, Mirror, MirrorJob, MirrorReady};
use model::domain::images::Link;
use model::domain::storage::FormatElement;
use qemu::machine::{
    BlockJobEffect, BlockJobId, BlockJobKind, BlockJobLife, BlockJobStatus, Operation,
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
    /// A job is over.
    Over {
        id: BlockJobId,
        status: BlockJobStatus,
        live: Option<Box<Domain>>,
        outcome: Option<Outcome>,
        gone: Vec<Link>,
    },
}

/// A job about to be begun.
struct Plan {
    id: BlockJobId,
    command: Command<Done>,
    /// The image that is written to and is open for reading.
    writable: Option<usize>,
    /// A copy to be made and opened.
    copy: Option<(Link, BlockCopy)>,
    after: Domain,
}

impl Owner {
    pub(super) fn block_ask(&mut self, disk: String, ask: BlockAsk, reply: Reply<()>) {
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
            ask => return self.begin_block_job(live, &disk, ask, reply),
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
        ask: BlockAsk,
        reply: Reply<()>,
    ) {
        let remove = matches!(ask, BlockAsk::Commit { remove: true, .. });
        let plan = match self.plan_block_job(&live, disk, ask) {
            Ok(plan) => plan,
            Err(error) => return answer(reply, Err(error)),
        };
        self.hold("block-job", async move {
            let result = begin(&live, &plan).await;
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

    fn plan_block_job(&self, live: &LiveMachine, disk: &str, ask: BlockAsk) -> Result<Plan> {
        let before = live.definition();
        let definition = find(&before, disk)?;
        let target = definition.target_dev().to_owned();
        if self.block_jobs.jobs.keys().any(|id| id.disk == target) {
            return Err(EngineError::new(
                ErrorKind::OperationFailed,
                format!("disk '{target}' already in active block job"),
            ));
        }
        let links = definition.links();
        if links.is_empty() {
            return Err(EngineError::invalid(format!("disk '{disk}' has no image")));
        }
        let mut after = Domain::clone(&before);
        match ask {
            BlockAsk::Commit {
                base,
                top,
                shallow,
                active,
                bandwidth,
                ..
            } => {
                let top = top.map_or(Ok(0), |top| place(&links, &target, &top))?;
                let base = match base {
                    Some(base) => place(&links, &target, &base)?,
                    None if shallow => top + 1,
                    None => links.len() - 1,
                };
                if base <= top || base >= links.len() {
                    return Err(EngineError::new(
                        ErrorKind::InvalidArgument,
                        format!("top '{target}' has no backing file to commit into"),
                    ));
                }
                if (top == 0) != active {
                    return Err(EngineError::new(
                        ErrorKind::InvalidArgument,
                        match active {
                            true => "active commit requested but top is not active".to_owned(),
                            false => {
                                format!("commit of '{target}' active layer requires active flag")
                            }
                        },
                    ));
                }
                let kind = match active {
                    true => BlockJobKind::ActiveCommit,
                    false => BlockJobKind::Commit,
                };
                let id = id(kind, &target, &links[top], Some(&links[base]));
                let mut command = job("block-commit", &id, &links[0], bandwidth)?
                    .arg("base-node", nodes::node(&links[base])?);
                if top > 0 {
                    command = command
                        .arg("top-node", nodes::node(&links[top])?)
                        .arg("backing-file", links[base].path().unwrap_or_default());
                } else {
                    set_mirror(&mut after, &target, MirrorJob::ActiveCommit, &links[base]);
                }
                Ok(Plan {
                    id,
                    command,
                    writable: Some(base),
                    copy: None,
                    after,
                })
            }
            BlockAsk::Pull { base, bandwidth } => {
                let base = base.map(|base| place(&links, &target, &base)).transpose()?;
                let id = id(
                    BlockJobKind::Pull,
                    &target,
                    &links[0],
                    base.map(|at| &links[at]),
                );
                let mut command = job("block-stream", &id, &links[0], bandwidth)?;
                if let Some(at) = base {
                    command = command
                        .arg("base-node", nodes::node(&links[at])?)
                        .arg("backing-file", links[at].path().unwrap_or_default());
                }
                Ok(Plan {
                    id,
                    command,
                    writable: None,
                    copy: None,
                    after,
                })
            }
            BlockAsk::Copy(copy) => {
                if links[0].source.encryption.is_some() {
                    return Err(EngineError::new(
                        ErrorKind::ConfigUnsupported,
                        format!("a copy of the encrypted disk '{target}' would not be encrypted"),
                    ));
                }
                let mut link = spell::link(
                    Path::new(&copy.path),
                    copy.format.unwrap_or(links[0].format),
                );
                let numbers = before.devices.disks.iter().flat_map(Disk::links);
                link.index = Some(1 + numbers.filter_map(|l| l.index).max().unwrap_or(0));
                let id = id(BlockJobKind::Copy, &target, &links[0], Some(&link));
                let command = job("blockdev-mirror", &id, &links[0], copy.bandwidth)?
                    .arg("target", nodes::node(&link)?)
                    .arg("sync", if copy.shallow { "top" } else { "full" })
                    .maybe("granularity", copy.granularity)
                    .maybe("buf-size", copy.buf_size)
                    .maybe("copy-mode", copy.synchronous.then_some("write-blocking"));
                set_mirror(&mut after, &target, MirrorJob::Copy, &link);
                // What is below a copy of the disk's own image alone stays below it.
                let below = definition.backing_store.clone().filter(|_| copy.shallow);
                if let Ok(disk) = find_mut(&mut after, &target)
                    && let Some(mirror) = &mut disk.mirror
                {
                    mirror.backing_store = below;
                }
                Ok(Plan {
                    id,
                    command,
                    writable: None,
                    copy: Some((link, copy)),
                    after,
                })
            }
            BlockAsk::Resize { .. } | BlockAsk::SetSpeed { .. } | BlockAsk::Abort { .. } => {
                Err(EngineError::new(ErrorKind::Internal, "not a job to begin"))
            }
        }
    }

    fn abort_block_job(
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
            let job = id.to_string();
            return self.hold_and_answer("block-job", reply, async move {
                let monitor = live.monitor()?;
                let cancel: Command<Done> = Command::new("block-job-cancel")
                    .arg("device", job.as_str())
                    .arg("force", true);
                monitor.execute(&cancel).await?;
                if wait {
                    // Forgotten already is over too.
                    let _ = qemu_side::wait(monitor, &job, JobStatus::Concluded).await;
                }
                Ok(())
            });
        }
        if !id.kind().pivots() {
            return answer(
                reply,
                Err(EngineError::invalid(format!(
                    "job type of disk '{}' does not support pivot",
                    id.disk
                ))),
            );
        }
        if !running.life.complete() {
            return answer(
                reply,
                Err(EngineError::new(
                    ErrorKind::OperationFailed,
                    format!("disk '{}' not ready for pivot yet", id.disk),
                )),
            );
        }
        match self.plan_pivot(&live, &id) {
            Err(error) => answer(reply, Err(error)),
            Ok((after, outcome, gone)) => {
                let work = self.work();
                self.hold("block-job", async move {
                    let result = complete(&work, &live, &id, &after, &outcome, &gone).await;
                    ErrandEnd::Block(Box::new(BlockEnd {
                        reply: Some(reply),
                        what: BlockWhat::Over {
                            id,
                            status: match result {
                                Ok(()) => BlockJobStatus::Completed,
                                Err(_) => BlockJobStatus::Failed,
                            },
                            live: result.is_ok().then(|| Box::new(after)),
                            outcome: Some(outcome).filter(|_| result.is_ok()),
                            gone,
                        },
                        result,
                    }))
                });
            }
        }
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
                crate::snapshots::graph::set_image(disk, &path, link.format.as_str());
                outcome.definition = Some(Definition::of(stored).text);
            }
        }
        Ok(outcome)
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
            let definition = live.definition();
            let mut after = Domain::clone(&definition);
            let mut gone = Vec::new();
            if let Ok(disk) = find_mut(&mut after, &id.disk) {
                if status == BlockJobStatus::Completed && !id.kind().pivots() {
                    let (links, left) = chain_after(disk, &id);
                    disk.set_links(&links);
                    gone = left;
                }
                if let Some(mirror) = disk.mirror.take()
                    && mirror.job != Some(MirrorJob::ActiveCommit)
                    && let Some(link) = mirror_link(&mirror)
                {
                    gone.push(link);
                }
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

    pub(super) fn forget_block_jobs(&mut self) {
        self.block_jobs = BlockJobs::default();
    }
}

async fn begin(live: &LiveMachine, plan: &Plan) -> Result<()> {
    let monitor = live.monitor()?;
    let before = live.definition();
    let disk = find(&before, &plan.id.disk)?;
    if let Some(at) = plan.writable {
        nodes::make_writable(monitor, disk, at, false).await?;
    }
    if let Some((link, copy)) = &plan.copy {
        if !copy.reuse {
            make_copy(disk, link, copy).await?;
        }
        let links = disk.links();
        let below = match copy.shallow {
            true => &links[1.min(links.len())..],
            false => &[],
        };
        nodes::add(monitor, disk, link, below).await?;
    }
    let begun = monitor.execute(&plan.command).await.map(drop);
    if let (Err(_), Some((link, copy))) = (&begun, &plan.copy) {
        qemu_side::drop_nodes(monitor, link).await;
        if !copy.reuse {
            super::remove_file(Path::new(&copy.path))?;
        }
    }
    begun
}

/// Makes the empty image that a copy is written to.
async fn make_copy(disk: &Disk, link: &Link, copy: &BlockCopy) -> Result<()> {
    let source = disk.source_path().unwrap_or_default().to_owned();
    let below = disk.links().get(1).cloned().filter(|_| copy.shallow);
    let (path, format) = (link.path().unwrap_or_default().to_owned(), link.format);
    let made = tokio::task::spawn_blocking(move || {
        let size = crate::snapshots::steps::virtual_size(&source)?;
        let mut words = vec!["create", "-q", "-f", format.as_str()];
        let backing = below.as_ref().and_then(|l| Some((l.path()?, l.format)));
        if let Some((path, format)) = backing {
            words.extend(["-u", "-b", path, "-F", format.as_str()]);
        }
        let size = size.to_string();
        words.extend([path.as_str(), size.as_str()]);
        crate::snapshots::steps::qemu_img(&words)
    });
    made.await
        .unwrap_or_else(|panic| Err(EngineError::failed(panic.to_string())))
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
    if was_running {
        monitor.execute(&commands::stop()).await?;
    }
    let job = id.to_string();
    let completed = async {
        monitor.execute(&commands::job_complete(&job)).await?;
        qemu_side::wait(monitor, &job, JobStatus::Concluded).await?;
        qemu_side::dismiss(monitor, &job).await
    };
    let result = completed.await;
    match &result {
        Ok(()) => {
            work.record(live, after.clone());
            work.settle(outcome).await?;
        }
        Err(_) => work.engine.records().drop_journal(work.domain).await?,
    }
    if was_running {
        monitor.execute(&commands::cont()).await?;
    }
    for link in gone.iter().filter(|_| result.is_ok()) {
        qemu_side::drop_nodes(monitor, link).await;
    }
    result
}

/// How a job that is over ended; QEMU may forget it.
async fn settle(live: &LiveMachine, id: &BlockJobId) -> Result<()> {
    qemu_side::dismiss(live.monitor()?, &id.to_string()).await
}

/// A disk's images once a job has done its work, and those it needs no more.
fn chain_after(disk: &Disk, id: &BlockJobId) -> (Vec<Link>, Vec<Link>) {
    let links = disk.links();
    let at = |index: u32| links.iter().position(|link| link.index == Some(index));
    let (first, last) = match id.kind() {
        BlockJobKind::Copy => {
            let copy = disk.mirror.as_deref().and_then(mirror_link);
            let shallow = disk
                .mirror
                .as_ref()
                .is_some_and(|m| m.backing_store.is_some());
            let kept = if shallow { 1 } else { links.len() };
            let after = copy.into_iter().chain(links[kept..].iter().cloned());
            return (after.collect(), links[..kept].to_vec());
        }
        BlockJobKind::Pull => (1, at(id.base).unwrap_or(links.len())),
        BlockJobKind::Commit | BlockJobKind::ActiveCommit => (
            at(id.top).unwrap_or(0),
            at(id.base).unwrap_or(links.len() - 1),
        ),
    };
    let (mut after, mut gone) = (links.clone(), Vec::new());
    if first < last {
        gone = after.drain(first..last).collect();
    }
    (after, gone)
}

fn mirror_link(mirror: &Mirror) -> Option<Link> {
    let source = mirror.source.clone()?;
    Some(Link {
        index: source.index,
        kind: mirror.kind.unwrap_or_default(),
        format: mirror.format.as_ref().map(|f| f.kind).unwrap_or_default(),
        source,
    })
}

fn set_mirror(domain: &mut Domain, target: &str, job: MirrorJob, link: &Link) {
    let Ok(disk) = find_mut(domain, target) else {
        return;
    };
    let mut source = link.source.clone();
    source.index = link.index;
    disk.mirror = Some(Box::new(Mirror {
        kind: Some(link.kind),
        file: None,
        old_format: None,
        job: Some(job),
        ready: None,
        format: Some(FormatElement {
            kind: link.format,
            metadata_cache: None,
        }),
        source: Some(source),
        backing_store: None,
    }));
}

fn id(kind: BlockJobKind, disk: &str, top: &Link, base: Option<&Link>) -> BlockJobId {
    let base = base.and_then(|link| link.index).unwrap_or(0);
    BlockJobId::new(kind, disk, top.index.unwrap_or(0), base)
}

fn job(
    name: &'static str,
    id: &BlockJobId,
    device: &Link,
    bandwidth: u64,
) -> Result<Command<Done>> {
    Ok(Command::new(name)
        .arg("job-id", id.to_string())
        .arg("device", nodes::node(device)?)
        .arg("speed", bandwidth)
        .arg("auto-finalize", true)
        .arg("auto-dismiss", false))
}

/// The place of an image in a chain: by its path, or as `vda[2]` by its number.
fn place(links: &[Link], target: &str, name: &str) -> Result<usize> {
    let number = name
        .strip_prefix(target)
        .and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'))
        .and_then(|number| number.parse::<u32>().ok());
    let found = links.iter().position(|link| match number {
        Some(number) => link.index == Some(number),
        None => link.path() == Some(name),
    });
    found.or((name == target).then_some(0)).ok_or_else(|| {
        EngineError::new(
            ErrorKind::InvalidArgument,
            format!("could not find image '{name}' in chain of disk '{target}'"),
        )
    })
}

pub(crate) fn find<'a>(domain: &'a Domain, name: &str) -> Result<&'a Disk> {
    storage::snapshot::find(domain, name)
        .ok_or_else(|| EngineError::new(ErrorKind::InvalidArgument, format!("invalid path {name}")))
}

fn find_mut<'a>(domain: &'a mut Domain, target: &str) -> Result<&'a mut Disk> {
    let mut disks = domain.devices.disks.iter_mut();
    disks
        .find(|disk| disk.target_dev() == target)
        .ok_or_else(|| EngineError::new(ErrorKind::NoSuchDevice, format!("no disk {target}")))
}
