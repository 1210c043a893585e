//! An installer at work: the machine runs by itself, and is started from its
//! own disk when the installer is done. What is needed for that is in the
//! job's record, so that a daemon that comes later goes on waiting.

use super::MachinePlan;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::{EventStream, Happening};
use crate::jobs::{JobContext, JobRecord, JobUnit};
use crate::options::StartOptions;
use qemu::machine::{LifecycleEvent, OffReason, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use uuid::Uuid;

/// The step of the job from which on the installer runs by itself.
pub const INSTALLING: &str = "installing";

/// The plan of an installation whose machine is defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstallerRun {
    pub(super) machine: MachinePlan,
    /// Whether the installer was seen running.
    pub(super) has_started: bool,
    /// Whether the machine starts from its own disk afterwards.
    pub(super) then_starts: bool,
    /// Kernel and initrd, which go once QEMU has read them.
    pub(super) loader: Vec<PathBuf>,
    /// What a person should know.
    pub(super) note: Option<String>,
}

impl InstallerRun {
    /// Reads it from the record of a job that is one.
    pub(crate) fn of(record: &JobRecord) -> Option<Self> {
        let plan = record.plan.as_ref().filter(|_| record.kind == "install")?;
        serde_json::from_value(plan.clone()).ok()
    }

    pub(super) fn encode(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Waits until the installer is done, and starts the machine from its own disk.
    pub(super) async fn wait(
        &self,
        engine: &Engine,
        job: &JobContext,
        mut events: EventStream,
    ) -> Result<()> {
        self.remove_loader(engine).await;
        job.step(INSTALLING, 0, JobUnit::Items);
        let domain = engine.domain_by_uuid(self.machine.uuid)?;
        if domain.view().status.is_active() {
            job.unless_cancelled(stopped(&mut events, self.machine.uuid))
                .await?;
        }
        if self.then_starts
            && let Err(error) = domain.start(StartOptions::default()).await
            // Somebody may have started it before.
            && !domain.view().status.is_active()
        {
            return Err(error);
        }
        Ok(())
    }

    async fn remove_loader(&self, engine: &Engine) {
        for path in &self.loader {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a file of an installation stays");
                }
                _ => {}
            }
        }
        engine.show_files(&self.loader).await;
    }
}

impl Engine {
    /// Goes on with an installation that an earlier daemon began.
    pub(crate) async fn end_install(&self, run: &InstallerRun, job: &JobContext) -> Result<Value> {
        // First the events, then the look: nothing is missed in between.
        let events = self.events();
        let status = self.domain_by_uuid(run.machine.uuid)?.view().status;
        let ended_well = matches!(
            status,
            Status::Off(OffReason::Shutdown | OffReason::Destroyed)
        );
        let goes_on = status.is_active() || (run.has_started && ended_well);
        if !goes_on {
            run.remove_loader(self).await;
            return Err(EngineError::new(
                ErrorKind::OperationFailed,
                format!(
                    "the installer of '{}' was broken off: the machine is there and its disks hold \
                     what was written until then",
                    run.machine.name
                ),
            ));
        }
        run.wait(self, job, events).await?;
        Ok(json!({"name": run.machine.name, "note": run.note}))
    }
}

/// Waits until the machine has stopped.
async fn stopped(events: &mut EventStream, uuid: Uuid) -> Result<()> {
    loop {
        let event = events.next().await?;
        if event.domain.uuid == uuid
            && matches!(event.what, Happening::Lifecycle(LifecycleEvent::Stopped(_)))
        {
            return Ok(());
        }
    }
}
