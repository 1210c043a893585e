//! A machine's disks mounted on the host, by FUSE. The mount is a job that
//! lasts as long as it does.

use super::{PACKAGE, guestfs_environment};
use crate::confined::Tool;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::jobs::{JobSpec, JobState, JobUnit, JobView};
use crate::mounts;
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
        refuse_if_mounted(at)?;
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
                if words.contains("start_handling_requests") || mounts::at(&at).is_some() {
                    job.step(MOUNTED, 0, JobUnit::Items);
                }
            };
            tokio::select! {
                ended = running.wait(mounted) => match ended {
                    Ok(_) => Ok(Value::Null),
                    Err(error) => {
                        forget_dead(&at).await?;
                        Err(without_chatter(&error))
                    }
                },
                () = job.cancelled() => {
                    engine.unmount_inside(&at).await?;
                    job.check().map(|()| Value::Null)
                }
            }
        })
        .await
    }

    /// Ends a mount, also one whose program is gone: the kernel keeps that until somebody says so.
    pub async fn unmount_inside(&self, at: &Path) -> Result<()> {
        let target = at.to_string_lossy();
        let ours = self.jobs().into_iter().any(|job| {
            let ended = matches!(job.state, JobState::Completed | JobState::Failed);
            job.kind == KIND && job.target == target && !ended
        });
        if !ours {
            if forget_dead(at).await? {
                return Ok(());
            }
            return Err(EngineError::invalid(format!(
                "nothing is mounted at '{target}' by stead"
            )));
        }
        let mut tool = Tool::new("guestunmount", PACKAGE).args([at]);
        tool.unconfined = true;
        tool.start()?.wait(|_| ()).await.map(drop)
    }
}

fn refuse_if_mounted(at: &Path) -> Result<()> {
    match mounts::at(at) {
        None => Ok(()),
        Some(mounted) if mounted.is_fuse() => Err(EngineError::invalid(format!(
            "something is mounted at '{0}' already: if stead mounted it, \
             `stead image unmount {0}` ends it",
            at.display()
        ))),
        Some(mounted) => Err(EngineError::invalid(format!(
            "'{}' is mounted at '{}' already: unmount it first, or take another directory",
            mounted.source,
            at.display()
        ))),
    }
}

/// Unmounts what no program answers for any more; whether there was such a mount.
async fn forget_dead(at: &Path) -> Result<bool> {
    if !mounts::at(at).is_some_and(|mounted| mounted.is_fuse()) {
        return Ok(false);
    }
    let place = at.to_owned();
    let asked = crate::aside::aside(move || std::fs::metadata(place)).await?;
    match asked {
        Err(e) if e.kind() == std::io::ErrorKind::NotConnected => {}
        _ => return Ok(false),
    }
    let mut tool = Tool::new("umount", "mount").args([Path::new("--lazy"), at]);
    tool.unconfined = true;
    tool.start()?.wait(|_| ()).await.map(|_| true)
}

/// Of all that guestmount says of its doings, what is an error.
fn without_chatter(error: &EngineError) -> EngineError {
    let said = error.message.strip_prefix("guestmount: ");
    let said = said.unwrap_or(&error.message);
    let is_error =
        |line: &&str| line.contains("libguestfs: error: ") || line.starts_with("guestmount: ");
    let errors: Vec<_> = said.lines().filter(is_error).collect();
    let said = match errors.is_empty() {
        true => "guestmount ended by itself: nothing is mounted any more, and what it had not \
                 written yet is lost"
            .to_owned(),
        false => storage::guestfs::plain_words(&errors.join("\n")),
    };
    EngineError::new(error.kind, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_among_the_chatter() {
        let said = "guestmount: guestfsd: => mount took 0.12 secs\n\
                    libguestfs: error: no operating system was found\nlibguestfs: closing";
        let error = without_chatter(&EngineError::failed(said));
        assert_eq!(error.message, "no operating system was found");
        let said = "guestmount: libguestfs: launch\nguestmount: no operating system\n\nIf using";
        let error = without_chatter(&EngineError::failed(said));
        assert_eq!(error.message, "guestmount: no operating system");
        let killed = without_chatter(&EngineError::failed("guestmount: guestfsd: <= pread"));
        assert!(killed.message.contains("ended by itself"), "{killed}");
    }
}
