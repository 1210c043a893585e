//! The life of a machine as a state machine: what happened comes in, what to
//! do and what to tell comes out. It does no I/O and reads no clock.
//!
//! ```text
//!            Start                 Started
//!   Off ───────────────► Starting ─────────► Up(Running | Paused | …)
//!    ▲                      │ StartFailed        │ Destroy, Saved, SHUTDOWN,
//!    │◄─────────────────────┘                    │ GUEST_PANICKED
//!    │            Exited                         ▼
//!    └─────────────────────────────────────── Ending(why)
//! ```
//!
//! An exit in `Up` that nobody asked for is a crash of QEMU; in `Ending` it is
//! what was waited for, and its reason is the one recorded there.

use super::events::{
    LifecycleEvent, ResumedDetail, ShutdownDetail, StartedDetail, StoppedDetail, SuspendedDetail,
};
use super::status::{OffReason, PausedReason, RunningReason, Status};

/// What a definition wants done when its guest ends in some way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndAction {
    /// End the machine.
    Destroy,
    /// Reset it and let it run again.
    Restart,
    /// Leave QEMU there, standing still, for a look.
    Preserve,
    /// Dump its memory, then end it.
    DumpAndDestroy,
    /// Dump its memory, then restart it.
    DumpAndRestart,
}

/// `<on_poweroff>`, `<on_reboot>` and `<on_crash>` of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndPolicy {
    /// When the guest powers off.
    pub on_poweroff: EndAction,
    /// When the guest reboots.
    pub on_reboot: EndAction,
    /// When the guest panics.
    pub on_crash: EndAction,
}

impl Default for EndPolicy {
    fn default() -> Self {
        Self {
            on_poweroff: EndAction::Destroy,
            on_reboot: EndAction::Restart,
            on_crash: EndAction::Destroy,
        }
    }
}

/// How a machine is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From its definition.
    Boot,
    /// From a saved state.
    Restore,
    /// From a snapshot.
    Snapshot,
}

/// Who asked for the guest's end, as QEMU's SHUTDOWN event tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOff {
    /// The guest powered itself off.
    Guest,
    /// The guest rebooted and QEMU was told to treat that as a power-off.
    GuestReset,
    /// Somebody on the host (a signal, `quit`).
    Host,
}

/// What happened to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A start was admitted and begins.
    Start {
        /// Where its state comes from.
        origin: Origin,
    },
    /// QEMU answers; the guest runs or stands still.
    Started {
        /// Whether its processors wait.
        paused: bool,
    },
    /// The start failed; whatever of it existed is gone.
    StartFailed,
    /// A QEMU from before the daemon's start was found again.
    Adopted {
        /// What QEMU says of itself, the reason from the daemon's own record.
        status: Status,
    },
    /// Somebody wants its end: the signal is the owner's business.
    Destroy,
    /// A gentle destroy did not help and was given up: it goes on.
    DestroyFailed,
    /// It is gone to a file; QEMU can go.
    Saved,
    /// It goes back to a snapshot, or was to end with one: the signal is the
    /// owner's business.
    Reverted,
    /// A snapshot begins (`true`) or was given up: says why it stands still.
    Snapshotting(bool),
    /// A save begins (`true`) or was given up (`false`): says why it stands still.
    Saving(bool),
    /// A dump begins or ended: says why it stands still.
    Dumping(bool),
    /// Its memory is written out and whoever asked for that wants it ended, whatever `on_crash` says.
    DumpedToEnd,
    /// Somebody asked the guest to reboot in a way that looks like a power-off.
    RebootWanted,
    /// QEMU: processors stand still.
    Stopped,
    /// QEMU: processors run.
    Resumed,
    /// QEMU: the guest has powered off.
    PoweredOff(PowerOff),
    /// QEMU: the guest panicked.
    Panicked,
    /// QEMU: a disk failed and the machine is being stopped for it.
    DiskFailed,
    /// QEMU: the watchdog fired and the machine is being stopped for it.
    WatchdogPaused,
    /// QEMU: the guest sleeps (to memory or to disk).
    Slept {
        /// Suspended to disk rather than to memory.
        to_disk: bool,
    },
    /// QEMU: the guest woke.
    Woke,
    /// The QEMU process is gone.
    Exited,
}

/// What the owner is to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Tell everyone.
    Emit(LifecycleEvent),
    /// End QEMU now (its guest has finished, or nobody wants it).
    Quit,
    /// Reset the machine and let it run: its QEMU is kept.
    ResetAndRun,
    /// Write the guest's memory out before the effects that follow.
    DumpMemory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off(OffReason),
    Starting(Origin),
    Up(Status),
    Ending {
        reason: OffReason,
        detail: StoppedDetail,
        shown: Status,
    },
}

/// Why the next STOP event will come, when somebody knows it beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    reason: PausedReason,
    detail: SuspendedDetail,
}

/// One machine's life.
#[derive(Debug, Clone)]
pub struct Life {
    phase: Phase,
    policy: EndPolicy,
    expected: Option<Expected>,
    reboot_wanted: bool,
}

impl Life {
    /// A machine without a QEMU.
    pub fn off(reason: OffReason) -> Self {
        Self {
            phase: Phase::Off(reason),
            policy: EndPolicy::default(),
            expected: None,
            reboot_wanted: false,
        }
    }

    /// The state others may see.
    pub fn status(&self) -> Status {
        match self.phase {
            Phase::Off(reason) => Status::Off(reason),
            Phase::Starting(_) => Status::Paused(PausedReason::StartingUp),
            Phase::Up(status) => status,
            Phase::Ending { shown, .. } => shown,
        }
    }

    /// Whether an exit of QEMU is being waited for.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    /// What to do at the guest's end, from the definition that runs.
    pub fn set_policy(&mut self, policy: EndPolicy) {
        self.policy = policy;
    }

    /// Takes in what happened; gives back what to do about it, in order.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        match (self.phase, input) {
            (Phase::Off(_), Input::Start { origin }) => self.begin(origin),
            (Phase::Off(_) | Phase::Starting(_), Input::Adopted { status }) => self.up(status),
            (Phase::Starting(origin), Input::Started { paused }) => self.started(origin, paused),
            (Phase::Starting(_), Input::StartFailed) => self.off_without_event(OffReason::Failed),
            (Phase::Starting(_), Input::Destroy) => {
                self.end(OffReason::Destroyed, StoppedDetail::Destroyed)
            }
            (Phase::Up(status), input) => self.while_up(status, input),
            (Phase::Ending { reason, detail, .. }, Input::Exited | Input::StartFailed) => {
                self.phase = Phase::Off(reason);
                vec![Effect::Emit(LifecycleEvent::Stopped(detail))]
            }
            // Whoever destroys a machine that is ending anyway has still destroyed it.
            (Phase::Ending { .. }, Input::Destroy) => {
                self.end(OffReason::Destroyed, StoppedDetail::Destroyed)
            }
            (Phase::Ending { shown, .. }, Input::DestroyFailed) => {
                self.phase = Phase::Up(shown);
                Vec::new()
            }
            // Late or early news changes nothing: QEMU may still speak while it ends.
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, origin: Origin) -> Vec<Effect> {
        self.phase = Phase::Starting(origin);
        self.expected = None;
        self.reboot_wanted = false;
        Vec::new()
    }

    fn up(&mut self, status: Status) -> Vec<Effect> {
        self.phase = Phase::Up(status);
        match status {
            // It powered off while nobody watched: do now what would have been done then.
            Status::ShuttingDown => self.powered_off(PowerOff::Guest),
            _ => Vec::new(),
        }
    }

    fn off_without_event(&mut self, reason: OffReason) -> Vec<Effect> {
        self.phase = Phase::Off(reason);
        Vec::new()
    }

    fn started(&mut self, origin: Origin, paused: bool) -> Vec<Effect> {
        let (detail, reason) = match origin {
            Origin::Boot => (StartedDetail::Booted, RunningReason::Booted),
            Origin::Restore => (StartedDetail::Restored, RunningReason::Restored),
            Origin::Snapshot => (StartedDetail::FromSnapshot, RunningReason::FromSnapshot),
        };
        let mut effects = vec![Effect::Emit(LifecycleEvent::Started(detail))];
        if paused {
            let (detail, reason) = match origin {
                Origin::Boot => (SuspendedDetail::Paused, PausedReason::User),
                Origin::Restore => (SuspendedDetail::Restored, PausedReason::User),
                Origin::Snapshot => (SuspendedDetail::FromSnapshot, PausedReason::FromSnapshot),
            };
            self.phase = Phase::Up(Status::Paused(reason));
            effects.push(Effect::Emit(LifecycleEvent::Suspended(detail)));
        } else {
            self.phase = Phase::Up(Status::Running(reason));
        }
        effects
    }

    fn end(&mut self, reason: OffReason, detail: StoppedDetail) -> Vec<Effect> {
        let shown = match self.status() {
            Status::Off(_) => Status::ShuttingDown,
            shown => shown,
        };
        self.phase = Phase::Ending {
            reason,
            detail,
            shown,
        };
        Vec::new()
    }

    fn while_up(&mut self, status: Status, input: Input) -> Vec<Effect> {
        match input {
            Input::Stopped => self.stopped(status),
            Input::Resumed => self.resumed(status),
            Input::PoweredOff(how) => self.powered_off(how),
            Input::Panicked => self.panicked(),
            Input::Destroy => self.end(OffReason::Destroyed, StoppedDetail::Destroyed),
            Input::Saved => {
                self.end(OffReason::Saved, StoppedDetail::Saved);
                vec![Effect::Quit]
            }
            Input::DumpedToEnd => {
                self.end(OffReason::Crashed, StoppedDetail::Crashed);
                vec![Effect::Quit]
            }
            Input::Reverted => self.end(OffReason::FromSnapshot, StoppedDetail::FromSnapshot),
            Input::Snapshotting(on) => {
                self.expect(on, PausedReason::Snapshot, SuspendedDetail::Paused);
                Vec::new()
            }
            Input::Saving(on) => {
                self.expect(on, PausedReason::Save, SuspendedDetail::Paused);
                Vec::new()
            }
            Input::Dumping(on) => {
                self.expect(on, PausedReason::Dump, SuspendedDetail::Paused);
                Vec::new()
            }
            Input::DiskFailed => {
                self.expect(true, PausedReason::IoError, SuspendedDetail::IoError);
                Vec::new()
            }
            Input::WatchdogPaused => {
                self.expect(true, PausedReason::Watchdog, SuspendedDetail::Watchdog);
                Vec::new()
            }
            Input::RebootWanted => {
                self.reboot_wanted = true;
                Vec::new()
            }
            Input::Slept { to_disk } => {
                self.phase = Phase::Up(Status::PmSuspended);
                vec![Effect::Emit(if to_disk {
                    LifecycleEvent::PmSuspendedDisk
                } else {
                    LifecycleEvent::PmSuspendedMemory
                })]
            }
            Input::Woke => {
                self.phase = Phase::Up(Status::Running(RunningReason::Wakeup));
                vec![Effect::Emit(LifecycleEvent::Started(StartedDetail::Wakeup))]
            }
            Input::Exited => {
                self.phase = Phase::Off(OffReason::Crashed);
                vec![Effect::Emit(LifecycleEvent::Stopped(StoppedDetail::Failed))]
            }
            Input::Start { .. }
            | Input::Started { .. }
            | Input::StartFailed
            | Input::DestroyFailed
            | Input::Adopted { .. } => Vec::new(),
        }
    }

    fn expect(&mut self, on: bool, reason: PausedReason, detail: SuspendedDetail) {
        self.expected = on.then_some(Expected { reason, detail });
    }

    fn stopped(&mut self, status: Status) -> Vec<Effect> {
        if !matches!(status, Status::Running(_)) {
            return Vec::new();
        }
        let expected = self.expected.take().unwrap_or(Expected {
            reason: PausedReason::User,
            detail: SuspendedDetail::Paused,
        });
        self.phase = Phase::Up(Status::Paused(expected.reason));
        vec![Effect::Emit(LifecycleEvent::Suspended(expected.detail))]
    }

    fn resumed(&mut self, status: Status) -> Vec<Effect> {
        // A restart after a power-off or a panic resumes without being "resumed".
        let reason = match status {
            Status::Paused(PausedReason::Save) => RunningReason::SaveCanceled,
            Status::Paused(_) => RunningReason::Unpaused,
            Status::ShuttingDown => RunningReason::Booted,
            Status::Panicked => RunningReason::Crashed,
            Status::Running(_) | Status::PmSuspended | Status::Off(_) => return Vec::new(),
        };
        self.phase = Phase::Up(Status::Running(reason));
        match status {
            Status::Paused(_) => {
                vec![Effect::Emit(LifecycleEvent::Resumed(
                    ResumedDetail::Unpaused,
                ))]
            }
            _ => Vec::new(),
        }
    }

    fn powered_off(&mut self, how: PowerOff) -> Vec<Effect> {
        let detail = match how {
            PowerOff::Guest | PowerOff::GuestReset => ShutdownDetail::Guest,
            PowerOff::Host => ShutdownDetail::Host,
        };
        let action = if std::mem::take(&mut self.reboot_wanted) {
            EndAction::Restart
        } else if how == PowerOff::GuestReset {
            self.policy.on_reboot
        } else {
            self.policy.on_poweroff
        };
        self.phase = Phase::Up(Status::ShuttingDown);
        let mut effects = vec![Effect::Emit(LifecycleEvent::Shutdown(detail))];
        effects.extend(self.finish(action, OffReason::Shutdown, StoppedDetail::Shutdown));
        effects
    }

    fn panicked(&mut self) -> Vec<Effect> {
        self.phase = Phase::Up(Status::Panicked);
        let mut effects = vec![Effect::Emit(LifecycleEvent::Panicked)];
        let action = self.policy.on_crash;
        effects.extend(self.finish(action, OffReason::Crashed, StoppedDetail::Crashed));
        effects
    }

    fn finish(
        &mut self,
        action: EndAction,
        reason: OffReason,
        detail: StoppedDetail,
    ) -> Vec<Effect> {
        match action {
            EndAction::Preserve => Vec::new(),
            EndAction::Restart => vec![Effect::ResetAndRun],
            EndAction::DumpAndRestart => vec![Effect::DumpMemory, Effect::ResetAndRun],
            EndAction::Destroy => {
                self.end(reason, detail);
                vec![Effect::Quit]
            }
            EndAction::DumpAndDestroy => {
                self.end(reason, detail);
                vec![Effect::DumpMemory, Effect::Quit]
            }
        }
    }
}
