//! Who answers.

use api::Version;
use axum::Json;
use axum::extract::State;
use engine::{Engine, Mode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(version))
}

/// Who answers, and its version.
#[utoipa::path(get, path = "/version", responses((status = 200, body = Version)))]
async fn version(State(engine): State<Engine>) -> Json<Version> {
    let libvirt_uri = match engine.config().mode {
        Mode::System => "qemu:///system",
        Mode::Session => "qemu:///session",
    };
    Json(Version {
        name: "stead".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        libvirt_uri: libvirt_uri.into(),
    })
}
