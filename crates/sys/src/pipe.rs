//! A pipe through which content goes from one descriptor to another without being copied on the
//! way: the kernel passes its pages on.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::error::{SysError, SysResult};

/// What a pipe is asked to hold: the most an ordinary user gets.
const PIPE_BYTES: usize = 1 << 20;
/// What is copied at once where pages cannot be passed on.
const COPY_BYTES: usize = 1 << 18;

/// A pipe for content. What is said to fail with `WouldBlock` waits for nothing.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    /// An empty one.
    pub fn new() -> SysResult<Pipe> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (out, into) =
            pipe_with(flags).map_err(|e| SysError::new("make", "a pipe for content", e))?;
        // One that may not be large does the same in more steps.
        let _ = fcntl_setpipe_size(&into, PIPE_BYTES);
        Ok(Pipe { out, into })
    }

    /// Puts bytes in; how many found room.
    pub fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.into, bytes)?)
    }

    /// Takes up to `max` bytes from a socket; how many, 0 where it ended. An error of kind
    /// `WouldBlock` says that there is nothing, or no room for it.
    pub fn take(&self, socket: impl AsFd, max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(splice(socket, None, &self.into, None, max, flags)?)
    }

    /// Puts up to `max` bytes of a file in, from `at` on; how many, 0 at the file's end. An error of
    /// kind `WouldBlock` says that there is no room.
    pub fn fill(&self, file: &File, mut at: u64, max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(file, Some(&mut at), &self.into, None, max, flags) {
            Ok(count) => Ok(count),
            // A file that gives bytes only.
            Err(Errno::INVAL) => {
                let mut bytes = vec![0; max.min(COPY_BYTES)];
                let count = file.read_at(&mut bytes, at)?;
                match count {
                    0 => Ok(0),
                    _ => self.put(&bytes[..count]),
                }
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Sends up to `max` of the bytes that are there; how many found room. An error of kind
    /// `WouldBlock` says that none did.
    pub fn send(&self, socket: impl AsFd, max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(splice(&self.out, None, socket, None, max, flags)?)
    }

    /// Writes the next `count` bytes, which are there, to a file from `at` on.
    pub fn write_to(&self, file: &File, mut at: u64, mut count: usize) -> io::Result<()> {
        while count > 0 {
            match splice(
                &self.out,
                None,
                file,
                Some(&mut at),
                count,
                SpliceFlags::MOVE,
            ) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(written) => count -= written,
                Err(Errno::INTR) => {}
                // A file system that takes bytes only.
                Err(Errno::INVAL) => return self.copy_to(file, at, count),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn copy_to(&self, file: &File, mut at: u64, mut count: usize) -> io::Result<()> {
        let mut buffer = vec![0; count.min(COPY_BYTES)];
        while count > 0 {
            let piece = count.min(COPY_BYTES);
            let read = rustix::io::read(&self.out, &mut buffer[..piece])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_all_at(&buffer[..read], at)?;
            at += read as u64;
            count -= read;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn through(open: &std::fs::OpenOptions, content: &[u8]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = open.open(&path).unwrap();
        let pipe = Pipe::new().unwrap();
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        let all = content.to_vec();
        let sending = std::thread::spawn(move || sender.write_all(&all));
        receiver.set_nonblocking(true).unwrap();
        let mut at = pipe.put(b"head").unwrap() as u64;
        pipe.write_to(&file, 0, 4).unwrap();
        loop {
            match pipe.take(&receiver, usize::MAX >> 1) {
                Ok(0) => break,
                Ok(count) => {
                    pipe.write_to(&file, at, count).unwrap();
                    at += count as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    crate::unix::wait_readable(&receiver).unwrap();
                }
                Err(e) => panic!("{e}"),
            }
        }
        sending.join().unwrap().unwrap();
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn content_arrives_whole_whatever_the_file_takes() {
        let content: Vec<u8> = (0..3_000_001_u32).map(|n| (n / 7) as u8).collect();
        let mut expected = b"head".to_vec();
        expected.extend_from_slice(&content);
        let mut pages = File::options();
        pages.write(true).create_new(true);
        assert_eq!(through(&pages, &content), expected);
        // Pages are never passed on to a file that is appended to.
        let mut bytes = File::options();
        bytes.append(true).create_new(true);
        assert_eq!(through(&bytes, &content), expected);
    }

    #[test]
    fn files_are_sent_whatever_they_give() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..300_000_u32).map(|n| (n / 5) as u8).collect();
        file.write_all(&content).unwrap();
        let pipe = Pipe::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut sent = Vec::new();
        loop {
            let count = pipe.fill(&file, sent.len() as u64, 50_000).unwrap();
            if count == 0 {
                break;
            }
            assert_eq!(pipe.send(&ours, count).unwrap(), count);
            let mut piece = vec![0; count];
            io::Read::read_exact(&mut theirs, &mut piece).unwrap();
            sent.extend_from_slice(&piece);
        }
        assert_eq!(sent, content);
        // Of this file of the kernel no pages can be had.
        let bytes_only = File::open("/proc/self/pagemap").unwrap();
        assert_eq!(pipe.fill(&bytes_only, 0, 64).unwrap(), 64);
    }

    #[test]
    fn a_full_pipe_says_so() {
        let pipe = Pipe::new().unwrap();
        let filled = pipe.put(&vec![0; PIPE_BYTES + 1]).unwrap();
        assert!(filled <= PIPE_BYTES);
        let more = pipe.put(&[0; 4096]);
        assert_eq!(more.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
