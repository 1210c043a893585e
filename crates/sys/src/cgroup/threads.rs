//! Groups of some of a machine's threads, within the machine's group: they
//! divide its processor time further.

use std::fs;
use std::path::Path;

use super::{Branch, Cgroup, Controller, Version, write};
use crate::error::{SysError, SysResult};

impl Cgroup {
    /// The group of threads called `name` within this one; only processor
    /// time can be bounded in it. It is made where it is not there, and goes
    /// with this one.
    pub fn thread_group(&self, name: &str) -> SysResult<Cgroup> {
        let directory = self.file(Controller::Cpu, name)?;
        let group = Cgroup {
            name: name.to_owned(),
            version: self.version,
            branches: vec![Branch {
                controllers: vec![Controller::Cpu],
                directory,
            }],
        };
        group.make_threaded()?;
        Ok(group)
    }

    /// The group of threads called `name`, if it was made.
    pub fn existing_thread_group(&self, name: &str) -> Option<Cgroup> {
        let there = self.file(Controller::Cpu, name).ok()?.is_dir();
        there.then(|| self.thread_group(name).ok()).flatten()
    }

    /// Moves one thread into a group of threads.
    pub fn add_thread(&self, thread: i32) -> SysResult<()> {
        let name = self.by_version("tasks", "cgroup.threads");
        write(&self.file(Controller::Cpu, name)?, &thread.to_string())
    }

    fn make_threaded(&self) -> SysResult<()> {
        for branch in &self.branches {
            let directory = &branch.directory;
            match fs::create_dir(directory) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(|e| SysError::on_path("make", directory, e))?,
            }
            if self.version == Version::V2 {
                write(&directory.join("cgroup.type"), "threaded")?;
                let parent = directory.parent().unwrap_or(directory);
                write(&parent.join("cgroup.subtree_control"), "+cpu")?;
            }
        }
        Ok(())
    }
}

/// Removes the groups of threads within a group; one that is in use stays,
/// and so does then the group around it.
pub(super) fn remove_groups(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.path().is_dir()) {
        let _ = fs::remove_dir(entry.path());
    }
}
