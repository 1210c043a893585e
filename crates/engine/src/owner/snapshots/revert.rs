//! Going back to a snapshot: QEMU is ended where one runs, the images become
//! what they were, and the machine is started again where that was asked.

use super::super::errand::Errand;
use super::super::{Owner, Reply, Request, answer};
use super::{Changed, Then, stored, text_of};
use crate::definition::Definition;
use crate::error::{EngineError, ErrorKind, Result};
use crate::launch::StartFrom;
use crate::options::{SnapshotRevert, StartOptions};
use crate::saved::SavedState;
use crate::snapshots::graph::{Graph, set_image};
use crate::snapshots::journal::Outcome;
use crate::snapshots::keys::{own_encryption, own_format};
use crate::snapshots::work::Plan;
use model::domain::Domain;
use model::domain::disk::{Disk, SnapshotMode};
use model::snapshot::{Snapshot, SnapshotDisk, SnapshotDisks, SnapshotDriver, SnapshotState};
use qemu::machine::{Input, Origin};
use std::path::{Path, PathBuf};
use storage::chain::Step;
use storage::merge::Extent;

/// How the machine is started where it went back to.
#[derive(Debug)]
pub(super) struct Start {
    definition: Definition,
    paused: bool,
    reset_nvram: bool,
    memory: Memory,
}

/// Where the machine's memory comes from.
#[derive(Debug)]
enum Memory {
    /// A boot.
    None,
    /// The snapshot inside the images.
    Inside(String),
    /// A file.
    File(PathBuf),
}

/// A revert that waits for QEMU's end.
#[derive(Debug)]
pub(in crate::owner) struct PendingRevert {
    name: String,
    options: SnapshotRevert,
    reply: Reply<()>,
}

impl Owner {
    pub(in crate::owner) fn revert_to_snapshot(
        &mut self,
        name: String,
        options: SnapshotRevert,
        reply: Reply<()>,
    ) {
        let mut slot = Some((name, reply));
        let is_settled = self.is_settled(|| {
            let (name, reply) = slot.take().expect("taken once");
            Request::RevertToSnapshot {
                name,
                options,
                reply,
            }
        });
        let Some((name, reply)) = slot.filter(|_| is_settled) else {
            return;
        };
        let checked = self
            .read_snapshot(&name)
            .and_then(|snapshot| self.check_revert(&snapshot, options));
        if let Err(error) = checked {
            return answer(reply, Err(error));
        }
        let pending = PendingRevert {
            name,
            options,
            reply,
        };
        match self.live.clone() {
            None => self.begin_revert(pending),
            Some(live) => {
                // It goes on when QEMU is gone and has given everything back.
                self.life.handle(Input::Reverted);
                self.busy = Some(Errand::new("snapshot-revert"));
                self.pending_revert = Some(pending);
                self.beside(super::super::stop::end_process(live, false));
            }
        }
    }

    fn check_revert(&self, snapshot: &Snapshot, options: SnapshotRevert) -> Result<()> {
        if self.entry.view().stored.is_none() && !runs_after(snapshot, options) {
            return Err(EngineError::invalid(
                "transient domain needs to request run or pause to revert to inactive snapshot",
            ));
        }
        let name = snapshot.name();
        let Some(domain) = snapshot.whole_domain() else {
            return Err(risky(format!(
                "snapshot '{name}' lacks domain '{}' rollback info",
                self.entry.view().name
            )));
        };
        let to_boot = snapshot.state.is_some_and(SnapshotState::is_offline)
            && (options.running || options.paused);
        if self.live.is_some() && to_boot && !options.force {
            return Err(risky(
                "must respawn hypervisor to start inactive snapshot".to_owned(),
            ));
        }
        for disk in snapshot.disks() {
            let image = storage::snapshot::find(domain, disk.name()).and_then(Disk::source_path);
            let needed = matches!(
                disk.mode,
                Some(SnapshotMode::Internal | SnapshotMode::External)
            );
            if let Some(image) = image.filter(|image| needed && !Path::new(image).exists()) {
                return Err(EngineError::failed(format!(
                    "the image '{image}' that snapshot '{name}' needs is not there"
                )));
            }
        }
        Ok(())
    }

    /// QEMU is gone: does what it was ended for. Says whether there was anything.
    pub(in crate::owner) fn go_on_reverting(&mut self) {
        if let Some(pending) = self.pending_revert.take() {
            self.busy = None;
            self.begin_revert(pending);
        }
    }

    fn begin_revert(&mut self, pending: PendingRevert) {
        let PendingRevert {
            name,
            options,
            reply,
        } = pending;
        match self.plan_revert(&name, options) {
            Err(error) => answer(reply, Err(error)),
            Ok((plan, then)) => {
                let work = self.work();
                self.hold_snapshot_work("snapshot-revert", reply, async move {
                    work.carry_out(&plan).await?;
                    Ok(Changed {
                        outcome: plan.outcome,
                        live: None,
                        then,
                    })
                });
            }
        }
    }

    fn plan_revert(&self, name: &str, options: SnapshotRevert) -> Result<(Plan, Then)> {
        let tree = self.tree();
        let mut snapshot = self.read_snapshot(name)?;
        let present = match self.entry.view().stored {
            Some(_) => Some(self.stored_definition()?),
            None => None,
        };
        let domain = snapshot
            .whole_domain()
            .ok_or_else(|| EngineError::failed("the snapshot holds no definition"))?
            .clone();
        let current = present.clone().unwrap_or_else(|| domain.clone());
        let mut graph = self.graph(&current)?;
        let mut back = Back {
            snapshot: snapshot.clone(),
            domain: domain.clone(),
            plan: Plan {
                what: format!("go back to snapshot '{name}'"),
                keys: graph.keys.clone(),
                ..Plan::default()
            },
            made: Vec::new(),
        };
        let runs = runs_after(&snapshot, options);
        let with_memory = runs && has_memory(&snapshot);
        let mut running = domain;
        running.name = self.entry.view().name.to_string();
        let mut next = snapshot
            .whole_inactive_domain()
            .cloned()
            .unwrap_or_else(|| running.clone());
        next.name.clone_from(&running.name);
        for (target, image, format) in back.disks(&current, &graph, with_memory)? {
            let key = back.plan.keys.get(&image);
            for definition in [&mut running, &mut next] {
                let disk = definition
                    .devices
                    .disks
                    .iter_mut()
                    .find(|disk| disk.target_dev() == target);
                if let Some(disk) = disk {
                    set_image(disk, &image, &format, key);
                }
            }
        }
        let Back { mut plan, made, .. } = back;
        if !made.is_empty() {
            snapshot.revert_disks = Some(SnapshotDisks { disks: made });
        }
        plan.finish.extend(self.nvram_back(name, &running, options));
        graph.snapshots.insert(name.to_owned(), snapshot.clone());
        plan.finish
            .extend(put_old_away(&mut graph, &running, &plan.make));
        let nvram = tree.get(name).and_then(|head| head.nvram.clone());
        plan.outcome = Outcome {
            put: vec![stored(&snapshot, nvram)],
            current: Some(name.to_owned()),
            definition: present.map(|_| text_of(next)),
            layers: graph.layers(),
            ..Outcome::default()
        };
        let then = match runs {
            false => Then::Answer,
            true => Then::Start(Box::new(Start {
                definition: Definition::of(running),
                paused: options.paused
                    || (!options.running && snapshot.state == Some(SnapshotState::Paused)),
                reset_nvram: options.reset_nvram,
                memory: memory_of(&snapshot),
            })),
        };
        Ok((plan, then))
    }

    /// The UEFI variables become what they were.
    fn nvram_back(&self, name: &str, domain: &Domain, options: SnapshotRevert) -> Option<Step> {
        let tree = self.tree();
        let from = tree.get(name)?.nvram.clone()?;
        let to = crate::facts::nvram_path(domain)?.to_owned();
        let wanted = !options.reset_nvram && Path::new(&from).exists();
        wanted.then_some(Step::Copy { from, to })
    }

    pub(super) fn start_from_snapshot(&mut self, start: Start, reply: Reply<()>) {
        let from = match start.memory {
            Memory::None => Ok(StartFrom::Boot),
            Memory::Inside(tag) => Ok(StartFrom::Snapshot(tag)),
            Memory::File(path) => SavedState::open(&path).map(StartFrom::Saved),
        };
        match from {
            Err(error) => answer(reply, Err(error)),
            Ok(from) => {
                let options = StartOptions {
                    paused: start.paused,
                    reset_nvram: start.reset_nvram,
                    ..StartOptions::default()
                };
                self.begin_start_of(start.definition, from, Origin::Snapshot, options, reply);
            }
        }
    }
}

fn risky(why: String) -> EngineError {
    EngineError::new(ErrorKind::RevertRisky, why)
}

/// Whether the machine has a QEMU afterwards.
fn runs_after(snapshot: &Snapshot, options: SnapshotRevert) -> bool {
    options.running || options.paused || snapshot.state.is_some_and(SnapshotState::is_active)
}

fn has_memory(snapshot: &Snapshot) -> bool {
    matches!(
        snapshot.memory_mode(),
        Some(SnapshotMode::Internal | SnapshotMode::External)
    )
}

fn memory_of(snapshot: &Snapshot) -> Memory {
    let file = snapshot
        .memory
        .as_ref()
        .and_then(|memory| memory.file.clone());
    match (snapshot.memory_mode(), file) {
        (Some(SnapshotMode::Internal), _) => Memory::Inside(snapshot.name().to_owned()),
        (Some(SnapshotMode::External), Some(file)) => Memory::File(file.into()),
        _ => Memory::None,
    }
}

/// The images the domain no longer writes to and nobody needs.
fn put_old_away(graph: &mut Graph, next: &Domain, make: &[Step]) -> Vec<Step> {
    let images = &mut graph.images;
    images.active = next
        .devices
        .disks
        .iter()
        .filter_map(|disk| disk.source_path().map(str::to_owned))
        .collect();
    for step in make {
        if let Step::Overlay { image, backing, .. } = step {
            images.below.insert(image.clone(), backing.clone());
            images.made.insert(image.clone());
        }
        if let Step::Copy { from, to } = step {
            if let Some(below) = images.below.get(from).cloned() {
                images.below.insert(to.clone(), below);
            }
            images.made.insert(to.clone());
        }
    }
    let candidates = graph.candidates.clone();
    graph.images.put_away(&candidates, Extent::Remove).steps
}

/// What going back does with the disks.
struct Back {
    snapshot: Snapshot,
    domain: Domain,
    plan: Plan,
    /// The images made for it.
    made: Vec<SnapshotDisk>,
}

impl Back {
    /// The image each disk has afterwards: target, path and format.
    fn disks(
        &mut self,
        current: &Domain,
        graph: &Graph,
        with_memory: bool,
    ) -> Result<Vec<(String, String, String)>> {
        let mut images = Vec::new();
        for disk in self.domain.devices.disks.clone() {
            let target = disk.target_dev().to_owned();
            let parts = self.snapshot.disks();
            let mode = parts
                .iter()
                .find(|p| p.name() == target)
                .and_then(|p| p.mode);
            let (image, format) = match mode {
                Some(SnapshotMode::External) => self.upon(&disk)?,
                Some(SnapshotMode::Internal) => self.inside(&disk, graph, with_memory)?,
                // It took no part: it stays what it is now.
                _ => match present(current, &target) {
                    Some(now) => now,
                    None => continue,
                },
            };
            images.push((target, image, format));
        }
        Ok(images)
    }

    /// A new image upon the one the snapshot holds.
    fn upon(&mut self, disk: &Disk) -> Result<(String, String)> {
        let backing = super::create::source(disk)?;
        let image = self.fresh(&backing);
        self.make(
            Step::Overlay {
                image: image.clone(),
                format: "qcow2".to_owned(),
                backing,
                backing_format: own_format(disk),
            },
            disk,
            &image,
        );
        Ok((image, "qcow2".to_owned()))
    }

    /// The content kept inside the image becomes its present one; where others
    /// need the image as it is, that of a copy.
    fn inside(
        &mut self,
        disk: &Disk,
        graph: &Graph,
        with_memory: bool,
    ) -> Result<(String, String)> {
        let image = super::create::source(disk)?;
        let tag = self.snapshot.name().to_owned();
        let is_needed = graph.images.held.get(&image).is_some_and(|h| !h.is_empty())
            || graph.images.below.values().any(|below| *below == image);
        let format = disk.format().to_string();
        if !is_needed {
            if !with_memory {
                self.plan.finish.push(Step::Apply {
                    image: image.clone(),
                    tag,
                });
            }
            return Ok((image, format));
        }
        let copy = self.fresh(&image);
        let step = Step::Copy {
            from: image,
            to: copy.clone(),
        };
        self.make(step, disk, &copy);
        if !with_memory {
            self.plan.make.push(Step::Apply {
                image: copy.clone(),
                tag,
            });
        }
        Ok((copy, format))
    }

    fn make(&mut self, step: Step, disk: &Disk, image: &str) {
        let encryption = own_encryption(disk);
        self.plan.keys.note(Some(image), encryption.as_ref());
        self.plan.make.push(step);
        self.plan.undo.push(Step::Remove {
            image: image.to_owned(),
        });
        self.made.push(SnapshotDisk {
            name: Some(disk.target_dev().to_owned()),
            mode: Some(SnapshotMode::External),
            kind: Some(model::domain::storage::StorageType::File),
            driver: Some(SnapshotDriver {
                kind: Some(model::domain::storage::ImageFormat::Qcow2),
                metadata_cache: None,
            }),
            source: Some(model::domain::storage::StorageSource {
                file: Some(image.to_owned()),
                encryption,
                ..Default::default()
            }),
            ..SnapshotDisk::default()
        });
    }

    /// A name beside `image` that is free.
    fn fresh(&self, image: &str) -> String {
        let now = jiff::Timestamp::now().as_second();
        let base = storage::snapshot::beside(image, &format!("{}-{now}", self.snapshot.name()));
        let mut name = base.clone();
        let mut count = 1;
        while Path::new(&name).exists() {
            count += 1;
            name = format!("{base}-{count}");
        }
        name
    }
}

fn present(current: &Domain, target: &str) -> Option<(String, String)> {
    let disks = current.devices.disks.iter();
    let mut same = disks.filter(|disk| disk.target_dev() == target);
    let disk = same.next()?;
    Some((disk.source_path()?.to_owned(), disk.format().to_string()))
}
