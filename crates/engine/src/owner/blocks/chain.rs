//! A disk's chain of images, and what jobs make of it.

use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::disk::{Disk, Mirror, MirrorJob};
use model::domain::images::Link;
use model::domain::storage::FormatElement;
use qemu::machine::{BlockJobId, BlockJobKind};

/// A disk's images once a job has done its work, and those it needs no more.
pub(super) fn chain_after(disk: &Disk, id: &BlockJobId) -> (Vec<Link>, Vec<Link>) {
    let links = disk.links();
    let at = |index: u32| links.iter().position(|link| link.index == Some(index));
    let (first, last) = match id.kind() {
        BlockJobKind::Copy => {
            let copy = disk.mirror.as_deref().and_then(mirror_link);
            let shallow = disk
                .mirror
                .as_ref()
                .is_some_and(|m| m.backing_store.is_some());
            let kept = if shallow { 1 } else { links.len() };
            let after = copy.into_iter().chain(links[kept..].iter().cloned());
            return (after.collect(), links[..kept].to_vec());
        }
        BlockJobKind::Pull => (1, at(id.base).unwrap_or(links.len())),
        BlockJobKind::Commit | BlockJobKind::ActiveCommit => (
            at(id.top).unwrap_or(0),
            at(id.base).unwrap_or(links.len() - 1),
        ),
    };
    let (mut after, mut gone) = (links.clone(), Vec::new());
    if first < last {
        gone = after.drain(first..last).collect();
    }
    (after, gone)
}

/// The image that a job writes beside the disk's own.
fn mirror_link(mirror: &Mirror) -> Option<Link> {
    let source = mirror.source.clone()?;
    Some(Link {
        index: source.index,
        kind: mirror.kind.unwrap_or_default(),
        format: mirror.format.as_ref().map(|f| f.kind).unwrap_or_default(),
        source,
    })
}

/// Shows no job any more; the image beside the disk's own that nothing uses now.
pub(super) fn take_copy(disk: &mut Disk) -> Option<Link> {
    let mirror = disk.mirror.take()?;
    match mirror.job {
        Some(MirrorJob::ActiveCommit) => None,
        _ => mirror_link(&mirror),
    }
}

/// Shows the job in the disk's definition.
pub(super) fn set_mirror(domain: &mut Domain, target: &str, job: MirrorJob, link: &Link) {
    let Ok(disk) = find_mut(domain, target) else {
        return;
    };
    let mut source = link.source.clone();
    source.index = link.index;
    disk.mirror = Some(Box::new(Mirror {
        kind: Some(link.kind),
        file: None,
        old_format: None,
        job: Some(job),
        ready: None,
        format: Some(FormatElement {
            kind: link.format,
            metadata_cache: None,
        }),
        source: Some(source),
        backing_store: None,
    }));
}

/// The place of an image in a chain: by its path, or as `vda[2]` by its number.
pub(super) fn place(links: &[Link], target: &str, name: &str) -> Result<usize> {
    let number = name
        .strip_prefix(target)
        .and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'))
        .and_then(|number| number.parse::<u32>().ok());
    let found = links.iter().position(|link| match number {
        Some(number) => link.index == Some(number),
        None => link.path() == Some(name),
    });
    found.or((name == target).then_some(0)).ok_or_else(|| {
        EngineError::new(
            ErrorKind::InvalidArgument,
            format!("could not find image '{name}' in chain of disk '{target}'"),
        )
    })
}

/// A disk by its target or its image.
pub(crate) fn find<'a>(domain: &'a Domain, name: &str) -> Result<&'a Disk> {
    storage::snapshot::find(domain, name)
        .ok_or_else(|| EngineError::new(ErrorKind::InvalidArgument, format!("invalid path {name}")))
}

/// The same, to be changed.
pub(super) fn find_mut<'a>(domain: &'a mut Domain, target: &str) -> Result<&'a mut Disk> {
    let mut disks = domain.devices.disks.iter_mut();
    disks
        .find(|disk| disk.target_dev() == target)
        .ok_or_else(|| EngineError::new(ErrorKind::NoSuchDevice, format!("no disk {target}")))
}
