//! The kernel and the initial RAM disk of an installation medium: a CD, a
//! directory, a server.

use crate::error::{EngineError, ErrorKind, Result};
use crate::images::{FileSource, fetch};
use crate::limits::KERNEL_MAX_BYTES;
use std::path::Path;
use storage::image::Source;
use storage::iso::Iso;

/// Gives a file of an installer's tree, if it is there.
type ReadFile = dyn Fn(&str) -> Result<Option<Vec<u8>>>;

/// Where distributions keep them; those of libosinfo's database come first.
const KNOWN: [(&str, &str); 16] = [
    ("install.amd/vmlinuz", "install.amd/initrd.gz"),
    ("install.a64/vmlinuz", "install.a64/initrd.gz"),
    (
        "debian-installer/amd64/linux",
        "debian-installer/amd64/initrd.gz",
    ),
    (
        "debian-installer/arm64/linux",
        "debian-installer/arm64/initrd.gz",
    ),
    (
        "current/images/netboot/debian-installer/amd64/linux",
        "current/images/netboot/debian-installer/amd64/initrd.gz",
    ),
    ("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"),
    ("casper/vmlinuz", "casper/initrd"),
    ("casper/hwe-vmlinuz", "casper/hwe-initrd"),
    ("casper/vmlinuz", "casper/initrd.lz"),
    ("boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"),
    ("boot/aarch64/linux", "boot/aarch64/initrd"),
    (
        "arch/boot/x86_64/vmlinuz-linux",
        "arch/boot/x86_64/initramfs-linux.img",
    ),
    ("boot/vmlinuz-lts", "boot/initramfs-lts"),
    ("boot/vmlinuz-virt", "boot/initramfs-virt"),
    ("linux", "initrd.gz"),
    ("vmlinuz", "initrd.img"),
];

/// A kernel and its initial RAM disk.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) kernel: Vec<u8>,
    pub(crate) initrd: Vec<u8>,
}

/// Finds them on a medium. `named` are the paths a person gave; `known` those
/// of the system to be installed. Blocks.
pub(crate) fn loader(
    location: &str,
    named: Option<(String, String)>,
    known: &[(String, String)],
) -> Result<Loader> {
    let usual = KNOWN
        .iter()
        .map(|(k, i)| ((*k).to_owned(), (*i).to_owned()));
    let pairs: Vec<(String, String)> = match named {
        Some(pair) => vec![pair],
        None => known.iter().cloned().chain(usual).collect(),
    };
    let read: Box<ReadFile> = if fetch::is_url(location) {
        let base = location.trim_end_matches('/').to_owned();
        Box::new(move |path| fetch::small(&format!("{base}/{path}"), KERNEL_MAX_BYTES))
    } else if Path::new(location).is_dir() {
        let base = Path::new(location).to_owned();
        Box::new(move |path| of_directory(&base, path))
    } else {
        let base = Path::new(location).to_owned();
        Box::new(move |path| of_iso(&base, path))
    };
    for (kernel, initrd) in &pairs {
        let Some(kernel) = read(kernel)? else {
            continue;
        };
        if let Some(initrd) = read(initrd)? {
            return Ok(Loader { kernel, initrd });
        }
    }
    Err(EngineError::new(
        ErrorKind::InvalidArgument,
        format!(
            "no installer's kernel and initrd were found in '{location}': say where they are, as \
             --location {location},kernel=PATH,initrd=PATH"
        ),
    ))
}

fn of_directory(base: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    let file = base.join(path);
    if !file.is_file() {
        return Ok(None);
    }
    let mut source = FileSource::open(&file)?;
    let length = source.length();
    piece(&mut source, 0, length).map(Some)
}

fn of_iso(file: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    let mut source = FileSource::open(file)?;
    let failed =
        |e: storage::iso::IsoError| EngineError::failed(format!("'{}': {e}", file.display()));
    let iso = Iso::open(&mut source).map_err(failed)?;
    match iso.find(&mut source, path).map_err(failed)? {
        Some((at, length)) => piece(&mut source, at, length).map(Some),
        None => Ok(None),
    }
}

fn piece(source: &mut FileSource, at: u64, length: u64) -> Result<Vec<u8>> {
    match usize::try_from(length) {
        Ok(bytes) if length <= KERNEL_MAX_BYTES => Ok(source.read(at, bytes)),
        _ => Err(EngineError::failed(format!(
            "a kernel or initrd of {length} bytes is too large"
        ))),
    }
}
