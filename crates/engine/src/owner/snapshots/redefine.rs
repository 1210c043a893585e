//! Taking over what is known of a snapshot that is there already.

use super::super::{Owner, Reply, answer};
use super::stored;
use crate::error::{EngineError, ErrorKind, Result};
use crate::options::SnapshotCreate;
use crate::snapshots::journal::Outcome;
use crate::snapshots::work::Plan;
use model::domain::Domain;
use model::domain::disk::SnapshotMode;
use model::snapshot::{Snapshot, SnapshotDomain};
use storage::snapshot::{Defaults, align};

impl Owner {
    pub(super) fn redefine_snapshot(
        &mut self,
        snapshot: Snapshot,
        options: SnapshotCreate,
        reply: Reply<()>,
    ) {
        match self.plan_redefinition(snapshot, options) {
            Err(error) => answer(reply, Err(error)),
            Ok(outcome) => {
                let plan = Plan {
                    what: "redefine a snapshot".to_owned(),
                    outcome,
                    ..Plan::default()
                };
                self.hold_plan("snapshot", plan, super::Then::Answer, reply);
            }
        }
    }

    fn plan_redefinition(
        &self,
        mut snapshot: Snapshot,
        options: SnapshotCreate,
    ) -> Result<Outcome> {
        let tree = self.tree();
        let name = snapshot.name().to_owned();
        if let Some(parent) = snapshot.parent_name() {
            if parent == name {
                return Err(EngineError::new(
                    ErrorKind::InvalidArgument,
                    format!("cannot set snapshot {name} as its own parent"),
                ));
            }
            if tree.get(parent).is_none() {
                return Err(EngineError::new(
                    ErrorKind::InvalidArgument,
                    format!("parent {parent} for snapshot {name} not found"),
                ));
            }
            if tree.is_at_or_after(parent, &name) && tree.get(&name).is_some() {
                return Err(EngineError::new(
                    ErrorKind::InvalidArgument,
                    format!("parent {parent} would create cycle to {name}"),
                ));
            }
        }
        self.check_uuid(&snapshot)?;
        self.keep_definitions(&mut snapshot, tree.get(&name).is_some())?;
        if let Some(domain) = snapshot.whole_domain().cloned() {
            let mode = match (snapshot.memory_mode(), snapshot.state) {
                (Some(SnapshotMode::External), _)
                | (_, Some(model::snapshot::SnapshotState::DiskSnapshot)) => SnapshotMode::External,
                _ => SnapshotMode::Internal,
            };
            // The images were settled when it was taken; only the disks that are
            // not named get their part now.
            let mut aligned = snapshot.clone();
            if align(&mut aligned, &domain, Defaults { mode, only: false }).is_ok() {
                snapshot = aligned;
            }
        }
        let nvram = tree.get(&name).and_then(|head| head.nvram.clone());
        let current = match options.current {
            true => Some(name),
            false => tree.current().map(str::to_owned),
        };
        snapshot.active = None;
        Ok(Outcome {
            put: vec![stored(&snapshot, nvram)],
            current,
            layers: self.engine.records().layers(self.entry.uuid)?,
            ..Outcome::default()
        })
    }

    /// The definition in it must be of this domain.
    fn check_uuid(&self, snapshot: &Snapshot) -> Result<()> {
        let own = self.entry.uuid;
        let given = match &snapshot.domain {
            Some(SnapshotDomain::Whole(domain)) => domain.uuid,
            Some(SnapshotDomain::Uuid(uuid)) => *uuid,
            None => None,
        };
        match given {
            Some(uuid) if uuid != own => Err(EngineError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "definition for snapshot {} must use uuid {own}",
                    snapshot.name()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Where the XML has no whole definition, the one known before stays; for
    /// a snapshot new to us the present one is the best there is.
    fn keep_definitions(&self, snapshot: &mut Snapshot, known: bool) -> Result<()> {
        if snapshot.whole_domain().is_some() {
            return Ok(());
        }
        if known {
            let old = self
                .engine
                .read_snapshot(self.entry.uuid, snapshot.name())?;
            snapshot.domain = old.domain;
            snapshot.inactive_domain = snapshot.inactive_domain.take().or(old.inactive_domain);
            return Ok(());
        }
        let present: Domain = self.present_definition()?;
        snapshot.domain = Some(SnapshotDomain::Whole(Box::new(present)));
        Ok(())
    }
}
