//! Volumes deleted and resized.

use super::Volume;
use super::tool::{ToolRun, key_file};
use crate::aside::aside;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::pools::Pool;
use crate::pools::claim::Purpose;
use crate::secrets::SecretValue;
use model::storage::VolumeKind;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use storage::tool::{ImageFile, Preallocation};

/// How a volume gets another size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resize {
    /// The size, or the difference, in bytes.
    pub bytes: u64,
    /// It is the difference.
    pub delta: bool,
    /// It may become smaller.
    pub shrink: bool,
    /// The new space is taken at once.
    pub allocate: bool,
}

impl Pool {
    /// Changes a volume: nobody else does meanwhile, and no running machine uses it.
    pub(super) async fn change(
        &self,
        engine: &Engine,
        name: &str,
        (purpose, what): (Purpose, &'static str),
        change: impl FnOnce(&Volume) -> Result<()> + Send + 'static,
    ) -> Result<Option<Arc<Volume>>> {
        let claim = self.claim(name, purpose).await?;
        let volume = self.volume(name)?;
        let engine = engine.clone();
        let done = aside(move || {
            engine.check_unused(volume.path(), what)?;
            change(&volume)
        })
        .await;
        let shown = claim.finish().await;
        done??;
        shown
    }

    /// Removes a volume. An upload of it that is under way comes to nothing.
    ///
    /// # Errors
    /// If it is in use, or a machine's disk or an image of the library builds upon it.
    pub async fn delete_volume(&self, engine: &Engine, name: &str) -> Result<()> {
        let path = PathBuf::from(self.volume(name)?.path());
        engine.refuse_if_needed(&path, "delete")?;
        let deleted = self.change(engine, name, (Purpose::Delete, "delete"), |volume| {
            let path = volume.path();
            match volume.definition.kind {
                VolumeKind::Dir => std::fs::remove_dir(path)
                    .map_err(|e| EngineError::io(&format!("cannot remove directory '{path}'"), &e)),
                _ => std::fs::remove_file(path)
                    .map_err(|e| EngineError::io(&format!("cannot unlink file '{path}'"), &e)),
            }
        });
        deleted.await.map(drop)
    }

    /// Gives a volume another size.
    ///
    /// # Errors
    /// If it would shrink and may not, there is no room, or it is in use.
    pub async fn resize_volume(&self, engine: &Engine, name: &str, resize: Resize) -> Result<()> {
        let volume = self.volume(name)?;
        let bytes = new_size(&volume, resize, self.view().sizes.available)?;
        if bytes < volume.definition.capacity {
            engine.check_no_clones(volume.path(), "shrink")?;
        }
        let key = engine.volume_key(&volume)?;
        let changed = self.change(engine, name, (Purpose::Change, "resize"), move |volume| {
            carry_out_resize(volume, bytes, resize, key)
        });
        changed.await.map(drop)
    }
}

impl Engine {
    /// Refuses to go on where other volumes build upon an image.
    pub(super) fn check_no_clones(&self, path: &str, what: &str) -> Result<()> {
        self.refuse_if_base(std::path::Path::new(path), what)
    }

    /// Refuses to go on where other volumes than this one do.
    pub(super) fn check_no_clones_but(&self, one: &str, path: &str, what: &str) -> Result<()> {
        let mut clones = Vec::new();
        for pool in self.pools() {
            let volumes = pool.volumes().unwrap_or_default();
            let builds_upon = |volume: &&Arc<Volume>| {
                let backing = volume.definition.backing.as_ref();
                backing.is_some_and(|backing| backing.path == path) && volume.path() != one
            };
            let found = volumes.iter().filter(builds_upon);
            clones.extend(found.map(|volume| format!("'{}'", volume.path())));
        }
        if clones.is_empty() {
            return Ok(());
        }
        /// Names shown of many.
        const SHOWN_MAX: usize = 5;
        let more = match clones.len() {
            count @ ..=SHOWN_MAX => {
                clones.truncate(count);
                String::new()
            }
            count => format!(" and {} more", count - SHOWN_MAX),
        };
        clones.truncate(SHOWN_MAX);
        Err(EngineError::invalid(format!(
            "cannot {what} '{path}': {}{more} builds upon it",
            clones.join(", ")
        )))
    }
}

fn new_size(volume: &Volume, resize: Resize, available: u64) -> Result<u64> {
    let capacity = volume.definition.capacity;
    let allocation = volume.definition.allocation.unwrap_or(0);
    let bytes = match (resize.delta, resize.shrink) {
        (false, _) => resize.bytes,
        (true, true) => capacity.saturating_sub(resize.bytes),
        (true, false) => capacity.saturating_add(resize.bytes),
    };
    let invalid = |what: &str| Err(EngineError::new(ErrorKind::InvalidArgument, what));
    if bytes < allocation && !resize.shrink {
        return invalid("can't shrink capacity below existing allocation");
    }
    if bytes < capacity && !resize.shrink {
        return invalid(
            "Can't shrink capacity below current capacity unless shrink flag explicitly specified",
        );
    }
    if resize.allocate && bytes > allocation.saturating_add(available) {
        return Err(EngineError::failed("Not enough space left in storage pool"));
    }
    Ok(bytes)
}

fn carry_out_resize(
    volume: &Volume,
    bytes: u64,
    resize: Resize,
    key: Option<SecretValue>,
) -> Result<()> {
    let path = volume.path();
    if volume.image.format != "raw" || volume.image.encryption.is_some() {
        let is_smaller = bytes < volume.definition.capacity;
        let image = ImageFile {
            path: path.to_owned(),
            format: volume.tool_format().to_owned(),
            key: key.is_some().then(|| key_file("volume", 0)),
        };
        let preallocation = resize.allocate.then_some(Preallocation::Falloc);
        let run = ToolRun {
            args: storage::tool::resize(&image, bytes, is_smaller, preallocation),
            writes: vec![PathBuf::from(path)],
            keys: key.into_iter().collect(),
            ..ToolRun::default()
        };
        return run.run().map(drop);
    }
    let failed =
        |what: &str, e: &std::io::Error| EngineError::io(&format!("{what} file '{path}'"), e);
    let file = File::options()
        .write(true)
        .open(path)
        .map_err(|e| failed("Unable to open", &e))?;
    if resize.allocate {
        sys::sparse::reserve(&file, 0, bytes)
            .map_err(|e| failed("Failed to pre-allocate space for", e.cause()))?;
    }
    file.set_len(bytes)
        .map_err(|e| failed("Failed to truncate", &e))
}
