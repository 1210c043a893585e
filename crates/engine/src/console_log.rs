//! What is kept of a serial console's output: two files of bounded size, the
//! older one named `….log.1`. It outlives the machine's runs.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::CONSOLE_LOG_MAX_BYTES;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The log of a console: what does not fit moves to one older file, so that
/// a guest cannot fill the host's disk.
#[derive(Debug)]
pub(crate) struct BoundedLog {
    path: PathBuf,
    file: Option<std::fs::File>,
    size: u64,
}

impl BoundedLog {
    /// The log of one console of one machine, whose logs lie in `directory`.
    pub(crate) fn open(directory: &Path, machine: &str, alias: &str) -> Self {
        let path = path_of(directory, machine, alias);
        let file = open_log(&path);
        let size = file
            .as_ref()
            .and_then(|f| f.metadata().ok())
            .map_or(0, |m| m.len());
        Self { path, file, size }
    }

    pub(crate) fn append(&mut self, piece: &[u8]) {
        if self.size + piece.len() as u64 > CONSOLE_LOG_MAX_BYTES {
            let _ = std::fs::rename(&self.path, older(&self.path));
            self.file = open_log(&self.path);
            self.size = 0;
        }
        // A full disk loses the log, never the console.
        if let Some(file) = &mut self.file
            && file.write_all(piece).is_ok()
        {
            self.size += piece.len() as u64;
        }
    }

    /// All that is kept, oldest first.
    pub(crate) fn kept(&self) -> Result<Vec<u8>> {
        read(&self.path)
    }
}

/// What is kept of a console of a machine that does not run. Without a name it is the first
/// console that ever wrote something.
pub(crate) fn kept(directory: &Path, machine: &str, alias: Option<&str>) -> Result<Vec<u8>> {
    const USUAL: [&str; 2] = ["serial0", "console0"];
    let candidates = alias.map_or(USUAL.to_vec(), |alias| vec![alias]);
    let path = candidates
        .iter()
        .filter(|alias| is_alias(alias))
        .map(|alias| path_of(directory, machine, alias))
        .find(|path| path.exists());
    path.map_or_else(
        || {
            let message = match alias {
                Some(alias) => format!("nothing is kept of a console '{alias}'"),
                None => "nothing is kept of its consoles: it has none of type 'pty', or never ran"
                    .to_owned(),
            };
            Err(EngineError::new(ErrorKind::OperationInvalid, message))
        },
        |path| read(&path),
    )
}

/// The end of a log: its last lines.
pub(crate) fn last_lines(mut kept: Vec<u8>, lines: usize) -> Vec<u8> {
    let body = kept.strip_suffix(b"\n").unwrap_or(&kept);
    let ends = body.iter().enumerate().rev();
    let mut ends = ends.filter(|(_, byte)| **byte == b'\n');
    let start = match lines.checked_sub(1) {
        None => kept.len(),
        Some(before) => ends.nth(before).map_or(0, |(at, _)| at + 1),
    };
    kept.drain(..start);
    kept
}

/// Device names become part of a path: nothing but what aliases consist of.
fn is_alias(alias: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !alias.is_empty() && alias.chars().all(plain)
}

fn path_of(directory: &Path, machine: &str, alias: &str) -> PathBuf {
    directory.join(format!("{}.{alias}.log", crate::files::file_name(machine)))
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for part in [older(path), path.to_owned()] {
        match std::fs::read(&part) {
            Ok(bytes) => all.extend(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = format!("cannot read {}", part.display());
                return Err(EngineError::io(&what, &error));
            }
        }
    }
    Ok(all)
}

fn open_log(path: &Path) -> Option<std::fs::File> {
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = BoundedLog::open(folder.path(), "m", "serial0");
        let half = vec![b'x'; CONSOLE_LOG_MAX_BYTES as usize / 2 + 1];
        log.append(b"gone\n");
        for _ in 0..3 {
            log.append(&half);
        }
        log.append(b"last\n");
        let kept = log.kept().expect("kept");
        assert!(kept.len() as u64 <= 2 * CONSOLE_LOG_MAX_BYTES);
        assert!(kept.ends_with(b"last\n") && !kept.starts_with(b"gone"));
        let again = super::kept(folder.path(), "m", None).expect("found without its name");
        assert_eq!(again, kept);
        assert!(super::kept(folder.path(), "m", Some("../../etc/passwd")).is_err());
    }

    #[test]
    fn the_last_lines_of_a_log() {
        let last = |text: &str, lines| {
            String::from_utf8(last_lines(text.into(), lines)).expect("it was text")
        };
        assert_eq!(last("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last("a\nb\nlogin: ", 2), "b\nlogin: ");
        assert_eq!(last("a\n", 5), "a\n");
        assert_eq!(last("a\nb\n", 0), "");
    }
}
