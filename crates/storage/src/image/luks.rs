//! LUKS, where it is the image itself.

use super::{Image, be16, be32};

const VERSION_AT: usize = 6;
const PAYLOAD_AT: usize = 104;
const SECTOR_BYTES: u64 = 512;

pub(super) fn read(head: &[u8], length: u64) -> Image {
    let image = Image {
        format: "raw",
        encryption: Some("luks"),
        ..Image::default()
    };
    // Where the data of version 2 begins stands in a document after the header.
    let (Some(1), Some(payload)) = (be16(head, VERSION_AT), be32(head, PAYLOAD_AT)) else {
        return image;
    };
    let payload = u64::from(payload) * SECTOR_BYTES;
    image.with_capacity(length.saturating_sub(payload))
}
