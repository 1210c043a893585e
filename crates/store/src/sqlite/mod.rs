//! The store over SQLite, for one host.
//!
//! One thread owns the writing connection and commits queued transactions
//! together ([`writer`]); reads run where they are called, on a connection of
//! their own ([`reader`]). The write-ahead log lets them pass each other.

mod apply;
mod fault;
mod reader;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::backend::{Backend, Later};
use crate::error::StoreError;
use crate::key::{KeyValue, LeaseId, Revision};
use crate::limits::{SQLITE_CHECK_ON_OPEN_MAX_BYTES, WRITE_QUEUE_MAX};
use crate::store::{ListOptions, ListPage};
use crate::txn::{Txn, TxnOutcome};
use crate::watch::{Feed, Watch};
use reader::Reader;
use writer::{Answer, Order, Request, Writer};

/// A store in one SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    reader: Reader,
    feed: Arc<Feed>,
    queue: Option<mpsc::Sender<Request>>,
    waiting: Arc<AtomicUsize>,
    next_lease: AtomicU64,
    writer: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens, or creates, the database at `path`. Refuses a damaged one, one
    /// of a newer version and files that are something else.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let connection = schema::open(path)?;
        let bytes = std::fs::metadata(path)
            .map_err(|e| fault::io("open", path, &e))?
            .len();
        if bytes <= SQLITE_CHECK_ON_OPEN_MAX_BYTES {
            schema::check(path)?;
        }
        let revision = schema::counter(path, &connection, "revision")?;
        let next_lease = schema::counter(path, &connection, "next_lease")?;
        let reader = Reader::open(path)?;
        let feed = Arc::new(Feed::new(revision));
        let (queue, requests) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer::new(path, connection, revision, feed.clone(), waiting.clone())?;
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&requests))
            .map_err(|e| fault::io("start the writer of", path, &e))?;
        Ok(SqliteStore {
            reader,
            feed,
            queue: Some(queue),
            waiting,
            next_lease: AtomicU64::new(next_lease),
            writer: Some(thread),
            path: path.to_owned(),
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole database and says whether it contradicts itself. Takes
    /// about a tenth of a second per 100 MB in memory; runs beside other reads
    /// and writes.
    pub fn check(&self) -> Result<(), StoreError> {
        schema::check(&self.path)
    }

    fn submit(&self, order: Order) -> Result<oneshot::Receiver<Answer>, StoreError> {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= WRITE_QUEUE_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Overloaded { waiting });
        }
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue
            .send(Request { order, reply })
            .map_err(|_| StoreError::Closed)?;
        Ok(answer)
    }

    fn later<T: 'static>(
        &self,
        order: Order,
        take: impl FnOnce(TxnOutcome) -> T + Send + 'static,
    ) -> Later<'_, T> {
        let submitted = self.submit(order);
        Box::pin(async move {
            let outcome = submitted?.await.map_err(|_| StoreError::Closed)??;
            Ok(take(outcome))
        })
    }
}

impl Drop for SqliteStore {
    /// Waits until everything queued is written.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing more to say here.
            let _ = writer.join();
        }
    }
}

impl Backend for SqliteStore {
    fn revision(&self) -> Revision {
        self.feed.revision()
    }

    fn get_blocking(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.reader.get(key)
    }

    fn list_blocking(&self, prefix: &str, options: &ListOptions) -> Result<ListPage, StoreError> {
        self.reader.list(prefix, options)
    }

    fn get<'a>(&'a self, key: &'a str) -> Later<'a, Option<KeyValue>> {
        Box::pin(async move { self.reader.get(key) })
    }

    fn list<'a>(&'a self, prefix: &'a str, options: ListOptions) -> Later<'a, ListPage> {
        Box::pin(async move { self.reader.list(prefix, &options) })
    }

    fn txn(&self, txn: Txn) -> Later<'_, TxnOutcome> {
        self.later(Order::Txn(txn), |outcome| outcome)
    }

    fn txn_blocking(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let answer = self.submit(Order::Txn(txn))?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    fn watch(&self, prefix: &str, from: Revision) -> Watch {
        Watch::new(&self.feed, prefix, from)
    }

    fn lease(&self, ttl: Duration) -> Later<'_, LeaseId> {
        let id = LeaseId(self.next_lease.fetch_add(1, Ordering::Relaxed));
        self.later(Order::Grant(id, ttl), move |_| id)
    }

    fn keepalive(&self, lease: LeaseId) -> Later<'_, ()> {
        self.later(Order::Keepalive(lease), |_| ())
    }

    fn revoke(&self, lease: LeaseId) -> Later<'_, ()> {
        self.later(Order::Revoke(lease), |_| ())
    }
}
