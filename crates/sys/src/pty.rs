//! Terminals: the one QEMU makes for a guest's serial port, and our own.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::error::{SysError, SysResult};

/// Opens a terminal by its path, raw, nonblocking, closed on exec, without
/// becoming its session's leader.
pub fn open_raw(path: &Path) -> SysResult<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let terminal = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| SysError::on_path("open", path, e))?;
    make_raw(&terminal).map_err(|e| SysError::on_path("make raw", path, e))?;
    Ok(terminal)
}

/// Makes a terminal: its controlling side, nonblocking, and the path of the
/// other, raw.
pub fn create() -> SysResult<(OwnedFd, PathBuf)> {
    let fail = |e| SysError::new("make", "a terminal", e);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).map_err(fail)?;
    grantpt(&controller).map_err(fail)?;
    unlockpt(&controller).map_err(fail)?;
    let name = ptsname(&controller, Vec::new()).map_err(fail)?;
    rustix::fs::fcntl_setfl(&controller, OFlags::NONBLOCK).map_err(fail)?;
    make_raw(&controller).map_err(fail)?;
    let path = Path::new(std::ffi::OsStr::new(name.to_str().unwrap_or_default())).to_owned();
    Ok((controller, path))
}

/// Tells what runs in a terminal how large its window is.
pub fn set_size(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) -> SysResult<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).map_err(|e| SysError::new("resize", "a terminal", e))
}

fn make_raw(terminal: &OwnedFd) -> rustix::io::Result<()> {
    let mut attributes = tcgetattr(terminal)?;
    attributes.make_raw();
    tcsetattr(terminal, OptionalActions::Now, &attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_unchanged_both_ways() {
        let (controller, path) = create().unwrap();
        let terminal = open_raw(&path).unwrap();
        set_size(&controller, 50, 132).unwrap();
        let mut buffer = [0u8; 16];
        // A cooked terminal would echo, turn \r into \n, and end at ^D.
        let bytes = b"a\r\x04\x03\xff\n";
        for (from, to) in [(&controller, &terminal), (&terminal, &controller)] {
            rustix::io::write(from, bytes).unwrap();
            let mut got = Vec::new();
            while got.len() < bytes.len() {
                use rustix::event::{PollFd, PollFlags, poll};
                poll(&mut [PollFd::new(to, PollFlags::IN)], None).unwrap();
                let count = rustix::io::read(to, &mut buffer).unwrap();
                got.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(got, bytes);
            assert_eq!(
                rustix::io::read(to, &mut buffer),
                Err(rustix::io::Errno::AGAIN)
            );
        }
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let error = open_raw(Path::new("/dev/null")).unwrap_err();
        assert!(error.to_string().contains("make raw /dev/null"), "{error}");
    }
}
