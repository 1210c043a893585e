//! The host's files that a machine uses: they must be there, QEMU's user must
//! be able to open them, and the process may reach these and no others.

use crate::error::{EngineError, ErrorKind, Result};
use crate::status::LentFile;
use qemu::command_line::{FileAccess, FileMode, FileRole};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use sys::landlock::{Access, PathRule};
use sys::spawn::Identity;

/// Images behind an image that are followed.
const BACKING_DEPTH_MAX: usize = 64;

/// Where the loader, libraries and QEMU's own data live.
const SYSTEM_DIRECTORIES: [(&str, Access); 10] = [
    ("/usr", Access::Execute),
    // Where people put a QEMU they built themselves.
    ("/opt", Access::Execute),
    ("/lib", Access::Execute),
    ("/lib64", Access::Execute),
    ("/bin", Access::Execute),
    ("/etc", Access::Read),
    ("/proc", Access::Read),
    ("/sys", Access::Read),
    ("/dev/shm", Access::Write),
    ("/dev/pts", Access::Write),
];

/// Where the system keeps its own files, none of which is an image.
const NO_IMAGES: [&str; 14] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/log",
    "/var/spool",
];

/// Images are whole sectors long.
const SECTOR_BYTES: u64 = 512;

/// Devices every machine may use.
const COMMON_DEVICES: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/ptmx",
    "/dev/kvm",
    "/dev/vhost-net",
    "/dev/userfaultfd",
];

/// Checks that what the machine needs is there, before anything is made.
pub(crate) fn check(files: &[FileAccess]) -> Result<()> {
    for file in files {
        if file.mode == FileMode::Create || file.role == FileRole::Socket {
            continue;
        }
        if let Err(error) = std::fs::metadata(&file.path) {
            let what = match file.role {
                FileRole::Image => "storage file",
                FileRole::Boot => "kernel, initrd or device tree",
                FileRole::Firmware | FileRole::Variables => "firmware",
                _ => "file",
            };
            return Err(EngineError::new(
                ErrorKind::ResourceUnavailable,
                format!(
                    "Cannot access {what} '{}': {}",
                    file.path.display(),
                    plain(&error)
                ),
            ));
        }
    }
    Ok(())
}

/// An error of the system in the words everybody knows.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The files only this machine uses, which QEMU's user is to be given, and
/// whose they are.
pub(crate) fn to_lend(files: &[FileAccess], identity: Option<&Identity>) -> Vec<LentFile> {
    let Some(identity) = identity else {
        return Vec::new();
    };
    let owned = files
        .iter()
        .filter(|file| is_lent(file))
        .filter_map(|file| {
            let meta = std::fs::metadata(&file.path).ok()?;
            Some(LentFile {
                path: file.path.clone(),
                uid: meta.uid(),
                gid: meta.gid(),
                read_only: file.mode == FileMode::Read,
            })
        });
    owned
        .filter(|file| (file.uid, file.gid) != (identity.uid, identity.gid))
        .collect()
}

/// Gives QEMU's user these files. On an error those already lent are given
/// back; what need not be lent is taken out.
pub(crate) fn lend(files: &mut Vec<LentFile>, identity: Option<&Identity>) -> Result<()> {
    let Some(identity) = identity else {
        return Ok(());
    };
    let mut lent = Vec::with_capacity(files.len());
    for file in files.drain(..) {
        match std::os::unix::fs::chown(&file.path, Some(identity.uid), Some(identity.gid)) {
            Ok(()) => lent.push(file),
            // A file system without owners (or a read-only one) may still let QEMU in.
            Err(_) if file.read_only => {}
            Err(error) => {
                give_back(&lent);
                return Err(EngineError::system(
                    &format!("cannot give '{}' to QEMU's user", file.path.display()),
                    error,
                ));
            }
        }
    }
    *files = lent;
    Ok(())
}

fn is_lent(file: &FileAccess) -> bool {
    let private = match file.role {
        FileRole::Image | FileRole::Variables | FileRole::Boot => true,
        FileRole::Device => is_own_device(file),
        _ => false,
    };
    // What several machines read, or share for writing, keeps its owner where
    // everybody may read it already.
    let readable = file.mode == FileMode::Read && is_world_readable(&file.path);
    private && !readable
}

/// Whether it is a device that is a machine's own and that its QEMU could not open: a disk, a serial
/// port, an input device. What every QEMU opens is not lent by one of them to another.
fn is_own_device(file: &FileAccess) -> bool {
    use std::os::unix::fs::FileTypeExt;
    /// Everybody may read and write.
    const EVERYBODY: u32 = 0o006;
    let path = Path::new(&file.path);
    let Ok(metadata) = std::fs::metadata(path) else {
        return false;
    };
    let kind = metadata.file_type();
    let is_everybodys = metadata.mode() & EVERYBODY == EVERYBODY;
    let is_every_machines = COMMON_DEVICES
        .iter()
        .any(|common| path == Path::new(common));
    (kind.is_block_device() || kind.is_char_device()) && !is_everybodys && !is_every_machines
}

fn is_world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o004 != 0)
}

/// Gives lent files back to their owners.
pub(crate) fn give_back(lent: &[LentFile]) {
    for file in lent {
        if let Err(error) = std::os::unix::fs::chown(&file.path, Some(file.uid), Some(file.gid))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %file.path.display(), %error, "a file's owner could not be restored");
        }
    }
}

/// Every path the process may reach.
pub(crate) fn rules(
    files: &[FileAccess],
    images: &[PathBuf],
    emulator: &Path,
    run_dir: &Path,
) -> Vec<PathRule> {
    let mut rules: Vec<PathRule> = SYSTEM_DIRECTORIES
        .iter()
        .map(|(path, access)| PathRule {
            path: path.into(),
            access: *access,
        })
        .chain(COMMON_DEVICES.iter().map(|path| PathRule {
            path: path.into(),
            access: Access::Write,
        }))
        .collect();
    rules.push(PathRule {
        path: emulator.to_owned(),
        access: Access::Execute,
    });
    rules.push(PathRule {
        path: run_dir.to_owned(),
        access: Access::Write,
    });
    rules.extend(files.iter().map(rule_for));
    for image in images {
        rules.extend(backing_rules(image));
    }
    rules.retain(|rule| rule.path.exists());
    rules.sort();
    rules.dedup();
    rules
}

fn rule_for(file: &FileAccess) -> PathRule {
    match (file.mode, file.role) {
        // To make a file QEMU needs its directory.
        (FileMode::Create, _) | (_, FileRole::Socket) => {
            let directory = file.path.parent().unwrap_or(&file.path);
            PathRule {
                path: directory.to_owned(),
                access: Access::Write,
            }
        }
        (FileMode::ReadWrite, _) => PathRule {
            path: file.path.clone(),
            access: Access::Write,
        },
        (FileMode::Read, _) => PathRule {
            path: file.path.clone(),
            access: Access::Read,
        },
    }
}

/// The images behind an image, to be read. Only a header of a format the
/// definition declares is believed, since a guest can write any header into a
/// raw disk.
fn backing_rules(image: &Path) -> Vec<PathRule> {
    let mut rules = Vec::new();
    let mut image = image.to_owned();
    while let Some(backing) = backing_of(&image) {
        if rules.len() == BACKING_DEPTH_MAX || !may_stand_behind(&image, &backing.path) {
            break;
        }
        rules.push(PathRule {
            path: backing.path.clone(),
            access: Access::Read,
        });
        if backing.format.as_deref() != Some("qcow2") {
            break;
        }
        image = backing.path;
    }
    rules
}

/// Whether a file that an image's header names may be opened on behalf of a
/// guest. A header can be written by anybody who ever held the image, and can
/// name any file of the host: it is followed to images beside the image, and to
/// others that can be images by their place and length.
pub(crate) fn may_stand_behind(image: &Path, backing: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let (Some(image), Some(backing)) = (real(image), real(backing)) else {
        return false;
    };
    let Ok(metadata) = std::fs::metadata(&backing) else {
        return false;
    };
    if metadata.file_type().is_block_device() {
        return true;
    }
    let is_beside = image.parent() == backing.parent();
    let is_systems = NO_IMAGES.iter().any(|place| backing.starts_with(place));
    let is_whole = metadata.len() % SECTOR_BYTES == 0 || image_has_header(&backing);
    metadata.is_file() && (is_beside || (!is_systems && is_whole))
}

/// Whether a file says that it is an image; only such files are not whole sectors long.
fn image_has_header(path: &Path) -> bool {
    let image = crate::pools::scan::image_of(path);
    image.is_some_and(|image| image.format != "raw")
}

/// What an image is based on, by its own header.
#[derive(Debug)]
pub(crate) struct Backing {
    pub(crate) path: PathBuf,
    /// Its format, if the header says it.
    pub(crate) format: Option<String>,
}

/// The backing file a qcow2 header names (QEMU's `docs/interop/qcow2`: magic,
/// version, then offset and length of the name).
pub(crate) fn backing_of(image: &Path) -> Option<Backing> {
    let mut head = Vec::new();
    std::fs::File::open(image)
        .ok()?
        .take(64 * 1024)
        .read_to_end(&mut head)
        .ok()?;
    if head.get(..4)? != b"QFI\xfb" {
        return None;
    }
    let offset = usize::try_from(u64::from_be_bytes(head.get(8..16)?.try_into().ok()?)).ok()?;
    let length = u32::from_be_bytes(head.get(16..20)?.try_into().ok()?) as usize;
    if offset == 0 || length == 0 || length > 1023 {
        return None;
    }
    let name = std::str::from_utf8(head.get(offset..offset.checked_add(length)?)?).ok()?;
    let name = name.strip_prefix("file:").unwrap_or(name);
    let path = match Path::new(name) {
        path if path.is_absolute() => path.to_owned(),
        path => image.parent()?.join(path),
    };
    Some(Backing {
        format: backing_format(&head),
        path,
    })
}

/// The format of the backing file, from the header's extension 0xe2792aca.
fn backing_format(head: &[u8]) -> Option<String> {
    let version = u32::from_be_bytes(head.get(4..8)?.try_into().ok()?);
    let mut at = match version {
        2 => 72,
        _ => u32::from_be_bytes(head.get(100..104)?.try_into().ok()?) as usize,
    };
    loop {
        let kind = u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?);
        let length = u32::from_be_bytes(head.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        match kind {
            0 => return None,
            0xe279_2aca => {
                let text = head.get(at + 8..at.checked_add(8 + length)?)?;
                return Some(String::from_utf8_lossy(text).into_owned());
            }
            _ => {
                at = at
                    .checked_add(8)?
                    .checked_add(length.checked_next_multiple_of(8)?)?
            }
        }
    }
}

/// A domain's name as a file's: names may not hold a slash, and one that
/// starts with a dot must not become a hidden file or a way up.
pub(crate) fn file_name(name: &str) -> String {
    let name = name.replace('/', "_");
    if name.starts_with('.') {
        format!("_{name}")
    } else {
        name
    }
}
