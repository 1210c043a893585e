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
    /// The fingerprint of the key that signed it, where that was asked for.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// Where it came from.
    pub source: String,
    /// When: milliseconds since 1970 (UTC).
    pub imported_ms: u64,
    /// The machines that use it, and the images that build upon it and belong
    /// to no machine.
    pub used_by: Vec<String>,
}

/// What an image or a package is compared with once it is here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// Its SHA-256 or SHA-512 in hexadecimal.
    pub checksum: Option<String>,
    /// A URL, or an absolute path of the host, of a file of checksums that names it.
    pub checksum_file: Option<String>,
    /// A URL or an absolute path of a detached signature: of the file of checksums where there is
    /// one, else of the image itself.
    pub signature: Option<String>,
    /// The absolute path of the keys that may have signed.
    pub keyring: Option<String>,
}

/// An image to be imported; the answer is a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageImport {
    /// An http or https URL, or the absolute path of a file of the host.
    pub source: String,
    /// The name it gets.
    pub name: String,
    /// What it is compared with.
    #[serde(default)]
    pub evidence: Evidence,
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
