//! What faces ask about and of a domain's snapshots.

use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::options::{SnapshotCreate, SnapshotDelete, SnapshotRevert};
use crate::owner::Request;
use crate::snapshots::{SnapshotHead, SnapshotTree};
use model::snapshot::Snapshot;
use std::sync::Arc;
use uuid::Uuid;

pub(crate) fn no_snapshot(name: &str) -> EngineError {
    EngineError::new(
        ErrorKind::NoSnapshot,
        format!("no domain snapshot with matching name '{name}'"),
    )
}

impl Engine {
    /// A snapshot, whole.
    pub(crate) fn read_snapshot(&self, domain: Uuid, name: &str) -> Result<Snapshot> {
        let text = self.records().snapshot_xml(domain, name)?;
        let text = text.ok_or_else(|| no_snapshot(name))?;
        Snapshot::parse_finished(&text).map_err(xml_error)
    }
}

impl DomainHandle {
    /// Its snapshots, as they were at the last change. Never waits.
    pub fn snapshots(&self) -> Arc<SnapshotTree> {
        self.view().snapshots.clone()
    }

    /// The snapshot with this name.
    pub fn snapshot(&self, name: &str) -> Result<Arc<SnapshotHead>> {
        let tree = self.snapshots();
        tree.get(name).cloned().ok_or_else(|| no_snapshot(name))
    }

    /// A snapshot's XML, with passwords only if `secure`.
    pub fn snapshot_xml(&self, name: &str, secure: bool) -> Result<String> {
        let head = self.snapshot(name)?;
        if head.has_secrets && !secure {
            return Ok(self.engine.read_snapshot(self.uuid(), name)?.to_xml(false));
        }
        let text = self.engine.records().snapshot_xml(self.uuid(), name)?;
        text.ok_or_else(|| no_snapshot(name))
    }

    /// Takes a snapshot, or takes one over that is there already; gives back its name.
    pub async fn create_snapshot(&self, xml: &str, options: SnapshotCreate) -> Result<String> {
        let snapshot = match options.redefine {
            true => Snapshot::parse_finished(xml),
            false => Snapshot::parse_request(xml, jiff::Timestamp::now().as_second()),
        };
        let snapshot = Box::new(snapshot.map_err(xml_error)?);
        let name = snapshot.name().to_owned();
        if name.len() > crate::limits::SNAPSHOT_NAME_MAX_BYTES {
            return Err(EngineError::new(
                ErrorKind::XmlError,
                "the snapshot's name is too long",
            ));
        }
        self.ask(|reply| Request::CreateSnapshot {
            snapshot,
            options,
            reply,
        })
        .await?;
        Ok(name)
    }

    /// Brings the domain back to a snapshot.
    pub async fn revert_to_snapshot(&self, name: &str, options: SnapshotRevert) -> Result<()> {
        let name = name.to_owned();
        self.ask(|reply| Request::RevertToSnapshot {
            name,
            options,
            reply,
        })
        .await
    }

    /// Deletes a snapshot, those that came after it, or both.
    pub async fn delete_snapshot(&self, name: &str, options: SnapshotDelete) -> Result<()> {
        let name = name.to_owned();
        self.ask(|reply| Request::DeleteSnapshot {
            name,
            options,
            reply,
        })
        .await
    }

    /// Asks for something of a running machine's disk.
    pub async fn block(&self, disk: &str, ask: crate::options::BlockAsk) -> Result<()> {
        let disk = disk.to_owned();
        self.ask(|reply| Request::BlockAsk { disk, ask, reply })
            .await
    }

    /// How far the job on a disk is; none where there is none.
    pub async fn block_job(&self, disk: &str) -> Result<Option<crate::options::BlockJobInfo>> {
        let live = self.live()?;
        let definition = live.definition();
        let target = crate::owner::blocks::find(&definition, disk)?.target_dev();
        let jobs = live
            .monitor()?
            .execute(&qemu::qmp::commands::query_block_jobs())
            .await?;
        let found = jobs.as_array().into_iter().flatten().find_map(|job| {
            let id = qemu::machine::BlockJobId::parse(job["device"].as_str()?)?;
            (id.disk == target).then_some((id, job))
        });
        Ok(found.map(|(id, job)| {
            let number = |key: &str| job[key].as_u64().unwrap_or(0);
            let (mut current, mut end) = (number("offset"), number("len"));
            // At its end and not ready: there is always a little left to do.
            let is_ready = job["ready"].as_bool() == Some(true);
            if current == end && !is_ready && id.kind().pivots() {
                match current {
                    0 => end = 1,
                    _ => current -= 1,
                }
            }
            if end == 0 {
                // There was nothing to do: whoever waits looks for a beginning and an end.
                (current, end) = (1, 1);
            }
            crate::options::BlockJobInfo {
                kind: id.kind().number(),
                bandwidth: number("speed"),
                current,
                end,
            }
        }))
    }
}
