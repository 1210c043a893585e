//! Taking a snapshot.

use super::super::{Owner, Reply, Request, answer};
use super::{Then, state_of, stored, text_of, unsupported};
use crate::error::{EngineError, ErrorKind, Result};
use crate::options::SnapshotCreate;
use crate::snapshots::graph::set_image;
use crate::snapshots::journal::Outcome;
use crate::snapshots::keys::{own_format, settle_overlays};
use crate::snapshots::work::Plan;
use model::domain::Domain;
use model::domain::disk::{Disk, SnapshotMode};
use model::domain::storage::ImageFormat;
use model::snapshot::{Snapshot, SnapshotDomain, SnapshotMemory, SnapshotParent, SnapshotState};
use std::path::Path;
use storage::chain::Step;
use storage::keys::{KeyRef, Keys};
use storage::snapshot::{Defaults, Refusal, align, find};

impl Owner {
    pub(in crate::owner) fn create_snapshot(
        &mut self,
        snapshot: Box<Snapshot>,
        options: SnapshotCreate,
        reply: Reply<()>,
    ) {
        let mut slot = Some((snapshot, reply));
        let is_settled = self.is_settled(|| {
            let (snapshot, reply) = slot.take().expect("taken once");
            Request::CreateSnapshot {
                snapshot,
                options,
                reply,
            }
        });
        let Some((snapshot, reply)) = slot.filter(|_| is_settled) else {
            return;
        };
        if options.redefine {
            return self.redefine_snapshot(*snapshot, options, reply);
        }
        match self.prepare_snapshot(*snapshot, options) {
            Err(error) => answer(reply, Err(error)),
            Ok(wish) if self.live.is_some() => self.create_live_snapshot(wish, reply),
            Ok(wish) => match self.plan_offline_snapshot(wish) {
                Err(error) => answer(reply, Err(error)),
                Ok(plan) => self.hold_plan("snapshot", plan, Then::Answer, reply),
            },
        }
    }

    /// Settles what the snapshot is of, and refuses what cannot be.
    fn prepare_snapshot(&self, mut snapshot: Snapshot, options: SnapshotCreate) -> Result<Wish> {
        let view = self.entry.view();
        if view.stored.is_none() && options.halt {
            return Err(EngineError::invalid(
                "cannot halt after transient domain snapshot",
            ));
        }
        let tree = self.tree();
        if tree.get(snapshot.name()).is_some() {
            return Err(EngineError::invalid(format!(
                "domain moment {} already exists",
                snapshot.name()
            )));
        }
        let active = self.live.is_some();
        let domain = self.present_definition()?;
        settle_state(&mut snapshot, state_of(self.life.status()), active, options)?;
        let external = options.disk_only || snapshot.memory_mode() == Some(SnapshotMode::External);
        let defaults = Defaults {
            mode: match external {
                true => SnapshotMode::External,
                false => SnapshotMode::Internal,
            },
            only: false,
        };
        align(&mut snapshot, &domain, defaults).map_err(refused)?;
        settle_overlays(&mut snapshot, &domain, options.reuse)?;
        check_parts(&snapshot, &domain, active, options)?;
        snapshot.parent = tree.current().map(|name| SnapshotParent {
            name: Some(name.to_owned()),
        });
        let stored = match view.stored {
            Some(_) => Some(self.stored_definition()?),
            None => None,
        };
        if active {
            snapshot.inactive_domain = stored
                .clone()
                .map(|domain| SnapshotDomain::Whole(Box::new(domain)));
        }
        snapshot.domain = Some(SnapshotDomain::Whole(Box::new(domain.clone())));
        Ok(Wish {
            snapshot,
            options,
            domain,
            stored,
        })
    }

    fn plan_offline_snapshot(&self, wish: Wish) -> Result<Plan> {
        let nvram = self.nvram_steps(&wish.snapshot, &wish.domain);
        let mut plan = Plan {
            what: format!("take snapshot '{}'", wish.snapshot.name()),
            keys: wish.keys(),
            ..Plan::default()
        };
        for (wanted, disk) in wish.parts() {
            match wanted.mode {
                Some(SnapshotMode::Internal) => {
                    let (image, tag) = (source(disk)?, wish.snapshot.name().to_owned());
                    plan.undo.push(Step::Untag {
                        image: image.clone(),
                        tag: tag.clone(),
                    });
                    plan.make.push(Step::Tag { image, tag });
                }
                Some(SnapshotMode::External) if !wish.options.reuse => {
                    let step = overlay_step(wanted, disk)?;
                    if let Step::Overlay { image, .. } = &step {
                        plan.undo.push(Step::Remove {
                            image: image.clone(),
                        });
                    }
                    plan.make.push(step);
                }
                _ => {}
            }
        }
        if let Some((make, undo)) = nvram.clone() {
            plan.make.push(make);
            plan.undo.push(undo);
        }
        plan.outcome = self.created(&wish, nvram.and_then(|(make, _)| copied(&make)));
        Ok(plan)
    }

    /// What the store says once the snapshot is there.
    pub(super) fn created(&self, wish: &Wish, nvram: Option<String>) -> Outcome {
        let tree = self.tree();
        let layers = self.engine.records().layers(self.entry.uuid);
        let mut outcome = Outcome {
            current: tree.current().map(str::to_owned),
            layers: layers.unwrap_or_default(),
            ..Outcome::default()
        };
        if !wish.options.no_metadata {
            outcome.current = Some(wish.snapshot.name().to_owned());
            outcome.put.push(stored(&wish.snapshot, nvram));
        }
        if let Some(mut definition) = wish.stored.clone().filter(|_| wish.is_external()) {
            wish.switch(&mut definition);
            outcome.definition = Some(text_of(definition));
        }
        outcome
    }

    /// The UEFI variables are copied; the copy belongs to the snapshot.
    pub(super) fn nvram_steps(&self, snapshot: &Snapshot, domain: &Domain) -> Option<(Step, Step)> {
        let from = crate::facts::nvram_path(domain).filter(|path| Path::new(path).exists())?;
        let to = self
            .engine
            .places()
            .snapshot_nvram(self.entry.uuid, snapshot.name())
            .to_string_lossy()
            .into_owned();
        let undo = Step::Remove { image: to.clone() };
        let from = from.to_owned();
        Some((Step::Copy { from, to }, undo))
    }
}

pub(super) fn copied(step: &Step) -> Option<String> {
    match step {
        Step::Copy { to, .. } => Some(to.clone()),
        _ => None,
    }
}

/// A snapshot that can be taken.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) snapshot: Snapshot,
    pub(super) options: SnapshotCreate,
    /// The definition whose disks it is of.
    pub(super) domain: Domain,
    /// The stored definition, which is the same while the machine is off.
    pub(super) stored: Option<Domain>,
}

impl Wish {
    /// Each disk's part, with the disk.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&model::snapshot::SnapshotDisk, &Disk)> {
        let disks = self.snapshot.disks().iter();
        disks.filter_map(|wanted| Some((wanted, find(&self.domain, wanted.name())?)))
    }

    /// What the encrypted images among the present and the new ones are opened with.
    pub(super) fn keys(&self) -> Keys {
        let mut keys = Keys::of_domain(&self.domain);
        keys.note_snapshot(&self.snapshot);
        keys
    }

    pub(super) fn is_external(&self) -> bool {
        let disks = self.snapshot.disks();
        disks.iter().any(|d| d.mode == Some(SnapshotMode::External))
    }

    /// Puts the new images behind the disks of a definition that uses the old ones.
    pub(super) fn switch(&self, definition: &mut Domain) {
        for (wanted, disk) in self.parts() {
            let (Some(SnapshotMode::External), Some(path)) = (wanted.mode, wanted.path()) else {
                continue;
            };
            let same = definition.devices.disks.iter_mut().find(|other| {
                other.target_dev() == disk.target_dev() && other.source_path() == disk.source_path()
            });
            if let Some(same) = same {
                let format = wanted.format().unwrap_or(ImageFormat::Qcow2);
                let made = wanted.source.as_ref();
                let key = made.and_then(|source| KeyRef::of(source.encryption.as_ref()?));
                set_image(same, path, format.as_str(), key.as_ref());
            }
        }
    }
}

fn refused(refusal: Refusal) -> EngineError {
    match refusal {
        Refusal::Invalid(why) => EngineError::new(ErrorKind::XmlError, why),
        Refusal::Unsupported(why) => unsupported(why),
    }
}

/// The state and the memory's place that the snapshot records.
fn settle_state(
    snapshot: &mut Snapshot,
    present: SnapshotState,
    active: bool,
    options: SnapshotCreate,
) -> Result<()> {
    let wanted = snapshot.memory_mode();
    let state = match (options.disk_only, active) {
        (true, true) => SnapshotState::DiskSnapshot,
        (_, false) => SnapshotState::Shutoff,
        (false, true) => present,
    };
    if state.is_offline() && wanted.is_some_and(|mode| mode != SnapshotMode::No) {
        return Err(EngineError::new(
            ErrorKind::XmlError,
            "memory state cannot be saved with offline or disk-only snapshot",
        ));
    }
    if !state.is_offline() && wanted == Some(SnapshotMode::No) {
        return Err(unsupported(
            "internal snapshot of a running VM must include the memory state",
        ));
    }
    if options.live && wanted != Some(SnapshotMode::External) {
        return Err(unsupported(
            "live snapshot creation is supported only with external checkpoints",
        ));
    }
    snapshot.state = Some(state);
    let mode = match state.is_offline() {
        true => SnapshotMode::No,
        false => wanted.unwrap_or(SnapshotMode::Internal),
    };
    snapshot
        .memory
        .get_or_insert_with(SnapshotMemory::default)
        .mode = Some(mode);
    Ok(())
}

/// Whether the disks' parts go together, and the files are (not) there.
fn check_parts(
    snapshot: &Snapshot,
    domain: &Domain,
    active: bool,
    options: SnapshotCreate,
) -> Result<()> {
    let count = |mode| {
        let disks = snapshot.disks().iter();
        disks.filter(|disk| disk.mode == Some(mode)).count()
    };
    let (internal, external) = (count(SnapshotMode::Internal), count(SnapshotMode::External));
    let memory = snapshot.memory_mode().unwrap_or(SnapshotMode::No);
    if internal + external == 0 && memory != SnapshotMode::External {
        return Err(unsupported("nothing selected for snapshot"));
    }
    if active && internal > 0 && memory == SnapshotMode::External {
        return Err(unsupported(
            "mixing internal and external targets for a snapshot is not yet supported",
        ));
    }
    if memory == SnapshotMode::Internal {
        check_inside(snapshot, domain)?;
    }
    for disk in snapshot.disks() {
        if disk.mode == Some(SnapshotMode::External) {
            let path = disk.path().unwrap_or_default();
            check_new_file(NewFile::Snapshot, disk.name(), path, options.reuse)?;
        }
    }
    Ok(())
}

/// Whether memory and disks can all go inside the images.
fn check_inside(snapshot: &Snapshot, domain: &Domain) -> Result<()> {
    let writable =
        |name: &str| find(domain, name).is_some_and(|disk| !disk.readonly && !disk.is_empty());
    let mut disks = snapshot.disks().iter();
    let left_out = disks.find(|d| d.mode != Some(SnapshotMode::Internal) && writable(d.name()));
    if let Some(left_out) = left_out {
        return Err(unsupported(format!(
            "disk '{}' must use snapshot mode 'internal'",
            left_out.name()
        )));
    }
    match crate::snapshots::live::memory_image(domain) {
        Some(_) => Ok(()),
        // QEMU 10.0 writes memory in pieces that its own encryption does not take, and aborts.
        None => Err(unsupported(
            "memory cannot be kept inside an encrypted image, and the machine has no other qcow2 \
             disk: keep it in a file (--memspec), or take the disks alone (--disk-only)",
        )),
    }
}

/// What a new image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::owner) enum NewFile {
    /// What a machine writes to from a snapshot on.
    Snapshot,
    /// A copy of its disk.
    Copy,
}

/// Refuses a new image in place of a file that is there already, unless that is to be used as it
/// is; then it must be there.
pub(in crate::owner) fn check_new_file(
    purpose: NewFile,
    disk: &str,
    path: &str,
    reuse: bool,
) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let found = std::fs::metadata(path);
    let is_device = found
        .as_ref()
        .is_ok_and(|m| m.file_type().is_block_device());
    let (missing, external) = match purpose {
        NewFile::Snapshot => ("existing", "snapshot"),
        NewFile::Copy => ("destination", "destination"),
    };
    match (reuse, found) {
        (true, Err(error)) => Err(EngineError::io(
            &format!("missing {missing} file for disk {disk}: {path}"),
            &error,
        )),
        (false, Ok(found)) if !is_device && found.len() > 0 => Err(unsupported(format!(
            "external {external} file for disk {disk} already exists and is not a block device: \
             {path}"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn source(disk: &Disk) -> Result<String> {
    disk.source_path()
        .map(str::to_owned)
        .ok_or_else(|| unsupported(format!("disk '{}' has no image", disk.target_dev())))
}

/// The new, empty image upon the disk's present one.
pub(super) fn overlay_step(wanted: &model::snapshot::SnapshotDisk, disk: &Disk) -> Result<Step> {
    Ok(Step::Overlay {
        image: wanted.path().unwrap_or_default().to_owned(),
        format: wanted.format().unwrap_or(ImageFormat::Qcow2).to_string(),
        backing: source(disk)?,
        backing_format: own_format(disk),
    })
}
