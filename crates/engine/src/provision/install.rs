//! Installations: a machine with empty disks that starts from a medium, and
//! from its own disk once the installer is done.

use super::definition::{BootFrom, DirectKernel, Display, Machine, NetworkChoice};
use super::installer::InstallerRun;
use super::osinfo::{self, OsFacts};
use super::{MachinePlan, Making, SeedRequest, files, media, need_free_files};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::files::file_name;
use crate::handle::DomainHandle;
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView};
use crate::limits::INJECTED_FILES_MAX;
use crate::options::StartOptions;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::answers::Answers;
use uuid::Uuid;

const GIB: u64 = 1 << 30;

/// A disk of the new machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallDisk {
    /// Its file; a new one beside the others if not given.
    pub path: Option<PathBuf>,
    /// Its size, for a new one.
    pub size_bytes: Option<u64>,
    /// Its format: `qcow2` or `raw`.
    pub format: Option<String>,
}

/// What the machine starts from at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallFrom {
    /// A CD.
    Cdrom(PathBuf),
    /// The kernel of a CD, a directory or a server; `named` says where it lies there.
    Location {
        /// The path or URL.
        location: String,
        /// Kernel and initrd in it.
        named: Option<(String, String)>,
    },
    /// The network.
    Pxe,
    /// Its first disk: there is nothing to install.
    Import,
}

/// What is to be installed.
#[derive(Debug, Clone)]
pub struct InstallRequest {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Memory; what the system needs if not given.
    pub memory_kib: Option<u64>,
    /// Processors; the same.
    pub vcpus: Option<u32>,
    /// Its disks.
    pub disks: Vec<InstallDisk>,
    /// Its network cards.
    pub networks: Vec<NetworkChoice>,
    /// Its screen.
    pub display: Display,
    /// What it starts from.
    pub from: InstallFrom,
    /// Whether UEFI starts it.
    pub uefi: bool,
    /// The system, as libosinfo's database names it.
    pub os_variant: Option<String>,
    /// What the kernel is told.
    pub extra_args: String,
    /// Files put into the initial RAM disk.
    pub injected: Vec<(String, String)>,
    /// Answers to the installer's questions.
    pub answers: Option<String>,
    /// What it is told by cloud-init.
    pub seed: SeedRequest,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Whether it starts again when the installer is done.
    pub reboot: bool,
}

/// A request whose choices are all made.
struct Installation {
    engine: Engine,
    request: InstallRequest,
    os: OsFacts,
    plan: MachinePlan,
    disks: Vec<(PathBuf, &'static str, Option<u64>)>,
    seed: Option<PathBuf>,
    loader: Option<(PathBuf, PathBuf)>,
    arguments: String,
}

impl Engine {
    /// Starts an installation. The job lasts until the installer is done; from
    /// the step [`INSTALLING`] on it needs nobody.
    pub async fn install_machine(&self, request: InstallRequest) -> Result<Arc<JobView>> {
        self.need_free_name(&request.name)?;
        check(&request)?;
        let os = match request.os_variant.clone() {
            None => OsFacts::generic(),
            Some(name) => crate::aside::aside(move || osinfo::find(&name)).await??,
        };
        let installation = Installation::of(self, request, os)?;
        need_free_files(&installation.plan)?;
        let making = Making {
            machines: vec![installation.plan.clone()],
        };
        let spec = JobSpec {
            kind: "install",
            target: installation.plan.name.clone(),
            plan: Some(making.encode()),
        };
        self.start_job(spec, |job| async move {
            let name = installation.plan.name.clone();
            let note = installation.os.note.clone();
            let engine = &installation.engine;
            let work = installation.make(&job);
            let (domain, machine) = engine.making(&installation.plan, work).await?;
            installation.run_first(&domain, &machine, &job).await?;
            Ok(json!({"name": name, "note": note}))
        })
        .await
    }
}

fn bad<T>(what: impl Into<String>) -> Result<T> {
    Err(EngineError::new(ErrorKind::InvalidArgument, what))
}

fn check(request: &InstallRequest) -> Result<()> {
    let is_located = matches!(request.from, InstallFrom::Location { .. });
    let has_extras = !request.extra_args.is_empty() || !request.injected.is_empty();
    if !is_located && has_extras {
        return bad("arguments for the kernel and files for its initrd need --location");
    }
    if !is_located && request.answers.is_some() {
        return bad("answers for the installer need --location");
    }
    if request.from == InstallFrom::Import && request.disks.iter().all(|d| d.path.is_none()) {
        return bad("--import needs a disk that is there: --disk PATH");
    }
    if request.injected.len() > INJECTED_FILES_MAX {
        return bad(format!(
            "more than {INJECTED_FILES_MAX} files for the initrd"
        ));
    }
    if let InstallFrom::Cdrom(path) = &request.from
        && !path.is_file()
    {
        return bad(format!("there is no CD image '{}'", path.display()));
    }
    Ok(())
}

impl Installation {
    fn of(engine: &Engine, mut request: InstallRequest, os: OsFacts) -> Result<Self> {
        let directory = engine.places().images.clone();
        let file = file_name(&request.name);
        let mut made = Vec::new();
        let mut disks = Vec::new();
        for (number, disk) in request.disks.iter().enumerate() {
            let chosen = choose(disk, number, &directory, &file, os.record.storage_bytes)?;
            if chosen.2.is_some() {
                made.push(chosen.0.clone());
            }
            disks.push(chosen);
        }
        let mut arguments = request.extra_args.clone();
        answer(&mut request, &mut arguments)?;
        let loader = matches!(request.from, InstallFrom::Location { .. }).then(|| {
            let of = |what: &str| directory.join(format!("{file}-install-{what}"));
            (of("kernel"), of("initrd"))
        });
        if loader.is_some() && request.display == Display::None && !arguments.contains("console=") {
            arguments.push_str(" console=ttyS0");
        }
        let seed = (!request.seed.is_empty()).then(|| engine.seed_path(&request.name));
        made.extend(loader.iter().flat_map(|(k, i)| [k.clone(), i.clone()]));
        made.extend(seed.clone());
        Ok(Self {
            plan: MachinePlan {
                name: request.name.clone(),
                uuid: Uuid::new_v4(),
                files: made,
            },
            engine: engine.clone(),
            request,
            os,
            disks,
            seed,
            loader,
            arguments: arguments.trim().to_owned(),
        })
    }

    /// Makes the files and stores the definition.
    async fn make(&self, job: &JobContext) -> Result<(DomainHandle, Machine)> {
        job.step("making the disks", 0, JobUnit::Items);
        for (path, format, size) in &self.disks {
            match (size, *format) {
                (None, _) => {}
                (Some(size), "qcow2") => files::empty(path, *size)?,
                (Some(size), _) => files::new_file(path)?
                    .set_len(*size)
                    .map_err(|e| EngineError::system("cannot make a disk", e))?,
            }
        }
        self.load(job).await?;
        let machine = self.machine().await?;
        job.check()?;
        let domain = self.engine.define(&machine.xml()).await?;
        Ok((domain, machine))
    }

    /// Starts it, from the installer where there is one, until that is done.
    async fn run_first(
        &self,
        domain: &DomainHandle,
        machine: &Machine,
        job: &JobContext,
    ) -> Result<()> {
        if self.request.autostart {
            domain.set_autostart(true).await?;
        }
        let events = self.engine.events();
        match self.first_run(machine) {
            None => {
                job.step("starting", 0, JobUnit::Items);
                domain.start(StartOptions::default()).await?;
                return Ok(());
            }
            Some(first) => {
                job.step("starting the installer", 0, JobUnit::Items);
                job.keep_plan(self.run(false).encode()).await?;
                let options = StartOptions::default();
                drop(self.engine.create(&first.xml(), options).await?);
            }
        }
        let run = self.run(true);
        job.keep_plan(run.encode()).await?;
        run.wait(&self.engine, job, events).await
    }

    /// What a daemon that finds the job needs to know.
    fn run(&self, has_started: bool) -> InstallerRun {
        let loader = self.loader.iter();
        InstallerRun {
            machine: self.plan.clone(),
            has_started,
            then_starts: self.request.reboot,
            loader: loader.flat_map(|(k, i)| [k.clone(), i.clone()]).collect(),
            note: self.os.note.clone(),
        }
    }

    /// Brings kernel and initrd here, with what is put into the latter.
    async fn load(&self, job: &JobContext) -> Result<()> {
        let (InstallFrom::Location { location, named }, Some((kernel, initrd))) =
            (&self.request.from, &self.loader)
        else {
            return Ok(());
        };
        job.step(
            format!("fetching the installer's kernel from {location}"),
            0,
            JobUnit::Items,
        );
        let (location, named) = (location.clone(), named.clone());
        let known = self.os.record.kernels.clone();
        let found = crate::aside::aside(move || media::loader(&location, named, &known));
        let found = job.unless_cancelled(async { found.await? }).await?;
        files::write(kernel, &found.kernel)?;
        let injected = self.request.injected.iter();
        let injected: Vec<_> = injected.map(|(n, c)| (n.as_str(), c.as_bytes())).collect();
        match injected.is_empty() {
            true => files::write(initrd, &found.initrd),
            false => files::write(initrd, &storage::cpio::inject(&found.initrd, injected)),
        }
    }

    /// The machine as it will be for ever.
    async fn machine(&self) -> Result<Machine> {
        let (request, os) = (&self.request, &self.os.record);
        let mut machine = Machine::new(&request.name, self.plan.uuid);
        machine.title.clone_from(&request.title);
        let memory = request
            .memory_kib
            .or(os.memory_bytes.map(|bytes| bytes >> 10));
        machine.memory_kib = memory.unwrap_or(machine.memory_kib);
        machine.vcpus = request.vcpus.or(os.vcpus).unwrap_or(1);
        machine.uefi = request.uefi || os.uefi_only;
        machine.virtio = os.virtio;
        machine.local_time = self.os.has_local_time();
        machine.display = request.display.clone();
        for (path, format, _) in &self.disks {
            machine.disk(path, format);
        }
        for network in &request.networks {
            machine.card(network.clone(), crate::define_context::random_mac());
        }
        match &request.from {
            InstallFrom::Cdrom(_) => machine.cdrom(None),
            InstallFrom::Location { location, .. } if Path::new(location).is_file() => {
                machine.cdrom(None);
            }
            _ => {}
        }
        if let Some(path) = &self.seed {
            let told = request.seed.seed(&machine.macs())?;
            self.engine
                .make_seed(&told, self.plan.uuid, &self.plan.name, path)
                .await?;
            machine.seed(path);
        }
        if request.from == InstallFrom::Pxe {
            machine.boot = vec![BootFrom::Disk, BootFrom::Network];
        }
        Ok(machine)
    }

    /// The machine as the installer needs it; none where there is no installer.
    fn first_run(&self, machine: &Machine) -> Option<Machine> {
        let mut first = machine.clone();
        first.ends_at_reboot = true;
        match &self.request.from {
            InstallFrom::Import => return None,
            InstallFrom::Pxe => first.boot = vec![BootFrom::Network, BootFrom::Disk],
            InstallFrom::Cdrom(path) => {
                first.insert(path);
                first.boot = vec![BootFrom::Cdrom, BootFrom::Disk];
            }
            InstallFrom::Location { location, .. } => {
                let (kernel, initrd) = self.loader.clone()?;
                if Path::new(location).is_file() {
                    first.insert(Path::new(location));
                }
                first.kernel = Some(DirectKernel {
                    kernel,
                    initrd,
                    arguments: self.arguments.clone(),
                });
            }
        }
        Some(first)
    }
}

/// Where a disk lies, its format, and its size if it is to be made.
fn choose(
    disk: &InstallDisk,
    number: usize,
    directory: &Path,
    file: &str,
    storage_bytes: Option<u64>,
) -> Result<(PathBuf, &'static str, Option<u64>)> {
    let format = match disk.format.as_deref() {
        None | Some("qcow2") => "qcow2",
        Some("raw") => "raw",
        Some(other) => {
            return bad(format!(
                "disks of format '{other}' are not made: qcow2 or raw"
            ));
        }
    };
    let path = match &disk.path {
        Some(path) if path.exists() => {
            // Nobody said what it is: its own header must do, as for virt-install.
            let (image, _) = crate::images::inspect(path)?;
            return match (disk.format.as_deref(), image.format) {
                (Some(_), _) => Ok((path.clone(), format, None)),
                (None, "qcow2") => Ok((path.clone(), "qcow2", None)),
                (None, "raw" | "iso") => Ok((path.clone(), "raw", None)),
                (None, other) => bad(format!(
                    "'{}' is of format {other}: import it into the library first",
                    path.display()
                )),
            };
        }
        Some(path) => path.clone(),
        None => directory.join(match number {
            0 => format!("{file}.{format}"),
            _ => format!("{file}-{number}.{format}"),
        }),
    };
    match disk
        .size_bytes
        .or(storage_bytes.filter(|_| disk.path.is_none()))
    {
        Some(size) => Ok((path, format, Some(size))),
        None if disk.path.is_none() => Ok((path, format, Some(20 * GIB))),
        None => bad(format!(
            "'{}' is not there: give a size for a new disk, --disk path={},size=GIB",
            path.display(),
            path.display()
        )),
    }
}

/// Brings the answers to where the installer they are for looks.
fn answer(request: &mut InstallRequest, arguments: &mut String) -> Result<()> {
    let Some(text) = request.answers.take() else {
        return Ok(());
    };
    let Some(answers) = Answers::tell(&text) else {
        return bad(
            "the answers are neither a preseed, nor a kickstart, nor an autoinstall document",
        );
    };
    if !arguments.is_empty() {
        arguments.push(' ');
    }
    arguments.push_str(answers.arguments());
    match answers.file() {
        Some(file) => request.injected.push((file.to_owned(), text)),
        None => request.seed.user_data = Some(Answers::user_data(text)),
    }
    Ok(())
}
