//! What waits to be written to the socket.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use sys::content::{Piece, Place};
use tokio::io::Interest;
use tokio::net::unix::WriteHalf;

/// Bytes of small packets that go out together.
const SHARED_BYTES: usize = 1 << 14;
/// A descriptor travels with one byte.
const WITH_DESCRIPTOR: &[u8] = b"\0";

/// Packets and parts of packets, in their order.
#[derive(Default)]
pub(crate) struct Unsent {
    parts: VecDeque<(Part, Option<Place>)>,
    /// Bytes of the first that are on their way already.
    sent: usize,
}

enum Part {
    Bytes(Vec<u8>),
    Descriptor(OwnedFd),
    Content(Piece),
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::Descriptor(_) => WITH_DESCRIPTOR.len(),
            Part::Content(piece) => piece.len(),
        }
    }
}

impl Unsent {
    /// Appends bytes.
    pub(crate) fn push(&mut self, bytes: Vec<u8>, place: Option<Place>) {
        match self.parts.back_mut() {
            // Small ones go out together.
            Some((Part::Bytes(last), None))
                if place.is_none() && last.len() + bytes.len() <= SHARED_BYTES =>
            {
                last.extend_from_slice(&bytes);
            }
            _ if bytes.is_empty() => {}
            _ => self.parts.push_back((Part::Bytes(bytes), place)),
        }
    }

    /// Appends a descriptor of the packet that was pushed before.
    pub(crate) fn push_descriptor(&mut self, descriptor: OwnedFd) {
        self.parts.push_back((Part::Descriptor(descriptor), None));
    }

    /// Appends content, whose packet's head was pushed before.
    pub(crate) fn push_content(&mut self, piece: Piece) {
        self.parts.push_back((Part::Content(piece), None));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Writes some of the first part; how much. Dropped while it waits, it has written nothing.
    pub(crate) async fn write(&self, to: &WriteHalf<'_>) -> io::Result<usize> {
        let Some((part, _)) = self.parts.front() else {
            return Ok(0);
        };
        let socket = to.as_ref();
        let send = || match part {
            Part::Bytes(bytes) => sys::unix::send_with_fds(socket, &bytes[self.sent..], &[]),
            Part::Descriptor(descriptor) => {
                sys::unix::send_with_fds(socket, WITH_DESCRIPTOR, &[descriptor.as_fd()])
            }
            Part::Content(piece) => piece.send(socket, self.sent),
        };
        loop {
            to.writable().await?;
            match socket.try_io(Interest::WRITABLE, send) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }

    /// So much of the first part was written.
    pub(crate) fn written(&mut self, count: usize) {
        self.sent += count;
        if self
            .parts
            .front()
            .is_some_and(|(part, _)| part.len() <= self.sent)
        {
            self.parts.pop_front();
            self.sent = 0;
        }
    }
}
