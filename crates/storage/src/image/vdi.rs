//! VirtualBox's VDI.

use super::{Image, le32, le64};

const SIGNATURE_AT: usize = 0x40;
const SIGNATURE: u32 = 0xbeda_107f;
const VERSION: u32 = 0x0001_0001;
const CAPACITY_AT: usize = 0x170;

pub(super) fn is(head: &[u8]) -> bool {
    le32(head, SIGNATURE_AT) == Some(SIGNATURE) && le32(head, SIGNATURE_AT + 4) == Some(VERSION)
}

pub(super) fn read(head: &[u8]) -> Image {
    match le64(head, CAPACITY_AT) {
        Some(capacity) => Image::of("vdi", capacity),
        None => Image::damaged("vdi", "its header is cut short"),
    }
}
