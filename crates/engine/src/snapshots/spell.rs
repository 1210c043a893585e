//! A definition that is about to run names every image behind its disks: QEMU
//! then has nodes with known names for all of them.

use crate::error::{EngineError, ErrorKind, Result};
use crate::files;
use model::domain::Domain;
use model::domain::disk::Disk;
use model::domain::images::Link;
use model::domain::storage::{ImageFormat, StorageType};
use model::xml::Scalar;
use std::path::{Path, PathBuf};

/// Images behind an image that are followed.
const DEPTH_MAX: usize = 200;

/// Spells out the chains of all disks that leave them to the images' headers.
///
/// # Errors
/// If a header names what cannot be an image.
pub(crate) fn chains(domain: &mut Domain) -> Result<()> {
    domain.devices.disks.iter_mut().try_for_each(chain)
}

/// Spells out one disk's chain.
///
/// # Errors
/// As [`chains`].
pub(crate) fn chain(disk: &mut Disk) -> Result<()> {
    let mut links = disk.links();
    let local = matches!(disk.kind, StorageType::File | StorageType::Block);
    // What is behind an image that only a descriptor leads to is for the definition to say.
    let given = disk
        .source
        .as_ref()
        .is_some_and(|source| source.fdgroup.is_some());
    if disk.is_chain_ended() || disk.is_empty() || !local || given {
        return Ok(());
    }
    while links.len() < DEPTH_MAX {
        let Some(last) = links.last().filter(|l| l.format == ImageFormat::Qcow2) else {
            break;
        };
        let Some(path) = last.path().map(PathBuf::from) else {
            break;
        };
        let Some(backing) = files::backing_of(&path) else {
            break;
        };
        if !files::may_stand_behind(&path, &backing.path) {
            return Err(EngineError::new(
                ErrorKind::ResourceUnavailable,
                format!(
                    "the image '{}' builds upon '{}', which is not there or cannot be an image: \
                     it is not opened",
                    path.display(),
                    backing.path.display()
                ),
            ));
        }
        // QEMU guesses where the header does not say; what is guessed is the guest's to choose.
        let format = backing.format.as_deref().and_then(ImageFormat::parse);
        links.push(link(&backing.path, format.unwrap_or(ImageFormat::Raw)));
    }
    disk.set_links(&links);
    Ok(())
}

pub(crate) fn link(path: &Path, format: ImageFormat) -> Link {
    use std::os::unix::fs::FileTypeExt;
    let text = path.to_string_lossy();
    let mut link = Link::file(&text, format);
    if std::fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device()) {
        link.kind = StorageType::Block;
        link.source.dev = link.source.file.take();
    }
    link
}
