//! Snapshots of a machine that runs, through its QEMU's monitor.

use crate::error::{EngineError, Result};
use crate::limits::{QMP_REPLY_TIMEOUT_MS, SNAPSHOT_JOB_POLL_MS};
use crate::monitor::Monitor;
use model::domain::Domain;
use model::domain::storage::ImageFormat;
use qemu::qmp::commands::{self, SnapshotNodes};
use qemu::qmp::reply::JobStatus;
use qemu::qmp::{Command, Done};
use std::time::Duration;

/// The id of the one job about snapshots inside images.
const JOB: &str = "snapshot";

/// The nodes of the disks that snapshots inside images go to.
pub(crate) fn nodes(domain: &Domain) -> Result<SnapshotNodes> {
    let devices: Vec<String> = domain
        .devices
        .disks
        .iter()
        .filter(|disk| !disk.readonly && !disk.is_empty() && disk.format() == ImageFormat::Qcow2)
        .filter_map(|disk| {
            let index = disk.source.as_ref()?.index?;
            Some(format!("libvirt-{index}-format"))
        })
        .collect();
    let vmstate = devices.first().cloned().ok_or_else(|| {
        EngineError::failed("no disk of the machine can hold its memory: it needs a qcow2 image")
    })?;
    Ok(SnapshotNodes { vmstate, devices })
}

/// Takes a snapshot of memory and disks inside the images.
pub(crate) async fn save(monitor: &Monitor, domain: &Domain, tag: &str) -> Result<()> {
    run(monitor, &commands::snapshot_save(JOB, tag, nodes(domain)?)).await
}

/// Goes back to a snapshot inside the images.
pub(crate) async fn load(monitor: &Monitor, domain: &Domain, tag: &str) -> Result<()> {
    run(monitor, &commands::snapshot_load(JOB, tag, nodes(domain)?)).await
}

/// Deletes a snapshot inside the image of one node.
pub(crate) async fn delete(monitor: &Monitor, node: &str, tag: &str) -> Result<()> {
    run(
        monitor,
        &commands::snapshot_delete(JOB, tag, vec![node.to_owned()]),
    )
    .await
}

/// Starts the job and waits for its end.
async fn run(monitor: &Monitor, command: &Command<Done>) -> Result<()> {
    monitor.execute(command).await?;
    wait(monitor, JOB).await
}

/// Waits until a job is over, and has QEMU forget it.
pub(crate) async fn wait(monitor: &Monitor, job: &str) -> Result<()> {
    let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
    loop {
        let jobs = monitor.ask(&commands::query_jobs(), timeout).await?;
        let Some(found) = jobs.into_iter().find(|found| found.id == job) else {
            return Err(EngineError::failed(
                "QEMU has forgotten the job it was doing",
            ));
        };
        if found.status == JobStatus::Concluded {
            monitor.execute(&commands::job_dismiss(job)).await?;
            return match found.error {
                None => Ok(()),
                Some(why) => Err(EngineError::failed(why)),
            };
        }
        tokio::time::sleep(Duration::from_millis(SNAPSHOT_JOB_POLL_MS)).await;
    }
}
