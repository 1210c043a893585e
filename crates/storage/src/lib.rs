//! Plans for pools, volumes, snapshots and chains; image headers; seed images.

pub mod chain;
pub mod merge;
pub mod snapshot;
pub mod tags;
