//! What is being done to a domain's snapshots, written down before it is
//! begun. A daemon that finds a journal finishes or undoes what it says.

use crate::snapshots::SnapshotHead;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use storage::chain::Step;
use storage::keys::Keys;

/// A snapshot as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSnapshot {
    pub(crate) head: SnapshotHead,
    /// Its XML, passwords included.
    pub(crate) xml: String,
}

/// What the store says when all is done: written in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Snapshots that are new or changed.
    #[serde(default)]
    pub(crate) put: Vec<StoredSnapshot>,
    /// Names of snapshots that are gone.
    #[serde(default)]
    pub(crate) remove: Vec<String>,
    /// The current snapshot from now on.
    #[serde(default)]
    pub(crate) current: Option<String>,
    /// The stored definition from now on, where it changes.
    #[serde(default)]
    pub(crate) definition: Option<String>,
    /// Images made by snapshots that no snapshot names any more and that
    /// others are still based on.
    #[serde(default)]
    pub(crate) layers: BTreeSet<String>,
}

/// Which way start-up goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// Undo: run the steps of `undo`; the store stays as it was.
    Back,
    /// Finish: run the steps that are left, then write the outcome.
    Forward,
    /// A QEMU that still runs knows whether it went over to the new images;
    /// where it has gone too, the new ones are right.
    AskQemu,
    /// The same; where QEMU has gone too, the images before are right.
    AskQemuOrBack,
}

/// The journal of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// What is being done, for the log.
    pub(crate) what: String,
    pub(crate) way: Way,
    /// What undoes it.
    #[serde(default)]
    pub(crate) undo: Vec<Step>,
    /// What does it.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// How many of the steps are done.
    #[serde(default)]
    pub(crate) done: usize,
    /// What encrypted images among them are opened with.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub(crate) keys: Keys,
    pub(crate) outcome: Outcome,
    /// The machine's processors stand still for this, and run afterwards.
    #[serde(default)]
    pub(crate) resume: bool,
    /// The running definition from now on, where it changes.
    #[serde(default)]
    pub(crate) live: Option<String>,
}

impl Journal {
    /// One that is undone where it is found.
    pub(crate) fn back(what: impl Into<String>, undo: Vec<Step>) -> Self {
        Self {
            what: what.into(),
            way: Way::Back,
            undo,
            steps: Vec::new(),
            done: 0,
            keys: Keys::default(),
            outcome: Outcome::default(),
            resume: false,
            live: None,
        }
    }

    /// One that is finished where it is found.
    pub(crate) fn forward(what: impl Into<String>, steps: Vec<Step>, outcome: Outcome) -> Self {
        Self {
            way: Way::Forward,
            steps,
            outcome,
            ..Self::back(what, Vec::new())
        }
    }
}
