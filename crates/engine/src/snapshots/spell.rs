//! A definition that is about to run names every image behind its disks: QEMU
//! then has nodes with known names for all of them.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::files;
use crate::snapshots::keys::is_encrypted;
use model::domain::Domain;
use model::domain::disk::Disk;
use model::domain::images::Link;
use model::domain::storage::{ImageFormat, StorageType};
use model::xml::Scalar;
use std::cell::LazyCell;
use std::path::{Path, PathBuf};
use storage::keys::KeyRef;

/// Images behind an image that are followed.
const DEPTH_MAX: usize = 200;

/// Spells out the chains of all disks that leave them to the images' headers.
///
/// # Errors
/// If a header names what cannot be an image.
pub(crate) fn chains(engine: &Engine, domain: &mut Domain) -> Result<()> {
    let before = domain.clone();
    let keys = LazyCell::new(|| engine.image_keys(&before));
    let key = |image: &str, above: Option<&KeyRef>| engine.key_of(&keys, image, above);
    let mut disks = domain.devices.disks.iter_mut();
    disks.try_for_each(|disk| chain(disk, &key))
}

/// Says with which secret an encrypted image is opened; what the image above it is opened with is
/// given.
type KeyOf<'a> = dyn Fn(&str, Option<&KeyRef>) -> Result<KeyRef> + 'a;

fn chain(disk: &mut Disk, key_of: &KeyOf<'_>) -> Result<()> {
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
        let word = backing.format.as_deref().unwrap_or("raw");
        let format = ImageFormat::parse(word).unwrap_or(ImageFormat::Raw);
        let above = last.source.encryption.as_ref().and_then(KeyRef::of);
        let mut next = link(&backing.path, format);
        if is_encrypted(&backing.path, word) {
            let key = key_of(&backing.path.to_string_lossy(), above.as_ref())?;
            next.source.encryption = Some(key.encryption());
        }
        links.push(next);
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
