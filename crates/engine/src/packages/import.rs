//! A package becomes a machine: its manifest is compared, its disks become
//! qcow2 images, and what it says of the machine becomes a definition.

use super::content::{Content, Place};
use crate::confined::Tool;
use crate::crash::{Step, crash_point};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::files::file_name;
use crate::images::verify::{Verification, digest};
use crate::images::{Evidence, decompress, fetch, judge, percent};
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView};
use crate::options::StartOptions;
use crate::provision::{
    CardModel, DiskBus, Machine, MachinePlan, Making, NetworkChoice, empty_image, need_free_files,
    new_file,
};
use model::xml::XML_SIZE_MAX_BYTES;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::limits::MANIFEST_MAX_BYTES;
use storage::ovf::{
    Digest, OvfBus, OvfCard, OvfCardModel, OvfFile, OvfMachine, System, read, read_manifest,
};
use sys::landlock::Access;
use uuid::Uuid;

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct PackageImport {
    /// A URL, or the absolute path of an OVA or of an OVF descriptor.
    pub source: String,
    /// The name the machine gets.
    pub name: String,
    /// What its cards are plugged into, in order; the last one serves for the
    /// others too. Without any: networks of the names the package has, else `default`.
    pub networks: Vec<NetworkChoice>,
    /// Whether its disks and cards become virtio's, whatever they were.
    pub virtio: bool,
    /// What the archive is compared with.
    pub evidence: Evidence,
    /// Whether it is started.
    pub start: bool,
}

struct Importing {
    engine: Engine,
    request: PackageImport,
    uuid: Uuid,
    job: JobContext,
}

impl Engine {
    /// Starts making a machine of a package. The job's result is its name and notes for people.
    pub async fn import_package(&self, request: PackageImport) -> Result<Arc<JobView>> {
        self.need_free_name(&request.name)?;
        request.evidence.check()?;
        if !fetch::is_url(&request.source) && !Path::new(&request.source).is_absolute() {
            return Err(EngineError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "'{}' is neither an http or https URL nor an absolute path",
                    request.source
                ),
            ));
        }
        let spec = JobSpec {
            kind: "package-import",
            target: request.name.clone(),
            plan: Some(Making::default().encode()),
        };
        let engine = self.clone();
        self.start_job(spec, |job| async move {
            let name = request.name.clone();
            let importing = Importing {
                engine,
                request,
                uuid: Uuid::new_v4(),
                job,
            };
            let notes = importing.carry_out().await?;
            Ok(json!({"name": name, "notes": notes}))
        })
        .await
    }
}

impl Importing {
    async fn carry_out(&self) -> Result<Vec<String>> {
        let path = self.fetch().await?;
        let opened = crate::aside::aside(move || open(&path));
        let (content, descriptor, machine) =
            self.job.unless_cancelled(async { opened.await? }).await?;
        let mut notes = machine.notes.clone();
        self.compare(&content, &descriptor, &machine, &mut notes)
            .await?;
        let plan = self.plan(&machine);
        need_free_files(&plan)?;
        need_free_files(&scratch(&plan))?;
        let machines = vec![plan.clone(), scratch(&plan)];
        self.job.keep_plan(Making { machines }.encode()).await?;
        crash_point(Step::PackagePlanned);
        let work = self.make(&content, &machine, &plan, &mut notes);
        self.engine.making(&plan, work).await?;
        if fetch::is_url(&self.request.source) {
            let _ = std::fs::remove_file(self.part());
        }
        Ok(notes)
    }

    fn part(&self) -> PathBuf {
        let name = file_name(&self.request.name);
        self.engine
            .places()
            .images
            .join(format!(".{name}.package.part"))
    }

    /// Brings the package here, where it is not, and compares it with what its publisher says.
    async fn fetch(&self) -> Result<PathBuf> {
        let source = self.request.source.clone();
        let path = match fetch::is_url(&source) {
            false => PathBuf::from(&source),
            true => {
                let (part, job) = (self.part(), self.job.clone());
                let fetched = crate::aside::aside(move || fetch::fetch(&source, &part, &job));
                self.job.unless_cancelled(async { fetched.await? }).await?;
                self.part()
            }
        };
        if self.request.evidence != Evidence::default() {
            let verification = Verification {
                job: &self.job,
                evidence: &self.request.evidence,
                file: &path,
                source: &self.request.source,
                is_ours: fetch::is_url(&self.request.source),
            };
            verification.carry_out().await?;
        }
        Ok(path)
    }

    /// Compares every file that is used with the manifest, where there is one.
    async fn compare(
        &self,
        content: &Content,
        descriptor: &Place,
        machine: &OvfMachine,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let stem = descriptor
            .name
            .strip_suffix(".ovf")
            .unwrap_or(&descriptor.name);
        let Some(manifest) = content.find(&format!("{stem}.mf"))? else {
            notes.push("there is no manifest in the package: nothing says that it is whole".into());
            return Ok(());
        };
        let text = manifest.text(MANIFEST_MAX_BYTES)?;
        let digests = read_manifest(&text)
            .map_err(|e| EngineError::failed(format!("the manifest '{}': {e}", manifest.name)))?;
        for (place, wanted) in listed(content, machine, descriptor, &digests, &manifest.name)? {
            self.compare_one(&place, &wanted).await?;
        }
        Ok(())
    }

    async fn compare_one(&self, place: &Place, wanted: &Digest) -> Result<()> {
        self.job
            .step(format!("comparing {}", place.name), 0, JobUnit::Bytes);
        let (reader, job, algorithm) = (place.reader()?, self.job.clone(), wanted.algorithm);
        let found = crate::aside::aside(move || digest(reader, algorithm, &job));
        let found = self.job.unless_cancelled(async { found.await? }).await?;
        match found == wanted.hex {
            true => Ok(()),
            false => Err(EngineError::failed(format!(
                "the {} of '{}' is {found}, not {} as the manifest says: the package is damaged",
                algorithm.word(),
                place.name,
                wanted.hex
            ))),
        }
    }

    fn disk_path(&self, number: usize) -> PathBuf {
        let file = file_name(&self.request.name);
        let directory = &self.engine.places().images;
        directory.join(match number {
            0 => format!("{file}.qcow2"),
            _ => format!("{file}-{number}.qcow2"),
        })
    }

    fn plan(&self, machine: &OvfMachine) -> MachinePlan {
        MachinePlan {
            name: self.request.name.clone(),
            uuid: self.uuid,
            files: (0..machine.disks.len())
                .map(|number| self.disk_path(number))
                .collect(),
        }
    }

    async fn make(
        &self,
        content: &Content,
        machine: &OvfMachine,
        plan: &MachinePlan,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        for (disk, path) in machine.disks.iter().zip(&plan.files) {
            match &disk.file {
                None => empty_image(path, disk.capacity)?,
                Some(file) => self.disk(content, file, path).await?,
            }
            crash_point(Step::PackageDiskMade);
        }
        let definition = self.definition(machine, plan, notes);
        self.job.check()?;
        let domain = self.engine.define(&definition.xml()).await?;
        crash_point(Step::PackageDefined);
        if self.request.start {
            self.job.step("starting", 0, JobUnit::Items);
            domain.start(StartOptions::default()).await?;
        }
        Ok(())
    }

    /// One disk, as a qcow2 image that builds upon nothing.
    async fn disk(&self, content: &Content, file: &OvfFile, path: &Path) -> Result<()> {
        let packed = present(content, &file.name)?;
        if !file.gzip {
            return self.convert(&packed, path).await;
        }
        let (copy, plain) = unpacking(path);
        let unpacked = self.unpack(&packed, &copy, &plain).await;
        let done = match unpacked {
            Ok(place) => {
                crash_point(Step::PackageUnpacked);
                self.convert(&place, path).await
            }
            Err(error) => Err(error),
        };
        let _ = std::fs::remove_file(&plain);
        done
    }

    async fn unpack(&self, packed: &Place, copy: &Path, plain: &Path) -> Result<Place> {
        let (mut reader, to) = (packed.reader()?, new_file(copy)?);
        let copied = crate::aside::aside(move || {
            std::io::copy(&mut reader, &mut &to)
                .map_err(|e| EngineError::system("cannot copy a disk", e))
        });
        let copied = self.job.unless_cancelled(async { copied.await? }).await;
        let unpacked = match copied {
            Ok(_) => decompress(&self.engine, &self.job, copy, plain).await,
            Err(error) => Err(error),
        };
        let _ = std::fs::remove_file(copy);
        let path = unpacked?;
        let beside = Content::Directory {
            descriptor: path.clone(),
        };
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        present(&beside, name)
    }

    async fn convert(&self, place: &Place, path: &Path) -> Result<()> {
        let format = judge(&place.inspect()?, None, &place.name)?;
        if matches!(format, "raw" | "iso") {
            return Err(EngineError::new(
                ErrorKind::ConfigUnsupported,
                format!("'{}' is no image of a known format", place.name),
            ));
        }
        self.job
            .step(format!("converting {}", place.name), 100, JobUnit::Percent);
        new_file(path)?;
        let tool = Tool::new("qemu-img", "qemu-utils")
            .args(["convert", "-p", "-O", "qcow2"])
            .args(place.image_words(format))
            .args([path])
            .reaches(&place.path, Access::Read)
            .reaches(path, Access::Write);
        let job = &self.job;
        let done = tool.run(job, |words| {
            if let Some(percent) = percent(words) {
                job.done(percent);
            }
        });
        done.await.map(drop)
    }

    fn definition(
        &self,
        package: &OvfMachine,
        plan: &MachinePlan,
        notes: &mut Vec<String>,
    ) -> Machine {
        let mut machine = Machine::new(&plan.name, plan.uuid);
        machine.title =
            (package.name != plan.name && !package.name.is_empty()).then(|| package.name.clone());
        machine.description.clone_from(&package.annotation);
        machine.memory_kib = package.memory_bytes.div_ceil(1024);
        machine.vcpus = package.vcpus;
        machine.uefi = package.uefi;
        machine.local_time = package.system == System::Windows;
        machine.display = crate::provision::Display::Served {
            kind: "vnc",
            listen: None,
            port: None,
            password: None,
        };
        for (disk, path) in package.disks.iter().zip(&plan.files) {
            let bus = match disk.bus {
                _ if self.request.virtio => DiskBus::Virtio,
                OvfBus::Virtio => DiskBus::Virtio,
                OvfBus::Sata => DiskBus::Sata,
                OvfBus::Pvscsi => DiskBus::Pvscsi,
                OvfBus::LsiSas => DiskBus::LsiSas,
            };
            machine.disk_on(path, "qcow2", bus);
        }
        for _ in 0..package.cd_drives {
            machine.cdrom(None);
        }
        for (number, card) in package.cards.iter().enumerate() {
            let network = self.network(number, card, notes);
            let model = match card.model {
                _ if self.request.virtio => CardModel::Virtio,
                OvfCardModel::Virtio => CardModel::Virtio,
                OvfCardModel::E1000 => CardModel::E1000,
                OvfCardModel::E1000e => CardModel::E1000e,
                OvfCardModel::Vmxnet3 => CardModel::Vmxnet3,
                OvfCardModel::Pcnet => CardModel::Pcnet,
            };
            machine.card_of(network, crate::define_context::random_mac(), model);
        }
        machine
    }

    fn network(&self, number: usize, card: &OvfCard, notes: &mut Vec<String>) -> NetworkChoice {
        let given = &self.request.networks;
        if let Some(choice) = given.get(number).or(given.last()) {
            return choice.clone();
        }
        let there = |name: &str| self.engine.network_by_name(name).is_ok();
        let choice = match card.network.as_str() {
            own if there(own) => return NetworkChoice::Network(own.to_owned()),
            _ if there("default") => NetworkChoice::Network("default".to_owned()),
            _ => NetworkChoice::User,
        };
        let instead = match &choice {
            NetworkChoice::Network(name) => format!("the network '{name}'"),
            _ => "QEMU's own network".to_owned(),
        };
        notes.push(format!(
            "network card {} was plugged into '{}', which is not here: it is plugged into {instead}",
            number + 1,
            card.network
        ));
        choice
    }
}

/// Where a packed disk is unpacked on its way to becoming an image: as it is, and unpacked.
fn unpacking(image: &Path) -> (PathBuf, PathBuf) {
    (
        image.with_extension("packed"),
        image.with_extension("unpacked"),
    )
}

/// Those of all disks.
fn scratch(plan: &MachinePlan) -> MachinePlan {
    let files = plan.files.iter().map(|image| unpacking(image));
    let files = files.flat_map(|(copy, plain)| [copy, plain]).collect();
    MachinePlan::scratch(&plan.name, files)
}

/// A file that has to be there.
fn present(content: &Content, name: &str) -> Result<Place> {
    let found = content.find(name)?;
    found.ok_or_else(|| EngineError::failed(format!("the file '{name}' is not in the package")))
}

/// Every file that is used, with each digest the manifest has for it.
fn listed(
    content: &Content,
    machine: &OvfMachine,
    descriptor: &Place,
    digests: &[Digest],
    manifest: &str,
) -> Result<Vec<(Place, Digest)>> {
    let disks = machine.disks.iter().filter_map(|disk| disk.file.as_ref());
    let mut used: Vec<&str> = disks.map(|file| file.name.as_str()).collect();
    used.push(&descriptor.name);
    let mut all = Vec::new();
    for name in used {
        let place = present(content, name)?;
        let before = all.len();
        let of_file = digests.iter().filter(|digest| digest.file == name);
        all.extend(of_file.map(|digest| (place.clone(), digest.clone())));
        if all.len() == before {
            return Err(EngineError::failed(format!(
                "the manifest '{manifest}' does not name the file '{name}'"
            )));
        }
    }
    Ok(all)
}

fn open(path: &Path) -> Result<(Content, Place, OvfMachine)> {
    let content = Content::open(path)?;
    let descriptor = content.descriptor()?;
    let text = descriptor.text(XML_SIZE_MAX_BYTES)?;
    let machine = read(&text).map_err(|e| {
        EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!("'{}': {e}", descriptor.name),
        )
    })?;
    Ok((content, descriptor, machine))
}
