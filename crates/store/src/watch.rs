//! Following changes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::StoreError;
use crate::history::History;
use crate::key::{KeyValue, Revision};

/// One change, as a watch reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An entry was created or replaced.
    Put(KeyValue),
    /// An entry was removed.
    Delete {
        /// Its key.
        key: Arc<str>,
        /// The revision that removed it.
        revision: Revision,
    },
}

impl Change {
    /// The key concerned.
    pub fn key(&self) -> &str {
        match self {
            Change::Put(entry) => &entry.key,
            Change::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        match self {
            Change::Put(entry) => entry.mod_revision,
            Change::Delete { revision, .. } => *revision,
        }
    }

    /// Bytes it occupies in the history, near enough.
    pub(crate) fn size(&self) -> usize {
        let value = match self {
            Change::Put(entry) => entry.value.len(),
            Change::Delete { .. } => 0,
        };
        self.key().len() + value + size_of::<Change>()
    }
}

/// What the writer and the watches share: the history, and the bell.
#[derive(Debug)]
pub(crate) struct Feed {
    history: Mutex<History>,
    bell: watch::Sender<Revision>,
}

impl Feed {
    /// A feed whose history begins after `revision`.
    pub(crate) fn new(revision: Revision) -> Feed {
        Feed {
            history: Mutex::new(History::after(revision)),
            bell: watch::Sender::new(revision),
        }
    }

    /// The newest revision published.
    pub(crate) fn revision(&self) -> Revision {
        *self.bell.borrow()
    }

    /// Makes committed changes known.
    pub(crate) fn publish(&self, changes: Vec<Change>, revision: Revision) {
        self.lock().extend(changes, revision);
        self.bell.send_replace(revision);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The changes below a prefix, from a revision on.
///
/// It holds no queue of its own: a consumer too slow for the kept history is
/// told [`StoreError::Compacted`] and lists again.
#[derive(Debug)]
pub struct Watch {
    feed: std::sync::Weak<Feed>,
    bell: watch::Receiver<Revision>,
    prefix: String,
    next: Revision,
}

impl Watch {
    pub(crate) fn new(feed: &Arc<Feed>, prefix: &str, from: Revision) -> Watch {
        Watch {
            feed: Arc::downgrade(feed),
            bell: feed.bell.subscribe(),
            prefix: prefix.to_owned(),
            next: from,
        }
    }

    /// Waits for changes and hands over at least one, whole revisions only.
    /// Nothing is lost when the future is dropped before it is done. Ends with
    /// [`StoreError::Closed`] once the store is closed.
    pub async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            self.bell.mark_unchanged();
            let changes = self.ready()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            self.bell.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }

    /// The changes there are by now, without waiting; may be none.
    pub fn ready(&mut self) -> Result<Vec<Change>, StoreError> {
        let feed = self.feed.upgrade().ok_or(StoreError::Closed)?;
        let (changes, next) = feed.lock().since(&self.prefix, self.next)?;
        self.next = next;
        Ok(changes)
    }
}
