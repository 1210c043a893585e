//! Which operation is allowed in which state: the whole accept-or-refuse
//! policy of a machine, alone and without locks.

use super::status::Status;

/// What somebody wants to do with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Start it (boot or restore).
    Start,
    /// Ask the guest to power off or reboot.
    AskGuest,
    /// Reset it as by its button.
    Reset,
    /// End its QEMU.
    Destroy,
    /// Stop its processors.
    Suspend,
    /// Let its processors run.
    Resume,
    /// Write its state to a file and end it.
    Save,
    /// Anything that needs QEMU's monitor and changes no run state.
    UseMonitor,
    /// Give it another name.
    Rename,
}

/// What to do about an allowed operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Carry it out.
    Proceed,
    /// It is so already: answer success and do nothing.
    AlreadySo,
}

/// Why an operation is not allowed now; the sentence libvirt's clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It must be off.
    #[error("domain is already running")]
    AlreadyRunning,
    /// It must be active.
    #[error("domain is not running")]
    NotRunning,
    /// It must be inactive for a rename.
    #[error("cannot rename active domain")]
    RenameActive,
    /// It sleeps and has to be woken.
    #[error("domain is pmsuspended")]
    PmSuspended,
    /// Its guest has crashed; only destroy or reset help.
    #[error("guest has crashed: destroy or reset it")]
    Panicked,
}

/// Whether `operation` is allowed on a machine in `status`.
pub fn admit(operation: Operation, status: Status) -> Result<Admission, Refusal> {
    use Admission::{AlreadySo, Proceed};
    use Operation as Op;
    match (operation, status) {
        (Op::Start | Op::Rename, Status::Off(_)) => Ok(Proceed),
        (Op::Start, _) => Err(Refusal::AlreadyRunning),
        (Op::Rename, _) => Err(Refusal::RenameActive),
        (_, Status::Off(_)) => Err(Refusal::NotRunning),
        (Op::Destroy | Op::UseMonitor | Op::Reset | Op::AskGuest, _) => Ok(Proceed),
        (Op::Suspend, Status::Running(_)) => Ok(Proceed),
        (Op::Suspend, Status::Paused(_)) => Ok(AlreadySo),
        (Op::Suspend | Op::Resume | Op::Save, Status::PmSuspended) => Err(Refusal::PmSuspended),
        (Op::Suspend | Op::Resume | Op::Save, Status::Panicked) => Err(Refusal::Panicked),
        (Op::Suspend | Op::Resume | Op::Save, Status::ShuttingDown) => Err(Refusal::NotRunning),
        (Op::Resume, Status::Paused(_)) => Ok(Proceed),
        (Op::Resume, Status::Running(_)) => Err(Refusal::AlreadyRunning),
        (Op::Save, Status::Running(_) | Status::Paused(_)) => Ok(Proceed),
    }
}
