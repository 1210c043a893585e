//! The crate against the real kernel.

mod cgroups;
mod sockets;
mod spawning;
