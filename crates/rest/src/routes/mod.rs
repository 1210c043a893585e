//! The paths, one file for each group of them.

mod consoles;
mod events;
mod host;
mod image_tasks;
mod images;
mod inside;
mod jobs;
mod machines;
mod networks;
mod packages;
mod volumes;

use crate::failure::Failure;
use crate::limits::REQUEST_BODY_MAX_BYTES;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::routing::get;
use engine::Engine;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

#[derive(OpenApi)]
#[openapi(info(
    title = "Stead",
    description = "What the stead program's own verbs use. Long requests answer 202 and a job."
))]
struct Document;

/// Every path, and the document that describes them.
pub(crate) fn all(engine: Engine) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .nest(api::BASE, groups())
        .split_for_parts();
    let document = axum::Json(document);
    router
        .route(
            &format!("{}/openapi.json", api::BASE),
            get(move || async { document }),
        )
        .fallback(|uri: Uri| async move { Failure::no_path(uri.path()) })
        .layer(DefaultBodyLimit::max(REQUEST_BODY_MAX_BYTES))
        .with_state(engine)
}

fn groups() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .merge(host::routes())
        .merge(images::routes())
        .merge(image_tasks::routes())
        .merge(inside::routes())
        .merge(jobs::routes())
        .merge(machines::routes())
        .merge(consoles::routes())
        .merge(networks::routes())
        .merge(packages::routes())
        .merge(events::routes())
        .merge(volumes::routes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_has_every_path() {
        let (_, document) = super::groups().split_for_parts();
        let paths: Vec<_> = document.paths.paths.keys().collect();
        assert!(paths.iter().any(|path| *path == "/jobs/{id}"), "{paths:?}");
        let schemas = document.components.expect("types").schemas;
        assert!(schemas.contains_key("Job") && schemas.contains_key("Event"));
    }
}
