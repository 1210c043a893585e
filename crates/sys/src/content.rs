//! Content of a file on its way to a socket, without being copied: pages of the file wait in a pipe.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::pipe::Pipe;
use crate::unix;

/// Pieces of one file that wait to be sent before its reader does.
pub const PIECES_MAX: usize = 4;
/// The most in one piece: a pipe has room for all that may wait, wherever in a page of memory each
/// of them begins.
const PIECE_BYTES: usize = 60 * 4096;

/// What a socket may hold of it, so that whoever reads seldom finds nothing: measured to be the
/// fastest, as more no longer stays in the processors' caches.
const UNSENT_BYTES: usize = 1 << 19;

/// How many things wait.
#[derive(Debug, Default)]
pub struct Window {
    state: Mutex<State>,
    less: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// Something of what waited will never be sent.
    given_up: bool,
}

impl Window {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, mut more: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.less.wait_while(self.state(), |state| more(state));
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// One's place among those that wait; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Window>);

impl Place {
    /// Waits until fewer than `max` wait.
    pub fn take(window: &Arc<Window>, max: usize) -> Place {
        window.wait_while(|state| state.waiting >= max).waiting += 1;
        Place(Arc::clone(window))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
        self.0.less.notify_one();
    }
}

/// A piece of a file's content. Pieces are sent in the order they were taken in.
#[derive(Debug)]
pub struct Piece {
    pipe: Arc<Pipe>,
    length: usize,
    is_sent: Cell<bool>,
    place: Place,
}

impl Piece {
    /// How long it is, in bytes; never 0.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Sends what is left behind the `sent` bytes that are on their way; how much found room. An
    /// error of kind `WouldBlock` says that none did.
    pub fn send(&self, socket: impl AsFd, sent: usize) -> io::Result<usize> {
        if sent == 0 {
            unix::hold_unsent(&socket, UNSENT_BYTES);
        }
        match self.pipe.send(socket, self.length - sent)? {
            // Somebody else has emptied the pipe.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.is_sent.set(sent + count == self.length);
                Ok(count)
            }
        }
    }
}

impl Drop for Piece {
    /// What is left of it stays in the pipe, in front of all that would come behind it.
    fn drop(&mut self) {
        if !self.is_sent.get() {
            self.place.0.state().given_up = true;
        }
    }
}

/// Where the content of one file after the other is taken in.
#[derive(Debug)]
pub struct Intake {
    pipe: Arc<Pipe>,
    window: Arc<Window>,
}

impl Intake {
    /// An empty one.
    pub fn new() -> io::Result<Intake> {
        Ok(Intake {
            pipe: Arc::new(Pipe::new().map_err(io::Error::other)?),
            window: Arc::default(),
        })
    }

    /// Takes in up to `max` bytes of a file from `at` on; nothing at its end. Waits while much is
    /// unsent. An error of kind `BrokenPipe` says that an earlier piece was dropped before it was
    /// sent: nothing that would follow it can be.
    pub fn take(&self, file: &File, at: u64, max: u64) -> io::Result<Option<Piece>> {
        let place = Place::take(&self.window, PIECES_MAX);
        let max = usize::try_from(max).map_or(PIECE_BYTES, |max| max.min(PIECE_BYTES));
        let length = loop {
            let waiting = match self.window.state() {
                state if state.given_up => return Err(io::ErrorKind::BrokenPipe.into()),
                state => state.waiting,
            };
            match self.pipe.fill(file, at, max) {
                // A pipe that is smaller than was asked for: an earlier piece makes room.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let is_full = |state: &State| state.waiting >= waiting && !state.given_up;
                    drop(self.window.wait_while(is_full));
                }
                filled => break filled?,
            }
        };
        Ok((length > 0).then(|| Piece {
            pipe: self.pipe.clone(),
            length,
            is_sent: Cell::new(false),
            place,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_file_arrives_whole_and_its_reader_waits_for_the_socket() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..3_000_001_u32).map(|n| (n / 7) as u8).collect();
        file.write_all(&content).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (sender, pieces) = std::sync::mpsc::channel();
        let taking = std::thread::spawn(move || {
            let intake = Intake::new().unwrap();
            let mut at = 100;
            while let Some(piece) = intake.take(&file, at, u64::MAX).unwrap() {
                at += piece.len() as u64;
                sender.send(piece).unwrap();
            }
        });
        let sending = std::thread::spawn(move || {
            for piece in pieces {
                let mut sent = 0;
                while sent < piece.len() {
                    match piece.send(&ours, sent) {
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                        count => sent += count.unwrap(),
                    }
                }
            }
        });
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).unwrap();
        taking.join().unwrap();
        sending.join().unwrap();
        assert!(received == content[100..]);
    }

    #[test]
    fn a_reader_whose_pieces_are_given_up_does_not_wait_for_ever() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 30).unwrap();
        let intake = Intake::new().unwrap();
        let take = move |at: u64| intake.take(&file, at, u64::MAX);
        let pieces: Vec<_> = (0..PIECES_MAX as u64).map(&take).collect();
        let waiting = std::thread::spawn(move || take(0));
        drop(pieces);
        let error = waiting.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_small_pipe_is_waited_for() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let intake = Intake::new().unwrap();
        while intake.pipe.put(&[0; 4096]).is_ok() {}
        let (ours, _theirs) = UnixStream::pair().unwrap();
        // The only room in it is that of a first piece.
        assert_eq!(intake.pipe.send(&ours, 4096).unwrap(), 4096);
        let first = intake.take(&file, 0, 4096).unwrap().unwrap();
        let waiting = std::thread::spawn(move || intake.take(&file, 0, 4096).map(|_| ()));
        first.pipe.send(&ours, 4096).unwrap();
        assert_eq!(first.send(&ours, 0).unwrap(), 4096);
        drop(first);
        waiting.join().unwrap().unwrap();
    }
}
