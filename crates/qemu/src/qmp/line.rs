//! Cutting a byte stream into lines, with a bound on how long a line may be.

use thiserror::Error;

/// A peer sent a line longer than the decoder's limit. The rest of that line is skipped, so
/// decoding can go on with the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a line of more than {limit_bytes} bytes was received; the peer is not speaking QMP")]
pub struct LineTooLong {
    /// The limit that was passed.
    pub limit_bytes: usize,
}

/// Collects bytes and hands out complete lines, without their line end.
///
/// At most the limit plus the size of one [`push`](Self::push) is held.
#[derive(Debug)]
pub struct LineDecoder {
    buffer: Vec<u8>,
    /// Where the first line not yet handed out begins.
    start: usize,
    /// Up to where the buffer is known to hold no line end.
    scanned: usize,
    limit_bytes: usize,
    /// The current line has passed the limit; drop bytes up to its end.
    skipping: bool,
}

impl LineDecoder {
    /// A decoder which refuses lines longer than `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            limit_bytes,
            skipping: false,
        }
    }

    /// Adds bytes as they came from the peer, in pieces of any size.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line that is not empty, or nothing until more bytes are pushed.
    pub fn next_line(&mut self) -> Option<Result<Vec<u8>, LineTooLong>> {
        loop {
            let Some(length) = self.buffer[self.scanned..]
                .iter()
                .position(|&byte| byte == b'\n')
            else {
                return self.no_line_end().map(Err);
            };
            let end = self.scanned + length;
            let line = self.buffer[self.start..end].trim_ascii().to_vec();
            let raw_length = end - self.start;
            self.start = end + 1;
            self.scanned = self.start;
            if std::mem::take(&mut self.skipping) || line.is_empty() {
                continue;
            }
            if raw_length > self.limit_bytes {
                return Some(Err(LineTooLong {
                    limit_bytes: self.limit_bytes,
                }));
            }
            return Some(Ok(line));
        }
    }

    /// Forgets everything received so far.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.start = 0;
        self.scanned = 0;
        self.skipping = false;
    }

    fn no_line_end(&mut self) -> Option<LineTooLong> {
        self.scanned = self.buffer.len();
        if self.skipping {
            self.forget_bytes();
        } else if self.buffer.len() - self.start > self.limit_bytes {
            self.forget_bytes();
            self.skipping = true;
            return Some(LineTooLong {
                limit_bytes: self.limit_bytes,
            });
        }
        None
    }

    fn forget_bytes(&mut self) {
        self.buffer.clear();
        self.start = 0;
        self.scanned = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(decoder: &mut LineDecoder) -> Vec<Result<Vec<u8>, LineTooLong>> {
        std::iter::from_fn(|| decoder.next_line()).collect()
    }

    #[test]
    fn lines_are_cut_and_trimmed() {
        let mut decoder = LineDecoder::new(100);
        decoder.push(b"one\r\n\r\ntwo\nthr");
        assert_eq!(
            lines(&mut decoder),
            [Ok(b"one".to_vec()), Ok(b"two".to_vec())]
        );
        decoder.push(b"ee\n");
        assert_eq!(lines(&mut decoder), [Ok(b"three".to_vec())]);
    }

    #[test]
    fn a_long_line_is_reported_once_and_skipped() {
        let mut decoder = LineDecoder::new(4);
        decoder.push(b"123");
        assert_eq!(lines(&mut decoder), []);
        decoder.push(b"45");
        assert_eq!(lines(&mut decoder), [Err(LineTooLong { limit_bytes: 4 })]);
        decoder.push(b"67890");
        assert_eq!(lines(&mut decoder), []);
        decoder.push(b"x\nabcd\n");
        assert_eq!(lines(&mut decoder), [Ok(b"abcd".to_vec())]);
    }

    #[test]
    fn a_complete_line_over_the_limit_is_refused() {
        let mut decoder = LineDecoder::new(4);
        decoder.push(b"12345\nok\n");
        let refused = LineTooLong { limit_bytes: 4 };
        assert_eq!(lines(&mut decoder), [Err(refused), Ok(b"ok".to_vec())]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            texts in prop::collection::vec("[a-z]{1,20}", 0..10),
            size in 1_usize..16,
        ) {
            let stream = texts.iter().map(|text| format!("{text}\n")).collect::<String>();
            let mut decoder = LineDecoder::new(20);
            let mut seen = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                decoder.push(piece);
                seen.extend(lines(&mut decoder));
            }
            let expected: Vec<_> = texts.into_iter().map(|text| Ok(text.into_bytes())).collect();
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_bytes_stay_bounded(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..40),
        ) {
            let mut decoder = LineDecoder::new(32);
            for piece in pieces {
                decoder.push(&piece);
                for line in lines(&mut decoder).into_iter().flatten() {
                    prop_assert!(line.len() <= 32);
                }
                prop_assert!(decoder.buffer.len() <= 32 + 64);
            }
        }
    }
}
