//! Long operations on a machine: what they are, how far they are, and the
//! record of the last one.

use std::time::Instant;

/// What a long operation does; numbers of `virDomainJobOperation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum JobOperation {
    /// Start.
    Start = 1,
    /// Save to a file.
    Save = 2,
    /// Restore from a file.
    Restore = 3,
    /// Take a snapshot.
    Snapshot = 6,
    /// Go back to a snapshot.
    SnapshotRevert = 7,
    /// Write the guest's memory to a file.
    Dump = 8,
    /// Delete a snapshot.
    SnapshotDelete = 10,
}

/// A long operation's progress, or the record of its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobStats {
    /// What is being done.
    pub operation: JobOperation,
    /// Whether it has ended, and how.
    pub end: Option<JobEnd>,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
    /// Bytes of memory to write in all.
    pub total_bytes: u64,
    /// Bytes written.
    pub processed_bytes: u64,
    /// Bytes still to write.
    pub remaining_bytes: u64,
}

/// How a long operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It did what it should.
    Completed,
    /// It failed.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// A long operation under way.
#[derive(Debug)]
pub(crate) struct Job {
    operation: JobOperation,
    began: Instant,
    progress: (u64, u64, u64),
}

impl Job {
    pub(crate) fn begin(operation: JobOperation) -> Self {
        Self {
            operation,
            began: Instant::now(),
            progress: (0, 0, 0),
        }
    }

    pub(crate) fn advance(&mut self, total: u64, processed: u64, remaining: u64) {
        self.progress = (total, processed, remaining);
    }

    pub(crate) fn stats(&self, end: Option<JobEnd>) -> JobStats {
        let (total_bytes, processed_bytes, remaining_bytes) = self.progress;
        JobStats {
            operation: self.operation,
            end,
            elapsed_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            total_bytes,
            processed_bytes,
            remaining_bytes,
        }
    }
}
