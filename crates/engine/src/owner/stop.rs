//! The end of a machine, asked for or not.

use super::errand::ErrandEnd;
use super::{Owner, Reply, answer};
use crate::crash::{Step, crash_point};
use crate::error::{EngineError, ErrorKind, Result};
use crate::intent::Intent;
use crate::limits::{
    DESTROY_TERM_TIMEOUT_MS, GRACEFUL_DESTROY_TIMEOUT_MS, KILL_TIMEOUT_MS, QUIT_TIMEOUT_MS,
};
use crate::live::LiveMachine;
use crate::process::Signal;
use qemu::machine::{Input, Operation};
use qemu::qmp::commands;
use std::sync::Arc;
use std::time::Duration;

impl Owner {
    pub(super) fn destroy(&mut self, graceful: bool, reply: Reply<()>) {
        if let Err(error) = self.admit(Operation::Destroy) {
            return answer(reply, Err(error));
        }
        self.life.handle(Input::Destroy);
        self.waiting_for_end.push(reply);
        match self.live.clone() {
            Some(live) => {
                self.intend(&live, Some(Intent::Destroy));
                crash_point(Step::DestroyIntended);
                self.beside(end_process(live, graceful));
            }
            // Its QEMU is being started: the start sees the wish and undoes itself.
            None => self.cancel_start(),
        }
    }

    /// The guest has finished: lets QEMU go.
    pub(super) fn quit(&mut self) {
        let Some(live) = self.live.clone() else {
            return;
        };
        self.beside(async move {
            if let Ok(monitor) = live.monitor() {
                let timeout = Duration::from_millis(QUIT_TIMEOUT_MS);
                // It may go before it answers: that is its answer.
                let _ = monitor.ask(&commands::quit(), timeout).await;
            }
            if !live
                .process
                .ends_within(Duration::from_millis(QUIT_TIMEOUT_MS))
                .await
            {
                live.process.signal(Signal::KILL);
            }
            ErrandEnd::Nothing { held: false }
        });
    }

    pub(super) async fn destroy_given_up(&mut self) {
        if let Some(live) = &self.live {
            self.intend(live, None);
        }
        self.happen(Input::DestroyFailed).await;
        for reply in self.waiting_for_end.drain(..) {
            answer(
                reply,
                Err(EngineError::new(
                    ErrorKind::OperationFailed,
                    "QEMU did not end after SIGTERM; destroy it without --graceful",
                )),
            );
        }
    }

    /// QEMU is gone: gives back everything that belonged to the run.
    pub(super) async fn qemu_exited(&mut self) {
        let Some(live) = self.live.take() else { return };
        // What QEMU said last explains its end.
        self.take_waiting_news().await;
        self.news = None;
        self.forget_block_jobs();
        crash_point(Step::DestroyGone);
        let was_asked = self.life.is_ending();
        let exit = live.process.reap();
        if !was_asked {
            let words = self.engine.last_words(&self.entry.view().name);
            tracing::warn!(
                domain = %self.entry.view().name, exit = %exit, last_words = %words,
                "QEMU ended without being asked"
            );
            self.engine.note_crash(
                self.entry.uuid,
                format!("QEMU ended by itself ({exit}): {words}"),
            );
        }
        self.engine.release_run(&live).await;
        let effects = self.life.handle(Input::Exited);
        self.engine.table().clear_id(live.id);
        self.settle_after_end();
        for effect in effects {
            if let qemu::machine::Effect::Emit(event) = effect {
                self.emit(crate::events::Happening::Lifecycle(event));
            }
        }
        for reply in self.waiting_for_end.drain(..) {
            answer(reply, Ok(()));
        }
        self.go_on_reverting();
        self.look_for_journal();
    }

    /// A transient domain ends with its run.
    pub(super) fn settle_after_end(&mut self) {
        self.publish(|_| ());
        if self.entry.view().stored.is_none() && self.pending_revert.is_none() {
            self.engine.table().remove(&self.entry);
        }
    }
}

/// SIGTERM lets QEMU write out what it holds of the disks; a QEMU that does
/// not hear it is killed, unless the end was to be gentle.
pub(super) async fn end_process(live: Arc<LiveMachine>, graceful: bool) -> ErrandEnd {
    let deaf = live.process.is_stopped();
    if graceful {
        live.process.signal(Signal::TERM);
        return match live
            .process
            .ends_within(Duration::from_millis(GRACEFUL_DESTROY_TIMEOUT_MS))
            .await
        {
            true => ErrandEnd::Nothing { held: false },
            false => ErrandEnd::DestroyGivenUp,
        };
    }
    if !deaf {
        live.process.signal(Signal::TERM);
        crash_point(Step::DestroySignalled);
        if live
            .process
            .ends_within(Duration::from_millis(DESTROY_TERM_TIMEOUT_MS))
            .await
        {
            return ErrandEnd::Nothing { held: false };
        }
    }
    live.process.signal(Signal::KILL);
    if !live
        .process
        .ends_within(Duration::from_millis(KILL_TIMEOUT_MS))
        .await
    {
        tracing::error!(
            pid = live.pid(),
            "a killed QEMU does not end: it hangs in the kernel"
        );
    }
    ErrandEnd::Nothing { held: false }
}

/// Ends a process that never became a machine.
pub(crate) async fn abandon(process: &crate::process::Process) -> Result<()> {
    process.signal(Signal::KILL);
    let wait = Duration::from_millis(KILL_TIMEOUT_MS);
    tokio::time::timeout(wait, process.exited())
        .await
        .map_err(|_| {
            EngineError::failed(format!(
                "QEMU (process {}) was killed but does not end",
                process.pid()
            ))
        })?;
    process.reap();
    Ok(())
}
