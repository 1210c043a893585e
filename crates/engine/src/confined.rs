//! Programs that look into strangers' images run in a process of their own
//! that reaches nothing but what it is given, and go when their job is cancelled.

use crate::error::{EngineError, ErrorKind, Result};
use crate::jobs::JobContext;
use crate::limits::TOOL_WORDS_MAX_BYTES;
use crate::process::{Process, Signal};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use sys::landlock::{Access, PathRule};
use sys::spawn::{Descriptors, Identity, SpawnPlan};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// What every program needs of the system.
const SYSTEM: [(&str, Access); 6] = [
    ("/usr", Access::Execute),
    ("/lib", Access::Execute),
    ("/lib64", Access::Execute),
    ("/bin", Access::Execute),
    ("/etc/ld.so.cache", Access::Read),
    ("/dev/null", Access::Write),
];

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to be run.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) program: &'static str,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// The package that brings it, for who does not have it.
    pub(crate) package: &'static str,
    /// What it may reach beside the system's programs and libraries.
    pub(crate) paths: Vec<(PathBuf, Access)>,
    /// Its environment beside `PATH`.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Who it runs as; none for the daemon's own user.
    pub(crate) identity: Option<Identity>,
    /// How a shell places its descriptors first; without, none does.
    redirections: Option<&'static str>,
    /// Whether it reaches everything: for what confinement forbids.
    pub(crate) unconfined: bool,
    /// Descriptors it is given, at their numbers.
    pub(crate) descriptors: Vec<(RawFd, OwnedFd)>,
}

impl Tool {
    /// A program that reaches nothing yet.
    pub(crate) fn new(program: &'static str, package: &'static str) -> Self {
        Self {
            program,
            args: Vec::new(),
            package,
            paths: Vec::new(),
            env: Vec::new(),
            identity: None,
            redirections: None,
            unconfined: false,
            descriptors: Vec::new(),
        }
    }

    /// With these arguments.
    pub(crate) fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With access to a path.
    pub(crate) fn reaches(mut self, path: &Path, access: Access) -> Self {
        self.paths.push((path.to_owned(), access));
        self
    }

    /// With a variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With descriptors placed by a shell: its words and its data go apart.
    pub(crate) fn redirected(
        mut self,
        redirections: &'static str,
        descriptors: Vec<(RawFd, OwnedFd)>,
    ) -> Self {
        self.redirections = Some(redirections);
        self.descriptors = descriptors;
        self
    }

    /// Runs it to its end; what it said is the answer. `each` sees its words
    /// as they come. A cancelled job ends it at once.
    pub(crate) async fn run(self, job: &JobContext, each: impl FnMut(&str)) -> Result<String> {
        let running = self.start()?;
        job.unless_cancelled(running.wait(each)).await
    }

    /// Starts it.
    pub(crate) fn start(self) -> Result<Running> {
        let program = find(self.program).ok_or_else(|| {
            EngineError::new(
                ErrorKind::Unsupported,
                format!(
                    "the program {} is not installed: install the package {}",
                    self.program, self.package
                ),
            )
        })?;
        let failed = |e: &dyn std::fmt::Display| {
            EngineError::system(&format!("cannot run {}", self.program), e)
        };
        let mut plan = match self.redirections {
            None => SpawnPlan::new(&program),
            Some(redirections) => {
                let mut plan = SpawnPlan::new("/bin/sh");
                let script = format!("exec \"$@\" {redirections}");
                plan.argv.extend(["-c".into(), script.into(), "sh".into()]);
                plan.argv.push(program.into());
                plan
            }
        };
        plan.argv.extend(self.args);
        plan.env = vec![
            ("PATH".into(), PATH.into()),
            ("LC_ALL".into(), "C.UTF-8".into()),
        ];
        plan.env.extend(self.env);
        plan.identity = self.identity;
        let system = SYSTEM
            .iter()
            .map(|(path, access)| (PathBuf::from(path), *access));
        let rules = system.chain(self.paths).filter(|(path, _)| path.exists());
        let rules = rules.map(|(path, access)| PathRule { path, access });
        plan.paths = (!self.unconfined).then(|| rules.collect());
        let (theirs, ours) = pipe_pair().map_err(|e| failed(&e))?;
        let inherited: Vec<_> = self
            .descriptors
            .iter()
            .map(|(number, descriptor)| (*number, descriptor.as_fd()))
            .collect();
        let descriptors = Descriptors {
            output: theirs.as_fd(),
            inherited: &inherited,
        };
        let child = sys::spawn::spawn(&plan, descriptors).map_err(|e| failed(&e))?;
        Ok(Running {
            program: self.program,
            process: Process::watch(child.process)?,
            words: ours,
        })
    }
}

/// A pipe: the end to write to, and the one to read from.
fn pipe_pair() -> std::io::Result<(OwnedFd, pipe::Receiver)> {
    let (reader, writer) = std::io::pipe()?;
    let reader = pipe::Receiver::from_owned_fd(reader.into())?;
    Ok((writer.into(), reader))
}

/// A program under way. It does not outlive this.
#[derive(Debug)]
pub(crate) struct Running {
    program: &'static str,
    process: Process,
    words: pipe::Receiver,
}

impl Running {
    /// Waits for its end; what it said is the answer. Dropped before, it is killed.
    pub(crate) async fn wait(mut self, mut each: impl FnMut(&str)) -> Result<String> {
        let mut words = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = self.words.read(&mut piece).await {
            each(&String::from_utf8_lossy(&piece[..read]));
            words.extend_from_slice(&piece[..read]);
            if words.len() > TOOL_WORDS_MAX_BYTES {
                words.drain(..words.len() - TOOL_WORDS_MAX_BYTES);
            }
        }
        self.process.exited().await;
        let said = String::from_utf8_lossy(&words).trim().to_owned();
        match self.process.reap().as_str() {
            "exited with status 0" => Ok(said),
            _ if !said.is_empty() => Err(EngineError::failed(format!("{}: {said}", self.program))),
            end => Err(EngineError::failed(format!(
                "{} {end} and said nothing",
                self.program
            ))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.process.has_ended() {
            self.process.signal(Signal::KILL);
            let process = self.process.clone();
            tokio::spawn(async move {
                process.exited().await;
                process.reap();
            });
        }
    }
}

/// The program's file.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
}

/// Opens a regular file for reading, whatever somebody put there.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    /// Opening must not hang where somebody put a pipe.
    const O_NONBLOCK: i32 = 0o4000;
    let fail = |e: &dyn std::fmt::Display| {
        EngineError::system(&format!("cannot open '{}'", path.display()), e)
    };
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .map_err(|e| fail(&e))?;
    match file.metadata().map_err(|e| fail(&e))?.is_file() {
        true => Ok(file),
        false => Err(fail(&"it is no regular file")),
    }
}
