//! The crate against the real kernel.

mod cgroups;
mod network;
mod sockets;
mod spawning;
