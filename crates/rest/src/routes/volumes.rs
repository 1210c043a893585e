//! Volumes.

use crate::convert;
use crate::failure::Failure;
use api::{Job, Problem, VolumeCopy};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::Engine;
use engine::volumes::Wishes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(copy))
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
