//! Every bound of this crate, units last.

/// Bytes read from the beginning of a file to tell what it is.
pub const HEAD_BYTES: usize = 4096;

/// The longest name of a backing file, as QEMU has it.
pub const BACKING_NAME_MAX_BYTES: usize = 1023;

/// Extensions of a qcow2 header that are looked at.
pub const HEADER_EXTENSIONS_MAX: usize = 64;

/// The largest first-level table of a qcow2 image QEMU opens.
pub const L1_TABLE_MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Snapshots in a qcow2 image QEMU opens.
pub const SNAPSHOTS_MAX: u32 = 65_536;

/// Bytes read of a VMDK's descriptor.
pub const VMDK_DESCRIPTOR_MAX_BYTES: usize = 64 * 1024;

/// Entries of a VHDX table that are looked at.
pub const VHDX_ENTRIES_MAX: usize = 2047;

/// The largest size an image may claim: files cannot be longer.
pub const CAPACITY_MAX_BYTES: u64 = i64::MAX as u64;

/// Images behind an image that are followed.
pub const CHAIN_MAX: usize = 200;

/// Volume descriptors of a CD that are looked at.
pub const ISO_DESCRIPTORS_MAX: usize = 16;

/// Bytes of one directory of a CD.
pub const ISO_DIRECTORY_MAX_BYTES: u64 = 1024 * 1024;
