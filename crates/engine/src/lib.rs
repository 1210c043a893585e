//! The engine: one owner task for each machine, the snapshots of state that
//! readers see, and everything that is carried out on the host.
//!
//! # Where to look
//!
//! - [`Engine`] and [`DomainHandle`]: all that faces call.
//! - `owner/`: the one task that changes a machine. The rules themselves are
//!   in [`qemu::machine`], without I/O.
//! - `table`, [`DomainView`]: what readers see; nobody who reads ever waits
//!   for an owner.
//! - `record`: what is kept in the store. `status`: what is kept about a run
//!   on this host, by which a restarted daemon finds its machines (`adopt`).
//! - `crash`: the steps at which tests make the daemon die.
//! - `launch`, `run`: from a definition to a QEMU that has answered.
//! - `images`: the library. `provision`: machines made from images, templates and media.
//! - `jobs`: what takes long and concerns the host: imports, clones.
//! - [`pools`], [`volumes`]: storage; one owner task for each pool.
//! - [`secrets`]: what encrypted volumes are opened with.
//! - `monitor`, `agent`, `console`: the three conversations with a machine.

mod adopt;
mod agent;
mod aside;
mod autostart;
mod binaries;
mod capabilities;
pub mod config;
mod confined;
mod console;
mod console_log;
mod cpus;
pub mod crash;
mod define_context;
mod definition;
mod devices;
mod displays;
mod engine;
mod error;
pub mod events;
mod facts;
mod fd_groups;
mod files;
mod firmware;
pub mod guest;
mod handle;
pub mod images;
pub mod inside;
pub mod inspect;
mod intent;
pub mod job;
pub mod jobs;
mod launch;
pub mod limits;
mod live;
mod log;
mod metadata;
mod monitor;
mod mounts;
mod native;
pub mod network;
pub mod nodedev;
pub mod notices;
pub mod nwfilter;
pub mod options;
mod owner;
pub mod packages;
mod passt;
pub mod places;
pub mod pools;
mod ports;
mod process;
pub mod provision;
mod record;
mod release;
mod run;
mod saved;
mod saved_definitions;
pub mod secrets;
mod setup;
pub mod snapshots;
pub mod stats;
mod status;
mod table;
mod taps;
mod tpm;
pub mod tuning;
mod view;
pub mod volumes;

pub use capabilities::MachineQuestion;
pub use config::{Config, Mode};
pub use console::{ConsoleOutput, ConsoleViewer, ConsoleWriter};
pub use cpus::{CommonCpu, CpuRelation, Incompatible};
pub use devices::{ConsoleHistory, Screenshot};
pub use engine::Engine;
pub use error::{EngineError, ErrorKind, Result};
pub use events::{DomainEvent, EventStream, Happening};
pub use handle::DomainHandle;
pub use live::LiveMachine;
pub use qemu::machine;
pub use view::{DomainView, Summary};
