//! The daemon's return: every QEMU of this root is found again by its record,
//! and what did not live through the absence is cleared away.

use crate::agent::Agent;
use crate::engine::Engine;
use crate::error::Result;
use crate::facts;
use crate::handle::DomainHandle;
use crate::intent::{self, Intent};
use crate::live::{LiveMachine, LiveParts};
use crate::owner::{self, Request};
use crate::process::Process;
use crate::status::{Phase, RunRecord};
use qemu::machine::{OffReason, Status};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use sys::process::ProcessId;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A QEMU found alive.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) live: Arc<LiveMachine>,
    pub(crate) status: Status,
}

/// Takes every machine over, all at once: one that does not answer delays the
/// others by no more than its own bound.
pub(crate) async fn take_over(engine: &Engine) {
    let mut tasks = JoinSet::new();
    for directory in run_directories(&engine.places().run.join("qemu")) {
        let engine = engine.clone();
        tasks.spawn(async move { take_over_one(&engine, &directory).await });
    }
    while let Some(done) = tasks.join_next().await {
        if let Err(error) = done {
            tracing::error!(%error, "taking a machine over broke off");
        }
    }
    engine.free_stray_functions();
}

fn run_directories(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

async fn take_over_one(engine: &Engine, directory: &Path) {
    let Some(record) = RunRecord::read(directory) else {
        // A start that had not come to its first record has started nothing;
        // a record that cannot be read may hide a QEMU.
        end_strays(directory).await;
        engine.release_run_dir(directory).await;
        return;
    };
    let same_boot = record.boot == engine.boot_id();
    match &record.phase {
        Phase::Running {
            pid,
            start_time,
            status,
        } if same_boot => {
            let id = ProcessId {
                pid: *pid,
                start_time: *start_time,
            };
            match sys::process::Process::open(id) {
                // One that nobody has reaped yet is gone all the same.
                Ok(Some(process)) if process.has_ended() => {
                    gone(engine, directory, &record).await;
                }
                Ok(Some(process)) if record.intent == Some(Intent::Destroy) => {
                    finish_destroy(process).await;
                    gone(engine, directory, &record).await;
                }
                Ok(Some(process)) => {
                    let status = *status;
                    match adopt(engine, directory, record, process, status).await {
                        Ok(()) => {}
                        Err(error) => {
                            tracing::error!(%error, "a running machine could not be taken over")
                        }
                    }
                }
                Ok(None) => gone(engine, directory, &record).await,
                Err(error) => tracing::error!(%error, "a running machine could not be looked at"),
            }
        }
        // It was being started: nobody was told that it runs, so it does not.
        Phase::Starting if same_boot => {
            end_strays(directory).await;
            engine.release_run_dir(directory).await;
        }
        // The host was restarted meanwhile; nothing of it is left.
        _ => engine.release_run_dir(directory).await,
    }
}

async fn adopt(
    engine: &Engine,
    directory: &Path,
    record: RunRecord,
    process: sys::process::Process,
    status: Status,
) -> Result<()> {
    let mut domain = engine.parse_stored(&record.xml)?;
    domain.id = Some(record.id);
    engine.keep_functions(&domain);
    for port in &record.holdings.ports {
        engine.ports().adopt(*port);
    }
    let agent = facts::agent_socket(&domain)
        .map(|path| Agent::new(path.into(), facts::agent_is_connected(&domain)));
    let pid = process.id().pid;
    let cgroup =
        sys::cgroup::Manager::of_process(pid, &engine.cgroup_name(record.id, &record.name));
    let entry = engine.claim_running(&domain)?;
    let live = Arc::new(LiveMachine::new(LiveParts {
        id: record.id,
        definition: domain,
        process: Process::watch(process)?,
        run_dir: directory.to_owned(),
        cgroup: cgroup.ok().flatten(),
        autodestroy: None,
        notes: record.notes,
        agent,
        holdings: record.holdings,
        log_dir: engine.places().log.join("qemu"),
        intent: record.intent,
    }));
    if let Err(error) = live.count_events(&live.definition()) {
        tracing::warn!(domain = record.name, %error, "its events are no longer counted");
    }
    let (reply, answer) = oneshot::channel();
    owner::send(
        engine,
        &entry,
        Request::Adopt {
            found: Box::new(Found { live, status }),
            reply,
        },
    )?;
    answer
        .await
        .map_err(|_| crate::error::EngineError::stopping())?
}

/// The machine was to be destroyed when the last daemon died.
async fn finish_destroy(process: sys::process::Process) {
    match Process::watch(process) {
        Ok(process) => {
            if let Err(error) = owner::abandon(&process).await {
                tracing::error!(%error, "a destroyed machine is left");
            }
        }
        Err(error) => tracing::error!(%error, "a destroyed machine is left"),
    }
}

/// Its QEMU ended while nobody watched: as it was asked to, or by itself.
async fn gone(engine: &Engine, directory: &Path, record: &RunRecord) {
    let asked = match record.phase {
        Phase::Running { status, .. } => intent::end_of(record.intent.as_ref(), status),
        Phase::Starting => None,
    };
    if asked.is_none() {
        let words = engine.last_words(&record.name);
        tracing::warn!(
            domain = record.name,
            last_words = words,
            "QEMU ended while the daemon was away"
        );
        engine.note_crash(
            record.uuid,
            format!("QEMU ended while the daemon was away: {words}"),
        );
    }
    if let Some(Intent::UseUp { saved }) = &record.intent
        && let Err(error) = owner::remove_file(saved)
    {
        tracing::error!(%error, "a saved state that was used up is left");
    }
    engine.release_run_dir(directory).await;
    if let Ok(DomainHandle { entry, .. }) = engine.domain_by_uuid(record.uuid) {
        let mut view = crate::view::DomainView::clone(&entry.view());
        view.status = Status::Off(asked.unwrap_or(OffReason::Crashed));
        view.managed_save = engine.places().managed_save(&view.name).exists();
        entry.publish(view);
    }
}

/// Ends processes that were started with this run's directory for a home.
async fn end_strays(directory: &Path) {
    for process in sys::process::find_by_start(&directory.join("").to_string_lossy()) {
        tracing::warn!(
            pid = process.id().pid,
            "ending a QEMU whose start was never finished"
        );
        match Process::watch(process) {
            Ok(process) => {
                if let Err(error) = owner::abandon(&process).await {
                    tracing::error!(%error, "a stray QEMU is left");
                }
            }
            Err(error) => tracing::error!(%error, "a stray QEMU is left"),
        }
    }
}
