//! Volumes: the image files of a pool's directory.

use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::pools::{Pool, permissions};
use model::storage::{Volume, VolumeDefinition};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The head of a qcow2 image: magic, version, place and length of the backing
/// file's name, cluster bits, size.
const QCOW2_HEAD_BYTES: usize = 32;
const QCOW2_MAGIC: &[u8] = b"QFI\xfb";
/// QEMU allows no longer name of a backing file.
const BACKING_NAME_MAX_BYTES: u32 = 1023;
/// `O_NONBLOCK`: opening must not hang where somebody put a pipe into the directory.
const O_NONBLOCK: i32 = 0o4000;
/// Formats that can be made.
const FORMATS: [&str; 2] = ["raw", "qcow2"];

/// Every volume of an active pool, in the order of their names.
pub fn volumes(pool: &Pool) -> Result<Vec<Volume>> {
    pool.need_active()?;
    let entries = std::fs::read_dir(&pool.path).map_err(|e| {
        EngineError::system(
            &format!("cannot open directory '{}'", pool.path.display()),
            e,
        )
    })?;
    let mut volumes: Vec<Volume> = entries
        .flatten()
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .filter_map(|entry| describe(&entry.path()))
        .collect();
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// The volume of this name.
pub fn volume(pool: &Pool, name: &str) -> Result<Volume> {
    pool.need_active()?;
    let is_plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    is_plain
        .then(|| describe(&pool.path.join(name)))
        .flatten()
        .ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoVolume,
                format!("no storage vol with matching name '{name}'"),
            )
        })
}

/// What a file is, unless it is no file.
fn describe(path: &Path) -> Option<Volume> {
    let metadata = std::fs::metadata(path).ok().filter(|m| m.is_file())?;
    let head = read_head(path).unwrap_or_default();
    Some(Volume {
        name: path.file_name()?.to_str()?.to_owned(),
        path: path.to_str()?.to_owned(),
        format: if head.is_qcow2 { "qcow2" } else { "raw" }.to_owned(),
        capacity: head.size.unwrap_or(metadata.len()),
        allocation: metadata.blocks() * 512,
        physical: metadata.len(),
        backing: head.backing,
        permissions: permissions(path)?,
    })
}

#[derive(Debug, Default)]
struct Head {
    is_qcow2: bool,
    size: Option<u64>,
    backing: Option<String>,
}

fn read_head(path: &Path) -> std::io::Result<Head> {
    let mut file = File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)?;
    let mut bytes = [0; QCOW2_HEAD_BYTES];
    file.read_exact(&mut bytes)?;
    if &bytes[..4] != QCOW2_MAGIC {
        return Ok(Head::default());
    }
    let long = |at: usize| {
        bytes[at..at + 8]
            .iter()
            .fold(0, |n, b| n << 8 | u64::from(*b))
    };
    let length = bytes[16..20].iter().fold(0, |n, b| n << 8 | u32::from(*b));
    Ok(Head {
        is_qcow2: true,
        size: Some(long(24)),
        backing: backing_name(&mut file, long(8), length),
    })
}

fn backing_name(file: &mut File, place: u64, length: u32) -> Option<String> {
    use std::io::Seek;
    if place == 0 || length == 0 || length > BACKING_NAME_MAX_BYTES {
        return None;
    }
    file.seek(std::io::SeekFrom::Start(place)).ok()?;
    let mut name = vec![0; length as usize];
    file.read_exact(&mut name).ok()?;
    String::from_utf8(name).ok()
}

impl Engine {
    /// The volume at this path, and its pool.
    pub fn volume_by_path(&self, path: &str) -> Result<(Pool, Volume)> {
        let file = Path::new(path);
        let found = file
            .parent()
            .zip(file.file_name().and_then(|name| name.to_str()));
        found
            .and_then(|(directory, name)| {
                let pool = self.pool_by_path(directory).ok()?;
                let volume = volume(&pool, name).ok()?;
                Some((pool, volume))
            })
            .ok_or_else(|| {
                EngineError::new(
                    ErrorKind::NoVolume,
                    format!("no storage vol with matching path '{path}'"),
                )
            })
    }

    /// Makes a volume: empty, or with the content of `source`.
    pub async fn create_volume(
        &self,
        pool: &Pool,
        xml: &str,
        source: Option<Volume>,
    ) -> Result<Volume> {
        let definition = VolumeDefinition::parse(xml).map_err(xml_error)?;
        pool.need_active()?;
        if !FORMATS.contains(&definition.format.as_str()) {
            return Err(EngineError::new(
                ErrorKind::ConfigUnsupported,
                format!("volumes of format '{}' cannot be made", definition.format),
            ));
        }
        let path = pool.path.join(&definition.name);
        // The name is taken before anything is written to it.
        let taken = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = taken.map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                EngineError::new(ErrorKind::VolumeExists, definition.name.clone())
            }
            _ => EngineError::system(&format!("cannot create '{}'", path.display()), e),
        })?;
        let at = path.clone();
        let name = definition.name.clone();
        let made = tokio::task::spawn_blocking(move || fill(&definition, file, &at, source)).await;
        let made = made.unwrap_or_else(|e| Err(EngineError::failed(e.to_string())));
        if let Err(error) = made {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        volume(pool, &name)
    }

    /// Removes a volume's file.
    pub fn delete_volume(&self, volume: &Volume) -> Result<()> {
        std::fs::remove_file(&volume.path)
            .map_err(|e| EngineError::system(&format!("cannot unlink file '{}'", volume.path), e))
    }
}

fn fill(
    definition: &VolumeDefinition,
    file: File,
    path: &Path,
    source: Option<Volume>,
) -> Result<()> {
    if let Some(source) = source {
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", &source.format, "-O", &definition.format]);
        command.arg(PathBuf::from(source.path)).arg(path);
        run(command)?;
        if definition.capacity > source.capacity {
            let mut grow = Command::new("qemu-img");
            grow.args(["resize", "-q", "-f", &definition.format]);
            grow.arg(path).arg(definition.capacity.to_string());
            run(grow)?;
        }
        return Ok(());
    }
    if definition.format == "raw" && definition.backing.is_none() {
        return file.set_len(definition.capacity).map_err(|e| {
            EngineError::system(&format!("cannot extend file '{}'", path.display()), e)
        });
    }
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", &definition.format]);
    if let Some((backing, format)) = &definition.backing {
        command.args(["-b", backing, "-F", format.as_deref().unwrap_or("raw")]);
    }
    command.arg(path);
    if definition.capacity > 0 {
        command.arg(definition.capacity.to_string());
    }
    run(command)
}

/// Runs qemu-img; its own last words are the error.
fn run(mut command: Command) -> Result<()> {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| EngineError::system("cannot run qemu-img", e))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(EngineError::failed(format!(
            "qemu-img: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn pool(path: &Path) -> Pool {
        Pool {
            uuid: Uuid::nil(),
            name: "p".into(),
            path: path.to_owned(),
            active: true,
            persistent: false,
            autostart: false,
        }
    }

    #[test]
    fn images_are_known_by_their_heads() {
        let directory = tempfile::tempdir().expect("directory");
        let mut head = b"QFI\xfb\0\0\0\x03".to_vec();
        head.extend(32u64.to_be_bytes());
        head.extend(5u32.to_be_bytes());
        head.extend(16u32.to_be_bytes());
        head.extend((1u64 << 30).to_be_bytes());
        head.extend(b"/base");
        std::fs::write(directory.path().join("a.qcow2"), head).expect("write");
        std::fs::write(directory.path().join("b.img"), vec![0; 100]).expect("write");
        std::fs::write(directory.path().join(".hidden"), "x").expect("write");
        std::fs::create_dir(directory.path().join("sub")).expect("directory");

        let found = volumes(&pool(directory.path())).expect("volumes");
        let facts: Vec<_> = found
            .iter()
            .map(|v| {
                (
                    v.name.as_str(),
                    v.format.as_str(),
                    v.capacity,
                    v.backing.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            facts,
            [
                ("a.qcow2", "qcow2", 1 << 30, Some("/base")),
                ("b.img", "raw", 100, None)
            ]
        );
    }

    #[test]
    fn names_do_not_leave_the_pool() {
        let directory = tempfile::tempdir().expect("directory");
        let inside = directory.path().join("inside");
        std::fs::create_dir(&inside).expect("directory");
        std::fs::write(directory.path().join("out.img"), "x").expect("write");
        for name in ["../out.img", "", ".", ".."] {
            let error = volume(&pool(&inside), name).expect_err(name);
            assert_eq!(error.kind, ErrorKind::NoVolume);
        }
    }
}
