//! A machine that is shut off becomes an OVA; one of its disks, or an image of
//! the library, becomes a qcow2 image that builds upon nothing.

use crate::confined::Tool;
use crate::crash::{Step, crash_point};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::images::percent;
use crate::images::verify::digest_file;
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView};
use crate::provision::{
    Base, MachinePlan, Making, cloned_disks, need_at_rest, new_file, not_a_file,
};
use crate::volumes::chain::images_behind;
use crate::volumes::unfinished_name;
use model::domain::Domain;
use model::domain::clock::ClockOffset;
use model::domain::controller::ControllerModel;
use model::domain::disk::{Disk, DiskBus, DiskDevice};
use model::domain::os::Firmware;
use model::domain::storage::StorageType;
use serde_json::json;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::ovf::{
    Algorithm, Digest, OvfBus, OvfCard, OvfCardModel, OvfDisk, OvfFile, OvfMachine, System, write,
    write_manifest,
};
use storage::tar;
use sys::landlock::Access;

/// What is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportFormat {
    /// A package of the whole machine.
    Ova,
    /// One disk, by its target; the first one if not given.
    Qcow2(Option<String>),
}

/// What is to be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The name of a machine or, as qcow2, of an image of the library.
    pub name: String,
    /// What is made of it.
    pub format: ExportFormat,
    /// The absolute path of the file to make, which must not be there.
    pub target: PathBuf,
}

struct Exporting {
    engine: Engine,
    job: JobContext,
    target: PathBuf,
    /// Files under other names until they are complete; they go with this.
    unfinished: Vec<PathBuf>,
}

impl Drop for Exporting {
    fn drop(&mut self) {
        for path in &self.unfinished {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Engine {
    /// Starts an export. The job's result is the file's path.
    pub async fn export(&self, export: Export) -> Result<Arc<JobView>> {
        let bad = |what: String| Err(EngineError::new(ErrorKind::InvalidArgument, what));
        let Export {
            name,
            format,
            target,
        } = export;
        let directory = target.parent().filter(|_| target.is_absolute());
        let Some(directory) = directory.filter(|directory| directory.is_dir()) else {
            return bad(format!(
                "there is no directory for '{}' on the host",
                target.display()
            ));
        };
        if target.symlink_metadata().is_ok() {
            return bad(format!("'{}' is there already", target.display()));
        }
        let domain = self.domain_by_name(&name);
        let work = match (format, domain) {
            (ExportFormat::Ova, domain) => Work::package(&domain?)?,
            (ExportFormat::Qcow2(disk), Ok(domain)) => Work::disk(&domain, disk.as_deref())?,
            (ExportFormat::Qcow2(_), Err(_)) => {
                let image = self.image(&name)?;
                Work::Image(Base::find(&image.path, &image.format)?)
            }
        };
        let host = self.records().host();
        let unfinished: Vec<PathBuf> = (0..work.files())
            .map(|_| unfinished_name(directory, host))
            .collect();
        let plan = MachinePlan::scratch(&name, unfinished.clone());
        let spec = JobSpec {
            kind: "export",
            target: name,
            plan: Some(Making::of(plan)),
        };
        let engine = self.clone();
        self.start_job(spec, |job| async move {
            let exporting = Exporting {
                engine,
                job,
                target,
                unfinished,
            };
            match work {
                Work::Image(base) => exporting.image(&base).await?,
                Work::Package(machine, bases) => exporting.package(machine, &bases).await?,
            }
            Ok(json!({"path": exporting.target}))
        })
        .await
    }
}

enum Work {
    Image(Base),
    Package(Box<OvfMachine>, Vec<Base>),
}

impl Work {
    /// How many files are under way: those of the disks and the whole.
    fn files(&self) -> usize {
        match self {
            Work::Image(_) => 1,
            Work::Package(_, bases) => bases.len() + 1,
        }
    }

    fn disk(domain: &DomainHandle, target: Option<&str>) -> Result<Work> {
        need_at_rest(domain)?;
        let definition = domain.definition()?;
        let mut disks = cloned_disks(&definition);
        let disk = disks.find(|disk| target.is_none_or(|target| disk.target_dev() == target));
        let disk = disk.ok_or_else(|| {
            EngineError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "'{}' has no disk '{}' of its own",
                    definition.name,
                    target.unwrap_or_default()
                ),
            )
        })?;
        Ok(Work::Image(base_of(&definition, disk)?))
    }

    fn package(domain: &DomainHandle) -> Result<Work> {
        need_at_rest(domain)?;
        let definition = domain.definition()?;
        let disks: Vec<&Disk> = cloned_disks(&definition).collect();
        let bases: Vec<Base> = disks
            .iter()
            .map(|disk| base_of(&definition, disk))
            .collect::<Result<_>>()?;
        let machine = describe(&definition, &disks, &bases);
        Ok(Work::Package(Box::new(machine), bases))
    }
}

fn base_of(domain: &Domain, disk: &Disk) -> Result<Base> {
    let path = disk
        .source_path()
        .filter(|_| disk.kind == StorageType::File);
    let path = path.ok_or_else(|| not_a_file(domain, disk))?;
    Base::find(Path::new(path), disk.format().as_str())
}

/// The machine in a package's words.
fn describe(domain: &Domain, disks: &[&Disk], bases: &[Base]) -> OvfMachine {
    let scsi = |wanted: ControllerModel| {
        let mut controllers = domain.devices.controllers.iter();
        controllers.any(|controller| controller.model == Some(wanted))
    };
    let bus = |disk: &Disk| match disk.bus() {
        Some(DiskBus::Virtio) => OvfBus::Virtio,
        Some(DiskBus::Scsi) if scsi(ControllerModel::Vmpvscsi) => OvfBus::Pvscsi,
        Some(DiskBus::Scsi) if scsi(ControllerModel::Lsisas1068) => OvfBus::LsiSas,
        _ => OvfBus::Sata,
    };
    let file = |number: usize| OvfFile {
        name: format!("{}-disk{number}.vmdk", package_name(&domain.name)),
        size: None,
        gzip: false,
    };
    let described = (1..)
        .zip(disks)
        .zip(bases)
        .map(|((number, disk), base)| OvfDisk {
            file: Some(file(number)),
            capacity: base.capacity,
            bus: bus(disk),
        });
    let cards = domain.devices.interfaces.iter().map(|card| OvfCard {
        model: match card.model_name() {
            _ if card.is_virtio() => OvfCardModel::Virtio,
            Some("e1000e" | "igb") => OvfCardModel::E1000e,
            Some("vmxnet3") => OvfCardModel::Vmxnet3,
            Some("pcnet" | "vlance" | "am79c970a") => OvfCardModel::Pcnet,
            _ => OvfCardModel::E1000,
        },
        network: card
            .source
            .as_ref()
            .and_then(|source| source.network.clone().or_else(|| source.bridge.clone()))
            .unwrap_or_default(),
    });
    let is_windows = domain.clock.offset == ClockOffset::Localtime;
    let cd_drives = domain
        .devices
        .disks
        .iter()
        .filter(|disk| disk.device == DiskDevice::Cdrom);
    OvfMachine {
        name: domain.name.clone(),
        annotation: domain
            .description
            .clone()
            .filter(|text| !text.trim().is_empty()),
        memory_bytes: crate::facts::current_memory_kib(domain).saturating_mul(1024),
        vcpus: domain.vcpu.count(),
        uefi: domain.os.firmware == Some(Firmware::Efi)
            || crate::facts::nvram_path(domain).is_some(),
        system: if is_windows {
            System::Windows
        } else {
            System::Linux
        },
        disks: described.collect(),
        cd_drives: u32::try_from(cd_drives.count()).unwrap_or(0),
        cards: cards.collect(),
        notes: Vec::new(),
    }
}

/// A machine's name as the beginning of files' names in a package.
fn package_name(name: &str) -> String {
    const NAME_MAX_CHARS: usize = 60;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().take(NAME_MAX_CHARS).map(plain).collect()
}

impl Exporting {
    fn name_it(&self, made: &Path) -> Result<()> {
        let fail = |e: io::Error| EngineError::system("cannot keep what was exported", e);
        File::open(made)
            .and_then(|file| file.sync_all())
            .map_err(fail)?;
        crash_point(Step::ExportFilled);
        sys::sparse::rename_new(made, &self.target).map_err(|e| {
            EngineError::io(
                &format!("cannot name '{}'", self.target.display()),
                e.cause(),
            )
        })?;
        crash_point(Step::ExportNamed);
        Ok(())
    }

    async fn image(&self, base: &Base) -> Result<()> {
        let [made] = self.unfinished.as_slice() else {
            return Err(EngineError::new(
                ErrorKind::Internal,
                "an export of one file",
            ));
        };
        self.convert(base, made, &["-O", "qcow2"]).await?;
        self.name_it(made)
    }

    async fn convert(&self, base: &Base, to: &Path, options: &[&str]) -> Result<()> {
        let from = base.path.to_string_lossy();
        self.engine.check_unused(&from, "export")?;
        self.job
            .step(format!("converting {from}"), 100, JobUnit::Percent);
        new_file(to)?;
        let mut tool = Tool::new("qemu-img", "qemu-utils")
            .args(["convert", "-p", "-f", &base.format])
            .args(options.iter().copied())
            .args([&base.path, to])
            .reaches(&base.path, Access::Read)
            .reaches(to, Access::Write);
        for behind in images_behind(&from, &base.format) {
            tool = tool.reaches(Path::new(&behind), Access::Read);
        }
        let job = &self.job;
        let done = tool.run(job, |words| {
            if let Some(percent) = percent(words) {
                job.done(percent);
            }
        });
        done.await?;
        crash_point(Step::ExportConverted);
        Ok(())
    }

    async fn package(&self, mut machine: Box<OvfMachine>, bases: &[Base]) -> Result<()> {
        let Some((whole, disks)) = self.unfinished.split_last() else {
            return Err(EngineError::new(
                ErrorKind::Internal,
                "an export without a file",
            ));
        };
        const VMDK: [&str; 4] = ["-O", "vmdk", "-o", "subformat=streamOptimized"];
        for (base, path) in bases.iter().zip(disks) {
            self.convert(base, path, &VMDK).await?;
        }
        for (disk, path) in machine.disks.iter_mut().zip(disks) {
            let length = std::fs::metadata(path).map(|meta| meta.len());
            if let Some(file) = &mut disk.file {
                file.size = length.ok();
            }
        }
        let (paths, whole, job) = (disks.to_vec(), whole.clone(), self.job.clone());
        let packed = crate::aside::aside({
            let whole = whole.clone();
            move || pack(&machine, &paths, &whole, &job)
        });
        self.job.unless_cancelled(async { packed.await? }).await?;
        self.name_it(&whole)
    }
}

/// Puts descriptor, manifest and disks into one archive, in the order the standard wants.
fn pack(machine: &OvfMachine, disks: &[PathBuf], whole: &Path, job: &JobContext) -> Result<()> {
    let name = package_name(&machine.name);
    let descriptor = write(machine);
    let names = machine.disks.iter().filter_map(|disk| disk.file.as_ref());
    let named: Vec<(&str, &PathBuf)> = names.map(|file| file.name.as_str()).zip(disks).collect();
    let entry = |file: &str, hex: String| Digest {
        file: file.to_owned(),
        algorithm: Algorithm::Sha256,
        hex,
    };
    let sum = crate::images::verify::digest(descriptor.as_bytes(), Algorithm::Sha256, job)?;
    let mut digests = vec![entry(&format!("{name}.ovf"), sum)];
    for (file, path) in &named {
        digests.push(entry(file, digest_file(path, Algorithm::Sha256, job)?));
    }
    let fail = |e: io::Error| EngineError::system("cannot write the package", e);
    let mut out = Archive(new_file(whole)?);
    out.add(
        &format!("{name}.ovf"),
        descriptor.len() as u64,
        &mut descriptor.as_bytes(),
    )?;
    let manifest = write_manifest(&digests);
    out.add(
        &format!("{name}.mf"),
        manifest.len() as u64,
        &mut manifest.as_bytes(),
    )?;
    job.step("packing", named.len() as u64, JobUnit::Items);
    for (number, (file, path)) in (1..).zip(&named) {
        job.check()?;
        let mut disk = File::open(path).map_err(fail)?;
        let length = disk.metadata().map_err(fail)?.len();
        out.add(file, length, &mut disk)?;
        job.done(number);
    }
    out.0.write_all(&tar::END).map_err(fail)
}

struct Archive(File);

impl Archive {
    fn add(&mut self, name: &str, length: u64, content: &mut dyn io::Read) -> Result<()> {
        let fail = |e: io::Error| EngineError::system("cannot write the package", e);
        let header = tar::header(name, length).map_err(|e| EngineError::failed(e.to_string()))?;
        self.0.write_all(&header).map_err(fail)?;
        let copied = io::copy(content, &mut self.0).map_err(fail)?;
        if copied != length {
            return Err(EngineError::failed(format!(
                "'{name}' changed while it was packed"
            )));
        }
        let rest = copied.next_multiple_of(tar::BLOCK_BYTES) - copied;
        let rest = usize::try_from(rest).unwrap_or(0);
        self.0.write_all(&tar::END[..rest]).map_err(fail)?;
        Ok(())
    }
}
