//! Transactions: compares that must all hold, and the changes to make then.

use std::collections::BTreeSet;

use crate::error::StoreError;
use crate::key::{LeaseId, Revision, check_key, check_prefix, check_value};
use crate::limits::{TXN_MAX_BYTES, TXN_OPS_MAX};

/// What must hold of a key for a transaction to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The key does not exist.
    Absent,
    /// The key exists.
    Present,
    /// The key was last put at this revision.
    ModRevision(Revision),
    /// The key came into being at this revision.
    CreateRevision(Revision),
    /// The key has exactly this value.
    Value(Vec<u8>),
}

/// One compare of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key looked at.
    pub key: String,
    /// What must hold of it.
    pub condition: Condition,
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces an entry.
    Put {
        /// The key.
        key: String,
        /// The new value.
        value: Vec<u8>,
        /// The lease it is bound to from now on, if any.
        lease: Option<LeaseId>,
    },
    /// Removes an entry; nothing happens where there is none.
    Delete {
        /// The key.
        key: String,
    },
    /// Removes every entry whose key begins so.
    DeletePrefix {
        /// The prefix; not empty.
        prefix: String,
    },
}

/// A transaction: built up, then handed to [`crate::Store::txn`].
///
/// The order of changes does not matter, since no key may be changed twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    pub(crate) compares: Vec<Compare>,
    pub(crate) ops: Vec<Op>,
}

/// A compare that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCompare {
    /// Position in the order in which the compares were added, from 0.
    pub index: usize,
    /// The key looked at.
    pub key: String,
    /// The key's actual mod revision; none when it does not exist.
    pub found: Option<Revision>,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Every compare held; the changes are durable.
    Committed {
        /// The revision after it: its own when it changed anything.
        revision: Revision,
    },
    /// Nothing was changed: these compares failed.
    Failed(Vec<FailedCompare>),
}

impl TxnOutcome {
    /// The revision, or a failed compare as [`StoreError::Conflict`].
    pub fn into_result(self) -> Result<Revision, StoreError> {
        match self {
            TxnOutcome::Committed { revision } => Ok(revision),
            TxnOutcome::Failed(failed) => Err(StoreError::Conflict {
                key: failed.into_iter().next().map(|f| f.key).unwrap_or_default(),
            }),
        }
    }
}

impl Txn {
    /// A transaction without compares or changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a compare.
    pub fn when(mut self, key: impl Into<String>, condition: Condition) -> Self {
        self.compares.push(Compare {
            key: key.into(),
            condition,
        });
        self
    }

    /// Adds the compare that a key does not exist.
    pub fn when_absent(self, key: impl Into<String>) -> Self {
        self.when(key, Condition::Absent)
    }

    /// Adds the compare that a key was last put at this revision.
    pub fn when_unchanged(self, key: impl Into<String>, mod_revision: Revision) -> Self {
        self.when(key, Condition::ModRevision(mod_revision))
    }

    /// Adds a put.
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        });
        self
    }

    /// Adds a put of an entry that ends with a lease.
    pub fn put_leased(
        mut self,
        key: impl Into<String>,
        value: impl Into<Vec<u8>>,
        lease: LeaseId,
    ) -> Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
            lease: Some(lease),
        });
        self
    }

    /// Adds a delete.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Adds a delete of everything below a prefix.
    pub fn delete_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.ops.push(Op::DeletePrefix {
            prefix: prefix.into(),
        });
        self
    }

    /// Refuses a transaction that breaks a bound or changes a key twice.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        for (what, count) in [
            ("compares", self.compares.len()),
            ("changes", self.ops.len()),
        ] {
            if count > TXN_OPS_MAX {
                let what = format!("{what} of one transaction");
                return Err(StoreError::TooLarge {
                    what,
                    size: count,
                    max: TXN_OPS_MAX,
                });
            }
        }
        for compare in &self.compares {
            check_key(&compare.key)?;
        }
        let bytes = self.check_ops()?;
        if bytes > TXN_MAX_BYTES {
            let what = "bytes of one transaction".to_owned();
            return Err(StoreError::TooLarge {
                what,
                size: bytes,
                max: TXN_MAX_BYTES,
            });
        }
        self.check_overlap()
    }

    fn check_ops(&self) -> Result<usize, StoreError> {
        let mut bytes = 0;
        for op in &self.ops {
            match op {
                Op::Put { key, value, .. } => {
                    check_key(key)?;
                    check_value(key, value)?;
                    bytes += key.len() + value.len();
                }
                Op::Delete { key } => check_key(key)?,
                Op::DeletePrefix { prefix } if prefix.is_empty() => {
                    let reason = "a prefix to delete may not be empty";
                    return Err(StoreError::BadKey {
                        key: String::new(),
                        reason,
                    });
                }
                Op::DeletePrefix { prefix } => check_prefix(prefix)?,
            }
        }
        Ok(bytes)
    }

    fn check_overlap(&self) -> Result<(), StoreError> {
        let mut keys = BTreeSet::new();
        let mut prefixes: Vec<&str> = Vec::new();
        for op in &self.ops {
            match op {
                Op::Put { key, .. } | Op::Delete { key } => {
                    if !keys.insert(key.as_str()) {
                        return Err(StoreError::ChangedTwice { key: key.clone() });
                    }
                }
                Op::DeletePrefix { prefix } => prefixes.push(prefix),
            }
        }
        for (n, prefix) in prefixes.iter().enumerate() {
            let below = keys
                .range(*prefix..)
                .next()
                .filter(|k| k.starts_with(prefix));
            let nested = prefixes[..n]
                .iter()
                .find(|other| other.starts_with(prefix) || prefix.starts_with(**other));
            if let Some(key) = below.or(nested) {
                return Err(StoreError::ChangedTwice {
                    key: (*key).to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_changed_once_per_transaction() {
        let twice = [
            Txn::new().put("a", "1").delete("a"),
            Txn::new().put("d/x", "1").delete_prefix("d/"),
            Txn::new().delete_prefix("d/").delete_prefix("d/e"),
        ];
        for txn in twice {
            assert!(
                matches!(txn.check(), Err(StoreError::ChangedTwice { .. })),
                "{txn:?}"
            );
        }
        assert!(
            Txn::new()
                .put("d", "1")
                .delete_prefix("d/")
                .delete("e")
                .check()
                .is_ok()
        );
    }

    #[test]
    fn sizes_are_bounded() {
        let mut many = Txn::new();
        for n in 0..=TXN_OPS_MAX {
            many = many.delete(format!("k{n}"));
        }
        assert!(matches!(many.check(), Err(StoreError::TooLarge { .. })));
        let mut big = Txn::new();
        for n in 0..3 {
            big = big.put(format!("k{n}"), vec![0; 3 * 1024 * 1024]);
        }
        assert!(matches!(big.check(), Err(StoreError::TooLarge { .. })));
        assert!(Txn::new().delete_prefix("").check().is_err());
    }
}
