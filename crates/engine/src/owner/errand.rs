//! What runs beside the owner: at most one errand that holds the machine, and
//! small ones that do not.

use super::start::StartEnd;
use super::{Owner, Reply, answer};
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::Happening;
use crate::job::JobEnd;
use qemu::machine::Input;
use std::future::Future;
use tokio::task::JoinError;

/// The errand that holds the machine.
#[derive(Debug)]
pub(super) struct Errand {
    what: &'static str,
}

impl Errand {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what }
    }

    pub(super) fn what(&self) -> &'static str {
        self.what
    }
}

/// How an errand ended; what the owner does about it.
pub(super) enum ErrandEnd {
    /// Answer whoever asked.
    Answer {
        reply: Reply<()>,
        result: Result<()>,
        held: bool,
    },
    /// A start came to its end.
    Start(Box<StartEnd>),
    /// A save came to its end.
    Save {
        reply: Reply<()>,
        result: Result<()>,
        managed: bool,
    },
    /// A dump came to its end.
    Dump {
        reply: Option<Reply<()>>,
        result: Result<()>,
        crash: bool,
    },
    /// A QEMU that hung answers again.
    Reconnected(Box<super::start::TakenOver>),
    /// A change came to its end.
    Change(Box<super::change::ChangeEnd>),
    /// Work on snapshots came to its end.
    Snapshot(Box<super::snapshots::SnapshotEnd>),
    /// Work on a disk's images came to its end.
    Block(Box<super::blocks::BlockEnd>),
    /// QEMU's jobs, and where they are.
    BlockJobs(Vec<(String, qemu::qmp::reply::JobStatus)>),
    /// Half-way work on snapshots was finished, or cannot be; then the request
    /// that found it is served.
    Settled {
        result: Result<()>,
        request: Option<Box<super::Request>>,
    },
    /// A gentle destroy was given up.
    DestroyGivenUp,
    /// Nothing is to be done.
    Nothing { held: bool },
}

impl Owner {
    /// Runs an errand that holds the machine until it ends.
    pub(super) fn hold(
        &mut self,
        what: &'static str,
        errand: impl Future<Output = ErrandEnd> + Send + 'static,
    ) {
        self.busy = Some(Errand { what });
        self.errands.spawn(errand);
    }

    /// Runs an errand that holds nothing.
    pub(super) fn beside(&mut self, errand: impl Future<Output = ErrandEnd> + Send + 'static) {
        self.errands.spawn(errand);
    }

    /// Runs a call to QEMU that holds the machine and only has to be answered.
    pub(super) fn hold_and_answer(
        &mut self,
        what: &'static str,
        reply: Reply<()>,
        call: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        self.hold(what, async move {
            ErrandEnd::Answer {
                reply,
                result: call.await,
                held: true,
            }
        });
    }

    pub(super) async fn errand_ended(&mut self, end: std::result::Result<ErrandEnd, JoinError>) {
        // News that the errand caused are in the mailbox by now; they go first,
        // so that whoever is answered finds the state they asked for.
        self.take_waiting_news().await;
        match end {
            Ok(ErrandEnd::Answer {
                reply,
                result,
                held,
            }) => {
                if held {
                    self.busy = None;
                }
                answer(reply, result);
            }
            Ok(ErrandEnd::Start(end)) => {
                self.busy = None;
                self.start_ended(*end).await;
            }
            Ok(ErrandEnd::Save {
                reply,
                result,
                managed,
            }) => {
                self.busy = None;
                self.save_ended(reply, result, managed).await;
            }
            Ok(ErrandEnd::Dump {
                reply,
                result,
                crash,
            }) => {
                self.busy = None;
                self.dump_ended(reply, result, crash).await;
            }
            Ok(ErrandEnd::Reconnected(taken)) => self.reconnected(*taken).await,
            Ok(ErrandEnd::Change(end)) => {
                self.busy = None;
                self.changed(*end).await;
            }
            Ok(ErrandEnd::Snapshot(end)) => {
                self.busy = None;
                self.snapshot_work_ended(*end).await;
            }
            Ok(ErrandEnd::Block(end)) => {
                if end.held() {
                    self.busy = None;
                }
                self.block_work_ended(*end).await;
            }
            Ok(ErrandEnd::BlockJobs(jobs)) => self.block_jobs_seen(jobs),
            Ok(ErrandEnd::Settled { result, request }) => {
                self.busy = None;
                self.settled(result, request);
            }
            Ok(ErrandEnd::DestroyGivenUp) => self.destroy_given_up().await,
            Ok(ErrandEnd::Nothing { held }) => {
                if held {
                    self.busy = None;
                }
            }
            Err(panic) => {
                tracing::error!(domain = %self.entry.view().name, %panic, "an errand broke off");
                self.busy = None;
                if self.life.status().is_active() && self.live.is_none() {
                    self.happen(Input::StartFailed).await;
                }
            }
        }
    }

    /// Records how the long operation ended and tells everyone.
    pub(super) fn finish_job(&self, result: &Result<()>) {
        let end = match result {
            Ok(()) => JobEnd::Completed,
            Err(EngineError {
                kind: ErrorKind::OperationAborted,
                ..
            }) => JobEnd::Cancelled,
            Err(_) => JobEnd::Failed,
        };
        if let Some(stats) = self.live.as_ref().and_then(|live| live.end_job(end)) {
            self.emit(Happening::JobCompleted(stats));
        }
    }
}
