//! Inside images: what is in the disks of a machine that does not run, looked
//! at and changed by libguestfs's programs.
//!
//! They start a small machine of their own around the image, so nothing a
//! guest wrote is ever parsed by this daemon or mounted by this host's kernel.

mod grow;
mod mount;
mod secrets;

pub use mount::MOUNTED;

use crate::confined::Tool;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::jobs::{JobSpec, JobUnit, JobView};
use crate::limits::INSIDE_OUTPUT_MAX_BYTES;
use crate::volumes::chain::images_behind;
use model::domain::disk::DiskDevice;
use model::domain::storage::StorageType;
use secrets::SecretFiles;
use serde_json::json;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub use storage::guestfs::{Change, Inside as InsideRequest, customization};
use storage::guestfs::{GuestDisk, Inside};
use sys::landlock::Access;

/// The package that brings libguestfs's programs.
const PACKAGE: &str = "libguestfs-tools";

/// What libguestfs needs of the host beside programs and libraries.
const SYSTEM: [(&str, Access); 10] = [
    // For root it puts its sockets there, whatever the environment says.
    ("/tmp", Access::Write),
    ("/sbin", Access::Execute),
    ("/etc", Access::Read),
    ("/boot", Access::Read),
    ("/proc", Access::Read),
    ("/sys", Access::Read),
    ("/var/lib", Access::Read),
    ("/dev", Access::Write),
    ("/run/lock", Access::Write),
    ("/lib/modules", Access::Read),
];

impl Engine {
    /// Lists or prints what is inside a machine's disks.
    pub async fn look_inside(&self, domain: &DomainHandle, what: Inside) -> Result<String> {
        if what.writes() || matches!(what, Inside::CopyOut { .. }) {
            return Err(EngineError::new(
                ErrorKind::Internal,
                "this is for looking only",
            ));
        }
        let disks = self.disks_at_rest(domain, false)?;
        let (reader, writer) =
            io::pipe().map_err(|e| EngineError::system("cannot make a pipe", e))?;
        let tool = self.guestfs(&what, &disks)?;
        let tool = tool.redirected(">&3 3>&-", vec![(3, writer.into())]);
        let running = tool.start()?;
        let read = crate::aside::aside(move || read_bounded(reader));
        let ended = async { running.wait(|_| ()).await.map_err(in_plain_words) };
        let (said, _) = tokio::try_join!(async { read.await? }, ended)?;
        Ok(said)
    }

    /// Changes what is inside a machine's disks, or copies out of them. The
    /// job's result is what the program said.
    pub async fn work_inside(
        &self,
        domain: &DomainHandle,
        mut what: Inside,
    ) -> Result<Arc<JobView>> {
        let disks = self.disks_at_rest(domain, what.writes())?;
        let secrets = SecretFiles::hide(&mut what, &self.guestfs_directory()?)?;
        let program = what.program();
        let spec = JobSpec {
            kind: program,
            target: domain.view().name.to_string(),
            plan: None,
        };
        let stages = what.stages();
        let tools = stages.iter().map(|stage| self.guestfs(stage, &disks));
        let tools = tools.collect::<Result<Vec<Tool>>>()?;
        self.start_job(spec, |job| async move {
            let _secrets = secrets;
            let mut said = String::new();
            for tool in tools {
                job.step(format!("running {program}"), 0, JobUnit::Items);
                let words = tool.run(&job, |words| {
                    if let Some(line) = words.lines().rfind(|line| !line.trim().is_empty()) {
                        job.step(line.trim(), 0, JobUnit::Items);
                    }
                });
                said.push_str(&words.await.map_err(in_plain_words)?);
            }
            Ok(json!({"said": said}))
        })
        .await
    }

    /// The operations that `sysprep` knows.
    pub async fn sysprep_operations(&self) -> Result<String> {
        let tool = Tool::new("virt-sysprep", PACKAGE).args(["--list-operations"]);
        tool.reaches(Path::new("/etc"), Access::Read)
            .start()?
            .wait(|_| ())
            .await
    }

    /// The disks of a machine that does not run and that nobody else uses.
    fn disks_at_rest(&self, domain: &DomainHandle, writes: bool) -> Result<Vec<GuestDisk>> {
        let view = domain.view();
        if view.status.is_active() {
            return Err(EngineError::invalid(format!(
                "domain '{}' is running: its disks are its own until it is shut off",
                view.name
            )));
        }
        if writes && self.is_template(view.uuid) {
            return Err(EngineError::invalid(format!(
                "'{}' is a template, whose disks others build upon",
                view.name
            )));
        }
        let definition = domain.definition()?;
        let disks = definition.devices.disks.iter();
        let disks = disks.filter(|d| d.device == DiskDevice::Disk && !d.readonly);
        let disks: Vec<GuestDisk> = disks
            .filter(|disk| disk.kind == StorageType::File)
            .filter_map(|disk| {
                Some(GuestDisk {
                    path: disk.source_path()?.to_owned(),
                    format: disk.format().as_str().to_owned(),
                })
            })
            .collect();
        if disks.is_empty() {
            return Err(EngineError::invalid(format!(
                "domain '{}' has no disk that is a file",
                view.name
            )));
        }
        for disk in &disks {
            self.check_unused(&disk.path, "look into")?;
            if writes {
                self.refuse_if_base(Path::new(&disk.path), "write to")?;
            }
        }
        Ok(disks)
    }

    /// Where libguestfs keeps its small machine and makes its sockets.
    fn guestfs_directory(&self) -> Result<PathBuf> {
        let work = self.places().cache.join("guestfs");
        std::fs::create_dir_all(&work)
            .map_err(|e| EngineError::system("cannot make libguestfs's directory", e))?;
        Ok(work)
    }

    /// One of libguestfs's programs on these disks, and what it may reach.
    fn guestfs(&self, what: &Inside, disks: &[GuestDisk]) -> Result<Tool> {
        let mut tool = self.guestfs_tool(what.program(), disks, what.writes())?;
        tool = tool.args(what.args(disks));
        let (reads, writes) = what.host_paths();
        for path in reads {
            let path = present(&path)?;
            // tar, which copies in, first goes to where the file lies.
            if let Some(parent) = path.parent() {
                tool = tool.reaches(parent, Access::List);
            }
            tool = tool.reaches(&path, Access::Read);
        }
        for path in writes {
            tool = tool.reaches(&present(&path)?, Access::Write);
        }
        Ok(tool)
    }

    /// A program of libguestfs that reaches these disks.
    fn guestfs_tool(
        &self,
        program: &'static str,
        disks: &[GuestDisk],
        writes: bool,
    ) -> Result<Tool> {
        let work = self.guestfs_directory()?;
        let mut tool = Tool::new(program, PACKAGE);
        for (name, value) in guestfs_environment(&work) {
            tool = tool.env(name, value);
        }
        for (path, access) in SYSTEM {
            tool = tool.reaches(Path::new(path), access);
        }
        tool = tool.reaches(&work, Access::Write);
        for disk in disks {
            // Where it only reads, libguestfs still makes an overlay of its own.
            let access = if writes { Access::Write } else { Access::Read };
            tool = tool.reaches(Path::new(&disk.path), access);
            for behind in images_behind(&disk.path, &disk.format) {
                tool = tool.reaches(Path::new(&behind), Access::Read);
            }
        }
        Ok(tool)
    }
}

/// A failure without the names of libguestfs's own parts.
fn in_plain_words(error: EngineError) -> EngineError {
    EngineError::new(error.kind, storage::guestfs::plain_words(&error.message))
}

/// What libguestfs is told by its environment.
fn guestfs_environment(work: &Path) -> Vec<(&'static str, std::ffi::OsString)> {
    let mut all = vec![
        ("LIBGUESTFS_BACKEND", "direct".into()),
        ("LIBGUESTFS_CACHEDIR", work.into()),
        ("TMPDIR", work.into()),
        ("HOME", work.into()),
    ];
    if !sys::kvm::probe().is_usable() {
        all.push(("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg".into()));
    }
    all
}

fn present(path: &str) -> Result<PathBuf> {
    let path = Path::new(path);
    match path.is_absolute() && path.exists() {
        true => Ok(path.to_owned()),
        false => Err(EngineError::new(
            ErrorKind::InvalidArgument,
            format!("there is no '{}' on the host", path.display()),
        )),
    }
}

fn read_bounded(from: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(INSIDE_OUTPUT_MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| EngineError::system("cannot read what is inside", e))?;
    match bytes.len() <= INSIDE_OUTPUT_MAX_BYTES {
        true => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        false => Err(EngineError::failed(format!(
            "more than {INSIDE_OUTPUT_MAX_BYTES} bytes: copy it out instead"
        ))),
    }
}
