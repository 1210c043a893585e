//! QMP, QEMU's machine protocol, without the socket: bytes become lines, lines become
//! [`Message`]s, and [`Command`]s become bytes and know how to read their own reply.
//!
//! The engine owns the socket. It pushes what it reads into a [`LineDecoder`], takes whole lines
//! out, and gives each to [`Message::parse`]. Every limit has a name below.

pub mod command;
pub mod commands;
pub mod event;
pub mod line;
pub mod message;
pub mod reply;

pub use command::{Command, Done, ReplyError};
pub use event::Event;
pub use line::{LineDecoder, LineTooLong};
pub use message::{Greeting, Message, MessageError};

/// The longest QMP line accepted from QEMU. The longest in practice is the answer to
/// `query-qmp-schema`, about 250 kB.
pub const QMP_LINE_MAX_BYTES: usize = 8 * 1024 * 1024;
