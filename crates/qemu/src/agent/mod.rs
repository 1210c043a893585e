//! The QEMU guest agent's protocol, without the channel.
//!
//! The agent speaks QMP's JSON over a serial channel that nobody guards: it may be absent, still
//! be answering a caller who gave up, or start in the middle of a message. So every command is
//! preceded by a synchronisation whose answer is marked with the byte `0xFF`; only after that
//! answer is the command sent. [`Session`] does this.

pub mod commands;
pub mod reply;
mod session;

pub use session::{Busy, Failure, Outcome, Session};

/// The longest line accepted from the agent. Output of a guest program comes in one line, which
/// the agent itself bounds at 16 MiB of base64.
pub const AGENT_LINE_MAX_BYTES: usize = 32 * 1024 * 1024;

/// The byte which marks the answer to a synchronisation, and which makes the agent drop what it
/// had received of an unfinished command.
pub const AGENT_SENTINEL: u8 = 0xFF;
