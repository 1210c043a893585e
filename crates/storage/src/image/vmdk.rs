//! VMware's VMDK: a sparse file with a descriptor in it, or a descriptor that names files.

use super::{Backing, Image, Source, le64};
use crate::limits::{BACKING_NAME_MAX_BYTES, VMDK_DESCRIPTOR_MAX_BYTES};

const SECTOR_BYTES: u64 = 512;
const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile";

pub(super) fn is_descriptor(head: &[u8]) -> bool {
    head.starts_with(DESCRIPTOR)
}

pub(super) fn read_sparse(head: &[u8], source: &mut dyn Source) -> Image {
    let (Some(sectors), Some(at), Some(length)) = (le64(head, 12), le64(head, 28), le64(head, 36))
    else {
        return Image::damaged("vmdk", "its header is cut short");
    };
    let bytes = |sectors: u64| sectors.saturating_mul(SECTOR_BYTES);
    let mut image = Image::of("vmdk", bytes(sectors));
    if at > 0 {
        let length = usize::try_from(bytes(length)).unwrap_or(usize::MAX);
        let text = source.read(bytes(at), length.min(VMDK_DESCRIPTOR_MAX_BYTES));
        image.backing = parent(&String::from_utf8_lossy(&text));
    }
    image
}

pub(super) fn read_descriptor(source: &mut dyn Source) -> Image {
    let text = source.read(0, VMDK_DESCRIPTOR_MAX_BYTES);
    let text = String::from_utf8_lossy(&text);
    let sectors = text
        .lines()
        .filter_map(extent_sectors)
        .fold(0u64, u64::saturating_add);
    let mut image = Image::of("vmdk", sectors.saturating_mul(SECTOR_BYTES));
    image.backing = parent(&text);
    image
}

/// The sectors of an extent: `RW 16384 FLAT "disk-flat.vmdk" 0`.
fn extent_sectors(line: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let access = words.next()?;
    if !["RW", "RDONLY", "NOACCESS"].contains(&access) {
        return None;
    }
    words.next()?.parse().ok()
}

fn parent(text: &str) -> Option<Backing> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("parentFileNameHint=\""))?;
    let name = line.split('"').next()?;
    let fits = !name.is_empty() && name.len() <= BACKING_NAME_MAX_BYTES;
    fits.then(|| Backing {
        name: name.to_owned(),
        format: Some("vmdk".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::inspect;

    #[test]
    fn a_descriptor_tells_size_and_parent() {
        let text = "# Disk DescriptorFile\nversion=1\nparentFileNameHint=\"base.vmdk\"\n\
                    RW 100 FLAT \"a-flat.vmdk\" 0\nRW 28 FLAT \"b-flat.vmdk\" 0\n";
        let image = inspect(&mut text.as_bytes());
        assert_eq!((image.format, image.capacity), ("vmdk", Some(128 * 512)));
        assert_eq!(image.backing.unwrap().name, "base.vmdk");
    }
}
