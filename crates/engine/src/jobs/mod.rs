//! Long operations of the host: importing an image, making fifty clones.
//!
//! A job has a number, a record in the store that is written before the work
//! begins and when it ends, a progress that is in memory only, and a way to be
//! cancelled. What a daemon left unfinished is shown as interrupted by the
//! next one, after [`recover`] has put its leavings in order.
//!
//! Operations on one running machine that libvirt shows by `domjobinfo` are
//! [`crate::job`]'s.

mod context;
mod record;
mod recover;
mod table;

pub use context::JobContext;
pub(crate) use record::JobRecord;
pub(crate) use table::Jobs;

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::{JOBS_KEPT_MAX, JOBS_RUNNING_MAX};
use crate::provision::InstallerRun;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::broadcast;

/// A job's number.
pub type JobId = u64;

/// What is asked of the engine when a job is started.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// What it does, one word for programs: `image-import`.
    pub kind: &'static str,
    /// To what, for people: `debian12`.
    pub target: String,
    /// What it is about to do, so that a daemon that comes after a crash can
    /// finish or undo it; read by [`recover`] only.
    pub plan: Option<Value>,
}

/// Whether a job is over, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It is being worked on.
    Running,
    /// It did what it should.
    Completed,
    /// It failed.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// The daemon ended before it did.
    Interrupted,
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobProgress {
    /// What is done, in units.
    pub done: u64,
    /// What is to be done; 0 while it is not known.
    pub total: u64,
    /// What is counted.
    pub unit: JobUnit,
    /// The step it is at.
    pub step: String,
}

/// What a progress counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JobUnit {
    /// Bytes.
    Bytes,
    /// Things: clones, files, steps.
    #[default]
    Items,
    /// Hundredths of the whole.
    Percent,
}

/// A job as readers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// Its number; never given twice by one host.
    pub id: JobId,
    /// What it does.
    pub kind: String,
    /// To what.
    pub target: String,
    /// Whether it is over.
    pub state: JobState,
    /// How far it is.
    pub progress: JobProgress,
    /// Why it failed.
    pub error: Option<EngineError>,
    /// What it gives back.
    pub result: Option<Value>,
    /// Milliseconds since the epoch.
    pub started_ms: u64,
    /// Milliseconds since the epoch.
    pub ended_ms: Option<u64>,
}

/// News of all jobs.
#[derive(Debug)]
pub struct JobNews {
    receiver: broadcast::Receiver<Arc<JobView>>,
}

impl JobNews {
    /// The next change of any job; none when the daemon goes down. A reader
    /// that is too slow loses what is between, never the last of a job.
    pub async fn next(&mut self) -> Option<Arc<JobView>> {
        loop {
            match self.receiver.recv().await {
                Ok(view) => return Some(view),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Engine {
    /// Starts a job: its record is durable before `work` begins.
    pub async fn start_job<Work, Doing>(&self, spec: JobSpec, work: Work) -> Result<Arc<JobView>>
    where
        Work: FnOnce(JobContext) -> Doing,
        Doing: Future<Output = Result<Value>> + Send + 'static,
    {
        let jobs = self.jobs_table();
        if jobs.running() >= JOBS_RUNNING_MAX {
            return Err(EngineError::new(
                ErrorKind::ResourceUnavailable,
                format!("{JOBS_RUNNING_MAX} jobs are running: wait for one, or cancel one"),
            ));
        }
        let (view, context) = jobs.admit(self, &spec);
        let stored = self.keep_job(&view, spec.plan.as_ref()).await;
        if let Err(error) = stored {
            jobs.forget(view.id);
            return Err(error);
        }
        self.carry_on(context.clone(), work(context));
        Ok(view)
    }

    /// Runs the work of a job, and records its end.
    fn carry_on(
        &self,
        context: JobContext,
        doing: impl Future<Output = Result<Value>> + Send + 'static,
    ) {
        let engine = self.clone();
        tokio::spawn(async move {
            let done = tokio::spawn(doing).await;
            let done = done.unwrap_or_else(|panic| {
                Err(EngineError::new(ErrorKind::Internal, panic.to_string()))
            });
            engine.end_job(&context, done).await;
        });
    }

    async fn end_job(&self, context: &JobContext, done: Result<Value>) {
        let jobs = self.jobs_table();
        let Some(ended) = jobs.ended(context, done) else {
            return;
        };
        // First what lasts, then what is told.
        if let Err(error) = self.keep_job(&ended, None).await {
            tracing::error!(job = ended.id, %error, "the end of a job could not be recorded");
        }
        match &ended.error {
            None => {
                tracing::info!(job = ended.id, kind = %ended.kind, target = %ended.target, state = ?ended.state, "job ended")
            }
            Some(error) => {
                tracing::warn!(job = ended.id, kind = %ended.kind, target = %ended.target, %error, "job failed")
            }
        }
        jobs.publish(ended);
        for old in jobs.prune(JOBS_KEPT_MAX) {
            if let Err(error) = self.records().delete_job(old).await {
                tracing::warn!(job = old, %error, "an old job's record stays");
            }
        }
    }

    async fn keep_job(&self, view: &JobView, plan: Option<&Value>) -> Result<()> {
        let record = record::JobRecord::of(view, plan.cloned());
        self.records().put_job(view.id, record.encode()?).await
    }

    /// Every job that is remembered, the oldest first.
    pub fn jobs(&self) -> Vec<Arc<JobView>> {
        self.jobs_table().all()
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<Arc<JobView>> {
        self.jobs_table().view(id).ok_or_else(|| no_job(id))
    }

    /// Asks a job to stop; it ends soon after, as cancelled.
    pub fn cancel_job(&self, id: JobId) -> Result<()> {
        let view = self.job(id)?;
        if view.state != JobState::Running {
            return Err(EngineError::invalid(format!("job {id} is over already")));
        }
        self.jobs_table().cancel(id);
        Ok(())
    }

    /// What happens to jobs from now on.
    pub fn job_news(&self) -> JobNews {
        JobNews {
            receiver: self.jobs_table().subscribe(),
        }
    }

    /// Reads the jobs of daemons before this one, and puts in order what
    /// they left unfinished. Those that go on by themselves are the answer.
    pub(crate) async fn load_jobs(&self) -> Result<Vec<(JobId, InstallerRun)>> {
        let mut found = Vec::new();
        let mut going_on = Vec::new();
        self.records().for_each_job(|id, bytes| {
            match serde_json::from_slice::<record::JobRecord>(bytes) {
                Ok(record) => found.push((id, record)),
                Err(error) => tracing::error!(job = id, %error, "a job's record cannot be read"),
            }
        })?;
        found.sort_by_key(|(id, _)| *id);
        for (id, record) in found {
            let mut view = record.view(id);
            if view.state == JobState::Running
                && let Some(run) = InstallerRun::of(&record)
            {
                going_on.push((id, run));
            } else if view.state == JobState::Running {
                recover::recover(self, &record).await;
                view.state = JobState::Interrupted;
                view.ended_ms = Some(now_ms());
                self.keep_job(&view, None).await?;
            }
            self.jobs_table().restore(Arc::new(view));
        }
        Ok(going_on)
    }

    /// Goes on with jobs whose machines did, once it is known which of those run.
    pub(crate) fn go_on_with_jobs(&self, jobs: Vec<(JobId, InstallerRun)>) {
        for (id, run) in jobs {
            if let Some(context) = self.jobs_table().resume(self, id) {
                let (engine, job) = (self.clone(), context.clone());
                self.carry_on(context, async move { engine.end_install(&run, &job).await });
            }
        }
    }
}

fn no_job(id: JobId) -> EngineError {
    EngineError::new(ErrorKind::NoJob, format!("no job with number {id}"))
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}
