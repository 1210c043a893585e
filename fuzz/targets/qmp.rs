//! Bytes on QEMU's monitor: cut into lines, each read as a message; events are typed.
//!
//! Lines are the same in whatever pieces they arrive, and a line that is too long spoils only itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qemu::qmp::{Event, LineDecoder, Message};

/// Small, so that the limit is reached.
const LINE_MAX_BYTES: usize = 512;

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = lines(&[bytes]);
    let (front, back) = bytes.split_at(bytes.len() * usize::from(*cut) / 256);
    assert_eq!(whole, lines(&[front, back]));
    for line in whole.into_iter().flatten() {
        assert!(line.len() <= LINE_MAX_BYTES);
        if let Ok(Message::Event { name, data, .. }) = Message::parse(&line) {
            let _ = Event::from_parts(&name, data);
        }
    }
});

/// Each line, or nothing for one that was too long.
fn lines(pieces: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    let mut reader = LineDecoder::new(LINE_MAX_BYTES);
    let mut found = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(line) = reader.next_line() {
            found.push(line.ok());
        }
    }
    found
}
