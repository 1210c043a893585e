//! Volumes deleted, resized and wiped.

use super::Volume;
use super::tool::{ToolRun, key_file};
use crate::aside::aside;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::VOLUME_PIECE_BYTES;
use crate::pools::Pool;
use crate::pools::claim::Purpose;
use crate::secrets::SecretValue;
use model::storage::VolumeKind;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use storage::tool::{ImageFile, Preallocation};
use sys::sparse::Stretch;

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

/// With what a volume is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WipeAlgorithm {
    /// Zeros.
    Zero,
    /// Four passes of NNSA policy letter NAP-14.1-C.
    Nnsa,
    /// Four passes of DoD 5220.22-M.
    Dod,
    /// Nine passes of the German BSI.
    Bsi,
    /// Gutmann's 35 passes.
    Gutmann,
    /// Schneier's seven passes.
    Schneier,
    /// Pfitzner's seven random passes.
    Pfitzner7,
    /// Pfitzner's 33 random passes.
    Pfitzner33,
    /// One random pass.
    Random,
    /// The space is given back.
    Trim,
}

/// One time over the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Bytes([u8; 3]),
    Random,
}

const fn byte(byte: u8) -> Pass {
    Pass::Bytes([byte; 3])
}

impl WipeAlgorithm {
    /// In the order of libvirt's numbers.
    pub const ALL: [WipeAlgorithm; 10] = [
        WipeAlgorithm::Zero,
        WipeAlgorithm::Nnsa,
        WipeAlgorithm::Dod,
        WipeAlgorithm::Bsi,
        WipeAlgorithm::Gutmann,
        WipeAlgorithm::Schneier,
        WipeAlgorithm::Pfitzner7,
        WipeAlgorithm::Pfitzner33,
        WipeAlgorithm::Random,
        WipeAlgorithm::Trim,
    ];

    fn passes(self) -> Vec<Pass> {
        use WipeAlgorithm::*;
        match self {
            Zero => vec![byte(0)],
            Nnsa => vec![Pass::Random, Pass::Random, byte(0)],
            Dod => vec![Pass::Random, byte(0), byte(0xff)],
            Bsi => [0xff, 0xfe, 0xfd, 0xfb, 0xf7, 0xef, 0xdf, 0xbf, 0x7f]
                .map(byte)
                .to_vec(),
            Gutmann => gutmann(),
            Schneier => {
                let mut passes = vec![byte(0), byte(0xff)];
                passes.extend([Pass::Random; 5]);
                passes
            }
            Pfitzner7 => vec![Pass::Random; 7],
            Pfitzner33 => vec![Pass::Random; 33],
            Random => vec![Pass::Random],
            Trim => Vec::new(),
        }
    }
}

/// Four random passes, 27 patterns, four random passes.
fn gutmann() -> Vec<Pass> {
    let mut passes = vec![Pass::Random; 4];
    passes.extend([0x55, 0xaa].map(byte));
    let turning = [[0x92, 0x49, 0x24], [0x49, 0x24, 0x92], [0x24, 0x92, 0x49]];
    passes.extend(turning.map(Pass::Bytes));
    passes.extend((0..16).map(|n| byte(n * 0x11)));
    passes.extend(turning.map(Pass::Bytes));
    let inverse = [[0x6d, 0xb6, 0xdb], [0xb6, 0xdb, 0x6d], [0xdb, 0x6d, 0xb6]];
    passes.extend(inverse.map(Pass::Bytes));
    passes.extend([Pass::Random; 4]);
    passes
}

impl Pool {
    /// Changes a volume: nobody else does meanwhile, and no running machine uses it.
    async fn change(
        &self,
        engine: &Engine,
        name: &str,
        what: &'static str,
        change: impl FnOnce(&Volume) -> Result<()> + Send + 'static,
    ) -> Result<Option<Arc<Volume>>> {
        let claim = self.claim(name, Purpose::Change).await?;
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

    /// Removes a volume.
    ///
    /// # Errors
    /// If it is in use, or a machine's disk or an image of the library builds upon it.
    pub async fn delete_volume(&self, engine: &Engine, name: &str) -> Result<()> {
        let path = PathBuf::from(self.volume(name)?.path());
        engine.refuse_if_needed(&path, "delete")?;
        let deleted = self.change(engine, name, "delete", |volume| {
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
        let changed = self.change(engine, name, "resize", move |volume| {
            carry_out_resize(volume, bytes, resize, key)
        });
        changed.await.map(drop)
    }

    /// Overwrites a volume.
    ///
    /// # Errors
    /// If it is in use, is a directory, or cannot be written.
    pub async fn wipe_volume(
        &self,
        engine: &Engine,
        name: &str,
        algorithm: WipeAlgorithm,
    ) -> Result<()> {
        engine.check_no_clones(self.volume(name)?.path(), "wipe")?;
        let changed = self.change(engine, name, "wipe", move |volume| {
            if volume.definition.kind == VolumeKind::Dir {
                return Err(EngineError::new(
                    ErrorKind::Unsupported,
                    format!("the volume '{}' is a directory", volume.name()),
                ));
            }
            wipe(volume.path(), algorithm)
                .map_err(|e| EngineError::io(&format!("cannot wipe '{}'", volume.path()), &e))
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

/// Overwrites what is data; holes hold nothing of anybody.
fn wipe(path: &str, algorithm: WipeAlgorithm) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    for pass in algorithm.passes() {
        let mut source = PassSource::new(pass)?;
        each_data(&file, |at, length| {
            let piece = source.piece(length)?;
            file.write_all_at(piece, at)
        })?;
        // Passes that stay in memory overwrite nothing.
        file.sync_data()?;
    }
    if algorithm == WipeAlgorithm::Trim {
        let length = file.metadata()?.len();
        if length > 0 {
            sys::sparse::punch(&file, 0, length).map_err(|e| match e.errno() {
                Some(number) => std::io::Error::from_raw_os_error(number),
                None => std::io::Error::other(e),
            })?;
        }
    }
    Ok(())
}

fn each_data(
    file: &File,
    mut write: impl FnMut(u64, usize) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut at = 0;
    while let Some(stretch) = sys::sparse::stretch(file, at).map_err(std::io::Error::other)? {
        let end = match stretch {
            Stretch::Hole(end) => {
                at = end;
                continue;
            }
            Stretch::Data(end) => end,
        };
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let length = left.min(VOLUME_PIECE_BYTES);
            write(at, length)?;
            at += length as u64;
        }
    }
    Ok(())
}

/// Where the bytes of a pass come from.
struct PassSource {
    buffer: Vec<u8>,
    random: Option<File>,
}

impl PassSource {
    fn new(pass: Pass) -> std::io::Result<PassSource> {
        Ok(match pass {
            Pass::Bytes(pattern) => PassSource {
                buffer: pattern
                    .iter()
                    .copied()
                    .cycle()
                    .take(VOLUME_PIECE_BYTES)
                    .collect(),
                random: None,
            },
            Pass::Random => PassSource {
                buffer: vec![0; VOLUME_PIECE_BYTES],
                random: Some(File::open("/dev/urandom")?),
            },
        })
    }

    fn piece(&mut self, length: usize) -> std::io::Result<&[u8]> {
        if let Some(random) = &mut self.random {
            random.read_exact(&mut self.buffer[..length])?;
        }
        Ok(&self.buffer[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_have_as_many_passes_as_they_say() {
        let counts = WipeAlgorithm::ALL.map(|algorithm| algorithm.passes().len());
        assert_eq!(counts, [1, 3, 3, 9, 35, 7, 7, 33, 1, 0]);
    }

    #[test]
    fn data_is_overwritten_and_the_length_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("v");
        let path = path.to_str().expect("text");
        for algorithm in WipeAlgorithm::ALL {
            std::fs::write(path, vec![b's'; 100_000]).expect("written");
            wipe(path, algorithm).expect("wiped");
            let bytes = std::fs::read(path).expect("read");
            assert_eq!(bytes.len(), 100_000);
            let same = bytes.windows(8).any(|piece| piece == b"ssssssss");
            assert!(!same, "{algorithm:?}");
        }
    }
}
