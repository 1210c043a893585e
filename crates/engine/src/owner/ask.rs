//! What is asked of the guest or done to its processors.

use super::errand::ErrandEnd;
use super::{Owner, Reply, answer};
use crate::error::{EngineError, Result};
use crate::limits::AGENT_REPLY_TIMEOUT_MS;
use crate::live::LiveMachine;
use crate::options::{AskWays, GuestAsk};
use qemu::agent::commands::ShutdownMode;
use qemu::machine::{Admission, Input, Operation};
use qemu::qmp::commands;
use std::sync::Arc;
use std::time::Duration;

impl Owner {
    pub(super) fn suspend(&mut self, reply: Reply<()>) {
        match self
            .admit(Operation::Suspend)
            .and_then(|how| Ok((how, self.live()?)))
        {
            Err(error) => answer(reply, Err(error)),
            Ok((Admission::AlreadySo, _)) => answer(reply, Ok(())),
            Ok((Admission::Proceed, live)) => self.hold_and_answer("suspend", reply, async move {
                live.monitor()?.execute(&commands::stop()).await.map(drop)
            }),
        }
    }

    pub(super) fn resume(&mut self, reply: Reply<()>) {
        match self
            .admit(Operation::Resume)
            .and_then(|how| Ok((how, self.live()?)))
        {
            Err(error) => answer(reply, Err(error)),
            Ok((Admission::AlreadySo, _)) => answer(reply, Ok(())),
            Ok((Admission::Proceed, live)) => self.hold_and_answer("resume", reply, async move {
                live.monitor()?.execute(&commands::cont()).await.map(drop)
            }),
        }
    }

    pub(super) fn reset(&mut self, reply: Reply<()>) {
        match self.admit(Operation::Reset).and_then(|_| self.live()) {
            Err(error) => answer(reply, Err(error)),
            Ok(live) => self.hold_and_answer("reset", reply, async move {
                live.monitor()?
                    .execute(&commands::system_reset())
                    .await
                    .map(drop)
            }),
        }
    }

    /// The guest has powered off or crashed and is to run again in the same QEMU.
    pub(super) fn reset_and_run(&mut self) {
        let Ok(live) = self.live() else { return };
        self.hold("restart", async move {
            let restarted = async {
                let monitor = live.monitor()?;
                monitor.execute(&commands::system_reset()).await?;
                monitor.execute(&commands::cont()).await
            };
            if let Err(error) = restarted.await {
                tracing::error!(pid = live.pid(), %error, "the machine could not be restarted");
            }
            ErrandEnd::Nothing { held: true }
        });
    }

    pub(super) fn ask_guest(&mut self, ask: GuestAsk, ways: AskWays, reply: Reply<()>) {
        let live = match self.admit(Operation::AskGuest).and_then(|_| self.live()) {
            Ok(live) => live,
            Err(error) => return answer(reply, Err(error)),
        };
        if ask == GuestAsk::Reboot && may_use_acpi(&live, ways) {
            // ACPI knows no reboot: the guest powers off, and that is taken as one.
            self.life.handle(Input::RebootWanted);
        }
        self.beside(async move {
            let result = ask_by_some_way(&live, ask, ways).await;
            ErrandEnd::Answer {
                reply,
                result,
                held: false,
            }
        });
    }
}

fn may_use_agent(live: &LiveMachine, ways: AskWays) -> bool {
    ways.agent || (ways.is_default() && live.agent.as_ref().is_some_and(|a| a.is_connected()))
}

fn may_use_acpi(live: &LiveMachine, ways: AskWays) -> bool {
    ways.acpi || (ways.is_default() && !may_use_agent(live, ways))
}

async fn ask_by_some_way(live: &Arc<LiveMachine>, ask: GuestAsk, ways: AskWays) -> Result<()> {
    if may_use_agent(live, ways) {
        let asked = ask_agent(live, ask).await;
        // Where the caller did not insist on the agent, the power button is the other way.
        if asked.is_ok() || !(ways.acpi || ways.is_default()) {
            return asked;
        }
    }
    if !crate::facts::has_acpi(&live.definition()) {
        return Err(EngineError::invalid(
            "the guest cannot be asked by ACPI: its definition has no <acpi/> feature; \
             use the guest agent, or destroy it",
        ));
    }
    live.monitor()?
        .execute(&commands::system_powerdown())
        .await
        .map(drop)
}

async fn ask_agent(live: &Arc<LiveMachine>, ask: GuestAsk) -> Result<()> {
    let mode = match ask {
        GuestAsk::Shutdown => ShutdownMode::Powerdown,
        GuestAsk::Reboot => ShutdownMode::Reboot,
    };
    let command = qemu::agent::commands::shutdown(mode);
    let timeout = Duration::from_millis(AGENT_REPLY_TIMEOUT_MS);
    live.agent()?.run_raw(&command, timeout).await.map(drop)
}
