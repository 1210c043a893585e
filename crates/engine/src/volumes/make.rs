//! New volumes: empty, or with the content of another.

use super::Volume;
use super::strays::unfinished_name;
use super::tool::{ToolRun, key_file};
use crate::aside::aside;
use crate::crash::{Step as CrashStep, crash_point};
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::jobs::{JobContext, JobUnit};
use crate::pools::Pool;
use crate::pools::claim::Purpose;
use crate::pools::scan::UNFINISHED_PREFIX;
use crate::secrets::SecretValue;
use model::storage::{Capacity, Permissions, VolumeDefinition};
use std::fs::{File, Permissions as Mode};
use std::io::ErrorKind as Io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::tool::{ImageFile, KeyFile};
use storage::volume::{PlanError, SourceVolume, Step, Wishes, plan};

/// The permission bits of a new volume nobody gave others for.
const FILE_MODE: u32 = 0o600;
/// And of a directory.
const DIRECTORY_MODE: u32 = 0o711;
/// Hundredths of a percent: what qemu-img tells of its progress.
const PERCENT_TOTAL: u64 = 10_000;
/// Bytes copied between two looks at whether to go on.
const COPY_STEP_BYTES: u64 = 64 << 20;

impl Pool {
    /// Makes a volume as libvirt's XML describes it.
    ///
    /// # Errors
    /// If the XML is not valid, the name is taken, or it cannot be made; nothing is left then.
    pub async fn create_volume(
        &self,
        engine: &Engine,
        xml: &str,
        wishes: Wishes,
    ) -> Result<Arc<Volume>> {
        let definition = self.volume_definition(xml, Capacity::OfBacking)?;
        self.make(engine, definition, None, wishes, None).await
    }

    /// Makes a volume with the content of another, which may be in another pool.
    ///
    /// # Errors
    /// As [`Pool::create_volume`]; and if somebody changes the other volume.
    pub async fn copy_volume(
        &self,
        engine: &Engine,
        xml: &str,
        from: &Pool,
        name: &str,
        wishes: Wishes,
    ) -> Result<Arc<Volume>> {
        self.copy_watched(engine, xml, (from, name), wishes, None)
            .await
    }

    /// The same, moving the progress of a job and ending with it.
    pub(super) async fn copy_watched(
        &self,
        engine: &Engine,
        xml: &str,
        (from, name): (&Pool, &str),
        wishes: Wishes,
        job: Option<JobContext>,
    ) -> Result<Arc<Volume>> {
        let definition = self.volume_definition(xml, Capacity::OfSource)?;
        let reading = from.claim(name, Purpose::Read).await?;
        let source = from.volume(name)?;
        let made = self
            .make(engine, definition, Some(source), wishes, job)
            .await;
        reading.finish().await?;
        made
    }

    fn volume_definition(&self, xml: &str, capacity: Capacity) -> Result<VolumeDefinition> {
        let view = self.view();
        view.need_active()?;
        let definition = VolumeDefinition::parse(xml, view.definition.kind, capacity);
        let definition = definition.map_err(xml_error)?;
        let name = &definition.name;
        let is_bad = name.contains('/')
            || name == "."
            || name == ".."
            || name.chars().any(char::is_control)
            || name.starts_with(UNFINISHED_PREFIX);
        match is_bad {
            true if name.contains('/') => Err(EngineError::invalid(format!(
                "volume name '{name}' cannot contain '/'"
            ))),
            true => Err(EngineError::invalid(format!(
                "volume name '{name}' cannot be a file's name"
            ))),
            false => Ok(definition),
        }
    }

    async fn make(
        &self,
        engine: &Engine,
        mut definition: VolumeDefinition,
        source: Option<Arc<Volume>>,
        wishes: Wishes,
        job: Option<JobContext>,
    ) -> Result<Arc<Volume>> {
        if let Some(source) = &source {
            // A copy is at least as large as what is copied.
            definition.capacity = definition.capacity.max(source.definition.capacity);
        }
        let keys = Keys {
            new: engine.new_volume_key(&definition)?,
            source: source
                .as_deref()
                .map(|s| engine.volume_key(s))
                .transpose()?
                .flatten(),
        };
        let claim = self.claim(&definition.name, Purpose::Make).await?;
        let directory = PathBuf::from(self.view().path());
        let making = Making {
            engine: engine.clone(),
            unfinished: unfinished_name(&directory, engine.records().host()),
            path: directory.join(&definition.name),
            definition,
            source,
            wishes,
            keys,
            job,
        };
        let encryption = making.definition.target.encryption.as_ref();
        if let Some(reference) = encryption.and_then(|e| e.secrets.first()) {
            let path = making.path.to_string_lossy();
            engine.secrets_table().note_volume(&path, reference);
        }
        aside(move || making.carry_out()).await??;
        let name = claim.name.clone();
        claim.finish().await?.ok_or_else(|| {
            EngineError::failed(format!(
                "the new volume '{name}' was removed by somebody else"
            ))
        })
    }
}

/// What encrypted images are opened with.
#[derive(Debug, Default)]
struct Keys {
    new: Option<SecretValue>,
    source: Option<SecretValue>,
}

impl Keys {
    /// In the order in which qemu-img gets them.
    fn all(&self) -> Vec<SecretValue> {
        self.new.iter().chain(&self.source).cloned().collect()
    }

    fn of_new(&self) -> Option<KeyFile> {
        self.new.as_ref().map(|_| key_file("new", 0))
    }

    fn of_source(&self) -> Option<KeyFile> {
        let at = i32::from(self.new.is_some());
        self.source.as_ref().map(|_| key_file("source", at))
    }
}

struct Making {
    engine: Engine,
    definition: VolumeDefinition,
    source: Option<Arc<Volume>>,
    wishes: Wishes,
    keys: Keys,
    /// The job whose progress is moved.
    job: Option<JobContext>,
    /// Where it is filled.
    unfinished: PathBuf,
    /// Where it will be.
    path: PathBuf,
}

impl Making {
    fn carry_out(&self) -> Result<()> {
        let made = self.fill().and_then(|()| self.give_name());
        if made.is_err() {
            // Whichever of the two it is; neither is there if the first step failed.
            let _ = std::fs::remove_file(&self.unfinished);
            let _ = std::fs::remove_dir(&self.unfinished);
        }
        made
    }

    fn system(&self, what: &str, error: &std::io::Error) -> EngineError {
        EngineError::io(&format!("{what} '{}'", self.path.display()), error)
    }

    fn fill(&self) -> Result<()> {
        let unfinished = self.unfinished.to_string_lossy();
        let mut source = self.source.as_deref().map(source_of);
        if let Some(source) = &mut source {
            source.image.key = self.keys.of_source();
        }
        let (source, key) = (source.as_ref(), self.keys.of_new());
        let plan = plan(
            &self.definition,
            &unfinished,
            source,
            self.wishes,
            key.as_ref(),
        );
        let plan = plan.map_err(plan_error)?;
        if plan.steps == [Step::Directory] {
            return self.make_directory();
        }
        let file = new_file(&self.unfinished).map_err(|e| self.system("cannot create path", &e))?;
        crash_point(CrashStep::VolumeMakeBegun);
        for step in &plan.steps {
            self.step(step, &file)?;
        }
        self.set_permissions(FILE_MODE)?;
        if plan.steps.iter().all(|s| !matches!(s, Step::Tool { .. })) {
            file.sync_data()
                .map_err(|e| self.system("cannot sync data to file", &e))?;
        }
        crash_point(CrashStep::VolumeMakeFilled);
        Ok(())
    }

    fn make_directory(&self) -> Result<()> {
        std::fs::create_dir(&self.unfinished).map_err(|e| self.system("cannot create path", &e))?;
        self.set_permissions(DIRECTORY_MODE)
    }

    fn set_permissions(&self, usual: u32) -> Result<()> {
        let Permissions {
            mode, owner, group, ..
        } = self.definition.target.permissions;
        let failed = |e| self.system("cannot set mode and owner of", &e);
        let mode = Mode::from_mode(mode.unwrap_or(usual));
        std::fs::set_permissions(&self.unfinished, mode).map_err(failed)?;
        if owner.is_some() || group.is_some() {
            std::os::unix::fs::chown(&self.unfinished, owner, group).map_err(failed)?;
        }
        Ok(())
    }

    fn step(&self, step: &Step, file: &File) -> Result<()> {
        match step {
            Step::Extend { bytes } => file
                .set_len(*bytes)
                .map_err(|e| self.system("cannot extend file", &e)),
            Step::Reserve { bytes } => sys::sparse::reserve(file, 0, *bytes).map_err(|e| {
                let what = format!("cannot allocate {bytes} bytes in file");
                self.system(&what, e.cause())
            }),
            Step::Copy { source, reflink } => self.copy(source, *reflink, file),
            Step::Tool { args } => self.run_tool(args),
            // It is alone in its plan.
            Step::Directory => Ok(()),
        }
    }

    fn copy(&self, source: &str, reflink: bool, file: &File) -> Result<()> {
        let from = File::open(source)
            .map_err(|e| EngineError::io(&format!("cannot open '{source}'"), &e))?;
        match sys::sparse::share_blocks(&from, file) {
            Ok(()) => return Ok(()),
            Err(e) if reflink => {
                let what = format!("failed to clone files from '{source}' to");
                return Err(self.system(&what, e.cause()));
            }
            // Copied then.
            Err(_) => {}
        }
        let length = from.metadata().map_or(0, |metadata| metadata.len());
        self.begin_step(length, JobUnit::Bytes);
        let copied = copy_stretches(&from, file, 0, &mut |done| self.is_going_on(done));
        copied.map_err(|e| self.system("cannot write to", e.cause()))?;
        self.job.as_ref().map_or(Ok(()), JobContext::check)
    }

    /// So much is done; whether it goes on.
    fn is_going_on(&self, done: u64) -> bool {
        self.job.as_ref().is_none_or(|job| {
            job.done(done);
            !job.is_cancelled()
        })
    }

    /// What is to be done, for whoever watches.
    fn begin_step(&self, total: u64, unit: JobUnit) {
        if let Some(job) = &self.job {
            job.step(format!("filling {}", self.definition.name), total, unit);
        }
    }

    fn run_tool(&self, args: &[String]) -> Result<()> {
        let mut reads = Vec::new();
        if let Some(source) = &self.source {
            reads.push(PathBuf::from(source.path()));
            reads.extend(self.engine.readable_chain(source.path())?);
        }
        if let Some(backing) = &self.definition.backing {
            reads.push(PathBuf::from(&backing.path));
            let is_raw = backing.format.as_deref() == Some("raw");
            if !is_raw {
                reads.extend(self.engine.readable_chain(&backing.path)?);
            }
        }
        let mut args = args.to_vec();
        if self.job.is_some() && args.first().is_some_and(|verb| verb == "convert") {
            args.insert(1, "-p".to_owned());
            self.begin_step(PERCENT_TOTAL, JobUnit::Percent);
        }
        let run = ToolRun {
            args,
            reads,
            writes: vec![self.unfinished.clone()],
            keys: self.keys.all(),
            ends_with_daemon: true,
            ..ToolRun::default()
        };
        let own_name = self.path.to_string_lossy();
        let done = run.run_watched(|percent| self.is_going_on((percent * 100.0) as u64));
        self.job.as_ref().map_or(Ok(()), JobContext::check)?;
        done.map(drop)
            .map_err(|e| copy_error(e, Some(&self.unfinished), Some(&own_name)))
    }

    fn give_name(&self) -> Result<()> {
        sys::sparse::rename_new(&self.unfinished, &self.path).map_err(|e| match e.kind() {
            Io::AlreadyExists => EngineError::new(
                ErrorKind::VolumeExists,
                format!("'{}'", self.definition.name),
            ),
            _ => self.system("cannot create path", e.cause()),
        })?;
        crash_point(CrashStep::VolumeMakeNamed);
        Ok(())
    }
}

/// A file that is to be filled and nobody else may touch.
pub(super) fn new_file(path: &Path) -> std::io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// An error under the name by which people know the file.
pub(super) fn copy_error(
    error: EngineError,
    unfinished: Option<&Path>,
    name: Option<&str>,
) -> EngineError {
    match (unfinished, name) {
        (Some(unfinished), Some(name)) => {
            let unfinished = unfinished.to_string_lossy();
            EngineError::new(error.kind, error.message.replace(&*unfinished, name))
        }
        _ => error,
    }
}

/// Copies what is data from `at` on; holes stay holes. Returns with the same length, unless
/// `goes_on`, which is told where it is, says no.
pub(super) fn copy_stretches(
    from: &File,
    to: &File,
    at: u64,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> sys::SysResult<()> {
    let mut at = at;
    while let Some(data) = sys::sparse::next_data(from, at)? {
        at = data.start;
        while at < data.end {
            let length = (data.end - at).min(COPY_STEP_BYTES);
            sys::sparse::copy(from, to, at, length)?;
            at += length;
            if !goes_on(at) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn source_of(volume: &Volume) -> SourceVolume {
    SourceVolume {
        image: ImageFile {
            path: volume.path().to_owned(),
            format: volume.tool_format().to_owned(),
            key: None,
        },
        capacity: volume.definition.capacity,
        backing: volume.definition.backing.as_ref().map(|b| b.path.clone()),
    }
}

pub(super) fn plan_error(error: PlanError) -> EngineError {
    let kind = match error {
        PlanError::Unsupported(_) => ErrorKind::ConfigUnsupported,
        PlanError::Invalid(_) => ErrorKind::InvalidArgument,
    };
    EngineError::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn a_copy_of_a_sparse_file_is_sparse() {
        let directory = tempfile::tempdir().expect("a directory");
        let make = |name: &str| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            options.open(directory.path().join(name)).expect("made")
        };
        let (from, to) = (make("from"), make("to"));
        from.set_len(64 << 20).expect("extended");
        from.write_all_at(b"x", 32 << 20).expect("written");
        to.set_len(64 << 20).expect("extended");
        copy_stretches(&from, &to, 0, &mut |_| true).expect("copied");
        assert!(to.metadata().expect("there").blocks() * 512 < 1 << 20);
        let mut byte = [0];
        to.read_exact_at(&mut byte, 32 << 20).expect("read");
        assert_eq!(&byte, b"x");
    }
}
