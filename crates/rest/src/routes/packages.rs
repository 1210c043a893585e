//! Packages of machines, and exports.

use crate::convert;
use crate::failure::Failure;
use api::{Job, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::Engine;
use engine::packages::{Export, ExportFormat, PackageImport};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(import))
        .routes(routes!(export))
}

/// Makes a machine of a package: an OVA, or an OVF descriptor with its files beside it.
#[utoipa::path(post, path = "/packages", request_body = api::PackageImport,
    responses((status = 202, body = Job), (status = 409, body = Problem)))]
async fn import(
    State(engine): State<Engine>,
    Json(asked): Json<api::PackageImport>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let request = PackageImport {
        source: asked.source,
        name: asked.name,
        networks: asked.networks.into_iter().map(convert::network).collect(),
        virtio: asked.virtio,
        evidence: convert::evidence(asked.evidence),
        start: asked.start,
    };
    Ok(convert::accepted(&*engine.import_package(request).await?))
}

/// Makes a package of a machine, or one image of a disk or of an image of the library.
#[utoipa::path(post, path = "/exports", request_body = api::Export,
    responses((status = 202, body = Job), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn export(
    State(engine): State<Engine>,
    Json(asked): Json<api::Export>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let request = Export {
        name: asked.name,
        format: match asked.format {
            api::ExportFormat::Ova => ExportFormat::Ova,
            api::ExportFormat::Qcow2 => ExportFormat::Qcow2(asked.disk),
        },
        target: asked.target.into(),
    };
    Ok(convert::accepted(&*engine.export(request).await?))
}
