//! The database file: its settings, its tables, and what is refused.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::fault;
use crate::error::StoreError;
use crate::limits::{SQLITE_CACHE_KIB, SQLITE_WAL_CHECKPOINT_PAGES, SQLITE_WAL_KEEP_BYTES};

/// "Std1" in the file's header, so that `file` and we can tell.
const APPLICATION_ID: i64 = 0x5374_6431;

/// The layout below. Raised, with a migration, whenever it changes.
const SCHEMA_VERSION: i64 = 1;

/// An entry's value is in it, or in `large` when it is a large one. Rows
/// without a rowid are compared as a whole, so they have to be short.
const CREATE: &str = "
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;
    INSERT INTO counter VALUES ('revision', 0), ('next_lease', 1);
    CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE entry (
        key TEXT PRIMARY KEY,
        value BLOB,
        large INTEGER,
        create_revision INTEGER NOT NULL,
        mod_revision INTEGER NOT NULL,
        lease INTEGER
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE large (id INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TRIGGER entry_deleted AFTER DELETE ON entry WHEN old.large IS NOT NULL
        BEGIN DELETE FROM large WHERE id = old.large; END;
    CREATE TRIGGER entry_replaced AFTER UPDATE OF large ON entry
        WHEN old.large IS NOT NULL AND new.large IS NOT old.large
        BEGIN DELETE FROM large WHERE id = old.large; END;
    CREATE INDEX entry_lease ON entry (lease) WHERE lease IS NOT NULL;
";

/// Opens the writing connection, creating the tables in a new file.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let fail = |e: rusqlite::Error| fault::sql("open", path, &e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    identify(path, &connection)?;
    tune(&connection).map_err(fail)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(fail)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(fail)?;
    connection
        .pragma_update(None, "wal_autocheckpoint", SQLITE_WAL_CHECKPOINT_PAGES)
        .map_err(fail)?;
    connection
        .pragma_update(None, "journal_size_limit", SQLITE_WAL_KEEP_BYTES)
        .map_err(fail)?;
    create(path, &connection)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let fail = |e: rusqlite::Error| fault::sql("open", path, &e);
    // Read-write as SQLite sees it: a reader of a write-ahead log keeps its
    // lock in the shared-memory file. `query_only` is what forbids changes.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    tune(&connection).map_err(fail)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(fail)?;
    Ok(connection)
}

/// Reads everything and refuses a database that contradicts itself.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let connection = open_reader(path)?;
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| fault::sql("check", path, &e))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        path: path.to_owned(),
        detail: verdict,
    })
}

/// One of the store's counters.
pub(super) fn counter(path: &Path, connection: &Connection, name: &str) -> Result<u64, StoreError> {
    let value: Option<i64> = connection
        .query_row("SELECT value FROM counter WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
        .map_err(|e| fault::sql("read", path, &e))?;
    value
        .and_then(|v| u64::try_from(v).ok())
        .ok_or_else(|| StoreError::Corrupt {
            path: path.to_owned(),
            detail: format!("counter {name:?} is missing or negative"),
        })
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.pragma_update(None, "cache_size", -SQLITE_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(24);
    Ok(())
}

/// Refuses files that are not ours or of a newer version.
fn identify(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let number = |pragma: &str| -> Result<i64, StoreError> {
        connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .map_err(|e| fault::sql("open", path, &e))
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| fault::sql("open", path, &e))?;
    if application != APPLICATION_ID && (application, version, tables) != (0, 0, 0) {
        return Err(StoreError::NotAStore {
            path: path.to_owned(),
            detail: "an SQLite database of another program".to_owned(),
        });
    }
    if version > SCHEMA_VERSION {
        let (found, supported) = (version, SCHEMA_VERSION);
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            supported,
        });
    }
    Ok(())
}

/// Creates the tables where there are none, all of them or nothing.
fn create(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let fail = |e: rusqlite::Error| fault::sql("create", path, &e);
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fail)?;
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    let stamp = format!(
        "BEGIN IMMEDIATE; {CREATE} PRAGMA application_id = {APPLICATION_ID}; \
         PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    );
    connection.execute_batch(&stamp).map_err(fail)?;
    sync_directory(path)
}

/// Makes the new file's name itself durable.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| fault::io("sync the directory of", path, &e))
}
