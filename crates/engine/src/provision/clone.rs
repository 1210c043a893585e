//! Clones: machines like another one, under names of their own. Linked ones
//! hold nothing but what differs from their template.

use super::files::{self, Base};
use super::template::{cloned_disks, need_at_rest, not_a_file};
use super::{MachinePlan, Making, need_free_files, seeds};
use crate::confined::Tool;
use crate::crash::{Step, crash_point};
use crate::definition::Definition;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::files::file_name;
use crate::handle::DomainHandle;
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView};
use crate::limits::CLONES_MAX;
use crate::options::StartOptions;
use crate::volumes::chain::images_behind;
use model::domain::Domain;
use model::domain::disk::DiskDriver;
use model::domain::storage::{ImageFormat, StorageType};
use model::xml::YesNo;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::seed::{Card, Seed};
use sys::landlock::Access;
use uuid::Uuid;

/// What is to be cloned.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// The machine.
    pub source: DomainHandle,
    /// The names of the clones.
    pub names: Vec<String>,
    /// Whether each gets disks of its own instead of what differs.
    pub full: bool,
    /// Whether they are started.
    pub start: bool,
}

/// A disk of the machine that is cloned.
#[derive(Debug, Clone)]
struct SourceDisk {
    target: String,
    base: Base,
}

/// What all clones of one request share.
#[derive(Debug)]
struct Cloning {
    engine: Engine,
    domain: Arc<Domain>,
    disks: Vec<SourceDisk>,
    nvram: Option<PathBuf>,
    seed: Option<(Seed, PathBuf)>,
    full: bool,
    start: bool,
}

impl Engine {
    /// Starts making clones. The job's result is their names.
    pub async fn clone_machine(&self, request: CloneRequest) -> Result<Arc<JobView>> {
        check_names(self, &request.names)?;
        let domain = request.source.definition()?;
        need_at_rest(&request.source)?;
        if !request.full && !self.is_template(request.source.uuid()) {
            return Err(EngineError::invalid(format!(
                "'{0}' is no template: its disks would change below linked clones. Make it one \
                 (stead template {0}), or copy its disks (--full)",
                domain.name
            )));
        }
        let cloning = Cloning::of(self, domain, &request)?;
        let plans: Vec<MachinePlan> = request
            .names
            .iter()
            .map(|name| cloning.plan(name))
            .collect();
        plans.iter().try_for_each(need_free_files)?;
        let spec = JobSpec {
            kind: "clone",
            target: match request.names.as_slice() {
                [one] => format!("{} to {one}", cloning.domain.name),
                several => format!("{} to {} machines", cloning.domain.name, several.len()),
            },
            plan: Some(
                Making {
                    machines: plans.clone(),
                }
                .encode(),
            ),
        };
        self.start_job(spec, |job| async move {
            cloning.make_all(&plans, &job).await?;
            Ok(json!({"names": request.names}))
        })
        .await
    }
}

fn check_names(engine: &Engine, names: &[String]) -> Result<()> {
    let bad = |what: String| Err(EngineError::new(ErrorKind::InvalidArgument, what));
    if names.is_empty() {
        return bad("a clone needs a name".into());
    }
    if names.len() > CLONES_MAX {
        return bad(format!("more than {CLONES_MAX} clones at a time"));
    }
    let mut seen = BTreeSet::new();
    for name in names {
        engine.need_free_name(name)?;
        if !seen.insert(name) {
            return bad(format!("the name '{name}' is given twice"));
        }
    }
    Ok(())
}

impl Cloning {
    fn of(engine: &Engine, domain: Arc<Domain>, request: &CloneRequest) -> Result<Self> {
        let disks = cloned_disks(&domain)
            .map(|disk| {
                let path = disk
                    .source_path()
                    .filter(|_| disk.kind == StorageType::File);
                let path = Path::new(path.ok_or_else(|| not_a_file(&domain, disk))?);
                Ok(SourceDisk {
                    target: disk.target_dev().to_owned(),
                    base: Base::find(path, disk.format().as_str())?,
                })
            })
            .collect::<Result<_>>()?;
        let nvram = crate::facts::nvram_path(&domain).map(PathBuf::from);
        let seed = engine
            .seed_of(crate::facts::uuid(&domain))?
            .map(|seed| (seed, engine.seed_path(&domain.name)));
        Ok(Self {
            engine: engine.clone(),
            disks,
            nvram: nvram.filter(|path| path.exists()),
            seed,
            domain,
            full: request.full,
            start: request.start,
        })
    }

    fn disk_path(&self, number: usize, name: &str) -> PathBuf {
        let file = file_name(name);
        let directory = &self.engine.places().images;
        directory.join(match number {
            0 => format!("{file}.qcow2"),
            _ => format!("{file}-{}.qcow2", self.disks[number].target),
        })
    }

    fn plan(&self, name: &str) -> MachinePlan {
        let disks = (0..self.disks.len()).map(|number| self.disk_path(number, name));
        let nvram = self
            .nvram
            .as_ref()
            .map(|_| self.engine.places().nvram_file(name));
        let seed = self.seed.as_ref().map(|_| self.engine.seed_path(name));
        MachinePlan {
            name: name.to_owned(),
            uuid: Uuid::new_v4(),
            files: disks.chain(nvram).chain(seed).collect(),
        }
    }

    async fn make_all(&self, plans: &[MachinePlan], job: &JobContext) -> Result<()> {
        let total = plans.len() as u64;
        job.step(
            format!("cloning {}", self.domain.name),
            total,
            JobUnit::Items,
        );
        for (number, plan) in plans.iter().enumerate() {
            job.check()?;
            let made = self.engine.making(plan, self.make(plan, job));
            if let Err(error) = made.await {
                return Err(EngineError::new(
                    error.kind,
                    format!(
                        "{}: {error} ({number} of {total} clones are made)",
                        plan.name
                    ),
                ));
            }
            if !self.full {
                job.done(number as u64 + 1);
            }
        }
        if self.start {
            self.start_all(plans, job).await?;
        }
        Ok(())
    }

    async fn start_all(&self, plans: &[MachinePlan], job: &JobContext) -> Result<()> {
        job.step("starting", plans.len() as u64, JobUnit::Items);
        for (number, plan) in plans.iter().enumerate() {
            job.check()?;
            let domain = self.engine.domain_by_uuid(plan.uuid)?;
            domain
                .start(StartOptions::default())
                .await
                .map_err(|error| {
                    EngineError::new(error.kind, format!("{} does not start: {error}", plan.name))
                })?;
            job.done(number as u64 + 1);
        }
        Ok(())
    }

    async fn make(&self, plan: &MachinePlan, job: &JobContext) -> Result<()> {
        for (number, disk) in self.disks.iter().enumerate() {
            let path = self.disk_path(number, &plan.name);
            match self.full {
                false => files::link(&disk.base, &path, 0)?,
                true => self.copy(&disk.base, &path, job).await?,
            }
        }
        crash_point(Step::CloneLinked);
        let mut domain = Domain::clone(&self.domain);
        if let Some(nvram) = &self.nvram {
            files::copy(nvram, &self.engine.places().nvram_file(&plan.name))?;
        }
        self.rename(&mut domain, plan);
        if let Some((seed, old)) = &self.seed {
            self.reseed(&mut domain, plan, seed, old).await?;
        }
        crash_point(Step::CloneFilesMade);
        self.engine.define_made(Definition::of(domain)).await?;
        crash_point(Step::CloneDefined);
        Ok(())
    }

    /// Gives the definition an identity of its own.
    fn rename(&self, domain: &mut Domain, plan: &MachinePlan) {
        domain.name.clone_from(&plan.name);
        domain.uuid = Some(plan.uuid);
        if let Some(gen_id) = &mut domain.gen_id {
            gen_id.uuid = Some(Uuid::new_v4());
        }
        domain.title = None;
        for card in &mut domain.devices.interfaces {
            if let Some(mac) = &mut card.mac {
                mac.address = crate::define_context::random_mac();
            }
        }
        for (number, source) in self.disks.iter().enumerate() {
            let path = self.disk_path(number, &plan.name);
            let disks = &mut domain.devices.disks;
            let disk = disks.iter_mut().find(|d| d.target_dev() == source.target);
            let Some(disk) = disk else {
                continue;
            };
            if let Some(file) = disk.source.as_mut().and_then(|s| s.file.as_mut()) {
                *file = path.to_string_lossy().into_owned();
            }
            disk.driver.get_or_insert_with(DiskDriver::default).format = Some(ImageFormat::Qcow2);
            disk.backing_store = None;
        }
        if let Some(nvram) = &mut domain.os.nvram {
            let own = self.engine.places().nvram_file(&plan.name);
            nvram.path = Some(own.to_string_lossy().into_owned());
        }
        for graphics in &mut domain.devices.graphics {
            if graphics.port.is_some() && !graphics.is_autoport() {
                // Two machines cannot listen at one port.
                graphics.port = None;
                graphics.tls_port = None;
                graphics.autoport = Some(YesNo::Yes);
            }
        }
        for table in domain.sysinfos.iter_mut().filter_map(|s| s.system.as_mut()) {
            table
                .entries
                .retain(|entry| entry.name.as_deref() != Some("uuid"));
        }
    }

    /// A CD of its own: same account, other names; addresses by DHCP, since
    /// two machines cannot have one.
    async fn reseed(
        &self,
        domain: &mut Domain,
        plan: &MachinePlan,
        seed: &Seed,
        old: &Path,
    ) -> Result<()> {
        let macs = domain
            .devices
            .interfaces
            .iter()
            .filter_map(|card| card.mac());
        let cards = macs.map(|mac| Card {
            mac: mac.to_string(),
            ..Card::default()
        });
        let seed = Seed {
            cards: cards.collect(),
            is_clone: true,
            ..seed.clone()
        };
        let path = self.engine.seed_path(&plan.name);
        self.engine
            .make_seed(&seed, plan.uuid, &plan.name, &path)
            .await?;
        let drive = seeds::drive_of(domain, &old.to_string_lossy());
        if let Some(file) = drive
            .and_then(|d| d.source.as_mut())
            .and_then(|s| s.file.as_mut())
        {
            *file = path.to_string_lossy().into_owned();
        }
        Ok(())
    }

    /// Copies a disk whole, chain and all, into one image.
    async fn copy(&self, base: &Base, path: &Path, job: &JobContext) -> Result<()> {
        job.step(
            format!("copying to {}", path.display()),
            100,
            JobUnit::Percent,
        );
        files::new_file(path)?;
        let mut tool = Tool::new("qemu-img", "qemu-utils")
            .args(["convert", "-p", "-f", &base.format, "-O", "qcow2"])
            .args([&base.path, path])
            .reaches(&base.path, Access::Read)
            .reaches(path, Access::Write);
        let behind = images_behind(&base.path.to_string_lossy(), &base.format);
        for below in behind {
            tool = tool.reaches(Path::new(&below), Access::Read);
        }
        tool.run(job, |words| {
            if let Some(percent) = crate::images::percent(words) {
                job.done(percent);
            }
        })
        .await
        .map(drop)
    }
}
