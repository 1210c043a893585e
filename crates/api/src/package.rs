//! Machines as packages, and what is made of machines and images for elsewhere.

use super::{Evidence, Network};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A package (OVA or OVF) to be made a machine of; the answer is a job, whose result is [`Packaged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageImport {
    /// An http or https URL of an OVA, or the absolute path of an OVA or of an OVF descriptor.
    pub source: String,
    /// The name the machine gets.
    pub name: String,
    /// What its cards are plugged into, in order; the last one serves for the others too.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Whether its disks and cards become virtio's, whatever they were.
    #[serde(default)]
    pub virtio: bool,
    /// What it is compared with, beside its own manifest.
    #[serde(default)]
    pub evidence: Evidence,
    /// Whether it is started.
    #[serde(default)]
    pub start: bool,
}

/// What became of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Packaged {
    /// The machine's name.
    pub name: String,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What an export makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// A package of a whole machine.
    Ova,
    /// One disk of a machine, or an image of the library, that builds upon nothing.
    Qcow2,
}

/// An export; the answer is a job, whose result is [`Exported`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The name of a machine that is shut off or, as qcow2, of an image of the library.
    pub name: String,
    /// What is made of it.
    pub format: ExportFormat,
    /// Which disk, by its target; the first one without.
    #[serde(default)]
    pub disk: Option<String>,
    /// The absolute path of the file to make.
    pub target: String,
}

/// What an export made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exported {
    /// The file's path.
    pub path: String,
}
