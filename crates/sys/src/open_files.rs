//! How many descriptors this process may have open.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{SysError, SysResult};

/// Raises the process's limit of open files to the highest it may have, and
/// gives that back (`None`: there is none).
///
/// The usual soft limit of 1,024 is meant for programs that call `select`; a
/// daemon with a few descriptors for each machine and each client needs more.
pub fn raise_limit() -> Result<Option<u64>, rustix::io::Errno> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(limit.maximum)
}

/// A copy of a descriptor that this process was given by whoever started it.
///
/// # Errors
/// If none of this number is open.
pub fn inherited(number: i32) -> SysResult<OwnedFd> {
    // SAFETY: fcntl with F_DUPFD_CLOEXEC reads no memory of ours; any number may be asked about.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        let error = std::io::Error::last_os_error();
        return Err(SysError::new("use", format!("descriptor {number}"), error));
    }
    // SAFETY: the kernel has just made it for us; nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Whether an open file can be written to.
pub fn is_writable(file: &OwnedFd) -> SysResult<bool> {
    let flags =
        rustix::fs::fcntl_getfl(file).map_err(|e| SysError::new("look at", "an open file", e))?;
    Ok(flags & OFlags::RWMODE != OFlags::RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn what_was_inherited_is_copied_by_number() {
        let null = std::fs::File::open("/dev/null").expect("there");
        let copy = inherited(null.as_raw_fd()).expect("it is open");
        assert_ne!(copy.as_raw_fd(), null.as_raw_fd());
        for none in [-1, i32::MAX] {
            let error = inherited(none).expect_err("not open").to_string();
            assert!(error.contains(&format!("descriptor {none}")), "{error}");
        }
    }

    #[test]
    fn files_are_open_for_one_or_the_other() {
        let null = |write| {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(write)
                .open("/dev/null");
            is_writable(&file.unwrap().into()).unwrap()
        };
        assert!(null(true) && !null(false));
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let highest = raise_limit().unwrap();
        let now = getrlimit(Resource::Nofile);
        assert_eq!((now.current, now.maximum), (highest, highest));
    }
}
