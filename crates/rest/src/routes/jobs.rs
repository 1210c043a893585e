//! Long operations: list, look at, cancel, follow.

use super::events::{Followed, stream};
use crate::convert;
use crate::failure::{Answer, Failure};
use api::{Job, Problem};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use engine::Engine;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(follow))
}

/// Every job that is remembered, the oldest first.
#[utoipa::path(get, path = "/jobs", responses((status = 200, body = Vec<Job>)))]
async fn list(State(engine): State<Engine>) -> Json<Vec<Job>> {
    Json(
        engine
            .jobs()
            .iter()
            .map(|view| convert::job(view))
            .collect(),
    )
}

/// One job.
#[utoipa::path(get, path = "/jobs/{id}", params(("id" = u64, Path)),
    responses((status = 200, body = Job), (status = 404, body = Problem)))]
async fn show(State(engine): State<Engine>, Path(id): Path<u64>) -> Answer<Job> {
    Ok(Json(convert::job(&*engine.job(id)?)))
}

/// Asks a job to stop. It is over once its state says so.
#[utoipa::path(post, path = "/jobs/{id}/cancel", params(("id" = u64, Path)),
    responses((status = 200, body = Job), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn cancel(State(engine): State<Engine>, Path(id): Path<u64>) -> Answer<Job> {
    engine.cancel_job(id)?;
    Ok(Json(convert::job(&*engine.job(id)?)))
}

/// What happens to one job, beginning with how it is now; ends when it is over.
#[utoipa::path(get, path = "/jobs/{id}/events", params(("id" = u64, Path)),
    responses((status = 200, content_type = "text/event-stream", body = api::Event), (status = 404, body = Problem)))]
async fn follow(
    State(engine): State<Engine>,
    Path(id): Path<u64>,
) -> Result<impl IntoResponse, Failure> {
    Ok(stream(Followed::job(&engine, id)?))
}
