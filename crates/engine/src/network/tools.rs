//! Programs that do a thing and end: nft, dnsmasq, tc.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::TOOLS_REMEMBERED_MAX;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// A program to be run to its end.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    /// Its name, or where it is.
    pub(crate) program: PathBuf,
    /// The Debian package that holds it.
    pub(crate) package: &'static str,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// What it reads.
    pub(crate) input: String,
    /// Where its number is noted.
    told: Option<Arc<Started>>,
}

/// The processes started last, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Started(Mutex<VecDeque<u32>>);

impl Started {
    fn note(&self, pid: u32) {
        let mut pids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pids.push_back(pid);
        if pids.len() > TOOLS_REMEMBERED_MAX {
            pids.pop_front();
        }
    }

    /// Whether a process is one of these.
    pub(crate) fn has(&self, pid: u32) -> bool {
        let pids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pids.contains(&pid)
    }
}

impl Tool {
    pub(crate) fn new<A: Into<OsString>>(
        program: &'static str,
        package: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            package,
            arguments: arguments.into_iter().map(Into::into).collect(),
            input: String::new(),
            told: None,
        }
    }

    /// A program that no package holds.
    pub(crate) fn at<A: Into<OsString>>(
        program: PathBuf,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program,
            ..Self::new("", "", arguments)
        }
    }

    pub(crate) fn reading(mut self, input: String) -> Self {
        self.input = input;
        self
    }

    /// Has its number noted before it does anything.
    pub(crate) fn telling(mut self, started: Arc<Started>) -> Self {
        self.told = Some(started);
        self
    }

    /// Runs it beside everything else; gives back what it printed.
    pub(crate) async fn run(self) -> Result<String> {
        let done = tokio::task::spawn_blocking(move || self.run_blocking());
        done.await
            .map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))?
    }

    fn run_blocking(self) -> Result<String> {
        let program = self.program.display();
        let failed = |e: std::io::Error| EngineError::system(&format!("cannot run {program}"), e);
        let mut child = command(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => EngineError::new(
                    ErrorKind::ResourceUnavailable,
                    format!(
                        "{program} is not installed: install the package '{}'",
                        self.package
                    ),
                ),
                _ => failed(e),
            })?;
        if let Some(told) = &self.told {
            told.note(child.id());
        }
        if let Some(mut stdin) = child.stdin.take() {
            // A program that refuses early has no ear for the rest.
            let _ = stdin.write_all(self.input.as_bytes());
        }
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(EngineError::failed(format!(
            "{program} failed: {}",
            said.trim()
        )))
    }
}

/// The program, found also where an ordinary user's `PATH` does not look. It
/// is named by its path, which spares a copy of the daemon for every run.
fn command(program: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path
        .split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]);
    let found = places
        .map(|place| Path::new(place).join(program))
        .find(|file| file.is_absolute() && file.is_file());
    let mut command = Command::new(found.unwrap_or_else(|| program.to_owned()));
    command.env("LC_ALL", "C");
    command
}
