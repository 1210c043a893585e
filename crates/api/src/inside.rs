//! What is inside the disks of a machine that does not run.

use serde::{Deserialize, Serialize};
pub use storage::guestfs::{Change, Profile};
use utoipa::ToSchema;

/// A question about what is inside; the answer is text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LookInside {
    /// Lists a directory.
    List {
        /// The directory.
        path: String,
        /// With permissions, owners, sizes and all that lies below.
        #[serde(default)]
        long: bool,
    },
    /// Prints a file.
    Cat {
        /// The file.
        path: String,
    },
}

/// Something done inside; the answer is a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkInside {
    /// Copies files of the host in.
    CopyIn {
        /// Absolute paths of the host.
        from: Vec<String>,
        /// A directory of the guest.
        to: String,
    },
    /// Copies files of the guest out.
    CopyOut {
        /// Paths of the guest.
        from: Vec<String>,
        /// A directory of the host.
        to: String,
    },
    /// Mounts the disks below a directory of the host; the job lasts as long as the mount.
    Mount {
        /// The directory.
        at: String,
        /// Whether it may be written to.
        #[serde(default)]
        writable: bool,
    },
    /// Takes away what makes the guest this one guest.
    Sysprep {
        /// The operations; all that are usual without any.
        #[serde(default)]
        operations: Vec<String>,
        /// Changes made besides.
        #[serde(default)]
        changes: Vec<Change>,
    },
    /// Changes the guest.
    Customize {
        /// A ready set of changes, made after packages are installed and before the others.
        #[serde(default)]
        profile: Option<Profile>,
        /// The changes, in order.
        #[serde(default)]
        changes: Vec<Change>,
    },
    /// Gives a disk more room, and the root partition and its file system all of it.
    Grow {
        /// The new size of the root's disk in bytes; its present one without.
        #[serde(default)]
        size: Option<u64>,
    },
}

/// Text that was asked for, or that a program said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Said {
    /// The text.
    pub said: String,
}

/// A directory of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// Its path.
    pub at: String,
}
