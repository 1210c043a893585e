//! What can go wrong in the store, typed, with what to do about it.

use std::path::PathBuf;

use crate::key::{LeaseId, Revision};

/// An error of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database's content contradicts itself.
    #[error(
        "{}: the database is damaged ({detail}); stop the daemon, move the file and its -wal and \
         -shm companions away and restore a backup, or recover what is readable with \
         `sqlite3 {} .recover`", path.display(), path.display()
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What SQLite or the check said.
        detail: String,
    },
    /// The file is something other than a Stead database.
    #[error("{}: not a Stead database ({detail}); move the file away or choose another place", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// Why it is not taken for one.
        detail: String,
    },
    /// The database was written by a newer Stead.
    #[error(
        "{}: written by a newer version of Stead (schema {found}, this one knows up to \
         {supported}); run the newer version, or restore a backup made before the upgrade",
        path.display()
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// The schema number found.
        found: i64,
        /// The newest this version understands.
        supported: i64,
    },
    /// The disk or quota is full; nothing of the transaction was written.
    #[error("{}: no space left to store the change; nothing was changed; free some space and try again", path.display())]
    NoSpace {
        /// The database file.
        path: PathBuf,
    },
    /// Another process holds the database.
    #[error("{}: in use by another process; is another daemon running on this directory?", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The operating system refused an access.
    #[error("{}: cannot {operation}: {detail}", path.display())]
    Io {
        /// What was tried: "open", "write", ….
        operation: &'static str,
        /// The database file.
        path: PathBuf,
        /// The cause, as SQLite or the system words it.
        detail: String,
    },
    /// A key that the store does not take.
    #[error("key {key:?}: {reason}")]
    BadKey {
        /// The key, cut to a printable length.
        key: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A value, transaction or page beyond its bound in [`crate::limits`].
    #[error("{what}: {size} exceeds the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// Two changes of one transaction concern the same key.
    #[error("key {key:?}: changed twice in one transaction")]
    ChangedTwice {
        /// The key.
        key: String,
    },
    /// A compare of the transaction did not hold; see
    /// [`crate::TxnOutcome::into_result`].
    #[error("key {key:?}: changed meanwhile; read it again and retry")]
    Conflict {
        /// The first key whose compare failed.
        key: String,
    },
    /// The history the watch needs is gone: list again, then watch from the
    /// list's revision.
    #[error("changes since revision {requested} are no longer kept (oldest: {oldest}); list again")]
    Compacted {
        /// The revision the watch wanted to go on from.
        requested: Revision,
        /// The oldest revision still known.
        oldest: Revision,
    },
    /// No such lease: never granted, expired or revoked.
    #[error("lease {}: expired or never granted", .0.0)]
    LeaseUnknown(LeaseId),
    /// Too many transactions wait already.
    #[error("the store is overloaded: {waiting} changes wait to be written; try again later")]
    Overloaded {
        /// How many wait.
        waiting: usize,
    },
    /// The store was closed, or its writer ended.
    #[error("the store is closed")]
    Closed,
}
