//! The owner of a machine: the one task that changes it. Everyone else sends
//! it requests and reads the views it publishes.
//!
//! An inactive domain has an owner only while somebody asks something of it.
//! The owner itself never waits for QEMU: what takes long runs beside it as an
//! *errand*, so that a destroy is heard at once even while QEMU hangs. One
//! errand runs at a time; requests that need the machine meanwhile queue, and
//! are told when they have queued too long.

pub(crate) use define::{check_name, remove_file};
pub(crate) use save::{follow as follow_migration, write_state};
pub(crate) use start::{SETUP_TIMEOUT, cancelled, undo as undo_start};
pub(crate) use stop::abandon;

mod ask;
pub(crate) mod blocks;
mod change;
mod define;
mod devices;
mod errand;
mod news;
mod save;
mod snapshots;
mod start;
mod stop;
mod tune;

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::{DomainName, Happening};
use crate::limits::{OWNER_QUEUE_MAX, OWNER_QUEUE_TIMEOUT_MS};
use crate::live::LiveMachine;
use crate::monitor::News;
use crate::options::{
    Affect, AskWays, DeviceChange, DumpOptions, GuestAsk, MetadataItem, SaveOptions,
    SnapshotCreate, SnapshotDelete, SnapshotRevert, StartOptions, UndefineOptions,
};
use crate::table::Entry;
use crate::tuning::Tuning;
use crate::view::DomainView;
use errand::{Errand, ErrandEnd};
use qemu::machine::{Effect, Input, Life, LifecycleEvent, Operation};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What can be asked of a machine's owner.
#[derive(Debug)]
pub(crate) enum Request {
    Define {
        definition: Box<crate::definition::Definition>,
        reply: Reply<()>,
    },
    Undefine {
        options: UndefineOptions,
        reply: Reply<()>,
    },
    SetAutostart {
        on: bool,
        once: bool,
        reply: Reply<()>,
    },
    Rename {
        name: Arc<str>,
        reply: Reply<()>,
    },
    SetMetadata {
        item: MetadataItem,
        value: Option<String>,
        key: Option<String>,
        affect: Affect,
        reply: Reply<()>,
    },
    Start {
        options: StartOptions,
        reply: Reply<()>,
    },
    /// Starts a machine without a stored definition; it is gone when this fails.
    StartTransient {
        definition: Box<crate::definition::Definition>,
        options: StartOptions,
        reply: Reply<()>,
    },
    /// Starts from a saved state in a file, with the definition saved along.
    Restore {
        definition: Box<crate::definition::Definition>,
        saved: crate::saved::SavedState,
        options: StartOptions,
        reply: Reply<()>,
    },
    /// Takes over a QEMU that outlived the last daemon.
    Adopt {
        found: Box<crate::adopt::Found>,
        reply: Reply<()>,
    },
    AskGuest {
        ask: GuestAsk,
        ways: AskWays,
        reply: Reply<()>,
    },
    Reset {
        reply: Reply<()>,
    },
    Destroy {
        graceful: bool,
        reply: Reply<()>,
    },
    Suspend {
        reply: Reply<()>,
    },
    Resume {
        reply: Reply<()>,
    },
    Save {
        options: SaveOptions,
        reply: Reply<()>,
    },
    RemoveManagedSave {
        reply: Reply<()>,
    },
    Dump {
        options: DumpOptions,
        reply: Reply<()>,
    },
    ChangeDevice {
        change: DeviceChange,
        xml: String,
        affect: Affect,
        reply: Reply<()>,
    },
    BlockAsk {
        disk: String,
        ask: crate::options::BlockAsk,
        reply: Reply<()>,
    },
    CreateSnapshot {
        snapshot: Box<model::snapshot::Snapshot>,
        options: SnapshotCreate,
        reply: Reply<()>,
    },
    RevertToSnapshot {
        name: String,
        options: SnapshotRevert,
        reply: Reply<()>,
    },
    DeleteSnapshot {
        name: String,
        options: SnapshotDelete,
        reply: Reply<()>,
    },
    SetMemory {
        kib: u64,
        maximum: bool,
        affect: Affect,
        reply: Reply<()>,
    },
    Tune {
        tuning: Box<Tuning>,
        affect: Affect,
        reply: Reply<()>,
    },
    SetVcpus {
        count: u32,
        maximum: bool,
        affect: Affect,
        reply: Reply<()>,
    },
}

/// Sends a request to the domain's owner, and gives it one where it has none.
pub(crate) fn send(engine: &Engine, entry: &Arc<Entry>, request: Request) -> Result<()> {
    let mut mailbox = entry.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
    // Always sent under the lock, so that an owner about to leave sees it.
    let sent = match &*mailbox {
        Some(sender) => sender.try_send(request),
        None => {
            let (sender, receiver) = mpsc::channel(OWNER_QUEUE_MAX);
            let sent = sender.try_send(request);
            *mailbox = Some(sender);
            tokio::spawn(Owner::new(engine.clone(), entry.clone(), receiver).run());
            sent
        }
    };
    sent.map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => EngineError::new(
            ErrorKind::OperationTimeout,
            "too many operations wait for this domain; try again later",
        ),
        mpsc::error::TrySendError::Closed(_) => EngineError::stopping(),
    })
}

/// A request that waits for the errand under way.
struct Queued {
    request: Request,
    until: Instant,
}

pub(crate) struct Owner {
    engine: Engine,
    entry: Arc<Entry>,
    requests: mpsc::Receiver<Request>,
    life: Life,
    live: Option<Arc<LiveMachine>>,
    news: Option<mpsc::Receiver<News>>,
    errands: JoinSet<ErrandEnd>,
    busy: Option<Errand>,
    start_cancel: start::StartCancel,
    queue: VecDeque<Queued>,
    /// Who waits for the present QEMU to be gone.
    waiting_for_end: Vec<Reply<()>>,
    block_jobs: blocks::BlockJobs,
    /// Goes on when QEMU is gone.
    pending_revert: Option<snapshots::PendingRevert>,
}

impl Owner {
    fn new(engine: Engine, entry: Arc<Entry>, requests: mpsc::Receiver<Request>) -> Self {
        let reason = match entry.view().status {
            qemu::machine::Status::Off(reason) => reason,
            _ => qemu::machine::OffReason::Unknown,
        };
        Self {
            engine,
            entry,
            requests,
            life: Life::off(reason),
            live: None,
            news: None,
            errands: JoinSet::new(),
            busy: None,
            start_cancel: start::StartCancel::default(),
            queue: VecDeque::new(),
            waiting_for_end: Vec::new(),
            block_jobs: blocks::BlockJobs::default(),
            pending_revert: None,
        }
    }

    async fn run(mut self) {
        let mut stopping = self.engine.stopping();
        loop {
            if self.is_idle() && self.leave() {
                return;
            }
            let deadline = self.queue.front().map(|queued| queued.until);
            tokio::select! {
                // News come before the errand that caused them is called done,
                // and both before new requests.
                biased;
                news = next_news(&mut self.news) => self.take_news(news).await,
                Some(end) = self.errands.join_next() => self.errand_ended(end).await,
                () = exited(self.live.as_ref()) => self.qemu_exited().await,
                request = self.requests.recv() => match request {
                    Some(request) => self.take(request).await,
                    // The table gave the entry up: the daemon goes down.
                    None => return,
                },
                () = until(deadline) => self.refuse_the_late(),
                () = until_set(&mut stopping) => return,
            }
            self.take_queued().await;
        }
    }

    fn is_idle(&self) -> bool {
        self.live.is_none()
            && self.busy.is_none()
            && self.errands.is_empty()
            && self.queue.is_empty()
            && self.waiting_for_end.is_empty()
    }

    /// Gives the mailbox back unless a request came meanwhile.
    fn leave(&mut self) -> bool {
        let mut mailbox = self
            .entry
            .mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !self.requests.is_empty() {
            return false;
        }
        *mailbox = None;
        true
    }

    async fn take(&mut self, request: Request) {
        if self.busy.is_some() && !request.may_overtake() {
            let until = Instant::now() + Duration::from_millis(OWNER_QUEUE_TIMEOUT_MS);
            self.queue.push_back(Queued { request, until });
            return;
        }
        self.serve(request).await;
    }

    /// Serves a request before those that wait.
    fn queue_first(&mut self, request: Request) {
        let until = Instant::now() + Duration::from_millis(OWNER_QUEUE_TIMEOUT_MS);
        self.queue.push_front(Queued { request, until });
    }

    async fn take_queued(&mut self) {
        while self.busy.is_none() {
            let Some(Queued { request, .. }) = self.queue.pop_front() else {
                return;
            };
            self.serve(request).await;
        }
    }

    fn refuse_the_late(&mut self) {
        let now = Instant::now();
        let holder = self.busy.as_ref().map_or("another operation", Errand::what);
        while self.queue.front().is_some_and(|queued| queued.until <= now) {
            let Some(Queued { request, .. }) = self.queue.pop_front() else {
                return;
            };
            request.refuse(EngineError::new(
                ErrorKind::OperationTimeout,
                format!("cannot acquire state change lock (held by {holder}); try again later"),
            ));
        }
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Define { definition, reply } => answer(reply, self.define(*definition).await),
            Request::Undefine { options, reply } => answer(reply, self.undefine(options).await),
            Request::SetAutostart { on, once, reply } => {
                answer(reply, self.set_autostart(on, once).await);
            }
            Request::Rename { name, reply } => answer(reply, self.rename(name).await),
            Request::SetMetadata {
                item,
                value,
                key,
                affect,
                reply,
            } => {
                answer(reply, self.set_metadata(item, value, key, affect).await);
            }
            Request::Start { options, reply } => self.start(options, reply),
            Request::StartTransient {
                definition,
                options,
                reply,
            } => {
                self.start_transient(*definition, options, reply);
            }
            Request::Restore {
                definition,
                saved,
                options,
                reply,
            } => {
                self.restore(*definition, saved, options, reply);
            }
            Request::Adopt { found, reply } => self.adopt(*found, reply),
            Request::AskGuest { ask, ways, reply } => self.ask_guest(ask, ways, reply),
            Request::Reset { reply } => self.reset(reply),
            Request::Destroy { graceful, reply } => self.destroy(graceful, reply),
            Request::Suspend { reply } => self.suspend(reply),
            Request::Resume { reply } => self.resume(reply),
            Request::Save { options, reply } => self.save(options, reply),
            Request::RemoveManagedSave { reply } => answer(reply, self.remove_managed_save()),
            Request::Dump { options, reply } => self.dump(options, reply),
            Request::ChangeDevice {
                change,
                xml,
                affect,
                reply,
            } => {
                self.change_device(change, xml, affect, reply).await;
            }
            Request::BlockAsk { disk, ask, reply } => self.block_ask(disk, ask, reply),
            Request::CreateSnapshot {
                snapshot,
                options,
                reply,
            } => self.create_snapshot(snapshot, options, reply),
            Request::RevertToSnapshot {
                name,
                options,
                reply,
            } => self.revert_to_snapshot(name, options, reply),
            Request::DeleteSnapshot {
                name,
                options,
                reply,
            } => self.delete_snapshot(name, options, reply),
            Request::SetMemory {
                kib,
                maximum,
                affect,
                reply,
            } => {
                self.set_memory(kib, maximum, affect, reply).await;
            }
            Request::Tune {
                tuning,
                affect,
                reply,
            } => self.tune(*tuning, affect, reply).await,
            Request::SetVcpus {
                count,
                maximum,
                affect,
                reply,
            } => {
                self.set_vcpus(count, maximum, affect, reply).await;
            }
        }
    }

    /// Whether the operation is allowed now.
    fn admit(&self, operation: Operation) -> Result<qemu::machine::Admission> {
        qemu::machine::admit(operation, self.life.status())
            .map_err(|refusal| EngineError::invalid(refusal.to_string()))
    }

    fn live(&self) -> Result<Arc<LiveMachine>> {
        self.live
            .clone()
            .ok_or_else(|| EngineError::invalid("domain is not running"))
    }

    fn emit(&self, what: Happening) {
        let view = self.entry.view();
        let id = view.id().or(self.live.as_ref().map(|live| live.id));
        let domain = DomainName {
            name: view.name.clone(),
            uuid: view.uuid,
            id,
        };
        self.engine.events_hub().emit(domain, what);
    }

    fn emit_lifecycle(&self, event: LifecycleEvent) {
        self.emit(Happening::Lifecycle(event));
    }

    /// Publishes the view with a change made to it.
    fn publish(&self, change: impl FnOnce(&mut DomainView)) {
        let mut view = DomainView::clone(&self.entry.view());
        view.status = self.life.status();
        view.live.clone_from(&self.live);
        if let Some(live) = &self.live {
            live.set_running(matches!(view.status, qemu::machine::Status::Running(_)));
        }
        change(&mut view);
        self.entry.publish(view);
    }

    /// Gives the life something that happened, publishes the new state,
    /// carries out what follows from it, then records it: who waits for the
    /// event need not wait for the disk, and a daemon that finds an older
    /// record asks QEMU how the machine is.
    async fn happen(&mut self, input: Input) {
        let before = self.life.status();
        let effects = self.life.handle(input);
        self.publish(|_| ());
        for effect in effects {
            self.carry_out(effect).await;
        }
        if let (Some(live), true) = (&self.live, before != self.life.status()) {
            self.engine
                .write_status(live, &self.entry, self.life.status());
        }
    }

    /// Records what is begun with the machine, or with nothing that it is over.
    fn intend(&self, live: &LiveMachine, intent: Option<crate::intent::Intent>) {
        live.set_intent(intent);
        self.engine
            .write_status(live, &self.entry, self.life.status());
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Emit(event) => self.emit_lifecycle(event),
            Effect::Quit => self.quit(),
            Effect::ResetAndRun => self.reset_and_run(),
            Effect::DumpMemory => self.dump_crashed(),
        }
    }
}

impl Request {
    /// Requests that do not wait for the errand under way: ending a machine
    /// must always be possible, and these do not touch what runs.
    fn may_overtake(&self) -> bool {
        matches!(self, Self::Destroy { .. } | Self::SetAutostart { .. })
    }

    fn refuse(self, error: EngineError) {
        let reply = match self {
            Self::Define { reply, .. }
            | Self::Undefine { reply, .. }
            | Self::SetAutostart { reply, .. }
            | Self::Rename { reply, .. }
            | Self::SetMetadata { reply, .. }
            | Self::Start { reply, .. }
            | Self::StartTransient { reply, .. }
            | Self::Restore { reply, .. }
            | Self::Adopt { reply, .. }
            | Self::AskGuest { reply, .. }
            | Self::Reset { reply }
            | Self::Destroy { reply, .. }
            | Self::Suspend { reply }
            | Self::Resume { reply }
            | Self::Save { reply, .. }
            | Self::RemoveManagedSave { reply }
            | Self::Dump { reply, .. }
            | Self::ChangeDevice { reply, .. }
            | Self::BlockAsk { reply, .. }
            | Self::CreateSnapshot { reply, .. }
            | Self::RevertToSnapshot { reply, .. }
            | Self::DeleteSnapshot { reply, .. }
            | Self::SetMemory { reply, .. }
            | Self::Tune { reply, .. }
            | Self::SetVcpus { reply, .. } => reply,
        };
        answer(reply, Err(error));
    }
}

/// Answers; a caller that has gone away needs no answer.
fn answer<T>(reply: Reply<T>, result: Result<T>) {
    let _ = reply.send(result);
}

async fn next_news(news: &mut Option<mpsc::Receiver<News>>) -> News {
    match news {
        Some(receiver) => match receiver.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn exited(live: Option<&Arc<LiveMachine>>) {
    match live {
        Some(live) => live.process.exited().await,
        None => std::future::pending().await,
    }
}

async fn until_set(flag: &mut watch::Receiver<bool>) {
    // A flag that nobody can set any more is as good as set.
    let _ = flag.wait_for(|set| *set).await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
