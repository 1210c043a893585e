//! Volumes: upload and download.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};

use client::wire::remote;
use client::{Piece, Stretch};

use crate::args::Args;
use crate::failure::{Failure, OrFail, Outcome};
use crate::session::Session;
use crate::storage::{OF_POOL, VOL, vol};
use crate::table::{Completes, Opt, Verb, arg, flag, number};

/// VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM and its counterpart.
const SPARSE_STREAM: u32 = 1;

const FILE: Opt = arg("file", "the file").completes(Completes::File);
const OFFSET: Opt = number("offset", "where in the volume to begin, in bytes").bare();
const LENGTH: Opt = number("length", "how much, in bytes; everything if not given").bare();
const SPARSE: Opt = flag("sparse", "keep holes as holes");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("vol-download", "copy a volume into a file", download)
        .options(&[VOL, FILE, OF_POOL, OFFSET, LENGTH, SPARSE]),
    Verb::new("vol-upload", "copy a file into a volume", upload)
        .about("The volume gets its new content when all of it has arrived; until then it stays as it was.")
        .options(&[VOL, FILE, OF_POOL, OFFSET, LENGTH, SPARSE]),
];

fn sparse(args: &Args) -> u32 {
    if args.has("sparse") { SPARSE_STREAM } else { 0 }
}

fn os(what: String, error: &std::io::Error) -> Failure {
    Failure::said(format!("{what}: {}", client::os_message(error)))
}

fn download(s: &mut Session, args: &Args) -> Outcome {
    let (offset, length) = (number_of(args, "offset")?, number_of(args, "length")?);
    let target = vol(s, args)?;
    let path = args.need("file")?.to_owned();
    let (file, is_new) = create_file(&path)?;
    let done = receive(s, args, target.vol, (offset, length), &file);
    if done.is_err() && is_new {
        // Half a volume is of no use to anybody.
        _ = std::fs::remove_file(&path);
    }
    done
}

fn number_of(args: &Args, option: &str) -> Result<u64, Failure> {
    Ok(args.number(option)?.unwrap_or(0))
}

fn create_file(path: &str) -> Result<(File, bool), Failure> {
    let mut options = File::options();
    options.write(true);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => options
            .truncate(true)
            .open(path)
            .map(|file| (file, false))
            .map_err(|e| os(format!("cannot create {path}"), &e)),
        Err(e) => Err(os(format!("cannot create {path}"), &e)),
    }
}

fn receive(
    s: &mut Session,
    args: &Args,
    vol: remote::RemoteStorageVol,
    (offset, length): (u64, u64),
    file: &File,
) -> Outcome {
    let name = vol.name.clone();
    let call = remote::StorageVolDownloadArgs {
        vol,
        offset,
        length,
        flags: sparse(args),
    };
    let opened = s.conn()?.open_stream(&call);
    let (_, mut stream) = opened.or_fail(|| format!("cannot download from volume {name}"))?;
    let failed = || format!("cannot receive data from volume {name}");
    let mut target = Target::new(file).map_err(|e| os(failed(), &e))?;
    if target.place != Place::Next {
        stream.take_content();
    }
    while let Some(piece) = stream.receive_piece().or_fail(failed)? {
        target.take(piece).map_err(|e| os(failed(), &e))?;
    }
    target.finish().map_err(|e| os(failed(), &e))?;
    stream
        .finish()
        .or_fail(|| format!("cannot close volume {name}"))
}

/// Where in a file or whatever it is one can write and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Anywhere; what is not there yet reads as zeros.
    OfFile,
    /// Anywhere in what is there.
    OfDevice,
    /// Only what comes next: it is a pipe or a terminal.
    Next,
}

fn place_in(file: &File) -> std::io::Result<Place> {
    let kind = file.metadata()?.file_type();
    Ok(match (kind.is_file(), kind.is_block_device()) {
        (true, _) => Place::OfFile,
        (_, true) => Place::OfDevice,
        _ => Place::Next,
    })
}

/// Where a volume is copied to.
struct Target<'a> {
    file: &'a File,
    place: Place,
    /// How much is there, in bytes.
    end: u64,
}

impl Target<'_> {
    fn new(file: &File) -> std::io::Result<Target<'_>> {
        Ok(Target {
            file,
            place: place_in(file)?,
            end: 0,
        })
    }

    fn take(&mut self, piece: Piece) -> std::io::Result<()> {
        self.end += match piece {
            Piece::Data(bytes) => {
                match self.place {
                    Place::OfFile | Place::OfDevice => self.file.write_all_at(&bytes, self.end)?,
                    Place::Next => self.file.write_all(&bytes)?,
                }
                bytes.len() as u64
            }
            Piece::Content(content) => content.write_to(self.file, self.end)?,
            Piece::Hole(bytes) => {
                self.make_hole(bytes)?;
                bytes
            }
        };
        Ok(())
    }

    fn make_hole(&self, bytes: u64) -> std::io::Result<()> {
        match self.place {
            Place::OfFile => Ok(()),
            // There is something already.
            Place::OfDevice => {
                client::clear(self.file, self.end, bytes).map_err(std::io::Error::other)
            }
            Place::Next => Err(std::io::ErrorKind::NotSeekable.into()),
        }
    }

    /// All has come. A hole at the end of a file leaves no trace otherwise.
    fn finish(&self) -> std::io::Result<()> {
        match self.place {
            Place::OfFile => self.file.set_len(self.end),
            Place::OfDevice | Place::Next => Ok(()),
        }
    }
}

fn upload(s: &mut Session, args: &Args) -> Outcome {
    let (offset, length) = (number_of(args, "offset")?, number_of(args, "length")?);
    let target = vol(s, args)?;
    let path = args.need("file")?;
    let file = File::open(path).map_err(|e| os(format!("cannot open {path}"), &e))?;
    let name = target.vol.name.clone();
    let call = remote::StorageVolUploadArgs {
        vol: target.vol,
        offset,
        length,
        flags: sparse(args),
    };
    let opened = s.conn()?.open_stream(&call);
    let (_, mut stream) = opened.or_fail(|| format!("cannot upload to volume {name}"))?;
    let left = match length {
        0 => u64::MAX,
        length => length,
    };
    send(&mut stream, &file, left, args.has("sparse"), &name)?;
    stream
        .finish()
        .or_fail(|| format!("cannot close volume {name}"))
}

fn send(
    stream: &mut client::Stream,
    file: &File,
    mut left: u64,
    sparse: bool,
    name: &str,
) -> Outcome {
    let failed = || format!("cannot send data to volume {name}");
    let place = place_in(file).map_err(|e| os(failed(), &e))?;
    let mut at = 0;
    while left > 0 {
        let data = match sparse {
            false => left,
            true => match client::stretch(file, at).map_err(|e| os(failed(), e.cause()))? {
                None => break,
                Some(Stretch::Data(end)) => left.min(end - at),
                Some(Stretch::Hole(end)) => {
                    let length = left.min(end - at);
                    stream.send_hole(length).or_fail(failed)?;
                    at += length;
                    left -= length;
                    continue;
                }
            },
        };
        let count = match place {
            Place::OfFile | Place::OfDevice => stream.send_file(file, at, data).or_fail(failed)?,
            Place::Next => send_next(stream, file, data).or_fail(failed)?,
        };
        let count = count.map_err(|e| os(failed(), &e))?;
        if count == 0 {
            break;
        }
        at += count;
        left -= count;
    }
    Ok(())
}

/// Sends up to `max` bytes that come next from what is no file on a disk; how many, 0 at the end.
fn send_next(
    stream: &mut client::Stream,
    source: &File,
    max: u64,
) -> Result<std::io::Result<u64>, client::Error> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut piece = vec![0; client::ROOM_BYTES];
    piece.reserve_exact(max.min(client::PIECE_BYTES));
    // Right into memory that nobody has filled before.
    let count = match rustix::io::read(source, rustix::buffer::spare_capacity(&mut piece)) {
        Ok(count) => count.min(max),
        Err(error) => return Ok(Err(error.into())),
    };
    if count > 0 {
        piece.truncate(client::ROOM_BYTES + count);
        stream.send_piece(piece)?;
    }
    Ok(Ok(count as u64))
}
