//! One daemon per directory: a lock that ends with the process that holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{SysError, SysResult};

/// A held lock. Dropped, or with the process gone, it is free again; the file
/// stays, since removing it would let two processes hold "the" lock.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

/// What taking a lock came to.
#[derive(Debug)]
pub enum Locked {
    /// It is ours.
    Ours(LockFile),
    /// Another process holds it: its process id, where the file tells.
    HeldBy(Option<u32>),
}

/// Tries to take the lock at `path`, and writes our process id into it.
pub fn lock(path: &Path) -> SysResult<Locked> {
    let fail = |operation| move |e| SysError::on_path(operation, path, e);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
        .map_err(fail("open"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Locked::HeldBy(holder(&mut file))),
        Err(e) => return Err(SysError::on_path("lock", path, e)),
    }
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()))
        .map_err(fail("write"))?;
    Ok(Locked::Ours(LockFile { _file: file }))
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_holds_it_and_frees_it_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let Locked::Ours(held) = lock(&path).unwrap() else {
            panic!("not ours")
        };
        let Locked::HeldBy(pid) = lock(&path).unwrap() else {
            panic!("taken twice")
        };
        assert_eq!(pid, Some(std::process::id()));
        drop(held);
        assert!(matches!(lock(&path).unwrap(), Locked::Ours(_)));
    }
}
