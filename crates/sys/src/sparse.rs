//! Files with holes: finding, making, keeping and filling them; names given without replacing.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, RenameFlags, SeekFrom};
use rustix::io::Errno;

use crate::error::{SysError, SysResult};

/// A part of a file that is all data or all hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// Data up to this place.
    Data(u64),
    /// A hole up to this place.
    Hole(u64),
}

/// What begins at `at`; nothing at the file's end. A file system that knows no holes has data
/// only. Moves the file's position.
pub fn stretch(file: &File, at: u64) -> SysResult<Option<Stretch>> {
    let failed = |e: Errno| SysError::new("look for holes in", "a file", e);
    // A device has no length among what is known of its file.
    let length = rustix::fs::seek(file, SeekFrom::End(0)).map_err(failed)?;
    if at >= length {
        return Ok(None);
    }
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) if data > at => Ok(Some(Stretch::Hole(data))),
        Ok(_) => match rustix::fs::seek(file, SeekFrom::Hole(at)) {
            Ok(hole) => Ok(Some(Stretch::Data(hole.max(at + 1)))),
            Err(e) => Err(failed(e)),
        },
        Err(Errno::NXIO) => Ok(Some(Stretch::Hole(length))),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(Stretch::Data(length))),
        Err(e) => Err(failed(e)),
    }
}

/// The next stretch of data that ends after `at`; nothing if only holes follow. Moves the file's
/// position.
pub fn next_data(file: &File, mut at: u64) -> SysResult<Option<Range<u64>>> {
    while let Some(next) = stretch(file, at)? {
        match next {
            Stretch::Hole(end) => at = end,
            Stretch::Data(end) => return Ok(Some(at..end)),
        }
    }
    Ok(None)
}

/// Takes disk space for a part of a file, which reads as zeros where it was not written.
pub fn reserve(file: &File, at: u64, bytes: u64) -> SysResult<()> {
    rustix::fs::fallocate(file, FallocateFlags::empty(), at, bytes)
        .map_err(|e| SysError::new("reserve space for", "a file", e))
}

/// Gives the space of a part of a file back; the part reads as zeros. Its length stays.
pub fn punch(file: &File, at: u64, bytes: u64) -> SysResult<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, at, bytes)
        .map_err(|e| SysError::new("make a hole in", "a file", e))
}

/// Makes a part of a file or a device read as zeros. It gives its space back where that can be.
pub fn clear(file: &File, mut at: u64, bytes: u64) -> SysResult<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    if punch(file, at, bytes).is_ok() {
        return Ok(());
    }
    // A file system or a device that makes no holes, or only of whole blocks of its own.
    let end = at + bytes;
    while at < end {
        let piece = ZEROS
            .len()
            .min(usize::try_from(end - at).unwrap_or(usize::MAX));
        file.write_all_at(&ZEROS[..piece], at)
            .map_err(|e| SysError::new("write zeros to", "a file", e))?;
        at += piece as u64;
    }
    Ok(())
}

/// Makes `to` share all blocks of `from`, where the file system can.
pub fn share_blocks(from: &File, to: &File) -> SysResult<()> {
    rustix::fs::ioctl_ficlone(to, from)
        .map_err(|e| SysError::new("share the blocks of", "a file", e))
}

/// Copies `bytes` from `at` on to the same place of another file, inside the kernel where it can;
/// how many were copied, fewer at the file's end.
pub fn copy(from: &File, to: &File, at: u64, bytes: u64) -> SysResult<u64> {
    let (mut read_at, mut write_at) = (at, at);
    let mut left = bytes;
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 30);
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), piece);
        match copied {
            Ok(0) => break,
            Ok(count) => left -= count as u64,
            Err(Errno::INTR) => {}
            Err(e) => return Err(SysError::new("copy", "a file", e)),
        }
    }
    Ok(bytes - left)
}

/// Gives a file its name, unless the name is taken.
pub fn rename_new(from: &Path, to: &Path) -> SysResult<()> {
    let (here, flags) = (rustix::fs::CWD, RenameFlags::NOREPLACE);
    match rustix::fs::renameat_with(here, from, here, to, flags) {
        Ok(()) => Ok(()),
        // File systems that cannot: a second name, then one less.
        Err(Errno::INVAL | Errno::NOSYS) => {
            std::fs::hard_link(from, to).map_err(|e| SysError::on_path("name", to, e))?;
            std::fs::remove_file(from).map_err(|e| SysError::on_path("rename", from, e))
        }
        Err(e) => Err(SysError::on_path("name", to, e)),
    }
}

/// Puts a file in the place of one that holds nothing, which is gone then.
///
/// Where a name is given to another file, file systems first see to it that the other one is on the
/// disk: a power cut then leaves the old one or the new one whole. What held nothing needs no such
/// care, and for large files it takes long; the two are swapped instead.
pub fn replace_empty(from: &Path, to: &Path) -> SysResult<()> {
    let (here, flags) = (rustix::fs::CWD, RenameFlags::EXCHANGE);
    let done = match rustix::fs::renameat_with(here, from, here, to, flags) {
        Ok(()) => std::fs::remove_file(from),
        // File systems that cannot.
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(from, to),
        Err(e) => Err(e.into()),
    };
    done.map_err(|e| SysError::on_path("replace", to, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_are_found_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true);
            options.open(directory.path().join(name)).unwrap()
        };
        let from = open("from");
        from.set_len(1 << 20).unwrap();
        from.write_all_at(b"data", 512 << 10).unwrap();
        assert_eq!(stretch(&from, 0).unwrap(), Some(Stretch::Hole(512 << 10)));
        let Some(Stretch::Data(end)) = stretch(&from, 512 << 10).unwrap() else {
            panic!("no data");
        };
        assert_eq!(stretch(&from, end).unwrap(), Some(Stretch::Hole(1 << 20)));
        assert_eq!(stretch(&from, 1 << 20).unwrap(), None);

        let to = open("to");
        assert_eq!(copy(&from, &to, 512 << 10, 8).unwrap(), 8);
        let mut bytes = [0; 4];
        to.read_exact_at(&mut bytes, 512 << 10).unwrap();
        assert_eq!(&bytes, b"data");
        reserve(&to, 0, 1 << 20).unwrap();
        assert_eq!(to.metadata().unwrap().len(), 1 << 20);
        punch(&to, 512 << 10, 4096).unwrap();
        to.read_exact_at(&mut bytes, 512 << 10).unwrap();
        assert_eq!(bytes, [0; 4]);
        to.write_all_at(&[7; 100_000], 0).unwrap();
        clear(&to, 10, 99_980).unwrap();
        let mut all = [0; 100_000];
        to.read_exact_at(&mut all, 0).unwrap();
        assert_eq!(
            (&all[..11], all[99_989], all[99_990]),
            (&[7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0][..], 0, 7)
        );
    }

    #[test]
    fn an_empty_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        std::fs::write(&from, "new").unwrap();
        assert!(replace_empty(&from, &to).is_err() && from.exists());
        std::fs::write(&to, "").unwrap();
        replace_empty(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
        assert!(!from.exists());
    }

    #[test]
    fn a_taken_name_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        std::fs::write(&from, "new").unwrap();
        std::fs::write(&to, "old").unwrap();
        let error = rename_new(&from, &to).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&to).unwrap(), b"old");
        std::fs::remove_file(&to).unwrap();
        rename_new(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
    }
}
