//! The store's bounds, each with a name, beside each other.

/// Longest key, in bytes.
pub const KEY_MAX_BYTES: usize = 1024;

/// Largest value, in bytes. libvirt's own limit on a definition is 4 MiB of
/// string; values here are definitions and smaller records.
pub const VALUE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Most compares, and most changes, of one transaction.
pub const TXN_OPS_MAX: usize = 1024;

/// Most bytes of keys and values put by one transaction.
pub const TXN_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Most entries of one page of a list.
pub const LIST_PAGE_MAX_ITEMS: usize = 10_000;

/// A page of a list ends after the entry that takes it past this many bytes.
pub const LIST_PAGE_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Transactions waiting for the writer before further ones are refused.
pub const WRITE_QUEUE_MAX: usize = 16_384;

/// Transactions that share one commit, and so one sync of the disk.
pub const WRITE_BATCH_MAX: usize = 256;

/// Changes kept in memory for watches to resume from.
pub const WATCH_HISTORY_MAX_CHANGES: usize = 4_096;

/// Bytes of keys and values kept in memory for watches to resume from.
pub const WATCH_HISTORY_MAX_BYTES: usize = 512 * 1024;

/// Changes handed over by one call of a watch.
pub const WATCH_BATCH_MAX_CHANGES: usize = 256;

/// Shortest and longest time to live of a lease, in milliseconds.
pub const LEASE_TTL_MIN_MS: u64 = 100;
/// See [`LEASE_TTL_MIN_MS`].
pub const LEASE_TTL_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// Page cache of the writing and of the reading connection, in KiB each.
pub const SQLITE_CACHE_KIB: i64 = 256;

/// Pages in the write-ahead log after which it is written back.
pub const SQLITE_WAL_CHECKPOINT_PAGES: i64 = 1_000;

/// Size to which the write-ahead log is cut back once it was written back.
pub const SQLITE_WAL_KEEP_BYTES: i64 = 8 * 1024 * 1024;

/// A value up to this size lies beside its key. A larger one lies apart, so
/// that the keys and the small values stay close together: looking a key up
/// or listing heads then reads no definitions.
pub const SQLITE_INLINE_VALUE_MAX_BYTES: usize = 640;

/// A database up to this size is read through and checked when it is opened:
/// some 20 ms per 25 MB. A larger one is checked when asked to be.
pub const SQLITE_CHECK_ON_OPEN_MAX_BYTES: u64 = 128 * 1024 * 1024;
