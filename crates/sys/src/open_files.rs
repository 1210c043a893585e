//! How many descriptors this process may have open.

use std::os::fd::OwnedFd;

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

/// Whether an open file can be written to.
pub fn is_writable(file: &OwnedFd) -> SysResult<bool> {
    let flags =
        rustix::fs::fcntl_getfl(file).map_err(|e| SysError::new("look at", "an open file", e))?;
    Ok(flags & OFlags::RWMODE != OFlags::RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

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
