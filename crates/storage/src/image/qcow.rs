//! qcow2 and its ancestor qcow (QEMU's `docs/interop/qcow2`).

use std::collections::BTreeSet;

use model::storage::VolumeFeature;

use super::{Backing, Image, Source, be32, be64, name_at};
use crate::limits::{
    BACKING_NAME_MAX_BYTES, HEADER_EXTENSIONS_MAX, L1_TABLE_MAX_BYTES, REFCOUNT_TABLE_MAX_BYTES,
    SNAPSHOTS_MAX,
};

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
const INCOMPATIBLE_EXTENDED_L2: u64 = 1 << 4;
const COMPATIBLE_LAZY_REFCOUNTS: u64 = 1;

/// Bytes of a header of version 2.
const V2_HEADER_BYTES: usize = 72;
/// Bytes of the shortest header of version 3.
const V3_HEADER_BYTES: u32 = 104;

pub(super) fn read(head: &[u8], source: &mut dyn Source) -> Image {
    match be32(head, 4) {
        Some(1) => read_v1(head, source).unwrap_or_else(|| Image::damaged("qcow", SHORT)),
        Some(version @ (2 | 3)) => {
            read_v2(head, source, version).unwrap_or_else(|| Image::damaged("qcow2", SHORT))
        }
        Some(version) => Image::damaged("qcow2", format!("it is of version {version}")),
        None => Image::damaged("qcow2", SHORT),
    }
}

const SHORT: &str = "its header is cut short";

fn read_v1(head: &[u8], source: &mut dyn Source) -> Option<Image> {
    let backing = backing(head, source, None)?;
    let encryption = (be32(head, 36)? == 1).then_some("qcow");
    let image = Image {
        format: "qcow",
        backing,
        encryption,
        ..Image::default()
    };
    Some(image.with_capacity(be64(head, 24)?))
}

fn read_v2(head: &[u8], source: &mut dyn Source, version: u32) -> Option<Image> {
    let cluster_bits = be32(head, 20)?;
    if !(9..=21).contains(&cluster_bits) {
        let why = format!("its clusters are of 2^{cluster_bits} bytes");
        return Some(Image::damaged("qcow2", why));
    }
    let l1_entries = be32(head, 36)?;
    let snapshots = be32(head, 60)?;
    let refcounts = u64::from(be32(head, 56)?) << cluster_bits;
    if u64::from(l1_entries) * 8 > L1_TABLE_MAX_BYTES
        || refcounts > REFCOUNT_TABLE_MAX_BYTES
        || snapshots > SNAPSHOTS_MAX
    {
        return Some(Image::damaged("qcow2", "its tables are too large"));
    }
    if version == 3 && !(V3_HEADER_BYTES..=1 << cluster_bits).contains(&be32(head, 100)?) {
        return Some(Image::damaged(
            "qcow2",
            "its header is not of a length that can be",
        ));
    }
    let extensions = extensions(head, version)?;
    let has_data_file = version == 3 && be64(head, 72)? & INCOMPATIBLE_DATA_FILE != 0;
    if has_data_file && extensions.data_file.is_none() {
        // Further on in the header than any program writes it, there may be any name.
        let why = "its data lies in another file, whose name is not where it should be";
        return Some(Image::damaged("qcow2", why));
    }
    let image = Image {
        format: "qcow2",
        backing: backing(head, source, extensions.backing_format)?,
        compat: (version == 3).then_some("1.1"),
        cluster_bytes: Some(1 << cluster_bits),
        features: match version {
            3 => Some(features(head)?),
            _ => None,
        },
        data_file: extensions.data_file,
        encryption: match be32(head, 32)? {
            1 => Some("qcow"),
            2 => Some("luks"),
            _ => None,
        },
        snapshots,
        ..Image::default()
    };
    Some(image.with_capacity(be64(head, 24)?))
}

fn features(head: &[u8]) -> Option<BTreeSet<VolumeFeature>> {
    let (incompatible, compatible) = (be64(head, 72)?, be64(head, 80)?);
    let all = [
        (
            compatible & COMPATIBLE_LAZY_REFCOUNTS,
            VolumeFeature::LazyRefcounts,
        ),
        (
            incompatible & INCOMPATIBLE_EXTENDED_L2,
            VolumeFeature::ExtendedL2,
        ),
        (
            incompatible & INCOMPATIBLE_DATA_FILE,
            VolumeFeature::DataFile,
        ),
    ];
    Some(
        all.into_iter()
            .filter(|(bit, _)| *bit != 0)
            .map(|(_, feature)| feature)
            .collect(),
    )
}

/// The outer option is a header cut short, the inner one an image that stands alone.
fn backing(
    head: &[u8],
    source: &mut dyn Source,
    format: Option<String>,
) -> Option<Option<Backing>> {
    let (at, length) = (be64(head, 8)?, be32(head, 16)? as usize);
    if at == 0 || length == 0 {
        return Some(None);
    }
    if length > BACKING_NAME_MAX_BYTES {
        return None;
    }
    let name = name_at(head, source, at, length)?;
    Some(Some(Backing { name, format }))
}

#[derive(Default)]
struct Extensions {
    backing_format: Option<String>,
    data_file: Option<String>,
}

fn extensions(head: &[u8], version: u32) -> Option<Extensions> {
    let mut found = Extensions::default();
    let mut at = match version {
        2 => V2_HEADER_BYTES,
        _ => be32(head, 100)? as usize,
    };
    for _ in 0..HEADER_EXTENSIONS_MAX {
        // The list may fill the header's cluster; what is beyond our piece says nothing we need.
        let (Some(kind), Some(length)) = (be32(head, at), be32(head, at.checked_add(4)?)) else {
            break;
        };
        let start = at.checked_add(8)?;
        let end = start.checked_add(length as usize)?;
        let text = || {
            let bytes = head.get(start..end)?;
            String::from_utf8(bytes.to_vec()).ok()
        };
        match kind {
            EXTENSION_END => break,
            EXTENSION_BACKING_FORMAT => found.backing_format = text(),
            EXTENSION_DATA_FILE => found.data_file = text(),
            _ => {}
        }
        at = end.checked_next_multiple_of(8)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::super::inspect;
    use super::*;

    /// A header of version 3 with room for a change.
    fn header() -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        head[20..24].copy_from_slice(&16u32.to_be_bytes());
        head[24..32].copy_from_slice(&(1u64 << 30).to_be_bytes());
        head[100..104].copy_from_slice(&104u32.to_be_bytes());
        head
    }

    fn set(head: &mut [u8], at: usize, bytes: &[u8]) {
        head[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn a_data_file_cannot_be_hidden() {
        let mut head = header();
        set(&mut head, 72, &INCOMPATIBLE_DATA_FILE.to_be_bytes());
        let damage = |head: &[u8]| inspect(&mut &head[..]).damage;
        assert!(damage(&head).is_some(), "no name at all");
        let mut long = header();
        long.resize(128 * 1024, 0);
        set(&mut long, 72, &INCOMPATIBLE_DATA_FILE.to_be_bytes());
        // One extension that fills what is looked at, and the name behind it.
        set(&mut long, 104, &0x1234_5678u32.to_be_bytes());
        set(&mut long, 108, &60_000u32.to_be_bytes());
        set(&mut long, 60_112, &EXTENSION_DATA_FILE.to_be_bytes());
        set(&mut long, 60_116, &11u32.to_be_bytes());
        set(&mut long, 60_120, b"/etc/shadow");
        assert!(damage(&long).is_some(), "a name far behind");
        set(&mut head, 104, &EXTENSION_DATA_FILE.to_be_bytes());
        set(&mut head, 108, &5u32.to_be_bytes());
        set(&mut head, 112, b"/data");
        let image = inspect(&mut &head[..]);
        assert_eq!(
            (image.data_file.as_deref(), image.damage),
            (Some("/data"), None)
        );
    }

    #[test]
    fn a_header_tells_size_clusters_and_backing() {
        let mut head = header();
        set(&mut head, 8, &200u64.to_be_bytes());
        set(&mut head, 16, &5u32.to_be_bytes());
        set(&mut head, 200, b"/base");
        set(&mut head, 72, &(1u64 << 4).to_be_bytes());
        set(&mut head, 80, &1u64.to_be_bytes());
        set(&mut head, 104, &0xe279_2acau32.to_be_bytes());
        set(&mut head, 108, &5u32.to_be_bytes());
        set(&mut head, 112, b"qcow2");
        let image = inspect(&mut &head[..]);
        assert_eq!((image.format, image.capacity), ("qcow2", Some(1 << 30)));
        assert_eq!(
            (image.compat, image.cluster_bytes),
            (Some("1.1"), Some(65_536))
        );
        let backing = image.backing.unwrap();
        assert_eq!(
            (backing.name.as_str(), backing.format.as_deref()),
            ("/base", Some("qcow2"))
        );
        let features = image.features.unwrap();
        assert!(features.contains(&VolumeFeature::LazyRefcounts));
        assert!(features.contains(&VolumeFeature::ExtendedL2));
        assert_eq!(image.damage, None);
    }

    #[test]
    fn lies_are_damage_and_nothing_else() {
        for (at, bytes) in [
            (20, &63u32.to_be_bytes()[..]),
            (36, &u32::MAX.to_be_bytes()[..]),
            (60, &u32::MAX.to_be_bytes()[..]),
            (24, &u64::MAX.to_be_bytes()[..]),
            (4, &9u32.to_be_bytes()[..]),
        ] {
            let mut head = header();
            set(&mut head, at, bytes);
            let image = inspect(&mut &head[..]);
            assert_eq!(image.format, "qcow2");
            assert!(image.damage.is_some(), "{at}");
        }
        let mut long = header();
        set(&mut long, 8, &200u64.to_be_bytes());
        set(&mut long, 16, &u32::MAX.to_be_bytes());
        assert!(inspect(&mut &long[..]).damage.is_some());
        assert!(inspect(&mut &header()[..30]).damage.is_some());
    }
}
