//! The node-local record of one run of one machine, by which a restarted
//! daemon finds it again. It lives beside the run's sockets and is written
//! without syncing: what runs does not outlive the host anyway.

use crate::error::{EngineError, Result};
use crate::intent::Intent;
use qemu::machine::Status;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The file's name in the run's directory.
const FILE: &str = "status.json";

/// How far a run had come when the record was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub(crate) enum Phase {
    /// QEMU was about to be started, or was not yet known to work. After a
    /// crash of the daemon it is undone: nobody was told that it runs.
    Starting,
    /// It runs.
    Running {
        /// Its process.
        pid: i32,
        /// The process's start time, in clock ticks since boot.
        start_time: u64,
        /// What its owner showed last.
        status: Status,
    },
}

/// What a run has taken of the host, to be given back at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holdings {
    /// TCP ports of displays.
    #[serde(default)]
    pub(crate) ports: Vec<u16>,
    /// Files that were given to QEMU's user, with their former owners.
    #[serde(default)]
    pub(crate) files: Vec<LentFile>,
}

/// A file lent to QEMU's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LentFile {
    pub(crate) path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// QEMU only reads it, and may be able to as it is.
    #[serde(default)]
    pub(crate) read_only: bool,
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) boot: String,
    pub(crate) id: i32,
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) phase: Phase,
    /// The running definition, passwords included.
    pub(crate) xml: String,
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    #[serde(default)]
    pub(crate) holdings: Holdings,
    /// What was begun and is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) intent: Option<Intent>,
}

impl RunRecord {
    /// Writes the record into the run's directory, whole or not at all.
    pub(crate) fn write(&self, run_dir: &Path) -> Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = run_dir.join(FILE);
        let partial = run_dir.join("status.json.new");
        let fail = |e| EngineError::system(&format!("cannot write {}", path.display()), e);
        let text = serde_json::to_vec(self).map_err(|e| fail(std::io::Error::other(e)))?;
        let mut options = std::fs::OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        options
            .open(&partial)
            .and_then(|mut file| file.write_all(&text))
            .map_err(fail)?;
        std::fs::rename(&partial, &path).map_err(fail)
    }

    /// Reads the record of a run; none where there is no readable one.
    pub(crate) fn read(run_dir: &Path) -> Option<Self> {
        let text = std::fs::read(run_dir.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qemu::machine::{PausedReason, Status};

    #[test]
    fn a_record_comes_back_as_it_was() {
        let directory = tempfile::tempdir().expect("directory");
        let record = RunRecord {
            boot: "b".into(),
            id: 7,
            uuid: Uuid::from_u128(7),
            name: "web".into(),
            phase: Phase::Running {
                pid: 42,
                start_time: 4711,
                status: Status::Paused(PausedReason::IoError),
            },
            xml: "<domain/>".into(),
            notes: vec!["TCG".into()],
            holdings: Holdings {
                ports: vec![5900],
                ..Holdings::default()
            },
            intent: Some(Intent::Destroy),
        };
        record.write(directory.path()).expect("write");
        assert_eq!(RunRecord::read(directory.path()), Some(record));
    }

    #[test]
    fn damage_is_no_record() {
        let directory = tempfile::tempdir().expect("directory");
        assert_eq!(RunRecord::read(directory.path()), None);
        std::fs::write(directory.path().join(FILE), "{\"id\":").expect("write");
        assert_eq!(RunRecord::read(directory.path()), None);
    }
}
