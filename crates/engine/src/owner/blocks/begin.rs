//! Begins a job on a disk's images.

use super::chain::find;
use super::plan::Plan;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::live::LiveMachine;
use crate::options::BlockCopy;
use crate::owner::snapshots::{NewFile, check_new_file};
use crate::snapshots::tool::{Tool, virtual_size};
use crate::snapshots::{live as qemu_side, nodes};
use model::domain::disk::Disk;
use model::domain::images::Link;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use storage::keys::{Keys, tool_format};

/// Opens what the job needs and begins it; what was made for a job that could
/// not be begun is removed.
pub(super) async fn begin(engine: &Engine, live: &LiveMachine, plan: &Plan) -> Result<()> {
    let monitor = live.monitor()?;
    let before = live.definition();
    let disk = find(&before, &plan.id.disk)?;
    if let Some(at) = plan.writable {
        nodes::make_writable(monitor, disk, at).await?;
    }
    let Some((link, copy)) = &plan.copy else {
        return monitor.execute(&plan.command).await.map(drop);
    };
    check_new_file(NewFile::Copy, disk.target_dev(), &copy.path, copy.reuse)?;
    let begun = begin_copy(engine, live, disk, plan, (link, copy)).await;
    let path = Path::new(&copy.path);
    if begun.is_err()
        && !copy.reuse
        && !is_device(path)
        && let Err(error) = crate::owner::remove_file(path)
    {
        tracing::warn!(%error, "the image of a copy that was not begun is left");
    }
    begun
}

fn is_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device())
}

async fn begin_copy(
    engine: &Engine,
    live: &LiveMachine,
    disk: &Disk,
    plan: &Plan,
    (link, copy): (&Link, &BlockCopy),
) -> Result<()> {
    let monitor = live.monitor()?;
    if !copy.reuse {
        make_copy(engine, disk, link, copy).await?;
    }
    let links = disk.links();
    let below = match copy.shallow {
        true => &links[1.min(links.len())..],
        false => &[],
    };
    let mut begun = nodes::add(engine, monitor, disk, link, below).await;
    if begun.is_ok() {
        begun = monitor.execute(&plan.command).await.map(drop);
    }
    if begun.is_err() {
        qemu_side::drop_nodes(monitor, link).await;
    }
    begun
}

/// Makes the empty image that a copy is written to.
async fn make_copy(engine: &Engine, disk: &Disk, link: &Link, copy: &BlockCopy) -> Result<()> {
    let links = disk.links();
    let below = links.get(1).cloned().filter(|_| copy.shallow);
    let own = links.into_iter().next();
    let own = own.ok_or_else(|| EngineError::failed("the drive is empty"))?;
    let mut keys = Keys::default();
    keys.note(link.path(), link.source.encryption.as_ref());
    let (engine, path) = (engine.clone(), copy.path.clone());
    let format = link.format;
    let made = tokio::task::spawn_blocking(move || {
        let size = virtual_size(own.path().unwrap_or_default(), &tool_format(&own))?;
        let named = below.as_ref().map(|link| (link.path(), tool_format(link)));
        let backing = named
            .as_ref()
            .and_then(|(path, format)| Some(((*path)?, format.as_str())));
        Tool::new(&engine, &keys).create(&path, format.as_str(), backing, size)
    });
    made.await
        .unwrap_or_else(|panic| Err(EngineError::failed(panic.to_string())))
}
