//! Who answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The daemon that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Always `stead`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The URI by which libvirt's clients know it: `qemu:///system`.
    pub libvirt_uri: String,
}
