//! What waits to be sent on a connection.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::frame::Outgoing;

/// Packets up to this share a buffer with the one before; copying larger ones would cost more than
/// the call it saves.
const SHARED_MAX_BYTES: usize = 4096;
/// A buffer that is longer takes no further packets: to make room it would be copied.
const SHARED_BUFFER_MAX_BYTES: usize = 64 * 1024;

/// Packets in the order they go out; small ones share one buffer.
#[derive(Debug, Default)]
pub struct Output {
    queue: VecDeque<Outgoing>,
    /// Bytes of the first packet that are on their way already.
    sent: usize,
    unsent_bytes: usize,
}

/// What a socket should send next.
#[derive(Debug)]
pub enum Next<'a> {
    /// These bytes, or as many of them as it takes.
    Bytes(&'a [u8]),
    /// One NUL byte, with this descriptor.
    Fd(BorrowedFd<'a>),
    /// Nothing waits.
    Nothing,
}

impl Output {
    /// Appends one packet's bytes.
    pub fn push(&mut self, bytes: Vec<u8>) {
        self.unsent_bytes += bytes.len();
        match self.queue.back_mut() {
            Some(last)
                if last.fds.is_empty()
                    && bytes.len() <= SHARED_MAX_BYTES
                    && last.bytes.len() <= SHARED_BUFFER_MAX_BYTES =>
            {
                last.bytes.extend_from_slice(&bytes)
            }
            _ => self.queue.push_back(Outgoing {
                bytes,
                fds: Vec::new(),
            }),
        }
    }

    /// Appends a packet with descriptors.
    pub fn push_with_fds(&mut self, outgoing: Outgoing) {
        self.push(outgoing.bytes);
        if let Some(last) = self.queue.back_mut() {
            // In the order they are sent: `fd_sent` takes them off the end.
            last.fds = outgoing.fds.into_iter().rev().collect::<Vec<OwnedFd>>();
        }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.unsent_bytes
    }

    /// True if neither bytes nor descriptors wait.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What to send next.
    pub fn next(&self) -> Next<'_> {
        let Some(first) = self.queue.front() else {
            return Next::Nothing;
        };
        match (&first.bytes[self.sent..], first.fds.last()) {
            ([], Some(fd)) => Next::Fd(fd.as_fd()),
            (bytes, _) => Next::Bytes(bytes),
        }
    }

    /// `count` of the bytes went out.
    pub fn bytes_sent(&mut self, count: usize) {
        self.sent += count;
        self.unsent_bytes -= count;
        self.drop_finished();
    }

    /// The NUL byte and its descriptor went out.
    pub fn fd_sent(&mut self) {
        if let Some(first) = self.queue.front_mut() {
            first.fds.pop();
        }
        self.drop_finished();
    }

    fn drop_finished(&mut self) {
        if let Some(first) = self.queue.front()
            && first.bytes.len() == self.sent
            && first.fds.is_empty()
        {
            self.queue.pop_front();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn descriptors_go_out_in_order_behind_their_packet() {
        let fds: Vec<OwnedFd> = (0..2).map(|_| std::io::pipe().unwrap().0.into()).collect();
        let numbers: Vec<i32> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let mut output = Output::default();
        output.push(b"one".to_vec());
        output.push_with_fds(Outgoing {
            bytes: b"two".to_vec(),
            fds,
        });
        output.push(b"three".to_vec());

        let mut seen = Vec::new();
        let mut bytes = Vec::new();
        loop {
            match output.next() {
                Next::Bytes(some) => {
                    bytes.push(some[0]);
                    output.bytes_sent(1);
                }
                Next::Fd(fd) => {
                    seen.push((bytes.len(), fd.as_raw_fd()));
                    output.fd_sent();
                }
                Next::Nothing => break,
            }
        }
        assert_eq!(bytes, b"onetwothree");
        assert_eq!(seen, [(6, numbers[0]), (6, numbers[1])]);
        assert_eq!(output.len(), 0);
    }
}
