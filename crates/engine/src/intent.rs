//! What is being done to a running machine in several steps. It is in the
//! run's record before the first of them, so that a daemon that comes back
//! after a crash brings it to its end or undoes it.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::{MIGRATION_POLL_MS, QUIT_TIMEOUT_MS, SAVE_CANCEL_TIMEOUT_MS};
use crate::live::LiveMachine;
use crate::monitor::Monitor;
use crate::owner::remove_file;
use crate::saved::partial_path;
use qemu::machine::{RunningReason, Status};
use qemu::qmp::commands;
use qemu::qmp::reply::{MigrationStatus, RunState};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An operation of several steps that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum Intent {
    /// It goes on from a saved state, which must not be used a second time.
    UseUp {
        /// The state's file.
        saved: PathBuf,
    },
    /// Its state goes to a file, then its QEMU ends.
    Save {
        /// The file's final name.
        path: PathBuf,
        /// Whether its processors ran before.
        was_running: bool,
    },
    /// It is being destroyed.
    Destroy,
}

/// What became of the intent a daemon found on its return.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The machine runs on; with this state where settling has changed it.
    RunsOn(Option<Status>),
    /// Its state is complete in the file; its QEMU is gone.
    Saved(PathBuf),
    /// It had gone on from this state, which is of no use any more.
    UsedUp(PathBuf),
}

/// Finishes or undoes what the last daemon was doing to a machine that lives.
pub(crate) async fn settle(
    live: &LiveMachine,
    monitor: &Monitor,
    state: RunState,
) -> Result<Settled> {
    match live.intent() {
        None | Some(Intent::Destroy) => Ok(Settled::RunsOn(None)),
        Some(Intent::UseUp { saved }) => Ok(Settled::UsedUp(saved)),
        Some(Intent::Save { path, .. }) if is_complete(&path, state) => {
            tracing::info!(path = %path.display(), "finishing a save that was under way");
            finish_save(live, monitor).await?;
            Ok(Settled::Saved(path))
        }
        Some(Intent::Save { path, was_running }) => {
            tracing::info!(path = %path.display(), "undoing a save that was never finished");
            undo_save(monitor, &path, was_running)
                .await
                .map(Settled::RunsOn)
        }
    }
}

/// The file gets its name when everything is in it; a machine that was let go
/// on since is in another state.
fn is_complete(path: &Path, state: RunState) -> bool {
    state == RunState::Postmigrate && path.exists() && !partial_path(path).exists()
}

async fn finish_save(live: &LiveMachine, monitor: &Monitor) -> Result<()> {
    let patience = Duration::from_millis(QUIT_TIMEOUT_MS);
    // It may go before it answers: that is its answer.
    let _ = monitor.ask(&commands::quit(), patience).await;
    if !live.process.ends_within(patience).await {
        crate::owner::abandon(&live.process).await?;
    }
    Ok(())
}

async fn undo_save(monitor: &Monitor, path: &Path, was_running: bool) -> Result<Option<Status>> {
    monitor.execute(&commands::migrate_cancel()).await?;
    let patience = Duration::from_millis(SAVE_CANCEL_TIMEOUT_MS);
    tokio::time::timeout(patience, stream_ended(monitor))
        .await
        .map_err(|_| {
            EngineError::new(
                ErrorKind::OperationTimeout,
                "QEMU does not stop writing the state of a save that was broken off",
            )
        })??;
    if was_running {
        monitor.execute(&commands::cont()).await?;
    }
    // Last, so that a daemon that dies here too knows what is still to be done.
    remove_file(&partial_path(path))?;
    Ok(was_running.then_some(Status::Running(RunningReason::SaveCanceled)))
}

async fn stream_ended(monitor: &Monitor) -> Result<()> {
    loop {
        let info = monitor.execute(&commands::query_migrate()).await?;
        match info.status {
            None
            | Some(
                MigrationStatus::None
                | MigrationStatus::Completed
                | MigrationStatus::Cancelled
                | MigrationStatus::Failed,
            ) => return Ok(()),
            _ => tokio::time::sleep(Duration::from_millis(MIGRATION_POLL_MS)).await,
        }
    }
}

/// How a machine ended whose QEMU is gone, as far as the record tells.
pub(crate) fn end_of(intent: Option<&Intent>, shown: Status) -> Option<qemu::machine::OffReason> {
    use qemu::machine::OffReason;
    match (intent, shown) {
        (Some(Intent::Destroy), _) => Some(OffReason::Destroyed),
        (Some(Intent::Save { path, .. }), _) if path.exists() && !partial_path(path).exists() => {
            Some(OffReason::Saved)
        }
        (_, Status::ShuttingDown) => Some(OffReason::Shutdown),
        _ => None,
    }
}
