//! A client's bytes, read ahead of the disk: while one piece is written the next ones arrive, so
//! that neither the socket nor the disk waits for the other.

use super::transfer::{Source, start_thread};
use crate::error::Result;
use crate::limits::{VOLUME_PIECES_MAX, VOLUME_WRITE_BYTES};
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// The beginning of a buffer that was filled, and how much of it.
type Filled = (Vec<u8>, usize);

/// What a thread of its own reads. Let go of, it ends with the next bytes that come.
pub(super) struct Ahead {
    filled: Receiver<io::Result<Filled>>,
    used: Sender<Vec<u8>>,
}

impl Ahead {
    /// Begins to read.
    pub(super) fn of(source: Source) -> Result<Ahead> {
        let (fill, filled) = sync_channel(VOLUME_PIECES_MAX);
        let (used, free) = channel();
        for _ in 0..VOLUME_PIECES_MAX {
            // Both ends are here.
            let _ = used.send(vec![0; VOLUME_WRITE_BYTES]);
        }
        start_thread(move || read_all(source, &free, &fill))?;
        Ok(Ahead { filled, used })
    }

    /// Hands over piece by piece until there are no more.
    pub(super) fn each<E>(
        self,
        failed: impl Fn(&io::Error) -> E,
        mut take: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for piece in &self.filled {
            let (buffer, count) = piece.map_err(|e| failed(&e))?;
            take(&buffer[..count])?;
            // The reader may have read all there is.
            let _ = self.used.send(buffer);
        }
        Ok(())
    }
}

fn read_all(
    Source(mut source): Source,
    free: &Receiver<Vec<u8>>,
    fill: &SyncSender<io::Result<Filled>>,
) {
    for mut buffer in free {
        let read = match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok((buffer, count)),
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if fill.send(read).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read};

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    fn read(source: impl Read + Send + 'static) -> std::result::Result<Vec<u8>, io::ErrorKind> {
        let mut all = Vec::new();
        let ahead = Ahead::of(Source(Box::new(source))).expect("a thread");
        let taken = ahead.each(io::Error::kind, |bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        });
        taken.map(|()| all)
    }

    #[test]
    fn all_comes_in_order_and_what_fails_is_told() {
        let all: Vec<u8> = (0..3 << 20).map(|n: u32| (n >> 8) as u8).collect();
        assert_eq!(read(Cursor::new(all.clone())), Ok(all));
        assert_eq!(read(Broken), Err(io::ErrorKind::ConnectionReset));
        let end = Cursor::new(vec![7; 100]).chain(Broken);
        assert_eq!(read(end), Err(io::ErrorKind::ConnectionReset));
    }

    #[test]
    fn a_writer_that_gives_up_is_not_read_for() {
        let ahead = Ahead::of(Source(Box::new(io::repeat(1)))).expect("a thread");
        assert_eq!(ahead.each(|_| "read", |_| Err("full")), Err("full"));
    }
}
