//! Editing a definition in the person's editor, with another chance after a mistake.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::session::Session;

/// What is edited, and how it is read and stored.
pub(crate) trait Subject {
    /// The text as it is now.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&mut self, s: &mut Session) -> Result<String, Failure>;

    /// Stores the edited text.
    ///
    /// # Errors
    /// If it is refused.
    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure>;

    /// Turns validation off; false if there is none to turn off.
    fn relax(&mut self) -> bool {
        false
    }

    /// Whether validation can be turned off.
    fn can_relax(&self) -> bool {
        false
    }
}

/// How an edit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edited {
    /// The text was stored.
    Stored,
    /// The person changed nothing.
    Unchanged,
}

/// Lets the person edit the subject until it is stored or given up.
///
/// # Errors
/// If the editor fails, or the person gives up.
pub(crate) fn edit(s: &mut Session, subject: &mut dyn Subject) -> Result<Edited, Failure> {
    let mut before = subject.read(s)?;
    let file = TempFile::with(&before)?;
    'edit: loop {
        run_editor(s, &file.path)?;
        let edited = file.read()?;
        if edited == before {
            return Ok(Edited::Unchanged);
        }
        loop {
            let now = subject.read(s)?;
            let outcome = if now == before {
                subject.store(s, &edited)
            } else {
                before = now;
                Err(Failure::said(
                    "The XML configuration was changed by another user.",
                ))
            };
            let Err(failure) = outcome else {
                return Ok(Edited::Stored);
            };
            match ask(s, &failure, subject.can_relax())? {
                Answer::Again => continue 'edit,
                Answer::Force => {}
                Answer::Relax => _ = subject.relax(),
                Answer::GiveUp => return Err(Failure::silent()),
            }
        }
    }
}

/// Lets the person edit a text; the edited text comes back.
///
/// # Errors
/// If the editor fails.
pub(crate) fn edit_text(s: &mut Session, text: &str) -> Result<String, Failure> {
    let file = TempFile::with(text)?;
    run_editor(s, &file.path)?;
    file.read()
}

struct TempFile {
    path: PathBuf,
}

impl TempFile {
    fn with(text: &str) -> Result<TempFile, Failure> {
        let dir = std::env::var_os("TMPDIR").filter(|d| !d.is_empty());
        let dir = PathBuf::from(dir.unwrap_or_else(|| "/tmp".into()));
        for attempt in 0..ATTEMPTS_MAX {
            let path = dir.join(format!("stead-{}-{attempt}.xml", std::process::id()));
            let mut options = std::fs::OpenOptions::new();
            let open = options.write(true).create_new(true).mode(0o600).open(&path);
            match open {
                Ok(mut file) => {
                    let file_name = TempFile { path };
                    file.write_all(text.as_bytes())
                        .map_err(|e| file_name.failed(&e))?;
                    return Ok(file_name);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(TempFile { path }.failed(&e)),
            }
        }
        Err(Failure::said(format!(
            "cannot make a temporary file in {}",
            dir.display()
        )))
    }

    fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let file = std::fs::File::open(&self.path);
        let read = file.and_then(|mut f| f.read_to_string(&mut text));
        read.map_err(|e| self.failed(&e))?;
        Ok(text)
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        let why = client::os_message(error);
        Failure::said(format!("temporary file {}: {why}", self.path.display()))
    }
}

/// Names tried for a temporary file.
const ATTEMPTS_MAX: u32 = 100;

impl Drop for TempFile {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.path);
    }
}

/// Runs `$VISUAL`, `$EDITOR` or vi on the file; the variable may hold options.
fn run_editor(s: &mut Session, path: &Path) -> Result<(), Failure> {
    s.out.flush();
    let set = |name| std::env::var(name).ok().filter(|v: &String| !v.is_empty());
    let editor = set("VISUAL")
        .or_else(|| set("EDITOR"))
        .unwrap_or_else(|| "vi".to_owned());
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(path)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::said(format!(
            "the editor '{editor}' failed: {status}"
        ))),
        Err(e) => Err(Failure::said(format!(
            "cannot run '{editor}': {}",
            client::os_message(&e)
        ))),
    }
}

enum Answer {
    Again,
    Force,
    Relax,
    GiveUp,
}

/// Reports why the text was not stored and asks what to do; without a terminal
/// the failure stands.
fn ask(s: &mut Session, failure: &Failure, can_relax: bool) -> Result<Answer, Failure> {
    let stands = || Failure {
        lines: failure.lines.clone(),
        cause: failure.cause.clone(),
        hint: failure.hint.clone(),
    };
    let said = failure
        .lines
        .first()
        .map_or("Failed.", String::as_str)
        .to_owned();
    if !std::io::stdin().is_terminal() {
        let failure = stands();
        return Err(match failure.lines.is_empty() {
            true => failure.context("Failed."),
            false => failure,
        });
    }
    if let Some(cause) = &failure.cause {
        s.out.error(&cause.to_string());
    }
    let choices = if can_relax {
        "[y,n,i,f,?]"
    } else {
        "[y,n,f,?]"
    };
    loop {
        s.out.text(format!("{said} Try again? {choices}: "));
        s.out.flush();
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        if read.is_err() || line.is_empty() {
            return Ok(Answer::GiveUp);
        }
        match line.trim().to_ascii_lowercase().as_str() {
            "y" => return Ok(Answer::Again),
            "n" => return Ok(Answer::GiveUp),
            "f" => return Ok(Answer::Force),
            "i" if can_relax => return Ok(Answer::Relax),
            _ => {
                s.out
                    .text("y - yes, start editor again\nn - no, throw away my changes\n");
                if can_relax {
                    s.out
                        .text("i - turn off validation and try to redefine again\n");
                }
                s.out
                    .text("f - force, try to redefine again\n? - print this help\n");
            }
        }
    }
}
