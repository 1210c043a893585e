//! Machines made from images and templates.

use crate::convert;
use crate::failure::{Answer, Failure};
use api::{Job, MachineClone, MachineCreate, MachineInstall, Named, Problem, Template};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use engine::images::ImageUse;
use engine::provision::{
    CloneRequest, CreateRequest, DiskSize, InstallDisk, InstallFrom, InstallRequest,
};
use engine::{DomainHandle, Engine, EngineError};
use std::collections::BTreeSet;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(install))
        .routes(routes!(clone))
        .routes(routes!(make_template, unmake_template))
        .routes(routes!(templates))
}

/// The machine with this name or uuid.
pub(super) fn domain(engine: &Engine, name: &str) -> Result<DomainHandle, EngineError> {
    engine.domain_by_name(name).or_else(|error| {
        let uuid = Uuid::parse_str(name).map_err(|_| error)?;
        engine.domain_by_uuid(uuid)
    })
}

/// Makes a machine from an image of the library.
#[utoipa::path(post, path = "/machines", request_body = MachineCreate,
    responses((status = 202, body = Job), (status = 409, body = Problem)))]
async fn create(
    State(engine): State<Engine>,
    Json(asked): Json<MachineCreate>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let request = CreateRequest {
        name: asked.name,
        image: asked.image,
        memory_kib: asked.memory_kib,
        vcpus: asked.vcpus,
        disk: asked.disk_bytes.map_or(DiskSize::AsImage, DiskSize::Bytes),
        uefi: asked.uefi,
        networks: asked.networks.into_iter().map(convert::network).collect(),
        display: convert::display(asked.graphics),
        seed: convert::seed(asked.cloud_init),
        start: asked.start,
    };
    Ok(convert::accepted(&*engine.create_machine(request).await?))
}

/// Installs a machine.
#[utoipa::path(post, path = "/installs", request_body = MachineInstall,
    responses((status = 202, body = Job), (status = 409, body = Problem)))]
async fn install(
    State(engine): State<Engine>,
    Json(asked): Json<MachineInstall>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let from = match asked.from {
        api::InstallFrom::Cdrom(path) => InstallFrom::Cdrom(path.into()),
        api::InstallFrom::Location {
            location,
            kernel,
            initrd,
        } => InstallFrom::Location {
            location,
            named: kernel.zip(initrd),
        },
        api::InstallFrom::Pxe => InstallFrom::Pxe,
        api::InstallFrom::Import => InstallFrom::Import,
    };
    let disks = asked.disks.into_iter().map(|disk| InstallDisk {
        path: disk.path.map(Into::into),
        size_bytes: disk.size_bytes,
        format: disk.format,
    });
    let request = InstallRequest {
        name: asked.name,
        title: asked.title,
        memory_kib: asked.memory_kib,
        vcpus: asked.vcpus,
        disks: disks.collect(),
        networks: asked.networks.into_iter().map(convert::network).collect(),
        display: convert::display(asked.graphics),
        from,
        uefi: asked.uefi,
        os_variant: asked.os_variant,
        extra_args: asked.extra_args,
        injected: asked.injected,
        answers: asked.answers,
        seed: convert::seed(asked.cloud_init),
        autostart: asked.autostart,
        reboot: asked.reboot,
    };
    Ok(convert::accepted(&*engine.install_machine(request).await?))
}

/// Makes clones of a machine.
#[utoipa::path(post, path = "/machines/{name}/clones", params(("name" = String, Path)),
    request_body = MachineClone,
    responses((status = 202, body = Job), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn clone(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    Json(asked): Json<MachineClone>,
) -> Result<(StatusCode, Json<Job>), Failure> {
    let request = CloneRequest {
        source: domain(&engine, &name)?,
        names: asked.names,
        full: asked.full,
        start: asked.start,
    };
    Ok(convert::accepted(&*engine.clone_machine(request).await?))
}

/// Makes a template of a machine: it is not started any more, and others build
/// upon its disks.
#[utoipa::path(put, path = "/templates/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Named), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn make_template(State(engine): State<Engine>, Path(name): Path<String>) -> Answer<Named> {
    engine.make_template(&domain(&engine, &name)?).await?;
    Ok(Json(Named { name }))
}

/// Makes an ordinary machine of a template that nothing builds upon.
#[utoipa::path(delete, path = "/templates/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Named), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn unmake_template(State(engine): State<Engine>, Path(name): Path<String>) -> Answer<Named> {
    engine.unmake_template(&domain(&engine, &name)?).await?;
    Ok(Json(Named { name }))
}

/// Every template, with what builds upon it.
#[utoipa::path(get, path = "/templates", responses((status = 200, body = Vec<Template>)))]
async fn templates(State(engine): State<Engine>) -> Answer<Vec<Template>> {
    let uses = convert::aside({
        let engine = engine.clone();
        move || engine.image_uses()
    })
    .await?;
    let all = engine.all_templates().into_iter().map(|template| {
        let users = template.disks.iter().flat_map(|disk| uses.of(disk));
        let clones: BTreeSet<String> = users
            .filter(|user| user.overlay.is_some())
            .map(|user| ImageUse::words(&user))
            .collect();
        Template {
            name: template.name,
            uuid: template.uuid.to_string(),
            clones: clones.into_iter().collect(),
        }
    });
    Ok(Json(all.collect()))
}
