//! Where threads run, and by which rules they get their turn.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{SysError, SysResult};

/// One more than the highest processor a thread can be bound to here.
pub const CPU_MAX: usize = CpuSet::MAX_CPU;

/// A scheduling policy of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The usual one.
    Other,
    /// As the usual one, for work that nobody waits for.
    Batch,
    /// Only what nobody else wants.
    Idle,
    /// Real time, first in first out; the priority is 1 to 99.
    Fifo(i32),
    /// Real time in turns; the priority is 1 to 99.
    RoundRobin(i32),
}

/// Lets a thread run on these processors only.
pub fn set_affinity(thread: i32, cpus: impl IntoIterator<Item = u32>) -> SysResult<()> {
    let set = cpu_set(cpus);
    let pid = Pid::from_raw(thread);
    sched_setaffinity(pid, &set).map_err(|e| SysError::new("bind", subject(thread), e))
}

/// The processors a thread may run on, lowest first.
pub fn affinity(thread: i32) -> SysResult<Vec<u32>> {
    let set = sched_getaffinity(Pid::from_raw(thread))
        .map_err(|e| SysError::new("read the processors of", subject(thread), e))?;
    let all = (0..CPU_MAX).filter(|cpu| set.is_set(*cpu));
    Ok(all.filter_map(|cpu| u32::try_from(cpu).ok()).collect())
}

/// Sets how a thread gets its turn.
pub fn set_policy(thread: i32, policy: Policy) -> SysResult<()> {
    let (number, priority) = match policy {
        Policy::Other => (libc::SCHED_OTHER, 0),
        Policy::Batch => (libc::SCHED_BATCH, 0),
        Policy::Idle => (libc::SCHED_IDLE, 0),
        Policy::Fifo(priority) => (libc::SCHED_FIFO, priority),
        Policy::RoundRobin(priority) => (libc::SCHED_RR, priority),
    };
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameter is valid and only read.
    let done = unsafe { libc::sched_setscheduler(thread, number, &raw const parameter) };
    match done {
        0 => Ok(()),
        _ => Err(SysError::new(
            "set the scheduling of",
            subject(thread),
            std::io::Error::last_os_error(),
        )),
    }
}

/// The set in the form the kernel takes; what does not fit is left out.
pub(crate) fn cpu_set(cpus: impl IntoIterator<Item = u32>) -> CpuSet {
    let mut set = CpuSet::new();
    for cpu in cpus {
        let cpu = cpu as usize;
        if cpu < CPU_MAX {
            set.set(cpu);
        }
    }
    set
}

fn subject(thread: i32) -> String {
    format!("thread {thread}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_bound_and_let_go() {
        let whole = affinity(0).unwrap();
        set_affinity(0, [whole[0]]).unwrap();
        assert_eq!(affinity(0).unwrap(), [whole[0]]);
        set_affinity(0, whole.iter().copied().chain([70_000])).unwrap();
        assert_eq!(affinity(0).unwrap(), whole);
        assert!(set_affinity(0, []).is_err(), "nowhere is no place to run");
        set_policy(0, Policy::Batch).unwrap();
        set_policy(0, Policy::Other).unwrap();
        assert!(set_policy(0, Policy::Fifo(1000)).is_err());
    }
}
