//! Machines as packages that other virtualizers read and write: OVF 1.x
//! descriptors, the manifest beside them, and what both say about files.
//!
//! A package comes from a stranger. A file it names is a plain name, looked
//! for in the package and nowhere else; every list has a bound.

mod manifest;
mod read;
mod units;
mod write;

pub(crate) use manifest::read_tagged;
pub use manifest::{Algorithm, Digest, ManifestError, read_manifest, write_manifest};
pub use read::read;
pub use write::write;

use thiserror::Error;

/// A machine as a package describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OvfMachine {
    /// Its name.
    pub name: String,
    /// What somebody wrote about it.
    pub annotation: Option<String>,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Processors.
    pub vcpus: u32,
    /// Whether UEFI starts it.
    pub uefi: bool,
    /// What runs in it.
    pub system: System,
    /// Its disks, in order.
    pub disks: Vec<OvfDisk>,
    /// Its CD drives.
    pub cd_drives: u32,
    /// Its network cards, in order.
    pub cards: Vec<OvfCard>,
    /// What of the description has no counterpart here, for people.
    pub notes: Vec<String>,
}

/// The family of a guest's system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum System {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
    /// Something else, or nobody knows.
    #[default]
    Other,
}

/// What a disk is plugged into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OvfBus {
    /// AHCI, or the older IDE: what every system knows.
    #[default]
    Sata,
    /// VMware's own SCSI controller.
    Pvscsi,
    /// LSI's SAS controller.
    LsiSas,
    /// virtio: said by an extension only Stead reads.
    Virtio,
}

/// A disk of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfDisk {
    /// The file that holds it; none for an empty one.
    pub file: Option<OvfFile>,
    /// The size a guest sees, in bytes.
    pub capacity: u64,
    /// What it is plugged into.
    pub bus: OvfBus,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfFile {
    /// Its name: no path.
    pub name: String,
    /// Its size in bytes, where that is said.
    pub size: Option<u64>,
    /// Whether it is compressed by gzip.
    pub gzip: bool,
}

/// A network card of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfCard {
    /// Its model.
    pub model: OvfCardModel,
    /// The name of the network it was plugged into.
    pub network: String,
}

/// The model of a network card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OvfCardModel {
    /// Intel's, which every system knows.
    #[default]
    E1000,
    /// Its successor.
    E1000e,
    /// VMware's own.
    Vmxnet3,
    /// AMD's, of old.
    Pcnet,
    /// virtio: VirtualBox has it too.
    Virtio,
}

/// Why a descriptor cannot be used.
#[derive(Debug, Error)]
pub enum OvfError {
    /// It is no XML, or too much of it.
    #[error("{0}")]
    Xml(#[from] model::xml::XmlError),
    /// It says something that is wrong or not supported.
    #[error("line {line}: {what}")]
    Content {
        /// The line, from 1 on.
        line: u32,
        /// What is wrong.
        what: String,
    },
}

/// Whether a name can be a file's name in a package: no path, nothing hidden, nothing unseen.
pub fn is_file_name(name: &str) -> bool {
    let plain = |c: char| !c.is_control() && c != '/' && c != '\\';
    !name.is_empty()
        && name.len() <= crate::limits::OVF_NAME_MAX_BYTES
        && !name.starts_with('.')
        && name.chars().all(plain)
}

#[cfg(test)]
mod tests;
