//! Replies about disks and jobs.

use serde::Deserialize;

/// A disk as the guest sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlockDevice {
    /// The back end's name; empty for disks made with `-blockdev`.
    pub device: String,
    /// The device's id or path.
    #[serde(default)]
    pub qdev: Option<String>,
    /// The medium can be changed.
    #[serde(default)]
    pub removable: bool,
    /// The guest holds the medium.
    #[serde(default)]
    pub locked: bool,
    /// The tray is open; only on drives with a tray.
    #[serde(default, rename = "tray_open")]
    pub tray_open: Option<bool>,
    /// `ok`, `failed` or `nospace`.
    #[serde(default)]
    pub io_status: Option<String>,
    /// The medium.
    #[serde(default)]
    pub inserted: Option<Medium>,
}

/// What is in a drive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Medium {
    /// The file.
    pub file: String,
    /// The block node.
    #[serde(default)]
    pub node_name: Option<String>,
    /// The format's driver.
    pub drv: String,
    /// It cannot be written.
    pub ro: bool,
    /// The image's sizes.
    pub image: Image,
}

/// Sizes of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// The size the guest sees, in bytes.
    pub virtual_size: u64,
    /// The space it takes on the host, in bytes.
    #[serde(default)]
    pub actual_size: Option<u64>,
    /// The file.
    pub filename: String,
    /// The format.
    pub format: String,
    /// What it is based on.
    #[serde(default)]
    pub backing_image: Option<Box<Image>>,
}

/// Counters of one disk or node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlockStats {
    /// The back end's name, where it has one.
    #[serde(default)]
    pub device: Option<String>,
    /// The device's id or path.
    #[serde(default)]
    pub qdev: Option<String>,
    /// The block node.
    #[serde(default)]
    pub node_name: Option<String>,
    /// The counters.
    pub stats: BlockCounters,
    /// The node below (the file of a format node).
    #[serde(default)]
    pub parent: Option<Box<BlockStats>>,
    /// The node it is based on.
    #[serde(default)]
    pub backing: Option<Box<BlockStats>>,
}

/// Bytes, requests and nanoseconds since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct BlockCounters {
    /// Bytes read.
    pub rd_bytes: u64,
    /// Bytes written.
    pub wr_bytes: u64,
    /// Read requests.
    pub rd_operations: u64,
    /// Write requests.
    pub wr_operations: u64,
    /// Flush requests.
    pub flush_operations: u64,
    /// Time spent reading.
    pub rd_total_time_ns: u64,
    /// Time spent writing.
    pub wr_total_time_ns: u64,
    /// Time spent flushing.
    pub flush_total_time_ns: u64,
    /// One past the highest byte written.
    pub wr_highest_offset: u64,
}

/// A background job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is.
    pub status: JobStatus,
    /// Work done, in the job's own unit.
    pub current_progress: u64,
    /// Work in all.
    pub total_progress: u64,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobStatus {
    /// Made, not started.
    Created,
    /// Working.
    Running,
    /// Paused while working.
    Paused,
    /// Waiting to be completed.
    Ready,
    /// Paused while ready.
    Standby,
    /// Waiting for others of its transaction.
    Waiting,
    /// Waiting to be finished.
    Pending,
    /// Cleaning up after a failure.
    Aborting,
    /// Over, kept until it is dismissed.
    Concluded,
    /// Gone.
    Null,
    /// A state this version of Stead does not know.
    #[serde(other)]
    Unknown,
}
