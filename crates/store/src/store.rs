//! The handle that everyone holds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::error::StoreError;
use crate::key::{KeyValue, LeaseId, Revision, check_key, check_prefix, check_value};
use crate::limits::{LEASE_TTL_MAX_MS, LEASE_TTL_MIN_MS, LIST_PAGE_MAX_ITEMS};
use crate::sqlite::SqliteStore;
use crate::txn::{Txn, TxnOutcome};
use crate::watch::Watch;

/// How to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Most entries wanted in this page; none for as many as a page may have.
    pub limit: Option<usize>,
    /// Where the page before ended: [`ListPage::next`].
    pub after: Option<String>,
    /// Leaves the values out.
    pub keys_only: bool,
}

/// One page of a list, in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The entries.
    pub items: Vec<KeyValue>,
    /// The revision at which this page was read. Pages of one list may differ
    /// in it; a watch from the first page's revision + 1 misses nothing.
    pub revision: Revision,
    /// The last key when there is more: goes into [`ListOptions::after`].
    pub next: Option<String>,
}

/// A store. Clones are handles to the same one; the last one closes it.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

impl Store {
    /// Opens, or creates, the SQLite database at `path`.
    pub fn open_sqlite(path: &Path) -> Result<Store, StoreError> {
        Ok(Store::new(Arc::new(SqliteStore::open(path)?)))
    }

    /// A store over any implementation.
    pub fn new(backend: Arc<dyn Backend>) -> Store {
        Store { backend }
    }

    /// The newest revision whose changes are visible to reads.
    pub fn revision(&self) -> Revision {
        self.backend.revision()
    }

    /// One entry.
    pub async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        check_key(key)?;
        self.backend.get(key).await
    }

    /// One entry, without a runtime.
    pub fn get_blocking(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        check_key(key)?;
        self.backend.get_blocking(key)
    }

    /// One page of the entries whose keys begin with `prefix`.
    pub async fn list(&self, prefix: &str, options: ListOptions) -> Result<ListPage, StoreError> {
        let options = check_list(prefix, options)?;
        self.backend.list(prefix, options).await
    }

    /// As [`Store::list`], without a runtime.
    pub fn list_blocking(
        &self,
        prefix: &str,
        options: ListOptions,
    ) -> Result<ListPage, StoreError> {
        let options = check_list(prefix, options)?;
        self.backend.list_blocking(prefix, &options)
    }

    /// Every entry whose key begins with `prefix`, page after page, and the
    /// revision of the first page.
    pub async fn list_all(&self, prefix: &str) -> Result<(Vec<KeyValue>, Revision), StoreError> {
        let mut page = self.list(prefix, ListOptions::default()).await?;
        let (mut items, revision) = (page.items, page.revision);
        while let Some(after) = page.next {
            let options = ListOptions {
                after: Some(after),
                ..ListOptions::default()
            };
            page = self.list(prefix, options).await?;
            items.append(&mut page.items);
        }
        Ok((items, revision))
    }

    /// As [`Store::list_all`], without a runtime: calls `each` per entry, so
    /// that no more than one page is in memory.
    pub fn for_each_blocking(
        &self,
        prefix: &str,
        mut each: impl FnMut(KeyValue),
    ) -> Result<Revision, StoreError> {
        let mut page = self.list_blocking(prefix, ListOptions::default())?;
        let revision = page.revision;
        loop {
            page.items.into_iter().for_each(&mut each);
            let Some(after) = page.next else {
                return Ok(revision);
            };
            let options = ListOptions {
                after: Some(after),
                ..ListOptions::default()
            };
            page = self.list_blocking(prefix, options)?;
        }
    }

    /// Applies a transaction if its compares hold. Answers once durable; a
    /// caller that stops waiting does not undo it.
    pub async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check()?;
        self.backend.txn(txn).await
    }

    /// As [`Store::txn`]; must not be called on a runtime's thread.
    pub fn txn_blocking(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check()?;
        self.backend.txn_blocking(txn)
    }

    /// Creates or replaces one entry.
    pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<Revision, StoreError> {
        let value = value.into();
        check_value(key, &value)?;
        self.txn(Txn::new().put(key, value)).await?.into_result()
    }

    /// Removes one entry.
    pub async fn delete(&self, key: &str) -> Result<Revision, StoreError> {
        self.txn(Txn::new().delete(key)).await?.into_result()
    }

    /// Follows the changes below `prefix` from revision `from` (inclusive).
    pub fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        check_prefix(prefix)?;
        Ok(self.backend.watch(prefix, from))
    }

    /// Grants a lease. Its time runs from the answer, and anew from each
    /// keepalive and from each opening of the store.
    pub async fn lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let (min, max) = (LEASE_TTL_MIN_MS, LEASE_TTL_MAX_MS);
        let ttl = Duration::from_millis(ttl.as_millis().clamp(min.into(), max.into()) as u64);
        self.backend.lease(ttl).await
    }

    /// Gives a lease its whole time to live again.
    pub async fn keepalive(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.backend.keepalive(lease).await
    }

    /// Ends a lease and deletes the entries bound to it.
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.backend.revoke(lease).await
    }
}

fn check_list(prefix: &str, mut options: ListOptions) -> Result<ListOptions, StoreError> {
    check_prefix(prefix)?;
    if let Some(after) = &options.after {
        check_prefix(after)?;
    }
    let limit = options.limit.unwrap_or(LIST_PAGE_MAX_ITEMS);
    options.limit = Some(limit.clamp(1, LIST_PAGE_MAX_ITEMS));
    Ok(options)
}
