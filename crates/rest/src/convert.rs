//! The engine's views as the API's types.

use axum::Json;
use axum::http::StatusCode;
use engine::jobs::{JobState, JobUnit, JobView};

/// A job.
pub(crate) fn job(view: &JobView) -> api::Job {
    let unit = match view.progress.unit {
        JobUnit::Bytes => api::Unit::Bytes,
        JobUnit::Items => api::Unit::Items,
        JobUnit::Percent => api::Unit::Percent,
    };
    let state = match view.state {
        JobState::Running => api::JobState::Running,
        JobState::Completed => api::JobState::Completed,
        JobState::Failed => api::JobState::Failed,
        JobState::Cancelled => api::JobState::Cancelled,
        JobState::Interrupted => api::JobState::Interrupted,
    };
    api::Job {
        id: view.id,
        kind: view.kind.clone(),
        target: view.target.clone(),
        state,
        progress: api::Progress {
            done: view.progress.done,
            total: view.progress.total,
            unit,
            step: view.progress.step.clone(),
        },
        error: view.error.as_ref().map(|error| error.message.clone()),
        result: view.result.clone(),
        started_ms: view.started_ms,
        ended_ms: view.ended_ms,
    }
}

/// The answer to a request that goes on as a job.
#[expect(dead_code, reason = "for the first long request")]
pub(crate) fn accepted(view: &JobView) -> (StatusCode, Json<api::Job>) {
    (StatusCode::ACCEPTED, Json(job(view)))
}
