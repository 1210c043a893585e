//! Images that somebody else uses: another domain, or a file beside them that
//! is based on them. They are never written to or removed.

use crate::engine::Engine;
use crate::files;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Files of one directory that are looked at.
const NEIGHBOURS_MAX: usize = 20_000;
/// Images behind an image that are followed.
const DEPTH_MAX: usize = 64;

/// Which of `images` are used by others than the domain, whose own images are `known`.
pub(crate) fn users(
    engine: &Engine,
    domain: Uuid,
    images: &BTreeSet<String>,
    known: &BTreeSet<&str>,
) -> BTreeSet<String> {
    if images.is_empty() {
        return BTreeSet::new();
    }
    let mut foreign = BTreeSet::new();
    for other in engine
        .domains()
        .iter()
        .filter(|other| other.uuid() != domain)
    {
        let Ok(definition) = other.definition() else {
            continue;
        };
        for disk in &definition.devices.disks {
            let path = disk.source_path().map(PathBuf::from);
            note(path, images, &mut foreign);
        }
    }
    let folders: BTreeSet<&Path> = images
        .iter()
        .filter_map(|i| Path::new(i).parent())
        .collect();
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.take(NEIGHBOURS_MAX) {
            let path = entry.path();
            let is_own = path.to_str().is_some_and(|path| known.contains(path));
            if !is_own && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let below = files::backing_of(&path).map(|backing| backing.path);
                note(below, images, &mut foreign);
            }
        }
    }
    foreign
}

/// Notes those of `images` that are at or below an image.
fn note(mut image: Option<PathBuf>, images: &BTreeSet<String>, foreign: &mut BTreeSet<String>) {
    for _ in 0..DEPTH_MAX {
        let Some(path) = image else { return };
        if let Some(name) = path.to_str().filter(|name| images.contains(*name)) {
            foreign.insert(name.to_owned());
        }
        image = files::backing_of(&path).map(|backing| backing.path);
    }
}
