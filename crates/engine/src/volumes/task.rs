//! qemu-img's commands on any image of the host, as jobs.
//!
//! An image that a running machine uses is never changed: the engine looks at its machines, and
//! QEMU's own lock stands behind that. A new image is made under another name and gets its own when
//! it is complete.

use super::make::copy_error;
use super::strays::unfinished_name;
use super::tool::{Said, ToolRun};
use crate::aside::aside;
use crate::crash::{Step, crash_point};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView};
use crate::pools::claim::Purpose;
use crate::pools::scan::image_of;
use crate::provision::{MachinePlan, Making};
use model::domain::storage::ImageFormat;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::task::ImageTask;

/// In place of a format: what a machine's definition says, else the image's header.
const FOUND_OUT: &str = "auto";

/// What qemu-img says of an image that another process has open.
const LOCKED: &str = "Is another process using the image";

/// A task on an image.
#[derive(Debug, Clone)]
pub struct ImageJob {
    /// The image's path.
    pub image: String,
    /// Its format, where a person says it; else what a machine's definition says, else its header.
    pub format: Option<String>,
    /// What is done.
    pub task: ImageTask,
    /// Whether what is found is wanted as data instead of words.
    pub as_data: bool,
}

impl Engine {
    /// Starts a task on an image; the job's result holds qemu-img's `output`, or a `report` where
    /// data was asked for, and whether it `found` that images differ or are damaged.
    ///
    /// # Errors
    /// If a path is not absolute, or no job can be started.
    pub async fn start_image_job(&self, job: ImageJob) -> Result<Arc<JobView>> {
        let reads = job.task.reads().into_iter().map(|(path, _)| path);
        let paths = reads.chain(job.task.makes(&job.image)).chain([&*job.image]);
        if let Some(path) = paths.into_iter().find(|path| !path.starts_with('/')) {
            let what = format!("the path '{path}' must be absolute");
            return Err(EngineError::new(ErrorKind::InvalidArgument, what));
        }
        let made = job.task.makes(&job.image).map(Path::new);
        let unfinished = made.map(|made| {
            let directory = made.parent().unwrap_or(Path::new("/"));
            unfinished_name(directory, self.records().host())
        });
        let scratch = |file: &PathBuf| MachinePlan::scratch(&job.image, vec![file.clone()]);
        let spec = JobSpec {
            kind: kind(&job.task),
            target: job.image.clone(),
            plan: unfinished.as_ref().map(|file| Making::of(scratch(file))),
        };
        let engine = self.clone();
        self.start_job(spec, |context| async move {
            let report_of = job.as_data.then(|| job.task.clone());
            let said = engine.run_image_job(job, unfinished, context).await?;
            let report =
                report_of.and_then(|task| storage::report::read(&task, &said.words, said.found));
            Ok(match report {
                None => json!({ "output": said.words, "found": said.found }),
                Some(read) => {
                    let report = read.map_err(EngineError::failed)?;
                    json!({ "output": "", "report": report, "found": said.found })
                }
            })
        })
        .await
    }

    /// Does a task; an image that it makes is `unfinished` until it is complete.
    pub(crate) async fn run_image_job(
        &self,
        job: ImageJob,
        unfinished: Option<PathBuf>,
        context: JobContext,
    ) -> Result<Said> {
        let purpose = match job.task.changes_image() {
            true => Purpose::Change,
            false => Purpose::Read,
        };
        let mut claims = Vec::new();
        let made = job.task.makes(&job.image).map(str::to_owned);
        if let Some(made) = &made {
            claims.extend(self.claim_path(Path::new(made), Purpose::Make).await?);
        }
        if made.as_deref() != Some(&*job.image) {
            claims.extend(self.claim_path(Path::new(&job.image), purpose).await?);
        }
        let engine = self.clone();
        let done = aside(move || engine.carry_out_image_job(&job, unfinished, &context)).await;
        for claim in claims {
            claim.finish().await?;
        }
        done?
    }

    /// The format of an image: what a definition says counts more than what the image says, since a
    /// guest can write any header into a raw disk.
    fn image_format(&self, path: &str) -> Result<String> {
        if let Some(format) = self.defined_format(path) {
            return Ok(format);
        }
        let image = image_of(Path::new(path)).ok_or_else(|| {
            EngineError::failed(format!("cannot open the image '{path}'; is it there?"))
        })?;
        match (&image.damage, image.format, image.encryption) {
            (Some(why), ..) => Err(EngineError::failed(format!(
                "the image '{path}' is damaged: {why}"
            ))),
            (None, "raw", Some("luks")) => Ok("luks".to_owned()),
            (None, "iso", _) => Ok("raw".to_owned()),
            (None, format, _) => Ok(format.to_owned()),
        }
    }

    /// The format a machine's definition gives an image, running or stored.
    fn defined_format(&self, path: &str) -> Option<String> {
        self.domains().into_iter().find_map(|domain| {
            let view = domain.view();
            let definition = match &view.live {
                Some(live) => (*live.definition()).clone(),
                None => self.parse_stored(&self.stored_xml(view.uuid).ok()?).ok()?,
            };
            let disk = definition
                .devices
                .disks
                .iter()
                .find(|disk| disk.source_path() == Some(path))?;
            let format = disk.format();
            (format != ImageFormat::Auto).then(|| format.as_str().to_owned())
        })
    }

    fn carry_out_image_job(
        &self,
        job: &ImageJob,
        unfinished: Option<PathBuf>,
        context: &JobContext,
    ) -> Result<Said> {
        let (image, task) = (&*job.image, &job.task);
        if task.changes_image() {
            self.check_unused(image, task.word())?;
            self.check_no_clones(image, task.word())?;
        }
        let made = task.makes(image);
        if let (Some(made), Some(unfinished)) = (made, &unfinished) {
            make_room(made, unfinished)?;
            crash_point(Step::ImageTaskBegun);
        }
        let format = match (&job.format, made == Some(image)) {
            (Some(format), _) => format.clone(),
            (None, true) => "raw".to_owned(),
            (None, false) => self.image_format(image)?,
        };
        let job = &self.with_formats(job)?;
        let run = self.image_run(job, &format, unfinished.as_deref())?;
        context.step(format!("{} {image}", task.word()), 10_000, JobUnit::Percent);
        let watched = run.run_watched(|percent| {
            context.done((percent * 100.0) as u64);
            !context.is_cancelled()
        });
        let watched = watched.map_err(|error| self.in_use_rather(error, image, task.word()));
        // One that was ended has no words of its own.
        let named = context.check().and(watched).and_then(|output| {
            if let (Some(made), Some(unfinished)) = (made, &unfinished) {
                crash_point(Step::ImageTaskFilled);
                sys::sparse::rename_new(unfinished, Path::new(made))
                    .map_err(|e| EngineError::io(&format!("cannot name '{made}'"), e.cause()))?;
                crash_point(Step::ImageTaskNamed);
            }
            Ok(output)
        });
        if let (Err(_), Some(unfinished)) = (&named, &unfinished) {
            let _ = std::fs::remove_file(unfinished);
        }
        named.map_err(|error| copy_error(error, unfinished.as_deref(), made))
    }

    /// Names the machine that keeps qemu-img from an image, where that is why it failed.
    fn in_use_rather(&self, error: EngineError, image: &str, what: &str) -> EngineError {
        match error.message.contains(LOCKED) {
            true => self.check_unused(image, what).err().unwrap_or(error),
            false => error,
        }
    }

    /// The same with the format of the other image found out, where that is asked for.
    fn with_formats(&self, job: &ImageJob) -> Result<ImageJob> {
        let mut job = job.clone();
        if let ImageTask::Compare {
            other,
            other_format,
        } = &mut job.task
            && other_format == FOUND_OUT
        {
            *other_format = self.image_format(other)?;
        }
        Ok(job)
    }

    fn image_run(
        &self,
        job: &ImageJob,
        format: &str,
        unfinished: Option<&Path>,
    ) -> Result<ToolRun> {
        let (image, task) = (&*job.image, &job.task);
        let is_new = task.makes(image) == Some(image);
        let mut run = ToolRun {
            ends_with_daemon: unfinished.is_some(),
            ..ToolRun::default()
        };
        if !is_new {
            let place = PathBuf::from(image);
            let chain = match format {
                "raw" => Vec::new(),
                _ => self.readable_chain(image)?,
            };
            match (task.changes_image(), task) {
                (true, ImageTask::Commit) => {
                    for behind in chain.iter().take(1) {
                        let behind = behind.to_string_lossy();
                        self.check_unused(&behind, "commit into")?;
                        self.check_no_clones_but(image, &behind, "commit into")?;
                    }
                    run.writes.push(place);
                    run.writes.extend(chain);
                }
                (true, _) => {
                    run.writes.push(place);
                    run.reads.extend(chain);
                }
                (false, _) => {
                    run.reads.push(place);
                    run.reads.extend(chain);
                }
            }
        }
        for (path, format) in task.reads() {
            run.reads.push(PathBuf::from(path));
            if format != "raw" {
                run.reads.extend(self.readable_chain(path)?);
            }
        }
        run.writes.extend(unfinished.map(Path::to_path_buf));
        let made = unfinished.map(|path| path.to_string_lossy().into_owned());
        let for_data = job
            .as_data
            .then(|| storage::report::args(task, image, format));
        run.args = for_data
            .flatten()
            .unwrap_or_else(|| task.args(image, format, made.as_deref().unwrap_or_default()));
        // A comparison that finds a difference, and a check that finds damage, have done their work.
        run.may_find = matches!(task, ImageTask::Compare { .. } | ImageTask::Check { .. });
        Ok(run)
    }
}

/// An empty file beside the one that will be made, which must not be there.
fn make_room(made: &str, unfinished: &Path) -> Result<()> {
    if Path::new(made).symlink_metadata().is_ok() {
        return Err(EngineError::failed(format!("'{made}' is there already")));
    }
    super::make::new_file(unfinished)
        .map(drop)
        .map_err(|e| EngineError::io(&format!("cannot create '{made}'"), &e))
}

fn kind(task: &ImageTask) -> &'static str {
    match task {
        ImageTask::Create { .. } => "image-create",
        ImageTask::Info { .. } => "image-info",
        ImageTask::Check { .. } => "image-check",
        ImageTask::Convert { .. } => "image-convert",
        ImageTask::Resize { .. } => "image-resize",
        ImageTask::Rebase { .. } => "image-rebase",
        ImageTask::Commit => "image-commit",
        ImageTask::Map => "image-map",
        ImageTask::Measure { .. } => "image-measure",
        ImageTask::Compare { .. } => "image-compare",
        ImageTask::Snapshot(_) => "image-snapshot",
    }
}
