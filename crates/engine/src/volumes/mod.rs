//! Volumes: what is done to the files of a pool's directory.
//!
//! Work on a volume holds a claim of it ([`crate::pools::claim`]) and runs on a thread of its own.
//! A new volume is filled under a name nobody sees and gets its own name when it is complete, so
//! that a daemon that dies on the way leaves the old state and a file it knows to remove.
//!
//! - `make`: new volumes, empty or copies (`copy_job`: as jobs). `change`: delete, resize; `wipe`.
//! - `transfer`: upload and download.
//! - `task`: qemu-img's other commands, on any image. `tool`: qemu-img, confined. `chain`: which images an image makes it open.
//! - `uses`: which running machine uses a file. `keys`: what encrypted volumes are opened with.
//! - `disks`: disks of machines that name a volume.

pub(crate) mod chain;
mod change;
mod copy_job;
mod disks;
mod keys;
mod make;
mod strays;
mod task;
pub(crate) mod tool;
mod transfer;
mod uses;
mod wipe;

pub(crate) use strays::{remove_own as remove_own_strays, unfinished_name};

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::pools::Pool;
use model::storage::VolumeDefinition;
use std::sync::Arc;
use storage::image::Image;

pub use change::Resize;
pub use copy_job::VolumeCopy;
pub use storage::task::{ImageTask, SnapshotChange};
pub use storage::volume::Wishes;
pub use strays::Stray;
pub use task::ImageJob;
pub use transfer::{Download, Piece, Range, Upload};
pub use wipe::WipeAlgorithm;

/// A volume as it was when its pool last looked.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// What is shown of it.
    pub definition: VolumeDefinition,
    /// What its header says.
    pub image: Image,
}

impl Volume {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// Its file.
    pub fn path(&self) -> &str {
        self.definition.target.path.as_deref().unwrap_or_default()
    }

    /// Its format, as qemu-img is to take it.
    pub(crate) fn tool_format(&self) -> &str {
        match (self.image.format, self.image.encryption) {
            ("raw", Some("luks")) => "luks",
            ("iso" | "dir" | "", _) => "raw",
            (format, _) => format,
        }
    }
}

impl Engine {
    /// The volume at this path, and its pool. A file that came there unknown to the pool, such as a
    /// snapshot's overlay, is one too.
    ///
    /// # Errors
    /// If no active pool has it.
    pub async fn volume_by_path(&self, path: &str) -> Result<(Pool, Arc<Volume>)> {
        let none = || {
            let what = format!("no storage vol with matching path '{path}'");
            EngineError::new(ErrorKind::NoVolume, what)
        };
        let (pool, name) = self.pool_of_path(path).ok_or_else(none)?;
        if pool.volume(&name).is_err() {
            pool.look(&name).await?;
        }
        let volume = pool.volume(&name).map_err(|_| none())?;
        Ok((pool, volume))
    }
}
