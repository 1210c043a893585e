//! Machines made from an image of the library: a disk that builds upon it, a
//! CD that says who it is, a definition with the usual devices.

use super::definition::{Display, Machine, NetworkChoice};
use super::files::{self, Base};
use super::{MachinePlan, Making, SeedRequest, need_free_files};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::files::file_name;
use crate::images::LibraryImage;
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView};
use crate::options::StartOptions;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// How large a disk is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskSize {
    /// As large as what it is made from.
    AsImage,
    /// So many bytes.
    Bytes(u64),
}

/// What is to be made.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// Its name, and its host name.
    pub name: String,
    /// The image of the library.
    pub image: String,
    /// Memory.
    pub memory_kib: u64,
    /// Processors.
    pub vcpus: u32,
    /// Its disk.
    pub disk: DiskSize,
    /// Whether UEFI starts it.
    pub uefi: bool,
    /// Its network cards.
    pub networks: Vec<NetworkChoice>,
    /// Its screen.
    pub display: Display,
    /// What it is told at its first boot.
    pub seed: SeedRequest,
    /// Whether it is started.
    pub start: bool,
}

impl Engine {
    /// Starts making a machine from an image. The job's result is its name.
    pub async fn create_machine(&self, request: CreateRequest) -> Result<Arc<JobView>> {
        self.need_free_name(&request.name)?;
        let image = self.image(&request.image)?;
        check_size(&request, &image)?;
        let uuid = Uuid::new_v4();
        let disk = self.disk_path(&request.name);
        let seed = self.seed_path(&request.name);
        let plan = MachinePlan {
            name: request.name.clone(),
            uuid,
            files: vec![disk, seed],
        };
        need_free_files(&plan)?;
        let spec = JobSpec {
            kind: "create",
            target: request.name.clone(),
            plan: Some(
                Making {
                    machines: vec![plan.clone()],
                }
                .encode(),
            ),
        };
        let engine = self.clone();
        self.start_job(spec, |job| async move {
            let work = engine.make_from_image(&request, &image, &plan, &job);
            engine.making(&plan, work).await?;
            Ok(json!({"name": request.name}))
        })
        .await
    }

    /// Where the first disk of a new machine lies.
    pub(crate) fn disk_path(&self, name: &str) -> PathBuf {
        let file = file_name(name);
        self.places().images.join(format!("{file}.qcow2"))
    }

    async fn make_from_image(
        &self,
        request: &CreateRequest,
        image: &LibraryImage,
        plan: &MachinePlan,
        job: &JobContext,
    ) -> Result<()> {
        job.step("making the disk", 0, JobUnit::Items);
        let base = Base {
            path: image.path.clone(),
            format: image.format.clone(),
            capacity: image.capacity,
        };
        let capacity = match request.disk {
            DiskSize::AsImage => 0,
            DiskSize::Bytes(bytes) => bytes,
        };
        let [disk, seed] = plan.files.as_slice() else {
            return Err(EngineError::new(ErrorKind::Internal, "a plan of two files"));
        };
        files::link(&base, disk, capacity)?;
        let mut machine = Machine::new(&request.name, plan.uuid);
        machine.memory_kib = request.memory_kib;
        machine.vcpus = request.vcpus;
        machine.uefi = request.uefi;
        machine.display = request.display.clone();
        machine.disk(disk, "qcow2");
        machine.seed(seed);
        for network in &request.networks {
            machine.card(network.clone(), crate::define_context::random_mac());
        }
        let told = request.seed.seed(&machine.macs())?;
        self.make_seed(&told, plan.uuid, &plan.name, seed).await?;
        job.check()?;
        let domain = self.define(&machine.xml()).await?;
        if request.start {
            job.step("starting", 0, JobUnit::Items);
            domain
                .start(StartOptions::default())
                .await
                .map_err(|error| {
                    EngineError::new(
                        error.kind,
                        format!(
                            "'{}' is made and defined, but does not start: {error}",
                            plan.name
                        ),
                    )
                })?;
        }
        Ok(())
    }
}

fn check_size(request: &CreateRequest, image: &LibraryImage) -> Result<()> {
    let bad = |what: String| Err(EngineError::new(ErrorKind::InvalidArgument, what));
    match request.disk {
        DiskSize::Bytes(bytes) if bytes < image.capacity => bad(format!(
            "a disk of {bytes} bytes is smaller than the image '{}' of {}",
            image.name, image.capacity
        )),
        _ if image.format == "iso" => bad(format!(
            "'{}' is a CD to install from: use stead install --cdrom {}",
            image.name,
            image.path.display()
        )),
        _ => Ok(()),
    }
}
