//! News of the kernel's packet filter: who has removed what.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::error::{SysError, SysResult};
use crate::netlink::{attributes, sender_of, split_message, text_of};

/// The protocol of the packet filter.
const NETLINK_NETFILTER: Option<NonZeroU32> = NonZeroU32::new(12);
/// Its group of news about tables, chains, rules and sets.
const GROUP_NFTABLES: u32 = 1 << 6;
const SUBSYSTEM_NFTABLES: u16 = 10;
/// Messages about a chain that came or changed, and about one that went.
const CHAIN: [u16; 2] = [3, 5];
/// Messages about a table, a chain, a rule, a set or an element of one that was removed.
const REMOVED: [u16; 5] = [2, 5, 8, 11, 14];
/// Bytes of `struct nfgenmsg`.
const FIXED_BYTES: usize = 4;
/// In all these messages the attribute that names the table.
const TABLE: u16 = 1;
/// Largest piece of news read at once.
const NEWS_MAX_BYTES: usize = 64 * 1024;

/// A descriptor that is readable when tables, chains, rules or sets have changed.
pub fn changes() -> SysResult<OwnedFd> {
    let failed = |e: io::Error| SysError::new("follow", "the packet filter", e);
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        NETLINK_NETFILTER.map(rustix::net::Protocol::from_raw),
    )
    .map_err(|e| failed(e.into()))?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUP_NFTABLES)).map_err(|e| failed(e.into()))?;
    Ok(socket)
}

/// What the news were about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct News {
    /// Something of the own table was removed.
    pub lost: bool,
    /// Chains of others came, changed or went.
    pub others: bool,
}

/// Reads all news there is, those about `table` being of the own one, but for what processes
/// did that `is_own` knows. News that were lost may have been about everything.
pub fn news(socket: impl AsFd, table: &str, is_own: impl Fn(u32) -> bool) -> io::Result<News> {
    let mut buffer = vec![0; NEWS_MAX_BYTES];
    let mut news = News::default();
    loop {
        let length = match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(rustix::io::Errno::AGAIN) => return Ok(news),
            Err(rustix::io::Errno::NOBUFS) => {
                news = News {
                    lost: true,
                    others: true,
                };
                continue;
            }
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        };
        let mut rest = &buffer[..length];
        while let Some((kind, payload, after)) = split_message(rest) {
            let (subsystem, message) = (kind >> 8, kind & 0xff);
            let sender = sender_of(rest);
            rest = after;
            if subsystem != SUBSYSTEM_NFTABLES {
                continue;
            }
            let ours = attributes(payload, FIXED_BYTES)
                .iter()
                .any(|(kind, value)| *kind == TABLE && text_of(value) == table);
            news.lost |= ours && REMOVED.contains(&message) && !is_own(sender);
            news.others |= !ours && CHAIN.contains(&message);
        }
    }
}
