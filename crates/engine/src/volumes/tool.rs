//! qemu-img in a process of its own that reaches the images it is about and nothing else.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::{TOOL_REPORT_MAX_BYTES, TOOL_WORDS_MAX_BYTES};
use crate::secrets::{SecretValue, memory_file};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use storage::tool::KeyFile;
use sys::landlock::{Access, PathRule};
use sys::process::{Exit, Process, Signal};
use sys::spawn::{Descriptors, Resource, ResourceLimit, SpawnPlan};

/// Directories that may hold qemu-img.
const PROGRAM_DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/bin"];
/// Exit statuses by which qemu-img tells of differences, damage and leaks.
const FOUND_FIRST: i32 = 1;
const FOUND_LAST: i32 = 3;
const SYSTEM_PATHS: [(&str, Access); 9] = [
    ("/usr", Access::Execute),
    ("/lib", Access::Execute),
    ("/lib64", Access::Execute),
    ("/bin", Access::Execute),
    ("/etc/ld.so.cache", Access::Read),
    ("/etc/ssl", Access::Read),
    ("/dev/null", Access::Write),
    ("/dev/urandom", Access::Read),
    ("/proc/self", Access::Read),
];

/// One run of qemu-img.
#[derive(Debug, Default)]
pub(crate) struct ToolRun {
    /// The words after the program's name.
    pub(crate) args: Vec<String>,
    /// Files it may read.
    pub(crate) reads: Vec<PathBuf>,
    /// Files it may write.
    pub(crate) writes: Vec<PathBuf>,
    /// What it opens encrypted images with: the words say which by [`key_file`].
    pub(crate) keys: Vec<SecretValue>,
    /// Whether it ends with the daemon: what it makes is of no use then.
    pub(crate) ends_with_daemon: bool,
    /// Whether it tells by its exit status what it found: that is no failure then.
    pub(crate) may_find: bool,
}

/// What qemu-img said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its words.
    pub(crate) words: String,
    /// Whether it found what it looked for: images that differ, or damage.
    pub(crate) found: bool,
}

/// The first descriptor a key is handed over as.
const KEY_DESCRIPTOR_FIRST: i32 = 3;

/// QEMU 7.2 measures how long it takes to make a key from a passphrase, and gives up where the
/// kernel has counted no time yet. It has written nothing then; another run has better luck.
const UNLUCKY: &str = "Unable to get accurate CPU usage";
/// How often that is tried.
const UNLUCKY_RUNS_MAX: u32 = 10;

/// The key of an image that qemu-img opens, as its words name it: `at` is its place in
/// [`ToolRun::keys`]. It is read from a descriptor, so that no list of processes shows it.
pub(crate) fn key_file(id: &str, at: i32) -> KeyFile {
    KeyFile {
        id: format!("{id}-key"),
        file: format!("/dev/fd/{}", KEY_DESCRIPTOR_FIRST + at),
    }
}

fn program() -> Result<PathBuf> {
    let found = PROGRAM_DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join("qemu-img"))
        .find(|path| path.exists());
    found.ok_or_else(|| {
        EngineError::new(
            ErrorKind::ResourceUnavailable,
            "qemu-img is not installed: install the package qemu-utils",
        )
    })
}

impl ToolRun {
    fn plan(&self) -> Result<SpawnPlan> {
        let mut plan = SpawnPlan::new(program()?);
        plan.argv = ["qemu-img".into()]
            .into_iter()
            .chain(self.args.iter().map(Into::into))
            .collect();
        plan.env = vec![("LC_ALL".into(), "C".into())];
        plan.dies_with_parent = self.ends_with_daemon;
        plan.limits = vec![ResourceLimit {
            resource: Resource::CoreDump,
            limit: Some(0),
        }];
        let rule = |path: &Path, access| PathRule {
            path: path.to_owned(),
            access,
        };
        let system = SYSTEM_PATHS.iter().map(|(p, a)| rule(Path::new(p), *a));
        let reads = self.reads.iter().map(|path| rule(path, Access::Read));
        let writes = self.writes.iter().map(|path| rule(path, Access::Write));
        plan.paths = Some(system.chain(reads).chain(writes).collect());
        Ok(plan)
    }

    /// Runs it to its end; what it prints comes back. Blocks.
    ///
    /// # Errors
    /// If it cannot be run or fails; its own last words say why.
    pub(crate) fn run(&self) -> Result<String> {
        self.run_watched(|_| true).map(|said| said.words)
    }

    /// The same; `progress` is told the percentage it prints with `-p`, and ends it by saying no.
    pub(crate) fn run_watched(&self, mut progress: impl FnMut(f64) -> bool) -> Result<Said> {
        for _ in 1..UNLUCKY_RUNS_MAX {
            match self.run_once(&mut progress) {
                Err(error) if error.message.contains(UNLUCKY) => {}
                done => return done,
            }
        }
        self.run_once(&mut progress)
    }

    fn run_once(&self, progress: &mut impl FnMut(f64) -> bool) -> Result<Said> {
        let plan = self.plan()?;
        let failed = |e: &dyn std::fmt::Display| EngineError::system("cannot run qemu-img", e);
        let (mut output, input) = std::io::pipe().map_err(|e| failed(&e))?;
        let keys: Vec<File> = self.keys.iter().map(memory_file).collect::<Result<_>>()?;
        let inherited: Vec<_> = (KEY_DESCRIPTOR_FIRST..)
            .zip(keys.iter().map(File::as_fd))
            .collect();
        let descriptors = Descriptors {
            output: input.as_fd(),
            inherited: &inherited,
        };
        let child = sys::spawn::spawn(&plan, descriptors).map_err(|e| failed(&e))?;
        drop(input);
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match output.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    said.extend_from_slice(&piece[..count]);
                    let text = String::from_utf8_lossy(&piece[..count]);
                    if let Some(percent) = storage::tool::progress(&text)
                        && !progress(percent)
                    {
                        // The pipe ends with the process.
                        let _ = child.process.signal(Signal::KILL);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(&e)),
            }
            if self.is_progress_shown() && said.len() > TOOL_WORDS_MAX_BYTES {
                said.drain(..said.len() - TOOL_WORDS_MAX_BYTES);
            }
            if said.len() > TOOL_REPORT_MAX_BYTES {
                let _ = child.process.signal(Signal::KILL);
                let _ = end_of(&child.process);
                return Err(too_long(&self.args));
            }
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        let found = match end_of(&child.process)? {
            Exit::Code(0) => false,
            Exit::Code(FOUND_FIRST..=FOUND_LAST)
                if self.may_find && !said.contains("qemu-img: ") =>
            {
                true
            }
            _ => return Err(EngineError::failed(complaint(&said))),
        };
        Ok(Said {
            words: without_progress(&said),
            found,
        })
    }

    fn is_progress_shown(&self) -> bool {
        self.args.iter().any(|arg| arg == "-p")
    }
}

/// What it printed, without the lines that tell how far it was.
fn without_progress(said: &str) -> String {
    let lines = said.split('\n').map(|line| match line.rsplit_once('\r') {
        Some((_, last)) => last,
        None => line,
    });
    let kept: Vec<&str> = lines.filter(|line| !line.ends_with("/100%)")).collect();
    kept.join("\n")
}

/// Waits for the end of a program that has closed its output.
fn end_of(process: &Process) -> Result<Exit> {
    process
        .wait()
        .map_err(|e| EngineError::system("cannot wait for qemu-img", e))?;
    let exit = process
        .exit()
        .map_err(|e| EngineError::system("cannot wait for qemu-img", e))?;
    Ok(exit.unwrap_or(Exit::Unknown))
}

fn too_long(args: &[String]) -> EngineError {
    let word = args.first().map_or("", String::as_str);
    EngineError::failed(format!(
        "'qemu-img {word}' tells more than {} MiB of this image: run it by hand on the host",
        TOOL_REPORT_MAX_BYTES >> 20
    ))
}

/// qemu-img's words, without what it prints of its progress.
fn complaint(said: &str) -> String {
    let lines = said.split(['\n', '\r']).map(str::trim);
    let words: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.ends_with("/100%)"))
        .collect();
    let text = words.join("; ");
    let text = text.strip_prefix("qemu-img: ").unwrap_or(&text);
    match text.is_empty() {
        true => "qemu-img failed without a word".to_owned(),
        false => format!("qemu-img: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_made_and_nothing_else_is_reached() {
        let directory = tempfile::tempdir().expect("a directory");
        let image = directory.path().join("a.qcow2");
        std::fs::write(&image, "").expect("written");
        let args = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let path = image.to_str().expect("text");
        let make = ToolRun {
            args: args(&["create", "-q", "-f", "qcow2", path, "1M"]),
            writes: vec![image.clone()],
            ..ToolRun::default()
        };
        make.run().expect("it is made");
        assert!(std::fs::metadata(&image).expect("it is there").len() > 0);

        let other = directory.path().join("other");
        std::fs::write(&other, "secret").expect("written");
        let peek = ToolRun {
            args: args(&["info", "-f", "raw", other.to_str().expect("text")]),
            ..ToolRun::default()
        };
        if sys::landlock::abi().is_some() {
            let error = peek.run().expect_err("it is not let in");
            assert!(error.message.contains("Permission denied"), "{error}");
        }
    }

    #[test]
    fn the_complaint_is_without_progress() {
        let said = "    (0.00/100%)\r    (1.00/100%)\rqemu-img: error: No space left on device\n";
        assert_eq!(complaint(said), "qemu-img: error: No space left on device");
    }
}
