//! What is mounted where, by the kernel's own list: no directory that is found there is asked, so
//! none can hang.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What is mounted at a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// The device, or whatever the file system calls where it comes from.
    pub(crate) source: String,
    /// `ext4`, `xfs`, …
    kind: String,
}

impl Mounted {
    /// Whether this is for certain not the file system of `device` (a block device, or a file that
    /// a loop device shows).
    pub(crate) fn is_other_than(&self, device: &str) -> bool {
        // One of several devices stands for all of them.
        if self.source == device || self.kind == "btrfs" {
            return false;
        }
        let (Some(wanted), Some(found)) = (block_device(device), block_device(&self.source)) else {
            return match (Path::new(device).is_file(), self.loop_file()) {
                (true, Some(file)) => {
                    std::fs::canonicalize(device).is_ok_and(|path| path != Path::new(&file))
                }
                _ => false,
            };
        };
        wanted != found
    }

    /// Whether it is a file system of a program, by FUSE.
    pub(crate) fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind.starts_with("fuse.")
    }

    /// The file behind a loop device.
    fn loop_file(&self) -> Option<String> {
        let name = Path::new(&self.source).file_name()?.to_str()?;
        let text = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        Some(text.trim_end().to_owned())
    }
}

/// The number of a block device.
fn block_device(path: &str) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    let is_block = metadata.file_type().is_block_device();
    is_block.then(|| metadata.rdev())
}

/// What was mounted last at a directory.
pub(crate) fn at(path: &Path) -> Option<Mounted> {
    let list = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let find = |path: &Path| find(&list, &path.to_string_lossy());
    // The list knows places by their own names, not by those of links to them.
    find(path).or_else(|| find(&std::fs::canonicalize(path).ok()?))
}

fn find(list: &str, wanted: &str) -> Option<Mounted> {
    list.lines().rev().find_map(|line| {
        let mut words = line.split(' ');
        let (source, place) = (words.next()?, words.next()?);
        let kind = words.next()?.to_owned();
        let source = unescape(source);
        (unescape(place) == wanted).then_some(Mounted { source, kind })
    })
}

/// The list of mounts writes blanks and the like as three octal digits.
fn unescape(place: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = place.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\')
            .then(|| std::str::from_utf8(after.get(..3)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_mounts_is_read() {
        assert_eq!(unescape("/a\\040b"), "/a b");
        assert_eq!(unescape("/a\\9"), "/a\\9");
        let list = "/dev/sda1 /a\\040b ext4 rw 0 0\n/dev/sdb1 /a\\040b xfs rw 0 0\n";
        let found = find(list, "/a b").expect("it is there");
        assert_eq!(
            (found.source.as_str(), found.kind.as_str()),
            ("/dev/sdb1", "xfs")
        );
        assert_eq!(find(list, "/a"), None);
        assert!(at(Path::new("/proc")).is_some());
        assert_eq!(at(Path::new("/proc/self")), None);
        assert!(at(Path::new("/proc/")).is_some());
        let directory = tempfile::tempdir().expect("a directory");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).expect("a link");
        assert!(at(&link).is_some());
    }

    #[test]
    fn what_is_no_device_is_not_called_another_one() {
        let mounted = Mounted {
            source: "tmpfs".to_owned(),
            kind: "tmpfs".to_owned(),
        };
        assert!(!mounted.is_other_than("/dev/null"));
        assert!(!mounted.is_other_than("tmpfs"));
    }
}
