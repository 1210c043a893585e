//! The libvirt face: bytes in, an engine call, bytes out.
//!
//! [`Server`] listens and lets clients in (`admission`); each has one task (`session`) that drives
//! the protocol's state machine of crate `wire` and answers calls by the table in `dispatch`, which
//! the files below `procedures` fill. The face holds no state of machines: what it knows of a
//! client is what the client asked for.

mod admission;
mod client;
mod dispatch;
mod event_name;
mod events;
mod failure;
pub mod limits;
mod notices;
mod procedures;
mod server;
mod session;
mod socket;
mod stream;

pub use server::{Server, Serving, Socket};
