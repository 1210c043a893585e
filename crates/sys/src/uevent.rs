//! News of the kernel's devices: what came, went or changed.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::error::{SysError, SysResult};

/// The protocol of the kernel's own messages about its objects.
const NETLINK_KOBJECT_UEVENT: Option<NonZeroU32> = NonZeroU32::new(15);
/// The group that the kernel itself sends to.
const GROUP_KERNEL: u32 = 1;
/// Largest piece of news.
const UEVENT_MAX_BYTES: usize = 16 * 1024;

/// What happened to devices since it was looked last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceNews {
    /// Some came or went.
    pub appeared_or_gone: bool,
    /// Paths in sysfs, from `/devices` on, of those that changed.
    pub changed: Vec<String>,
}

/// A descriptor that is readable when there is news.
pub fn uevents() -> SysResult<OwnedFd> {
    let failed = |e: io::Error| SysError::new("follow", "the kernel's devices", e);
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        NETLINK_KOBJECT_UEVENT.map(rustix::net::Protocol::from_raw),
    )
    .map_err(|e| failed(e.into()))?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUP_KERNEL)).map_err(|e| failed(e.into()))?;
    Ok(socket)
}

/// Reads all news there is. News that were lost may have been about anything that came or went.
pub fn read(socket: impl AsFd) -> io::Result<DeviceNews> {
    let mut buffer = vec![0; UEVENT_MAX_BYTES];
    let mut news = DeviceNews::default();
    loop {
        match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((length, _)) => news.take(&buffer[..length]),
            Err(rustix::io::Errno::AGAIN) => return Ok(news),
            Err(rustix::io::Errno::NOBUFS) => news.appeared_or_gone = true,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

impl DeviceNews {
    /// A message begins with what happened and the path, `add@/devices/…`, up to a zero.
    fn take(&mut self, message: &[u8]) {
        let head = message.split(|byte| *byte == 0).next().unwrap_or_default();
        let head = String::from_utf8_lossy(head);
        match head.split_once('@') {
            Some(("add" | "remove" | "move", _)) => self.appeared_or_gone = true,
            Some(("change", path)) => self.changed.push(path.to_owned()),
            // Drivers that are bound and let go change what a device is shown with.
            Some(("bind" | "unbind", path)) => self.changed.push(path.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_told_apart() {
        let mut news = DeviceNews::default();
        news.take(b"change@/devices/virtual/block/loop0\0ACTION=change\0");
        assert!(!news.appeared_or_gone);
        assert_eq!(news.changed, ["/devices/virtual/block/loop0"]);
        news.take(b"add@/devices/virtual/net/v0\0ACTION=add\0");
        assert!(news.appeared_or_gone);
    }

    #[test]
    fn there_may_be_no_news() {
        let socket = uevents().expect("anybody may listen");
        let _ = read(&socket).expect("readable");
    }

    proptest! {
        #[test]
        fn any_message_is_taken_or_passed_over(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            DeviceNews::default().take(&message);
        }
    }
}
