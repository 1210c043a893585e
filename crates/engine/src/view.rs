//! What readers see of a domain: an immutable snapshot that its owner
//! publishes after each change, so that no reader ever waits for an owner.

use crate::live::LiveMachine;
use qemu::machine::Status;
use std::sync::Arc;
use uuid::Uuid;

/// A domain as it was at its last change.
#[derive(Debug, Clone)]
pub struct DomainView {
    /// Its name.
    pub name: Arc<str>,
    /// Its uuid.
    pub uuid: Uuid,
    /// Its state and the reason for it.
    pub status: Status,
    /// The summary of the stored definition, if there is one.
    pub stored: Option<Arc<Summary>>,
    /// Whether it is started with the host.
    pub autostart: bool,
    /// Whether it is started once, with the host's next start.
    pub autostart_once: bool,
    /// Whether a state saved by `managedsave` waits for the next start.
    pub managed_save: bool,
    /// Its snapshots.
    pub snapshots: Arc<crate::snapshots::SnapshotTree>,
    /// The running machine, if there is one.
    pub live: Option<Arc<LiveMachine>>,
}

/// What lists and `dominfo` show of a definition, kept so that answering
/// needs neither the store nor a parser.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// The most memory it can have, in KiB.
    pub max_memory_kib: u64,
    /// The memory it starts with, in KiB.
    pub memory_kib: u64,
    /// The most processors it can have.
    pub max_vcpus: u32,
    /// The processors it starts with.
    pub vcpus: u32,
    /// `hvm`.
    pub os_type: Box<str>,
    /// Its one-line title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Box<str>>,
    /// Whether the stored XML holds passwords that most readers must not see.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_secrets: bool,
}

impl DomainView {
    /// The id libvirt gives a running machine.
    pub fn id(&self) -> Option<i32> {
        self.live.as_ref().map(|live| live.id)
    }

    /// Whether its definition outlives its run.
    pub fn is_persistent(&self) -> bool {
        self.stored.is_some()
    }

    /// Whether it runs (or stands still with its QEMU there).
    pub fn is_active(&self) -> bool {
        self.status.is_active()
    }

    /// The summary of what runs, else of what is stored.
    pub fn summary(&self) -> Option<Arc<Summary>> {
        match &self.live {
            Some(live) => Some(live.summary()),
            None => self.stored.clone(),
        }
    }
}
