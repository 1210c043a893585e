//! A machine's state, its life as a state machine without I/O, and the policy
//! that says which operation is allowed when.

mod admission;
mod block_job;
mod events;
mod life;
#[cfg(test)]
mod life_tests;
mod status;

pub use admission::{Admission, Operation, Refusal, admit};
pub use block_job::{
    BlockJobEffect, BlockJobId, BlockJobKind, BlockJobLife, BlockJobPhase, BlockJobStatus,
};
pub use events::{
    DefinedDetail, LifecycleEvent, ResumedDetail, ShutdownDetail, StartedDetail, StoppedDetail,
    SuspendedDetail, UndefinedDetail,
};
pub use life::{Effect, EndAction, EndPolicy, Input, Life, Origin, PowerOff};
pub use status::{OffReason, PausedReason, RunningReason, Status};
