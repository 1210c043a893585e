//! The latest changes, kept in memory for watches to follow and resume from.

use std::collections::VecDeque;

use crate::error::StoreError;
use crate::key::Revision;
use crate::limits::{WATCH_BATCH_MAX_CHANGES, WATCH_HISTORY_MAX_BYTES, WATCH_HISTORY_MAX_CHANGES};
use crate::watch::Change;

/// A bounded window of changes, oldest first, in revision order.
#[derive(Debug)]
pub(crate) struct History {
    changes: VecDeque<Change>,
    bytes: usize,
    /// Every change at or after this revision is in the window.
    oldest: Revision,
    /// The revision up to which the window is complete.
    newest: Revision,
}

impl History {
    /// An empty window that begins after `revision`.
    pub(crate) fn after(revision: Revision) -> History {
        History {
            changes: VecDeque::new(),
            bytes: 0,
            oldest: revision + 1,
            newest: revision,
        }
    }

    /// Adds the changes up to `revision`, and forgets the oldest ones beyond
    /// the bounds, whole revisions at a time.
    pub(crate) fn extend(&mut self, changes: impl IntoIterator<Item = Change>, revision: Revision) {
        for change in changes {
            self.bytes += change.size();
            self.changes.push_back(change);
        }
        self.newest = revision;
        while self.changes.len() > WATCH_HISTORY_MAX_CHANGES || self.bytes > WATCH_HISTORY_MAX_BYTES
        {
            self.forget_oldest_revision();
        }
    }

    fn forget_oldest_revision(&mut self) {
        let Some(revision) = self.changes.front().map(Change::revision) else {
            return;
        };
        while let Some(change) = self.changes.front().filter(|c| c.revision() == revision) {
            self.bytes -= change.size();
            self.changes.pop_front();
        }
        self.oldest = revision + 1;
    }

    /// The changes below `prefix` from `from` on: whole revisions, at least
    /// one when there is any. Also says from where to go on.
    pub(crate) fn since(
        &self,
        prefix: &str,
        from: Revision,
    ) -> Result<(Vec<Change>, Revision), StoreError> {
        if from < self.oldest {
            return Err(StoreError::Compacted {
                requested: from,
                oldest: self.oldest,
            });
        }
        let start = self.changes.partition_point(|c| c.revision() < from);
        let mut found: Vec<Change> = Vec::new();
        for change in self.changes.range(start..) {
            if !change.key().starts_with(prefix) {
                continue;
            }
            let begins_revision = found
                .last()
                .is_none_or(|c| c.revision() != change.revision());
            if found.len() >= WATCH_BATCH_MAX_CHANGES && begins_revision {
                return Ok((found, change.revision()));
            }
            found.push(change.clone());
        }
        Ok((found, from.max(self.newest + 1)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn deleted(key: &str, revision: Revision) -> Change {
        Change::Delete {
            key: Arc::from(key),
            revision,
        }
    }

    #[test]
    fn gives_what_lies_below_the_prefix_and_where_to_go_on() {
        let mut history = History::after(4);
        history.extend([deleted("a/1", 5), deleted("b/1", 6), deleted("a/2", 6)], 6);
        let (found, next) = history.since("a/", 5).unwrap();
        assert_eq!(found, [deleted("a/1", 5), deleted("a/2", 6)]);
        assert_eq!(next, 7);
        assert_eq!(history.since("a/", 6).unwrap().0, [deleted("a/2", 6)]);
        assert_eq!(history.since("a/", 9).unwrap(), (vec![], 9));
        assert!(matches!(
            history.since("a/", 4),
            Err(StoreError::Compacted {
                requested: 4,
                oldest: 5
            })
        ));
    }

    #[test]
    fn forgets_whole_revisions_beyond_its_bound() {
        let mut history = History::after(0);
        let count = WATCH_HISTORY_MAX_CHANGES as u64;
        for revision in 1..=count / 2 + 1 {
            history.extend([deleted("x", revision), deleted("y", revision)], revision);
        }
        assert!(history.changes.len() <= WATCH_HISTORY_MAX_CHANGES);
        assert!(matches!(
            history.since("", 1),
            Err(StoreError::Compacted { oldest: 2, .. })
        ));
        let (found, next) = history.since("", 2).unwrap();
        assert_eq!(found.len(), WATCH_BATCH_MAX_CHANGES);
        assert_eq!(next, 2 + WATCH_BATCH_MAX_CHANGES as u64 / 2);
    }
}
