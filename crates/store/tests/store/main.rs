//! The store as its users see it, over SQLite.

mod contract;
mod durability;
mod leases;
mod model;
mod refusal;
mod watches;

use std::path::PathBuf;

use store::Store;
use tempfile::TempDir;

/// A new store, and the directory that keeps it.
fn fresh() -> (TempDir, PathBuf, Store) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let store = Store::open_sqlite(&path).unwrap();
    (directory, path, store)
}
