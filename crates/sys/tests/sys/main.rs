//! The crate against the real kernel.

mod sockets;
mod spawning;
