//! The engine's views as the API's types.

use axum::Json;
use axum::http::StatusCode;
use engine::EngineError;
use engine::jobs::{JobState, JobUnit, JobView};
use engine::provision::{Display, NetworkChoice, SeedRequest};

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
pub(crate) fn accepted(view: &JobView) -> (StatusCode, Json<api::Job>) {
    (StatusCode::ACCEPTED, Json(job(view)))
}

/// What reads many files runs on a thread of its own.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| EngineError::failed(error.to_string()))
}

/// What a card is plugged into.
pub(crate) fn network(network: api::Network) -> NetworkChoice {
    match network {
        api::Network::Network(name) => NetworkChoice::Network(name),
        api::Network::Bridge(name) => NetworkChoice::Bridge(name),
        api::Network::User => NetworkChoice::User,
    }
}

/// A machine's screen.
pub(crate) fn display(graphics: Option<api::Graphics>) -> Display {
    match graphics {
        None => Display::None,
        Some(graphics) => Display::Served {
            kind: if graphics.spice { "spice" } else { "vnc" },
            listen: graphics.listen,
            port: graphics.port,
            password: graphics.password,
        },
    }
}

/// What a machine is told.
pub(crate) fn seed(told: api::CloudInit) -> SeedRequest {
    SeedRequest {
        user: told.user,
        password_hash: told.password_hash,
        ssh_keys: told.ssh_keys,
        packages: told.packages,
        ips: told.ips,
        gateway: told.gateway,
        dns: told.dns,
        user_data: told.user_data,
    }
}
