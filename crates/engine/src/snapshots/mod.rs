//! Snapshots of domains: what is known of them, how they are kept, and the
//! work on the images.
//!
//! - [`tree`]: what readers see, published with the domain's view.
//! - `records`: the store's keys, and the journal that lets a crash at any
//!   step be finished or undone.
//! - `graph`: which images there are, and who needs them.
//! - `work`, `steps`, `tool`: the work on images. `keys`: what encrypted ones are opened with.
//! - `recover`: what start-up does about a journal.

pub(crate) mod api;
pub(crate) mod foreign;
pub(crate) mod graph;
pub(crate) mod images;
pub(crate) mod journal;
pub(crate) mod keys;
pub(crate) mod live;
pub(crate) mod live_work;
pub(crate) mod nodes;
pub(crate) mod records;
pub(crate) mod recover;
pub(crate) mod spell;
pub(crate) mod steps;
pub(crate) mod tool;
mod tree;
pub(crate) mod work;

pub use tree::{SnapshotHead, SnapshotTree};
