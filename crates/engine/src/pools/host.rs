//! What is done to the host for a pool: directories, file systems, mounts. Everything here may
//! block.

use crate::error::{EngineError, ErrorKind, Result};
use crate::mounts;
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
    if !Path::new(device).exists() {
        return Err(no_device(device));
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
            false => Err(no_device(device)),
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
    if let Some(mounted) = mounts::at(path) {
        return match mounted.is_other_than(device) {
            false => Ok(()),
            true => Err(EngineError::failed(format!(
                "'{}' is mounted at '{}' already, and the pool's device is '{device}': unmount it \
                 first",
                mounted.source,
                path.display()
            ))),
        };
    }
    if !path.is_dir() {
        return Err(EngineError::failed(format!(
            "there is no directory '{}' to mount '{device}' at: pool-build makes it",
            path.display()
        )));
    }
    if Path::new(device).is_absolute() && !Path::new(device).exists() {
        return Err(no_device(device));
    }
    let mut options = vec![MOUNT_OPTIONS.to_owned()];
    options.extend(definition.mount_options.iter().cloned());
    let format = definition.source.format.as_deref().unwrap_or("auto");
    let mut command = Command::new("mount");
    command.args(["-t", format, "-o", &options.join(","), device]);
    command.arg(path);
    let failed = format!("cannot mount '{device}' on '{}'", path.display());
    run(command, &failed)
        .map(drop)
        .map_err(|error| explain_mount(error, definition, device))
}

/// mount's words without its own hints, and what the device holds where that is not what the pool
/// says.
fn explain_mount(error: EngineError, definition: &PoolDefinition, device: &str) -> EngineError {
    let path = path(definition).display();
    let prefix = format!("mount: {path}: ");
    let lines = error.message.lines().map(str::trim);
    let lines: Vec<_> = lines.filter(|line| !line.starts_with("dmesg(1)")).collect();
    let said = lines.join(" ").replacen(&prefix, "", 1);
    let said = said.trim_end_matches('.');
    let wanted = definition.source.format.as_deref().unwrap_or("auto");
    let hint = match file_system_on(device) {
        Ok(None) => "; the device holds no file system: pool-build --no-overwrite makes one".into(),
        Ok(Some(found)) if found != wanted && wanted != "auto" => {
            format!("; the device holds '{found}' and the pool says '{wanted}'")
        }
        _ => String::new(),
    };
    EngineError::new(error.kind, format!("{said}{hint}"))
}

fn no_device(device: &str) -> EngineError {
    EngineError::failed(format!("there is no device '{device}'"))
}

/// Fails where an active pool's file system was unmounted: what is made now would lie elsewhere.
pub(super) fn check_started(definition: &PoolDefinition) -> Result<()> {
    match is_started(definition) {
        true => Ok(()),
        false => Err(EngineError::invalid(format!(
            "nothing is mounted at '{}' of storage pool '{}' any more: pool-destroy (which deletes \
             nothing) and pool-start mount it again",
            path(definition).display(),
            definition.name
        ))),
    }
}

/// Unmounts what was mounted. A file system that hangs or is in use goes as soon as it can.
pub(super) fn stop(definition: &PoolDefinition) -> Result<()> {
    let path = path(definition);
    if definition.kind != PoolKind::Fs || mounts::at(path).is_none() {
        return Ok(());
    }
    let mut command = Command::new("umount");
    command.arg("--lazy").arg(path);
    run(command, &format!("cannot unmount '{}'", path.display())).map(drop)
}

/// Whether a pool that the last daemon used is still as it was.
pub(super) fn is_started(definition: &PoolDefinition) -> bool {
    definition.kind != PoolKind::Fs || mounts::at(path(definition)).is_some()
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
