//! Archives (tar): where the files in one lie, and the header of a file that
//! is put into one. Only regular files count; nothing is ever unpacked by name.

use crate::image::Source;
use crate::limits::{TAR_EXTENDED_MAX_BYTES, TAR_MEMBERS_MAX};
use thiserror::Error;

/// What archives are made of, in bytes.
pub const BLOCK_BYTES: u64 = 512;
const BLOCK: usize = 512;
/// The two empty blocks at the end.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// A regular file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, as the archive has it.
    pub name: String,
    /// Where its content begins.
    pub at: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// Why an archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TarError {
    /// A header whose sum is wrong, or a number that is none.
    #[error("the header at byte {0} is damaged")]
    Header(u64),
    /// It ends too soon.
    #[error("it is cut short: '{0}' is not all there")]
    CutShort(String),
    /// Too much in it.
    #[error("there are more than {TAR_MEMBERS_MAX} files in it")]
    TooMany,
    /// A name that is too long for a header, or a file that is too large.
    #[error("'{0}' cannot be put into an archive")]
    Unwritable(String),
}

/// Whether a file that begins like this is an archive.
pub fn is_archive(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// The regular files of an archive, in order.
///
/// # Errors
/// If it is damaged, cut short or beyond the limits.
pub fn members(source: &mut dyn Source) -> Result<Vec<Member>, TarError> {
    let total = source.length();
    let mut found = Vec::new();
    let mut headers = 0;
    // What extended headers say of the next file.
    let mut named: Option<String> = None;
    let mut sized: Option<u64> = None;
    let mut at = 0u64;
    while at < total {
        let block = source.read(at, BLOCK);
        if block.len() < BLOCK {
            return Err(TarError::CutShort("a header".to_owned()));
        }
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        headers += 1;
        if headers > 4 * TAR_MEMBERS_MAX {
            return Err(TarError::TooMany);
        }
        let header = Header::read(&block).ok_or(TarError::Header(at))?;
        let content = at + BLOCK_BYTES;
        let is_extended = matches!(header.kind, b'x' | b'g' | b'L' | b'K');
        let length = match is_extended {
            true => header.length,
            false => sized.take().unwrap_or(header.length),
        };
        let end = content.checked_add(length).filter(|end| *end <= total);
        let end = end.ok_or_else(|| TarError::CutShort(header.name.clone()))?;
        match header.kind {
            b'x' | b'L' => {
                let text = extension(source, content, length).ok_or(TarError::Header(at))?;
                match header.kind {
                    b'L' => named = Some(text.trim_end_matches('\0').to_owned()),
                    _ => {
                        named = record(&text, "path").map(str::to_owned).or(named);
                        sized = record(&text, "size").and_then(|size| size.parse().ok());
                    }
                }
            }
            b'0' | 0 => {
                if found.len() == TAR_MEMBERS_MAX {
                    return Err(TarError::TooMany);
                }
                let name = named.take().unwrap_or(header.name);
                found.push(Member {
                    name,
                    at: content,
                    length,
                });
            }
            b'g' | b'K' => {}
            // Directories, links and devices are of no interest.
            _ => named = None,
        }
        at = end.next_multiple_of(BLOCK_BYTES);
    }
    Ok(found)
}

fn extension(source: &mut dyn Source, at: u64, length: u64) -> Option<String> {
    let length = Some(length).filter(|length| *length <= TAR_EXTENDED_MAX_BYTES)?;
    String::from_utf8(source.read(at, usize::try_from(length).ok()?)).ok()
}

/// The value of a record, `LENGTH NAME=VALUE` and a newline each.
fn record<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(' ')?;
        rest.strip_prefix(name)?.strip_prefix('=')
    })
}

struct Header {
    name: String,
    length: u64,
    kind: u8,
}

impl Header {
    fn read(block: &[u8]) -> Option<Header> {
        let sum = number(&block[148..156])?;
        (sum == checksum(block)).then_some(())?;
        let name = text(&block[..100])?;
        // Only the standard's own writers have a prefix; GNU's have times there.
        let prefix = match &block[257..263] {
            b"ustar\0" => text(&block[345..500])?,
            _ => String::new(),
        };
        Some(Header {
            name: match prefix.is_empty() {
                true => name,
                false => format!("{prefix}/{name}"),
            },
            length: number(&block[124..136])?,
            kind: block[156],
        })
    }
}

/// The sum of a header, its own field taken as blanks.
fn checksum(block: &[u8]) -> u64 {
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(*byte),
        })
        .sum()
}

fn text(field: &[u8]) -> Option<String> {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).ok()
}

/// A number: octal digits, or binary where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, binary @ ..] = field {
        let mut bytes = binary.iter();
        return bytes.try_fold(0u64, |value, byte| {
            let shifted = value.checked_mul(256)?;
            Some(shifted | u64::from(*byte))
        });
    }
    let digits = text(field)?;
    let digits = digits.trim_matches(' ');
    match digits.is_empty() {
        true => Some(0),
        false => u64::from_str_radix(digits, 8).ok(),
    }
}

/// The header of a regular file.
///
/// # Errors
/// If the name is too long for one.
pub fn header(name: &str, length: u64) -> Result<[u8; BLOCK], TarError> {
    const NAME_MAX_BYTES: usize = 99;
    const OCTAL_MAX: u64 = 0o77_777_777_777;
    if name.is_empty() || name.len() > NAME_MAX_BYTES || name.contains('\0') {
        return Err(TarError::Unwritable(name.to_owned()));
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    match length <= OCTAL_MAX {
        true => put(124, format!("{length:011o}\0").as_bytes()),
        false => {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &length.to_be_bytes());
        }
    }
    put(136, b"00000000000\0");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, content) in files {
            out.extend(header(name, content.len() as u64).expect("a short name"));
            out.extend(content);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.extend(END);
        out
    }

    #[test]
    fn large_files_and_extended_headers() {
        let block = header("big", 10 << 30).expect("a short name");
        assert_eq!(Header::read(&block).map(|h| h.length), Some(10 << 30));
        let huge = header("huge", u64::MAX).expect("a short name");
        assert_eq!(Header::read(&huge).map(|h| h.length), Some(u64::MAX));
        // What comes before a file may give it another name.
        let pax = "18 path=long name\n11 size=03\n";
        let mut extended = header("x", pax.len() as u64).expect("a short name");
        extended[156] = b'x';
        let sum = checksum(&extended);
        extended[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut all = extended.to_vec();
        all.extend(pax.bytes());
        all.resize(2 * BLOCK, 0);
        all.extend(archive(&[("short".to_owned(), b"abc".to_vec())]));
        let found = members(&mut &all[..]).expect("whole");
        let wanted = Member {
            name: "long name".into(),
            at: 3 * BLOCK_BYTES,
            length: 3,
        };
        assert_eq!(found, [wanted]);
    }

    #[test]
    fn damage_is_told() {
        let whole = archive(&[("a".to_owned(), vec![7; 600])]);
        assert!(is_archive(&whole));
        assert_eq!(
            members(&mut &whole[..700]),
            Err(TarError::CutShort("a".into()))
        );
        let mut bad = whole;
        bad[0] = b'b';
        assert_eq!(members(&mut &bad[..]), Err(TarError::Header(0)));
        assert!(header(&"n".repeat(100), 1).is_err());
    }

    proptest! {
        #[test]
        fn what_is_put_in_is_found(files in prop::collection::vec(("[a-zA-Z0-9._/ é-]{1,40}", prop::collection::vec(any::<u8>(), 0..1500)), 0..6)) {
            let all = archive(&files);
            let found = members(&mut &all[..]).expect("whole");
            prop_assert_eq!(found.len(), files.len());
            for (member, (name, content)) in found.iter().zip(&files) {
                prop_assert_eq!(&member.name, name);
                let at = usize::try_from(member.at).unwrap();
                prop_assert_eq!(&all[at..at + content.len()], &content[..]);
            }
        }

        #[test]
        fn nothing_in_an_archive_hurts(bytes in prop::collection::vec(any::<u8>(), 0..3000), at in 0usize..1024, with in any::<u8>()) {
            let _ = members(&mut &bytes[..]);
            let mut all = archive(&[("a".to_owned(), bytes)]);
            let at = at.min(all.len() - 1);
            all[at] = with;
            let _ = members(&mut &all[..]);
        }
    }
}
