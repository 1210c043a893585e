//! The images of a domain as its snapshots and definitions name them, put
//! together from the store and the images' own headers.

use crate::error::Result;
use crate::files;
use crate::snapshots::keys::own_format;
use model::domain::Domain;
use model::domain::disk::{Disk, SnapshotMode};
use model::domain::storage::ImageFormat;
use model::snapshot::{Snapshot, SnapshotDisk, SnapshotDomain};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use storage::keys::{KeyRef, Keys, WHOLE_LUKS};
use storage::merge::Images;

/// Everything that is known of a domain's images.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    pub(crate) images: Images,
    /// Images that snapshots name, now or before: those that may be put away.
    pub(crate) candidates: BTreeSet<String>,
    /// What encrypted images are opened with.
    pub(crate) keys: Keys,
}

impl Graph {
    /// Of a domain with these snapshots whose disks are as `current` says.
    /// `layers` are images made by snapshots that are gone.
    pub(crate) fn new(
        snapshots: BTreeMap<String, Snapshot>,
        current: &Domain,
        layers: BTreeSet<String>,
    ) -> Self {
        let mut graph = Self {
            snapshots,
            images: Images {
                made: layers.clone(),
                ..Images::default()
            },
            candidates: layers,
            keys: Keys::default(),
        };
        for snapshot in graph.snapshots.values() {
            graph.keys.note_snapshot(snapshot);
            note_snapshot(snapshot, &mut graph.images, &mut graph.candidates);
        }
        graph.keys.note_domain(current);
        for disk in &current.devices.disks {
            note_active(disk, &mut graph.images);
        }
        let named: Vec<String> = graph
            .candidates
            .iter()
            .chain(&graph.images.active)
            .cloned()
            .collect();
        for image in named {
            note_chain(image, &mut graph.images);
        }
        graph
    }

    /// Takes snapshots out: what they held is held no more.
    pub(crate) fn drop_snapshots(&mut self, names: &BTreeSet<String>) {
        for holders in [&mut self.images.held, &mut self.images.tags] {
            for of_image in holders.values_mut() {
                of_image.retain(|name| !names.contains(name));
            }
        }
        self.snapshots.retain(|name, _| !names.contains(name));
    }

    /// Images that were made and that no snapshot names any more.
    pub(crate) fn layers(&self) -> BTreeSet<String> {
        let named: BTreeSet<&str> = self
            .snapshots
            .values()
            .flat_map(|s| s.disks().iter().chain(s.revert_disks()))
            .filter_map(SnapshotDisk::path)
            .collect();
        let made = self.images.made.iter();
        made.filter(|image| !named.contains(image.as_str()))
            .cloned()
            .collect()
    }

    /// Gives everything that moved its new place; tells which snapshots changed.
    pub(crate) fn follow(&mut self, moved: &BTreeMap<String, String>) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        let formats = self.images.formats.clone();
        for (name, snapshot) in &mut self.snapshots {
            let before = snapshot.clone();
            for domain in [&mut snapshot.domain, &mut snapshot.inactive_domain] {
                if let Some(SnapshotDomain::Whole(domain)) = domain {
                    follow_definition(domain, moved, &formats, &self.keys);
                }
            }
            let lists = [&mut snapshot.disks, &mut snapshot.revert_disks];
            for disk in lists.into_iter().flatten().flat_map(|l| &mut l.disks) {
                follow_disk(disk, moved, &self.keys);
            }
            if *snapshot != before {
                changed.insert(name.clone());
            }
        }
        changed
    }
}

fn note_snapshot(snapshot: &Snapshot, images: &mut Images, candidates: &mut BTreeSet<String>) {
    let name = snapshot.name();
    for made in snapshot.disks().iter().chain(snapshot.revert_disks()) {
        if let Some(path) = made.path() {
            images.made.insert(path.to_owned());
            images.formats.insert(
                path.to_owned(),
                made.format().unwrap_or(ImageFormat::Qcow2).to_string(),
            );
            candidates.insert(path.to_owned());
        }
    }
    let Some(domain) = snapshot.whole_domain() else {
        return;
    };
    for wish in snapshot.disks() {
        let Some(disk) = storage::snapshot::find(domain, wish.name()) else {
            continue;
        };
        let Some(path) = disk.source_path() else {
            continue;
        };
        let holders = match wish.mode {
            Some(SnapshotMode::External) => &mut images.held,
            Some(SnapshotMode::Internal) => &mut images.tags,
            _ => continue,
        };
        holders
            .entry(path.to_owned())
            .or_default()
            .insert(name.to_owned());
        images.formats.insert(path.to_owned(), own_format(disk));
        candidates.insert(path.to_owned());
    }
}

fn note_active(disk: &Disk, images: &mut Images) {
    if let Some(path) = disk.source_path().filter(|_| !disk.readonly) {
        images.active.insert(path.to_owned());
        images.formats.insert(path.to_owned(), own_format(disk));
    }
}

/// Follows headers down, as far as formats say that there are headers.
fn note_chain(mut image: String, images: &mut Images) {
    while images.formats.get(&image).is_some_and(|f| f == "qcow2") {
        let Some(backing) = files::backing_of(Path::new(&image)) else {
            return;
        };
        let path = backing.path.to_string_lossy().into_owned();
        let format = backing.format.unwrap_or_else(|| "raw".to_owned());
        images.formats.entry(path.clone()).or_insert(format);
        if images.below.insert(image, path.clone()).is_some() {
            return;
        }
        image = path;
    }
}

/// Gives the disks of a definition whose images moved their new images.
pub(crate) fn follow_definition(
    domain: &mut Domain,
    moved: &BTreeMap<String, String>,
    formats: &BTreeMap<String, String>,
    keys: &Keys,
) {
    for disk in &mut domain.devices.disks {
        let Some(to) = disk.source_path().and_then(|path| moved.get(path)) else {
            continue;
        };
        let format = formats.get(to).map_or("qcow2", String::as_str);
        set_image(disk, to, format, keys.get(to));
    }
}

fn follow_disk(disk: &mut SnapshotDisk, moved: &BTreeMap<String, String>, keys: &Keys) {
    let to = disk.path().and_then(|path| moved.get(path)).cloned();
    if let (Some(to), Some(source)) = (to, &mut disk.source) {
        source.encryption = keys.get(&to).map(KeyRef::encryption);
        source.file = Some(to);
        source.dev = None;
    }
}

/// Puts another image behind a disk of a definition, with what it is opened with.
pub(crate) fn set_image(disk: &mut Disk, path: &str, format: &str, key: Option<&KeyRef>) {
    use model::xml::Scalar;
    let source = disk.source.get_or_insert_default();
    let is_device = path.starts_with("/dev/");
    source.dev = is_device.then(|| path.to_owned());
    source.file = (!is_device).then(|| path.to_owned());
    source.index = None;
    // The volume it may have been is the one behind it now.
    (source.pool, source.volume) = (None, None);
    disk.kind = match is_device {
        true => model::domain::storage::StorageType::Block,
        false => model::domain::storage::StorageType::File,
    };
    disk.backing_store = None;
    disk.encryption = None;
    source.encryption = key.map(KeyRef::encryption);
    let driver = disk.driver.get_or_insert_default();
    driver.format = match format {
        WHOLE_LUKS => Some(ImageFormat::Raw),
        format => ImageFormat::parse(format),
    };
}

/// Every snapshot of a domain, read whole.
pub(crate) fn read_snapshots(
    engine: &crate::engine::Engine,
    domain: uuid::Uuid,
    tree: &crate::snapshots::SnapshotTree,
) -> Result<BTreeMap<String, Snapshot>> {
    tree.all()
        .map(|head| {
            let snapshot = engine.read_snapshot(domain, &head.name)?;
            Ok((head.name.clone(), snapshot))
        })
        .collect()
}
