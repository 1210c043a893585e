//! The library: images that machines are made from. Each is a file nobody
//! writes to any more, whose format was settled when it came in and is never
//! guessed again.

pub(crate) mod fetch;
mod import;
mod sparse;
mod uses;
pub(crate) mod verify;

pub(crate) use import::{decompress, judge, percent};

pub use import::ImportRequest;
pub use uses::{ImageUse, ImageUses};
pub use verify::Evidence;

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use storage::image::{self, Source};

/// The longest name of an image, in bytes.
const NAME_MAX_BYTES: usize = 100;

/// An image of the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryImage {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its format: `raw` or `qcow2`.
    pub format: String,
    /// The size a guest sees, in bytes.
    pub capacity: u64,
    /// The checksum (SHA-256, hexadecimal) of what was imported.
    pub sha256: String,
    /// The fingerprint of the key that signed it, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// Where it came from.
    pub source: String,
    /// Milliseconds since the epoch.
    pub imported_ms: u64,
}

/// The library in memory.
#[derive(Debug, Default)]
pub(crate) struct Library {
    images: Mutex<BTreeMap<String, LibraryImage>>,
    /// Names that are being imported.
    coming: Mutex<BTreeSet<String>>,
}

impl Library {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, LibraryImage>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn coming(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Where the library's files lie.
    pub(crate) fn library_directory(&self) -> PathBuf {
        self.places().images.join("library")
    }

    /// Reads which images there are.
    pub(crate) fn load_images(&self) -> Result<()> {
        self.records().for_each_item("image", |name, bytes| {
            match serde_json::from_slice::<LibraryImage>(bytes) {
                Ok(image) => drop(self.library().lock().insert(name.to_owned(), image)),
                Err(error) => tracing::error!(name, %error, "an image's record cannot be read"),
            }
        })
    }

    /// Every image of the library, in the order of their names.
    pub fn images(&self) -> Vec<LibraryImage> {
        self.library().lock().values().cloned().collect()
    }

    /// The image of this name.
    pub fn image(&self, name: &str) -> Result<LibraryImage> {
        self.library().lock().get(name).cloned().ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoImage,
                format!("no image with name '{name}' in the library"),
            )
        })
    }

    /// Removes an image that nothing builds upon.
    pub async fn delete_image(&self, name: &str) -> Result<()> {
        let image = self.image(name)?;
        self.refuse_if_used(&image.path, "delete")?;
        // First the record: a file without one is found again, one without a file lies.
        self.records().delete_item("image", name).await?;
        self.library().lock().remove(name);
        match std::fs::remove_file(&image.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(EngineError::system(
                &format!("cannot remove '{}'", image.path.display()),
                e,
            )),
            _ => Ok(()),
        }
    }

    async fn keep_image(&self, image: LibraryImage) -> Result<()> {
        let record = crate::record::encode(&image)?;
        self.records()
            .put_item("image", &image.name, record)
            .await?;
        self.library().lock().insert(image.name.clone(), image);
        Ok(())
    }
}

/// A name that is a file's name everywhere.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let bad = name.is_empty()
        || name.len() > NAME_MAX_BYTES
        || name.starts_with(['.', '-'])
        || !name.chars().all(is_plain);
    match bad {
        false => Ok(()),
        true => Err(EngineError::new(
            ErrorKind::InvalidArgument,
            format!(
                "'{name}' is no name for an image: up to {NAME_MAX_BYTES} letters, digits, \
                 and - _ . +"
            ),
        )),
    }
}

/// A file that headers are read from.
pub(crate) struct FileSource(std::fs::File);

impl FileSource {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self(crate::confined::open_regular(path)?))
    }
}

impl Source for FileSource {
    fn length(&self) -> u64 {
        self.0.metadata().map_or(0, |meta| meta.len())
    }

    fn read(&mut self, at: u64, length: usize) -> Vec<u8> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; length];
        let mut read = 0;
        while let Ok(more @ 1..) = self.0.read_at(&mut bytes[read..], at + read as u64) {
            read += more;
        }
        bytes.truncate(read);
        bytes
    }
}

/// What the file is by its own header.
pub(crate) fn inspect(path: &Path) -> Result<(image::Image, u64)> {
    let mut source = FileSource::open(path)?;
    let found = image::inspect(&mut source);
    let length = source.length();
    Ok((found, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_files() {
        assert!(check_name("debian-12.5_x+1").is_ok());
        for name in ["", ".x", "-x", "a/b", "a b", "ü", &"x".repeat(101)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
