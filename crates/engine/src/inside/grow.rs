//! The root partition of a guest and its file system take the rest of their
//! disk, and the disk gets more room where that is asked for.

use super::read_bounded;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView};
use crate::provision::Base;
use crate::volumes::{ImageJob, ImageTask};
use serde_json::json;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use storage::guestfs::grow::{Layout, questions};
use storage::guestfs::{GuestDisk, disk_args};

/// The program that takes scripts.
const PROGRAM: &str = "guestfish";

impl Engine {
    /// Gives the disk that holds a machine's root `size` bytes (its own size
    /// if none is given), and its last partition and file system all of it.
    /// The job's result tells the root and the size.
    pub async fn grow_inside(
        &self,
        domain: &DomainHandle,
        size: Option<u64>,
    ) -> Result<Arc<JobView>> {
        let disks = self.disks_at_rest(domain, true)?;
        let spec = JobSpec {
            kind: "image-grow",
            target: domain.view().name.to_string(),
            plan: None,
        };
        let engine = self.clone();
        self.start_job(spec, |job| async move {
            job.step("looking at the disks", 0, JobUnit::Items);
            let asked = questions(disks.len());
            let said = engine.guestfish(&job, &disks, &asked, false).await?;
            let growth = Layout::read(&said).growth().map_err(|error| {
                EngineError::new(ErrorKind::ConfigUnsupported, error.to_string())
            })?;
            let disk = disks.get(growth.disk).ok_or_else(|| {
                EngineError::failed("the root is on a disk the machine does not have")
            })?;
            let bytes = engine.enlarge(&job, disk, size).await?;
            job.step(format!("growing {}", growth.root), 0, JobUnit::Items);
            let script = growth.script(bytes);
            drop(engine.guestfish(&job, &disks, &script, true).await?);
            Ok(json!({"said": format!("{} has grown to a disk of {bytes} bytes", growth.root)}))
        })
        .await
    }

    async fn enlarge(&self, job: &JobContext, disk: &GuestDisk, size: Option<u64>) -> Result<u64> {
        let now = Base::find(Path::new(&disk.path), &disk.format)?.capacity;
        match size {
            None => Ok(now),
            Some(size) if size < now => Err(EngineError::new(
                ErrorKind::InvalidArgument,
                format!("'{}' has {now} bytes already: it can only grow", disk.path),
            )),
            Some(size) => {
                let resize = ImageJob {
                    image: disk.path.clone(),
                    format: Some(disk.format.clone()),
                    task: ImageTask::Resize {
                        size,
                        shrink: false,
                        preallocation: None,
                    },
                    as_data: false,
                };
                drop(self.run_image_job(resize, None, job.clone()).await?);
                Ok(size)
            }
        }
    }

    /// Runs a script on disks; what it prints is the answer.
    async fn guestfish(
        &self,
        job: &JobContext,
        disks: &[GuestDisk],
        script: &str,
        writes: bool,
    ) -> Result<String> {
        let failed = |e: io::Error| EngineError::system("cannot make a pipe", e);
        let mut tool = self.guestfs_tool(PROGRAM, disks, writes)?;
        tool = tool.args([if writes { "--rw" } else { "--ro" }]);
        tool = tool.args(disk_args(disks));
        if !writes {
            // The file systems are found and mounted; a script that writes says which.
            tool = tool.args(["-i"]);
        }
        let (said, output) = io::pipe().map_err(failed)?;
        let (input, mut told) = io::pipe().map_err(failed)?;
        // A script is shorter than what a pipe holds.
        told.write_all(script.as_bytes()).map_err(failed)?;
        drop(told);
        let descriptors: Vec<(_, OwnedFd)> = vec![(3, output.into()), (4, input.into())];
        let tool = tool.redirected("<&4 >&3 3>&- 4<&-", descriptors);
        let running = tool.start()?;
        let read = crate::aside::aside(move || read_bounded(said));
        let both = async {
            let (said, _) = tokio::try_join!(async { read.await? }, running.wait(|_| ()))?;
            Ok(said)
        };
        job.unless_cancelled(both).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_fits_into_a_pipe() {
        const PIPE_BYTES: usize = 64 * 1024;
        const DISKS_MAX: usize = 255;
        assert!(questions(DISKS_MAX).len() < PIPE_BYTES);
    }
}
