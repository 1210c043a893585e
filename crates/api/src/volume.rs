//! Volumes of pools.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A volume to be made with the content of another; answered with a job whose result is a
/// [`VolumeMade`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VolumeCopy {
    /// The pool it will be in.
    pub pool: String,
    /// The new volume, as libvirt's XML.
    pub xml: String,
    /// The pool of the other one.
    pub source_pool: String,
    /// The other one's name.
    pub source: String,
    /// Whether the tables of a qcow2 image are put on the disk at once.
    #[serde(default)]
    pub prealloc_metadata: bool,
    /// Whether blocks must be shared with the other one.
    #[serde(default)]
    pub reflink: bool,
}

/// A volume to be overwritten; answered with a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VolumeWipe {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// The algorithm, by libvirt's number; 0 writes zeros.
    #[serde(default)]
    pub algorithm: u32,
}

/// A volume that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VolumeMade {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
}
