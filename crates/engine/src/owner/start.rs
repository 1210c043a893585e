//! A machine's start: from its definition, from a saved state, or by taking
//! over a QEMU that is there already.

use super::errand::ErrandEnd;
use super::stop::abandon;
use super::{Owner, Reply, answer};
use crate::adopt::Found;
use crate::crash::{Step, crash_point};
use crate::definition::Definition;
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::Happening;
use crate::facts;
use crate::intent::{self, Settled};
use crate::launch::{self, Launched, StartFrom};
use crate::limits::{
    ADOPT_TIMEOUT_MS, QMP_REPLY_TIMEOUT_MS, RECONNECT_PAUSE_MS, RECONNECT_TIMEOUT_MS,
};
use crate::live::LiveMachine;
use crate::monitor::{Monitor, News};
use crate::options::StartOptions;
use crate::saved::SavedState;
use qemu::machine::{Input, Operation, Origin, PowerOff, Status};
use qemu::qmp::commands;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How a start ended.
pub(super) struct StartEnd {
    reply: Reply<()>,
    result: Result<Started>,
    /// A saved state that the start used up or that was to be dropped.
    managed_save_used: bool,
}

/// A machine that has come up.
struct Started {
    live: Arc<LiveMachine>,
    news: Option<mpsc::Receiver<News>>,
    how: Input,
    /// It was being saved when the last daemon died, and has gone to its file.
    saved: bool,
}

/// Lets a destroy reach a start that is under way.
#[derive(Debug, Default)]
pub(super) struct StartCancel(Option<watch::Sender<bool>>);

impl Owner {
    pub(super) fn start(&mut self, options: StartOptions, reply: Reply<()>) {
        match self
            .admit(Operation::Start)
            .and_then(|_| self.plan_start(options))
        {
            Err(error) => answer(reply, Err(error)),
            Ok((definition, from, uses_saved)) => {
                let uses_saved =
                    uses_saved || (options.force_boot && self.entry.view().managed_save);
                self.begin_start(definition, from, options, uses_saved, reply);
            }
        }
    }

    fn plan_start(&self, options: StartOptions) -> Result<(Definition, StartFrom, bool)> {
        let view = self.entry.view();
        if view.managed_save && !options.force_boot {
            let path = self.engine.places().managed_save(&view.name);
            let mut saved = SavedState::open(&path).map_err(|error| {
                EngineError::new(
                    error.kind,
                    format!("{error}; start with --force-boot to boot instead and drop it"),
                )
            })?;
            saved.used_up = Some(path);
            let definition = Definition::of(self.engine.parse_stored(&saved.xml)?);
            return Ok((definition, StartFrom::Saved(saved), true));
        }
        let text = self.engine.stored_xml(self.entry.uuid)?;
        Ok((
            Definition::of(self.engine.parse_stored(&text)?),
            StartFrom::Boot,
            false,
        ))
    }

    pub(super) fn start_transient(
        &mut self,
        definition: Definition,
        options: StartOptions,
        reply: Reply<()>,
    ) {
        match self.admit(Operation::Start) {
            Err(_) => {
                let name = &definition.domain.name;
                answer(
                    reply,
                    Err(EngineError::invalid(format!(
                        "domain '{name}' is already active"
                    ))),
                );
            }
            Ok(_) => self.begin_start(definition, StartFrom::Boot, options, false, reply),
        }
    }

    pub(super) fn restore(
        &mut self,
        definition: Definition,
        saved: SavedState,
        options: StartOptions,
        reply: Reply<()>,
    ) {
        match self.admit(Operation::Start) {
            Err(error) => answer(reply, Err(error)),
            Ok(_) => self.begin_start(definition, StartFrom::Saved(saved), options, false, reply),
        }
    }

    fn begin_start(
        &mut self,
        definition: Definition,
        from: StartFrom,
        mut options: StartOptions,
        managed_save_used: bool,
        reply: Reply<()>,
    ) {
        if let Err(error) = self.engine.refuse_writing_to_bases(&definition.domain) {
            return answer(reply, Err(error));
        }
        let origin = match &from {
            StartFrom::Boot => Origin::Boot,
            StartFrom::Snapshot(_) => Origin::Snapshot,
            StartFrom::Saved(saved) => {
                options.paused |= !saved.was_running && managed_save_used;
                Origin::Restore
            }
        };
        self.start_as(definition, from, origin, options, managed_save_used, reply);
    }

    /// Starts a machine whose state a snapshot has brought back.
    pub(super) fn begin_start_of(
        &mut self,
        definition: Definition,
        from: StartFrom,
        origin: Origin,
        options: StartOptions,
        reply: Reply<()>,
    ) {
        self.start_as(definition, from, origin, options, false, reply);
    }

    fn start_as(
        &mut self,
        definition: Definition,
        from: StartFrom,
        origin: Origin,
        options: StartOptions,
        managed_save_used: bool,
        reply: Reply<()>,
    ) {
        self.engine.forget_crash(self.entry.uuid);
        self.life.handle(Input::Start { origin });
        self.life.set_policy(facts::end_policy(&definition.domain));
        let (cancel, cancelled) = watch::channel(false);
        self.start_cancel = StartCancel(Some(cancel));
        let engine = self.engine.clone();
        self.hold("start", async move {
            let launched =
                launch::launch(&engine, definition.domain, from, options, cancelled).await;
            let result = launched.map(|Launched { live, news, paused }| Started {
                live,
                news: Some(news),
                how: Input::Started { paused },
                saved: false,
            });
            ErrandEnd::Start(Box::new(StartEnd {
                reply,
                result,
                managed_save_used,
            }))
        });
    }

    /// A destroy came while the start is under way.
    pub(super) fn cancel_start(&mut self) {
        if let Some(cancel) = &self.start_cancel.0 {
            cancel.send_replace(true);
        }
    }

    pub(super) async fn start_ended(&mut self, end: StartEnd) {
        self.start_cancel = StartCancel(None);
        match end.result {
            Ok(started) => {
                let adopted = matches!(started.how, Input::Adopted { .. });
                if end.managed_save_used {
                    self.drop_used_state();
                    crash_point(Step::RestoreRemoved);
                }
                self.came_up(started).await;
                if !adopted {
                    crash_point(Step::StartRecorded);
                }
                answer(end.reply, Ok(()));
            }
            Err(error) => {
                self.life.handle(Input::StartFailed);
                for reply in self.waiting_for_end.drain(..) {
                    answer(reply, Ok(()));
                }
                self.settle_after_end();
                answer(end.reply, Err(error));
            }
        }
    }

    fn drop_used_state(&mut self) {
        if let Err(error) = self.delete_managed_save() {
            tracing::warn!(%error, "the used saved state could not be removed");
        }
    }

    async fn came_up(&mut self, started: Started) {
        let Started {
            live,
            news,
            how,
            saved,
        } = started;
        self.engine.table().set_id(live.id, &self.entry);
        self.live = Some(live.clone());
        self.news = news;
        if self.life.is_ending() {
            // A destroy came in the last moment of the start.
            live.process.signal(crate::process::Signal::KILL);
            return;
        }
        let effects = self.life.handle(how);
        self.publish(|_| ());
        self.entry.set_listed(true);
        if saved {
            self.life.handle(Input::Saved);
            return self.qemu_exited().await;
        }
        self.engine
            .write_status(&live, &self.entry, self.life.status());
        for effect in effects {
            self.carry_out(effect).await;
        }
        if self.news.is_some() {
            self.look_for_journal();
            self.look_at_block_jobs();
        }
        if self.news.is_none() {
            self.beside(reconnect(live.clone(), self.life.status()));
        }
        if live
            .agent
            .as_ref()
            .is_some_and(crate::agent::Agent::is_connected)
        {
            // virConnectDomainEventAgentLifecycleReason: domain started.
            self.emit(Happening::AgentLifecycle {
                connected: true,
                reason: 1,
            });
        }
    }

    /// A QEMU that did not answer when the daemon came back does so now.
    pub(super) async fn reconnected(&mut self, taken: TakenOver) {
        self.news = taken.news;
        match taken.settled {
            // Its process is gone, which the owner is about to see.
            Settled::Saved(_) => {
                self.life.handle(Input::Saved);
                return;
            }
            Settled::UsedUp(_) => self.drop_used_state(),
            Settled::RunsOn(_) => {}
        }
        let missed = match taken.status {
            Status::Running(_) => Input::Resumed,
            Status::Paused(_) => Input::Stopped,
            Status::ShuttingDown => Input::PoweredOff(PowerOff::Guest),
            Status::Panicked => Input::Panicked,
            Status::PmSuspended => Input::Slept { to_disk: false },
            Status::Off(_) => return,
        };
        self.happen(missed).await;
    }

    pub(super) fn adopt(&mut self, found: Found, reply: Reply<()>) {
        self.life
            .set_policy(facts::end_policy(&found.live.definition()));
        let live = found.live;
        let recorded = found.status;
        self.hold("adopt", async move {
            let found = take_over(&live, recorded).await;
            ErrandEnd::Start(Box::new(StartEnd {
                reply,
                managed_save_used: matches!(found.settled, Settled::UsedUp(_)),
                result: Ok(Started {
                    live,
                    news: found.news,
                    how: Input::Adopted {
                        status: found.status,
                    },
                    saved: matches!(found.settled, Settled::Saved(_)),
                }),
            }))
        });
    }
}

/// A QEMU that was there already, as it is now.
pub(super) struct TakenOver {
    news: Option<mpsc::Receiver<News>>,
    status: Status,
    settled: Settled,
}

/// Connects to a QEMU that is there already, finishes or undoes what was under
/// way, and asks how it is. One that does not answer is shown as it was
/// recorded: it lives, and it can be destroyed.
async fn take_over(live: &Arc<LiveMachine>, recorded: Status) -> TakenOver {
    match connect(live, recorded, Duration::from_millis(ADOPT_TIMEOUT_MS)).await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::warn!(pid = live.pid(), %error, "a running QEMU does not answer");
            TakenOver {
                news: None,
                status: recorded,
                settled: Settled::RunsOn(None),
            }
        }
    }
}

async fn connect(live: &LiveMachine, recorded: Status, timeout: Duration) -> Result<TakenOver> {
    let path = launch::monitor_path(&live.run_dir);
    let (monitor, news) = Monitor::connect(&path, timeout).await?;
    let info = monitor.ask(&commands::query_status(), timeout).await?;
    let settled = intent::settle(live, &monitor, info.status).await?;
    live.set_intent(None);
    live.set_monitor(monitor);
    launch::open_consoles(live);
    let status = match settled {
        Settled::RunsOn(Some(status)) => status,
        _ => launch::status_of(info.status, recorded),
    };
    Ok(TakenOver {
        news: Some(news),
        status,
        settled,
    })
}

/// Waits, for as long as it takes, until a QEMU that hangs answers again.
async fn reconnect(live: Arc<LiveMachine>, recorded: Status) -> ErrandEnd {
    let pause = Duration::from_millis(RECONNECT_PAUSE_MS);
    let patience = Duration::from_millis(RECONNECT_TIMEOUT_MS);
    while !live.process.ends_within(pause).await {
        let connected = tokio::select! {
            connected = connect(&live, recorded, patience) => connected,
            () = live.process.exited() => break,
        };
        if let Ok(taken) = connected {
            tracing::info!(pid = live.pid(), "a QEMU that hung answers again");
            return ErrandEnd::Reconnected(Box::new(taken));
        }
    }
    ErrandEnd::Nothing { held: false }
}

/// Undoes a start: the process is ended, what it held is given back.
pub(crate) async fn undo(
    engine: &crate::engine::Engine,
    process: &crate::process::Process,
    run_dir: &std::path::Path,
) {
    if let Err(error) = abandon(process).await {
        tracing::error!(%error, "a failed start left a process behind");
    }
    engine.release_run_dir(run_dir).await;
}

/// How long the setup commands of a start may take in all.
pub(crate) const SETUP_TIMEOUT: Duration = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);

/// The error for a start that a destroy overtook.
pub(crate) fn cancelled() -> EngineError {
    EngineError::new(
        ErrorKind::OperationAborted,
        "the machine was destroyed while it started",
    )
}
