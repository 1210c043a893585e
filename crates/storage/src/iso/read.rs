//! Reading a CD: finding one file by its path. Everything on the CD is a
//! stranger's; nothing is believed without a bound.

use super::{DESCRIPTOR_SECTOR, MAGIC, RECORD_BYTES, ROOT_RECORD_AT, SECTOR_BYTES};
use crate::image::Source;
use crate::limits::{ISO_DESCRIPTORS_MAX, ISO_DIRECTORY_MAX_BYTES};

const IS_DIRECTORY: u8 = 2;
/// The file goes on in a further record.
const GOES_ON: u8 = 0x80;

/// An opened CD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iso {
    /// The volume's name.
    pub volume: String,
    root: Place,
}

/// Why a CD cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IsoError {
    /// No ISO 9660.
    #[error("it is no ISO 9660 image")]
    NotIso,
    /// Something is not where it should be.
    #[error("its file system is damaged: {0}")]
    Damaged(String),
    /// A file of more than 4 GiB.
    #[error("'{0}' lies in several pieces, which is not supported")]
    Pieces(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: u64,
    bytes: u64,
    is_directory: bool,
}

#[derive(Debug)]
struct Entry {
    name: String,
    place: Place,
    goes_on: bool,
}

impl Iso {
    /// Reads the volume's head.
    ///
    /// # Errors
    /// What is no CD.
    pub fn open(source: &mut dyn Source) -> Result<Iso, IsoError> {
        for number in 0..ISO_DESCRIPTORS_MAX {
            let at = (DESCRIPTOR_SECTOR + number) * SECTOR_BYTES;
            let sector = source.read(at as u64, SECTOR_BYTES);
            if sector.get(1..6) != Some(MAGIC) || sector.len() < SECTOR_BYTES {
                return Err(IsoError::NotIso);
            }
            match sector[0] {
                1 => {
                    let name = String::from_utf8_lossy(&sector[40..72]);
                    let root = place(&sector[ROOT_RECORD_AT..]).ok_or(IsoError::NotIso)?;
                    return Ok(Iso {
                        volume: name.trim_end_matches([' ', '\0']).to_owned(),
                        root,
                    });
                }
                255 => return Err(IsoError::NotIso),
                _ => {}
            }
        }
        Err(IsoError::NotIso)
    }

    /// Where the file at `path` (`install.amd/vmlinuz`) begins, and how long it
    /// is; none if there is no such file. Without Rock Ridge, case does not matter.
    ///
    /// # Errors
    /// A damaged directory; a file in pieces.
    pub fn find(
        &self,
        source: &mut dyn Source,
        path: &str,
    ) -> Result<Option<(u64, u64)>, IsoError> {
        let mut place = self.root;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if !place.is_directory {
                return Ok(None);
            }
            let entries = directory(source, place)?;
            let exact = entries.iter().find(|e| e.name == part);
            let like = || entries.iter().find(|e| e.name.eq_ignore_ascii_case(part));
            let Some(entry) = exact.or_else(like) else {
                return Ok(None);
            };
            if entry.goes_on {
                return Err(IsoError::Pieces(path.to_owned()));
            }
            place = entry.place;
        }
        if place.is_directory {
            return Ok(None);
        }
        if place.at.saturating_add(place.bytes) > source.length() {
            return Err(IsoError::Damaged(format!("'{path}' lies beyond its end")));
        }
        Ok(Some((place.at, place.bytes)))
    }

    /// The names in a directory; none if there is no such directory.
    ///
    /// # Errors
    /// A damaged directory.
    pub fn list(&self, source: &mut dyn Source) -> Result<Vec<String>, IsoError> {
        let entries = directory(source, self.root)?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }
}

fn directory(source: &mut dyn Source, place: Place) -> Result<Vec<Entry>, IsoError> {
    if place.bytes > ISO_DIRECTORY_MAX_BYTES {
        return Err(IsoError::Damaged("a directory is too large".into()));
    }
    let length = usize::try_from(place.bytes).unwrap_or_default();
    let bytes = source.read(place.at, length);
    let mut entries = Vec::new();
    for sector in bytes.chunks(SECTOR_BYTES) {
        let mut rest = sector;
        while let Some(length) = rest.first().map(|n| usize::from(*n)).filter(|n| *n > 0) {
            let record = rest
                .get(..length)
                .ok_or_else(|| IsoError::Damaged("a record crosses a sector".into()))?;
            entries.extend(entry(record));
            rest = &rest[length..];
        }
    }
    Ok(entries)
}

fn place(record: &[u8]) -> Option<Place> {
    let word = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?));
    Some(Place {
        at: u64::from(word(2)?) * SECTOR_BYTES as u64,
        bytes: u64::from(word(10)?),
        is_directory: record.get(25)? & IS_DIRECTORY != 0,
    })
}

/// One entry; none for the directory itself, its parent, and what is cut off.
fn entry(record: &[u8]) -> Option<Entry> {
    let length = usize::from(*record.get(RECORD_BYTES - 1)?);
    let plain = record.get(RECORD_BYTES..RECORD_BYTES + length)?;
    if matches!(plain, [0] | [1]) {
        return None;
    }
    let after = RECORD_BYTES + length + usize::from(length.is_multiple_of(2));
    let name = record.get(after..).and_then(rock_ridge_name);
    Some(Entry {
        name: name.unwrap_or_else(|| plain_name(plain)),
        place: place(record)?,
        goes_on: record.get(25)? & GOES_ON != 0,
    })
}

/// The name in the system use area. A name that goes on elsewhere is left to
/// the plain one.
fn rock_ridge_name(mut area: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while let [a, b, length, _, ..] = *area {
        let field = area.get(..usize::from(length)).filter(|f| f.len() >= 4)?;
        if [a, b] == *b"NM" {
            name.extend(field.get(5..)?);
        }
        area = &area[field.len()..];
    }
    String::from_utf8(name).ok().filter(|name| !name.is_empty())
}

/// `VMLINUZ.;1` is `VMLINUZ`.
fn plain_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let name = name.split(';').next().unwrap_or_default();
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{IsoFile, write};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_found_again(files in proptest::collection::btree_map(
            "[a-zA-Z0-9_.-]{1,60}",
            proptest::collection::vec(any::<u8>(), 0..5000),
            0..40,
        )) {
            let list: Vec<_> = files
                .iter()
                .map(|(name, bytes)| IsoFile { name: name.clone(), bytes: bytes.clone() })
                .collect();
            let image = write("vol", &list);
            let mut source = &image[..];
            let iso = Iso::open(&mut source).unwrap();
            prop_assert_eq!(&iso.volume, "vol");
            for (name, bytes) in &files {
                let (at, length) = iso.find(&mut source, name).unwrap().unwrap();
                let at = usize::try_from(at).unwrap();
                let end = at + usize::try_from(length).unwrap();
                prop_assert_eq!(&image[at..end], &bytes[..]);
            }
            prop_assert_eq!(iso.find(&mut source, "not/there").unwrap(), None);
        }

        #[test]
        fn no_cd_is_too_strange(
            changes in proptest::collection::vec((0usize..50_000, any::<u8>()), 0..60),
        ) {
            let file = IsoFile { name: "a".into(), bytes: vec![1; 10] };
            let mut image = write("vol", &[file]);
            let length = image.len();
            for (at, byte) in changes {
                image[at % length] = byte;
            }
            let mut source = &image[..];
            if let Ok(iso) = Iso::open(&mut source) {
                _ = iso.find(&mut source, "a");
                _ = iso.find(&mut source, "b/c");
            }
        }
    }
}
