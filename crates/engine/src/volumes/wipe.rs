//! Volumes overwritten, with a progress to be watched and cancelled.

use super::Volume;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView};
use crate::limits::VOLUME_PIECE_BYTES;
use crate::pools::Pool;
use crate::pools::claim::Purpose;
use model::storage::VolumeKind;
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// With what a volume is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WipeAlgorithm {
    /// Zeros.
    Zero,
    /// Two random passes and zeros, of NNSA policy letter NAP-14.1-C; nothing is read back.
    Nnsa,
    /// A random pass, zeros and ones, of DoD 5220.22-M; nothing is read back.
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
        self.wipe_watched(engine, name, algorithm, None).await
    }

    /// The same, moving the progress of a job and ending with it.
    async fn wipe_watched(
        &self,
        engine: &Engine,
        name: &str,
        algorithm: WipeAlgorithm,
        job: Option<JobContext>,
    ) -> Result<()> {
        engine.check_no_clones(self.volume(name)?.path(), "wipe")?;
        let changed = self.change(engine, name, (Purpose::Change, "wipe"), move |volume| {
            wipe_of(volume, algorithm, job.as_ref())
        });
        changed.await.map(drop)
    }
}

impl Engine {
    /// Starts to overwrite a volume.
    ///
    /// # Errors
    /// If there is no such pool or volume, or no job can be started.
    pub async fn start_volume_wipe(
        &self,
        pool: &str,
        name: &str,
        algorithm: WipeAlgorithm,
    ) -> Result<Arc<JobView>> {
        let pool = self.pool_by_name(pool)?;
        let volume = pool.volume(name)?;
        let spec = JobSpec {
            kind: "vol-wipe",
            target: volume.path().to_owned(),
            plan: None,
        };
        let (engine, name) = (self.clone(), name.to_owned());
        self.start_job(spec, |context| async move {
            let wiped = pool.wipe_watched(&engine, &name, algorithm, Some(context));
            wiped.await?;
            Ok(json!({ "name": name }))
        })
        .await
    }
}

fn wipe_of(volume: &Volume, algorithm: WipeAlgorithm, job: Option<&JobContext>) -> Result<()> {
    if volume.definition.kind == VolumeKind::Dir {
        return Err(EngineError::new(
            ErrorKind::Unsupported,
            format!("the volume '{}' is a directory", volume.name()),
        ));
    }
    let mut pass = 0;
    let mut watch = |wiped: Wiped| {
        let Some(job) = job else { return true };
        if pass != wiped.pass.0 {
            pass = wiped.pass.0;
            let step = format!("pass {} of {}", wiped.pass.0, wiped.pass.1);
            job.step(step, wiped.total, JobUnit::Bytes);
        }
        job.done(wiped.done);
        !job.is_cancelled()
    };
    let wiped = wipe(volume.path(), algorithm, &mut watch);
    // What was asked for last is what is told: not that a write was broken off.
    job.map_or(Ok(()), JobContext::check)?;
    wiped.map_err(|e| EngineError::io(&format!("cannot wipe '{}'", volume.path()), &e))
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
struct Wiped {
    /// The pass, from 1 on, and how many there are.
    pass: (usize, usize),
    /// Bytes overwritten, of all passes together.
    done: u64,
    total: u64,
}

/// Overwrites what is data; holes hold nothing of anybody. Ends as interrupted once `watch` says so.
fn wipe(
    path: &str,
    algorithm: WipeAlgorithm,
    watch: &mut dyn FnMut(Wiped) -> bool,
) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let passes = algorithm.passes();
    let mut done = 0;
    let mut data = 0;
    each_data(&file, |_, length| {
        data += length as u64;
        Ok(())
    })?;
    for (number, pass) in (1..).zip(&passes) {
        let mut source = PassSource::new(*pass)?;
        each_data(&file, |at, length| {
            let wiped = Wiped {
                pass: (number, passes.len()),
                done,
                total: data * passes.len() as u64,
            };
            if !watch(wiped) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            done += length as u64;
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
    while let Some(data) = sys::sparse::next_data(file, at).map_err(std::io::Error::other)? {
        at = data.start;
        while at < data.end {
            let left = usize::try_from(data.end - at).unwrap_or(usize::MAX);
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
            let mut seen = Vec::new();
            let mut watch = |wiped: Wiped| {
                seen.push(wiped);
                true
            };
            wipe(path, algorithm, &mut watch).expect("wiped");
            let passes = algorithm.passes().len();
            assert_eq!(seen.len(), passes, "a piece is larger than this file");
            assert!(seen.last().is_none_or(|last| last.pass == (passes, passes)));
            let bytes = std::fs::read(path).expect("read");
            assert_eq!(bytes.len(), 100_000);
            let same = bytes.windows(8).any(|piece| piece == b"ssssssss");
            assert!(!same, "{algorithm:?}");
        }
    }

    #[test]
    fn nothing_is_written_once_nobody_wants_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("v");
        let path = path.to_str().expect("text");
        std::fs::write(path, b"secret").expect("written");
        let broken_off = wipe(path, WipeAlgorithm::Zero, &mut |_| false);
        assert!(broken_off.is_err());
        assert_eq!(std::fs::read(path).expect("read"), b"secret");
    }
}
