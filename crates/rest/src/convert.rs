//! The engine's views as the API's types.

use api::{ImageRequest, ImageTask as Asked};
use axum::Json;
use axum::http::StatusCode;
use engine::EngineError;
use engine::images::Evidence;
use engine::jobs::{JobState, JobUnit, JobView};
use engine::provision::{Display, NetworkChoice, SeedRequest};
use engine::volumes::{ImageJob, ImageTask, SnapshotChange};

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

/// What an image is compared with.
pub(crate) fn evidence(asked: api::Evidence) -> Evidence {
    Evidence {
        checksum: asked.checksum,
        checksum_file: asked.checksum_file,
        signature: asked.signature,
        keyring: asked.keyring,
    }
}

/// A task on an image.
pub(crate) fn image_job(request: ImageRequest) -> ImageJob {
    let pair = |name: api::ImageName| (name.path, name.format);
    let task = match request.task {
        Asked::Create {
            size,
            backing,
            options,
        } => ImageTask::Create {
            size,
            backing: backing.map(pair),
            options,
        },
        Asked::Info { chain } => ImageTask::Info { chain },
        Asked::Check { repair } => ImageTask::Check { repair },
        Asked::Convert {
            target,
            compress,
            options,
        } => ImageTask::Convert {
            target: target.path,
            target_format: target.format,
            compress,
            options,
        },
        Asked::Resize {
            size,
            shrink,
            preallocation,
        } => ImageTask::Resize {
            size,
            shrink,
            preallocation,
        },
        Asked::Rebase { backing, name_only } => ImageTask::Rebase {
            backing: backing.map(pair),
            name_only,
        },
        Asked::Commit => ImageTask::Commit,
        Asked::Map => ImageTask::Map,
        Asked::Measure { target_format } => ImageTask::Measure { target_format },
        Asked::Compare { other } => ImageTask::Compare {
            other: other.path,
            other_format: other.format,
        },
        Asked::ListSnapshots => ImageTask::Snapshot(SnapshotChange::List),
        Asked::CreateSnapshot { name } => ImageTask::Snapshot(SnapshotChange::Create(name)),
        Asked::ApplySnapshot { name } => ImageTask::Snapshot(SnapshotChange::Apply(name)),
        Asked::DeleteSnapshot { name } => ImageTask::Snapshot(SnapshotChange::Delete(name)),
    };
    ImageJob {
        image: request.image,
        format: request.format,
        task,
        as_data: request.as_data,
    }
}
