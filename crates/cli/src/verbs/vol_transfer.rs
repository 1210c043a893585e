//! Volumes: upload and download.

use std::fs::File;
use std::io::{ErrorKind, Write};

use client::Piece;
use client::wire::remote;

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
    let mut file = file;
    let mut end = 0u64;
    while let Some(piece) = stream.receive_piece().or_fail(failed)? {
        match piece {
            Piece::Data(bytes) => {
                file.write_all(&bytes).map_err(|e| os(failed(), &e))?;
                end += bytes.len() as u64;
            }
            Piece::Hole(bytes) => {
                end += bytes;
                std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(end))
                    .map_err(|e| os(failed(), &e))?;
            }
        }
    }
    if args.has("sparse") {
        // A hole at the end leaves no trace otherwise.
        file.set_len(end).map_err(|e| os(failed(), &e))?;
    }
    stream
        .finish()
        .or_fail(|| format!("cannot close volume {name}"))
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
    let mut at = 0;
    while left > 0 {
        let data = match sparse {
            false => left,
            true => match stretch(file, at).map_err(|e| os(failed(), &e))? {
                None => break,
                Some((true, length)) => length.min(left),
                Some((false, length)) => {
                    let length = length.min(left);
                    stream.send_hole(length).or_fail(failed)?;
                    at += length;
                    left -= length;
                    continue;
                }
            },
        };
        let data = usize::try_from(data).unwrap_or(usize::MAX);
        let mut piece = vec![0; client::ROOM_BYTES];
        piece.reserve_exact(data.min(client::PIECE_BYTES));
        // Right into memory that nobody has filled before.
        let count = rustix::io::read(file, rustix::buffer::spare_capacity(&mut piece));
        let count = count.map_err(|e| os(failed(), &e.into()))?.min(data);
        if count == 0 {
            break;
        }
        piece.truncate(client::ROOM_BYTES + count);
        stream.send_piece(piece).or_fail(failed)?;
        at += count as u64;
        left -= count as u64;
    }
    Ok(())
}

/// Whether data begins at `at`, and how long what begins there is; the file's position is there
/// afterwards. Nothing at its end.
fn stretch(file: &File, at: u64) -> std::io::Result<Option<(bool, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let length = file.metadata()?.len();
    if at >= length {
        return Ok(None);
    }
    let data = match seek(file, SeekFrom::Data(at)) {
        Err(Errno::NXIO) => length,
        other => other?,
    };
    let found = match data > at {
        true => (false, data - at),
        false => (true, seek(file, SeekFrom::Hole(at))? - at),
    };
    seek(
        file,
        SeekFrom::Start(at + if found.0 { 0 } else { found.1 }),
    )?;
    Ok(Some(found))
}
