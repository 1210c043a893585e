//! QED (QEMU's `docs/interop/qed_spec`).

use super::{Backing, Image, Source, le32, le64, name_at};
use crate::limits::BACKING_NAME_MAX_BYTES;

const FEATURE_BACKING_FILE: u64 = 1;
/// The backing file is raw, whatever its content looks like.
const FEATURE_BACKING_RAW: u64 = 1 << 2;

pub(super) fn read(head: &[u8], source: &mut dyn Source) -> Image {
    let short = || Image::damaged("qed", "its header is cut short");
    fields(head, source).unwrap_or_else(short)
}

fn fields(head: &[u8], source: &mut dyn Source) -> Option<Image> {
    let features = le64(head, 16)?;
    let backing = match features & FEATURE_BACKING_FILE {
        0 => None,
        _ => {
            let (at, length) = (le32(head, 56)?, le32(head, 60)? as usize);
            if length > BACKING_NAME_MAX_BYTES {
                return None;
            }
            let is_raw = features & FEATURE_BACKING_RAW != 0;
            Some(Backing {
                name: name_at(head, source, at.into(), length)?,
                format: is_raw.then(|| "raw".to_owned()),
            })
        }
    };
    let image = Image {
        format: "qed",
        backing,
        ..Image::default()
    };
    Some(image.with_capacity(le64(head, 48)?))
}
