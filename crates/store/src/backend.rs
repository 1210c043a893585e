//! What an implementation of the store provides.
//!
//! [`crate::Store`] has checked keys, sizes and bounds before it calls here.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::error::StoreError;
use crate::key::{KeyValue, LeaseId, Revision};
use crate::store::{ListOptions, ListPage};
use crate::txn::{Txn, TxnOutcome};
use crate::watch::Watch;

/// An answer that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// An implementation of the store. The `_blocking` calls may wait for local
/// disk, never for a network: an implementation that has the data elsewhere
/// answers them from a copy it keeps.
pub trait Backend: Debug + Send + Sync {
    /// The newest revision whose changes are visible to reads.
    fn revision(&self) -> Revision;

    /// One entry.
    fn get_blocking(&self, key: &str) -> Result<Option<KeyValue>, StoreError>;

    /// One page of entries in key order.
    fn list_blocking(&self, prefix: &str, options: &ListOptions) -> Result<ListPage, StoreError>;

    /// One entry, at least as new as any answer given before the call.
    fn get<'a>(&'a self, key: &'a str) -> Later<'a, Option<KeyValue>>;

    /// One page of entries in key order.
    fn list<'a>(&'a self, prefix: &'a str, options: ListOptions) -> Later<'a, ListPage>;

    /// Judges the compares and applies the changes; answers once durable.
    fn txn(&self, txn: Txn) -> Later<'_, TxnOutcome>;

    /// As [`Backend::txn`], for threads outside the runtime.
    fn txn_blocking(&self, txn: Txn) -> Result<TxnOutcome, StoreError>;

    /// Changes below `prefix` from revision `from` (inclusive) on.
    fn watch(&self, prefix: &str, from: Revision) -> Watch;

    /// Grants a lease.
    fn lease(&self, ttl: Duration) -> Later<'_, LeaseId>;

    /// Gives a lease its whole time to live again.
    fn keepalive(&self, lease: LeaseId) -> Later<'_, ()>;

    /// Ends a lease and deletes the entries bound to it.
    fn revoke(&self, lease: LeaseId) -> Later<'_, ()>;
}
