//! What is inside the disks of machines that do not run.

use super::machines::domain;
use crate::convert;
use crate::failure::{Answer, Failure};
use api::{At, Job, LookInside, Problem, Said, WorkInside};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use engine::Engine;
use engine::inside::{InsideRequest, customization};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(look))
        .routes(routes!(work))
        .routes(routes!(unmount))
        .routes(routes!(operations))
}

/// Lists or prints what is inside. Takes some seconds.
#[utoipa::path(post, path = "/machines/{name}/look-inside", params(("name" = String, Path)),
    request_body = LookInside, responses((status = 200, body = Said), (status = 409, body = Problem)))]
async fn look(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    Json(asked): Json<LookInside>,
) -> Answer<Said> {
    let what = match asked {
        LookInside::List { path, long } => InsideRequest::List { path, long },
        LookInside::Cat { path } => InsideRequest::Cat { path },
    };
    let said = engine.look_inside(&domain(&engine, &name)?, what).await?;
    Ok(Json(Said { said }))
}

/// Changes what is inside, copies, or mounts.
#[utoipa::path(post, path = "/machines/{name}/work-inside", params(("name" = String, Path)),
    request_body = WorkInside, responses((status = 202, body = Job), (status = 409, body = Problem)))]
async fn work(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    Json(asked): Json<WorkInside>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let domain = domain(&engine, &name)?;
    let what = match asked {
        WorkInside::Mount { at, writable } => {
            let job = engine.mount_inside(&domain, at.as_ref(), writable).await?;
            return Ok(convert::accepted(&job));
        }
        WorkInside::CopyIn { from, to } => InsideRequest::CopyIn { from, to },
        WorkInside::CopyOut { from, to } => InsideRequest::CopyOut { from, to },
        WorkInside::Sysprep {
            operations,
            changes,
        } => InsideRequest::Sysprep {
            operations,
            changes,
        },
        WorkInside::Grow { size } => {
            return Ok(convert::accepted(
                &*engine.grow_inside(&domain, size).await?,
            ));
        }
        WorkInside::Customize { profile, changes } => {
            let changes = customization(profile, changes);
            InsideRequest::Customize { changes }
        }
    };
    Ok(convert::accepted(
        &*engine.work_inside(&domain, what).await?,
    ))
}

/// Ends a mount.
#[utoipa::path(post, path = "/unmount", request_body = At,
    responses((status = 200, body = At), (status = 409, body = Problem)))]
async fn unmount(State(engine): State<Engine>, Json(asked): Json<At>) -> Answer<At> {
    engine.unmount_inside(asked.at.as_ref()).await?;
    Ok(Json(asked))
}

/// The operations that sysprep knows.
#[utoipa::path(get, path = "/sysprep-operations", responses((status = 200, body = Said)))]
async fn operations(State(engine): State<Engine>) -> Answer<Said> {
    let said = engine.sysprep_operations().await?;
    Ok(Json(Said { said }))
}
