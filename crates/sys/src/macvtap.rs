//! Macvtaps: taps that share a network device of the host without a bridge.
//!
//! Other than a tap, a macvtap stays when its descriptors are closed: whoever
//! makes one has to remove it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dev, FileType, Mode, OFlags, makedev, mknodat, open, openat, stat, unlink};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::error::{SysError, SysResult};
use crate::link::{
    IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MTU,
    RTM_NEWLINK, failed, index_of, link_body, links,
};
use crate::net::{self, raw_name};
use crate::netlink::{Message, NLM_F_CREATE, NLM_F_EXCL};
use crate::tap::{TAP_QUEUES_MAX, set_tap_flags};

const IFLA_MACVLAN_MODE: u16 = 1;

/// The kind the kernel gives these links.
const KIND: &str = "macvtap";

/// Longest text of a device's numbers in sysfs, in bytes.
const NUMBERS_MAX_BYTES: usize = 64;

/// How a macvtap treats its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacvtapMode {
    /// They do not see each other.
    Private = 1,
    /// They reach each other through a switch outside.
    Vepa = 2,
    /// They reach each other here.
    Bridge = 4,
    /// It has the device for itself.
    Passthrough = 8,
}

/// What a macvtap is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacvtapPlan {
    /// Its name.
    pub name: String,
    /// The device it shares.
    pub lower: String,
    /// How it treats its neighbours.
    pub mode: MacvtapMode,
    /// The guest's hardware address; in mode passthrough the kernel keeps the
    /// device's own.
    pub mac: [u8; 6],
    /// Largest packet in bytes; none for that of the device below.
    pub mtu: Option<u32>,
    /// Queues, each a descriptor.
    pub queues: u32,
    /// Whether packets carry a virtio header.
    pub vnet_header: bool,
    /// Whether it is switched on.
    pub up: bool,
}

/// Makes a macvtap; the descriptors of its queues, closed on exec. On an error
/// nothing is left of it. A kernel without macvtap says `EOPNOTSUPP`.
pub fn create(plan: &MacvtapPlan) -> SysResult<Vec<OwnedFd>> {
    if plan.queues == 0 || plan.queues > TAP_QUEUES_MAX {
        let subject = format!("a macvtap with {} queues", plan.queues);
        return Err(SysError::from_errno("make", subject, libc::EINVAL));
    }
    raw_name("make macvtap", &plan.name)?;
    let below = index_of("put a macvtap on", &plan.lower)?;
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link_body(0, 0, 0))
        .text(IFLA_IFNAME, &plan.name)
        .attr(IFLA_ADDRESS, &plan.mac)
        .number(IFLA_LINK, below);
    if let Some(mtu) = plan.mtu {
        message = message.number(IFLA_MTU, mtu);
    }
    message
        .nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, KIND).nested(IFLA_INFO_DATA, |m| {
                m.number(IFLA_MACVLAN_MODE, plan.mode as u32)
            })
        })
        .run()
        .map_err(failed("make macvtap", &plan.name))?;
    let opened = open_queues(plan);
    if opened.is_err() {
        // What is told is why it could not be used.
        let _ = crate::link::delete(&plan.name);
    }
    opened
}

/// Removes a macvtap, if there is one of this name on this device: a link of
/// another kind, or on another device, is somebody else's.
pub fn remove(name: &str, lower: &str) -> SysResult<()> {
    let Some(below) = net::index(lower)? else {
        return Ok(());
    };
    let ours = links()?.into_iter().any(|link| {
        link.name == name && link.kind.as_deref() == Some(KIND) && link.lower == Some(below)
    });
    match ours {
        true => crate::link::delete(name),
        false => Ok(()),
    }
}

/// Whether an error says that the kernel has no macvtap.
pub fn is_missing(error: &SysError) -> bool {
    error.errno() == Some(libc::EOPNOTSUPP)
}

fn open_queues(plan: &MacvtapPlan) -> SysResult<Vec<OwnedFd>> {
    let index = index_of("find macvtap", &plan.name)?;
    let fail = |e: io::Error| SysError::new("open macvtap", &*plan.name, e);
    net::set_up(&plan.name, plan.up)?;
    let device = device_of(&plan.name, index).map_err(fail)?;
    let open = || {
        let queue = open_device(index, device)?;
        set_tap_flags(&queue, &plan.name, plan.vnet_header, plan.queues > 1)?;
        Ok(queue)
    };
    (0..plan.queues)
        .map(|_| open())
        .collect::<io::Result<_>>()
        .map_err(fail)
}

/// The number of a macvtap's device file, from sysfs.
fn device_of(name: &str, index: u32) -> io::Result<Dev> {
    let own = format!("class/net/{name}/tap{index}/dev");
    let number = |sysfs: &OwnedFd, path: &str| {
        let file = openat(sysfs, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = [0; NUMBERS_MAX_BYTES];
        let length = rustix::io::read(file, &mut text)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&text[..length]).trim().to_owned())
    };
    // What is mounted may show another network namespace.
    let mounted = open("/sys", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let text = match number(&mounted, &own) {
        Ok(text) => text,
        Err(_) => number(&own_sysfs()?, &own)?,
    };
    let (major, minor) = text.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
    let read = |text: &str| text.parse().map_err(|_| io::ErrorKind::InvalidData);
    Ok(makedev(read(major)?, read(minor)?))
}

/// A sysfs of this network namespace, mounted nowhere.
fn own_sysfs() -> io::Result<OwnedFd> {
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(fsmount(
        context.as_fd(),
        flags,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )?)
}

/// Opens the device file; where nobody made one (a container, another
/// namespace), through one of our own that is gone at once.
fn open_device(index: u32, device: Dev) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let known = format!("/dev/tap{index}");
    if stat(&*known).is_ok_and(|found| found.st_rdev == device) {
        return Ok(open(&*known, flags, Mode::empty())?);
    }
    let id = std::process::id();
    let own = OsString::from(format!("/dev/.stead-macvtap-{id}-{index}"));
    let _ = unlink(&own);
    mknodat(
        rustix::fs::CWD,
        &own,
        FileType::CharacterDevice,
        Mode::RUSR | Mode::WUSR,
        device,
    )?;
    let opened = open(&own, flags, Mode::empty());
    unlink(&own)?;
    Ok(opened?)
}
