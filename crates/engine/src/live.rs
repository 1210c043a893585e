//! A running machine as everyone may use it: its definition, its process, its
//! monitor, its agent and consoles. The owner makes it at the start and drops
//! it at the end; readers hold it through the published view.

use crate::agent::Agent;
use crate::console::Console;
use crate::error::{EngineError, ErrorKind, Result};
use crate::intent::Intent;
use crate::job::{Job, JobEnd, JobOperation, JobStats};
use crate::monitor::Monitor;
use crate::options::SessionId;
use crate::process::Process;
use crate::status::Holdings;
use crate::tuning::PerfCounters;
use crate::view::Summary;
use model::domain::Domain;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use tokio::sync::oneshot;

/// One run of one machine.
#[derive(Debug)]
pub struct LiveMachine {
    /// libvirt's id of the run.
    pub id: i32,
    definition: RwLock<(Arc<Domain>, Arc<Summary>)>,
    pub(crate) process: Process,
    pub(crate) run_dir: PathBuf,
    pub(crate) cgroup: Option<sys::cgroup::Cgroup>,
    pub(crate) autodestroy: Option<SessionId>,
    /// What the user should know of this run (for example that hardware
    /// acceleration was not to be had).
    pub(crate) notes: Vec<String>,
    monitor: OnceLock<Monitor>,
    pub(crate) agent: Option<Agent>,
    pub(crate) holdings: Holdings,
    pub(crate) log_dir: PathBuf,
    consoles: RwLock<Vec<Arc<Console>>>,
    job: Mutex<Jobs>,
    running: std::sync::atomic::AtomicBool,
    intent: Mutex<Option<Intent>>,
    unplugs: Mutex<BTreeMap<String, oneshot::Sender<Unplugged>>>,
    perf: Mutex<PerfCounters>,
}

/// What became of a device the guest was asked to let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unplugged {
    /// It is gone, and what was behind it.
    Gone,
    /// The guest wants to keep it.
    Refused,
}

#[derive(Debug, Default)]
struct Jobs {
    present: Option<Job>,
    last: Option<JobStats>,
    abort: bool,
}

/// What a run is made of when it begins.
pub(crate) struct LiveParts {
    pub(crate) id: i32,
    pub(crate) definition: Domain,
    pub(crate) process: Process,
    pub(crate) run_dir: PathBuf,
    pub(crate) cgroup: Option<sys::cgroup::Cgroup>,
    pub(crate) autodestroy: Option<SessionId>,
    pub(crate) notes: Vec<String>,
    pub(crate) agent: Option<Agent>,
    pub(crate) holdings: Holdings,
    pub(crate) log_dir: PathBuf,
    pub(crate) intent: Option<Intent>,
}

impl LiveMachine {
    pub(crate) fn new(parts: LiveParts) -> Self {
        let summary = Arc::new(Summary::of(&parts.definition));
        Self {
            id: parts.id,
            definition: RwLock::new((Arc::new(parts.definition), summary)),
            process: parts.process,
            run_dir: parts.run_dir,
            cgroup: parts.cgroup,
            autodestroy: parts.autodestroy,
            notes: parts.notes,
            monitor: OnceLock::new(),
            agent: parts.agent,
            holdings: parts.holdings,
            log_dir: parts.log_dir,
            consoles: RwLock::default(),
            job: Mutex::default(),
            running: std::sync::atomic::AtomicBool::new(false),
            intent: Mutex::new(parts.intent),
            unplugs: Mutex::default(),
            perf: Mutex::default(),
        }
    }

    /// The definition as it runs, with aliases, addresses and ports.
    pub fn definition(&self) -> Arc<Domain> {
        self.definition
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .clone()
    }

    /// The summary of the running definition.
    pub fn summary(&self) -> Arc<Summary> {
        self.definition
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .clone()
    }

    pub(crate) fn set_definition(&self, definition: Domain) {
        let summary = Arc::new(Summary::of(&definition));
        *self
            .definition
            .write()
            .unwrap_or_else(PoisonError::into_inner) = (Arc::new(definition), summary);
    }

    /// Has those events counted that a definition asks for, and no others.
    pub(crate) fn count_events(&self, definition: &Domain) -> Result<()> {
        let mut counters = self.perf.lock().unwrap_or_else(PoisonError::into_inner);
        counters.follow(definition, self.pid())
    }

    /// Goes on with counting that began before the run was one.
    pub(crate) fn take_counters(&self, counters: PerfCounters) {
        *self.perf.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    /// How often each of the counted events happened.
    pub(crate) fn events_counted(&self) -> Vec<(&'static str, u64)> {
        let counters = self.perf.lock().unwrap_or_else(PoisonError::into_inner);
        counters.read()
    }

    /// The process id of its QEMU.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What the user should know of this run.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(crate) fn set_monitor(&self, monitor: Monitor) {
        // A run has one monitor connection; a second set would be a bug that
        // the first one survives.
        let _ = self.monitor.set(monitor);
    }

    /// The monitor; an error while QEMU has not answered since the daemon came back.
    pub(crate) fn monitor(&self) -> Result<&Monitor> {
        self.monitor.get().ok_or_else(|| {
            EngineError::new(
                ErrorKind::OperationTimeout,
                "QEMU has not answered since the daemon started: the process hangs or is \
                 stopped; try again, or end the machine with destroy",
            )
        })
    }

    pub(crate) fn add_console(&self, console: Console) {
        self.consoles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(console));
    }

    /// The console with this alias, or the first one.
    pub(crate) fn console(&self, alias: Option<&str>) -> Option<Arc<Console>> {
        let consoles = self.consoles.read().unwrap_or_else(PoisonError::into_inner);
        match alias {
            None => consoles.first().cloned(),
            Some(alias) => consoles.iter().find(|c| c.alias == alias).cloned(),
        }
    }

    pub(crate) fn agent(&self) -> Result<&Agent> {
        self.agent.as_ref().ok_or_else(|| {
            EngineError::new(
                ErrorKind::ArgumentUnsupported,
                "QEMU guest agent is not configured",
            )
        })
    }

    /// What was begun and is not finished.
    pub(crate) fn intent(&self) -> Option<Intent> {
        self.intent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes an intent down, to be recorded with the next status.
    pub(crate) fn set_intent(&self, intent: Option<Intent>) {
        *self.intent.lock().unwrap_or_else(PoisonError::into_inner) = intent;
    }

    /// What will become of a device that the guest is asked to let go of.
    pub(crate) fn await_unplug(&self, alias: &str) -> oneshot::Receiver<Unplugged> {
        let (sender, receiver) = oneshot::channel();
        self.unplugs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(alias.to_owned(), sender);
        receiver
    }

    /// Tells who waits for a device to go, if anybody does.
    pub(crate) fn unplugged(&self, alias: &str, how: Unplugged) {
        let mut unplugs = self.unplugs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = unplugs.remove(alias) {
            // One that was answered meanwhile needs no news.
            let _ = waiting.send(how);
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin_job(&self, operation: JobOperation) {
        let mut jobs = self.jobs();
        jobs.present = Some(Job::begin(operation));
        jobs.abort = false;
    }

    pub(crate) fn advance_job(&self, total: u64, processed: u64, remaining: u64) {
        if let Some(job) = &mut self.jobs().present {
            job.advance(total, processed, remaining);
        }
    }

    pub(crate) fn end_job(&self, end: JobEnd) -> Option<JobStats> {
        let mut jobs = self.jobs();
        let stats = jobs.present.take().map(|job| job.stats(Some(end)));
        jobs.last = stats;
        stats
    }

    pub(crate) fn job_abort_wanted(&self) -> bool {
        self.jobs().abort
    }

    /// The long operation under way.
    pub fn job(&self) -> Option<JobStats> {
        self.jobs().present.as_ref().map(|job| job.stats(None))
    }

    /// The record of the last long operation that ended.
    pub fn last_job(&self) -> Option<JobStats> {
        self.jobs().last
    }

    pub(crate) async fn abort_job(&self) -> Result<()> {
        {
            let mut jobs = self.jobs();
            if jobs.present.is_none() {
                return Err(EngineError::invalid("no job is active on the domain"));
            }
            jobs.abort = true;
        }
        self.monitor()?
            .execute(&qemu::qmp::commands::migrate_cancel())
            .await
            .map(drop)
    }

    /// Notes whether its processors run.
    pub(crate) fn set_running(&self, running: bool) {
        self.running
            .store(running, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether its processors run.
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether asking its monitor is pointless now: it is stopped by a signal
    /// or has not answered the last command.
    pub(crate) fn is_silent(&self) -> bool {
        self.process.is_stopped() || self.monitor.get().is_none_or(Monitor::is_silent)
    }
}
