//! libvirt's wire protocol: XDR, framing, procedure tables and the connection as a state machine.
//!
//! Nothing here reads a socket or a clock: bytes, descriptors and the time come in, calls and bytes
//! to send come out. [`remote`], [`qemu`] and [`keepalive`] are generated from the tables in
//! `protocol/`; everything else is written by hand.

pub mod client;
pub mod connection;
pub mod consts;
pub mod errors;
pub mod frame;
pub mod output;
pub mod ping;
pub mod procedure;
pub mod programs;
pub mod typed_params;
pub mod xdr;

pub use programs::{keepalive, qemu, remote};
