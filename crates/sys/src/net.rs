//! Network interfaces of the host: what is there, and what changes for a
//! machine's network card.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::{SysError, SysResult};

/// Longest name of an interface, in bytes.
pub const INTERFACE_NAME_MAX_BYTES: usize = libc::IFNAMSIZ - 1;

/// The system's number for a name that is taken already.
pub const NAME_TAKEN: i32 = libc::EEXIST;

/// Counters of an interface, from the host's side: what a guest sends is
/// what its tap receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Errors while receiving.
    pub rx_errors: u64,
    /// Received packets dropped.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Errors while sending.
    pub tx_errors: u64,
    /// Packets dropped instead of being sent.
    pub tx_dropped: u64,
}

/// The interface's number; none when there is no such interface.
pub fn index(name: &str) -> SysResult<Option<u32>> {
    let mut request = Request::new("look up", name)?;
    match request.call(libc::SIOCGIFINDEX as libc::Ioctl) {
        Ok(()) => Ok(u32::try_from(request.index()).ok()),
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(e) => Err(failed("look up", name, e)),
    }
}

/// Whether an interface is a bridge of the kernel; false when it is not there.
pub fn is_bridge(name: &str) -> SysResult<bool> {
    match driver(name) {
        Ok(driver) => Ok(driver == "bridge"),
        // No such interface, or one without a driver to name.
        Err(e) if matches!(e.errno(), Some(libc::ENODEV | libc::EOPNOTSUPP)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The name of an interface's driver.
pub fn driver(name: &str) -> SysResult<String> {
    let mut request = Request::new("ask the driver of", name)?;
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    request.data.ifr_ifru.ifru_data = (&raw mut info).cast();
    request
        .call(SIOCETHTOOL)
        .map_err(|e| failed("ask the driver of", name, e))?;
    // Forced to end, should the kernel have filled it.
    info.driver[31] = 0;
    let bytes = info.driver.map(|byte| byte as u8);
    let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
    Ok(text.to_string_lossy().into_owned())
}

/// Whether an interface is up; an error when it is not there.
pub fn is_up(name: &str) -> SysResult<bool> {
    let mut request = Request::new("look at", name)?;
    request
        .call(libc::SIOCGIFFLAGS as libc::Ioctl)
        .map_err(|e| failed("look at", name, e))?;
    Ok(request.flags() & libc::IFF_UP as libc::c_short != 0)
}

/// Switches an interface on or off.
pub fn set_up(name: &str, up: bool) -> SysResult<()> {
    let mut request = Request::new("switch", name)?;
    request
        .call(libc::SIOCGIFFLAGS as libc::Ioctl)
        .map_err(|e| failed("switch", name, e))?;
    let flag = libc::IFF_UP as libc::c_short;
    let flags = if up {
        request.flags() | flag
    } else {
        request.flags() & !flag
    };
    request.data.ifr_ifru.ifru_flags = flags;
    request
        .call(libc::SIOCSIFFLAGS as libc::Ioctl)
        .map_err(|e| failed("switch", name, e))
}

/// The hardware address of an interface.
pub fn mac(name: &str) -> SysResult<[u8; 6]> {
    let mut request = Request::new("read the address of", name)?;
    let done = request.call(libc::SIOCGIFHWADDR as libc::Ioctl);
    done.map_err(|e| failed("read the address of", name, e))?;
    // SAFETY: the kernel has just filled in this member; any bytes are valid.
    let data = unsafe { request.data.ifr_ifru.ifru_hwaddr.sa_data };
    let mut mac = [0; 6];
    for (byte, raw) in mac.iter_mut().zip(data) {
        *byte = raw as u8;
    }
    Ok(mac)
}

/// Sets the hardware address of an interface.
pub fn set_mac(name: &str, mac: [u8; 6]) -> SysResult<()> {
    let mut request = Request::new("set the address of", name)?;
    let mut address = libc::sockaddr {
        sa_family: libc::ARPHRD_ETHER,
        sa_data: [0; 14],
    };
    for (raw, byte) in address.sa_data.iter_mut().zip(mac) {
        *raw = byte as libc::c_char;
    }
    request.data.ifr_ifru.ifru_hwaddr = address;
    let done = request.call(libc::SIOCSIFHWADDR as libc::Ioctl);
    done.map_err(|e| failed("set the address of", name, e))
}

/// The largest packet of an interface in bytes.
pub fn mtu(name: &str) -> SysResult<u32> {
    let mut request = Request::new("read the MTU of", name)?;
    let done = request.call(libc::SIOCGIFMTU as libc::Ioctl);
    done.map_err(|e| failed("read the MTU of", name, e))?;
    // SAFETY: the kernel has just filled in this member; any number is valid.
    let mtu = unsafe { request.data.ifr_ifru.ifru_mtu };
    Ok(u32::try_from(mtu).unwrap_or(0))
}

/// Sets the largest packet of an interface in bytes.
pub fn set_mtu(name: &str, mtu: u32) -> SysResult<()> {
    let mut request = Request::new("set the MTU of", name)?;
    request.data.ifr_ifru.ifru_mtu = i32::try_from(mtu).unwrap_or(i32::MAX);
    let done = request.call(libc::SIOCSIFMTU as libc::Ioctl);
    done.map_err(|e| failed("set the MTU of", name, e))
}

/// Makes a bridge.
pub fn create_bridge(name: &str) -> SysResult<()> {
    let mut request = Request::new("make bridge", name)?;
    let done = request.call_with_name(SIOCBRADDBR);
    done.map_err(|e| failed("make bridge", name, e))
}

/// Removes a bridge, which must be down.
pub fn delete_bridge(name: &str) -> SysResult<()> {
    let mut request = Request::new("remove bridge", name)?;
    let done = request.call_with_name(SIOCBRDELBR);
    done.map_err(|e| failed("remove bridge", name, e))
}

/// Attaches an interface to a bridge.
pub fn attach(bridge: &str, interface: &str) -> SysResult<()> {
    change_port(bridge, interface, "attach to bridge", SIOCBRADDIF)
}

/// Detaches an interface from a bridge.
pub fn detach(bridge: &str, interface: &str) -> SysResult<()> {
    change_port(bridge, interface, "detach from bridge", SIOCBRDELIF)
}

/// The counters of an interface; none when it is not there.
pub fn stats(name: &str) -> SysResult<Option<InterfaceStats>> {
    let path = "/proc/thread-self/net/dev";
    let text = std::fs::read_to_string(path).map_err(|e| SysError::new("read", path, e))?;
    Ok(parse_stats(&text, name))
}

fn change_port(
    bridge: &str,
    interface: &str,
    operation: &'static str,
    number: libc::Ioctl,
) -> SysResult<()> {
    let subject = || format!("{bridge}: {interface}");
    let index = index(interface)?
        .ok_or_else(|| SysError::from_errno(operation, subject(), libc::ENODEV))?;
    let mut request = Request::new(operation, bridge)?;
    request.data.ifr_ifru.ifru_ifindex = index as libc::c_int;
    request
        .call(number)
        .map_err(|e| SysError::new(operation, subject(), e))
}

fn parse_stats(text: &str, name: &str) -> Option<InterfaceStats> {
    let line = text.lines().find_map(|line| {
        let (own, numbers) = line.split_once(':')?;
        (own.trim() == name).then_some(numbers)
    })?;
    let numbers: Vec<u64> = line
        .split_ascii_whitespace()
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    Some(InterfaceStats {
        rx_bytes: number(0),
        rx_packets: number(1),
        rx_errors: number(2),
        rx_dropped: number(3),
        tx_bytes: number(8),
        tx_packets: number(9),
        tx_errors: number(10),
        tx_dropped: number(11),
    })
}

// From linux/sockios.h and linux/ethtool.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const SIOCBRADDBR: libc::Ioctl = 0x89a0;
const SIOCBRDELBR: libc::Ioctl = 0x89a1;
const SIOCBRADDIF: libc::Ioctl = 0x89a2;
const SIOCBRDELIF: libc::Ioctl = 0x89a3;
const ETHTOOL_GDRVINFO: u32 = 3;

/// `struct ethtool_drvinfo`, of which only the driver's name is read.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [libc::c_char; 32],
    rest: [u8; 160],
}

/// Whether an interface can have this name.
pub fn is_name(name: &str) -> bool {
    let sound = |b: u8| b.is_ascii_graphic() && b != b'/' && b != b':';
    let length = 1..=INTERFACE_NAME_MAX_BYTES;
    length.contains(&name.len()) && name.bytes().all(sound) && !matches!(name, "." | "..")
}

/// An interface's name checked, in the form the kernel takes it.
pub(crate) fn raw_name(
    operation: &'static str,
    name: &str,
) -> SysResult<[libc::c_char; libc::IFNAMSIZ]> {
    if !is_name(name) {
        return Err(SysError::from_errno(
            operation,
            format!("interface {name:?}"),
            libc::EINVAL,
        ));
    }
    let mut raw = [0; libc::IFNAMSIZ];
    for (to, from) in raw.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(raw)
}

/// A request about one interface, and the socket it goes through.
struct Request {
    socket: OwnedFd,
    data: libc::ifreq,
}

impl Request {
    fn new(operation: &'static str, name: &str) -> SysResult<Request> {
        let raw = raw_name(operation, name)?;
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|e| failed(operation, name, e.into()))?;
        // SAFETY: for this structure of numbers, bytes and a pointer in a
        // union, all zero is valid.
        let mut data: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
        data.ifr_name = raw;
        Ok(Request { socket, data })
    }

    fn call(&mut self, number: libc::Ioctl) -> io::Result<()> {
        // SAFETY: the request is one that takes an ifreq, which is valid and
        // writable; a pointer within it, where the request takes one, was set
        // by the caller to a structure that outlives the call.
        let done = unsafe { libc::ioctl(self.socket.as_raw_fd(), number, &raw mut self.data) };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// The requests that take just a name.
    fn call_with_name(&mut self, number: libc::Ioctl) -> io::Result<()> {
        let name = self.data.ifr_name.as_ptr();
        // SAFETY: the name is valid, ends in a zero byte, and is only read.
        let done = unsafe { libc::ioctl(self.socket.as_raw_fd(), number, name) };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    fn index(&self) -> libc::c_int {
        // SAFETY: all members are plain data; zeros or what the kernel wrote.
        unsafe { self.data.ifr_ifru.ifru_ifindex }
    }

    fn flags(&self) -> libc::c_short {
        // SAFETY: all members are plain data; zeros or what the kernel wrote.
        unsafe { self.data.ifr_ifru.ifru_flags }
    }
}

fn failed(operation: &'static str, name: &str, cause: io::Error) -> SysError {
    SysError::new(operation, format!("interface {name}"), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_cut_are_refused() {
        for bad in ["", "a b", "a/b", "0123456789abcdef", "é", "a:1"] {
            assert!(raw_name("look up", bad).is_err(), "{bad:?}");
        }
        assert!(raw_name("look up", "0123456789abcde").is_ok());
    }

    #[test]
    fn counters_are_found_by_the_whole_name() {
        let text = "Inter-|   Receive\n face |bytes\n  vnet1: 1 2 3 4 5 6 7 8 9 10 11 12 13\n\
            vnet10:100 0 0 0 0 0 0 0 9\n";
        let stats = parse_stats(text, "vnet1").unwrap();
        assert_eq!(
            (stats.rx_bytes, stats.rx_packets, stats.rx_dropped),
            (1, 2, 4)
        );
        assert_eq!(
            (stats.tx_bytes, stats.tx_packets, stats.tx_dropped),
            (9, 10, 12)
        );
        assert_eq!(parse_stats(text, "vnet10").unwrap().rx_bytes, 100);
        assert_eq!(parse_stats(text, "vnet"), None);
    }

    #[test]
    fn the_loopback_interface_is_there_and_no_bridge() {
        assert_eq!(index("lo").unwrap(), Some(1));
        assert!(!is_bridge("lo").unwrap());
        assert_eq!(mac("lo").unwrap(), [0; 6]);
        assert!(stats("lo").unwrap().is_some());
        assert_eq!(index("no-such-if").unwrap(), None);
        assert!(!is_bridge("no-such-if").unwrap());
        assert!(
            is_up("no-such-if")
                .unwrap_err()
                .to_string()
                .contains("no-such-if")
        );
    }
}
