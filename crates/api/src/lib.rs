//! The REST API as data: what goes over the wire, under which paths, and how
//! failures look. The daemon's side is crate `rest`, the other one `client`.
//!
//! A short request is answered with its result. A long one is answered with
//! status 202 and a [`Job`]; its events tell how far it is, and its `result`
//! holds what a short request would have answered.

mod event;
mod image;
mod image_task;
mod inside;
mod install;
mod job;
mod machine;
mod network;
mod package;
mod problem;
mod version;
mod volume;

pub use event::{DomainNews, Event};
pub use image::{Evidence, Image, ImageImport, Named};
pub use image_task::{ImageName, ImageOutput, ImageRequest, ImageTask, Stray};
pub use inside::{At, Change, LookInside, Profile, Said, WorkInside};
pub use install::{InstallDisk, InstallFrom, Installed, MachineInstall};
pub use job::{Job, JobState, Progress, Unit};
pub use machine::{
    CloudInit, ConsoleLog, Graphics, MachineClone, MachineCreate, Network, Template,
};
pub use network::{FirewallSet, FirewallSetChange, NetworkAddress, Plan, PlanRequest};
pub use package::{Export, ExportFormat, Exported, PackageImport, Packaged};
pub use problem::Problem;
pub use version::Version;
pub use volume::{VolumeCopy, VolumeMade, VolumeWipe};

/// What every path begins with.
pub const BASE: &str = "/api/v1";

/// The name of the daemon's socket, beside libvirt's.
pub const SOCKET_NAME: &str = "stead.sock";
