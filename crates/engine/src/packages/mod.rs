//! Machines as packages: an OVA (one archive) or an OVF (a descriptor beside
//! its files) becomes a machine, and a machine becomes an OVA.
//!
//! What a package says is `storage::ovf`'s. A file it names is looked for in
//! the archive, or beside the descriptor, and nowhere else; its disks are read
//! by qemu-img where they lie, in a process that reaches nothing else.

mod content;
mod export;
mod import;

pub use export::{Export, ExportFormat};
pub use import::PackageImport;
