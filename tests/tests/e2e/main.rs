//! Real QEMU and real clients against a running daemon.

mod clients;
mod commands;
mod control;
mod daemon;
mod faults;
mod host_shutdown;
mod machines;
