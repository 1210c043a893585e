//! A machine's disks mounted on the host, by FUSE. The mount is a job that
//! lasts as long as it does.

use super::{PACKAGE, guestfs_environment};
use crate::confined::Tool;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::jobs::{JobSpec, JobState, JobUnit, JobView};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use storage::guestfs::disk_args;

/// The kind of the job.
const KIND: &str = "image-mount";
/// The step of the job from which on the mount can be used.
pub const MOUNTED: &str = "mounted";

impl Engine {
    /// Mounts the disks of a machine that does not run below a directory.
    pub async fn mount_inside(
        &self,
        domain: &DomainHandle,
        at: &Path,
        writable: bool,
    ) -> Result<Arc<JobView>> {
        if !at.is_absolute() || !at.is_dir() {
            return Err(EngineError::new(
                ErrorKind::InvalidArgument,
                format!("there is no directory '{}' on the host", at.display()),
            ));
        }
        let disks = self.disks_at_rest(domain, writable)?;
        let work = self.guestfs_directory()?;
        let mut args = disk_args(&disks);
        args.extend(
            [
                "-i",
                if writable { "--rw" } else { "--ro" },
                "--no-fork",
                "-v",
            ]
            .map(String::from),
        );
        args.extend(["-o".to_owned(), "allow_other".to_owned()]);
        args.push(at.to_string_lossy().into_owned());
        let mut tool = Tool::new("guestmount", PACKAGE).args(args);
        // A confined process may not mount.
        tool.unconfined = true;
        for (name, value) in guestfs_environment(&work) {
            tool = tool.env(name, value);
        }
        let target = at.to_string_lossy().into_owned();
        let spec = JobSpec {
            kind: KIND,
            target,
            plan: None,
        };
        let (engine, at) = (self.clone(), at.to_owned());
        self.start_job(spec, |job| async move {
            job.step("starting libguestfs", 0, JobUnit::Items);
            let running = tool.start()?;
            let mounted = |words: &str| {
                if words.contains("start_handling_requests") || is_mount(&at) {
                    job.step(MOUNTED, 0, JobUnit::Items);
                }
            };
            tokio::select! {
                ended = running.wait(mounted) => ended.map(|_| Value::Null),
                () = job.cancelled() => {
                    engine.unmount_inside(&at).await?;
                    job.check().map(|()| Value::Null)
                }
            }
        })
        .await
    }

    /// Ends a mount.
    pub async fn unmount_inside(&self, at: &Path) -> Result<()> {
        let target = at.to_string_lossy();
        let ours = self.jobs().into_iter().any(|job| {
            let ended = matches!(job.state, JobState::Completed | JobState::Failed);
            job.kind == KIND && job.target == target && !ended
        });
        if !ours {
            return Err(EngineError::invalid(format!(
                "nothing is mounted at '{target}' by stead"
            )));
        }
        let mut tool = Tool::new("guestunmount", PACKAGE).args([at]);
        tool.unconfined = true;
        tool.start()?.wait(|_| ()).await.map(drop)
    }
}

/// Whether something is mounted there.
fn is_mount(at: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.dev());
    at.parent()
        .is_some_and(|parent| device(at) != device(parent))
}
