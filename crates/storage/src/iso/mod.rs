//! The file system of CDs (ISO 9660 with Rock Ridge names): a small writer for
//! seeds, and a reader for the kernels on installation media.

mod read;
mod write;

pub use read::{Iso, IsoError};
pub use write::{IsoFile, write};

/// Bytes of a sector.
const SECTOR_BYTES: usize = 2048;
/// The sector of the first volume descriptor.
const DESCRIPTOR_SECTOR: usize = 16;
/// What every volume descriptor bears.
const MAGIC: &[u8; 5] = b"CD001";
/// Where the root's directory record lies in the primary descriptor.
const ROOT_RECORD_AT: usize = 156;
/// Bytes of a directory record before its name.
const RECORD_BYTES: usize = 33;
