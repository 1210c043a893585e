//! Processes, held so that they cannot be mistaken for others.
//!
//! A process id alone may be given to another process at any time. A
//! [`ProcessId`] adds the start time, and a [`Process`] holds a pidfd: it
//! refers to one process for ever, can be signalled without a race, and polls
//! readable once the process has ended, whoever its parent is.

mod exit;
mod scheduling;
mod search;
mod stat;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::error::{SysError, SysResult};

pub use exit::Exit;
pub use rustix::process::Signal;
pub(crate) use scheduling::cpu_set;
pub use scheduling::{CPU_MAX, Policy, affinity, set_affinity, set_policy};
pub use search::find_by_start;
pub use stat::{ProcessStat, ThreadStat, cpu_time_ns, stat, threads};

/// One process of this boot of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// Clock ticks between boot and its start (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

/// Ends this very process as SIGKILL does: no handler, no destructor, no
/// buffered byte is written any more.
pub fn kill_oneself() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    // The kernel does not return from that call.
    std::process::abort()
}

/// A process, running or ended.
#[derive(Debug)]
pub struct Process {
    id: ProcessId,
    pidfd: OwnedFd,
}

impl Process {
    /// Finds the process again; nothing when it is gone, even if its process
    /// id is in use by another one now.
    pub fn open(id: ProcessId) -> SysResult<Option<Process>> {
        let pidfd = match pidfd_open(kernel_pid(id.pid)?, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(e) => return Err(SysError::new("open", subject(id.pid), e)),
        };
        // Looked at after the pidfd was opened: if it is still the process we
        // mean now, it was so then.
        match stat(id.pid)? {
            Some(stat) if stat.start_time == id.start_time => Ok(Some(Process { id, pidfd })),
            _ => Ok(None),
        }
    }

    /// The process that has this process id now.
    pub fn current(pid: i32) -> SysResult<Option<Process>> {
        let Some(stat) = stat(pid)? else {
            return Ok(None);
        };
        Process::open(ProcessId {
            pid,
            start_time: stat.start_time,
        })
    }

    /// A child just started. It cannot be mistaken: it stays, if only as a
    /// zombie, until we reap it.
    pub(crate) fn from_child(pid: i32, pidfd: OwnedFd) -> SysResult<Process> {
        rustix::fs::fcntl_setfl(&pidfd, rustix::fs::OFlags::NONBLOCK)
            .map_err(|e| SysError::new("prepare the pidfd of", subject(pid), e))?;
        let stat =
            stat(pid)?.ok_or_else(|| SysError::from_errno("find", subject(pid), libc::ESRCH))?;
        Ok(Process {
            id: ProcessId {
                pid,
                start_time: stat.start_time,
            },
            pidfd,
        })
    }

    /// Which process it is.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Sends a signal. False when the process has ended.
    pub fn signal(&self, signal: Signal) -> SysResult<bool> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(e) => Err(SysError::new("signal", subject(self.id.pid), e)),
        }
    }

    /// Whether it has ended: the same as its descriptor being readable.
    pub fn has_ended(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        matches!(
            rustix::io::retry_on_intr(|| poll(&mut polled, Some(&now))),
            Ok(1..)
        )
    }

    /// Blocks until it has ended.
    pub fn wait(&self) -> SysResult<()> {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut polled, None))
            .map(drop)
            .map_err(|e| SysError::new("wait for", subject(self.id.pid), e))
    }

    /// How it ended; nothing while it runs. Reaps it when it is a child of
    /// ours, which can be done once: keep the answer.
    pub fn exit(&self) -> SysResult<Option<Exit>> {
        exit::exit(self.pidfd.as_fd(), self.has_ended())
            .map_err(|e| SysError::new("wait for", subject(self.id.pid), e))
    }

    /// Gives up everything but the pidfd.
    pub fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Process {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

fn kernel_pid(pid: i32) -> SysResult<Pid> {
    if pid <= 0 {
        return Err(SysError::from_errno("open", subject(pid), libc::EINVAL));
    }
    Pid::from_raw(pid).ok_or_else(|| SysError::from_errno("open", subject(pid), libc::EINVAL))
}

fn subject(pid: i32) -> String {
    format!("process {pid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped through its pidfd")]
    fn is_found_by_what_its_command_line_names() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("sock").display().to_string();
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "echo; read x", "sh", &format!("path={mark},x")])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Right after the spawn the command line may not be there yet.
        let mut line = [0];
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut line).unwrap();
        let found = find_by_start(&mark);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id().pid, child.id() as i32);
        drop(child.stdin);
        wait(&found[0]);
        assert_eq!(found[0].exit().unwrap(), Some(Exit::Code(1)));
        assert!(
            find_by_start(&mark).is_empty(),
            "an ended process is not found"
        );
        assert!(find_by_start("").is_empty());
    }

    #[test]
    fn is_found_again_by_its_id_and_not_by_another_start_time() {
        let own = Process::current(std::process::id() as i32)
            .unwrap()
            .unwrap();
        let again = Process::open(own.id()).unwrap().unwrap();
        assert_eq!(again.id(), own.id());
        assert!(!again.has_ended());
        assert_eq!(again.exit().unwrap(), None);
        let other = ProcessId {
            start_time: own.id().start_time + 1,
            ..own.id()
        };
        assert!(Process::open(other).unwrap().is_none());
        assert!(Process::current(-3).unwrap().is_none());
        assert!(
            Process::open(ProcessId {
                pid: -3,
                start_time: 1
            })
            .is_err()
        );
    }

    #[test]
    fn a_child_of_ours_tells_how_it_ended() {
        #[expect(clippy::zombie_processes, reason = "reaped through its pidfd")]
        let child = std::process::Command::new("/bin/sh")
            .args(["-c", "read x; exit 3"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::current(child.id() as i32).unwrap().unwrap();
        assert_eq!(process.exit().unwrap(), None);
        drop(child.stdin);
        wait(&process);
        assert_eq!(process.exit().unwrap(), Some(Exit::Code(3)));
        assert!(!process.signal(Signal::KILL).unwrap());
        assert!(Process::open(process.id()).unwrap().is_none());
    }

    #[test]
    fn a_killed_child_names_the_signal() {
        #[expect(clippy::zombie_processes, reason = "reaped through its pidfd")]
        let child = std::process::Command::new("/bin/sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let process = Process::current(child.id() as i32).unwrap().unwrap();
        assert!(process.signal(Signal::KILL).unwrap());
        wait(&process);
        let exit = process.exit().unwrap().unwrap();
        assert_eq!(
            exit,
            Exit::Signal {
                number: 9,
                core_dumped: false
            }
        );
        assert_eq!(exit.to_string(), "was killed by signal 9 (SIGKILL)");
    }

    #[test]
    fn the_end_of_anothers_child_is_seen() {
        // The grandchild's parent is the shell; we only hold a pidfd.
        let shell = std::process::Command::new("/bin/sh")
            .args([
                "-c",
                "exec 3<&0; sh -c 'read x <&3; exit 7' & echo $!; wait $!",
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut shell = shell;
        let mut line = String::new();
        let mut output = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let process = Process::current(line.trim().parse().unwrap())
            .unwrap()
            .unwrap();
        drop(shell.stdin.take());
        wait(&process);
        shell.wait().unwrap();
        // Newer kernels remember the status for holders of a pidfd.
        let exit = process.exit().unwrap();
        assert!(
            matches!(exit, Some(Exit::Code(7) | Exit::Unknown)),
            "{exit:?}"
        );
        assert!(process.has_ended());
    }

    fn wait(process: &Process) {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        assert_eq!(poll(&mut polled, None).unwrap(), 1);
    }
}
