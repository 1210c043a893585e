//! All jobs in memory.

use super::{JobContext, JobId, JobProgress, JobSpec, JobState, JobView, now_ms};
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::limits::{JOB_NEWS_MAX, JOB_PROGRESS_PERIOD_MS};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// The table.
#[derive(Debug)]
pub(crate) struct Jobs {
    state: Mutex<State>,
    news: broadcast::Sender<Arc<JobView>>,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<JobId, Held>,
    last: JobId,
}

#[derive(Debug)]
struct Held {
    view: Arc<JobView>,
    cancel: watch::Sender<bool>,
    told: Instant,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            news: broadcast::Sender::new(JOB_NEWS_MAX),
        }
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a new job its number.
    pub(super) fn admit(&self, engine: &Engine, spec: &JobSpec) -> (Arc<JobView>, JobContext) {
        let mut state = self.lock();
        state.last += 1;
        let id = state.last;
        let view = Arc::new(JobView {
            id,
            kind: spec.kind.to_owned(),
            target: spec.target.clone(),
            state: JobState::Running,
            progress: JobProgress::default(),
            error: None,
            result: None,
            started_ms: now_ms(),
            ended_ms: None,
        });
        let cancel = watch::Sender::new(false);
        let context = JobContext::new(engine.clone(), id, cancel.subscribe());
        state.hold(view.clone(), cancel);
        drop(state);
        self.tell(view.clone());
        (view, context)
    }

    /// A job of an earlier daemon.
    pub(super) fn restore(&self, view: Arc<JobView>) {
        let mut state = self.lock();
        state.last = state.last.max(view.id);
        state.hold(view, watch::Sender::new(false));
    }

    /// What the work of a job of an earlier daemon holds that goes on.
    pub(super) fn resume(&self, engine: &Engine, id: JobId) -> Option<JobContext> {
        let state = self.lock();
        let held = state.jobs.get(&id)?;
        Some(JobContext::new(engine.clone(), id, held.cancel.subscribe()))
    }

    pub(super) fn forget(&self, id: JobId) {
        self.lock().jobs.remove(&id);
    }

    pub(super) fn running(&self) -> usize {
        let state = self.lock();
        let running = |held: &&Held| held.view.state == JobState::Running;
        state.jobs.values().filter(running).count()
    }

    pub(super) fn all(&self) -> Vec<Arc<JobView>> {
        let state = self.lock();
        state.jobs.values().map(|held| held.view.clone()).collect()
    }

    pub(super) fn view(&self, id: JobId) -> Option<Arc<JobView>> {
        self.lock().jobs.get(&id).map(|held| held.view.clone())
    }

    pub(super) fn cancel(&self, id: JobId) {
        if let Some(held) = self.lock().jobs.get(&id) {
            held.cancel.send_replace(true);
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<JobView>> {
        self.news.subscribe()
    }

    fn tell(&self, view: Arc<JobView>) {
        // Nobody listening is no error.
        let _ = self.news.send(view);
    }

    /// Moves a job's progress; told at once at a new step, else now and then.
    pub(super) fn progress(&self, id: JobId, progress: JobProgress, at_once: bool) {
        let mut state = self.lock();
        let Some(held) = state.jobs.get_mut(&id) else {
            return;
        };
        held.view = Arc::new(JobView {
            progress,
            ..JobView::clone(&held.view)
        });
        let due = held.told.elapsed() >= Duration::from_millis(JOB_PROGRESS_PERIOD_MS);
        if at_once || due {
            held.told = Instant::now();
            let view = held.view.clone();
            drop(state);
            self.tell(view);
        }
    }

    /// How a job looks at its end; it is not shown so before it is published.
    pub(super) fn ended(&self, context: &JobContext, done: Result<Value>) -> Option<Arc<JobView>> {
        let view = self.view(context.id())?;
        let (state, result, error) = match done {
            Ok(result) => (JobState::Completed, Some(result), None),
            Err(error) if context.is_cancelled() && error.kind == ErrorKind::OperationAborted => {
                (JobState::Cancelled, None, None)
            }
            Err(error) => (JobState::Failed, None, Some(error)),
        };
        Some(Arc::new(JobView {
            state,
            result: result.filter(|value| !value.is_null()),
            error,
            ended_ms: Some(now_ms()),
            ..JobView::clone(&view)
        }))
    }

    pub(super) fn publish(&self, view: Arc<JobView>) {
        if let Some(held) = self.lock().jobs.get_mut(&view.id) {
            held.view = view.clone();
        }
        self.tell(view);
    }

    /// Forgets the oldest jobs that are over, until no more than `kept` are left.
    pub(super) fn prune(&self, kept: usize) -> Vec<JobId> {
        let mut state = self.lock();
        let excess = state.jobs.len().saturating_sub(kept);
        let over = |(_, held): &(&JobId, &Held)| held.view.state != JobState::Running;
        let old: Vec<JobId> = state
            .jobs
            .iter()
            .filter(over)
            .map(|(id, _)| *id)
            .take(excess)
            .collect();
        for id in &old {
            state.jobs.remove(id);
        }
        old
    }
}

impl State {
    fn hold(&mut self, view: Arc<JobView>, cancel: watch::Sender<bool>) {
        let held = Held {
            cancel,
            told: Instant::now(),
            view,
        };
        self.jobs.insert(held.view.id, held);
    }
}
