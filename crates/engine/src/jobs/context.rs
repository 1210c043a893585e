//! What the work of a job holds: its progress to move, and the word to stop.

use super::{JobId, JobProgress, JobUnit};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use serde_json::Value;
use tokio::sync::watch;

/// A job under way, as its work sees it. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct JobContext {
    engine: Engine,
    id: JobId,
    cancelled: watch::Receiver<bool>,
}

impl JobContext {
    pub(super) fn new(engine: Engine, id: JobId, cancelled: watch::Receiver<bool>) -> Self {
        Self {
            engine,
            id,
            cancelled,
        }
    }

    /// The job's number.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Begins a step: its name, and how much there is to do (0: not known).
    pub fn step(&self, step: impl Into<String>, total: u64, unit: JobUnit) {
        let progress = JobProgress {
            done: 0,
            total,
            unit,
            step: step.into(),
        };
        self.engine.jobs_table().progress(self.id, progress, true);
    }

    /// So much of the step is done.
    pub fn done(&self, done: u64) {
        if let Some(view) = self.engine.jobs_table().view(self.id) {
            let progress = JobProgress {
                done,
                ..view.progress.clone()
            };
            self.engine.jobs_table().progress(self.id, progress, false);
        }
    }

    /// Puts what is about to be done into the job's record, in place of what was there.
    pub async fn keep_plan(&self, plan: Value) -> Result<()> {
        let view = self.engine.job(self.id)?;
        self.engine.keep_job(&view, Some(&plan)).await
    }

    /// Whether somebody asked the job to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Fails once somebody has asked the job to stop; for between two steps.
    pub fn check(&self) -> Result<()> {
        match self.is_cancelled() {
            false => Ok(()),
            true => Err(cancelled()),
        }
    }

    /// Waits until somebody asks the job to stop; for ever if nobody does.
    pub async fn cancelled(&self) {
        let mut cancelled = self.cancelled.clone();
        if cancelled.wait_for(|is| *is).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs work that may simply be dropped when the job is cancelled.
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.cancelled() => Err(cancelled()),
        }
    }
}

fn cancelled() -> EngineError {
    EngineError::new(ErrorKind::OperationAborted, "the job was cancelled")
}
