//! The one writer: takes what is queued, commits it together, answers each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::apply::{self, Progress, Refusal};
use super::fault;
use crate::error::StoreError;
use crate::key::{LeaseId, Revision};
use crate::limits::WRITE_BATCH_MAX;
use crate::txn::{Txn, TxnOutcome};
use crate::watch::Feed;

/// What the writer answers: also for leases, whose outcome says nothing more
/// than that they were carried out.
pub(super) type Answer = Result<TxnOutcome, StoreError>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    Txn(Txn),
    Grant(LeaseId, Duration),
    Keepalive(LeaseId),
    Revoke(LeaseId),
}

/// An order and whom to answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) order: Order,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// A lease's time.
#[derive(Debug)]
struct Clock {
    ttl: Duration,
    ends: Instant,
}

/// The writing connection with what only the writer knows.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    revision: Revision,
    feed: Arc<Feed>,
    waiting: Arc<AtomicUsize>,
    leases: BTreeMap<LeaseId, Clock>,
}

impl Writer {
    /// Leases found in the database begin their time anew.
    pub(super) fn new(
        path: &Path,
        connection: Connection,
        revision: Revision,
        feed: Arc<Feed>,
        waiting: Arc<AtomicUsize>,
    ) -> Result<Writer, StoreError> {
        let leases =
            stored_leases(&connection).map_err(|e| fault::sql("read the leases of", path, &e))?;
        Ok(Writer {
            path: path.to_owned(),
            connection,
            revision,
            feed,
            waiting,
            leases,
        })
    }

    /// Serves until every handle of the store is gone.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let first = match self.until_next_expiry() {
                None => requests.recv().map_err(RecvTimeoutError::from),
                Some(timeout) => requests.recv_timeout(timeout),
            };
            let first = match first {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let batch: Vec<Request> = first
                .into_iter()
                .chain(requests.try_iter())
                .take(WRITE_BATCH_MAX)
                .collect();
            self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
            self.serve(batch);
            self.expire();
        }
    }

    /// Commits a batch. When it fails as a whole, each order is tried alone:
    /// one that is too large for the space left does not fail the others.
    fn serve(&mut self, batch: Vec<Request>) {
        let orders: Vec<&Order> = batch.iter().map(|request| &request.order).collect();
        let mut answers = self.commit(&orders);
        if let (Err(_), true) = (&answers, orders.len() > 1) {
            answers = Ok(orders
                .iter()
                .map(|order| self.commit_alone(order))
                .collect());
        }
        let answers = answers.unwrap_or_else(|e| vec![Err(e)]);
        for (Request { reply, .. }, answer) in batch.into_iter().zip(answers) {
            // A caller that no longer waits does not undo what it asked for.
            let _ = reply.send(answer);
        }
    }

    fn commit_alone(&mut self, order: &Order) -> Answer {
        let mut answers = self.commit(&[order])?;
        answers.pop().unwrap_or(Err(StoreError::Closed))
    }

    /// Carries out the orders in one SQLite transaction, all or none, and
    /// publishes what changed once it is durable.
    fn commit(&mut self, orders: &[&Order]) -> Result<Vec<Answer>, StoreError> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let mut progress = Progress {
            revision: self.revision,
            changes: Vec::new(),
        };
        let answers = self.try_commit(orders, &mut progress).map_err(|e| {
            self.roll_back();
            fault::sql("write", &self.path, &e)
        })?;
        for (order, answer) in orders.iter().zip(&answers) {
            if answer.is_ok() {
                self.start_clock(order);
            }
        }
        self.revision = progress.revision;
        if !progress.changes.is_empty() {
            self.feed.publish(progress.changes, progress.revision);
        }
        Ok(answers)
    }

    fn try_commit(
        &self,
        orders: &[&Order],
        progress: &mut Progress,
    ) -> rusqlite::Result<Vec<Answer>> {
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut answers = Vec::with_capacity(orders.len());
        for order in orders {
            let outcome = match order {
                Order::Txn(txn) => apply::txn(connection, txn, progress),
                Order::Grant(id, ttl) => {
                    apply::grant(connection, *id, ttl.as_millis() as u64, progress)
                }
                Order::Revoke(id) => apply::revoke(connection, *id, progress),
                Order::Keepalive(id) => {
                    apply::require_lease(connection, *id).map(|()| TxnOutcome::Committed {
                        revision: progress.revision,
                    })
                }
            };
            answers.push(match outcome {
                Ok(outcome) => Ok(outcome),
                Err(Refusal::LeaseUnknown(lease)) => Err(StoreError::LeaseUnknown(lease)),
                Err(Refusal::Sql(e)) => return Err(e),
            });
        }
        if progress.revision > self.revision {
            apply::record_revision(connection, progress.revision)?;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(answers)
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // Fails only where SQLite has rolled back by itself meanwhile.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn start_clock(&mut self, order: &Order) {
        let now = Instant::now();
        match order {
            Order::Txn(_) => {}
            Order::Grant(id, ttl) => {
                self.leases.insert(
                    *id,
                    Clock {
                        ttl: *ttl,
                        ends: now + *ttl,
                    },
                );
            }
            Order::Keepalive(id) => {
                if let Some(clock) = self.leases.get_mut(id) {
                    clock.ends = now + clock.ttl;
                }
            }
            Order::Revoke(id) => {
                self.leases.remove(id);
            }
        }
    }

    fn until_next_expiry(&self) -> Option<Duration> {
        let next = self.leases.values().map(|clock| clock.ends).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Revokes the leases whose time is over. Where that fails, for lack of
    /// space say, they are tried again a time to live later.
    fn expire(&mut self) {
        let now = Instant::now();
        let due: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, clock)| clock.ends <= now)
            .map(|(id, _)| *id)
            .collect();
        for lease in due {
            if self.commit_alone(&Order::Revoke(lease)).is_err()
                && let Some(clock) = self.leases.get_mut(&lease)
            {
                clock.ends = now + clock.ttl;
            }
        }
    }
}

fn stored_leases(connection: &Connection) -> rusqlite::Result<BTreeMap<LeaseId, Clock>> {
    let now = Instant::now();
    let mut statement = connection.prepare("SELECT id, ttl_ms FROM lease")?;
    let rows = statement.query_map([], |row| {
        let (id, ttl_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
        let ttl = Duration::from_millis(ttl_ms as u64);
        Ok((
            LeaseId(id as u64),
            Clock {
                ttl,
                ends: now + ttl,
            },
        ))
    })?;
    rows.collect()
}
