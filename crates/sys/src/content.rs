//! Content of a file on its way to a socket, without being copied: pages of the file wait in a pipe.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::pipe::Pipe;

/// Pieces of one file that wait to be sent before its reader does.
pub const PIECES_MAX: usize = 4;
/// The most in one piece: a pipe has room for all that may wait, wherever in a page of memory each
/// of them begins.
const PIECE_BYTES: usize = 60 * 4096;

/// How many things wait.
#[derive(Debug, Default)]
pub struct Window {
    waiting: Mutex<usize>,
    less: Condvar,
}

/// One's place among those that wait; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Window>);

impl Place {
    /// Waits until fewer than `max` wait.
    pub fn take(window: &Arc<Window>, max: usize) -> Place {
        let waiting = window
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waiting = window.less.wait_while(waiting, |waiting| *waiting >= max);
        *waiting.unwrap_or_else(PoisonError::into_inner) += 1;
        Place(Arc::clone(window))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = self.0.waiting.lock();
        *waiting.unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.less.notify_one();
    }
}

/// A piece of a file's content. Pieces are sent in the order they were taken in.
#[derive(Debug)]
pub struct Piece {
    pipe: Arc<Pipe>,
    length: usize,
    _place: Place,
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
        match self.pipe.send(socket, self.length - sent)? {
            // Somebody else has emptied the pipe.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
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
    /// unsent.
    pub fn take(&self, file: &File, at: u64, max: u64) -> io::Result<Option<Piece>> {
        let place = Place::take(&self.window, PIECES_MAX);
        let max = usize::try_from(max).map_or(PIECE_BYTES, |max| max.min(PIECE_BYTES));
        let length = loop {
            match self.pipe.fill(file, at, max) {
                // A pipe that is smaller than was asked for.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.pipe.wait_for_room()?,
                filled => break filled?,
            }
        };
        Ok((length > 0).then(|| Piece {
            pipe: self.pipe.clone(),
            length,
            _place: place,
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
}
