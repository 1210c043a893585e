//! Machines made from something: an image of the library, a template, an
//! installation medium.
//!
//! Every way is the same three steps: the plan (which files, which definitions)
//! goes into the job's record; the files are made; the definitions are stored.
//! A machine exists from the moment its definition does. What a daemon that
//! ended in between left is files that no definition names, and the plan says
//! which ([`Engine::recover_made`]).

mod clone;
mod create;
mod definition;
mod files;
mod install;
mod installer;
mod media;
mod osinfo;
mod seeds;
mod template;

pub use clone::CloneRequest;
pub use create::{CreateRequest, DiskSize};
pub(crate) use definition::{CardModel, DiskBus, Machine};
pub use definition::{Display, NetworkChoice};
pub(crate) use files::{Base, empty as empty_image, new_file};
pub use install::{InstallDisk, InstallFrom, InstallRequest};
pub use installer::INSTALLING;
pub(crate) use installer::InstallerRun;
pub use seeds::SeedRequest;
pub use template::Template;
pub(crate) use template::{Templates, cloned_disks, need_at_rest, not_a_file};

use crate::definition::Definition;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::pools::claim::Purpose;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use uuid::Uuid;

/// What a job is about to make: the plan in its record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Making {
    pub(crate) machines: Vec<MachinePlan>,
}

/// One machine that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MachinePlan {
    pub(crate) name: String,
    pub(crate) uuid: Uuid,
    /// The files that are made for it; none of them was there before.
    pub(crate) files: Vec<PathBuf>,
}

impl MachinePlan {
    /// Files that are there for a while only. Their uuid is nobody's, so that a daemon which finds
    /// the plan removes them.
    pub(crate) fn scratch(name: &str, files: Vec<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            uuid: Uuid::new_v4(),
            files,
        }
    }

    /// Removes what was made of its files.
    pub(crate) fn remove_files(&self) {
        for file in &self.files {
            if let Err(error) = std::fs::remove_file(file)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(file = %file.display(), %error, "a file of an undone machine stays");
            }
        }
    }
}

impl Making {
    /// The plan of one.
    pub(crate) fn of(machine: MachinePlan) -> Value {
        let machines = vec![machine];
        Self { machines }.encode()
    }

    pub(crate) fn encode(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Engine {
    /// Undoes the machines of a job that did not end, unless their definitions
    /// are stored: then they are whole.
    pub(crate) fn recover_made(&self, plan: &Value) {
        let making: Making = match serde_json::from_value(plan.clone()) {
            Ok(making) => making,
            Err(error) => return tracing::error!(%error, "a job's plan cannot be read"),
        };
        for machine in &making.machines {
            if self.domain_by_uuid(machine.uuid).is_err() {
                machine.remove_files();
            }
        }
    }

    /// Lets `work` make the files of a machine. A pool they lie in shows them when they are whole;
    /// those of a machine that does not come to be are removed.
    pub(crate) async fn making<T>(
        &self,
        plan: &MachinePlan,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut claims = Vec::new();
        for file in &plan.files {
            claims.extend(self.claim_path(file, Purpose::Make).await?);
        }
        let done = work.await;
        if done.is_err() && self.domain_by_uuid(plan.uuid).is_err() {
            plan.remove_files();
        }
        for claim in claims {
            if let Err(error) = claim.finish().await {
                tracing::warn!(machine = %plan.name, %error, "a pool does not show its disk");
            }
        }
        done
    }

    /// Stores the definition of a machine that is whole.
    pub(crate) async fn define_made(&self, definition: Definition) -> Result<()> {
        self.define_complete(definition).await.map(drop)
    }

    /// Refuses a name that a machine has already.
    pub(crate) fn need_free_name(&self, name: &str) -> Result<()> {
        crate::owner::check_name(name)?;
        match self.domain_by_name(name) {
            Ok(domain) => Err(EngineError::new(
                ErrorKind::DomainExists,
                format!("domain '{name}' already exists with uuid {}", domain.uuid()),
            )),
            Err(_) => Ok(()),
        }
    }
}

/// Refuses files that are there already: nothing is ever written over.
pub(crate) fn need_free_files(machine: &MachinePlan) -> Result<()> {
    match machine
        .files
        .iter()
        .find(|file| file.symlink_metadata().is_ok())
    {
        None => Ok(()),
        Some(file) => Err(EngineError::new(
            ErrorKind::VolumeExists,
            format!(
                "'{}' is there already: remove it, or choose another name for '{}'",
                file.display(),
                machine.name
            ),
        )),
    }
}
