//! Snapshots of a machine that runs.

use super::super::{Owner, Reply, answer};
use super::create::Wish;
use crate::error::EngineError;
use crate::snapshots::work::Plan;

impl Owner {
    pub(super) fn create_live_snapshot(&mut self, wish: Wish, reply: Reply<()>) {
        let _ = wish;
        answer(reply, Err(EngineError::failed("not yet")));
    }

    pub(super) fn delete_live_snapshots(&mut self, plan: Plan, reply: Reply<()>) {
        let _ = plan;
        answer(reply, Err(EngineError::failed("not yet")));
    }
}
