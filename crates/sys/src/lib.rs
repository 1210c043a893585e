//! Linux itself: processes, pidfds, cgroups, taps, descriptor passing, atomic
//! files. All unsafe code of the project lives here.
//!
//! Everything is synchronous and knows no runtime: what can take long is to be
//! called off the runtime's threads, and what can be waited for hands out a
//! descriptor to poll. Errors are [`SysError`]: the operation, what it was
//! tried on, and the system's reason.

pub mod atomic;
mod error;
pub mod landlock;
pub mod lockfile;
pub mod process;
pub mod spawn;
pub mod unix;

pub use error::{SysError, SysResult};
