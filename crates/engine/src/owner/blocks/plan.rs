//! What it takes to begin a job on a disk's images.

use super::chain::{find_mut, place, set_mirror};
use crate::error::{EngineError, ErrorKind, Result};
use crate::options::{BlockCommit, BlockCopy, BlockPull, BlockWork};
use crate::snapshots::keys::new_encryption;
use crate::snapshots::{nodes, spell};
use model::domain::Domain;
use model::domain::disk::{Disk, MirrorJob};
use model::domain::images::Link;
use qemu::machine::{BlockJobId, BlockJobKind};
use qemu::qmp::{Command, Done};
use std::path::Path;

/// A job about to be begun.
pub(super) struct Plan {
    pub(super) id: BlockJobId,
    pub(super) command: Command<Done>,
    /// The image that is written to and is open for reading.
    pub(super) writable: Option<usize>,
    /// A copy to be made and opened.
    pub(super) copy: Option<(Link, BlockCopy)>,
    /// The running machine's definition once the job runs.
    pub(super) after: Domain,
}

impl Plan {
    /// What `work` on this disk of a running machine takes.
    pub(super) fn of(domain: &Domain, disk: &Disk, work: BlockWork) -> Result<Self> {
        let links = disk.links();
        if links.is_empty() {
            let what = format!("disk '{}' has no image", disk.target_dev());
            return Err(EngineError::invalid(what));
        }
        match work {
            BlockWork::Commit(commit) => Self::commit(domain, disk, &links, &commit),
            BlockWork::Pull(pull) => Self::pull(domain, disk, &links, &pull),
            BlockWork::Copy(copy) => Self::copy(domain, disk, &links, copy),
        }
    }

    fn commit(domain: &Domain, disk: &Disk, links: &[Link], commit: &BlockCommit) -> Result<Self> {
        let target = disk.target_dev();
        let (top, base) = committed(links, target, commit)?;
        let kind = match commit.active {
            true => BlockJobKind::ActiveCommit,
            false => BlockJobKind::Commit,
        };
        let id = id(kind, target, &links[top], Some(&links[base]));
        let mut command = job("block-commit", &id, &links[0], commit.bandwidth)?
            .arg("base-node", nodes::node(&links[base])?);
        let mut after = domain.clone();
        if top > 0 {
            command = command
                .arg("top-node", nodes::node(&links[top])?)
                .arg("backing-file", links[base].path().unwrap_or_default());
        } else {
            set_mirror(&mut after, target, MirrorJob::ActiveCommit, &links[base]);
        }
        Ok(Self {
            id,
            command,
            writable: Some(base),
            copy: None,
            after,
        })
    }

    fn pull(domain: &Domain, disk: &Disk, links: &[Link], pull: &BlockPull) -> Result<Self> {
        let target = disk.target_dev();
        let base = pull.base.as_deref();
        let base = base.map(|base| place(links, target, base)).transpose()?;
        let base = base.map(|at| &links[at]);
        let id = id(BlockJobKind::Pull, target, &links[0], base);
        let mut command = job("block-stream", &id, &links[0], pull.bandwidth)?;
        if let Some(base) = base {
            command = command
                .arg("base-node", nodes::node(base)?)
                .arg("backing-file", base.path().unwrap_or_default());
        }
        Ok(Self {
            id,
            command,
            writable: None,
            copy: None,
            after: domain.clone(),
        })
    }

    fn copy(domain: &Domain, disk: &Disk, links: &[Link], copy: BlockCopy) -> Result<Self> {
        let target = disk.target_dev();
        let format = copy.format.unwrap_or(links[0].format);
        let path = Path::new(&copy.path);
        let mut link = spell::link(path, format);
        link.source.encryption = new_encryption(
            target,
            copy.encryption.clone(),
            links[0].source.encryption.clone(),
            format,
            copy.reuse.then_some(path),
        )?;
        let numbers = domain.devices.disks.iter().flat_map(Disk::links);
        link.index = Some(1 + numbers.filter_map(|l| l.index).max().unwrap_or(0));
        let id = id(BlockJobKind::Copy, target, &links[0], Some(&link));
        let command = job("blockdev-mirror", &id, &links[0], copy.bandwidth)?
            .arg("target", nodes::node(&link)?)
            .arg("sync", if copy.shallow { "top" } else { "full" })
            .maybe("granularity", copy.granularity)
            .maybe("buf-size", copy.buf_size)
            .maybe("copy-mode", copy.synchronous.then_some("write-blocking"));
        let mut after = domain.clone();
        set_mirror(&mut after, target, MirrorJob::Copy, &link);
        // What is below a copy of the disk's own image alone stays below it.
        let below = disk.backing_store.clone().filter(|_| copy.shallow);
        if let Ok(disk) = find_mut(&mut after, target)
            && let Some(mirror) = &mut disk.mirror
        {
            mirror.backing_store = below;
        }
        Ok(Self {
            id,
            command,
            writable: None,
            copy: Some((link, copy)),
            after,
        })
    }
}

/// The uppermost image that is committed, and the one that takes them.
fn committed(links: &[Link], target: &str, commit: &BlockCommit) -> Result<(usize, usize)> {
    let at = |name: &str| place(links, target, name);
    let top = commit.top.as_deref().map_or(Ok(0), at)?;
    let base = match &commit.base {
        Some(base) => at(base)?,
        None if commit.shallow => top + 1,
        None => links.len() - 1,
    };
    let refused = if base <= top || base >= links.len() {
        format!("top '{target}' has no backing file to commit into")
    } else if commit.active && top != 0 {
        "active commit requested but top is not active".to_owned()
    } else if !commit.active && top == 0 {
        format!("commit of '{target}' active layer requires active flag")
    } else {
        return Ok((top, base));
    };
    Err(EngineError::new(ErrorKind::InvalidArgument, refused))
}

fn id(kind: BlockJobKind, disk: &str, top: &Link, base: Option<&Link>) -> BlockJobId {
    let base = base.and_then(|link| link.index).unwrap_or(0);
    BlockJobId::new(kind, disk, top.index.unwrap_or(0), base)
}

fn job(
    name: &'static str,
    id: &BlockJobId,
    device: &Link,
    bandwidth: u64,
) -> Result<Command<Done>> {
    Ok(Command::new(name)
        .arg("job-id", id.to_string())
        .arg("device", nodes::node(device)?)
        .arg("speed", bandwidth)
        .arg("auto-finalize", true)
        .arg("auto-dismiss", false))
}
