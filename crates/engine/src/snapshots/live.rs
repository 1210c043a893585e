//! Snapshots of a machine that runs, through its QEMU's monitor.

use crate::error::{EngineError, Result};
use crate::limits::{QMP_REPLY_TIMEOUT_MS, SNAPSHOT_JOB_POLL_MS};
use crate::monitor::Monitor;
use crate::snapshots::nodes;
use model::domain::Domain;
use model::domain::disk::Disk;
use model::domain::images::Link;
use model::domain::storage::ImageFormat;
use qemu::qmp::commands::{self, SnapshotNodes};
use qemu::qmp::reply::{Job, JobStatus};
use qemu::qmp::{Command, Done};
use std::time::Duration;

/// The id of the one job about snapshots inside images.
const JOB: &str = "snapshot";
/// The id of the one job that merges images for a deletion.
const MERGE_JOB: &str = "snapshot-merge";

/// The images that snapshots inside images go to.
fn inside(domain: &Domain) -> impl Iterator<Item = Link> {
    let disks = domain.devices.disks.iter();
    disks
        .filter(|disk| !disk.readonly && !disk.is_empty() && disk.format() == ImageFormat::Qcow2)
        .filter_map(|disk| disk.links().into_iter().next())
}

/// The image that can hold the machine's memory.
pub(crate) fn memory_image(domain: &Domain) -> Option<Link> {
    inside(domain).find(|link| link.source.encryption.is_none())
}

/// The nodes of the disks that snapshots inside images go to.
fn snapshot_nodes(domain: &Domain) -> Result<SnapshotNodes> {
    let devices = inside(domain)
        .map(|link| nodes::node(&link))
        .collect::<Result<_>>()?;
    let memory = memory_image(domain).ok_or_else(|| {
        EngineError::failed("no disk of the machine can hold its memory: it needs a qcow2 image")
    })?;
    Ok(SnapshotNodes {
        vmstate: nodes::node(&memory)?,
        devices,
    })
}

/// Takes a snapshot of memory and disks inside the images.
pub(crate) async fn save(monitor: &Monitor, domain: &Domain, tag: &str) -> Result<()> {
    run(
        monitor,
        &commands::snapshot_save(JOB, tag, snapshot_nodes(domain)?),
    )
    .await
}

/// Goes back to a snapshot inside the images.
pub(crate) async fn load(monitor: &Monitor, domain: &Domain, tag: &str) -> Result<()> {
    run(
        monitor,
        &commands::snapshot_load(JOB, tag, snapshot_nodes(domain)?),
    )
    .await
}

/// Deletes a snapshot inside the image at `at` of a disk's chain.
pub(crate) async fn untag(monitor: &Monitor, disk: &Disk, at: usize, tag: &str) -> Result<()> {
    let node = nodes::node(&disk.links()[at])?;
    let delete = commands::snapshot_delete(JOB, tag, vec![node]);
    if at == 0 {
        return run(monitor, &delete).await;
    }
    nodes::make_writable(monitor, disk, at).await?;
    nodes::set_writable(monitor, disk, at, true).await?;
    let deleted = run(monitor, &delete).await;
    nodes::set_writable(monitor, disk, at, false).await?;
    deleted
}

/// Starts the job and waits for its end. One that a daemon before this one
/// had begun is waited for first.
async fn run(monitor: &Monitor, command: &Command<Done>) -> Result<()> {
    finish_old(monitor, JOB).await?;
    monitor.execute(command).await?;
    wait(monitor, JOB, JobStatus::Concluded).await?;
    dismiss(monitor, JOB).await
}

/// Waits for a job that may be left from a daemon before this one.
pub(crate) async fn finish_old(monitor: &Monitor, job: &str) -> Result<()> {
    if find(monitor, job).await?.is_some() {
        wait(monitor, job, JobStatus::Concluded).await?;
        // How it ended does not matter: what it did is looked at again.
        let _ = dismiss(monitor, job).await;
    }
    Ok(())
}

/// A job that QEMU knows.
pub(crate) async fn find(monitor: &Monitor, job: &str) -> Result<Option<Job>> {
    let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
    let jobs = monitor.ask(&commands::query_jobs(), timeout).await?;
    Ok(jobs.into_iter().find(|found| found.id == job))
}

/// Waits until a job is where it is wanted, or over.
pub(crate) async fn wait(monitor: &Monitor, job: &str, wanted: JobStatus) -> Result<JobStatus> {
    loop {
        let Some(found) = find(monitor, job).await? else {
            return Err(EngineError::failed(
                "QEMU has forgotten the job it was doing",
            ));
        };
        if found.status == wanted || found.status == JobStatus::Concluded {
            return Ok(found.status);
        }
        tokio::time::sleep(Duration::from_millis(SNAPSHOT_JOB_POLL_MS)).await;
    }
}

/// Has QEMU forget a job that is over; its failure is the error.
pub(crate) async fn dismiss(monitor: &Monitor, job: &str) -> Result<()> {
    let error = find(monitor, job).await?.and_then(|found| found.error);
    monitor.execute(&commands::job_dismiss(job)).await?;
    match error {
        None => Ok(()),
        Some(why) => Err(EngineError::failed(why)),
    }
}

/// Where an image is in the chains of a running machine: disk, and place in its chain.
pub(crate) fn place_of(domain: &Domain, image: &str) -> Option<(usize, usize)> {
    let mut disks = domain.devices.disks.iter().enumerate();
    disks.find_map(|(disk, definition)| {
        let links = definition.links();
        let at = links.iter().position(|link| link.path() == Some(image))?;
        Some((disk, at))
    })
}

/// Writes the image at `at` of a disk's chain into the one below it, up to
/// where the upper one can be let go.
pub(crate) async fn begin_merge(monitor: &Monitor, disk: &Disk, at: usize) -> Result<()> {
    finish_old_merge(monitor).await?;
    let links = disk.links();
    nodes::make_writable(monitor, disk, at + 1).await?;
    let base = &links[at + 1];
    let mut command: Command<Done> = Command::new("block-commit")
        .arg("job-id", MERGE_JOB)
        .arg("device", nodes::node(&links[0])?)
        .arg("base-node", nodes::node(base)?)
        .arg("auto-finalize", true)
        .arg("auto-dismiss", false);
    if at > 0 {
        command = command
            .arg("top-node", nodes::node(&links[at])?)
            .arg("backing-file", base.path().unwrap_or_default());
    }
    monitor.execute(&command).await?;
    let wanted = match at {
        0 => JobStatus::Ready,
        _ => JobStatus::Concluded,
    };
    if wait(monitor, MERGE_JOB, wanted).await? != wanted {
        dismiss(monitor, MERGE_JOB).await?;
        return Err(EngineError::failed("the images could not be merged"));
    }
    match at {
        0 => Ok(()),
        _ => dismiss(monitor, MERGE_JOB).await,
    }
}

/// Cancels a merge that a daemon before this one had begun: it is done again.
async fn finish_old_merge(monitor: &Monitor) -> Result<()> {
    let Some(found) = find(monitor, MERGE_JOB).await? else {
        return Ok(());
    };
    if found.status != JobStatus::Concluded {
        monitor.execute(&commands::job_cancel(MERGE_JOB)).await?;
    }
    finish_old(monitor, MERGE_JOB).await
}

/// The machine goes over to the lower image; its processors stand still.
pub(crate) async fn complete_merge(monitor: &Monitor) -> Result<()> {
    monitor.execute(&commands::job_complete(MERGE_JOB)).await?;
    wait(monitor, MERGE_JOB, JobStatus::Concluded).await?;
    dismiss(monitor, MERGE_JOB).await
}

/// The nodes of an image that was merged away. They may have been removed
/// before a crash.
pub(crate) async fn drop_nodes(monitor: &Monitor, link: &Link) {
    if let Err(error) = nodes::remove(monitor, link).await {
        tracing::debug!(%error, "the nodes of a merged image are not removed");
    }
}
