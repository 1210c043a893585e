//! Tap devices: the host's end of a machine's network card.
//!
//! A tap lives as long as one of its descriptors is open: with the QEMU that
//! got them it goes, whatever happens to the daemon.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

use crate::error::{SysError, SysResult};
use crate::net::{self, raw_name};

/// Most queues of a tap.
pub const TAP_QUEUES_MAX: u32 = 256;

/// Names tried before giving up on finding a free one.
const NAMES_TRIED_MAX: u32 = 65_536;

/// What a tap is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapPlan {
    /// Its name; with `%d` in it, the first free number is put there.
    pub name: String,
    /// Queues, each a descriptor.
    pub queues: u32,
    /// Whether packets carry a virtio header, as QEMU wants it for virtio.
    pub vnet_header: bool,
    /// The guest's hardware address: the host's end gets the same with `fe`
    /// in front, so that a bridge never takes it for its own.
    pub guest_mac: Option<[u8; 6]>,
    /// Largest packet in bytes; none for the kernel's default.
    pub mtu: Option<u32>,
    /// The bridge it is attached to.
    pub bridge: Option<String>,
    /// Whether it is switched on.
    pub up: bool,
}

/// A tap, with the descriptors that keep it.
#[derive(Debug)]
pub struct Tap {
    /// The name it got.
    pub name: String,
    /// One per queue, closed on exec, nonblocking.
    pub queues: Vec<OwnedFd>,
}

/// Makes a tap. On an error nothing is left of it.
pub fn create(plan: &TapPlan) -> SysResult<Tap> {
    if plan.queues == 0 || plan.queues > TAP_QUEUES_MAX {
        let subject = format!("a tap with {} queues", plan.queues);
        return Err(SysError::from_errno("make", subject, libc::EINVAL));
    }
    let tap = open_queues(plan)?;
    if let Some(mac) = plan.guest_mac {
        net::set_mac(&tap.name, [0xfe, mac[1], mac[2], mac[3], mac[4], mac[5]])?;
    }
    let bridge_mtu = plan.bridge.as_deref().map(net::mtu).transpose()?;
    if let Some(mtu) = plan.mtu.or(bridge_mtu) {
        net::set_mtu(&tap.name, mtu)?;
    }
    if let Some(bridge) = &plan.bridge {
        net::attach(bridge, &tap.name)?;
    }
    net::set_up(&tap.name, plan.up)?;
    Ok(tap)
}

fn open_queues(plan: &TapPlan) -> SysResult<Tap> {
    let (name, first) = open_first(plan)?;
    let mut queues = vec![first];
    for _ in 1..plan.queues {
        let queue = attach_queue(&name, plan, false).map_err(|e| failed(&name, e))?;
        queues.push(queue);
    }
    Ok(Tap { name, queues })
}

/// Makes the device with its first queue. The kernel is told to refuse a name
/// that is taken, rather than to give us another program's tap.
fn open_first(plan: &TapPlan) -> SysResult<(String, OwnedFd)> {
    let Some((before, after)) = plan.name.split_once("%d") else {
        raw_name("make tap", &plan.name)?;
        let queue = attach_queue(&plan.name, plan, true).map_err(|e| failed(&plan.name, e))?;
        return Ok((plan.name.clone(), queue));
    };
    for number in 0..NAMES_TRIED_MAX {
        let name = format!("{before}{number}{after}");
        raw_name("make tap", &name)?;
        if net::index(&name)?.is_some() {
            continue;
        }
        match attach_queue(&name, plan, true) {
            Ok(queue) => return Ok((name, queue)),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
            Err(e) => return Err(failed(&name, e)),
        }
    }
    Err(SysError::from_errno(
        "find a free name like",
        &*plan.name,
        libc::EEXIST,
    ))
}

fn attach_queue(name: &str, plan: &TapPlan, exclusive: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let queue = open("/dev/net/tun", flags, Mode::empty())?;
    let extra = if exclusive { libc::IFF_TUN_EXCL } else { 0 };
    let shape = tap_flags(plan.vnet_header, plan.queues > 1);
    set_interface(&queue, name, shape | extra)?;
    Ok(queue)
}

fn tap_flags(vnet_header: bool, several_queues: bool) -> libc::c_int {
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
    if vnet_header {
        flags |= libc::IFF_VNET_HDR;
    }
    if several_queues {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    flags
}

/// Says what the packets of a queue that is open already look like.
pub(crate) fn set_tap_flags(
    queue: &OwnedFd,
    name: &str,
    vnet_header: bool,
    several_queues: bool,
) -> io::Result<()> {
    set_interface(queue, name, tap_flags(vnet_header, several_queues))
}

fn set_interface(queue: &OwnedFd, name: &str, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: for this structure of numbers, bytes and a pointer in a union,
    // all zero is valid.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_name = raw_name("make tap", name).map_err(io::Error::from)?;
    // One flag lies beyond what a positive c_short holds.
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: this request takes an ifreq, which is valid and writable.
    let done = unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Opens the queues of a tap that somebody else has made and keeps; nothing of it is changed.
pub fn open_existing(name: &str, queues: u32, vnet_header: bool) -> SysResult<Vec<OwnedFd>> {
    if net::index(name)?.is_none() {
        return Err(SysError::from_errno("open tap", name, libc::ENODEV));
    }
    let plan = TapPlan {
        name: name.to_owned(),
        queues,
        vnet_header,
        guest_mac: None,
        mtu: None,
        bridge: None,
        up: false,
    };
    (0..queues)
        .map(|_| attach_queue(name, &plan, false).map_err(|e| SysError::new("open tap", name, e)))
        .collect()
}

fn failed(name: &str, cause: io::Error) -> SysError {
    SysError::new("make tap", name, cause)
}
