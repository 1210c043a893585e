//! Which volumes are in a directory, and what each is. Everything here may block.

use crate::aside::Pulse;
use crate::volumes::Volume;
use model::storage::{
    Permissions, Timestamps, VolumeBacking, VolumeDefinition, VolumeKind, VolumeTarget,
};
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;
use storage::image::{Image, Source, inspect};

/// Files that a daemon is still making begin with this; they are no volumes yet.
pub(crate) const UNFINISHED_PREFIX: &str = ".stead-unfinished-";
/// `O_NONBLOCK | O_NOCTTY`: opening must do nothing but open.
const OPEN_ONLY: i32 = 0o4000 | 0o400;
/// From this many files on several threads look at them.
const PARALLEL_FILES_MIN: usize = 256;
/// Threads that look at files: most of the time is the kernel's.
const THREADS_MAX: usize = 4;

/// Every volume in a directory, in no order.
pub(super) fn scan(directory: &Path, pulse: &Pulse) -> std::io::Result<Vec<Volume>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string()
            && is_volume_name(&name)
        {
            names.push(name);
        }
        pulse.beat();
    }
    let describe_all = |names: &[String]| -> Vec<Volume> {
        let each = names.iter().filter_map(|name| {
            pulse.beat();
            describe(directory, name)
        });
        each.collect()
    };
    if names.len() < PARALLEL_FILES_MIN {
        return Ok(describe_all(&names));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let piece = names.len().div_ceil(threads.min(THREADS_MAX));
    Ok(std::thread::scope(|scope| {
        let pieces: Vec<_> = names
            .chunks(piece)
            .map(|names| scope.spawn(|| describe_all(names)))
            .collect();
        let found = pieces.into_iter().map(|piece| piece.join());
        found.filter_map(Result::ok).flatten().collect()
    }))
}

/// Whether a file of this name is shown as a volume.
pub(super) fn is_volume_name(name: &str) -> bool {
    let is_of_every_directory = matches!(name, "" | "." | "..");
    !is_of_every_directory
        && !name.starts_with(UNFINISHED_PREFIX)
        && !name.chars().any(char::is_control)
}

/// What a directory's entry is; none where it is no volume.
pub(super) fn describe(directory: &Path, name: &str) -> Option<Volume> {
    let path = directory.join(name);
    let metadata = std::fs::metadata(&path).ok()?;
    let kind = metadata.file_type();
    let path = path.to_str()?.to_owned();
    if kind.is_dir() {
        return Some(directory_volume(name, path, &metadata));
    }
    if !kind.is_file() && !kind.is_block_device() {
        return None;
    }
    let file = open(Path::new(&path));
    let length = match kind.is_file() {
        true => metadata.len(),
        false => file.as_ref().map_or(0, device_length),
    };
    let image = match file {
        Some(file) => inspect(&mut OpenFile { file, length }),
        None => Image {
            format: "raw",
            ..Image::default()
        },
    };
    let mut definition = described(name, path, &metadata, &image, length);
    if kind.is_block_device() {
        definition.kind = VolumeKind::Block;
        definition.allocation = Some(length);
    }
    Some(Volume { definition, image })
}

/// What a file or device says it is; none where it cannot be read. May block.
pub(crate) fn image_of(path: &Path) -> Option<Image> {
    let metadata = std::fs::metadata(path).ok()?;
    let is_storage = metadata.is_file() || metadata.file_type().is_block_device();
    let file = is_storage.then(|| open(path)).flatten()?;
    let length = match metadata.is_file() {
        true => metadata.len(),
        false => device_length(&file),
    };
    Some(inspect(&mut OpenFile { file, length }))
}

fn open(path: &Path) -> Option<File> {
    let mut options = File::options();
    options.read(true).custom_flags(OPEN_ONLY).open(path).ok()
}

struct OpenFile {
    file: File,
    length: u64,
}

impl Source for OpenFile {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&mut self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self
                .file
                .read_at(&mut bytes[filled..], at.saturating_add(filled as u64))
            {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        bytes.truncate(filled);
        bytes
    }
}

fn device_length(mut file: &File) -> u64 {
    use std::io::Seek;
    file.seek(std::io::SeekFrom::End(0)).unwrap_or(0)
}

fn directory_volume(name: &str, path: String, metadata: &Metadata) -> Volume {
    let definition = VolumeDefinition {
        kind: VolumeKind::Dir,
        name: name.to_owned(),
        key: Some(path.clone()),
        allocation: Some(0),
        target: VolumeTarget {
            path: Some(path),
            format: Some("dir".to_owned()),
            permissions: permissions(metadata),
            timestamps: Some(timestamps(metadata)),
            ..VolumeTarget::default()
        },
        ..VolumeDefinition::default()
    };
    Volume {
        definition,
        image: Image {
            format: "dir",
            ..Image::default()
        },
    }
}

fn described(
    name: &str,
    path: String,
    metadata: &Metadata,
    image: &Image,
    length: u64,
) -> VolumeDefinition {
    VolumeDefinition {
        kind: VolumeKind::File,
        name: name.to_owned(),
        key: Some(path.clone()),
        extents: Vec::new(),
        capacity: image.capacity.unwrap_or(length),
        allocation: Some(metadata.blocks() * 512),
        physical: Some(length),
        backing: backing(image, &path),
        target: VolumeTarget {
            path: Some(path),
            format: Some(image.format.to_owned()),
            permissions: permissions(metadata),
            timestamps: Some(timestamps(metadata)),
            encryption: image.encryption.map(encryption),
            compat: image.compat.map(str::to_owned),
            nocow: false,
            cluster_size: image.cluster_bytes,
            features: image.features.clone(),
        },
    }
}

fn encryption(word: &'static str) -> model::domain::storage::Encryption {
    use model::domain::storage::{Encryption, EncryptionFormat};
    let format = match word {
        "qcow" => EncryptionFormat::Qcow,
        _ => EncryptionFormat::Luks,
    };
    Encryption {
        format,
        ..Encryption::default()
    }
}

/// The image behind an image: looked at from outside, not opened.
fn backing(image: &Image, path: &str) -> Option<VolumeBacking> {
    let backing = image.backing.as_ref()?;
    let place = backing.path(path);
    let metadata = place
        .as_ref()
        .and_then(|place| std::fs::metadata(place).ok());
    Some(VolumeBacking {
        path: place.unwrap_or_else(|| backing.name.clone()),
        format: Some(backing.format.clone().unwrap_or_else(|| "raw".to_owned())),
        permissions: metadata.as_ref().map(permissions).unwrap_or_default(),
        timestamps: metadata.as_ref().map(timestamps),
    })
}

fn permissions(metadata: &Metadata) -> Permissions {
    Permissions {
        mode: Some(metadata.mode() & 0o777),
        owner: Some(metadata.uid()),
        group: Some(metadata.gid()),
        label: None,
    }
}

fn timestamps(metadata: &Metadata) -> Timestamps {
    let moment = |seconds: i64, nanoseconds: i64| (seconds, nanoseconds.try_into().unwrap_or(0));
    let born = metadata.created().ok();
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Timestamps {
        accessed: moment(metadata.atime(), metadata.atime_nsec()),
        modified: moment(metadata.mtime(), metadata.mtime_nsec()),
        changed: moment(metadata.ctime(), metadata.ctime_nsec()),
        born: born
            .and_then(|born| Some((i64::try_from(born.as_secs()).ok()?, born.subsec_nanos()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_directories_are_volumes_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("b.img"), vec![0; 100]).expect("written");
        std::fs::write(at(".hidden"), "x").expect("written");
        std::fs::write(at(".stead-unfinished-1-x"), "x").expect("written");
        std::fs::create_dir(at("sub")).expect("made");
        std::os::unix::fs::symlink("/nowhere", at("dangling")).expect("made");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");

        let mut found = scan(directory.path(), &Pulse::default()).expect("scanned");
        found.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
        let facts: Vec<_> = found
            .iter()
            .map(|v| {
                (
                    v.definition.name.as_str(),
                    v.image.format,
                    v.definition.capacity,
                )
            })
            .collect();
        assert_eq!(
            facts,
            [
                (".hidden", "raw", 1),
                ("b.img", "raw", 100),
                ("sub", "dir", 0)
            ]
        );
    }

    #[test]
    fn many_files_are_all_found() {
        let directory = tempfile::tempdir().expect("a directory");
        for number in 0..PARALLEL_FILES_MIN + 5 {
            std::fs::write(directory.path().join(number.to_string()), "x").expect("written");
        }
        let found = scan(directory.path(), &Pulse::default()).expect("scanned");
        assert_eq!(found.len(), PARALLEL_FILES_MIN + 5);
    }
}
