//! Hyper-V's VHDX: the size stands in a table that another table points at.

use super::{Image, Source, le32, le64};
use crate::limits::VHDX_ENTRIES_MAX;

/// Where the two copies of the table of regions are.
const REGION_TABLES_AT: [u64; 2] = [192 * 1024, 256 * 1024];
const REGION_HEADER_BYTES: usize = 16;
const METADATA_HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 32;
/// Tables are of this size.
const TABLE_BYTES: usize = 64 * 1024;

/// 8B7CA206-4790-4B9A-B8FE-575F050F886E as it is stored.
const METADATA_REGION: [u8; 16] = [
    0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e,
];
/// 2FA54224-CD1B-4876-B211-5DBED83BF4B8 as it is stored.
const DISK_SIZE_ITEM: [u8; 16] = [
    0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8,
];

pub(super) fn read(source: &mut dyn Source) -> Image {
    match capacity(source) {
        Some(capacity) => Image::of("vhdx", capacity),
        None => Image::damaged("vhdx", "its tables name no size"),
    }
}

fn capacity(source: &mut dyn Source) -> Option<u64> {
    let metadata_at = REGION_TABLES_AT
        .into_iter()
        .find_map(|at| metadata_region(&source.read(at, TABLE_BYTES)))?;
    let table = source.read(metadata_at, TABLE_BYTES);
    if !table.starts_with(b"metadata") {
        return None;
    }
    let count = u16::from_le_bytes(table.get(10..12)?.try_into().ok()?);
    let entry = entries(&table, METADATA_HEADER_BYTES, count.into())
        .find(|entry| entry.starts_with(&DISK_SIZE_ITEM))?;
    let at = metadata_at.checked_add(u64::from(le32(entry, 16)?))?;
    le64(&source.read(at, 8), 0)
}

fn metadata_region(table: &[u8]) -> Option<u64> {
    if !table.starts_with(b"regi") {
        return None;
    }
    let count = le32(table, 8)? as usize;
    entries(table, REGION_HEADER_BYTES, count)
        .find(|entry| entry.starts_with(&METADATA_REGION))
        .and_then(|entry| le64(entry, 16))
}

fn entries(table: &[u8], header: usize, count: usize) -> impl Iterator<Item = &[u8]> {
    let rest = table.get(header..).unwrap_or_default();
    rest.chunks_exact(ENTRY_BYTES)
        .take(count.min(VHDX_ENTRIES_MAX))
}
