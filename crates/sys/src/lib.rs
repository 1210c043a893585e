//! Linux itself: processes, pidfds, cgroups, taps, descriptor passing, atomic
//! files. All unsafe code of the project lives here.
//!
//! Everything is synchronous and knows no runtime: what can take long is to be
//! called off the runtime's threads, and what can be waited for hands out a
//! descriptor to poll. Errors are [`SysError`]: the operation, what it was
//! tried on, and the system's reason.

pub mod atomic;
pub mod bridge;
pub mod cgroup;
pub mod content;
mod error;
pub mod ethtool;
pub mod firewall;
pub mod functions;
pub mod host;
pub mod kvm;
pub mod landlock;
pub mod lent;
pub mod link;
pub mod lockfile;
pub mod macvtap;
pub mod memory;
pub mod net;
mod netlink;
pub mod notify;
pub mod open_files;
pub mod perf;
pub mod pipe;
pub mod process;
pub mod pty;
pub mod sparse;
pub mod spawn;
pub mod tap;
pub mod uevent;
pub mod unix;
pub mod usage;
pub mod user;
pub mod watch;

pub use error::{SysError, SysResult};
