//! Volumes.

use crate::convert;
use crate::failure::Failure;
use api::{Job, Problem, VolumeCopy, VolumeWipe};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::Engine;
use engine::volumes::{WipeAlgorithm, Wishes};
use engine::{EngineError, ErrorKind};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(copy))
        .routes(routes!(wipe))
}

/// Makes a volume with the content of another. The job's result is a `VolumeMade`.
#[utoipa::path(post, path = "/volumes/copies", request_body = VolumeCopy,
    responses((status = 202, body = Job), (status = 404, body = Problem)))]
async fn copy(
    State(engine): State<Engine>,
    Json(request): Json<VolumeCopy>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let job = engine.start_volume_copy(engine::volumes::VolumeCopy {
        pool: request.pool,
        xml: request.xml,
        source_pool: request.source_pool,
        source: request.source,
        wishes: Wishes {
            metadata: request.prealloc_metadata,
            reflink: request.reflink,
        },
    });
    let job = job.await?;
    Ok(convert::accepted(&job))
}

/// Overwrites what a volume holds.
#[utoipa::path(post, path = "/volumes/wipes", request_body = VolumeWipe,
    responses((status = 202, body = Job), (status = 404, body = Problem)))]
async fn wipe(
    State(engine): State<Engine>,
    Json(request): Json<VolumeWipe>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let algorithm = WipeAlgorithm::ALL.get(request.algorithm as usize);
    let unknown = || {
        let what = format!("no algorithm has the number {}", request.algorithm);
        EngineError::new(ErrorKind::InvalidArgument, what)
    };
    let algorithm = *algorithm.ok_or_else(unknown)?;
    let job = engine.start_volume_wipe(&request.pool, &request.name, algorithm);
    Ok(convert::accepted(&*job.await?))
}
