//! The library of images.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An image of the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its file on the host.
    pub path: String,
    /// Its format: `qcow2`, `raw` or `iso`.
    pub format: String,
    /// The size a guest sees, in bytes.
    pub capacity: u64,
    /// The checksum (SHA-256, hexadecimal) of what was imported.
    pub sha256: String,
    /// Where it came from.
    pub source: String,
    /// When: milliseconds since 1970 (UTC).
    pub imported_ms: u64,
    /// The machines that use it, and the images that build upon it and belong
    /// to no machine.
    pub used_by: Vec<String>,
}

/// An image to be imported; the answer is a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageImport {
    /// An http or https URL, or the absolute path of a file of the host.
    pub source: String,
    /// The name it gets.
    pub name: String,
    /// Its SHA-256 or SHA-512 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Its format, where its own header is not to be believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// What an import made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Named {
    /// The name of what was made.
    pub name: String,
}
