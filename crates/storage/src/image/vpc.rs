//! Virtual PC's VHD, with a copy of its footer in front.

use super::{Image, be64};

const CAPACITY_AT: usize = 48;

pub(super) fn read(head: &[u8]) -> Image {
    match be64(head, CAPACITY_AT) {
        Some(capacity) => Image::of("vpc", capacity),
        None => Image::damaged("vpc", "its header is cut short"),
    }
}
