//! Which other images an image makes its reader open.
//!
//! A header can name any file of the host. On behalf of a volume only files are opened that are
//! volumes themselves, or that a person named.

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::pools::scan::image_of;
use model::domain::storage::ImageFormat;
use std::path::{Path, PathBuf};
use storage::limits::CHAIN_MAX;

/// The paths of the images behind an image, as the headers tell them. What a raw image begins with
/// its guest wrote: it tells nothing. May block.
pub(crate) fn images_behind(path: &str, format: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    if format == ImageFormat::Raw.as_str() {
        return found;
    }
    let mut at = path.to_owned();
    while let Some(next) = next_image(&at) {
        if found.len() == CHAIN_MAX || found.contains(&next) {
            break;
        }
        found.push(next.clone());
        at = next;
    }
    found
}

fn next_image(path: &str) -> Option<String> {
    image_of(Path::new(path))?.backing?.path(path)
}

impl Engine {
    /// Every file that reading a volume's image opens beside the image itself. May block.
    ///
    /// # Errors
    /// If a header names what is no volume of an active pool.
    pub(super) fn readable_chain(&self, path: &str) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut at = path.to_owned();
        loop {
            let Some(image) = image_of(Path::new(&at)) else {
                return Ok(files);
            };
            if let Some(why) = &image.damage {
                return Err(EngineError::failed(format!(
                    "the image '{at}' is damaged: {why}"
                )));
            }
            if let Some(data) = &image.data_file {
                files.push(self.volume_behind(&at, data)?);
            }
            let Some(backing) = &image.backing else {
                return Ok(files);
            };
            let next = backing
                .path(&at)
                .ok_or_else(|| foreign(&at, &backing.name))?;
            if files.len() == CHAIN_MAX {
                return Err(EngineError::failed(format!(
                    "more than {CHAIN_MAX} images stand behind '{path}'"
                )));
            }
            files.push(self.volume_behind(&at, &next)?);
            at = next;
        }
    }

    fn volume_behind(&self, image: &str, path: &str) -> Result<PathBuf> {
        // Where the file really is counts, not how it is called.
        let real = std::fs::canonicalize(path).map_err(|e| {
            EngineError::io(
                &format!("cannot open '{path}', which '{image}' builds upon"),
                &e,
            )
        })?;
        let directory = real.parent().map(Path::to_path_buf).unwrap_or_default();
        let is_in_library = self.images().iter().any(|image| image.path == real);
        let is_in_pool = self.pools().iter().any(|pool| {
            let view = pool.view();
            let place = std::fs::canonicalize(view.path());
            view.active && place.is_ok_and(|place| place == directory)
        });
        // Images that lie side by side were put there by the same person.
        let beside = std::fs::canonicalize(image).ok();
        let is_beside = beside.as_deref().and_then(Path::parent) == Some(&*directory);
        match is_in_pool || is_in_library || is_beside {
            true => Ok(real),
            false => Err(foreign(image, path)),
        }
    }
}

fn foreign(image: &str, name: &str) -> EngineError {
    EngineError::failed(format!(
        "the image '{image}' builds upon '{name}', which is no volume of an active storage pool \
         and no image of the library: it is not opened"
    ))
}
