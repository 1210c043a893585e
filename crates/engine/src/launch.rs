//! From a complete definition to a running QEMU: everything the run needs is
//! made, QEMU is started, and it has answered. What fails on the way undoes
//! what was made before.

use crate::agent::Agent;
use crate::console::Console;
use crate::console_log::BoundedLog;
use crate::crash::{Step, crash_point};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::facts;
use crate::limits::{QEMU_START_TIMEOUT_MS, QUIT_TIMEOUT_MS};
use crate::live::{LiveMachine, LiveParts};
use crate::log;
use crate::monitor::{Monitor, News};
use crate::options::StartOptions;
use crate::owner::{SETUP_TIMEOUT, cancelled, follow_migration, undo_start};
use crate::process::Process;
use crate::run::{self, Run};
use crate::saved::SavedState;
use crate::status::Phase;
use crate::tuning::{self, PerfCounters};
use qemu::caps::Accelerator;
use qemu::machine::{PausedReason, RunningReason, Status};
use qemu::qmp::commands::{self, Stream};
use qemu::qmp::reply::RunState;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Where a machine's state comes from.
#[derive(Debug)]
pub(crate) enum StartFrom {
    /// A boot.
    Boot,
    /// A saved state.
    Saved(SavedState),
    /// The state kept under a name inside the machine's images.
    Snapshot(String),
}

/// A machine that has come up.
pub(crate) struct Launched {
    pub(crate) live: Arc<LiveMachine>,
    pub(crate) news: mpsc::Receiver<News>,
    pub(crate) paused: bool,
}

/// The name under which QEMU knows the file it restores from.
const RESTORE_FD: &str = "restore";

/// The monitor's socket of a run.
pub(crate) fn monitor_path(run_dir: &Path) -> PathBuf {
    run_dir.join("monitor.sock")
}

/// Starts a machine. Where hardware acceleration turns out not to work, it is
/// tried once more without, and remembered.
pub(crate) async fn launch(
    engine: &Engine,
    domain: model::domain::Domain,
    from: StartFrom,
    options: StartOptions,
    cancel: watch::Receiver<bool>,
) -> Result<Launched> {
    let run = run::prepare(engine, domain.clone(), &from, options).await?;
    let accelerator = run.accelerator;
    let first = start_run(engine, run, &from, options, cancel.clone()).await;
    match first {
        Err(Failure {
            error,
            acceleration: true,
            ..
        }) if accelerator == Accelerator::Kvm => {
            engine.binaries().kvm_failed(&error.message);
            let run = run::prepare(engine, domain, &from, options).await?;
            start_run(engine, run, &from, options, cancel)
                .await
                .map_err(|failure| failure.error)
        }
        other => other.map_err(|failure| failure.error),
    }
}

/// Why a start failed.
struct Failure {
    error: EngineError,
    /// QEMU's words say that hardware acceleration is the cause.
    acceleration: bool,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self {
            error,
            acceleration: false,
        }
    }
}

async fn start_run(
    engine: &Engine,
    mut run: Run,
    from: &StartFrom,
    options: StartOptions,
    mut cancel: watch::Receiver<bool>,
) -> std::result::Result<Launched, Failure> {
    let run_dir = run.directory.clone();
    let spawned = run.spawn(engine);
    let (process, words) = match spawned {
        Ok(spawned) => spawned,
        Err(error) => {
            // Nothing is to be made any more once it is given back.
            let _ = run.connecting.done().await;
            engine.release_run_dir(&run_dir).await;
            return Err(error.into());
        }
    };
    crash_point(Step::StartSpawned);
    let came_up = tokio::select! {
        biased;
        result = bring_up(engine, &process, &mut run, from, options) => result,
        () = process.exited() => Err(EngineError::failed("QEMU exited")),
        _ = cancel.wait_for(|wanted| *wanted) => Err(cancelled()),
    };
    crash_point(Step::StartUp);
    run.joined().await;
    crash_point(Step::StartJoined);
    match came_up {
        Ok((monitor, news, counters)) => {
            let launched = finish(engine, run, process, monitor, news, options)?;
            launched.live.take_counters(counters);
            Ok(launched)
        }
        Err(error) => {
            // Its monitor closes a moment before it is gone.
            let ending = error.kind == ErrorKind::MonitorClosed;
            let exited = process.has_ended()
                || (ending
                    && process
                        .ends_within(Duration::from_millis(QUIT_TIMEOUT_MS))
                        .await);
            let said = words.said();
            let _ = run.connecting.done().await;
            undo_start(engine, &process, &run_dir).await;
            let acceleration = exited && blames_kvm(&said);
            let error = if exited {
                exited_early(&process, &said)
            } else {
                error
            };
            Err(Failure {
                error,
                acceleration,
            })
        }
    }
}

fn exited_early(process: &Process, said: &str) -> EngineError {
    let said = if said.is_empty() {
        "it said nothing"
    } else {
        said
    };
    EngineError::new(
        ErrorKind::OperationFailed,
        format!("QEMU did not start ({}): {said}", process.reap()),
    )
}

fn blames_kvm(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    said.contains("kvm") || said.contains("failed to set msr")
}

/// Connects, learns the terminals, loads a saved state and lets the guest run.
///
/// The guest's processors stand still until all is said: they would only
/// compete with QEMU for the host's. What needs no answer of what went before
/// is asked at once.
async fn bring_up(
    engine: &Engine,
    process: &Process,
    run: &mut Run,
    from: &StartFrom,
    options: StartOptions,
) -> Result<(Monitor, mpsc::Receiver<News>, PerfCounters)> {
    let timeout = Duration::from_millis(QEMU_START_TIMEOUT_MS);
    let (monitor, news) = Monitor::reach(&monitor_path(&run.directory)).await?;
    crash_point(Step::StartReached);
    let mut counters = PerfCounters::default();
    counters.follow(&run.domain, process.pid())?;
    let plain_boot = matches!(from, StartFrom::Boot)
        && run.setup.is_empty()
        && !tuning::threads_are_tuned(&run.domain)
        && run.domain.plugged_vcpus().is_empty();
    let (negotiated, terminals, running) = tokio::join!(
        monitor.capabilities(timeout),
        query_terminals(&run.domain, &monitor, timeout),
        async {
            run.connecting.done().await?;
            let_run(&monitor, plain_boot && !options.paused, timeout).await
        },
    );
    negotiated?;
    for (alias, terminal) in terminals? {
        facts::set_terminal(&mut run.domain, &alias, &terminal);
    }
    running?;
    if plain_boot {
        return Ok((monitor, news, counters));
    }
    let plugged = run.domain.plugged_vcpus();
    if !plugged.is_empty() {
        tuning::plug_vcpus(&monitor, &plugged).await?;
    }
    // A group of threads lies within the machine's own.
    run.joined().await;
    let group = run.cgroup.as_ref();
    tuning::apply_threads(
        process.id().pid,
        &monitor,
        group,
        &run.domain,
        SETUP_TIMEOUT,
    )
    .await?;
    for command in &run.setup {
        monitor.ask(command, SETUP_TIMEOUT).await?;
    }
    if let StartFrom::Saved(saved) = from {
        load(saved, &monitor).await?;
        crash_point(Step::RestoreLoaded);
        run.record_restored(engine, process, saved.used_up.as_deref())?;
        crash_point(Step::RestoreRecorded);
    }
    if let StartFrom::Snapshot(tag) = from {
        crate::snapshots::live::load(&monitor, &run.domain, tag).await?;
    }
    let_run(&monitor, !options.paused, SETUP_TIMEOUT).await?;
    crash_point(Step::RestoreRunning);
    Ok((monitor, news, counters))
}

async fn let_run(monitor: &Monitor, wanted: bool, timeout: Duration) -> Result<()> {
    if wanted {
        monitor.ask(&commands::cont(), timeout).await?;
    }
    Ok(())
}

async fn load(saved: &SavedState, monitor: &Monitor) -> Result<()> {
    let file = saved
        .file
        .try_clone()
        .map_err(|e| EngineError::system("cannot restore", e))?;
    monitor
        .ask_with_descriptor(&commands::getfd(RESTORE_FD), OwnedFd::from(file))
        .await?;
    let stream = Stream::Descriptor(RESTORE_FD.to_owned());
    monitor
        .ask(&commands::migrate_incoming(&stream), SETUP_TIMEOUT)
        .await?;
    follow_migration(None, monitor).await
}

/// The terminals QEMU has made: the device's alias and the terminal.
async fn query_terminals(
    domain: &model::domain::Domain,
    monitor: &Monitor,
    timeout: Duration,
) -> Result<Vec<(String, String)>> {
    if !facts::wants_terminals(domain) {
        return Ok(Vec::new());
    }
    let chardevs = monitor.ask(&commands::query_chardev(), timeout).await?;
    let terminals = chardevs.iter().filter_map(|chardev| {
        let terminal = chardev.filename.strip_prefix("pty:")?;
        let alias = chardev.label.strip_prefix("char").unwrap_or(&chardev.label);
        Some((alias.to_owned(), terminal.to_owned()))
    });
    Ok(terminals.collect())
}

fn finish(
    engine: &Engine,
    run: Run,
    process: Process,
    monitor: Monitor,
    news: mpsc::Receiver<News>,
    options: StartOptions,
) -> Result<Launched> {
    let agent = facts::agent_socket(&run.domain).map(|path| Agent::new(path.into(), false));
    let live = Arc::new(LiveMachine::new(LiveParts {
        id: run.id,
        definition: run.domain,
        process,
        run_dir: run.directory,
        cgroup: run.cgroup,
        autodestroy: options.autodestroy,
        notes: run.notes,
        agent,
        holdings: run.holdings,
        log_dir: engine.places().log.join("qemu"),
        intent: None,
    }));
    live.set_monitor(monitor);
    open_consoles(&live);
    Ok(Launched {
        live,
        news,
        paused: options.paused,
    })
}

/// Begins to read the machine's serial terminals.
pub(crate) fn open_consoles(live: &LiveMachine) {
    let definition = live.definition();
    for (alias, terminal) in facts::terminals(&definition) {
        let log = BoundedLog::open(&live.log_dir, &definition.name, &alias);
        match Console::open(&alias, Path::new(&terminal), log) {
            Ok(console) => live.add_console(console),
            Err(error) => tracing::warn!(domain = %definition.name, alias, %error, "no console"),
        }
    }
}

/// The state of a QEMU that was found running. QEMU knows whether its
/// processors stand still, the record knows why.
pub(crate) fn status_of(state: RunState, recorded: Status) -> Status {
    match state {
        RunState::Running => match recorded {
            Status::Running(_) => recorded,
            _ => Status::Running(RunningReason::Unknown),
        },
        RunState::Shutdown => Status::ShuttingDown,
        RunState::GuestPanicked => Status::Panicked,
        RunState::Suspended => Status::PmSuspended,
        RunState::IoError => Status::Paused(PausedReason::IoError),
        RunState::Watchdog => Status::Paused(PausedReason::Watchdog),
        _ => match recorded {
            Status::Paused(_) => recorded,
            _ => Status::Paused(PausedReason::Unknown),
        },
    }
}

/// The first record of a run, before QEMU exists.
pub(crate) const FIRST_PHASE: Phase = Phase::Starting;

/// The end of what a process wrote into a file of its own.
pub(crate) fn tail(file: &std::fs::File) -> String {
    log::words_since(file, 0)
}
