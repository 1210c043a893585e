//! Landlock: file access of a process confined to what it is given.
//!
//! A [`Ruleset`] is built before the process is forked, and put into force by
//! the process itself. Rights that the running kernel does not know are left
//! out; [`abi`] says how much it knows.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{SysError, SysResult};

/// What a process may do with a path and what lies below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Look at what directories hold by name, and read no file.
    List,
    /// Read files and directories.
    Read,
    /// Read, and run programs.
    Execute,
    /// Read, write, create and remove.
    Write,
}

/// A path and what a process may do with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathRule {
    /// A file, or a directory with all below it.
    pub path: PathBuf,
    /// What is allowed.
    pub access: Access,
}

// Values from linux/landlock.h.
const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Everything from removing a directory (bit 4) to making a symlink (bit 12).
const CHANGE_DIR: u64 = 0x1ff0;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// Rights that a rule for a file, not a directory, may name.
const FILE_RIGHTS: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// The version of the interface the running kernel has; none when it has none
/// or it was switched off at boot.
pub fn abi() -> Option<u32> {
    // SAFETY: with a null attribute of size 0 and this flag the call only
    // returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// The file rights an interface version knows.
fn known_rights(abi: u32) -> u64 {
    let first = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR;
    match abi {
        0 => 0,
        1 => first,
        2 => first | REFER,
        3 | 4 => first | REFER | TRUNCATE,
        _ => first | REFER | TRUNCATE | IOCTL_DEV,
    }
}

fn rights(access: Access) -> u64 {
    match access {
        Access::List => READ_DIR,
        Access::Read => READ_FILE | READ_DIR,
        Access::Execute => READ_FILE | READ_DIR | EXECUTE,
        Access::Write => {
            READ_FILE | READ_DIR | WRITE_FILE | CHANGE_DIR | REFER | TRUNCATE | IOCTL_DEV
        }
    }
}

/// A set of rules, ready to be put into force.
#[derive(Debug)]
pub struct Ruleset {
    fd: OwnedFd,
}

impl Ruleset {
    /// Builds the set; nothing when this kernel has no landlock. Paths that
    /// do not exist are left out: nothing is there to be accessed.
    pub fn build(rules: &[PathRule]) -> SysResult<Option<Ruleset>> {
        let Some(abi) = abi() else { return Ok(None) };
        let known = known_rights(abi);
        let attr = RulesetAttr {
            handled_access_fs: known,
        };
        // SAFETY: the attribute is valid for the size given, and only read.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attr,
                size_of::<RulesetAttr>(),
                0u32,
            )
        };
        if fd < 0 {
            let cause = std::io::Error::last_os_error();
            return Err(SysError::new("create", "a landlock ruleset", cause));
        }
        // SAFETY: the call just returned this descriptor to us alone; the
        // kernel sets close-on-exec on it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        for rule in rules {
            add(fd.as_fd(), rule, known)?;
        }
        Ok(Some(Ruleset { fd }))
    }
}

impl AsFd for Ruleset {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn add(ruleset: BorrowedFd<'_>, rule: &PathRule, known: u64) -> SysResult<()> {
    let Some(file) = open_path(&rule.path)? else {
        return Ok(());
    };
    let metadata = file
        .metadata()
        .map_err(|e| SysError::on_path("stat", &rule.path, e))?;
    let mut allowed = rights(rule.access) & known;
    if !metadata.is_dir() {
        allowed &= FILE_RIGHTS;
    }
    let attr = PathBeneathAttr {
        allowed_access: allowed,
        parent_fd: file.as_raw_fd(),
    };
    // SAFETY: the attribute is the packed structure this rule type takes, only
    // read, and both descriptors are open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const attr,
            0u32,
        )
    };
    if result != 0 {
        let cause = std::io::Error::last_os_error();
        return Err(SysError::on_path(
            "add a landlock rule for",
            &rule.path,
            cause,
        ));
    }
    Ok(())
}

fn open_path(path: &Path) -> SysResult<Option<File>> {
    match File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(path)
    {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(SysError::on_path("open", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_kernels_are_asked_for_less() {
        assert_eq!(known_rights(0), 0);
        assert_eq!(known_rights(1) & (REFER | TRUNCATE), 0);
        assert_eq!(known_rights(3) & IOCTL_DEV, 0);
        assert_eq!(known_rights(9), known_rights(5));
        assert_eq!(rights(Access::Read) & WRITE_FILE, 0);
    }

    #[test]
    fn a_missing_path_is_left_out() {
        let rule = PathRule {
            path: "/no/such/path".into(),
            access: Access::Write,
        };
        let built = Ruleset::build(&[rule]).unwrap();
        assert_eq!(built.is_some(), abi().is_some());
    }
}
