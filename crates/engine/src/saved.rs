//! The file a machine's state is saved to: a header that says how long the
//! definition is, the definition, then QEMU's migration stream.
//!
//! The header has the layout libvirt gives it (host byte order, 92 bytes), so
//! that states saved by libvirt can be restored, uncompressed ones at least.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::DEFINITION_MAX_BYTES;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"LibvirtQemudSave";
/// In place of the magic until the state is complete.
const MAGIC_PARTIAL: &[u8; 16] = b"LibvirtQemudPart";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 16 + 5 * 4 + 14 * 4;
/// Where the header says whether the machine ran.
const RUNNING_AT: usize = 16 + 2 * 4;
/// Bytes left behind a definition, so that a longer one fits in its place.
const EDIT_ROOM_BYTES: usize = 64 * 1024;

/// A saved state, opened: the file stands where QEMU's stream begins.
#[derive(Debug)]
pub(crate) struct SavedState {
    pub(crate) xml: String,
    pub(crate) was_running: bool,
    pub(crate) file: File,
    /// The file, where it is to be gone once the machine goes on from it.
    pub(crate) used_up: Option<PathBuf>,
}

impl SavedState {
    /// Opens a saved state and reads everything but the stream.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| {
            let what = format!("Failed to open file '{}'", path.display());
            EngineError::system(&what, crate::error::advice(&e))
        })?;
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact(&mut bytes)
            .map_err(|_| damaged(path, "it is shorter than a header"))?;
        let header = Header::parse(&bytes).map_err(|why| damaged(path, &why))?;
        let mut data = vec![0; header.data_bytes];
        file.read_exact(&mut data)
            .map_err(|_| damaged(path, "its definition is cut off"))?;
        // The definition ends at its first NUL; a cookie of the writer may follow.
        let end = data
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(data.len());
        let xml = std::str::from_utf8(&data[..end])
            .map_err(|_| damaged(path, "its definition is not text"))?
            .to_owned();
        Ok(Self {
            xml,
            was_running: header.was_running,
            file,
            used_up: None,
        })
    }
}

struct Header {
    data_bytes: usize,
    was_running: bool,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> std::result::Result<Self, String> {
        if &bytes[..16] == MAGIC_PARTIAL {
            return Err("the save was never finished".to_owned());
        }
        if &bytes[..16] != MAGIC {
            return Err("it is not a saved machine".to_owned());
        }
        let word = |index: usize| {
            let at = 16 + index * 4;
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let (version, data_bytes, was_running, compressed) = (word(0), word(1), word(2), word(3));
        if version > VERSION {
            return Err(format!(
                "its format {version} is newer than this stead knows ({VERSION})"
            ));
        }
        if compressed != 0 {
            return Err(
                "it is compressed, which is not supported; save it again uncompressed".to_owned(),
            );
        }
        let data_bytes = data_bytes as usize;
        if data_bytes > DEFINITION_MAX_BYTES {
            return Err(format!(
                "its definition is longer than {DEFINITION_MAX_BYTES} bytes"
            ));
        }
        Ok(Self {
            data_bytes,
            was_running: was_running != 0,
        })
    }
}

fn damaged(path: &Path, why: &str) -> EngineError {
    EngineError::new(
        ErrorKind::OperationFailed,
        format!("cannot restore from {}: {why}", path.display()),
    )
}

/// A state being saved: it becomes valid with [`Saving::finish`] and is
/// removed if it never gets there.
#[derive(Debug)]
pub(crate) struct Saving {
    path: PathBuf,
    file: Option<File>,
}

impl Saving {
    /// Writes the header and the definition; the file then stands where the
    /// stream goes. It has its final name only when it is finished.
    pub(crate) fn create(path: &Path, xml: &str, running: bool) -> Result<Self> {
        let partial = partial_path(path);
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|e| {
                EngineError::system(
                    &format!("Failed to create file '{}'", path.display()),
                    crate::error::advice(&e),
                )
            })?;
        let mut saving = Self {
            path: path.to_owned(),
            file: Some(file),
        };
        saving.write(&header(MAGIC_PARTIAL, xml, running))?;
        let mut data = xml.as_bytes().to_vec();
        data.resize(data_bytes(xml), 0);
        saving.write(&data)?;
        Ok(saving)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let path = self.path.clone();
        self.file()?
            .write_all(bytes)
            .map_err(|e| write_failed(&path, e))
    }

    fn file(&mut self) -> Result<&mut File> {
        self.file.as_mut().ok_or_else(|| {
            EngineError::new(ErrorKind::Internal, "the saved state was finished already")
        })
    }

    /// A descriptor for QEMU, at the place where its stream begins.
    pub(crate) fn stream(&mut self) -> Result<File> {
        let path = self.path.clone();
        self.file()?.try_clone().map_err(|e| write_failed(&path, e))
    }

    /// The stream is complete and on disk: makes the file valid, in one step.
    pub(crate) fn finish(mut self, xml: &str, running: bool) -> Result<()> {
        let path = self.path.clone();
        let fail = |e| write_failed(&path, e);
        let file = self.file()?;
        file.seek(SeekFrom::Start(0)).map_err(fail)?;
        file.write_all(&header(MAGIC, xml, running)).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        std::fs::rename(partial_path(&path), &path).map_err(fail)?;
        self.file = None;
        sys::atomic::sync_parent(&path)
            .map_err(|e| EngineError::system("cannot keep the saved state", e))
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Not finished: there is nothing in it that anybody could use.
            let _ = std::fs::remove_file(partial_path(&self.path));
        }
    }
}

/// Room for the definition, and for a longer one in its place later.
fn data_bytes(xml: &str) -> usize {
    (xml.len() + 1 + EDIT_ROOM_BYTES).min(DEFINITION_MAX_BYTES.max(xml.len() + 1))
}

/// Puts another definition into a saved state, whether it runs afterwards too.
/// The state itself stays where it is.
pub(crate) fn redefine(path: &Path, xml: &str, running: Option<bool>) -> Result<()> {
    let fail = |e| write_failed(path, e);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(fail)?;
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact(&mut bytes)
        .map_err(|_| damaged(path, "it is shorter than a header"))?;
    let header = Header::parse(&bytes).map_err(|why| damaged(path, &why))?;
    if xml.len() + 1 > header.data_bytes {
        return Err(EngineError::new(
            ErrorKind::OperationFailed,
            format!(
                "new xml too large to fit in file: {} bytes, where '{}' has room for {}",
                xml.len() + 1,
                path.display(),
                header.data_bytes
            ),
        ));
    }
    let state = u32::from(running.unwrap_or(header.was_running));
    bytes[RUNNING_AT..RUNNING_AT + 4].copy_from_slice(&state.to_ne_bytes());
    let mut whole = bytes.to_vec();
    whole.extend_from_slice(xml.as_bytes());
    whole.resize(HEADER_BYTES + header.data_bytes, 0);
    // In one write: a daemon that is killed has written it or not.
    file.write_all_at(&whole, 0).map_err(fail)?;
    file.sync_all().map_err(fail)
}

fn header(magic: &[u8; 16], xml: &str, running: bool) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..16].copy_from_slice(magic);
    let words = [
        VERSION,
        u32::try_from(data_bytes(xml)).unwrap_or(u32::MAX),
        u32::from(running),
        0,
        0,
    ];
    for (index, word) in words.into_iter().enumerate() {
        bytes[16 + index * 4..20 + index * 4].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// Where a state is until it is complete.
pub(crate) fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn write_failed(path: &Path, error: std::io::Error) -> EngineError {
    EngineError::system(
        &format!("cannot write the saved state {}", path.display()),
        error,
    )
}

/// The managed-save files there are.
pub(crate) fn managed_files(directory: &Path) -> BTreeSet<PathBuf> {
    files(directory).filter(|path| !is_partial(path)).collect()
}

/// Removes the unfinished states that nobody writes any more.
pub(crate) fn remove_unfinished(directory: &Path) {
    for path in files(directory).filter(|path| is_partial(path)) {
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "an unfinished save could not be removed");
        }
    }
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path())
}

fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "partial")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(directory: &Path, stream: &[u8]) -> PathBuf {
        let path = directory.join("vm.save");
        let mut saving = Saving::create(&path, "<domain/>", true).expect("create");
        saving
            .stream()
            .expect("stream")
            .write_all(stream)
            .expect("write");
        saving.finish("<domain/>", true).expect("finish");
        path
    }

    #[test]
    fn what_was_saved_comes_back() {
        let directory = tempfile::tempdir().expect("directory");
        let path = save(directory.path(), b"stream");
        let mut saved = SavedState::open(&path).expect("open");
        assert_eq!((saved.xml.as_str(), saved.was_running), ("<domain/>", true));
        let mut rest = Vec::new();
        saved.file.read_to_end(&mut rest).expect("read");
        assert_eq!(rest, b"stream");
    }

    #[test]
    fn another_definition_takes_the_place_of_the_first() {
        let directory = tempfile::tempdir().expect("directory");
        let path = save(directory.path(), b"stream");
        let longer = format!("<domain>{}</domain>", "x".repeat(4000));
        redefine(&path, &longer, Some(false)).expect("it fits");
        let mut saved = SavedState::open(&path).expect("open");
        assert_eq!(
            (saved.xml.as_str(), saved.was_running),
            (longer.as_str(), false)
        );
        let mut rest = Vec::new();
        saved.file.read_to_end(&mut rest).expect("read");
        assert_eq!(rest, b"stream");
        let huge = "x".repeat(200_000);
        let error = redefine(&path, &huge, None).expect_err("no room");
        assert!(error.message.contains("too large to fit"), "{error}");
    }

    #[test]
    fn an_unfinished_save_leaves_nothing() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("vm.save");
        drop(Saving::create(&path, "<domain/>", false).expect("create"));
        assert_eq!(
            std::fs::read_dir(directory.path()).expect("list").count(),
            0
        );
        assert!(managed_files(directory.path()).is_empty());
    }

    #[test]
    fn what_a_crash_left_unfinished_is_no_state_and_is_removed() {
        let directory = tempfile::tempdir().expect("directory");
        let path = save(directory.path(), b"stream");
        std::fs::write(partial_path(&path), "half").expect("write");
        assert_eq!(
            managed_files(directory.path()),
            BTreeSet::from([path.clone()])
        );
        remove_unfinished(directory.path());
        assert!(path.exists() && !partial_path(&path).exists());
    }

    #[test]
    fn damaged_files_are_refused_with_the_reason() {
        let directory = tempfile::tempdir().expect("directory");
        let path = save(directory.path(), b"stream");
        let whole = std::fs::read(&path).expect("read");
        for (bytes, why) in [
            (whole[..10].to_vec(), "shorter than a header"),
            (whole[..HEADER_BYTES + 3].to_vec(), "cut off"),
            (vec![b'x'; 200], "not a saved machine"),
        ] {
            std::fs::write(&path, bytes).expect("write");
            let error = SavedState::open(&path).expect_err("damaged");
            assert!(error.message.contains(why), "{error}");
        }
    }
}
