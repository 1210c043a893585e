//! One revisioned key-value interface: get, list, compare-and-swap, watch, lease.
//!
//! [`Store`] is the handle everyone holds: cheap to clone and the same whatever
//! lies below. [`backend::Backend`] is what an implementation provides;
//! [`sqlite`] is the one for a single host. The rules every implementation
//! keeps:
//!
//! - One revision for the whole store. It grows by one with each transaction
//!   that changed anything and never goes back, also across restarts.
//! - A transaction's compares are judged and its changes applied as one step.
//!   It is answered only once it is durable.
//! - A watch delivers each change at most once, in revision order, and never
//!   skips one in silence: when the history it needs is gone it says
//!   [`StoreError::Compacted`], and the consumer lists again.
//! - A watch is a hint. Every consumer can also list.

pub mod backend;
mod error;
mod history;
mod key;
pub mod limits;
pub mod sqlite;
mod store;
mod txn;
mod watch;

pub use error::StoreError;
pub use key::{KeyValue, LeaseId, Revision, prefix_end};
pub use store::{ListOptions, ListPage, Store};
pub use txn::{Compare, Condition, FailedCompare, Op, Txn, TxnOutcome};
pub use watch::{Change, Watch};
