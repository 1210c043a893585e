//! The library of images.

use crate::convert;
use crate::failure::{Answer, Failure};
use api::{Image, ImageImport, Job, Named, Problem};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use engine::Engine;
use engine::images::{ImageUse, ImageUses, ImportRequest, LibraryImage};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(list, import))
        .routes(routes!(show, delete))
}

fn image(image: LibraryImage, uses: &ImageUses) -> Image {
    Image {
        used_by: uses.of(&image.path).iter().map(ImageUse::words).collect(),
        path: image.path.to_string_lossy().into_owned(),
        name: image.name,
        format: image.format,
        capacity: image.capacity,
        sha256: image.sha256,
        signed_by: image.signed_by,
        source: image.source,
        imported_ms: image.imported_ms,
    }
}

/// Every image, with who uses it.
#[utoipa::path(get, path = "/images", responses((status = 200, body = Vec<Image>)))]
async fn list(State(engine): State<Engine>) -> Answer<Vec<Image>> {
    let uses = convert::aside({
        let engine = engine.clone();
        move || engine.image_uses()
    })
    .await?;
    let images = engine.images().into_iter();
    Ok(Json(images.map(|one| image(one, &uses)).collect()))
}

/// One image, with who uses it.
#[utoipa::path(get, path = "/images/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Image), (status = 404, body = Problem)))]
async fn show(State(engine): State<Engine>, Path(name): Path<String>) -> Answer<Image> {
    let found = engine.image(&name)?;
    let uses = convert::aside(move || engine.image_uses()).await?;
    Ok(Json(image(found, &uses)))
}

/// Imports an image. What a server sent before a break is kept: the same
/// request goes on from there.
#[utoipa::path(post, path = "/images", request_body = ImageImport,
    responses((status = 202, body = Job), (status = 409, body = Problem)))]
async fn import(
    State(engine): State<Engine>,
    Json(asked): Json<ImageImport>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let request = ImportRequest {
        source: asked.source,
        name: asked.name,
        evidence: convert::evidence(asked.evidence),
        format: asked.format,
    };
    Ok(convert::accepted(&*engine.import_image(request).await?))
}

/// Removes an image that nothing uses.
#[utoipa::path(delete, path = "/images/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Named), (status = 409, body = Problem)))]
async fn delete(State(engine): State<Engine>, Path(name): Path<String>) -> Answer<Named> {
    engine.delete_image(&name).await?;
    Ok(Json(Named { name }))
}
