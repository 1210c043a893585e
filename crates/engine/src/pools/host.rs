//! What is done to the host for a pool: directories, file systems, mounts. Everything here may
//! block.

use crate::error::{EngineError, ErrorKind, Result};
use model::storage::{Permissions, PoolDefinition, PoolKind, PoolSizes};
use std::fs::{DirBuilder, Permissions as Mode};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// What happens to a file system that is there already when a pool is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// None is made: the directory alone.
    DirectoryOnly,
    /// It is kept, and the build fails.
    Never,
    /// It is lost.
    Always,
}

/// The permission bits of a directory nobody gave others for.
const DIRECTORY_MODE: u32 = 0o711;
/// And of those above it.
const PARENT_MODE: u32 = 0o755;
/// Where virt-install keeps what it has fetched for a machine's first start. It makes the pool and
/// takes the directory for granted, since libvirt's own packages bring it.
const BOOT_DIRECTORY: &str = "/var/lib/libvirt/boot";
/// How a pool's file system is mounted: nothing in it may act.
const MOUNT_OPTIONS: &str = "nodev,nosuid,noexec";

fn path(definition: &PoolDefinition) -> &Path {
    Path::new(definition.path.as_deref().unwrap_or_default())
}

/// Makes the directory, and the file system where one is asked for.
pub(super) fn build(definition: &PoolDefinition, overwrite: Overwrite) -> Result<()> {
    make_directory(definition)?;
    match (overwrite, definition.kind) {
        (Overwrite::DirectoryOnly, _) => Ok(()),
        (_, PoolKind::Fs) => make_file_system(definition, overwrite == Overwrite::Always),
        _ => Err(EngineError::invalid(format!(
            "No source device specified when formatting pool '{}'",
            definition.name
        ))),
    }
}

fn make_directory(definition: &PoolDefinition) -> Result<()> {
    let path = path(definition);
    let failed = |e| EngineError::io(&format!("cannot create path '{}'", path.display()), &e);
    let wanted = &definition.permissions;
    if let Some(parent) = path.parent() {
        let mut parents = DirBuilder::new();
        parents.recursive(true).mode(PARENT_MODE);
        parents.create(parent).map_err(failed)?;
    }
    let is_new = match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => true,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => false,
        Err(e) => return Err(failed(e)),
    };
    // The mode asked for, whatever the umask says.
    let mode = wanted.mode.or(is_new.then_some(DIRECTORY_MODE));
    if let Some(mode) = mode {
        std::fs::set_permissions(path, Mode::from_mode(mode)).map_err(failed)?;
    }
    if wanted.owner.is_some() || wanted.group.is_some() {
        std::os::unix::fs::chown(path, wanted.owner, wanted.group).map_err(failed)?;
    }
    Ok(())
}

fn device(definition: &PoolDefinition) -> Result<&str> {
    let device = definition.source.devices.first();
    device.map(|device| device.path.as_str()).ok_or_else(|| {
        let what = format!("pool '{}' has no source device", definition.name);
        EngineError::new(ErrorKind::ConfigUnsupported, what)
    })
}

fn make_file_system(definition: &PoolDefinition, overwrite: bool) -> Result<()> {
    let device = device(definition)?;
    let format = definition.source.format.as_deref().unwrap_or("auto");
    if format == "auto" {
        let what = format!(
            "pool '{}' names no file system to make: give its source format",
            definition.name
        );
        return Err(EngineError::new(ErrorKind::ConfigUnsupported, what));
    }
    if !overwrite && let Some(found) = file_system_on(device)? {
        return Err(EngineError::failed(format!(
            "Format of device '{device}' is already '{found}': build with --overwrite to lose it"
        )));
    }
    let mut command = Command::new(format!("mkfs.{format}"));
    match format {
        "xfs" | "btrfs" if overwrite => _ = command.arg("-f"),
        "ext2" | "ext3" | "ext4" => _ = command.args(["-q", "-F"]),
        _ => {}
    }
    command.arg(device);
    run(
        command,
        &format!("Failed to make filesystem of type '{format}' on device '{device}'"),
    )
    .map(drop)
}

/// What blkid finds on a device.
fn file_system_on(device: &str) -> Result<Option<String>> {
    /// blkid's word for having found nothing.
    const NOTHING_FOUND: i32 = 2;
    let mut command = Command::new("blkid");
    command.args(["-p", "-o", "value", "-s", "TYPE", device]);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| EngineError::system("cannot run blkid", e))?;
    if output.status.code() == Some(NOTHING_FOUND) {
        return match Path::new(device).exists() {
            true => Ok(None),
            false => Err(EngineError::failed(format!(
                "there is no device '{device}'"
            ))),
        };
    }
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() {
        true => Ok(Some(found)),
        // Several at once, or a device that cannot be read: better not to touch it.
        false => Err(EngineError::failed(format!(
            "cannot tell what is on device '{device}': {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

/// Mounts what is to be mounted.
pub(super) fn start(definition: &PoolDefinition) -> Result<()> {
    if path(definition) == Path::new(BOOT_DIRECTORY) {
        make_directory(definition)?;
    }
    if definition.kind != PoolKind::Fs {
        return Ok(());
    }
    let (device, path) = (device(definition)?, path(definition));
    if is_mounted(path) {
        return Ok(());
    }
    let mut options = vec![MOUNT_OPTIONS.to_owned()];
    options.extend(definition.mount_options.iter().cloned());
    let format = definition.source.format.as_deref().unwrap_or("auto");
    let mut command = Command::new("mount");
    command.args(["-t", format, "-o", &options.join(","), device]);
    command.arg(path);
    let failed = format!("cannot mount '{device}' on '{}'", path.display());
    run(command, &failed).map(drop)
}

/// Unmounts what was mounted. A file system that hangs or is in use goes as soon as it can.
pub(super) fn stop(definition: &PoolDefinition) -> Result<()> {
    let path = path(definition);
    if definition.kind != PoolKind::Fs || !is_mounted(path) {
        return Ok(());
    }
    let mut command = Command::new("umount");
    command.arg("--lazy").arg(path);
    run(command, &format!("cannot unmount '{}'", path.display())).map(drop)
}

/// Whether a pool that the last daemon used is still as it was.
pub(super) fn is_started(definition: &PoolDefinition) -> bool {
    definition.kind != PoolKind::Fs || is_mounted(path(definition))
}

/// Whether something is mounted at a directory; asks the kernel's list, not the directory.
fn is_mounted(path: &Path) -> bool {
    let Ok(list) = std::fs::read_to_string("/proc/self/mounts") else {
        return false;
    };
    let wanted = path.to_string_lossy();
    list.lines()
        .filter_map(|line| line.split(' ').nth(1))
        .any(|place| unescape(place) == wanted)
}

/// The list of mounts writes blanks and the like as three octal digits.
fn unescape(place: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = place.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\')
            .then(|| std::str::from_utf8(after.get(..3)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Removes the directory.
pub(super) fn delete(definition: &PoolDefinition) -> Result<()> {
    let path = path(definition);
    let failed = |e| EngineError::io(&format!("failed to remove pool '{}'", path.display()), &e);
    std::fs::remove_dir(path).map_err(failed)
}

/// The space of the file system a pool is on, and whose its directory is.
pub(super) fn measure(definition: &PoolDefinition) -> Result<(PoolSizes, Permissions)> {
    let path = path(definition);
    let failed = |e: &std::io::Error| {
        EngineError::io(&format!("cannot open directory '{}'", path.display()), e)
    };
    let metadata = std::fs::metadata(path).map_err(|e| failed(&e))?;
    let usage = sys::usage::usage(path).map_err(|e| failed(e.cause()))?;
    let sizes = PoolSizes {
        capacity: usage.total,
        allocation: usage.used,
        available: usage.total.saturating_sub(usage.used),
    };
    let permissions = Permissions {
        mode: Some(metadata.mode() & 0o777),
        owner: Some(metadata.uid()),
        group: Some(metadata.gid()),
        label: None,
    };
    Ok((sizes, permissions))
}

/// Runs a program; its own words are the error.
fn run(mut command: Command, failed: &str) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| {
        let what = match e.kind() {
            std::io::ErrorKind::NotFound => {
                format!("{failed}: {program} is not installed")
            }
            _ => format!("{failed}: cannot run {program}: {e}"),
        };
        EngineError::failed(what)
    })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(EngineError::failed(format!(
            "{failed}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_list_of_mounts_are_read() {
        assert_eq!(unescape("/a\\040b"), "/a b");
        assert_eq!(unescape("/a\\9"), "/a\\9");
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(Path::new("/proc/self")));
    }
}
