//! Reads, where they are called, on a connection of their own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{fault, schema};
use crate::error::StoreError;
use crate::key::{KeyValue, LeaseId, prefix_end};
use crate::limits::{LIST_PAGE_MAX_BYTES, LIST_PAGE_MAX_ITEMS};
use crate::store::{ListOptions, ListPage};

/// Key, revisions and lease first: what lies in the entry's row itself. Then
/// the value, which for a large one takes a look elsewhere.
const GET: &str = "SELECT entry.key, create_revision, mod_revision, lease, \
     coalesce(entry.value, (SELECT large.value FROM large WHERE large.id = entry.large)) \
     FROM entry WHERE entry.key = ?1";
const LIST: &str = "SELECT entry.key, create_revision, mod_revision, lease, \
     coalesce(entry.value, (SELECT large.value FROM large WHERE large.id = entry.large)) \
     FROM entry WHERE entry.key >= ?1 AND entry.key < ?2 ORDER BY entry.key LIMIT ?3";
const LIST_KEYS: &str = "SELECT key, create_revision, mod_revision, lease, x'' FROM entry \
     WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";

/// Above every key: keys have no control characters and are valid UTF-8, of
/// which this is the last character.
pub(super) const ABOVE_ALL: &str = "\u{10ffff}\u{10ffff}";

/// The reading connection.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Reader, StoreError> {
        let connection = Mutex::new(schema::open_reader(path)?);
        Ok(Reader {
            connection,
            path: path.to_owned(),
        })
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(GET)?
                .query_row([key], entry)
                .optional()
        })
    }

    /// One page; the options' limit is set by the caller.
    pub(super) fn list(&self, prefix: &str, options: &ListOptions) -> Result<ListPage, StoreError> {
        let limit = options.limit.unwrap_or(LIST_PAGE_MAX_ITEMS);
        let end = prefix_end(prefix).unwrap_or_else(|| ABOVE_ALL.to_owned());
        // The key just above `after` is `after` and a zero byte.
        let start = match &options.after {
            Some(after) if after.as_str() >= prefix => format!("{after}\0"),
            _ => prefix.to_owned(),
        };
        let query = if options.keys_only { LIST_KEYS } else { LIST };
        self.with(|connection| {
            // One read transaction, so that the revision fits the entries.
            let snapshot = connection.unchecked_transaction()?;
            let revision: i64 = snapshot
                .prepare_cached("SELECT value FROM counter WHERE name = 'revision'")?
                .query_row([], |row| row.get(0))?;
            let mut statement = snapshot.prepare_cached(query)?;
            let mut rows = statement.query(params![start, end, limit as i64 + 1])?;
            let mut page = ListPage {
                items: Vec::new(),
                revision: revision as u64,
                next: None,
            };
            let mut bytes = 0;
            while let Some(row) = rows.next()? {
                if page.items.len() == limit || bytes > LIST_PAGE_MAX_BYTES {
                    page.next = page.items.last().map(|last| last.key.to_string());
                    break;
                }
                let item = entry(row)?;
                bytes += item.key.len() + item.value.len();
                page.items.push(item);
            }
            Ok(page)
        })
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        read(&connection).map_err(|e| fault::sql("read", &self.path, &e))
    }
}

/// An entry from the columns key, create revision, mod revision, lease, value.
fn entry(row: &Row<'_>) -> rusqlite::Result<KeyValue> {
    let lease: Option<i64> = row.get(3)?;
    Ok(KeyValue {
        key: Arc::from(row.get_ref(0)?.as_str()?),
        value: Arc::from(row.get_ref(4)?.as_blob()?),
        create_revision: row.get::<_, i64>(1)? as u64,
        mod_revision: row.get::<_, i64>(2)? as u64,
        lease: lease.map(|id| LeaseId(id as u64)),
    })
}
