//! What machines wrote to their serial consoles.

use super::machines::domain;
use crate::convert;
use crate::failure::Failure;
use api::{ConsoleLog, Problem};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use engine::{ConsoleOutput, ConsoleViewer, Engine};
use futures_util::stream;
use std::convert::Infallible;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(console_log))
}

/// The kept output of a serial console, and with `follow` what comes after it until the machine
/// ends.
#[utoipa::path(get, path = "/machines/{name}/console-log",
    params(("name" = String, Path), ConsoleLog),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, body = Problem)))]
async fn console_log(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    Query(asked): Query<ConsoleLog>,
) -> Result<Response, Failure> {
    let domain = domain(&engine, &name)?;
    let history = convert::aside({
        let device = asked.device;
        move || domain.console_history(device.as_deref(), asked.lines)
    })
    .await??;
    let viewer = history.viewer.filter(|_| asked.follow);
    let body = Body::from_stream(stream::unfold(
        (Some(history.kept), viewer),
        |(kept, viewer)| next(kept, viewer),
    ));
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

type Parts = (Option<Vec<u8>>, Option<ConsoleViewer>);

async fn next(
    kept: Option<Vec<u8>>,
    mut viewer: Option<ConsoleViewer>,
) -> Option<(Result<Bytes, Infallible>, Parts)> {
    if let Some(kept) = kept {
        return Some((Ok(kept.into()), (None, viewer)));
    }
    loop {
        match viewer.as_mut()?.next().await {
            ConsoleOutput::Bytes(bytes) => {
                return Some((Ok(Bytes::copy_from_slice(&bytes)), (None, viewer)));
            }
            ConsoleOutput::Lost(_) => {}
            ConsoleOutput::TakenOver | ConsoleOutput::End => return None,
        }
    }
}
