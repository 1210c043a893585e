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
    queue: VecDeque<Waiting>,
    /// Bytes of the first packet that are on their way already.
    sent: usize,
    unsent_bytes: usize,
}

/// A packet, or several small ones.
#[derive(Debug)]
struct Waiting {
    packet: Outgoing,
    /// Content behind the packet's bytes that whoever sends them has.
    content: usize,
}

impl Waiting {
    fn of(bytes: Vec<u8>, content: usize) -> Waiting {
        let fds = Vec::new();
        Waiting {
            packet: Outgoing { bytes, fds },
            content,
        }
    }
}

/// What a socket should send next.
#[derive(Debug)]
pub enum Next<'a> {
    /// These bytes, or as many of them as it takes.
    Bytes(&'a [u8]),
    /// The content that was announced by [`Output::push_content`] first of all that is not sent yet,
    /// behind so many of its bytes.
    Content(usize),
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
                if last.packet.fds.is_empty()
                    && last.content == 0
                    && bytes.len() <= SHARED_MAX_BYTES
                    && last.packet.bytes.len() <= SHARED_BUFFER_MAX_BYTES =>
            {
                last.packet.bytes.extend_from_slice(&bytes)
            }
            _ => self.queue.push_back(Waiting::of(bytes, 0)),
        }
    }

    /// Appends a packet whose body, `content` bytes, the caller keeps and sends itself when it is
    /// its turn.
    pub fn push_content(&mut self, head: Vec<u8>, content: usize) {
        self.unsent_bytes += head.len() + content;
        self.queue.push_back(Waiting::of(head, content));
    }

    /// Appends a packet with descriptors.
    pub fn push_with_fds(&mut self, outgoing: Outgoing) {
        self.push(outgoing.bytes);
        if let Some(last) = self.queue.back_mut() {
            // In the order they are sent: `fd_sent` takes them off the end.
            last.packet.fds = outgoing.fds.into_iter().rev().collect::<Vec<OwnedFd>>();
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
        let Outgoing { bytes, fds } = &first.packet;
        match (bytes.get(self.sent..), fds.last()) {
            (Some(rest @ [_, ..]), _) => Next::Bytes(rest),
            _ if first.content > 0 => Next::Content(self.sent - bytes.len()),
            (_, Some(fd)) => Next::Fd(fd.as_fd()),
            _ => Next::Bytes(&[]),
        }
    }

    /// `count` of the bytes went out, or of the content.
    pub fn bytes_sent(&mut self, count: usize) {
        self.sent += count;
        self.unsent_bytes -= count;
        self.drop_finished();
    }

    /// The NUL byte and its descriptor went out.
    pub fn fd_sent(&mut self) {
        if let Some(first) = self.queue.front_mut() {
            first.packet.fds.pop();
        }
        self.drop_finished();
    }

    fn drop_finished(&mut self) {
        if let Some(first) = self.queue.front()
            && first.packet.bytes.len() + first.content == self.sent
            && first.packet.fds.is_empty()
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
                Next::Content(_) => panic!("there is none"),
                Next::Nothing => break,
            }
        }
        assert_eq!(bytes, b"onetwothree");
        assert_eq!(seen, [(6, numbers[0]), (6, numbers[1])]);
        assert_eq!(output.len(), 0);
    }

    #[test]
    fn content_has_its_turn_between_the_packets() {
        let mut output = Output::default();
        output.push(b"one".to_vec());
        output.push_content(b"head".to_vec(), 5);
        output.push(b"two".to_vec());
        assert_eq!(output.len(), 15);
        let mut seen = Vec::new();
        loop {
            let count = match output.next() {
                Next::Bytes(some) => {
                    seen.push(String::from_utf8(some.to_vec()).unwrap());
                    some.len()
                }
                Next::Content(sent) => {
                    seen.push(format!("content from {sent}"));
                    3.min(5 - sent)
                }
                Next::Fd(_) => panic!("there is none"),
                Next::Nothing => break,
            };
            output.bytes_sent(count);
        }
        assert_eq!(
            seen,
            ["one", "head", "content from 0", "content from 3", "two"]
        );
        assert_eq!(output.len(), 0);
    }
}
