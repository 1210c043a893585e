//! How a process ended.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By a signal.
    Signal {
        /// Its number.
        number: i32,
        /// Whether memory was dumped.
        core_dumped: bool,
    },
    /// It was not our child and this kernel does not tell others.
    Unknown,
}

impl Exit {
    /// From a status word as `wait` gives it.
    fn from_status(status: i32) -> Exit {
        match status & 0x7f {
            0 => Exit::Code((status >> 8) & 0xff),
            number => Exit::Signal {
                number,
                core_dumped: status & 0x80 != 0,
            },
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with status {code}"),
            Exit::Signal {
                number,
                core_dumped,
            } => {
                write!(
                    f,
                    "was killed by signal {number} ({})",
                    signal_name(*number)
                )?;
                if *core_dumped {
                    f.write_str(" and dumped core")
                } else {
                    Ok(())
                }
            }
            Exit::Unknown => f.write_str("ended"),
        }
    }
}

fn signal_name(number: i32) -> &'static str {
    match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => "a signal",
    }
}

/// Reaps a child, or asks the kernel about another's.
pub(super) fn exit(pidfd: BorrowedFd<'_>, ended: bool) -> Result<Option<Exit>, Errno> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), options)) {
        Ok(None) => Ok(None),
        Ok(Some(status)) => Ok(Some(
            match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(number)) => Exit::Signal {
                    number,
                    core_dumped: status.dumped(),
                },
                (None, None) => Exit::Unknown,
            },
        )),
        // Not our child. A nonblocking pidfd says EAGAIN for "not yet".
        Err(Errno::CHILD) if ended => Ok(Some(recorded(pidfd))),
        Err(Errno::CHILD | Errno::AGAIN) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The first version of the kernel's `struct pidfd_info`.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xff, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::Ioctl =
    ((3 << 30) | (size_of::<PidfdInfo>() << 16) | (0xff << 8) | 11) as libc::Ioctl;

/// The status the kernel (6.15 and newer) keeps for holders of a pidfd after
/// the parent has reaped the process.
fn recorded(pidfd: BorrowedFd<'_>) -> Exit {
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the request's size is that of the structure, which is valid,
    // writable and has no invalid bit patterns.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if done == 0 && info.mask & PIDFD_INFO_EXIT != 0 {
        Exit::from_status(info.exit_code)
    } else {
        Exit::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_words() {
        assert_eq!(Exit::from_status(0x0300), Exit::Code(3));
        assert_eq!(
            Exit::from_status(11),
            Exit::Signal {
                number: 11,
                core_dumped: false
            }
        );
        assert_eq!(
            Exit::from_status(0x86),
            Exit::Signal {
                number: 6,
                core_dumped: true
            }
        );
        assert_eq!(size_of::<PidfdInfo>(), 64);
    }
}
