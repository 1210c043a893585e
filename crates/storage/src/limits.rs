//! Every bound of this crate, units last.

/// Bytes read from the beginning of a file to tell what it is.
pub const HEAD_BYTES: usize = 4096;

/// The longest name of a backing file, as QEMU has it.
pub const BACKING_NAME_MAX_BYTES: usize = 1023;

/// Extensions of a qcow2 header that are looked at.
pub const HEADER_EXTENSIONS_MAX: usize = 64;

/// The largest first-level table of a qcow2 image QEMU opens.
pub const L1_TABLE_MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The table of reference counts of a qcow2 image; QEMU takes no larger one.
pub const REFCOUNT_TABLE_MAX_BYTES: u64 = 8 * 1024 * 1024;

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

/// Disks of a machine in a package.
pub const OVF_DISKS_MAX: usize = 60;

/// Network cards of a machine in a package.
pub const OVF_CARDS_MAX: usize = 32;

/// Processors of a machine in a package.
pub const OVF_VCPUS_MAX: u32 = 4096;

/// Memory of a machine in a package.
pub const OVF_MEMORY_MAX_BYTES: u64 = 64 << 40;

/// A machine's name, or what is written about it, in a package.
pub const OVF_TEXT_MAX_BYTES: usize = 64 * 1024;

/// The longest name of a file in a package.
pub const OVF_NAME_MAX_BYTES: usize = 200;

/// The longest manifest or file of checksums that is read.
pub const MANIFEST_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Lines of a manifest or a file of checksums.
pub const MANIFEST_LINES_MAX: usize = 50_000;

/// Files in an archive that are looked at.
pub const TAR_MEMBERS_MAX: usize = 1_000;

/// Bytes of an archive's extended header.
pub const TAR_EXTENDED_MAX_BYTES: u64 = 64 * 1024;
