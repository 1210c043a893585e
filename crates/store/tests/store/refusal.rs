//! Databases that are not taken: damaged, newer, someone else's.

use std::path::Path;

use rusqlite::Connection;
use store::sqlite::SqliteStore;
use store::{Store, StoreError, Txn};

use crate::fresh;

/// A closed database with enough in it to be damaged.
fn closed(path: &Path, store: Store) {
    for n in 0..50 {
        store
            .txn_blocking(Txn::new().put(format!("key/{n}"), vec![n; 3000]))
            .unwrap();
    }
    drop(store);
    assert!(
        !path.with_extension("db-wal").exists(),
        "the log is written back on close"
    );
}

#[test]
fn a_newer_schema() {
    let (_directory, path, store) = fresh();
    closed(&path, store);
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = Store::open_sqlite(&path).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                found: 99,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("run the newer version"),
        "{error}"
    );
}

#[test]
fn another_programs_database_or_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    let error = Store::open_sqlite(&path).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");

    let path = directory.path().join("letter.txt");
    std::fs::write(&path, "Dear reader, ".repeat(500)).unwrap();
    let error = Store::open_sqlite(&path).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("Dear reader"),
        "left alone"
    );
}

#[test]
fn a_damaged_page() {
    let (_directory, path, store) = fresh();
    closed(&path, store);
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 20 * 4096);
    bytes[4096..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = Store::open_sqlite(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[test]
fn a_truncated_file() {
    let (_directory, path, store) = fresh();
    closed(&path, store);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(5000).unwrap();
    let error = Store::open_sqlite(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_healthy_one_passes_the_check_while_open() {
    let (_directory, path, store) = fresh();
    closed(&path, store);
    let store = SqliteStore::open(&path).unwrap();
    store.check().unwrap();
}

#[test]
fn a_place_that_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let error = Store::open_sqlite(&directory.path().join("no/such/state.db")).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Io {
                operation: "open",
                ..
            }
        ),
        "{error}"
    );
}
