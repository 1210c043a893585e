//! The snapshots inside a qcow2 image, read from its header and its snapshot
//! table (QEMU's `docs/interop/qcow2`).

/// Snapshots of one image that are looked at.
pub const TAGS_MAX: u32 = 65_536;
/// The longest snapshot table that is looked at, in bytes.
pub const TAG_TABLE_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of an image's head that [`table_place`] needs.
pub const HEAD_BYTES: usize = 72;

/// Where an image keeps its snapshot table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TablePlace {
    /// Its first byte in the file.
    pub offset: u64,
    /// How many snapshots are in it.
    pub count: u32,
}

/// A snapshot inside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// How much of a machine's memory and state is kept with it, in bytes.
    pub vm_state_bytes: u64,
}

/// Where the snapshot table of an image with this head is; nothing for what
/// is no qcow2.
pub fn table_place(head: &[u8]) -> Option<TablePlace> {
    if head.get(..4)? != b"QFI\xfb" {
        return None;
    }
    Some(TablePlace {
        count: u32_at(head, 60)?.min(TAGS_MAX),
        offset: u64_at(head, 64)?,
    })
}

/// The snapshots in a table; what is cut off or damaged ends the list.
pub fn parse_table(table: &[u8], count: u32) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = table;
    for _ in 0..count.min(TAGS_MAX) {
        let Some((tag, after)) = parse_entry(rest) else {
            break;
        };
        tags.push(tag);
        rest = after;
    }
    tags
}

fn parse_entry(entry: &[u8]) -> Option<(Tag, &[u8])> {
    let id_bytes = usize::from(u16_at(entry, 12)?);
    let name_bytes = usize::from(u16_at(entry, 14)?);
    let small_state = u64::from(u32_at(entry, 32)?);
    let extra_bytes = usize::try_from(u32_at(entry, 36)?).ok()?;
    let extra = entry.get(40..40usize.checked_add(extra_bytes)?)?;
    let name_at = 40usize.checked_add(extra_bytes)?.checked_add(id_bytes)?;
    let end = name_at.checked_add(name_bytes)?;
    let name = entry.get(name_at..end)?;
    let tag = Tag {
        name: String::from_utf8_lossy(name).into_owned(),
        vm_state_bytes: u64_at(extra, 0).unwrap_or(small_state),
    };
    let next = end.checked_next_multiple_of(8)?;
    Some((tag, entry.get(next..).unwrap_or_default()))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(id: &str, name: &str, state: u64) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend((id.len() as u16).to_be_bytes());
        bytes.extend((name.len() as u16).to_be_bytes());
        bytes.extend([0; 20]);
        bytes.extend(16u32.to_be_bytes());
        bytes.extend(state.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(id.as_bytes());
        bytes.extend(name.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn names_and_states_are_read() {
        let table = [entry("1", "first", 0), entry("22", "second one", 1 << 33)].concat();
        let tags = parse_table(&table, 2);
        assert_eq!(
            tags[0],
            Tag {
                name: "first".into(),
                vm_state_bytes: 0
            }
        );
        assert_eq!(
            tags[1],
            Tag {
                name: "second one".into(),
                vm_state_bytes: 1 << 33
            }
        );
        assert_eq!(parse_table(&table, 9).len(), 2);
        assert_eq!(table_place(b"not an image"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..400), count: u32) {
            let _ = parse_table(&bytes, count);
            let _ = table_place(&bytes);
        }
    }
}
