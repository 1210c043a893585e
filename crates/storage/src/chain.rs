//! Steps that change the images of a stopped machine. Each can be repeated
//! after a crash: what has been done already is recognised and left.

use serde::{Deserialize, Serialize};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// Keep the image's present content under a name inside the image.
    Tag {
        /// The image, a qcow2.
        image: String,
        /// The name.
        tag: String,
    },
    /// Drop what an image keeps under a name.
    Untag {
        /// The image, a qcow2.
        image: String,
        /// The name.
        tag: String,
    },
    /// Make the content kept under a name the image's present content.
    Apply {
        /// The image, a qcow2.
        image: String,
        /// The name.
        tag: String,
    },
    /// Make an empty image upon another one.
    Overlay {
        /// The new image.
        image: String,
        /// Its format.
        format: String,
        /// The image below.
        backing: String,
        /// Its format.
        backing_format: String,
    },
    /// Write what an image holds into the one below it.
    Commit {
        /// The upper image.
        top: String,
        /// Its format.
        format: String,
        /// The image that takes it.
        base: String,
    },
    /// Write the name of another image below, which has the same content.
    Rebase {
        /// The image.
        image: String,
        /// Its format.
        format: String,
        /// The image below from now on.
        backing: String,
        /// Its format.
        backing_format: String,
    },
    /// Copy a file whole.
    Copy {
        /// The file.
        from: String,
        /// The copy; nothing is there yet.
        to: String,
    },
    /// Remove a file.
    Remove {
        /// The file.
        image: String,
    },
}
