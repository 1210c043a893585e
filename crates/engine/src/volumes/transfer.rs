//! The content of a volume in and out.
//!
//! Files are read and written on a thread of their own; pieces go through a short queue, so that
//! neither side runs ahead of the other. Between a file and a socket nothing is copied.

use super::make::copy_stretches;
use super::strays::unfinished_name;
use crate::aside::aside;
use crate::crash::{Step, crash_point};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::VOLUME_PIECES_MAX;
use crate::pools::Pool;
use crate::pools::claim::{Claim, Overtaken, Purpose};
use model::storage::VolumeKind;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use sys::content::{Intake, Piece as Content};
use sys::lent::Lent;
use sys::pipe::Pipe;
use sys::sparse::Stretch;
use tokio::sync::{mpsc, oneshot};

/// A piece of a volume's content: `Data` is bytes on the way in, and on the way out content that goes
/// right to a socket.
#[derive(Debug)]
pub enum Piece<Data> {
    /// Bytes.
    Data(Data),
    /// So many zeros that take no space.
    Hole(u64),
}

/// A piece of a volume that is read.
type Read = std::io::Result<Piece<Content>>;

/// A volume being read.
#[derive(Debug)]
pub struct Download {
    pieces: mpsc::Receiver<Read>,
    path: String,
    _claim: Claim,
}

impl Download {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn next(&mut self) -> Result<Option<Piece<Content>>> {
        let next = self.pieces.recv().await.transpose();
        next.map_err(|e| EngineError::io(&format!("cannot read from '{}'", self.path), &e))
    }
}

/// A volume being written. Dropped before [`Upload::finish`], the volume stays as it was where it
/// can.
#[derive(Debug)]
pub struct Upload {
    pieces: mpsc::Sender<ToDisk>,
    done: oneshot::Receiver<Result<()>>,
    claim: Claim,
    engine: Engine,
    pool: Pool,
}

#[derive(Debug)]
enum ToDisk {
    Piece(Piece<Vec<u8>>),
    Content(Lent),
    Finish,
}

impl Upload {
    /// Takes a piece; waits while the disk is behind.
    ///
    /// # Errors
    /// What the disk says, which ends the upload.
    pub async fn write(&mut self, piece: Piece<Vec<u8>>) -> Result<()> {
        self.tell(ToDisk::Piece(piece)).await
    }

    /// Takes all the content that a lent socket gives, after the pieces so far. It goes to the disk
    /// without waiting for this task and without being copied, which is what makes an upload about
    /// as fast as a copy.
    ///
    /// # Errors
    /// What the disk says, which ends the upload.
    pub async fn write_all_of(&mut self, content: Lent) -> Result<()> {
        self.tell(ToDisk::Content(content)).await
    }

    async fn tell(&mut self, message: ToDisk) -> Result<()> {
        match self.pieces.send(message).await {
            Ok(()) => Ok(()),
            Err(_) => self.outcome().await,
        }
    }

    async fn outcome(&mut self) -> Result<()> {
        let broken = || EngineError::failed("the upload was broken off; the log says more");
        (&mut self.done).await.map_err(|_| broken())?
    }

    /// All is there: the volume has its new content from now on.
    ///
    /// # Errors
    /// What the disk says; the volume is as it was then.
    pub async fn finish(mut self) -> Result<()> {
        // Whether it takes the word or is gone already, it tells how it ended.
        let _ = self.pieces.send(ToDisk::Finish).await;
        let done = self.outcome().await;
        let shown = self.claim.finish().await;
        done?;
        shown?;
        self.engine
            .notices_hub()
            .tell(crate::notices::Notice::Pool {
                name: self.pool.view().name.clone(),
                uuid: self.pool.view().uuid,
                what: crate::notices::PoolHappening::Refreshed,
            });
        Ok(())
    }
}

impl Pool {
    /// Begins to read a volume's content from `offset` on; `length` 0 means to the end. With
    /// `holes`, stretches that take no space are told as such.
    ///
    /// # Errors
    /// If the volume is being changed, or cannot be read.
    pub async fn download(&self, name: &str, range: Range) -> Result<Download> {
        let claim = self.claim(name, Purpose::Read).await?;
        let volume = self.volume(name)?;
        need_file(&volume)?;
        let path = volume.path().to_owned();
        let opened = aside({
            let path = path.clone();
            move || File::open(&path).map_err(|e| open_failed(&path, &e))
        });
        let file = opened.await??;
        let (sender, pieces) = mpsc::channel(VOLUME_PIECES_MAX);
        let reading = Reading {
            file,
            range,
            sender,
        };
        start_thread(move || reading.run())?;
        Ok(Download {
            pieces,
            path,
            _claim: claim,
        })
    }

    /// Begins to write a volume's content from `offset` on; more than `length` bytes, if that is
    /// not 0, are refused. An upload from the beginning on takes the volume's place when it is
    /// complete, where there is room for both; another one writes into it.
    ///
    /// # Errors
    /// If the volume is in use, others build upon it, or it cannot be written.
    pub async fn upload(&self, engine: &Engine, name: &str, range: Range) -> Result<Upload> {
        let claim = self.claim(name, Purpose::Upload).await?;
        let volume = self.volume(name)?;
        need_file(&volume)?;
        engine.check_no_clones(volume.path(), "write to")?;
        let beside = (range.offset == 0 && volume.definition.kind == VolumeKind::File)
            .then(|| unfinished_name(Path::new(self.view().path()), engine.records().host()));
        let old = volume.definition.physical.unwrap_or(0);
        let path = PathBuf::from(volume.path());
        let overtaken = claim.overtaken();
        let opened = aside({
            let engine = engine.clone();
            move || {
                engine.check_unused(&path.to_string_lossy(), "write to")?;
                // Asked now: what the pool's view says may be of another moment.
                let has_room = sys::usage::usage(&path)
                    .is_ok_and(|space| space.available > old.max(range.length));
                let writing = Writing {
                    unfinished: beside.filter(|_| has_room),
                    path,
                    range,
                    overtaken,
                };
                let file = writing.open()?;
                Ok((writing, file))
            }
        });
        let (writing, file) = opened.await??;
        let (pieces, inbox) = mpsc::channel(VOLUME_PIECES_MAX);
        let (end, done) = oneshot::channel();
        start_thread(move || {
            let _ = end.send(writing.run(&file, inbox));
        })?;
        Ok(Upload {
            pieces,
            done,
            claim,
            engine: engine.clone(),
            pool: self.clone(),
        })
    }
}

/// Which part of a volume is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; 0 means to the end.
    pub length: u64,
    /// Whether holes are told apart from zeros.
    pub holes: bool,
}

fn need_file(volume: &super::Volume) -> Result<()> {
    match volume.definition.kind {
        VolumeKind::File | VolumeKind::Block => Ok(()),
        kind => Err(EngineError::new(
            ErrorKind::Unsupported,
            format!(
                "the volume '{}' is of type '{kind}': it has no content to transfer",
                volume.name()
            ),
        )),
    }
}

fn open_failed(path: &str, error: &std::io::Error) -> EngineError {
    EngineError::io(&format!("Unable to open file '{path}'"), error)
}

pub(super) fn start_thread(work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name("transfer".into())
        .spawn(work)
        .map(drop)
        .map_err(|e| EngineError::system("cannot start a thread", e))
}

struct Reading {
    file: File,
    range: Range,
    sender: mpsc::Sender<Read>,
}

impl Reading {
    fn run(self) {
        if let Err(error) = self.read_all() {
            // Nobody listening any more is no error.
            let _ = self.sender.blocking_send(Err(error));
        }
    }

    fn read_all(&self) -> std::io::Result<()> {
        let end = match self.range.length {
            0 => u64::MAX,
            length => self.range.offset.saturating_add(length),
        };
        let intake = Intake::new()?;
        let mut at = self.range.offset;
        while at < end {
            let data_end = match self.range.holes {
                false => end,
                true => {
                    match sys::sparse::stretch(&self.file, at).map_err(std::io::Error::other)? {
                        None => return Ok(()),
                        Some(Stretch::Data(to)) => to.min(end),
                        Some(Stretch::Hole(to)) => {
                            let to = to.min(end);
                            if self.send(Piece::Hole(to - at)).is_none() {
                                return Ok(());
                            }
                            at = to;
                            continue;
                        }
                    }
                }
            };
            match self.read_data(&intake, at, data_end)? {
                Some(next) if next > at => at = next,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Sends the data up to `end`; where it got to, or none if nobody listens or the file ends.
    fn read_data(&self, intake: &Intake, mut at: u64, end: u64) -> std::io::Result<Option<u64>> {
        while at < end {
            let Some(content) = intake.take(&self.file, at, end - at)? else {
                return Ok(None);
            };
            at += content.len() as u64;
            if self.send(Piece::Data(content)).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(at))
    }

    fn send(&self, piece: Piece<Content>) -> Option<()> {
        self.sender.blocking_send(Ok(piece)).ok()
    }
}

struct Writing {
    path: PathBuf,
    /// The file that is filled to take the volume's place; none where it is written in place.
    unfinished: Option<PathBuf>,
    range: Range,
    overtaken: Overtaken,
}

impl Writing {
    fn failed(&self, what: &str, error: &std::io::Error) -> EngineError {
        EngineError::io(&format!("{what} '{}'", self.path.display()), error)
    }

    fn open(&self) -> Result<File> {
        let mut options = File::options();
        options.write(true);
        match &self.unfinished {
            None => options
                .open(&self.path)
                .map_err(|e| open_failed(&self.path.to_string_lossy(), &e)),
            Some(unfinished) => {
                let made = options.create_new(true).mode(0o600).open(unfinished);
                let file = made.map_err(|e| self.failed("cannot make a file beside", &e))?;
                crash_point(Step::UploadBegun);
                Ok(file)
            }
        }
    }

    fn run(&self, file: &File, inbox: mpsc::Receiver<ToDisk>) -> Result<()> {
        let done = self.take_pieces(file, inbox);
        if let (Err(_), Some(unfinished)) = (&done, &self.unfinished) {
            let _ = std::fs::remove_file(unfinished);
        }
        done
    }

    fn take_pieces(&self, file: &File, mut inbox: mpsc::Receiver<ToDisk>) -> Result<()> {
        let mut at = self.range.offset;
        loop {
            match inbox.blocking_recv() {
                Some(ToDisk::Piece(Piece::Data(bytes))) => self.write_at(file, &mut at, &bytes)?,
                Some(ToDisk::Piece(Piece::Hole(length))) => {
                    self.check_length(at.saturating_add(length))?;
                    self.make_hole(file, at, length)?;
                    at += length;
                }
                Some(ToDisk::Content(lent)) => self.write_all_of(file, &mut at, lent)?,
                Some(ToDisk::Finish) => {
                    let name = self.path.file_name().unwrap_or_default().to_string_lossy();
                    return self.overtaken.unless(&name, || self.complete(file, at));
                }
                None => {
                    return Err(EngineError::new(
                        ErrorKind::OperationAborted,
                        "the client gave the upload up",
                    ));
                }
            }
        }
    }

    fn write_at(&self, file: &File, at: &mut u64, bytes: &[u8]) -> Result<()> {
        let end = at.saturating_add(bytes.len() as u64);
        self.check_length(end)?;
        file.write_all_at(bytes, *at)
            .map_err(|e| self.failed("cannot write to", &e))?;
        *at = end;
        Ok(())
    }

    fn write_all_of(&self, file: &File, at: &mut u64, mut content: Lent) -> Result<()> {
        let pipe = Pipe::new().map_err(|e| EngineError::system("cannot pass content on", e))?;
        loop {
            let count = content
                .pour(&pipe)
                .map_err(|e| self.failed("cannot receive what is written to", &e))?;
            if count == 0 {
                return Ok(());
            }
            let end = at.saturating_add(count as u64);
            self.check_length(end)?;
            pipe.write_to(file, *at, count)
                .map_err(|e| self.failed("cannot write to", &e))?;
            *at = end;
        }
    }

    fn check_length(&self, end: u64) -> Result<()> {
        let Range { offset, length, .. } = self.range;
        let too_long = length > 0 && end.saturating_sub(offset) > length;
        match too_long || i64::try_from(end).is_err() {
            false => Ok(()),
            true => Err(EngineError::failed(format!(
                "the upload to '{}' is longer than the {length} bytes announced",
                self.path.display()
            ))),
        }
    }

    fn make_hole(&self, file: &File, at: u64, length: u64) -> Result<()> {
        let end = at + length;
        let present = file
            .metadata()
            .map_err(|e| self.failed("cannot look at", &e))?;
        if present.is_file() && present.len() < end {
            file.set_len(end)
                .map_err(|e| self.failed("cannot extend", &e))?;
        }
        if self.unfinished.is_none() && length > 0 {
            sys::sparse::clear(file, at, length)
                .map_err(|e| self.failed("cannot make a hole in", e.cause()))?;
        }
        Ok(())
    }

    /// What the upload did not reach stays as it was; then the new file takes the old one's place.
    fn complete(&self, file: &File, end: u64) -> Result<()> {
        let Some(unfinished) = &self.unfinished else {
            return Ok(());
        };
        let old =
            File::open(&self.path).map_err(|e| open_failed(&self.path.to_string_lossy(), &e))?;
        let metadata = old
            .metadata()
            .map_err(|e| self.failed("cannot look at", &e))?;
        if metadata.len() > end {
            file.set_len(metadata.len())
                .map_err(|e| self.failed("cannot extend", &e))?;
            copy_stretches(&old, file, end, &mut |_| true)
                .map_err(|e| self.failed("cannot write to", e.cause()))?;
        }
        let (uid, gid) = (metadata.uid(), metadata.gid());
        std::os::unix::fs::fchown(file, Some(uid), Some(gid))
            .map_err(|e| self.failed("cannot set the owner of", &e))?;
        let mode = std::fs::Permissions::from_mode(metadata.mode() & 0o7777);
        file.set_permissions(mode)
            .map_err(|e| self.failed("cannot set the mode of", &e))?;
        crash_point(Step::UploadFilled);
        // A link is followed: what it points at is replaced, not the link.
        let place = std::fs::canonicalize(&self.path)
            .map_err(|e| open_failed(&self.path.to_string_lossy(), &e))?;
        match metadata.blocks() {
            0 => sys::sparse::replace_empty(unfinished, &place)
                .map_err(|e| self.failed("cannot replace", e.cause()))?,
            _ => std::fs::rename(unfinished, &place)
                .map_err(|e| self.failed("cannot replace", &e))?,
        }
        crash_point(Step::UploadNamed);
        Ok(())
    }
}
