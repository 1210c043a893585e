//! The images of a running machine's disks: a disk's own and those behind it.
//! QEMU's block nodes are named by their numbers, so an image keeps its number
//! for as long as it is in use.

use super::Domain;
use super::disk::{Disk, DiskDriver};
use super::storage::{BackingStore, FormatElement, ImageFormat, StorageSource, StorageType};

/// One image of a disk's chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its number.
    pub index: Option<u32>,
    /// Where it is.
    pub kind: StorageType,
    /// Where it is.
    pub source: StorageSource,
    /// Its format.
    pub format: ImageFormat,
}

impl Link {
    /// An image in a local file.
    pub fn file(path: &str, format: ImageFormat) -> Self {
        Self {
            index: None,
            kind: StorageType::File,
            source: StorageSource {
                file: Some(path.to_owned()),
                ..StorageSource::default()
            },
            format,
        }
    }

    /// Whether QEMU hands its bytes on as they are in the file.
    pub fn is_plain(&self) -> bool {
        self.format == ImageFormat::Raw && self.source.encryption.is_none()
    }

    /// Its local path.
    pub fn path(&self) -> Option<&str> {
        self.source.file.as_deref().or(self.source.dev.as_deref())
    }
}

impl Domain {
    /// Numbers the images that have no number yet: from the last disk to the
    /// first as libvirt does, after the highest number in use.
    pub fn number_images(&mut self) {
        let disks = &mut self.devices.disks;
        let mut next = disks.iter().map(highest).max().unwrap_or(0) + 1;
        for disk in disks.iter_mut().rev() {
            let mut links = disk.links();
            if links.iter().all(|link| link.index.is_some()) {
                // An empty drive may get an image later, and keeps its place.
                next += u32::from(links.is_empty());
                continue;
            }
            for link in links.iter_mut().filter(|link| link.index.is_none()) {
                link.index = Some(next);
                next += 1;
            }
            let is_ended = disk.is_chain_ended();
            disk.number_links(&links);
            debug_assert_eq!(disk.is_chain_ended(), is_ended);
        }
    }
}

impl Disk {
    /// Whether the disk is a file or device that stands for a volume of a pool: such a disk keeps
    /// the names of both, so that its stored definition goes on to name them.
    pub fn is_volume(&self) -> bool {
        let is_local = matches!(
            self.kind,
            StorageType::File | StorageType::Block | StorageType::Dir
        );
        let source = self.source.as_deref();
        is_local && source.is_some_and(|source| source.pool.is_some() && source.volume.is_some())
    }

    /// Makes a disk that names a volume the file, device or directory that the volume is.
    pub fn place_volume(&mut self, kind: StorageType, path: &str) {
        let source = self.source.get_or_insert_default();
        let place = match kind {
            StorageType::Block => &mut source.dev,
            StorageType::Dir => &mut source.dir,
            _ => &mut source.file,
        };
        *place = Some(path.to_owned());
        self.kind = kind;
    }

    /// Makes it name the volume alone again.
    pub(super) fn forget_volume_place(&mut self) {
        if self.is_volume()
            && let Some(source) = &mut self.source
        {
            (source.file, source.dev, source.dir) = (None, None, None);
            self.kind = StorageType::Volume;
        }
    }

    /// How many images the disk has by its definition: its own and those it
    /// names behind it.
    pub fn image_count(&self) -> u32 {
        1 + u32::try_from(self.stores().count()).unwrap_or(u32::MAX)
    }

    fn stores(&self) -> impl Iterator<Item = &BackingStore> {
        let below = |store: &&BackingStore| !store.is_terminator();
        std::iter::successors(self.backing_store.as_ref().filter(below), move |store| {
            store.backing_store.as_deref().filter(below)
        })
    }

    /// Whether the definition says where the chain ends.
    pub fn is_chain_ended(&self) -> bool {
        let mut next = self.backing_store.as_ref();
        while let Some(store) = next {
            if store.is_terminator() {
                return true;
            }
            next = store.backing_store.as_deref();
        }
        false
    }

    /// The images by the definition, the disk's own first; none of an empty drive.
    pub fn links(&self) -> Vec<Link> {
        let Some(source) = self.source.as_deref() else {
            return Vec::new();
        };
        let own = Link {
            index: source.index,
            kind: self.kind,
            source: StorageSource {
                index: None,
                encryption: source
                    .encryption
                    .clone()
                    .or_else(|| self.encryption.clone()),
                ..source.clone()
            },
            format: self.format(),
        };
        let behind = self.stores().map(|store| {
            let mut source = store.source.as_deref().cloned().unwrap_or_default();
            let index = store.index.or(source.index.take());
            Link {
                index,
                kind: store.kind.unwrap_or_default(),
                source,
                format: store.format.as_ref().map(|f| f.kind).unwrap_or_default(),
            }
        });
        std::iter::once(own).chain(behind).collect()
    }

    /// Puts another chain behind the disk: its own image first, the end said.
    pub fn set_links(&mut self, links: &[Link]) {
        let Some((own, behind)) = links.split_first() else {
            return;
        };
        let mut below = BackingStore::default();
        for link in behind.iter().rev() {
            below = BackingStore {
                kind: Some(link.kind),
                index: link.index,
                format: Some(FormatElement {
                    kind: link.format,
                    metadata_cache: None,
                }),
                source: Some(Box::new(StorageSource {
                    index: None,
                    ..link.source.clone()
                })),
                backing_store: Some(Box::new(below)),
            };
        }
        self.kind = own.kind;
        // It belongs to one image, which may be behind another from now on.
        self.encryption = None;
        self.source = Some(Box::new(StorageSource {
            index: own.index,
            ..own.source.clone()
        }));
        self.driver.get_or_insert_with(DiskDriver::default).format = Some(own.format);
        self.backing_store = Some(below);
    }

    fn number_links(&mut self, links: &[Link]) {
        let mut indexes = links.iter().map(|link| link.index);
        if let (Some(source), Some(index)) = (&mut self.source, indexes.next()) {
            source.index = index;
        }
        let mut next = self.backing_store.as_mut();
        while let Some(store) = next.filter(|store| !store.is_terminator()) {
            store.index = indexes.next().flatten();
            next = store.backing_store.as_deref_mut();
        }
    }
}

/// The highest number a disk's images use.
fn highest(disk: &Disk) -> u32 {
    let own = disk.links().iter().filter_map(|link| link.index).max();
    let mirror = disk.mirror.as_ref().and_then(|m| m.source.as_ref()?.index);
    own.max(mirror).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(domain: &Domain) -> Vec<Vec<Option<u32>>> {
        let disks = domain.devices.disks.iter();
        disks
            .map(|disk| disk.links().iter().map(|link| link.index).collect())
            .collect()
    }

    fn disk(name: &str, behind: &str) -> String {
        format!(
            "<disk type='file'><source file='/{name}'/>{behind}<target dev='{name}' bus='virtio'/></disk>"
        )
    }

    fn domain(disks: &str) -> Domain {
        let xml = format!(
            "<domain type='qemu'><name>a</name><memory>1024</memory><devices>{disks}</devices></domain>"
        );
        Domain::parse(&xml).expect("a domain")
    }

    #[test]
    fn images_are_numbered_from_the_last_and_keep_their_numbers() {
        let behind =
            "<backingStore type='file'><format type='raw'/><source file='/x'/></backingStore>";
        let mut domain = domain(&(disk("vda", "") + &disk("vdb", behind)));
        domain.number_images();
        assert_eq!(numbers(&domain), [vec![Some(3)], vec![Some(1), Some(2)]]);
        domain.attach_device(&disk("vdc", "")).expect("attach");
        domain.number_images();
        assert_eq!(
            numbers(&domain),
            [vec![Some(3)], vec![Some(1), Some(2)], vec![Some(4)]]
        );
    }

    #[test]
    fn a_volume_s_place_is_not_stored() {
        let text = "<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>";
        let mut domain = domain(text);
        let before = domain.to_xml(crate::XmlFlags {
            inactive: true,
            ..crate::XmlFlags::default()
        });
        domain.devices.disks[0].place_volume(StorageType::File, "/p/v");
        assert_eq!(domain.devices.disks[0].source_path(), Some("/p/v"));
        let live = domain.to_xml(crate::XmlFlags::default());
        assert!(live.contains("file='/p/v'"), "{live}");
        let after = domain.to_xml(crate::XmlFlags {
            inactive: true,
            ..crate::XmlFlags::default()
        });
        assert_eq!(after, before);
    }

    #[test]
    fn a_chain_is_read_and_put_back() {
        let mut domain = domain(&disk("vda", ""));
        domain.number_images();
        let disk = &mut domain.devices.disks[0];
        let mut links = disk.links();
        links.insert(0, Link::file("/new", ImageFormat::Qcow2));
        disk.set_links(&links);
        assert!(disk.is_chain_ended());
        assert_eq!(disk.links(), links);
        domain.number_images();
        assert_eq!(numbers(&domain), [[Some(2), Some(1)]]);
        assert_eq!(domain.devices.disks[0].source_path(), Some("/new"));
    }
}
