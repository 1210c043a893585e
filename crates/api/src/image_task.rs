//! What is done to images.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A task on an image of the host; answered with a job whose result is an [`ImageOutput`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageRequest {
    /// The image's absolute path.
    pub image: String,
    /// Its format; found out if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What is done.
    pub task: ImageTask,
    /// Whether what is found is wanted as data instead of words.
    #[serde(default)]
    pub as_data: bool,
}

/// An image and its format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageName {
    /// The absolute path.
    pub path: String,
    /// The format.
    pub format: String,
}

/// What is done to an image: qemu-img's commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum ImageTask {
    /// It is made.
    Create {
        /// Its size in bytes.
        size: Option<u64>,
        /// The image it builds upon.
        backing: Option<ImageName>,
        /// Further options, `name=value` each.
        options: Vec<String>,
    },
    /// It is described.
    Info {
        /// The images behind it too.
        chain: bool,
    },
    /// It is looked over.
    Check {
        /// What is mended: `leaks` or `all`.
        repair: Option<String>,
    },
    /// It is copied into another.
    Convert {
        /// The other one, which must not be there.
        target: ImageName,
        /// Whether that one is compressed.
        compress: bool,
        /// Further options, `name=value` each.
        options: Vec<String>,
    },
    /// It gets another size.
    Resize {
        /// The size in bytes.
        size: u64,
        /// It may become smaller.
        shrink: bool,
        /// How much is taken at once.
        preallocation: Option<String>,
    },
    /// It gets another image behind it.
    Rebase {
        /// The other image; none makes it stand alone.
        backing: Option<ImageName>,
        /// Only the name in its header changes.
        name_only: bool,
    },
    /// What it holds is written into the image behind it.
    Commit,
    /// Its parts are listed.
    Map,
    /// The space it would take is told.
    Measure {
        /// In this format.
        target_format: String,
    },
    /// It is compared with another.
    Compare {
        /// The other one.
        other: ImageName,
    },
    /// The snapshots inside it are listed.
    ListSnapshots,
    /// A snapshot is made inside it.
    CreateSnapshot {
        /// Its name.
        name: String,
    },
    /// It becomes what it was.
    ApplySnapshot {
        /// The snapshot's name.
        name: String,
    },
    /// A snapshot inside it is deleted.
    DeleteSnapshot {
        /// Its name.
        name: String,
    },
}

/// What qemu-img said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageOutput {
    /// Its words; empty where data was asked for and there is some.
    pub output: String,
    /// The data asked for, under qemu-img's own names: an object, or a list for `map`, for a chain
    /// of images and for snapshots. Absent where a task finds nothing out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<serde_json::Value>,
    /// Whether images that were compared differ, or one that was checked is damaged.
    #[serde(default)]
    pub found: bool,
}

/// A file that somebody began to make a volume of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stray {
    /// The pool it lies in.
    pub pool: String,
    /// The file.
    pub path: String,
    /// How long it is, in bytes.
    pub length: u64,
    /// What it is, for a person.
    pub explanation: String,
}
