//! A domain's snapshots: what its owner decides about them. The work itself
//! runs as an errand that holds the machine.

mod create;
mod delete;
mod live;
mod redefine;
mod revert;

pub(super) use create::{NewFile, check_new_file};
pub(super) use revert::PendingRevert;

use super::errand::ErrandEnd;
use super::{Owner, Reply, Request, answer};
use crate::definition::Definition;
use crate::error::{EngineError, ErrorKind, Result};
use crate::snapshots::journal::{Journal, Outcome, StoredSnapshot};
use crate::snapshots::work::{Plan, Work};
use crate::snapshots::{SnapshotHead, SnapshotTree, api, graph::Graph, graph::read_snapshots};
use model::domain::Domain;
use model::snapshot::Snapshot;
use qemu::machine::{Input, Status};
use std::future::Future;
use std::sync::Arc;

/// How work on snapshots ended.
pub(super) struct SnapshotEnd {
    reply: Reply<()>,
    result: Result<Changed>,
}

/// What is to be published, and what comes next.
#[derive(Debug, Default)]
pub(super) struct Changed {
    outcome: Outcome,
    /// The running definition from now on, where it changed.
    live: Option<Box<Domain>>,
    then: Then,
}

/// What follows once a change of snapshots is published.
#[derive(Debug, Default)]
enum Then {
    /// Whoever asked is answered.
    #[default]
    Answer,
    /// The machine is ended.
    Halt,
    /// The machine is started from where it went back to.
    Start(Box<revert::Start>),
}

impl Owner {
    pub(super) fn work(&self) -> Work {
        Work {
            engine: self.engine.clone(),
            domain: self.entry.uuid,
            live: self.live.clone(),
        }
    }

    fn tree(&self) -> Arc<SnapshotTree> {
        self.entry.view().snapshots.clone()
    }

    fn read_snapshot(&self, name: &str) -> Result<Snapshot> {
        if self.tree().get(name).is_none() {
            return Err(api::no_snapshot(name));
        }
        self.engine.read_snapshot(self.entry.uuid, name)
    }

    /// The definition whose disks the domain uses: the running one, else the stored.
    fn present_definition(&self) -> Result<Domain> {
        match &self.live {
            Some(live) => Ok(Domain::clone(&live.definition())),
            None => self.stored_definition(),
        }
    }

    fn graph(&self, current: &Domain) -> Result<Graph> {
        let uuid = self.entry.uuid;
        let snapshots = read_snapshots(&self.engine, uuid, &self.tree())?;
        Ok(Graph::new(
            snapshots,
            current,
            self.engine.records().layers(uuid)?,
        ))
    }

    /// Runs work on snapshots that holds the machine.
    fn hold_snapshot_work(
        &mut self,
        what: &'static str,
        reply: Reply<()>,
        work: impl Future<Output = Result<Changed>> + Send + 'static,
    ) {
        self.hold(what, async move {
            let result = work.await;
            ErrandEnd::Snapshot(Box::new(SnapshotEnd { reply, result }))
        });
    }

    /// Carries a plan out for images that no QEMU has open.
    fn hold_plan(&mut self, what: &'static str, plan: Plan, then: Then, reply: Reply<()>) {
        let work = self.work();
        self.hold_snapshot_work(what, reply, async move {
            work.carry_out(&plan).await?;
            Ok(Changed {
                outcome: plan.outcome,
                live: None,
                then,
            })
        });
    }

    pub(super) async fn snapshot_work_ended(&mut self, end: SnapshotEnd) {
        let SnapshotEnd { reply, result } = end;
        match result {
            Err(error) => {
                self.life.handle(Input::Snapshotting(false));
                self.finish_job(&Err(error.clone()));
                answer(reply, Err(error));
                if self.live.is_none() {
                    // QEMU died meanwhile: its images can be settled without it.
                    self.look_for_journal();
                }
            }
            Ok(Changed {
                outcome,
                live,
                then,
            }) => {
                self.publish_outcome(&outcome);
                if let (Some(machine), Some(definition)) = (&self.live, live) {
                    machine.set_definition(*definition);
                    self.engine
                        .write_status(machine, &self.entry, self.life.status());
                }
                self.finish_job(&Ok(()));
                match then {
                    Then::Answer => answer(reply, Ok(())),
                    Then::Halt => self.halt(reply),
                    Then::Start(start) => self.start_from_snapshot(*start, reply),
                }
            }
        }
    }

    /// The machine ends with its snapshot.
    fn halt(&mut self, reply: Reply<()>) {
        match self.live.clone() {
            None => answer(reply, Ok(())),
            Some(live) => {
                self.life.handle(Input::Reverted);
                self.waiting_for_end.push(reply);
                self.beside(super::stop::end_process(live, false));
            }
        }
    }

    pub(super) fn publish_outcome(&self, outcome: &Outcome) {
        let mut tree = SnapshotTree::clone(&self.tree());
        for name in &outcome.remove {
            tree.remove(name);
        }
        for snapshot in &outcome.put {
            tree.insert(snapshot.head.clone());
        }
        tree.set_current(outcome.current.clone());
        let summary = outcome.definition.as_ref().and_then(|text| {
            let domain = self.engine.parse_stored(text).ok()?;
            Some(Arc::new(crate::view::Summary::of(&domain)))
        });
        self.publish(|view| {
            view.snapshots = Arc::new(tree);
            if let (Some(summary), Some(stored)) = (summary, &mut view.stored) {
                *stored = summary;
            }
        });
    }

    /// Work that a failure or a crash left half-way is finished first; says
    /// whether there was none.
    fn is_settled(&mut self, request: impl FnOnce() -> Request) -> bool {
        let settled = matches!(self.engine.records().journal(self.entry.uuid), Ok(None));
        if !settled {
            self.settle_first(request());
        }
        settled
    }

    /// Has a request wait until half-way work is finished.
    pub(super) fn settle_first(&mut self, request: Request) {
        match self.engine.records().journal(self.entry.uuid) {
            Ok(Some(journal)) => self.settle_journal(journal, Some(Box::new(request))),
            // Another request has settled it meanwhile.
            Ok(None) => {
                self.no_job_is_in_doubt();
                self.queue_first(request);
            }
            Err(error) => request.refuse(error),
        }
    }

    /// Finishes or undoes what a failure or a crash left half-way.
    fn settle_journal(&mut self, journal: Journal, request: Option<Box<Request>>) {
        let work = self.work();
        self.hold("snapshot-recovery", async move {
            let result = match &work.live {
                Some(live) => work.settle_live(live, journal).await,
                None => crate::snapshots::recover::settle(&work.engine, work.domain, journal).await,
            };
            ErrandEnd::Settled { result, request }
        });
    }

    /// A machine was taken over, or has ended: what a crash left half-way with
    /// its snapshots is settled now.
    pub(super) fn look_for_journal(&mut self) {
        if self.busy.is_some() {
            return;
        }
        match self.engine.records().journal(self.entry.uuid) {
            Ok(None) => self.no_job_is_in_doubt(),
            Ok(Some(journal)) => self.settle_journal(journal, None),
            Err(error) => tracing::error!(%error, "the journal of snapshots cannot be read"),
        }
    }

    /// Half-way work has been finished, or cannot be now.
    pub(super) fn settled(&mut self, result: Result<()>, request: Option<Box<Request>>) {
        if result.is_ok()
            && let Err(error) = self.engine.reload_domain(self.entry.uuid)
        {
            tracing::error!(%error, "the snapshots could not be read again");
        }
        if result.is_ok() {
            self.no_job_is_in_doubt();
        }
        match (result, request) {
            // What was left to be finished may have been this very deletion.
            (Ok(()), Some(request)) => match *request {
                Request::DeleteSnapshot { name, reply, .. } if self.tree().get(&name).is_none() => {
                    answer(reply, Ok(()));
                }
                request => self.queue_first(request),
            },
            (Err(error), Some(request)) => request.refuse(EngineError::new(
                error.kind,
                format!("an earlier change of the snapshots cannot be finished: {error}"),
            )),
            (Err(error), None) => {
                tracing::error!(domain = %self.entry.view().name, %error,
                    "what was under way with snapshots cannot be settled yet");
            }
            (Ok(()), None) => {}
        }
    }
}

/// A snapshot as the store keeps it.
fn stored(snapshot: &Snapshot, nvram: Option<String>) -> StoredSnapshot {
    StoredSnapshot {
        head: SnapshotHead::of(snapshot, nvram),
        xml: snapshot.to_xml(true),
    }
}

/// A definition's text as the store keeps it.
fn text_of(domain: Domain) -> String {
    Definition::of(domain).text
}

/// libvirt's word for the state a snapshot records.
fn state_of(status: Status) -> model::snapshot::SnapshotState {
    use model::snapshot::SnapshotState as State;
    match status {
        Status::Running(_) => State::Running,
        Status::Paused(_) => State::Paused,
        Status::ShuttingDown => State::Shutdown,
        Status::Off(_) => State::Shutoff,
        Status::Panicked => State::Crashed,
        Status::PmSuspended => State::PmSuspended,
    }
}

fn unsupported(what: impl Into<String>) -> EngineError {
    EngineError::new(ErrorKind::ConfigUnsupported, what)
}
