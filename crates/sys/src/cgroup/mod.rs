//! Control groups: what a machine may use of the host, and what it has used.
//!
//! Version 2 is used where its tree has the cpu and memory controllers,
//! version 1 elsewhere, with whichever controllers are mounted. A group lies
//! in `machine.slice` below the group the daemon is in, in each tree alike.
//! What a host cannot do is an error of kind `Unsupported` from the call that
//! needs it, never a silent success.
//!
//! Joining a group can take the kernel some 15 ms (a grace period) when
//! none was joined lately, while a QEMU is up in 25: rather than listing a
//! group in [`crate::spawn::SpawnPlan::cgroups`], start the process and call
//! [`Cgroup::add`] from another thread while it initialises. Its threads move
//! with it. Do wait for the answer before letting the guest run.

mod block;
mod detect;
mod devices;
mod limits;
mod threads;
mod usage;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{SysError, SysResult};

pub use block::{BlockDevice, BlockLimit};
pub use detect::{Availability, detect};
pub use devices::{DeviceKind, DeviceRule};
pub use limits::CpuBandwidth;
pub use usage::{CpuUsage, MemoryUsage};

/// The group, below the daemon's own, that holds the machines' groups.
pub const SLICE: &str = "machine.slice";

/// Longest name of a group, in bytes.
pub const NAME_MAX_BYTES: usize = 200;

/// Rounds of killing before giving up on a group that forks faster.
const KILL_ROUNDS_MAX: u32 = 64;

/// A version 1 controller, or a part of version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Processor shares and bandwidth.
    Cpu,
    /// Processor time used.
    CpuAccounting,
    /// Memory.
    Memory,
    /// Which processors and memory nodes.
    CpuSet,
    /// Block devices.
    BlockIo,
    /// Device files.
    Devices,
    /// Suspending all at once.
    Freezer,
    /// Number of processes and threads.
    Pids,
}

/// Which of the two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One tree per controller.
    V1,
    /// One tree.
    V2,
}

/// One tree, and the directory in it below which machines' groups are made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Branch {
    controllers: Vec<Controller>,
    directory: PathBuf,
}

/// Makes and finds groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    version: Version,
    branches: Vec<Branch>,
}

/// A machine's group: one directory in each tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    name: String,
    version: Version,
    branches: Vec<Branch>,
}

/// The name for a machine's group, like systemd's for a scope: characters
/// that may not be in one are written as `\xNN`.
pub fn group_name(prefix: &str, id: i32, name: &str) -> String {
    let mut text = format!("{prefix}-{id}-");
    for byte in name.bytes() {
        let piece = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
                char::from(byte).to_string()
            }
            other => format!("\\x{other:02x}"),
        };
        if text.len() + piece.len() > NAME_MAX_BYTES {
            break;
        }
        text.push_str(&piece);
    }
    text
}

impl Manager {
    /// Which interface is in use.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The controllers machines can be bounded by here.
    pub fn controllers(&self) -> Vec<Controller> {
        let mut all: Vec<_> = self
            .branches
            .iter()
            .flat_map(|branch| branch.controllers.iter().copied())
            .collect();
        all.sort_unstable();
        all
    }

    /// Removes the group called `name`, if there is one; see
    /// [`Cgroup::remove`].
    pub fn remove(&self, name: &str) -> SysResult<()> {
        self.named(name).remove()
    }

    /// The group called `name` that a running process is in, wherever the
    /// daemon that made it was. Nothing when it is in none of that name.
    pub fn of_process(pid: i32, name: &str) -> SysResult<Option<Cgroup>> {
        detect::of_process(pid, name)
    }

    /// Makes a group, or takes over an empty one left behind. One that holds
    /// processes is an error of kind `AlreadyExists`.
    pub fn create(&self, name: &str) -> SysResult<Cgroup> {
        if name.is_empty() || name.len() > NAME_MAX_BYTES || name.contains(['/', '\0']) {
            return Err(SysError::new(
                "make",
                format!("cgroup {name:?}"),
                ErrorKind::InvalidInput,
            ));
        }
        let group = self.named(name);
        let made = group.make_directories();
        if made.is_err() {
            // The first error is the one to tell.
            let _ = group.remove();
        }
        made?;
        if !group.pids()?.is_empty() {
            return Err(SysError::new(
                "make",
                format!("cgroup {name}"),
                ErrorKind::AlreadyExists,
            ));
        }
        Ok(group)
    }

    fn named(&self, name: &str) -> Cgroup {
        let branch = |branch: &Branch| Branch {
            controllers: branch.controllers.clone(),
            directory: branch.directory.join(name),
        };
        Cgroup {
            name: name.to_owned(),
            version: self.version,
            branches: self.branches.iter().map(branch).collect(),
        }
    }
}

impl Cgroup {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which interface it is of.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether it can bound or count `controller`'s part.
    pub fn has(&self, controller: Controller) -> bool {
        self.branches
            .iter()
            .any(|branch| branch.controllers.contains(&controller))
    }

    /// The files to which a process id is written to join.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.branches
            .iter()
            .map(|branch| branch.directory.join("cgroup.procs"))
            .collect()
    }

    /// Moves a process with all its threads into the group. See the module's
    /// head about how long it may take.
    pub fn add(&self, pid: i32) -> SysResult<()> {
        for file in self.procs_files() {
            write(&file, &pid.to_string())?;
        }
        Ok(())
    }

    /// The processes in the group, in no order.
    pub fn pids(&self) -> SysResult<Vec<i32>> {
        let mut pids: Vec<i32> = Vec::new();
        for file in self.procs_files() {
            if let Some(text) = read_if_there(&file)? {
                pids.extend(
                    text.split_ascii_whitespace()
                        .filter_map(|n| n.parse::<i32>().ok()),
                );
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Kills every process in the group. They may still be ending when this
    /// returns.
    pub fn kill(&self) -> SysResult<()> {
        for branch in &self.branches {
            let file = branch.directory.join("cgroup.kill");
            if self.version == Version::V2 && file.exists() {
                return write(&file, "1");
            }
        }
        // Processes that fork meanwhile are met in the next round.
        let mut before = Vec::new();
        for _ in 0..KILL_ROUNDS_MAX {
            let pids = self.pids()?;
            if pids == before {
                return Ok(());
            }
            for pid in &pids {
                if let Some(process) = crate::process::Process::current(*pid)? {
                    process.signal(crate::process::Signal::KILL)?;
                }
            }
            before = pids;
        }
        Err(SysError::new(
            "kill",
            format!("cgroup {}", self.name),
            ErrorKind::ResourceBusy,
        ))
    }

    /// Suspends, or lets go on, all processes at once.
    pub fn freeze(&self, frozen: bool) -> SysResult<()> {
        match self.version {
            Version::V2 => {
                let value = if frozen { "1" } else { "0" };
                write(&self.file(Controller::Freezer, "cgroup.freeze")?, value)
            }
            Version::V1 => {
                let value = if frozen { "FROZEN" } else { "THAWED" };
                write(&self.file(Controller::Freezer, "freezer.state")?, value)
            }
        }
    }

    /// Removes the group. An error of kind `ResourceBusy` while processes are
    /// in it; none when it is gone already.
    pub fn remove(&self) -> SysResult<()> {
        let mut first = Ok(());
        for branch in &self.branches {
            threads::remove_groups(&branch.directory);
            match fs::remove_dir(&branch.directory) {
                Err(e) if e.kind() != ErrorKind::NotFound && first.is_ok() => {
                    first = Err(SysError::on_path("remove", &branch.directory, e));
                }
                _ => {}
            }
        }
        first
    }

    fn make_directories(&self) -> SysResult<()> {
        for branch in &self.branches {
            fs::create_dir_all(&branch.directory)
                .map_err(|e| SysError::on_path("make", &branch.directory, e))?;
            if self.version == Version::V1 && branch.controllers.contains(&Controller::CpuSet) {
                inherit_cpuset(&branch.directory)?;
            }
        }
        Ok(())
    }

    /// A file of a controller; an error of kind `Unsupported` without it.
    fn file(&self, controller: Controller, name: &str) -> SysResult<PathBuf> {
        let branch = self
            .branches
            .iter()
            .find(|b| b.controllers.contains(&controller));
        match branch {
            Some(branch) => Ok(branch.directory.join(name)),
            None => {
                let subject = format!("{name}: this host has no {controller:?} controller");
                Err(SysError::new("use", subject, ErrorKind::Unsupported))
            }
        }
    }
}

/// A new cpuset of version 1 is empty, and an empty one cannot be joined.
fn inherit_cpuset(directory: &Path) -> SysResult<()> {
    let mut missing = Vec::new();
    let mut at = directory;
    // From the top down, so that each has a parent to take from.
    while let Some(parent) = at.parent() {
        let own = read_if_there(&at.join("cpuset.cpus"))?;
        let mems = read_if_there(&at.join("cpuset.mems"))?;
        match (own, mems) {
            (Some(cpus), Some(mems)) if cpus.trim().is_empty() || mems.trim().is_empty() => {
                missing.push((at, parent));
            }
            _ => break,
        }
        at = parent;
    }
    for (child, parent) in missing.into_iter().rev() {
        for name in ["cpuset.cpus", "cpuset.mems"] {
            write(&child.join(name), read(&parent.join(name))?.trim())?;
        }
    }
    Ok(())
}

fn write(file: &Path, value: &str) -> SysResult<()> {
    // Opened without O_CREAT: what is not there is not supported.
    let attempt = fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut opened| io::Write::write_all(&mut opened, value.as_bytes()));
    attempt.map_err(|e| match e.kind() {
        ErrorKind::NotFound => SysError::on_path("write", file, ErrorKind::Unsupported),
        _ => SysError::on_path("write", file, e),
    })
}

fn read(file: &Path) -> SysResult<String> {
    fs::read_to_string(file).map_err(|e| SysError::on_path("read", file, e))
}

fn read_if_there(file: &Path) -> SysResult<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ENODEV) => {
            Ok(None)
        }
        Err(e) => Err(SysError::on_path("read", file, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_systemd_writes_them() {
        assert_eq!(group_name("stead", 3, "web-1.x"), "stead-3-web-1.x");
        assert_eq!(
            group_name("stead", 3, "a b/ü"),
            "stead-3-a\\x20b\\x2f\\xc3\\xbc"
        );
        assert!(group_name("stead", 3, &"ü".repeat(300)).len() <= NAME_MAX_BYTES);
    }
}
