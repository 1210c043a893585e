//! The files of machines that are being made.

use crate::error::{EngineError, Result};
use crate::images::inspect;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use storage::overlay::{Overlay, overlay};

/// An image that others are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) path: PathBuf,
    /// qemu-img's word for its format.
    pub(crate) format: String,
    /// The size a guest sees, in bytes.
    pub(crate) capacity: u64,
}

impl Base {
    /// An image that is there. Its format is the one its machine declares: a
    /// guest can write any header into a raw disk.
    pub(crate) fn find(path: &Path, format: &str) -> Result<Self> {
        let (image, length) = inspect(path)?;
        let capacity = match format {
            "raw" => Some(length),
            _ if image.format == format => image.capacity,
            _ => None,
        };
        Ok(Self {
            capacity: capacity.ok_or_else(|| {
                EngineError::failed(format!(
                    "'{}' is no image of format {format}",
                    path.display()
                ))
            })?,
            path: path.to_owned(),
            format: format.to_owned(),
        })
    }
}

fn failed(path: &Path, error: impl std::fmt::Display) -> EngineError {
    EngineError::system(&format!("cannot create '{}'", path.display()), error)
}

/// A new file nobody else may read.
pub(crate) fn new_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    let options = options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(|e| failed(path, e))
}

/// Makes an image that builds upon `base`, of at least its size.
pub(crate) fn link(base: &Base, path: &Path, capacity: u64) -> Result<()> {
    let name = base
        .path
        .to_str()
        .ok_or_else(|| failed(path, "the name of the image below is not text"))?;
    let made =
        overlay(capacity.max(base.capacity), name, &base.format).map_err(|e| failed(path, e))?;
    put(&made, path)
}

/// Makes an image with nothing in it.
pub(crate) fn empty(path: &Path, capacity: u64) -> Result<()> {
    let made = storage::overlay::empty(capacity).map_err(|e| failed(path, e))?;
    put(&made, path)
}

fn put(made: &Overlay, path: &Path) -> Result<()> {
    let write = || -> io::Result<()> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        for (at, bytes) in &made.pieces {
            file.write_all_at(bytes, *at)?;
        }
        file.set_len(made.length)?;
        // The definition that names it will be durable, so it must be too.
        file.sync_data()
    };
    write().map_err(|e| failed(path, e))
}

/// Makes a file with this content.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let file = new_file(path)?;
    file.write_all_at(content, 0)
        .and_then(|()| file.sync_data())
        .map_err(|e| failed(path, e))
}

/// Copies a small file.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let content = std::fs::read(from).map_err(|e| failed(to, e))?;
    write(to, &content)
}
