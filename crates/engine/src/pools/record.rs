//! What is kept of a pool: its definition in the store, and that it is in use below `run`.

use crate::error::{EngineError, ErrorKind, Result};
use crate::places::Places;
use crate::record::Records;
use model::storage::{PoolDefinition, PoolSizes};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// A pool's record in the store.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    uuid: Uuid,
    name: String,
    #[serde(default)]
    autostart: bool,
    /// The definition; older records hold a directory's path instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xml: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// A pool as its record tells it.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) uuid: Uuid,
    pub(super) definition: Arc<PoolDefinition>,
    pub(super) autostart: bool,
}

/// Where the records are.
#[derive(Debug, Clone)]
pub(super) struct PoolRecords {
    records: Records,
    run: PathBuf,
    /// Which boot of the host this is: what was in use before it is not any more.
    boot: String,
}

/// A pool in use, for a daemon that comes back.
#[derive(Debug, Serialize, Deserialize)]
struct InUse {
    boot: String,
    uuid: Uuid,
    xml: String,
}

fn text(uuid: Uuid, definition: &PoolDefinition) -> String {
    let definition = PoolDefinition {
        uuid: Some(uuid),
        ..definition.clone()
    };
    definition.to_xml(PoolSizes::default())
}

impl PoolRecords {
    pub(super) fn new(records: Records, places: &Places, boot: &str) -> Self {
        Self {
            records,
            run: places.run.join("storage"),
            boot: boot.to_owned(),
        }
    }

    /// The host's own id.
    pub(super) fn host(&self) -> Uuid {
        self.records.host()
    }

    /// Every stored pool. One whose record cannot be read is told of and left alone.
    pub(super) fn load(&self) -> Result<Vec<Recorded>> {
        let mut all = Vec::new();
        self.records.for_each_pool(|bytes| {
            let read = serde_json::from_slice(bytes).map_err(|e| e.to_string());
            match read.and_then(recorded) {
                Ok(pool) => all.push(pool),
                Err(error) => tracing::error!(%error, "a storage pool's record cannot be read"),
            }
        })?;
        Ok(all)
    }

    pub(super) async fn put(
        &self,
        uuid: Uuid,
        definition: &PoolDefinition,
        autostart: bool,
    ) -> Result<()> {
        let record = Stored {
            uuid,
            name: definition.name.clone(),
            autostart,
            xml: Some(text(uuid, definition)),
            path: None,
        };
        let bytes = serde_json::to_vec(&record).map_err(broken)?;
        self.records.put_pool(uuid, bytes).await
    }

    pub(super) async fn delete(&self, uuid: Uuid) -> Result<()> {
        self.records.delete_pool(uuid).await
    }

    fn mark(&self, uuid: Uuid) -> PathBuf {
        self.run.join(format!("{uuid}.json"))
    }

    /// Notes that a pool is in use.
    pub(super) fn note_in_use(&self, uuid: Uuid, definition: &PoolDefinition) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| {
            EngineError::system("cannot note that a storage pool is in use", e)
        };
        std::fs::create_dir_all(&self.run).map_err(|e| failed(&e))?;
        let mark = InUse {
            boot: self.boot.clone(),
            uuid,
            xml: text(uuid, definition),
        };
        let bytes = serde_json::to_vec(&mark).map_err(broken)?;
        sys::atomic::write(&self.mark(uuid), &bytes, 0o600).map_err(|e| failed(&e))
    }

    pub(super) fn note_stopped(&self, uuid: Uuid) {
        if let Err(error) = sys::atomic::remove(&self.mark(uuid)) {
            tracing::warn!(%uuid, %error, "a stopped storage pool may be started with the daemon");
        }
    }

    /// The pools that were in use when the last daemon of this boot ended.
    pub(super) fn in_use(&self) -> Vec<(Uuid, PoolDefinition)> {
        let entries = std::fs::read_dir(&self.run).into_iter().flatten().flatten();
        let marks = entries.filter_map(|entry| {
            let bytes = std::fs::read(entry.path()).ok()?;
            serde_json::from_slice::<InUse>(&bytes).ok()
        });
        marks
            .filter(|mark| mark.boot == self.boot)
            .filter_map(|mark| Some((mark.uuid, PoolDefinition::parse(&mark.xml).ok()?)))
            .collect()
    }
}

fn recorded(stored: Stored) -> std::result::Result<Recorded, String> {
    let xml = match (stored.xml, stored.path) {
        (Some(xml), _) => xml,
        (None, Some(path)) => {
            // What older daemons knew of a pool: it was a directory.
            let path = path.replace('&', "&amp;").replace('<', "&lt;");
            let name = stored.name.replace('&', "&amp;").replace('<', "&lt;");
            format!(
                "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
            )
        }
        (None, None) => return Err(format!("pool '{}' has no definition", stored.name)),
    };
    let definition = PoolDefinition::parse(&xml).map_err(|e| e.to_string())?;
    Ok(Recorded {
        uuid: stored.uuid,
        definition: Arc::new(definition),
        autostart: stored.autostart,
    })
}

fn broken(error: serde_json::Error) -> EngineError {
    EngineError::new(ErrorKind::Internal, error.to_string())
}
