//! Everything the child needs, laid out before it is cloned: afterwards it
//! may neither allocate nor look anything up.

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use rustix::thread::CpuSet;

use super::{Descriptors, Identity, Resource, ResourceLimit, SpawnPlan};
use crate::error::{SysError, SysResult};
use crate::landlock::Ruleset;

/// Strings for `execve`: the pointers point into the strings, which are never
/// changed again.
#[derive(Debug)]
pub(super) struct StringTable {
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl StringTable {
    fn new(strings: Vec<CString>) -> StringTable {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        StringTable {
            _strings: strings,
            pointers,
        }
    }

    /// The table, ended by a null pointer.
    pub(super) fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}

/// A limit as the kernel takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct KernelLimit {
    pub(super) resource: libc::__rlimit_resource_t,
    pub(super) value: libc::rlimit,
}

/// A plan ready to be carried out by the child.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) program: CString,
    pub(super) argv: StringTable,
    pub(super) env: StringTable,
    pub(super) directory: CString,
    pub(super) identity: Option<Identity>,
    /// Open `cgroup.procs` files, in order.
    pub(super) cgroups: Vec<File>,
    pub(super) limits: Vec<KernelLimit>,
    pub(super) processors: Option<CpuSet>,
    pub(super) ruleset: Option<Ruleset>,
    pub(super) oom_score: Option<Vec<u8>>,
    /// The parent it dies with, if it does.
    pub(super) dies_with: Option<libc::pid_t>,
    pub(super) umask: libc::mode_t,
    /// Where each descriptor goes: from a number above all targets, so that
    /// no step overwrites what a later one needs.
    pub(super) placements: Vec<(OwnedFd, RawFd)>,
    pub(super) last_capability: u32,
    pub(super) notes: Vec<String>,
    /// The program's name, for errors.
    pub(super) subject: String,
}

impl Prepared {
    pub(super) fn new(plan: &SpawnPlan, descriptors: Descriptors<'_>) -> SysResult<Prepared> {
        let mut notes = Vec::new();
        let argv = plan
            .argv
            .iter()
            .map(|word| c_string(word))
            .collect::<SysResult<_>>()?;
        Ok(Prepared {
            program: c_string(plan.program.as_os_str())?,
            argv: StringTable::new(argv),
            env: environment(plan)?,
            directory: c_string(plan.directory.as_os_str())?,
            identity: plan.identity.clone(),
            cgroups: plan
                .cgroups
                .iter()
                .map(|path| open_procs(path))
                .collect::<SysResult<_>>()?,
            limits: plan.limits.iter().map(kernel_limit).collect(),
            processors: plan
                .processors
                .as_ref()
                .map(|cpus| crate::process::cpu_set(cpus.iter().copied())),
            ruleset: ruleset(plan, &mut notes)?,
            oom_score: plan
                .oom_score_adj
                .map(|score| score.to_string().into_bytes()),
            // SAFETY: takes no pointers.
            dies_with: plan.dies_with_parent.then(|| unsafe { libc::getpid() }),
            umask: plan.umask,
            placements: placements(descriptors)?,
            last_capability: last_capability(),
            notes,
            subject: plan.program.display().to_string(),
        })
    }
}

fn environment(plan: &SpawnPlan) -> SysResult<StringTable> {
    let pairs = plan.env.iter().map(|(name, value)| {
        let mut pair = name.clone();
        pair.push("=");
        pair.push(value);
        c_string(&pair)
    });
    Ok(StringTable::new(pairs.collect::<SysResult<_>>()?))
}

fn c_string(text: &OsStr) -> SysResult<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        let subject = format!("with a zero byte in {text:?}");
        SysError::from_errno("start a process", subject, libc::EINVAL)
    })
}

fn open_procs(path: &Path) -> SysResult<File> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|e| SysError::on_path("open", path, e))
}

fn kernel_limit(limit: &ResourceLimit) -> KernelLimit {
    let resource = match limit.resource {
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
        Resource::CoreDump => libc::RLIMIT_CORE,
        Resource::Processes => libc::RLIMIT_NPROC,
    };
    let value = limit.limit.unwrap_or(libc::RLIM_INFINITY);
    KernelLimit {
        resource,
        value: libc::rlimit {
            rlim_cur: value,
            rlim_max: value,
        },
    }
}

fn ruleset(plan: &SpawnPlan, notes: &mut Vec<String>) -> SysResult<Option<Ruleset>> {
    let Some(rules) = &plan.paths else {
        return Ok(None);
    };
    let ruleset = Ruleset::build(rules)?;
    if ruleset.is_none() {
        notes.push("this kernel has no landlock: file access is confined by owner only".to_owned());
    }
    Ok(ruleset)
}

/// Copies of the descriptors, numbered above every number they go to.
fn placements(descriptors: Descriptors<'_>) -> SysResult<Vec<(OwnedFd, RawFd)>> {
    let null = File::open("/dev/null").map_err(|e| SysError::new("open", "/dev/null", e))?;
    let mut wanted: Vec<(RawFd, BorrowedFd<'_>)> = vec![
        (0, null.as_fd()),
        (1, descriptors.output),
        (2, descriptors.output),
    ];
    for (target, fd) in descriptors.inherited {
        if *target < 3 || wanted.iter().any(|(taken, _)| taken == target) {
            let subject = format!("descriptor {} as number {target}", fd.as_raw_fd());
            return Err(SysError::from_errno("pass", subject, libc::EINVAL));
        }
        wanted.push((*target, *fd));
    }
    let above = wanted
        .iter()
        .map(|(target, _)| target + 1)
        .max()
        .unwrap_or(3);
    wanted
        .into_iter()
        .map(|(target, fd)| {
            rustix::io::fcntl_dupfd_cloexec(fd, above)
                .map(|copy| (copy, target))
                .map_err(|e| SysError::new("duplicate", format!("descriptor {fd:?}"), e))
        })
        .collect()
}

/// The highest capability number this kernel knows.
fn last_capability() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(40)
}
