//! Devices that are changed in place.

use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::disk::{Disk, DiskDevice};
use model::domain::graphics::Graphics;
use model::domain::interface::LinkState;
use model::domain::memory_device::MemoryDevice;
use qemu::command_line::Step;
use qemu::qmp::{Command, Done, commands};

/// The commands that make one definition of the other, for what can be
/// changed in place.
pub(super) fn update_commands(before: &Domain, after: &Domain) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for (old, new) in before.devices.disks.iter().zip(&after.devices.disks) {
        if old.source != new.source || old.kind != new.kind {
            steps.push(change_medium(new)?);
        }
    }
    for (old, new) in before
        .devices
        .interfaces
        .iter()
        .zip(&after.devices.interfaces)
    {
        if old.link != new.link {
            let alias = new.info.alias.as_deref().unwrap_or_default();
            let up = new
                .link
                .as_ref()
                .is_none_or(|link| link.state != LinkState::Down);
            steps.push(Step::Run(commands::set_link(alias, up)));
        }
    }
    for (old, new) in before.devices.memories.iter().zip(&after.devices.memories) {
        let requested = |module: &MemoryDevice| module.target.as_ref().and_then(|t| t.requested);
        if let Some(size) = requested(new).filter(|size| requested(old) != Some(*size)) {
            let alias = new.info.alias.as_deref().unwrap_or_default();
            let path = format!("/machine/peripheral/{alias}");
            let bytes = (size.0 * 1024).into();
            let command = commands::qom_set(&path, "requested-size", bytes);
            steps.push(Step::Run(command));
        }
    }
    for (old, new) in before.devices.graphics.iter().zip(&after.devices.graphics) {
        if old.password != new.password {
            steps.push(Step::Run(set_password(new)));
        }
    }
    Ok(steps)
}

fn change_medium(disk: &Disk) -> Result<Step> {
    if !matches!(disk.device, DiskDevice::Cdrom | DiskDevice::Floppy) {
        return Err(EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!(
                "the source of disk '{}' cannot be changed while the machine runs",
                disk.target_dev()
            ),
        ));
    }
    let alias = disk.info.alias.as_deref().unwrap_or_default();
    let Some(path) = disk.source_path() else {
        return Ok(Step::Run(
            Command::new("eject").arg("id", alias).arg("force", true),
        ));
    };
    let command = Command::new("blockdev-change-medium")
        .arg("id", alias)
        .arg("format", disk.format().as_str())
        .arg("read-only-mode", "read-only");
    Ok(Step::WithFile {
        path: path.into(),
        write: false,
        command,
    })
}

fn set_password(graphics: &Graphics) -> Command<Done> {
    use model::domain::graphics::GraphicsType;
    let protocol = match graphics.kind {
        GraphicsType::Spice => commands::DisplayProtocol::Spice,
        _ => commands::DisplayProtocol::Vnc,
    };
    let secret = graphics.password.secret.as_deref().unwrap_or_default();
    commands::set_password(protocol, secret, None)
}
