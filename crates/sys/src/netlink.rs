//! The kernel's route netlink, as little of it as is needed: one request, one
//! acknowledgement or one dump, on a socket of its own.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// Largest piece of an answer the kernel sends.
const REPLY_MAX_BYTES: usize = 64 * 1024;
/// Bytes of a message's header.
const HEADER_BYTES: usize = 16;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
/// Only if it is not there yet.
pub(crate) const NLM_F_EXCL: u16 = 0x200;
/// Make it.
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// All there are.
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// An attribute that holds others.
const NLA_F_NESTED: u16 = 0x8000;
/// The part of an attribute's type that tells what it is.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// A message being put together.
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of this type; `body` is the fixed part in front of the attributes.
    pub(crate) fn new(kind: u16, flags: u16, body: &[u8]) -> Message {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(body);
        let mut message = Message { bytes };
        message.pad();
        message
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    /// Adds an attribute.
    pub(crate) fn attr(mut self, kind: u16, value: &[u8]) -> Message {
        let length = (value.len() + 4) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// All of it so far.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds an attribute that is a number.
    pub(crate) fn number(self, kind: u16, value: u32) -> Message {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds an attribute that is a name.
    pub(crate) fn text(self, kind: u16, value: &str) -> Message {
        self.attr(kind, &[value.as_bytes(), b"\0"].concat())
    }

    /// Adds an attribute that holds what `inner` adds.
    pub(crate) fn nested(mut self, kind: u16, inner: impl FnOnce(Message) -> Message) -> Message {
        let start = self.bytes.len();
        let kind = kind | NLA_F_NESTED;
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        let mut message = inner(self);
        let length = (message.bytes.len() - start) as u16;
        message.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        message
    }

    /// Sends it and waits for the kernel's yes or no.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | NLM_F_ACK;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        let socket = self.send()?;
        each_reply(&socket, &mut |_, _| ())
    }

    /// Sends it as a question for all there are; `each` gets type and payload of each answer.
    pub(crate) fn dump(mut self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | NLM_F_DUMP;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        let socket = self.send()?;
        each_reply(&socket, &mut each)
    }

    fn send(&mut self) -> io::Result<OwnedFd> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        send(&socket, &self.bytes, SendFlags::empty())?;
        Ok(socket)
    }
}

/// Reads until the acknowledgement or the end of a dump.
fn each_reply(socket: impl AsFd, each: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
    let mut buffer = vec![0; REPLY_MAX_BYTES];
    loop {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while let Some((kind, payload, after)) = split_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = payload.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                    return match code {
                        0 => Ok(()),
                        code => Err(io::Error::from_raw_os_error(-code)),
                    };
                }
                kind => each(kind, payload),
            }
            rest = after;
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The first message of a buffer: its type, its payload, and what follows.
pub(crate) fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    if length < HEADER_BYTES || length > bytes.len() {
        return None;
    }
    let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, &bytes[HEADER_BYTES..length], after))
}

/// The number of whoever asked for what a message tells of: a process has its own mostly.
pub(crate) fn sender_of(bytes: &[u8]) -> u32 {
    let sender = bytes
        .get(HEADER_BYTES - 4..)
        .and_then(|rest| rest.first_chunk());
    sender.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// The attributes in a payload behind its fixed part, each with its type.
pub(crate) fn attributes(payload: &[u8], fixed: usize) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    let mut rest = payload.get(fixed..).unwrap_or(&[]);
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & NLA_TYPE_MASK;
        if length < 4 || length > rest.len() {
            break;
        }
        found.push((kind, &rest[4..length]));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}

/// An attribute's value as text.
pub(crate) fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// An attribute's value as a number.
pub(crate) fn number_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An attribute's value as an address.
pub(crate) fn address_of(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

/// An address's bytes.
pub(crate) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_comes_apart_again() {
        let message = Message::new(16, 0, &[7; 16])
            .text(3, "br0")
            .nested(18, |m| m.number(1, 5));
        let attributes = attributes(&message.bytes, HEADER_BYTES + 16);
        assert_eq!(attributes[0].0, 3);
        assert_eq!(text_of(attributes[0].1), "br0");
        assert_eq!(attributes[1].0, 18);
        let inner = super::attributes(attributes[1].1, 0);
        assert_eq!(number_of(inner[0].1), Some(5));
    }

    #[test]
    fn cut_answers_end_the_reading() {
        assert!(split_message(&[20, 0, 0, 0, 1, 0]).is_none());
        assert!(split_message(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(attributes(&[9, 0, 1, 0, 1], 0).is_empty());
        assert!(attributes(&[0; 8], 0).is_empty());
    }
}
