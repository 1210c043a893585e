//! A client's socket, as its session waits for it.
//!
//! It wakes the session for what comes in. Room to write is waited for only while something is
//! left to write: else every client that takes its answer would wake the daemon once more, for
//! nothing, just when the client wants the processor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Something to read, or the end.
const INPUT: Interest = Interest::READABLE.add(Interest::ERROR);
/// Only the end: nothing of priority ever comes on such a socket, and what merely comes wakes nobody.
const END: Interest = Interest::PRIORITY;

/// A connected socket that is never waited for while it is read or written.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    socket: Arc<UnixStream>,
    /// There but between two watches.
    watched: Option<AsyncFd<Arc<UnixStream>>>,
    /// What wakes the session: [`INPUT`], or only [`END`] while somebody else reads.
    interest: Interest,
    /// Another descriptor of the socket, which waits for room; there while it is full.
    full: Option<AsyncFd<OwnedFd>>,
}

/// What a socket has become ready for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readiness {
    /// There is something to read, or the end.
    pub(crate) input: bool,
    /// The client sends nothing any more, or the socket has failed.
    pub(crate) closed: bool,
}

impl ClientSocket {
    /// Takes over an accepted connection.
    pub(crate) fn new(accepted: tokio::net::UnixStream) -> io::Result<ClientSocket> {
        let mut socket = ClientSocket {
            socket: Arc::new(accepted.into_std()?),
            watched: None,
            interest: INPUT,
            full: None,
        };
        socket.attend()?;
        Ok(socket)
    }

    /// From now on, input is for somebody else, with the descriptor given, and only the end wakes
    /// the session.
    pub(crate) fn leave(&mut self) -> io::Result<OwnedFd> {
        self.watch(END)?;
        self.as_fd().try_clone_to_owned()
    }

    /// Input is for the session again.
    pub(crate) fn attend(&mut self) -> io::Result<()> {
        self.watch(INPUT)
    }

    fn watch(&mut self, interest: Interest) -> io::Result<()> {
        // A descriptor can be watched only once.
        self.watched = None;
        self.watched = Some(sys::watch::watch(self.socket.clone(), interest)?);
        self.interest = interest;
        Ok(())
    }

    /// Waits for input, if that is wanted, for room if the last write found none, and for failure.
    pub(crate) async fn ready(&self, wants_input: bool) -> io::Result<Readiness> {
        let interest = match wants_input {
            true => self.interest,
            false => self
                .interest
                .remove(Interest::READABLE)
                .unwrap_or(self.interest),
        };
        let room = async {
            match &self.full {
                Some(full) => full.writable().await.map(drop),
                None => std::future::pending().await,
            }
        };
        let input = async {
            match &self.watched {
                Some(watched) => watched.ready(interest).await.map(|guard| guard.ready()),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = input => {
                let ready = ready?;
                Ok(Readiness {
                    input: ready.is_readable(),
                    closed: ready.is_read_closed() || ready.is_error(),
                })
            }
            found = room => found.map(|()| Readiness::default()),
        }
    }

    /// Reads into `bytes`, and adds descriptors that came along to `fds`. 0 is the end; an error
    /// of kind `WouldBlock` says that there is nothing.
    pub(crate) fn receive(&self, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
        self.attended()?.try_io(Interest::READABLE, |socket| {
            sys::unix::receive_with_fds(socket, bytes, fds)
        })
    }

    /// Reads up to `max` bytes to the end of `bytes`; results as those of [`ClientSocket::receive`].
    pub(crate) fn receive_appending(&self, bytes: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        self.attended()?.try_io(Interest::READABLE, |socket| {
            sys::unix::receive_appending(socket, bytes, max)
        })
    }

    fn attended(&self) -> io::Result<&AsyncFd<Arc<UnixStream>>> {
        // There is nothing for the session while somebody else reads.
        let watched = self.watched.as_ref().filter(|_| self.interest == INPUT);
        watched.ok_or(io::ErrorKind::WouldBlock.into())
    }

    /// Writes bytes and, with the first of them, descriptors; how many bytes found room. After an
    /// error of kind `WouldBlock`, [`ClientSocket::ready`] waits for room.
    pub(crate) fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.send_by(|socket| sys::unix::send_with_fds(socket, bytes, fds))
    }

    /// Lets `send` write to the socket; its results are those of [`ClientSocket::send`].
    pub(crate) fn send_by(
        &mut self,
        send: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if let Some(full) = &self.full {
            return full.try_io(Interest::WRITABLE, |socket| send(socket.as_fd()));
        }
        let sent = send(self.socket.as_fd());
        if matches!(&sent, Err(e) if e.kind() == io::ErrorKind::WouldBlock) {
            let other = self.as_fd().try_clone_to_owned()?;
            self.full = Some(sys::watch::watch(other, Interest::WRITABLE)?);
        }
        sent
    }

    /// Nothing is left to write.
    pub(crate) fn all_sent(&mut self) {
        self.full = None;
    }
}

impl AsFd for ClientSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;

    fn pair() -> (ClientSocket, UnixStream) {
        let (ours, theirs) = tokio::net::UnixStream::pair().expect("two sockets");
        let theirs = theirs.into_std().expect("a socket");
        theirs.set_nonblocking(false).expect("a flag");
        (ClientSocket::new(ours).expect("a socket"), theirs)
    }

    #[tokio::test]
    async fn a_full_socket_is_waited_for_until_the_client_reads() {
        let (mut socket, mut client) = pair();
        let mut sent = 0;
        let full = loop {
            match socket.send(&[7; 65536], &[]) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        // No room is made while nobody reads.
        let early = tokio::time::timeout(Duration::from_millis(20), socket.ready(true)).await;
        assert!(early.is_err(), "{early:?}");
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; sent];
            client.read_exact(&mut bytes).expect("all of it");
            (client, bytes)
        });
        loop {
            let ready = socket.ready(true).await.expect("room");
            assert!(!ready.input && !ready.closed);
            match socket.send(b"on", &[]) {
                Ok(count) => break assert_eq!(count, 2),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        socket.all_sent();
        let (mut client, bytes) = reader.join().expect("read");
        assert!(bytes.iter().all(|byte| *byte == 7));
        let mut rest = [0; 2];
        client.read_exact(&mut rest).expect("the rest");
        assert_eq!(&rest, b"on");
    }

    #[tokio::test]
    async fn input_left_to_somebody_else_wakes_nobody_here() {
        let (mut socket, mut client) = pair();
        let descriptor = socket.leave().expect("a descriptor");
        client.write_all(b"for others").expect("room");
        let early = tokio::time::timeout(Duration::from_millis(20), socket.ready(true)).await;
        assert!(early.is_err(), "{early:?}");
        let none = socket.receive(&mut [0; 16], &mut Vec::new());
        assert_eq!(none.map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));
        let mut bytes = [0; 4];
        assert_eq!(sys::unix::receive(&descriptor, &mut bytes).ok(), Some(4));
        socket.attend().expect("a socket");
        assert!(socket.ready(true).await.expect("input").input);
        let mut rest = [0; 16];
        let count = socket.receive(&mut rest, &mut Vec::new()).expect("bytes");
        assert_eq!(&rest[..count], b"others");
        let _descriptor = socket.leave().expect("a descriptor");
        drop(client);
        assert!(socket.ready(false).await.expect("the end").closed);
    }

    #[tokio::test]
    async fn input_wakes_and_the_end_is_told() {
        let (socket, mut client) = pair();
        client.write_all(b"hello").expect("sent");
        assert!(socket.ready(true).await.expect("input").input);
        let (mut bytes, mut fds) = ([0; 2], Vec::new());
        assert_eq!(socket.receive(&mut bytes, &mut fds).expect("read"), 2);
        let mut rest = b"--".to_vec();
        assert_eq!(socket.receive_appending(&mut rest, 2).expect("read"), 2);
        assert_eq!(rest, b"--ll");
        assert_eq!(socket.receive_appending(&mut rest, 9).expect("read"), 1);
        let nothing = socket.receive(&mut bytes, &mut fds).expect_err("nothing");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(client);
        assert!(socket.ready(true).await.expect("the end").closed);
        assert_eq!(socket.receive(&mut bytes, &mut fds).expect("the end"), 0);
    }
}
