//! A qcow2 image that holds nothing of its own yet and builds upon another.
//!
//! A linked clone is made of nothing else, and starting qemu-img to write
//! these few hundred bytes takes ten times as long as writing them.

use crate::limits::{BACKING_NAME_MAX_BYTES, L1_TABLE_MAX_BYTES};

/// The usual size of a cluster: 64 KiB.
const CLUSTER_BITS: u32 = 16;
const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
/// Bytes of the guest that one entry of the first-level table stands for.
const L1_ENTRY_BYTES: u64 = CLUSTER_BYTES * (CLUSTER_BYTES / 8);
/// The header of version 3, with the type of compression and its padding.
const HEADER_BYTES: u32 = 112;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const REFCOUNT_TABLE_AT: u64 = CLUSTER_BYTES;
const REFCOUNT_BLOCK_AT: u64 = 2 * CLUSTER_BYTES;
const L1_TABLE_AT: u64 = 3 * CLUSTER_BYTES;

/// What is written to make the image: everything else of the file is a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The length of the file.
    pub length: u64,
    /// Where to write what.
    pub pieces: Vec<(u64, Vec<u8>)>,
}

/// Why there is no such image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// QEMU takes no longer name.
    #[error("the name of the image below is longer than {BACKING_NAME_MAX_BYTES} bytes: {0}")]
    Name(String),
    /// QEMU opens no larger image with such clusters.
    #[error("an overlay of {0} bytes is too large")]
    Size(u64),
}

/// An image of `capacity` bytes that builds upon the one at `backing`, whose
/// format (qemu-img's word) is said, never to be guessed.
///
/// # Errors
/// Names and sizes that QEMU would not open.
pub fn overlay(capacity: u64, backing: &str, format: &str) -> Result<Overlay, OverlayError> {
    if backing.is_empty() || backing.len() > BACKING_NAME_MAX_BYTES {
        return Err(OverlayError::Name(backing.to_owned()));
    }
    image(capacity, Some((backing, format)))
}

/// An image of `capacity` bytes with nothing in it.
///
/// # Errors
/// Sizes that QEMU would not open.
pub fn empty(capacity: u64) -> Result<Overlay, OverlayError> {
    image(capacity, None)
}

fn image(capacity: u64, backing: Option<(&str, &str)>) -> Result<Overlay, OverlayError> {
    let capacity = capacity.next_multiple_of(512);
    let entries = capacity.div_ceil(L1_ENTRY_BYTES).max(1);
    if entries * 8 > L1_TABLE_MAX_BYTES {
        return Err(OverlayError::Size(capacity));
    }
    let l1_clusters = (entries * 8).div_ceil(CLUSTER_BYTES);
    let clusters = 3 + l1_clusters;
    let header = header(capacity, entries, backing);
    let refcounts = 1u16
        .to_be_bytes()
        .repeat(usize::try_from(clusters).unwrap_or_default());
    Ok(Overlay {
        length: clusters * CLUSTER_BYTES,
        pieces: vec![
            (0, header),
            (REFCOUNT_TABLE_AT, REFCOUNT_BLOCK_AT.to_be_bytes().to_vec()),
            (REFCOUNT_BLOCK_AT, refcounts),
        ],
    })
}

fn header(capacity: u64, entries: u64, backing: Option<(&str, &str)>) -> Vec<u8> {
    let (name_at, name_bytes) = match backing {
        None => (0, 0),
        Some((name, format)) => {
            let extension_bytes = 8 + format.len().next_multiple_of(8) + 8;
            (u64::from(HEADER_BYTES) + extension_bytes as u64, name.len())
        }
    };
    let mut out = b"QFI\xfb".to_vec();
    let word = |out: &mut Vec<u8>, value: u32| out.extend(value.to_be_bytes());
    let long = |out: &mut Vec<u8>, value: u64| out.extend(value.to_be_bytes());
    word(&mut out, 3);
    long(&mut out, name_at);
    word(&mut out, u32::try_from(name_bytes).unwrap_or_default());
    word(&mut out, CLUSTER_BITS);
    long(&mut out, capacity);
    word(&mut out, 0); // not encrypted
    word(&mut out, u32::try_from(entries).unwrap_or_default());
    long(&mut out, L1_TABLE_AT);
    long(&mut out, REFCOUNT_TABLE_AT);
    word(&mut out, 1); // clusters of the refcount table
    word(&mut out, 0); // snapshots
    long(&mut out, 0);
    long(&mut out, 0); // incompatible features
    long(&mut out, 0); // compatible features
    long(&mut out, 0); // features that others clear
    word(&mut out, 4); // refcounts of 16 bits
    word(&mut out, HEADER_BYTES);
    long(&mut out, 0); // zlib, padding
    if let Some((name, format)) = backing {
        word(&mut out, BACKING_FORMAT);
        word(&mut out, u32::try_from(format.len()).unwrap_or_default());
        out.extend(format.as_bytes());
        out.resize(out.len().next_multiple_of(8), 0);
        long(&mut out, 0); // the end of the extensions
        out.extend(name.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Backing, inspect};
    use proptest::prelude::*;

    /// The file's content.
    fn file(overlay: &Overlay) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(overlay.length).unwrap()];
        for (at, piece) in &overlay.pieces {
            let at = usize::try_from(*at).unwrap();
            bytes[at..at + piece.len()].copy_from_slice(piece);
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            capacity in 0u64..1 << 44,
            name in "/[a-z/ü]{1,200}",
            format in "raw|qcow2",
        ) {
            let made = file(&overlay(capacity, &name, &format).unwrap());
            let image = inspect(&mut &made[..]);
            prop_assert_eq!(image.damage, None);
            prop_assert_eq!(image.format, "qcow2");
            prop_assert_eq!(image.capacity, Some(capacity.next_multiple_of(512)));
            prop_assert_eq!(image.backing, Some(Backing { name, format: Some(format) }));
        }
    }

    #[test]
    fn an_empty_image_builds_upon_nothing() {
        let image = inspect(&mut &file(&empty(1 << 30).unwrap())[..]);
        assert_eq!((image.capacity, image.backing), (Some(1 << 30), None));
    }

    #[test]
    fn what_qemu_would_not_open_is_refused() {
        assert!(matches!(
            overlay(1, &"x".repeat(1024), "raw"),
            Err(OverlayError::Name(_))
        ));
        assert!(matches!(overlay(1, "", "raw"), Err(OverlayError::Name(_))));
        assert!(matches!(
            overlay(1 << 60, "/a", "raw"),
            Err(OverlayError::Size(_))
        ));
    }
}
