//! Builders of QMP commands, by subject.
//!
//! Each returns a [`Command`](super::Command) whose type names its reply. What QEMU 7.2 does not
//! know is said at the builder.

mod block;
mod device;
mod guest;
mod migration;
mod run;

pub use block::*;
pub use device::*;
pub use guest::*;
pub use migration::*;
pub use run::*;
