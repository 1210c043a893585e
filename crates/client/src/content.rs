//! Content that goes from a stream to a file without being copied on the way.

use std::fs::File;
use std::io;

use sys::lent::Lent;
use sys::pipe::Pipe;

/// What a daemon sends from here on, for as long as it is content.
#[derive(Debug)]
pub struct Content(pub(crate) Lent);

impl Content {
    /// Writes it to a file from `at` on; how much it was, in bytes.
    ///
    /// # Errors
    /// The disk's, or the connection's.
    pub fn write_to(mut self, file: &File, at: u64) -> io::Result<u64> {
        let pipe = Pipe::new().map_err(io::Error::other)?;
        let mut end = at;
        loop {
            match self.0.pour(&pipe)? {
                0 => return Ok(end - at),
                count => {
                    pipe.write_to(file, end, count)?;
                    end += count as u64;
                }
            }
        }
    }
}
