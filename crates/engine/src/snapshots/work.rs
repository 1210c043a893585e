//! Carries a change of a domain's snapshots out: intent first, then step by
//! step, each noted before the next begins, then the outcome in one
//! transaction.

use crate::crash::{Step as CrashStep, crash_point};
use crate::engine::Engine;
use crate::error::Result;
use crate::live::LiveMachine;
use crate::snapshots::journal::{Journal, Outcome};
use crate::snapshots::steps;
use std::sync::Arc;
use storage::chain::Step;
use storage::keys::Keys;
use uuid::Uuid;

/// A change, planned whole.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What it is, for the log.
    pub(crate) what: String,
    /// New things are made; `undo` takes them back.
    pub(crate) make: Vec<Step>,
    pub(crate) undo: Vec<Step>,
    /// Past the point of no return: what was begun is finished.
    pub(crate) finish: Vec<Step>,
    /// What encrypted images among them are opened with.
    pub(crate) keys: Keys,
    pub(crate) outcome: Outcome,
}

/// Whose snapshots are worked on.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) engine: Engine,
    pub(crate) domain: Uuid,
    /// The running machine, if there is one: it has images open.
    pub(crate) live: Option<Arc<LiveMachine>>,
}

impl Work {
    /// Carries a plan out, whole or not at all; a failure past the point of no
    /// return leaves a journal, and the next change or start goes on with it.
    pub(crate) async fn carry_out(&self, plan: &Plan) -> Result<()> {
        if !plan.make.is_empty() {
            self.make(plan).await?;
        }
        if !plan.finish.is_empty() {
            let journal = Journal {
                keys: plan.keys.clone(),
                ..Journal::forward(&plan.what, plan.finish.clone(), plan.outcome.clone())
            };
            self.note(&journal).await?;
            return self.finish(journal).await;
        }
        self.settle(&plan.outcome).await
    }

    /// Makes new things under a journal that says how to take them back.
    async fn make(&self, plan: &Plan) -> Result<()> {
        let journal = Journal {
            keys: plan.keys.clone(),
            ..Journal::back(&plan.what, plan.undo.clone())
        };
        self.note(&journal).await?;
        for step in &plan.make {
            if let Err(error) = steps::run(&self.engine, step, &plan.keys).await {
                self.undo(plan).await?;
                return Err(error);
            }
            crash_point(CrashStep::SnapshotStepDone);
        }
        Ok(())
    }

    /// Takes back what was made and forgets that it was begun.
    async fn undo(&self, plan: &Plan) -> Result<()> {
        for step in &plan.undo {
            steps::run(&self.engine, step, &plan.keys).await?;
        }
        self.engine.records().drop_journal(self.domain).await
    }

    /// Does the steps that are left, then writes the outcome.
    pub(crate) async fn finish(&self, mut journal: Journal) -> Result<()> {
        while let Some(step) = journal.steps.get(journal.done) {
            steps::run(&self.engine, step, &journal.keys).await?;
            crash_point(CrashStep::SnapshotStepDone);
            journal.done += 1;
            if journal.done < journal.steps.len() {
                self.note(&journal).await?;
            }
        }
        self.settle(&journal.outcome).await
    }

    pub(crate) async fn note(&self, journal: &Journal) -> Result<()> {
        self.engine
            .records()
            .put_journal(self.domain, journal)
            .await?;
        crash_point(CrashStep::SnapshotIntentWritten);
        Ok(())
    }

    pub(crate) async fn settle(&self, outcome: &Outcome) -> Result<()> {
        self.engine.records().settle(self.domain, outcome).await?;
        crash_point(CrashStep::SnapshotSettled);
        Ok(())
    }
}
