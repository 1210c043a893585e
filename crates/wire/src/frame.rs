//! Packets: a length, a header, a body; some with descriptors behind them.
//!
//! A packet is a word with its whole length (the word included), a header of six words, for the
//! kinds that carry descriptors a word with their number, and the body. Each descriptor follows as
//! one NUL byte with the descriptor as ancillary data.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use thiserror::Error;

use crate::remote::RpcError;
use crate::xdr::{Decoder, Encoder, Xdr, XdrError};

/// Largest packet, its length word included.
pub const PACKET_MAX_BYTES: usize = 32 * 1024 * 1024;
/// The length word.
pub const LENGTH_BYTES: usize = 4;
/// The header that follows it.
pub const HEADER_BYTES: usize = 24;
/// Largest piece of a stream's data in one packet.
pub const STREAM_DATA_MAX_BYTES: usize = 262_120;
/// What precedes a stream's data in its packet.
pub const STREAM_ROOM_BYTES: usize = LENGTH_BYTES + HEADER_BYTES;
/// Bodies of streams' packets from this size on, and up to the other, are collected where they
/// stay, without being copied once more.
const LARGE_BODY_MIN_BYTES: usize = 32 * 1024;
const LARGE_BODY_MAX_BYTES: usize = 1024 * 1024;
/// Most descriptors that one packet may carry.
pub const PACKET_FDS_MAX: usize = 32;
/// Room kept for incoming bytes between packets; anything larger is given back.
const IDLE_BUFFER_MAX_BYTES: usize = 4096;

/// What a packet is (`virNetMessageType`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Kind {
    /// Asks for a procedure.
    Call = 0,
    /// Answers a call.
    Reply = 1,
    /// An event nobody asked for.
    Event = 2,
    /// Data of a stream, its end or its failure.
    Stream = 3,
    /// A call with descriptors.
    CallWithFds = 4,
    /// A reply with descriptors.
    ReplyWithFds = 5,
    /// A hole in a sparse stream.
    StreamHole = 6,
}

impl Kind {
    /// True if a word with the number of descriptors follows the header.
    pub fn carries_fds(self) -> bool {
        matches!(self, Kind::CallWithFds | Kind::ReplyWithFds)
    }

    fn from_number(number: u32) -> Option<Kind> {
        Some(match number {
            0 => Kind::Call,
            1 => Kind::Reply,
            2 => Kind::Event,
            3 => Kind::Stream,
            4 => Kind::CallWithFds,
            5 => Kind::ReplyWithFds,
            6 => Kind::StreamHole,
            _ => return None,
        })
    }
}

/// How a packet is meant (`virNetMessageStatus`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Status {
    /// All well; ends a stream.
    Ok = 0,
    /// The body is an [`RpcError`].
    Error = 1,
    /// More of a stream.
    Continue = 2,
}

/// The header of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The program's number.
    pub program: u32,
    /// The program's version.
    pub version: u32,
    /// The procedure's number.
    pub procedure: i32,
    /// What the packet is.
    pub kind: Kind,
    /// Ties replies and stream packets to their call.
    pub serial: u32,
    /// How it is meant.
    pub status: Status,
}

impl Header {
    /// The header of a reply to this call.
    pub fn reply(self, status: Status) -> Header {
        Header {
            kind: Kind::Reply,
            status,
            ..self
        }
    }

    /// The header of a stream packet that belongs to this call.
    pub fn stream(self, status: Status) -> Header {
        Header {
            kind: Kind::Stream,
            status,
            ..self
        }
    }
}

/// Why what arrived is no packet. The connection cannot go on.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FrameError {
    /// The length word is smaller than a header or larger than the limit.
    #[error("packet of {0} bytes, which is shorter than a header or longer than is allowed here")]
    Length(usize),
    /// The header's kind or status is not one that exists.
    #[error("packet header with kind {kind} and status {status}")]
    Header {
        /// The kind found.
        kind: u32,
        /// The status found.
        status: u32,
    },
    /// More descriptors announced than a packet may carry.
    #[error("{0} descriptors in a packet; at most 32 are possible")]
    TooManyFds(usize),
    /// Descriptors arrived that no packet announced.
    #[error("descriptors arrived that no packet announced")]
    StrayFds,
    /// A packet announced more descriptors than arrived with it.
    #[error("a packet announced descriptors that did not arrive")]
    MissingFds,
}

/// A received packet.
#[derive(Debug)]
pub struct Packet {
    /// Its header.
    pub header: Header,
    /// Its body, still encoded.
    pub body: Vec<u8>,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

impl Packet {
    /// The body, decoded.
    pub fn decode<T: Xdr>(&self) -> Result<T, XdrError> {
        T::from_bytes(&self.body)
    }
}

/// Cuts incoming bytes into packets.
#[derive(Debug)]
pub struct Reader {
    limit: usize,
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were handed out already.
    start: usize,
    fds: VecDeque<OwnedFd>,
    /// A packet whose body is still arriving, apart from `buffer`.
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    header: Header,
    body: Vec<u8>,
    length: usize,
    /// Bytes of it that somebody else has taken; then nobody wants the packet here.
    elsewhere: usize,
}

impl Large {
    fn missing(&self) -> usize {
        self.length - self.elsewhere - self.body.len()
    }
}

impl Default for Reader {
    fn default() -> Reader {
        Reader::with_limit(PACKET_MAX_BYTES)
    }
}

impl Reader {
    /// Refuses packets larger than `limit`, or than [`PACKET_MAX_BYTES`] if that is less.
    pub fn with_limit(limit: usize) -> Reader {
        Reader {
            limit: limit.min(PACKET_MAX_BYTES),
            buffer: Vec::new(),
            start: 0,
            fds: VecDeque::new(),
            large: None,
        }
    }

    /// Where the next bytes go if they are read right into their place, and how many at most. None
    /// while there is no such place: then they go through [`Reader::push`].
    pub fn room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let large = self.large.as_mut()?;
        let missing = large.missing();
        (missing > 0).then_some((&mut large.body, missing))
    }

    /// The header of a large packet that is still arriving.
    pub fn under_way(&self) -> Option<Header> {
        let large = self.large.as_ref()?;
        (large.missing() > 0).then_some(large.header)
    }

    /// Gives away the large packet that is still arriving: what is there of its body, and how much
    /// of it is missing. Whoever takes it reads from the socket in this reader's place until
    /// [`Reader::take_back`]; the packet does not come out here.
    pub fn give_away(&mut self) -> Option<(Vec<u8>, usize)> {
        let large = self.large.as_mut()?;
        let arrived = std::mem::take(&mut large.body);
        large.elsewhere += arrived.len();
        Some((arrived, large.missing()))
    }

    /// The socket is at a place where so much of a packet's body is missing, which is dropped.
    pub fn take_back(&mut self, missing: usize) {
        if let Some(large) = &mut self.large {
            large.elsewhere = large.length.saturating_sub(missing);
            if large.missing() == 0 {
                self.large = None;
            }
        }
    }

    /// Takes what a socket gave: bytes, and the descriptors that came with them.
    pub fn push(
        &mut self,
        bytes: &[u8],
        fds: impl IntoIterator<Item = OwnedFd>,
    ) -> Result<(), FrameError> {
        self.compact();
        let (body, rest) = match &mut self.large {
            Some(large) => bytes.split_at(large.missing().min(bytes.len())),
            None => bytes.split_at(0),
        };
        if let Some(large) = &mut self.large {
            large.body.extend_from_slice(body);
        }
        self.buffer.extend_from_slice(rest);
        self.fds.extend(fds);
        match self.fds.len() <= PACKET_FDS_MAX {
            true => Ok(()),
            false => Err(FrameError::StrayFds),
        }
    }

    /// Bytes that wait for the rest of their packet.
    pub fn pending(&self) -> usize {
        let body = self.large.as_ref().map_or(0, |large| large.body.len());
        self.buffer.len() - self.start + body
    }

    /// The next whole packet, if there is one.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, FrameError> {
        if let Some(large) = self.large.take() {
            return match large.missing() {
                0 if large.elsewhere > 0 => self.next_packet(),
                0 => Ok(Some(Packet {
                    header: large.header,
                    body: large.body,
                    fds: Vec::new(),
                })),
                _ => {
                    self.large = Some(large);
                    Ok(None)
                }
            };
        }
        let mut input = Decoder::new(&self.buffer[self.start..]);
        let Ok(length) = u32::decode(&mut input) else {
            return Ok(None);
        };
        let length = length as usize;
        if !(LENGTH_BYTES + HEADER_BYTES..=self.limit).contains(&length) {
            return Err(FrameError::Length(length));
        }
        if self.pending() < length {
            self.begin_large(length)?;
            return Ok(None);
        }
        let packet = &self.buffer[self.start + LENGTH_BYTES..self.start + length];
        let mut input = Decoder::new(packet);
        let header = decode_header(&mut input)?;
        let fd_count = match header.kind.carries_fds() {
            true => u32::decode(&mut input).map_err(|_| FrameError::Length(length))? as usize,
            false => 0,
        };
        if fd_count > PACKET_FDS_MAX {
            return Err(FrameError::TooManyFds(fd_count));
        }
        if self.pending() < length + fd_count {
            return Ok(None);
        }
        if self.fds.len() < fd_count {
            return Err(FrameError::MissingFds);
        }
        let body = input.rest().to_vec();
        self.start += length + fd_count;
        let fds = self.fds.drain(..fd_count).collect();
        if self.pending() == 0 && !self.fds.is_empty() {
            return Err(FrameError::StrayFds);
        }
        Ok(Some(Packet { header, body, fds }))
    }

    /// Begins to collect a large body where it stays.
    fn begin_large(&mut self, length: usize) -> Result<(), FrameError> {
        let arrived = &self.buffer[self.start..];
        if !(LARGE_BODY_MIN_BYTES..=LARGE_BODY_MAX_BYTES).contains(&length)
            || arrived.len() < STREAM_ROOM_BYTES
        {
            return Ok(());
        }
        let (head, content) = arrived.split_at(STREAM_ROOM_BYTES);
        let header = decode_header(&mut Decoder::new(&head[LENGTH_BYTES..]))?;
        if header.kind != Kind::Stream {
            return Ok(());
        }
        let length = length - STREAM_ROOM_BYTES;
        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(content);
        self.large = Some(Large {
            header,
            body,
            length,
            elsewhere: 0,
        });
        self.start = self.buffer.len();
        Ok(())
    }

    /// Drops what was handed out, and the room for it if much was taken.
    fn compact(&mut self) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(IDLE_BUFFER_MAX_BYTES);
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
    }
}

/// What tells from the head of a packet whether it is one with this header and of the size that is
/// collected apart, and how long its body is.
pub fn content_follows(
    expected: Header,
) -> impl Fn(&[u8; STREAM_ROOM_BYTES]) -> Option<usize> + Send + Sync + 'static {
    move |head| {
        let mut input = Decoder::new(head);
        let length = u32::decode(&mut input).ok()? as usize;
        let header = decode_header(&mut input).ok()?;
        let is_large = (LARGE_BODY_MIN_BYTES..=LARGE_BODY_MAX_BYTES).contains(&length);
        (is_large && header == expected).then(|| length - STREAM_ROOM_BYTES)
    }
}

fn decode_header(input: &mut Decoder<'_>) -> Result<Header, FrameError> {
    let mut words = [0u32; 6];
    for word in &mut words {
        *word = u32::decode(input).map_err(|_| FrameError::Length(0))?;
    }
    let [program, version, procedure, kind, serial, status] = words;
    let bad = FrameError::Header { kind, status };
    Ok(Header {
        program,
        version,
        procedure: procedure as i32,
        kind: Kind::from_number(kind).ok_or(bad.clone())?,
        serial,
        status: match status {
            0 => Status::Ok,
            1 => Status::Error,
            2 => Status::Continue,
            _ => return Err(bad),
        },
    })
}

/// A packet ready to be sent: its bytes, then its descriptors, each with one NUL byte.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The packet, length word included.
    pub bytes: Vec<u8>,
    /// Descriptors to send after the bytes.
    pub fds: Vec<OwnedFd>,
}

/// A packet with `body` encoded behind `header`.
pub fn packet<T: Xdr>(header: Header, body: &T) -> Result<Vec<u8>, XdrError> {
    write(header, 0, |out| body.encode(out))
}

/// A packet with a body of about `room` bytes that `body` writes.
pub fn packet_by(
    header: Header,
    room: usize,
    body: impl FnOnce(&mut Encoder),
) -> Result<Vec<u8>, XdrError> {
    write_with(header, (room, 0), body)
}

/// A packet with raw bytes, not padded, behind `header`: how a stream's data travels.
pub fn data_packet(header: Header, data: &[u8]) -> Result<Vec<u8>, XdrError> {
    let mut bytes = write(header, data.len(), |_| ())?;
    bytes.extend_from_slice(data);
    Ok(bytes)
}

/// A call's packet with an encoded body, and the descriptors that go with it; with any of them,
/// its kind becomes the one that carries them.
pub fn call_packet(header: Header, body: &[u8], fds: Vec<OwnedFd>) -> Result<Outgoing, XdrError> {
    if fds.is_empty() {
        let bytes = data_packet(header, body)?;
        return Ok(Outgoing { bytes, fds });
    }
    check_count(&fds)?;
    let kind = Kind::CallWithFds;
    let mut bytes = write(Header { kind, ..header }, body.len(), |out| {
        (fds.len() as u32).encode(out);
    })?;
    bytes.extend_from_slice(body);
    Ok(Outgoing { bytes, fds })
}

fn check_count(fds: &[OwnedFd]) -> Result<(), XdrError> {
    match fds.len() > PACKET_FDS_MAX {
        true => Err(XdrError::TooLong {
            what: "descriptors",
            length: fds.len(),
            max: PACKET_FDS_MAX,
        }),
        false => Ok(()),
    }
}

/// Makes a packet of data that lies behind [`STREAM_ROOM_BYTES`] of room, which the header fills.
pub fn data_in_place(header: Header, mut packet: Vec<u8>) -> Result<Vec<u8>, XdrError> {
    let body = packet.len().saturating_sub(STREAM_ROOM_BYTES);
    let head = head_alone(header, body)?;
    packet[..STREAM_ROOM_BYTES].copy_from_slice(&head);
    Ok(packet)
}

/// The head of a packet whose body, of `length` bytes, is sent by itself.
pub fn head_alone(header: Header, length: usize) -> Result<Vec<u8>, XdrError> {
    write_with(header, (0, length), |_| ())
}

/// A packet that carries descriptors; its kind becomes the one that does.
pub fn packet_with_fds<T: Xdr>(
    header: Header,
    body: &T,
    fds: Vec<OwnedFd>,
) -> Result<Outgoing, XdrError> {
    let kind = match header.kind {
        Kind::Call | Kind::CallWithFds => Kind::CallWithFds,
        _ => Kind::ReplyWithFds,
    };
    check_count(&fds)?;
    let bytes = write(Header { kind, ..header }, 0, |out| {
        (fds.len() as u32).encode(out);
        body.encode(out);
    })?;
    Ok(Outgoing { bytes, fds })
}

/// A packet that says why `header`'s call or stream failed.
pub fn error_packet(header: Header, error: &RpcError) -> Vec<u8> {
    let header = Header {
        status: Status::Error,
        ..header
    };
    packet(header, error).unwrap_or_else(|refused| {
        // An error too long to be sent: its number is what matters.
        let bare = RpcError {
            message: Some(format!("the error's text cannot be sent: {refused}")),
            str1: None,
            str2: None,
            str3: None,
            dom: None,
            net: None,
            ..error.clone()
        };
        packet(header, &bare).unwrap_or_default()
    })
}

/// `more` bytes will be appended by the caller and are counted in the length word.
fn write(
    header: Header,
    more: usize,
    body: impl FnOnce(&mut Encoder),
) -> Result<Vec<u8>, XdrError> {
    write_with(header, (more, more), body)
}

/// With `room` for so many bytes; `more` will be put behind what `body` writes.
fn write_with(
    header: Header,
    (room, more): (usize, usize),
    body: impl FnOnce(&mut Encoder),
) -> Result<Vec<u8>, XdrError> {
    let mut out = Encoder::after(Vec::with_capacity(128 + room));
    for word in [
        0,
        header.program,
        header.version,
        header.procedure as u32,
        header.kind as u32,
        header.serial,
        header.status as u32,
    ] {
        word.encode(&mut out);
    }
    body(&mut out);
    let mut bytes = out.finish()?;
    let length = bytes.len() + more;
    if length > PACKET_MAX_BYTES {
        return Err(XdrError::TooLong {
            what: "packet",
            length,
            max: PACKET_MAX_BYTES,
        });
    }
    bytes[..LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(bytes)
}

/// The body of a [`Kind::StreamHole`] packet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamHole {
    /// Bytes left out.
    pub length: i64,
    /// No flags exist.
    pub flags: u32,
}

impl Xdr for StreamHole {
    fn encode(&self, out: &mut Encoder) {
        self.length.encode(out);
        self.flags.encode(out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<StreamHole, XdrError> {
        Ok(StreamHole {
            length: Xdr::decode(input)?,
            flags: Xdr::decode(input)?,
        })
    }
}

#[cfg(test)]
mod tests;
