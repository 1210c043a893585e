//! Users and groups, by name, as the host's name service knows them.

use std::ffi::{CStr, CString};

use crate::error::{SysError, SysResult};

/// Longest buffer the name service is given, in bytes.
const LOOKUP_MAX_BYTES: usize = 1 << 20;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// The effective user of this process.
pub fn current_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The effective group of this process.
pub fn current_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// The user of this name.
pub fn find_user(name: &str) -> SysResult<Option<User>> {
    let c_name = c_name("look up user", name)?;
    look_up(
        "look up user",
        name,
        |entry: &mut libc::passwd, buffer, result| {
            // SAFETY: all pointers are valid; the buffer is as long as it says.
            unsafe {
                libc::getpwnam_r(
                    c_name.as_ptr(),
                    entry,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                    result,
                )
            }
        },
        user,
    )
}

/// The user with this id.
pub fn user_of(uid: u32) -> SysResult<Option<User>> {
    let subject = uid.to_string();
    look_up(
        "look up user",
        &subject,
        |entry: &mut libc::passwd, buffer, result| {
            // SAFETY: all pointers are valid; the buffer is as long as it says.
            unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), result) }
        },
        user,
    )
}

/// The id of the group of this name.
pub fn find_group(name: &str) -> SysResult<Option<u32>> {
    let c_name = c_name("look up group", name)?;
    look_up(
        "look up group",
        name,
        |entry: &mut libc::group, buffer, result| {
            // SAFETY: all pointers are valid; the buffer is as long as it says.
            unsafe {
                libc::getgrnam_r(
                    c_name.as_ptr(),
                    entry,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                    result,
                )
            }
        },
        |entry| entry.gr_gid,
    )
}

/// The name of a group.
pub fn group_name(gid: u32) -> SysResult<Option<String>> {
    let subject = gid.to_string();
    look_up(
        "look up group",
        &subject,
        |entry: &mut libc::group, buffer, result| {
            // SAFETY: all pointers are valid; the buffer is as long as it says.
            unsafe { libc::getgrgid_r(gid, entry, buffer.as_mut_ptr(), buffer.len(), result) }
        },
        |entry| text(entry.gr_name),
    )
}

/// All groups a user is in, the primary one first.
pub fn groups_of(user: &User) -> SysResult<Vec<u32>> {
    let name = c_name("list the groups of user", &user.name)?;
    let mut count: libc::c_int = 32;
    loop {
        let mut groups: Vec<libc::gid_t> = vec![0; count as usize];
        let capacity = count;
        // SAFETY: the list has room for `count` groups.
        let done = unsafe {
            libc::getgrouplist(name.as_ptr(), user.gid, groups.as_mut_ptr(), &raw mut count)
        };
        if done >= 0 {
            groups.truncate(count.max(0) as usize);
            return Ok(groups);
        }
        // It says how many there are; should it not, ask for more.
        count = count.max(capacity.saturating_mul(2));
        if count as usize * 4 > LOOKUP_MAX_BYTES {
            return Err(SysError::from_errno(
                "list the groups of user",
                &*user.name,
                libc::E2BIG,
            ));
        }
    }
}

fn user(entry: &libc::passwd) -> User {
    User {
        name: text(entry.pw_name),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: text(entry.pw_dir),
    }
}

/// Calls one of the `get…_r` functions with a buffer that grows as it asks,
/// and takes what is wanted from the entry while the buffer is there.
fn look_up<E, T>(
    operation: &'static str,
    subject: &str,
    call: impl Fn(&mut E, &mut [libc::c_char], *mut *mut E) -> libc::c_int,
    take: impl Fn(&E) -> T,
) -> SysResult<Option<T>> {
    let mut size = 1024;
    loop {
        // SAFETY: these entries are structures of numbers and pointers, for
        // which all zero is valid.
        let mut entry: E = unsafe { std::mem::zeroed() };
        let mut buffer = vec![0; size];
        let mut result: *mut E = std::ptr::null_mut();
        match call(&mut entry, &mut buffer, &raw mut result) {
            0 if result.is_null() => return Ok(None),
            0 => return Ok(Some(take(&entry))),
            libc::ERANGE if size < LOOKUP_MAX_BYTES => size *= 4,
            // What the manual lists for "no such entry".
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            errno => return Err(SysError::from_errno(operation, subject, errno)),
        }
    }
}

fn text(pointer: *const libc::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: only called on strings of an entry just filled in, whose buffer
    // is still there.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

fn c_name(operation: &'static str, name: &str) -> SysResult<CString> {
    CString::new(name).map_err(|_| SysError::from_errno(operation, name, libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_root_and_says_when_there_is_nobody() {
        let root = find_user("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(user_of(0).unwrap(), Some(root.clone()));
        assert_eq!(groups_of(&root).unwrap()[0], 0);
        assert_eq!(find_group("root").unwrap(), Some(0));
        assert_eq!(group_name(0).unwrap(), Some("root".to_owned()));
        assert_eq!(find_user("no-such-user").unwrap(), None);
        assert_eq!(find_group("no-such-group").unwrap(), None);
        assert!(find_user("a\0b").is_err());
    }
}
