//! A connection's socket, lent to the thread that passes content on.
//!
//! While one packet of a stream's content follows the other, nobody but the thread that writes them
//! to a disk needs to know. So a connection gives its socket away in the middle of such a packet;
//! the thread passes body after body on, and gives the socket back before the first packet that is
//! anything else.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::pipe::Pipe;
use crate::unix;

/// What precedes the content in each packet.
pub const HEAD_BYTES: usize = 28;

type Follows = Box<dyn Fn(&[u8; HEAD_BYTES]) -> Option<usize> + Send + Sync>;

/// How it goes where the socket is lent to.
#[derive(Debug, Default)]
struct Progress {
    /// Bytes that came in.
    received: AtomicU64,
    /// Whether more of them is waited for.
    waits: AtomicBool,
}

/// What the connection keeps while its socket is lent.
#[derive(Debug)]
pub struct Loan {
    back: oneshot::Receiver<usize>,
    progress: Arc<Progress>,
    heard: u64,
}

impl Loan {
    /// Waits for the socket; how many bytes of a packet's body are still missing then.
    pub async fn returned(&mut self) -> usize {
        // It is given back whenever it is let go of.
        (&mut self.back).await.unwrap_or(0)
    }

    /// Whether nothing came in since this was asked last, although it is waited for. A disk that
    /// keeps the borrower from reading is no silence of the other side's.
    pub fn is_silent(&mut self) -> bool {
        let received = self.progress.received.load(Ordering::Relaxed);
        let heard = std::mem::replace(&mut self.heard, received) != received;
        !heard && self.progress.waits.load(Ordering::Relaxed)
    }
}

/// The socket where it is lent to: the content of one stream's packets, and nothing behind them.
/// Let go of, it is given back, wherever it stands.
pub struct Lent {
    socket: OwnedFd,
    follows: Follows,
    /// What the connection had read of the first packet.
    arrived: Vec<u8>,
    missing: usize,
    progress: Arc<Progress>,
    back: Option<oneshot::Sender<usize>>,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let missing = &self.missing;
        f.debug_struct("Lent").field("missing", missing).finish()
    }
}

/// Lends a socket at a place where some of a packet has `arrived` and `missing` bytes are to come.
/// `follows` tells from how the next packet begins whether it goes on with the same content, and how
/// much of it then.
pub fn lend(
    socket: OwnedFd,
    follows: impl Fn(&[u8; HEAD_BYTES]) -> Option<usize> + Send + Sync + 'static,
    (arrived, missing): (Vec<u8>, usize),
) -> (Loan, Lent) {
    let (sender, back) = oneshot::channel();
    let progress = Arc::<Progress>::default();
    let loan = Loan {
        back,
        progress: progress.clone(),
        heard: 0,
    };
    let lent = Lent {
        socket,
        follows: Box::new(follows),
        arrived,
        missing,
        progress,
        back: Some(sender),
    };
    (loan, lent)
}

impl Lent {
    /// Waits for content and puts it into `pipe`, which is empty; how much, in bytes. 0 where
    /// another packet follows, or the connection has ended: its owner will see which.
    pub fn pour(&mut self, pipe: &Pipe) -> io::Result<usize> {
        if !self.arrived.is_empty() {
            let count = pipe.put(&self.arrived)?;
            self.arrived.drain(..count);
            return Ok(count);
        }
        if self.missing == 0 && !self.next_packet()? {
            return Ok(0);
        }
        let count = self.wait_for(|socket| pipe.take(socket, self.missing))?;
        let received = &self.progress.received;
        received.fetch_add(count as u64, Ordering::Relaxed);
        self.missing -= count;
        Ok(count)
    }

    /// Goes on to the next packet, if it is one of the stream's.
    fn next_packet(&mut self) -> io::Result<bool> {
        let mut head = [0; HEAD_BYTES];
        let count = self.wait_for(|socket| unix::peek(socket, &mut head))?;
        let follows = (count == head.len()).then(|| (self.follows)(&head));
        match follows.flatten() {
            Some(length) => {
                unix::receive(&self.socket, &mut head)?;
                self.missing = length;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn wait_for(
        &self,
        mut receive: impl FnMut(&OwnedFd) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match receive(&self.socket) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.progress.waits.store(true, Ordering::Relaxed);
                    let waited = unix::wait_readable(&self.socket);
                    self.progress.waits.store(false, Ordering::Relaxed);
                    waited?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            let _ = back.send(self.missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// A packet of content: a head that says how much, and the content.
    fn packet(content: &[u8]) -> Vec<u8> {
        let mut packet = vec![b'c'; HEAD_BYTES - 1];
        packet.push(content.len() as u8);
        packet.extend_from_slice(content);
        packet
    }

    fn follows(head: &[u8; HEAD_BYTES]) -> Option<usize> {
        (head[0] == b'c').then_some(head[HEAD_BYTES - 1].into())
    }

    fn received(lent: &mut Lent) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        let pipe = Pipe::new().unwrap();
        let mut at = 0;
        loop {
            match lent.pour(&pipe).unwrap() {
                0 => break,
                count => {
                    pipe.write_to(&file, at, count).unwrap();
                    at += count as u64;
                }
            }
        }
        let mut all = Vec::new();
        io::Seek::rewind(&mut file).unwrap();
        io::Read::read_to_end(&mut file, &mut all).unwrap();
        all
    }

    #[tokio::test]
    async fn content_is_taken_up_to_the_packet_that_is_something_else() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        theirs.write_all(b"ond ").unwrap();
        theirs.write_all(&packet(b"third")).unwrap();
        theirs.write_all(&[b'x'; HEAD_BYTES]).unwrap();
        let socket = ours.try_clone().unwrap().into();
        let packet = (b"first sec".to_vec(), 4);
        let (mut loan, mut lent) = lend(socket, follows, packet);
        assert_eq!(received(&mut lent), b"first second third");
        drop(lent);
        assert_eq!(loan.returned().await, 0);
        let mut next = [0; HEAD_BYTES];
        assert_eq!(unix::receive(&ours, &mut next).unwrap(), HEAD_BYTES);
        assert_eq!(next, [b'x'; HEAD_BYTES]);
    }

    #[tokio::test]
    async fn silence_is_told_from_a_borrower_that_does_not_read() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (mut loan, mut lent) = lend(ours.into(), follows, (Vec::new(), 8));
        assert!(!loan.is_silent(), "nobody has asked for anything");
        let reading = std::thread::spawn(move || received(&mut lent));
        while !loan.is_silent() {
            std::thread::yield_now();
        }
        theirs.write_all(b"all of it").unwrap();
        drop(theirs);
        assert_eq!(reading.join().unwrap(), b"all of i");
        assert!(!loan.is_silent());
    }

    #[tokio::test]
    async fn what_is_missing_where_it_is_given_back_is_told() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        theirs.write_all(b"half").unwrap();
        drop(theirs);
        let (mut loan, mut lent) = lend(ours.into(), follows, (Vec::new(), 8));
        assert_eq!(received(&mut lent), b"half");
        drop(lent);
        assert_eq!(loan.returned().await, 4);
    }
}
