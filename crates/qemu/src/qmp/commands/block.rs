//! Disks: statistics, media, throttling, nodes and jobs.

use serde_json::{Map, Value};

use crate::qmp::reply::{BlockDevice, BlockStats, Job};
use crate::qmp::{Command, Done};

/// Asks for the guest's disks and what is in them.
#[must_use]
pub fn query_block() -> Command<Vec<BlockDevice>> {
    Command::new("query-block")
}

/// Asks for the disks' counters; with `nodes`, of every block node instead of every device.
#[must_use]
pub fn query_blockstats(nodes: bool) -> Command<Vec<BlockStats>> {
    Command::new("query-blockstats").maybe("query-nodes", nodes.then_some(true))
}

/// Asks for the named block nodes; `flat` leaves out backing chains.
#[must_use]
pub fn query_named_block_nodes(flat: bool) -> Command<Value> {
    Command::new("query-named-block-nodes").arg("flat", flat)
}

/// Tells the guest that a disk has a new size, in bytes.
#[must_use]
pub fn block_resize(node: &str, bytes: u64) -> Command<Done> {
    Command::new("block_resize")
        .arg("node-name", node)
        .arg("size", bytes)
}

/// Sets I/O limits of the disk with the device id `id`; members as QEMU names them (`bps`,
/// `iops_rd`, …).
#[must_use]
pub fn block_set_io_throttle(id: &str, limits: Map<String, Value>) -> Command<Done> {
    Command::new("block_set_io_throttle")
        .args(limits)
        .arg("id", id)
}

/// Adds a block node; `options` as in the JSON form of `-blockdev`.
#[must_use]
pub fn blockdev_add(options: Map<String, Value>) -> Command<Done> {
    Command::new("blockdev-add").args(options)
}

/// Removes a block node.
#[must_use]
pub fn blockdev_del(node: &str) -> Command<Done> {
    Command::new("blockdev-del").arg("node-name", node)
}

/// Reopens block nodes with new options.
#[must_use]
pub fn blockdev_reopen(options: Vec<Value>) -> Command<Done> {
    Command::new("blockdev-reopen").arg("options", options)
}

/// Opens the tray of a removable drive; `force` even if the guest locked it.
#[must_use]
pub fn blockdev_open_tray(id: &str, force: bool) -> Command<Done> {
    Command::new("blockdev-open-tray")
        .arg("id", id)
        .arg("force", force)
}

/// Closes the tray of a removable drive.
#[must_use]
pub fn blockdev_close_tray(id: &str) -> Command<Done> {
    Command::new("blockdev-close-tray").arg("id", id)
}

/// Takes the medium out of an open drive.
#[must_use]
pub fn blockdev_remove_medium(id: &str) -> Command<Done> {
    Command::new("blockdev-remove-medium").arg("id", id)
}

/// Puts a block node into an open drive.
#[must_use]
pub fn blockdev_insert_medium(id: &str, node: &str) -> Command<Done> {
    Command::new("blockdev-insert-medium")
        .arg("id", id)
        .arg("node-name", node)
}

/// Runs several block actions (snapshots, bitmaps, backups) together or not at all.
#[must_use]
pub fn transaction(actions: Vec<Value>) -> Command<Done> {
    Command::new("transaction").arg("actions", actions)
}

/// Asks for the background jobs.
#[must_use]
pub fn query_jobs() -> Command<Vec<Job>> {
    Command::new("query-jobs")
}

/// Asks for the block jobs with their speeds and offsets.
#[must_use]
pub fn query_block_jobs() -> Command<Value> {
    Command::new("query-block-jobs")
}

/// Cancels a job.
#[must_use]
pub fn job_cancel(id: &str) -> Command<Done> {
    Command::new("job-cancel").arg("id", id)
}

/// Completes a job that is ready.
#[must_use]
pub fn job_complete(id: &str) -> Command<Done> {
    Command::new("job-complete").arg("id", id)
}

/// Finishes a concluded job so that QEMU forgets it.
#[must_use]
pub fn job_dismiss(id: &str) -> Command<Done> {
    Command::new("job-dismiss").arg("id", id)
}

/// Sets a block job's speed in bytes per second; 0 is unlimited.
#[must_use]
pub fn block_job_set_speed(id: &str, bytes_per_second: u64) -> Command<Done> {
    Command::new("block-job-set-speed")
        .arg("device", id)
        .arg("speed", bytes_per_second)
}

/// Which disks an internal snapshot goes to, and where the machine's state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotNodes {
    /// The node that takes the machine's state.
    pub vmstate: String,
    /// All nodes that are snapshotted, by name.
    pub devices: Vec<String>,
}

/// Takes an internal snapshot of disks and memory, as a job.
#[must_use]
pub fn snapshot_save(job: &str, tag: &str, nodes: SnapshotNodes) -> Command<Done> {
    snapshot("snapshot-save", job, tag, nodes)
}

/// Goes back to an internal snapshot, as a job.
#[must_use]
pub fn snapshot_load(job: &str, tag: &str, nodes: SnapshotNodes) -> Command<Done> {
    snapshot("snapshot-load", job, tag, nodes)
}

/// Deletes an internal snapshot, as a job.
#[must_use]
pub fn snapshot_delete(job: &str, tag: &str, devices: Vec<String>) -> Command<Done> {
    Command::new("snapshot-delete")
        .arg("job-id", job)
        .arg("tag", tag)
        .arg("devices", devices)
}

fn snapshot(name: &'static str, job: &str, tag: &str, nodes: SnapshotNodes) -> Command<Done> {
    Command::new(name)
        .arg("job-id", job)
        .arg("tag", tag)
        .arg("vmstate", nodes.vmstate)
        .arg("devices", nodes.devices)
}
