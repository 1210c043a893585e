//! A machine's log: what QEMU was started with and what it says. Its last
//! words explain most failed starts.

use crate::error::{EngineError, Result};
use crate::limits::{LAST_WORDS_MAX_BYTES, MACHINE_LOG_MAX_BYTES};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens the log for a new run and notes the command line. Gives back the
/// file and where QEMU's own words begin.
pub(crate) fn open_for_run(path: &Path, command_line: &str) -> Result<(File, u64)> {
    let fail = |e| EngineError::system(&format!("cannot open the log {}", path.display()), e);
    if path
        .metadata()
        .is_ok_and(|meta| meta.len() > MACHINE_LOG_MAX_BYTES)
    {
        std::fs::rename(path, path.with_extension("log.1")).map_err(fail)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(path)
        .map_err(fail)?;
    writeln!(file, "{command_line}").map_err(fail)?;
    let start = file.seek(SeekFrom::End(0)).map_err(fail)?;
    Ok((file, start))
}

/// What was written into the file from `start` on: the last of it, as text.
pub(crate) fn words_since(file: &File, start: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = file;
        let end = file.seek(SeekFrom::End(0))?;
        let from = start.max(end.saturating_sub(LAST_WORDS_MAX_BYTES));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS_MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(plain(&String::from_utf8_lossy(&bytes)))
    };
    read().unwrap_or_default()
}

/// The last words in a machine's log.
pub(crate) fn last_words(path: &Path) -> String {
    let Ok(file) = File::open(path) else {
        return String::new();
    };
    let words = words_since(&file, 0);
    // Only what came after the last start: a command line is one long line.
    match words.rfind("\ncommand: ") {
        Some(at) => words[at..].lines().skip(2).collect::<Vec<_>>().join("\n"),
        None if words.starts_with("command: ") => {
            words.lines().skip(1).collect::<Vec<_>>().join("\n")
        }
        None => words,
    }
}

/// Without the time stamps QEMU puts in front of each line, and without
/// announcements that are no complaint.
fn plain(words: &str) -> String {
    let lines = words.lines().map(|line| match line.split_once("Z ") {
        Some((stamp, rest)) if stamp.len() > 18 && stamp.starts_with("20") => rest,
        _ => line,
    });
    let telling =
        lines.filter(|line| !line.is_empty() && !line.contains("char device redirected to"));
    telling.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_this_run_without_their_stamps() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("vm.log");
        std::fs::write(&path, "an older run\n").expect("write");
        let (mut file, start) = open_for_run(&path, "command: qemu -x").expect("open");
        writeln!(
            file,
            "2026-01-01T00:00:00.000000Z char device redirected to /dev/pts/1\n\
             2026-01-01T00:00:00.000001Z qemu: -x: invalid option"
        )
        .expect("write");
        assert_eq!(words_since(&file, start), "qemu: -x: invalid option");
        assert_eq!(last_words(&path), "qemu: -x: invalid option");
    }
}
