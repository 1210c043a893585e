//! An image comes into the library: fetched, compared with its checksum,
//! decompressed, looked at, and only then given its name.

use super::verify::{Evidence, Verification};
use super::{LibraryImage, check_name, fetch, inspect, sparse};
use crate::confined::Tool;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::jobs::{JobContext, JobSpec, JobUnit, JobView, now_ms};
use crate::limits::{DECOMPRESS_MEMORY_MIB, IMAGE_SPACE_RESERVE_BYTES};
use serde_json::json;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::image::Image;
use sys::landlock::Access;

/// Formats that are kept as they come; the others become qcow2.
const KEPT: [&str; 3] = ["raw", "qcow2", "iso"];
/// Formats that qemu-img reads and that name no other file.
const CONVERTED: [&str; 6] = ["vmdk", "vdi", "vpc", "vhdx", "qed", "qcow"];

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// A URL, or the absolute path of a file of this host.
    pub source: String,
    /// The name it gets.
    pub name: String,
    /// What it is compared with.
    pub evidence: Evidence,
    /// Its format, where its own header is not to be believed.
    pub format: Option<String>,
}

/// A name that nobody else imports to meanwhile.
struct Coming {
    engine: Engine,
    name: String,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.engine.library().coming().remove(&self.name);
    }
}

impl Engine {
    /// Starts an import. Its result is the image.
    pub async fn import_image(&self, request: ImportRequest) -> Result<Arc<JobView>> {
        check_name(&request.name)?;
        check_source(&request)?;
        if self.image(&request.name).is_ok() || !self.claim_image(&request.name) {
            return Err(EngineError::new(
                ErrorKind::ImageExists,
                format!(
                    "the library has an image '{}' already, or one on its way: choose another \
                     name, or delete that one first",
                    request.name
                ),
            ));
        }
        let coming = Coming {
            engine: self.clone(),
            name: request.name.clone(),
        };
        let directory = self.library_directory();
        std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::set_permissions(&directory, Permissions::from_mode(0o711)))
            .map_err(|e| EngineError::system("cannot make the library's directory", e))?;
        self.show_files(std::slice::from_ref(&directory)).await;
        let spec = JobSpec {
            kind: "image-import",
            target: request.name.clone(),
            plan: Some(json!({"name": request.name})),
        };
        let engine = self.clone();
        self.start_job(spec, |job| async move {
            let import = Import {
                engine,
                directory,
                request,
                job,
            };
            let image = import.carry_out().await?;
            drop(coming);
            Ok(json!({"name": image.name}))
        })
        .await
    }

    fn claim_image(&self, name: &str) -> bool {
        self.library().coming().insert(name.to_owned())
    }

    /// What an import that did not end left behind: the file that was being
    /// made goes, the part that was fetched stays for the next try.
    pub(crate) fn recover_import(&self, plan: &serde_json::Value) {
        let Some(name) = plan["name"].as_str() else {
            return;
        };
        if self.image(name).is_ok() {
            return;
        }
        let files = Files::of(&self.library_directory(), name);
        files.remove_made();
        for format in KEPT {
            let _ = std::fs::remove_file(files.done(format));
        }
    }
}

fn check_source(request: &ImportRequest) -> Result<()> {
    let bad = |what: String| Err(EngineError::new(ErrorKind::InvalidArgument, what));
    if !fetch::is_url(&request.source) && !Path::new(&request.source).is_absolute() {
        return bad(format!(
            "'{}' is neither an http or https URL nor an absolute path",
            request.source
        ));
    }
    request.evidence.check()?;
    match request.format.as_deref() {
        Some(format) if !KEPT.contains(&format) && !CONVERTED.contains(&format) => bad(format!(
            "format '{format}' cannot be imported: {} and {} can",
            KEPT.join(", "),
            CONVERTED.join(", ")
        )),
        _ => Ok(()),
    }
}

/// The files of one import, hidden until it is done.
struct Files {
    /// What was fetched; kept for the next try where that can succeed.
    part: PathBuf,
    /// The decompressed image.
    plain: PathBuf,
    /// The converted image.
    converted: PathBuf,
    directory: PathBuf,
    name: String,
}

impl Files {
    fn of(directory: &Path, name: &str) -> Self {
        let hidden = |end: &str| directory.join(format!(".{name}.{end}"));
        Self {
            part: hidden("part"),
            plain: hidden("plain"),
            converted: hidden("converted"),
            directory: directory.to_owned(),
            name: name.to_owned(),
        }
    }

    fn done(&self, format: &str) -> PathBuf {
        self.directory.join(format!("{}.{format}", self.name))
    }

    fn remove_made(&self) {
        let _ = std::fs::remove_file(&self.plain);
        let _ = std::fs::remove_file(&self.converted);
    }
}

struct Import {
    engine: Engine,
    directory: PathBuf,
    request: ImportRequest,
    job: JobContext,
}

impl Import {
    async fn carry_out(self) -> Result<LibraryImage> {
        let files = Files::of(&self.directory, &self.request.name);
        files.remove_made();
        let made = self.make(&files).await;
        files.remove_made();
        if let Err(error) = &made
            && (error.kind == ErrorKind::ConfigUnsupported || !fetch::is_url(&self.request.source))
        {
            // The next try would be refused too, or has no way to go twice.
            let _ = std::fs::remove_file(&files.part);
        }
        made
    }

    async fn make(&self, files: &Files) -> Result<LibraryImage> {
        let (source, part, job) = (
            self.request.source.clone(),
            files.part.clone(),
            self.job.clone(),
        );
        self.aside(move || fetch::fetch(&source, &part, &job))
            .await?;
        let verification = Verification {
            job: &self.job,
            evidence: &self.request.evidence,
            file: &files.part,
            source: &self.request.source,
            is_ours: true,
        };
        let verified = verification.carry_out().await?;
        let plain = decompress(&self.engine, &self.job, &files.part, &files.plain).await?;
        let (image, length) = inspect(&plain)?;
        let format = judge(&image, self.request.format.as_deref(), &self.request.source)?;
        let (path, kept, capacity) = match CONVERTED.contains(&format) {
            false => {
                let capacity = image.capacity.filter(|_| format == "qcow2");
                (plain, format, capacity.unwrap_or(length))
            }
            true => {
                self.convert(&plain, format, &files.converted).await?;
                let (image, _) = inspect(&files.converted)?;
                let capacity = image.capacity.unwrap_or_default();
                (files.converted.clone(), "qcow2", capacity)
            }
        };
        self.job.check()?;
        let done = files.done(kept);
        settle(&path, &done)?;
        let _ = std::fs::remove_file(&files.part);
        let image = LibraryImage {
            name: self.request.name.clone(),
            path: done,
            format: kept.to_owned(),
            capacity,
            sha256: verified.sha256,
            signed_by: verified.signed_by,
            source: self.request.source.clone(),
            imported_ms: now_ms(),
        };
        self.engine.keep_image(image.clone()).await?;
        Ok(image)
    }

    /// Work that reads or writes a whole image has a thread of its own.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = crate::aside::aside(work);
        self.job.unless_cancelled(async { done.await? }).await
    }

    async fn convert(&self, from: &Path, format: &str, to: &Path) -> Result<()> {
        self.job
            .step(format!("converting from {format}"), 100, JobUnit::Percent);
        let made = File::create(to);
        made.map_err(|e| EngineError::system(&format!("cannot create '{}'", to.display()), e))?;
        let identity = self.engine.qemu_identity();
        if let Some(identity) = &identity {
            for path in [from, to] {
                std::os::unix::fs::chown(path, Some(identity.uid), Some(identity.gid))
                    .map_err(|e| EngineError::system("cannot lend an image to qemu-img", e))?;
            }
        }
        let mut tool = Tool::new("qemu-img", "qemu-utils")
            .args(["convert", "-p", "-f", format, "-O", "qcow2"])
            .args([from, to])
            .reaches(from, Access::Read)
            .reaches(to, Access::Write);
        tool.identity = identity;
        let job = &self.job;
        tool.run(job, |words| {
            if let Some(percent) = percent(words) {
                job.done(percent);
            }
        })
        .await
        .map(drop)
    }
}

/// The image out of its compression, as `plain`; `part` itself where there is none.
pub(crate) async fn decompress(
    engine: &Engine,
    job: &JobContext,
    part: &Path,
    plain: &Path,
) -> Result<PathBuf> {
    let mut head = [0; 6];
    let read = crate::confined::open_regular(part)?
        .read(&mut head)
        .unwrap_or_default();
    if let Some(kind) = archive(&head[..read]) {
        return Err(EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!("it is an archive ({kind}): unpack it, and import the image that is in it"),
        ));
    }
    let Some(tool) = decompressor(&head[..read]) else {
        return Ok(part.to_owned());
    };
    let step = format!("decompressing with {}", tool.program);
    job.step(step, 0, JobUnit::Bytes);
    let (reader, writer) = io::pipe().map_err(|e| EngineError::system("cannot make a pipe", e))?;
    let source = crate::confined::open_regular(part)?;
    let descriptors = vec![(3, writer.into()), (4, source.into())];
    let mut tool = tool.redirected("<&4 >&3 3>&- 4<&-", descriptors);
    tool.identity = engine.qemu_identity();
    // Made here: a thread whose tool has failed meanwhile must not make it after it was removed.
    let file = File::create(plain).map_err(unpack_error)?;
    let running = tool.start()?;
    let (to, moved) = (plain.to_owned(), job.clone());
    let copied = crate::aside::aside(move || unpack(reader, (&file, &to), &moved));
    let copied = job.unless_cancelled(async { copied.await? });
    let ((), _) = tokio::try_join!(copied, running.wait(|_| ()))?;
    Ok(plain.to_owned())
}

/// The format an image will be opened with for ever, if it may come in: by
/// its own header unless `said` is raw. `source` is its name for people.
pub(crate) fn judge(image: &Image, said: Option<&str>, source: &str) -> Result<&'static str> {
    let refuse = |why: String| {
        let message = format!("{source}: {why}");
        Err(EngineError::new(ErrorKind::ConfigUnsupported, message))
    };
    let believed = match said {
        Some("raw") => return Ok("raw"),
        Some(said) if said != image.format => {
            return refuse(format!("it is not of format {said} but {}", image.format));
        }
        _ => image.format,
    };
    if let Some(damage) = &image.damage {
        return refuse(format!("the image is damaged: {damage}"));
    }
    if let Some(backing) = &image.backing {
        return refuse(format!(
            "it builds upon another image ('{}'), which an image that comes in must not: put the \
             chain into one image first (qemu-img convert)",
            backing.name
        ));
    }
    if let Some(data) = &image.data_file {
        return refuse(format!(
            "its data lies in another file ('{data}'), which an image that comes in must not"
        ));
    }
    if image.encryption.is_some() {
        return refuse("it is encrypted, which is not supported yet".into());
    }
    let mut known = KEPT.iter().chain(&CONVERTED);
    match known.find(|known| **known == believed) {
        Some(known) => Ok(known),
        None => refuse(format!("images of format {believed} cannot be imported")),
    }
}

/// qemu-img writes `    (12.34/100%)` and a carriage return.
pub(crate) fn percent(words: &str) -> Option<u64> {
    let last = words.rsplit('(').next()?;
    last.split(['.', '/']).next()?.trim().parse().ok()
}

/// What a file is that begins like this and has files in it, where no disk begins so.
fn archive(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'P', b'K', 3, 4, ..] => Some("zip"),
        b"7z\xbc\xaf\x27\x1c" => Some("7z"),
        _ => None,
    }
}

/// What unpacks a file that begins like this.
fn decompressor(head: &[u8]) -> Option<Tool> {
    let memory = format!("{DECOMPRESS_MEMORY_MIB}MiB");
    match head {
        [0x1f, 0x8b, ..] => Some(Tool::new("gzip", "gzip").args(["-dc"])),
        b"\xfd7zXZ\0" => {
            let limit = format!("--memlimit-decompress={memory}");
            Some(Tool::new("xz", "xz-utils").args(["-dc", &limit]))
        }
        [b'B', b'Z', b'h', ..] => Some(Tool::new("bzip2", "bzip2").args(["-dc"])),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let limit = format!("--memory={DECOMPRESS_MEMORY_MIB}MB");
            Some(Tool::new("zstd", "zstd").args(["-dc", "--no-progress", &limit]))
        }
        _ => None,
    }
}

fn unpack_error(error: io::Error) -> EngineError {
    EngineError::system("cannot decompress the image", error)
}

fn unpack(mut from: impl Read, (file, path): (&File, &Path), job: &JobContext) -> Result<()> {
    let copied = sparse::copy(&mut from, file, 0, |done| {
        job.done(done);
        check_space(path, done)
    });
    job.check()?;
    copied.map(drop).map_err(unpack_error)
}

/// Every so many bytes the free space is looked at.
const SPACE_CHECK_BYTES: u64 = 64 * 1024 * 1024;

/// An image must not fill the disk its host lives on.
pub(super) fn check_space(file: &Path, done: u64) -> io::Result<()> {
    if !done.is_multiple_of(SPACE_CHECK_BYTES) {
        return Ok(());
    }
    let directory = file.parent().unwrap_or(Path::new("/"));
    match sys::usage::usage(directory) {
        Ok(usage) if usage.available < IMAGE_SPACE_RESERVE_BYTES => Err(io::Error::other(format!(
            "the file system of {} is nearly full: make room, then the same command goes on",
            directory.display()
        ))),
        _ => Ok(()),
    }
}

/// Gives a finished image its name: nobody writes to it any more.
fn settle(made: &Path, done: &Path) -> Result<()> {
    let fail = |e: io::Error| EngineError::system(&format!("cannot keep '{}'", done.display()), e);
    let file = File::open(made).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    file.set_permissions(Permissions::from_mode(0o444))
        .map_err(fail)?;
    std::os::unix::fs::chown(made, Some(0), Some(0))
        .or_else(|e| match sys::user::is_root() {
            true => Err(e),
            // An ordinary user's images are the user's.
            false => Ok(()),
        })
        .map_err(fail)?;
    std::fs::rename(made, done).map_err(fail)?;
    sys::atomic::sync_parent(done).map_err(|e| EngineError::system("cannot keep the image", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_known_by_their_heads() {
        let program = |head: &[u8]| decompressor(head).map(|tool| tool.program);
        assert_eq!(program(b"\x1f\x8b\x08"), Some("gzip"));
        assert_eq!(program(b"\xfd7zXZ\0"), Some("xz"));
        assert_eq!(program(b"BZh91A"), Some("bzip2"));
        assert_eq!(program(b"\x28\xb5\x2f\xfd\0"), Some("zstd"));
        assert_eq!(program(b"QFI\xfb"), None);
        assert_eq!(program(b""), None);
    }

    #[test]
    fn how_far_qemu_img_is() {
        assert_eq!(percent("    (12.34/100%)\r"), Some(12));
        assert_eq!(percent("    (0.00/100%)\r    (99.01/100%)\r"), Some(99));
        assert_eq!(percent("something else"), None);
    }
}
