//! The numbers of a running machine's images. QEMU's block nodes are named by
//! them, so an image keeps its number for as long as it is in use.

use super::Domain;
use super::disk::Disk;

impl Domain {
    /// Numbers the images that have no number yet: from the last disk to the
    /// first as libvirt does, after the highest number in use.
    pub fn number_images(&mut self) {
        let disks = &mut self.devices.disks;
        let mut next = disks.iter().filter_map(highest).max().unwrap_or(0) + 1;
        for disk in disks.iter_mut().rev() {
            let count = disk.image_count();
            match &mut disk.source {
                Some(source) if source.index.is_some() => {}
                Some(source) => {
                    source.index = Some(next);
                    next += count;
                }
                None => next += count,
            }
        }
    }
}

impl Disk {
    /// How many images the disk has by its definition: its own and those it
    /// names behind it.
    pub fn image_count(&self) -> u32 {
        let mut count = 1;
        let mut next = self.backing_store.as_ref();
        while let Some(store) = next.filter(|store| !store.is_terminator()) {
            count += 1;
            next = store.backing_store.as_deref();
        }
        count
    }
}

/// The highest number a disk's images use.
fn highest(disk: &Disk) -> Option<u32> {
    let index = disk.source.as_ref()?.index?;
    Some(index + disk.image_count() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(domain: &Domain) -> Vec<Option<u32>> {
        let disks = domain.devices.disks.iter();
        disks
            .map(|disk| disk.source.as_ref().and_then(|source| source.index))
            .collect()
    }

    #[test]
    fn images_are_numbered_from_the_last_and_keep_their_numbers() {
        let disk = |name: &str| {
            format!(
                "<disk type='file'><source file='/{name}'/><target dev='{name}' bus='virtio'/></disk>"
            )
        };
        let xml = format!(
            "<domain type='qemu'><name>a</name><memory>1024</memory><devices>{}{}</devices></domain>",
            disk("vda"),
            disk("vdb")
        );
        let mut domain = Domain::parse(&xml).expect("a domain");
        domain.number_images();
        assert_eq!(numbers(&domain), [Some(2), Some(1)]);
        domain.attach_device(&disk("vdc")).expect("attach");
        domain.number_images();
        assert_eq!(numbers(&domain), [Some(2), Some(1), Some(3)]);
    }
}
