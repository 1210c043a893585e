//! End-to-end tests: real QEMU, real virsh, real clients against a running daemon.
//!
//! [`Host`] is a daemon below a folder of its own; [`guest`] knows the machines that the tests boot;
//! [`clients`] runs unmodified client programs against the daemon.

pub mod clients;
pub mod firewalls;
pub mod guest;
pub mod host;
pub mod netns;
pub mod openvswitch;
pub mod wait;

pub use clients::Ran;
pub use host::Host;
