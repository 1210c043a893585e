//! Images, and what is left over in pools.

use crate::convert;
use crate::failure::{Answer, Failure};
use api::{ImageRequest, Job, Problem, Stray};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::Engine;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(task))
        .routes(routes!(strays))
}

/// Does something to an image. The job's result is an `ImageOutput`.
#[utoipa::path(post, path = "/images/tasks", request_body = ImageRequest,
    responses((status = 202, body = Job), (status = 400, body = Problem)))]
async fn task(
    State(engine): State<Engine>,
    Json(request): Json<ImageRequest>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let job = engine.start_image_job(convert::image_job(request)).await?;
    Ok(convert::accepted(&job))
}

/// Files in the active pools' directories that somebody began to make volumes of.
#[utoipa::path(get, path = "/storage/strays", responses((status = 200, body = Vec<Stray>)))]
async fn strays(State(engine): State<Engine>) -> Answer<Vec<Stray>> {
    let mut all = Vec::new();
    for pool in engine.pools() {
        if !pool.view().active {
            continue;
        }
        let name = pool.view().name.to_string();
        let found = engine.strays(&pool).await?;
        all.extend(found.into_iter().map(|stray| Stray {
            pool: name.clone(),
            path: stray.path,
            length: stray.length,
            explanation: stray.explanation,
        }));
    }
    Ok(Json(all))
}
