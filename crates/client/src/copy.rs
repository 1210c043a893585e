//! Copying standard input and output to a socket, for connections through ssh.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Copies both ways until the daemon closes the socket or nobody listens any more.
///
/// # Errors
/// If the socket cannot be reached.
pub fn copy_to_socket(path: &Path) -> io::Result<()> {
    let mut socket = UnixStream::connect(path)?;
    let mut sending = socket.try_clone()?;
    std::thread::spawn(move || {
        _ = io::copy(&mut io::stdin(), &mut sending);
        _ = sending.shutdown(Shutdown::Write);
    });
    let mut out = Flushing(io::stdout());
    io::copy(&mut socket, &mut out).map(|_| ())
}

/// Hands everything on at once: the other side waits for each answer.
struct Flushing(io::Stdout);

impl Write for Flushing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.0.write(data)?;
        self.0.flush()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
