//! A connection's socket, lent to the thread that reads an upload.
//!
//! While a client sends one packet of a volume's content after the other, nobody but the threads
//! that read and write them needs to know. So the session gives its socket away in the middle of
//! such a packet; the thread reads body after body right into the buffers that are written, and
//! gives the socket back before the first packet that is anything else.

use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;
use wire::frame::{Header, STREAM_ROOM_BYTES, head_of_large};

/// What the session keeps while its socket is lent.
#[derive(Debug)]
pub(crate) struct Loan {
    back: oneshot::Receiver<usize>,
    received: Arc<AtomicU64>,
    heard: u64,
}

impl Loan {
    /// Waits for the socket; how many bytes of a packet's body are still missing then.
    pub(crate) async fn returned(&mut self) -> usize {
        // It is given back whenever it is let go of.
        (&mut self.back).await.unwrap_or(0)
    }

    /// Whether anything came in since this was asked last.
    pub(crate) fn heard(&mut self) -> bool {
        let received = self.received.load(Ordering::Relaxed);
        std::mem::replace(&mut self.heard, received) != received
    }
}

/// The socket where it is lent to: the content of one stream's packets, and nothing behind them.
#[derive(Debug)]
pub(crate) struct Lent {
    socket: OwnedFd,
    /// The header all of the stream's packets have.
    header: Header,
    /// What the session had read of the first packet.
    arrived: Vec<u8>,
    missing: usize,
    received: Arc<AtomicU64>,
    back: Option<oneshot::Sender<usize>>,
}

/// Lends a socket at a place where `missing` bytes of a packet with this header are to come.
pub(crate) fn lend(
    socket: OwnedFd,
    header: Header,
    (arrived, missing): (Vec<u8>, usize),
) -> (Loan, Lent) {
    let (sender, back) = oneshot::channel();
    let received = Arc::new(AtomicU64::new(0));
    let loan = Loan {
        back,
        received: received.clone(),
        heard: 0,
    };
    let lent = Lent {
        socket,
        header,
        arrived,
        missing,
        received,
        back: Some(sender),
    };
    (loan, lent)
}

impl Lent {
    /// Goes on to the next packet, if it is one of the stream's.
    fn next_packet(&mut self) -> io::Result<bool> {
        let mut head = [0; STREAM_ROOM_BYTES];
        let count = self.wait_for(|socket| sys::unix::peek(socket, &mut head))?;
        match head_of_large(&head) {
            Some((header, length)) if count == head.len() && header == self.header => {
                sys::unix::receive(&self.socket, &mut head)?;
                self.missing = length;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn wait_for(
        &self,
        mut receive: impl FnMut(&OwnedFd) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match receive(&self.socket) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    sys::unix::wait_readable(&self.socket)?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Fills `place` from the socket; less only where the socket ends.
    fn fill(&mut self, place: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < place.len() {
            let rest = &mut place[filled..];
            let count = self.wait_for(|socket| sys::unix::receive(socket, rest))?;
            if count == 0 {
                break;
            }
            self.received.fetch_add(count as u64, Ordering::Relaxed);
            self.missing -= count;
            filled += count;
        }
        Ok(filled)
    }
}

impl Read for Lent {
    /// Nothing more where another packet follows, or the client is gone: the session will see which.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.arrived.is_empty() {
            let count = self.arrived.len().min(buffer.len());
            let rest = self.arrived.split_off(count);
            let first = std::mem::replace(&mut self.arrived, rest);
            buffer[..count].copy_from_slice(&first);
            return Ok(count);
        }
        if self.missing == 0 && !self.next_packet()? {
            return Ok(0);
        }
        let count = self.missing.min(buffer.len());
        self.fill(&mut buffer[..count])
    }
}

impl Drop for Lent {
    /// Gives the socket back, wherever it stands.
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            let _ = back.send(self.missing);
        }
    }
}
