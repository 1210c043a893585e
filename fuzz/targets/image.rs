//! Bytes as an image file, a snapshot's or a volume's or a secret's description.
//!
//! A header is written by a guest: whatever it says, sizes stay within limits, little of the file is
//! asked for, and what it names is short text without control characters at its ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::secret::SecretDefinition;
use model::storage::{Capacity, PoolKind, VolumeDefinition};
use storage::image::{Source, inspect};

/// A few short pieces are enough for every format.
const ASKED_MAX_BYTES: u64 = 4 << 20;
const READS_MAX: u32 = 64;

struct Counted<'a> {
    bytes: &'a [u8],
    asked: u64,
    reads: u32,
}

impl Source for Counted<'_> {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&mut self, at: u64, length: usize) -> Vec<u8> {
        self.asked += length as u64;
        self.reads += 1;
        let mut bytes = self.bytes;
        bytes.read(at, length)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut file = Counted { bytes, asked: 0, reads: 0 };
    let image = inspect(&mut file);
    assert!(file.asked <= ASKED_MAX_BYTES && file.reads <= READS_MAX);
    assert!(image.capacity.unwrap_or(0) <= i64::MAX as u64);
    assert!(!image.format.is_empty());
    if let Some(backing) = &image.backing {
        assert!(backing.name.len() <= 1023);
        let _ = backing.path("/images/top");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        describe(text);
    }
});

fn describe(text: &str) {
    if let Ok(volume) = VolumeDefinition::parse(text, PoolKind::Dir, Capacity::OfSource) {
        let written = volume.to_xml();
        let again = VolumeDefinition::parse(&written, PoolKind::Dir, Capacity::OfSource);
        let again = again.unwrap_or_else(|error| panic!("{error} in\n{written}"));
        assert_eq!(again.to_xml(), written);
    }
    if let Ok(secret) = SecretDefinition::parse(text) {
        let written = secret.to_xml();
        let again = SecretDefinition::parse(&written);
        let again = again.unwrap_or_else(|error| panic!("{error} in\n{written}"));
        assert_eq!(again.to_xml(), written);
    }
}
