//! What a network card does for the host, as `ethtool` asks it.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketType, socket};

use crate::error::{SysError, SysResult};
use crate::net::raw_name;

/// `struct ethtool_value`: a question and its answer.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Questions with a yes or a no (`linux/ethtool.h`), and libvirt's words for them.
const SWITCHES: [(u32, &str); 6] = [
    (0x14, "rx"),
    (0x16, "tx"),
    (0x18, "sg"),
    (0x1e, "tso"),
    (0x23, "gso"),
    (0x2b, "gro"),
];

/// `ETHTOOL_GFLAGS`, and the bits of its answer.
const GET_FLAGS: u32 = 0x25;
const FLAGS: [(u32, &str); 5] = [
    (1 << 15, "lro"),
    (1 << 8, "rxvlan"),
    (1 << 7, "txvlan"),
    (1 << 27, "ntuple"),
    (1 << 28, "rxhash"),
];

/// `struct ethtool_coalesce`, of which only the received frames are set.
#[repr(C)]
struct Coalesce {
    command: u32,
    rx_usecs: u32,
    rx_frames: u32,
    rest: [u32; 20],
}

const GET_COALESCE: u32 = 0x0e;
const SET_COALESCE: u32 = 0x0f;

/// Sets how many received frames an interrupt waits for.
pub fn set_rx_frames(interface: &str, frames: u32) -> SysResult<()> {
    let fail = |e: std::io::Error| SysError::new("set coalescing of", interface, e);
    let socket =
        socket(AddressFamily::INET, SocketType::DGRAM, None).map_err(|e| fail(e.into()))?;
    let mut value = Coalesce {
        command: GET_COALESCE,
        rx_usecs: 0,
        rx_frames: 0,
        rest: [0; 20],
    };
    for command in [GET_COALESCE, SET_COALESCE] {
        value.command = command;
        if command == SET_COALESCE {
            value.rx_frames = frames;
        }
        // SAFETY: a request of nothing but zeros is a valid one.
        let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
        request.ifr_name = raw_name("set coalescing of", interface)?;
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the kernel reads the request and reads and writes the
        // structure it points to, which has this request's layout; both live on.
        let done =
            unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
        if done < 0 {
            return Err(fail(std::io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// The features that are on, in libvirt's words and order.
pub fn features(interface: &str) -> SysResult<Vec<&'static str>> {
    let fail =
        |e: std::io::Error| SysError::new("ask", format!("network card {interface}"), e.kind());
    let socket =
        socket(AddressFamily::INET, SocketType::DGRAM, None).map_err(|e| fail(e.into()))?;
    let mut found = Vec::new();
    for (command, word) in &SWITCHES {
        if ask(&socket, interface, *command).is_some_and(|answer| answer != 0) {
            found.push(*word);
        }
    }
    let flags = ask(&socket, interface, GET_FLAGS).unwrap_or(0);
    found.extend(
        FLAGS
            .iter()
            .filter(|(bit, _)| flags & bit != 0)
            .map(|(_, word)| *word),
    );
    Ok(found)
}

/// None where the card does not know the question.
fn ask(socket: &impl AsRawFd, interface: &str, command: u32) -> Option<u32> {
    let mut value = Value { command, data: 0 };
    // SAFETY: a request of nothing but zeros is a valid one.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_name = raw_name("ask", interface).ok()?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the kernel reads the request and reads and writes the value it
    // points to, which has the layout these questions have; both live on.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    (done == 0).then_some(value.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_scatters_and_gathers() {
        let found = features("lo").expect("it is there");
        assert!(found.contains(&"sg"), "{found:?}");
        assert_eq!(features("nosuchcard0").expect("asked"), Vec::<&str>::new());
    }
}
