//! Talking with the service manager: readiness, and sockets it hands over.

use std::ffi::{OsStr, OsString};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{SysError, SysResult};

/// Number of the first descriptor handed over.
const FIRST_FD: RawFd = 3;

/// Most descriptors taken over.
const FDS_MAX: usize = 64;

/// Tells the service manager something (`READY=1`, `STATUS=…`). False when
/// none waits to hear it.
pub fn notify(message: &str) -> SysResult<bool> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(address) if !address.is_empty() => notify_at(&address, message).map(|()| true),
        _ => Ok(false),
    }
}

fn notify_at(address: &OsStr, message: &str) -> SysResult<()> {
    let fail = |e| SysError::new("notify", address.to_string_lossy(), e);
    let target = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(address),
    };
    let socket = UnixDatagram::unbound().map_err(fail)?;
    target
        .and_then(|target| socket.send_to_addr(message.as_bytes(), &target))
        .map_err(fail)?;
    Ok(())
}

/// A descriptor handed over, and what the service manager calls it.
#[derive(Debug)]
pub struct PassedFd {
    /// The name from `FileDescriptorName=`; empty without one.
    pub name: String,
    /// The descriptor, closed on exec from now on.
    pub fd: OwnedFd,
}

/// Which descriptors the environment says were handed to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Passed {
    names: Vec<String>,
}

/// Takes the descriptors the service manager handed to this process; nothing
/// the second time. To be called first thing in `main`, before anything else
/// could have opened descriptors with these numbers.
pub fn take_listen_fds() -> Vec<PassedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    let (pid, count, names) = (
        variable("LISTEN_PID"),
        variable("LISTEN_FDS"),
        variable("LISTEN_FDNAMES"),
    );
    let passed = parse(std::process::id(), &pid, &count, &names);
    let take = |(fd, name): (RawFd, String)| {
        // SAFETY: takes no pointers; fails on numbers that are not open.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return None;
        }
        // SAFETY: it is open, the service manager left it to this process, as
        // it says in the environment under our process id, and it is taken
        // once.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Some(PassedFd { name, fd })
    };
    (FIRST_FD..).zip(passed.names).filter_map(take).collect()
}

fn parse(own_pid: u32, pid: &OsString, count: &OsString, names: &OsString) -> Passed {
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse::<usize>().ok());
    if number(pid) != Some(own_pid as usize) {
        return Passed { names: Vec::new() };
    }
    let count = number(count).unwrap_or(0).min(FDS_MAX);
    let names = names.to_string_lossy().into_owned();
    let mut names: Vec<String> = names.split(':').map(str::to_owned).collect();
    names.resize(count, String::new());
    Passed { names }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_to_a_socket_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        notify_at(path.as_os_str(), "READY=1").unwrap();
        let mut buffer = [0; 64];
        let count = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"READY=1");

        let name = format!("stead-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        notify_at(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(listener.recv(&mut buffer).unwrap(), 10);
        drop(listener);
        assert!(notify_at(OsStr::new("/no/such/socket"), "x").is_err());
    }

    #[test]
    fn descriptors_for_another_process_are_not_ours() {
        let text = |text: &str| OsString::from(text);
        let names = |pid, count, names| parse(7, &text(pid), &text(count), &text(names)).names;
        assert_eq!(names("7", "2", "rw:ro"), ["rw", "ro"]);
        assert_eq!(names("7", "2", ""), ["", ""]);
        assert_eq!(names("7", "1", "a:b"), ["a"]);
        assert!(names("8", "2", "rw:ro").is_empty());
        assert!(names("", "2", "").is_empty());
        assert_eq!(names("7", "999999999999", "").len(), FDS_MAX);
    }
}
