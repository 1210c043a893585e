//! Writing a file so that its zeroes take no space.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Blocks of nothing but zeroes become holes.
const BLOCK_BYTES: usize = 64 * 1024;

/// Copies a stream into a file from `at` on. `each` is told how far it is
/// after every block and may end the copy; the file ends where the stream does.
pub(crate) fn copy(
    from: &mut impl Read,
    to: &File,
    at: u64,
    mut each: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = at;
    loop {
        let filled = fill(from, &mut block)?;
        let bytes = &block[..filled];
        if bytes.iter().any(|byte| *byte != 0) {
            to.write_all_at(bytes, at)?;
        }
        at += filled as u64;
        each(at)?;
        if filled < BLOCK_BYTES {
            to.set_len(at)?;
            return Ok(at);
        }
    }
}

fn fill(from: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn zeroes_take_no_space() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let mut content = vec![0; 3 * BLOCK_BYTES + 5];
        content[BLOCK_BYTES] = 7;
        let end = copy(&mut &content[..], file.as_file(), 0, |_| Ok(())).expect("copied");
        assert_eq!(end, content.len() as u64);
        assert_eq!(std::fs::read(file.path()).expect("read"), content);
        let blocks = file.as_file().metadata().expect("metadata").blocks();
        assert!(blocks * 512 < content.len() as u64, "{blocks}");
    }
}
