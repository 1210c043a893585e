//! Begins a job on a disk's images.

use super::chain::find;
use super::plan::Plan;
use crate::error::{EngineError, Result};
use crate::live::LiveMachine;
use crate::options::BlockCopy;
use crate::snapshots::{live as qemu_side, nodes};
use model::domain::disk::Disk;
use model::domain::images::Link;
use std::path::Path;

/// Opens what the job needs and begins it; what was made for a job that could
/// not be begun is removed.
pub(super) async fn begin(live: &LiveMachine, plan: &Plan) -> Result<()> {
    let monitor = live.monitor()?;
    let before = live.definition();
    let disk = find(&before, &plan.id.disk)?;
    if let Some(at) = plan.writable {
        nodes::make_writable(monitor, disk, at, false).await?;
    }
    if let Some((link, copy)) = &plan.copy {
        if !copy.reuse {
            make_copy(disk, link, copy).await?;
        }
        let links = disk.links();
        let below = match copy.shallow {
            true => &links[1.min(links.len())..],
            false => &[],
        };
        nodes::add(monitor, disk, link, below).await?;
    }
    let begun = monitor.execute(&plan.command).await.map(drop);
    if let (Err(_), Some((link, copy))) = (&begun, &plan.copy) {
        qemu_side::drop_nodes(monitor, link).await;
        if !copy.reuse {
            crate::owner::remove_file(Path::new(&copy.path))?;
        }
    }
    begun
}

/// Makes the empty image that a copy is written to.
async fn make_copy(disk: &Disk, link: &Link, copy: &BlockCopy) -> Result<()> {
    let source = disk.source_path().unwrap_or_default().to_owned();
    let below = disk.links().get(1).cloned().filter(|_| copy.shallow);
    let (path, format) = (link.path().unwrap_or_default().to_owned(), link.format);
    let made = tokio::task::spawn_blocking(move || {
        let size = crate::snapshots::steps::virtual_size(&source)?;
        let mut words = vec!["create", "-q", "-f", format.as_str()];
        let backing = below.as_ref().and_then(|l| Some((l.path()?, l.format)));
        if let Some((path, format)) = backing {
            words.extend(["-u", "-b", path, "-F", format.as_str()]);
        }
        let size = size.to_string();
        words.extend([path.as_str(), size.as_str()]);
        crate::snapshots::steps::qemu_img(&words)
    });
    made.await
        .unwrap_or_else(|panic| Err(EngineError::failed(panic.to_string())))
}
