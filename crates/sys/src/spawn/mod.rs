//! Starting a long-lived, confined child: a QEMU.
//!
//! The plan is plain data. [`spawn`] prepares everything in the parent
//! ([`prepare`](self)), then clones as `vfork` does: the child borrows the
//! parent's memory until it has become the new program, so that the start
//! costs the same however large the daemon is, and an error on the way is
//! known to the parent at once.

mod child;
mod prepare;

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use crate::error::SysResult;
use crate::landlock::PathRule;
use crate::process::{Process, ProcessId};

/// Who the child runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups; these replace all the parent has.
    pub groups: Vec<u32>,
}

/// A bound on a resource: soft and hard alike; none is "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    /// What is bounded.
    pub resource: Resource,
    /// The bound, in the resource's own unit.
    pub limit: Option<u64>,
}

/// What a [`ResourceLimit`] bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Open files.
    OpenFiles,
    /// Bytes locked into memory.
    LockedMemory,
    /// Bytes of a core dump.
    CoreDump,
    /// Processes and threads of the user.
    Processes,
}

/// How to start a child. It always gets a session of its own, no capability
/// and no way to gain one when it runs as another user, and `/dev/null` as
/// standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnPlan {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments, beginning with its own name.
    pub argv: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub directory: PathBuf,
    /// Who it runs as; none for the parent's own user, which keeps its
    /// capabilities.
    pub identity: Option<Identity>,
    /// The `cgroup.procs` files of the groups it joins before it runs.
    pub cgroups: Vec<PathBuf>,
    /// Bounds on resources.
    pub limits: Vec<ResourceLimit>,
    /// The processors it may run on, with every thread it makes; none for
    /// the parent's.
    pub processors: Option<Vec<u32>>,
    /// All the paths it may access; none for no such confinement.
    pub paths: Option<Vec<PathRule>>,
    /// How willingly the kernel kills it for memory, −1000 to 1000; none to
    /// leave it as the parent's.
    pub oom_score_adj: Option<i16>,
    /// Whether it is killed when the thread that started it ends, as every
    /// thread does with its process. For children that nobody takes over.
    pub dies_with_parent: bool,
    /// Bits taken away from the files it creates.
    pub umask: u32,
}

impl SpawnPlan {
    /// A plan for `program`: its name as the only argument, an empty
    /// environment, the root directory, nothing else set.
    pub fn new(program: impl Into<PathBuf>) -> SpawnPlan {
        let program = program.into();
        SpawnPlan {
            argv: vec![program.clone().into_os_string()],
            program,
            env: Vec::new(),
            directory: PathBuf::from("/"),
            identity: None,
            cgroups: Vec::new(),
            limits: Vec::new(),
            processors: None,
            paths: None,
            oom_score_adj: None,
            dies_with_parent: false,
            umask: 0o022,
        }
    }
}

/// The descriptors a child gets beside `/dev/null`.
#[derive(Debug, Clone, Copy)]
pub struct Descriptors<'a> {
    /// Standard output and standard error: a log file or the end of a pipe.
    pub output: BorrowedFd<'a>,
    /// Further ones, each at the number (3 or above) it gets in the child.
    pub inherited: &'a [(RawFd, BorrowedFd<'a>)],
}

/// A started child.
#[derive(Debug)]
pub struct Child {
    /// The process: ours to reap.
    pub process: Process,
    /// Confinement that was asked for and is not to be had here, in words.
    pub notes: Vec<String>,
}

impl Child {
    /// Its id together with its start time, to find it again.
    pub fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// Its pidfd: readable once it has ended.
    pub fn into_pidfd(self) -> OwnedFd {
        self.process.into_pidfd()
    }
}

/// Starts a child. Blocks until the program runs or could not be run, which
/// takes about a millisecond; no descriptor but those given reaches it.
pub fn spawn(plan: &SpawnPlan, descriptors: Descriptors<'_>) -> SysResult<Child> {
    let prepared = prepare::Prepared::new(plan, descriptors)?;
    let (pid, pidfd) = child::start(&prepared)?;
    let process = Process::from_child(pid, pidfd)?;
    Ok(Child {
        process,
        notes: prepared.notes,
    })
}
