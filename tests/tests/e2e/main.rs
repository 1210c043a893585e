//! Real QEMU and real clients against a running daemon.

mod changes;
mod clients;
mod commands;
mod consoles;
mod control;
mod crashes;
mod daemon;
mod faults;
mod guest_calls;
mod host_shutdown;
mod hotplug;
mod install;
mod library;
mod links;
mod machines;
mod netboot;
mod networks;
mod pacemaker;
mod questions;
mod rest;
mod snapshots;
mod storage;
mod storage_faults;
mod tuning;
