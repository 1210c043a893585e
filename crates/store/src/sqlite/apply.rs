//! One transaction, judged and applied within an open SQLite transaction.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::key::{KeyValue, LeaseId, Revision, prefix_end};
use crate::limits::SQLITE_INLINE_VALUE_MAX_BYTES;
use crate::txn::{Compare, Condition, FailedCompare, Op, Txn, TxnOutcome};
use crate::watch::Change;

/// Why a transaction was not applied.
#[derive(Debug)]
pub(super) enum Refusal {
    /// SQLite failed; everything open must be rolled back.
    Sql(rusqlite::Error),
    /// A put names a lease that is none; nothing was touched.
    LeaseUnknown(LeaseId),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Refusal {
        Refusal::Sql(error)
    }
}

/// Where a batch has got to: the revision given last, and what changed.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) revision: Revision,
    pub(super) changes: Vec<Change>,
}

/// Judges the compares and, if all hold, makes the changes.
pub(super) fn txn(
    connection: &Connection,
    txn: &Txn,
    progress: &mut Progress,
) -> Result<TxnOutcome, Refusal> {
    let failed = failed_compares(connection, &txn.compares)?;
    if !failed.is_empty() {
        return Ok(TxnOutcome::Failed(failed));
    }
    for op in &txn.ops {
        if let Op::Put {
            lease: Some(lease), ..
        } = op
        {
            require_lease(connection, *lease)?;
        }
    }
    let revision = progress.revision + 1;
    let before = progress.changes.len();
    for op in &txn.ops {
        match op {
            Op::Put { key, value, lease } => {
                let change = put(connection, key, value, *lease, revision)?;
                progress.changes.push(change);
            }
            Op::Delete { key } => {
                let gone = connection
                    .prepare_cached("DELETE FROM entry WHERE key = ?1")?
                    .execute([key])?;
                if gone > 0 {
                    progress.changes.push(Change::Delete {
                        key: Arc::from(&**key),
                        revision,
                    });
                }
            }
            Op::DeletePrefix { prefix } => {
                delete_prefix(connection, prefix, revision, &mut progress.changes)?;
            }
        }
    }
    if progress.changes.len() > before {
        progress.revision = revision;
    }
    Ok(TxnOutcome::Committed {
        revision: progress.revision,
    })
}

/// Refuses a lease that does not exist.
pub(super) fn require_lease(connection: &Connection, lease: LeaseId) -> Result<(), Refusal> {
    let found = connection
        .prepare_cached("SELECT 1 FROM lease WHERE id = ?1")?
        .exists([lease.0 as i64])?;
    if found {
        Ok(())
    } else {
        Err(Refusal::LeaseUnknown(lease))
    }
}

/// Ends a lease: removes it and the entries bound to it.
pub(super) fn revoke(
    connection: &Connection,
    lease: LeaseId,
    progress: &mut Progress,
) -> Result<TxnOutcome, Refusal> {
    require_lease(connection, lease)?;
    let revision = progress.revision + 1;
    let before = progress.changes.len();
    let mut statement =
        connection.prepare_cached("DELETE FROM entry WHERE lease = ?1 RETURNING key")?;
    let mut rows = statement.query([lease.0 as i64])?;
    while let Some(row) = rows.next()? {
        let key = Arc::from(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?);
        progress.changes.push(Change::Delete { key, revision });
    }
    drop(rows);
    connection
        .prepare_cached("DELETE FROM lease WHERE id = ?1")?
        .execute([lease.0 as i64])?;
    if progress.changes.len() > before {
        progress.revision = revision;
    }
    Ok(TxnOutcome::Committed {
        revision: progress.revision,
    })
}

/// Records a lease.
pub(super) fn grant(
    connection: &Connection,
    lease: LeaseId,
    ttl_ms: u64,
    progress: &Progress,
) -> Result<TxnOutcome, Refusal> {
    connection
        .prepare_cached("INSERT INTO lease (id, ttl_ms) VALUES (?1, ?2)")?
        .execute([lease.0 as i64, ttl_ms as i64])?;
    connection
        .prepare_cached("UPDATE counter SET value = max(value, ?1) WHERE name = 'next_lease'")?
        .execute([lease.0 as i64 + 1])?;
    Ok(TxnOutcome::Committed {
        revision: progress.revision,
    })
}

/// Records the revision a batch has got to.
pub(super) fn record_revision(connection: &Connection, revision: Revision) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE counter SET value = ?1 WHERE name = 'revision'")?
        .execute([revision as i64])?;
    Ok(())
}

fn failed_compares(
    connection: &Connection,
    compares: &[Compare],
) -> rusqlite::Result<Vec<FailedCompare>> {
    let mut failed = Vec::new();
    for (index, Compare { key, condition }) in compares.iter().enumerate() {
        let mut statement = connection.prepare_cached(
            "SELECT mod_revision, create_revision, ?2 IS NOT NULL AND ?2 = coalesce( \
             entry.value, (SELECT large.value FROM large WHERE large.id = entry.large)) \
             FROM entry WHERE key = ?1",
        )?;
        let wanted = match condition {
            Condition::Value(value) => Some(value.as_slice()),
            _ => None,
        };
        let found: Option<(i64, i64, bool)> = statement
            .query_row(params![key, wanted], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let holds = match (condition, found) {
            (Condition::Absent, found) => found.is_none(),
            (_, None) => false,
            (Condition::Present, Some(_)) => true,
            (Condition::ModRevision(wanted), Some((revision, ..))) => revision as u64 == *wanted,
            (Condition::CreateRevision(wanted), Some((_, created, _))) => created as u64 == *wanted,
            (Condition::Value(_), Some((.., equal))) => equal,
        };
        if !holds {
            let found = found.map(|(revision, ..)| revision as u64);
            failed.push(FailedCompare {
                index,
                key: key.clone(),
                found,
            });
        }
    }
    Ok(failed)
}

fn put(
    connection: &Connection,
    key: &str,
    value: &[u8],
    lease: Option<LeaseId>,
    revision: Revision,
) -> rusqlite::Result<Change> {
    let lease_id = lease.map(|lease| lease.0 as i64);
    let (inline, large) = if value.len() > SQLITE_INLINE_VALUE_MAX_BYTES {
        (None, Some(put_large(connection, key, value)?))
    } else {
        (Some(value), None)
    };
    // A large value that a small one replaces goes with it: see the triggers.
    let create_revision: i64 = connection
        .prepare_cached(
            "INSERT INTO entry (key, value, large, create_revision, mod_revision, lease) \
             VALUES (?1, ?2, ?3, ?4, ?4, ?5) ON CONFLICT (key) DO UPDATE SET \
             value = excluded.value, large = excluded.large, \
             mod_revision = excluded.mod_revision, lease = excluded.lease \
             RETURNING create_revision",
        )?
        .query_row(
            params![key, inline, large, revision as i64, lease_id],
            |row| row.get(0),
        )?;
    Ok(Change::Put(KeyValue {
        key: Arc::from(key),
        value: Arc::from(value),
        create_revision: create_revision as u64,
        mod_revision: revision,
        lease,
    }))
}

/// Writes a large value over the one the entry has, or anew; its id.
fn put_large(connection: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<i64> {
    let present: Option<Option<i64>> = connection
        .prepare_cached("SELECT large FROM entry WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    match present.flatten() {
        Some(id) => {
            let mut update =
                connection.prepare_cached("UPDATE large SET value = ?1 WHERE id = ?2")?;
            update.execute(params![value, id])?;
            Ok(id)
        }
        None => {
            let mut insert = connection.prepare_cached("INSERT INTO large (value) VALUES (?1)")?;
            insert.insert([value])
        }
    }
}

fn delete_prefix(
    connection: &Connection,
    prefix: &str,
    revision: Revision,
    changes: &mut Vec<Change>,
) -> rusqlite::Result<()> {
    let end = prefix_end(prefix).unwrap_or_else(|| super::reader::ABOVE_ALL.to_owned());
    let mut statement = connection
        .prepare_cached("DELETE FROM entry WHERE key >= ?1 AND key < ?2 RETURNING key")?;
    let mut rows = statement.query([prefix, &end])?;
    while let Some(row) = rows.next()? {
        let key = Arc::from(row.get_ref(0)?.as_str()?);
        changes.push(Change::Delete { key, revision });
    }
    Ok(())
}
