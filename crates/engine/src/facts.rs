//! What the engine needs to know of a definition, read off the model.

use crate::view::Summary;
use model::domain::Domain;
use model::domain::chardev::ChardevType;
use model::domain::clock::LifecycleAction;
use model::domain::serial::ChannelState;
use qemu::machine::{EndAction, EndPolicy};
use uuid::Uuid;

/// The channel that the guest agent speaks on.
pub(crate) const AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";

impl Summary {
    /// Of a complete definition.
    pub(crate) fn of(domain: &Domain) -> Self {
        Self {
            max_memory_kib: domain.memory.size.0,
            memory_kib: current_memory_kib(domain),
            max_vcpus: domain.vcpu.count(),
            vcpus: domain.vcpu.current(),
            os_type: os_type(domain).into(),
            title: domain.title.as_deref().map(Into::into),
            has_secrets: domain
                .devices
                .graphics
                .iter()
                .any(|g| g.password.secret.is_some()),
        }
    }
}

/// The uuid; every complete definition has one.
pub(crate) fn uuid(domain: &Domain) -> Uuid {
    domain.uuid.unwrap_or_default()
}

pub(crate) fn os_type(domain: &Domain) -> &str {
    domain
        .os
        .kind
        .as_ref()
        .and_then(|kind| kind.kind.as_deref())
        .unwrap_or("hvm")
}

pub(crate) fn current_memory_kib(domain: &Domain) -> u64 {
    domain
        .current_memory
        .map_or(domain.memory.size.0, |memory| memory.0)
}

/// What to do at the guest's end.
pub(crate) fn end_policy(domain: &Domain) -> EndPolicy {
    let action = |given: Option<LifecycleAction>, default| given.map_or(default, end_action);
    let defaults = EndPolicy::default();
    EndPolicy {
        on_poweroff: action(domain.on_poweroff, defaults.on_poweroff),
        on_reboot: action(domain.on_reboot, defaults.on_reboot),
        on_crash: action(domain.on_crash, defaults.on_crash),
    }
}

fn end_action(action: LifecycleAction) -> EndAction {
    match action {
        LifecycleAction::Destroy => EndAction::Destroy,
        LifecycleAction::Restart | LifecycleAction::RenameRestart => EndAction::Restart,
        LifecycleAction::Preserve => EndAction::Preserve,
        LifecycleAction::CoredumpDestroy => EndAction::DumpAndDestroy,
        LifecycleAction::CoredumpRestart => EndAction::DumpAndRestart,
    }
}

/// Whether the guest has an ACPI power button.
pub(crate) fn has_acpi(domain: &Domain) -> bool {
    domain
        .features
        .as_ref()
        .is_some_and(|features| features.acpi)
}

/// The file of the UEFI variables.
pub(crate) fn nvram_path(domain: &Domain) -> Option<&str> {
    domain
        .os
        .nvram
        .as_ref()
        .and_then(|nvram| nvram.path.as_deref())
}

/// The source of the disk with this alias.
pub(crate) fn disk_source(domain: &Domain, alias: &str) -> Option<String> {
    let disk = domain
        .devices
        .disks
        .iter()
        .find(|d| d.info.alias.as_deref() == Some(alias))?;
    disk.source_path().map(str::to_owned)
}

/// The socket of the guest agent's channel on the host.
pub(crate) fn agent_socket(domain: &Domain) -> Option<&str> {
    let channel = domain.devices.channels.iter().find(|channel| {
        channel.chardev.kind == ChardevType::Unix
            && channel.target.as_ref().and_then(|t| t.name.as_deref()) == Some(AGENT_CHANNEL)
    })?;
    channel.chardev.path()
}

/// Notes that a program in the guest opened or closed a channel; says whether
/// it is the guest agent's.
pub(crate) fn set_channel_state(domain: &mut Domain, alias: &str, open: bool) -> bool {
    let found = domain
        .devices
        .channels
        .iter_mut()
        .find(|c| c.info.alias.as_deref() == Some(alias));
    let Some(target) = found.and_then(|channel| channel.target.as_mut()) else {
        return false;
    };
    target.state = Some(if open {
        ChannelState::Connected
    } else {
        ChannelState::Disconnected
    });
    target.name.as_deref() == Some(AGENT_CHANNEL)
}

/// The serial ports and consoles that are terminals: alias and terminal.
pub(crate) fn terminals(domain: &Domain) -> Vec<(String, String)> {
    let serials = domain.devices.serials.iter().map(|s| (&s.info, &s.chardev));
    let consoles = domain
        .devices
        .consoles
        .iter()
        .map(|c| (&c.info, &c.chardev));
    let mut found: Vec<(String, String)> = Vec::new();
    for (info, chardev) in serials.chain(consoles) {
        let (Some(alias), ChardevType::Pty) = (&info.alias, chardev.kind) else {
            continue;
        };
        let Some(path) = chardev.path() else { continue };
        // The first console is the first serial port once more.
        if found.iter().all(|(_, terminal)| terminal != path) {
            found.push((alias.clone(), path.to_owned()));
        }
    }
    found
}

/// Records the terminal QEMU made for the chardev of the device with this alias.
pub(crate) fn set_terminal(domain: &mut Domain, alias: &str, terminal: &str) {
    let devices = &mut domain.devices;
    let mut serial_is_first = false;
    for (index, serial) in devices.serials.iter_mut().enumerate() {
        if serial.info.alias.as_deref() == Some(alias) {
            set_chardev_terminal(&mut serial.chardev, terminal, false);
            serial_is_first = index == 0;
        }
    }
    for (index, console) in devices.consoles.iter_mut().enumerate() {
        let is_it = console.info.alias.as_deref() == Some(alias);
        if is_it || (index == 0 && serial_is_first) {
            set_chardev_terminal(&mut console.chardev, terminal, true);
        }
    }
    for channel in &mut devices.channels {
        if channel.info.alias.as_deref() == Some(alias) {
            set_chardev_terminal(&mut channel.chardev, terminal, false);
        }
    }
    for parallel in &mut devices.parallels {
        if parallel.info.alias.as_deref() == Some(alias) {
            set_chardev_terminal(&mut parallel.chardev, terminal, false);
        }
    }
}

fn set_chardev_terminal(
    chardev: &mut model::domain::chardev::Chardev,
    terminal: &str,
    with_tty: bool,
) {
    if chardev.sources.is_empty() {
        chardev.sources.push(Default::default());
    }
    chardev.sources[0].path = Some(terminal.to_owned());
    if with_tty {
        chardev.tty = Some(terminal.to_owned());
    }
}

/// Whether QEMU makes a terminal for any device.
pub(crate) fn wants_terminals(domain: &Domain) -> bool {
    let devices = &domain.devices;
    let chardevs = devices.serials.iter().map(|d| &d.chardev);
    chardevs
        .chain(devices.consoles.iter().map(|d| &d.chardev))
        .chain(devices.channels.iter().map(|d| &d.chardev))
        .chain(devices.parallels.iter().map(|d| &d.chardev))
        .any(|chardev| chardev.kind == ChardevType::Pty)
}

/// Gives channels whose socket has no path one in the run's directory. A path in the directory of
/// another run (the definition was taken from that run) is none.
pub(crate) fn place_sockets(domain: &mut Domain, run_dir: &std::path::Path) {
    let runs = run_dir.parent().unwrap_or(run_dir);
    for (index, channel) in domain.devices.channels.iter_mut().enumerate() {
        let path = channel.chardev.path().map(std::path::Path::new);
        let is_placed = path.is_some_and(|path| !path.starts_with(runs));
        if channel.chardev.kind != ChardevType::Unix || is_placed {
            continue;
        }
        let name = channel.target.as_ref().and_then(|t| t.name.as_deref());
        let name = name.map_or_else(|| format!("channel{index}"), crate::files::file_name);
        if channel.chardev.sources.is_empty() {
            channel.chardev.sources.push(Default::default());
        }
        let source = &mut channel.chardev.sources[0];
        source
            .mode
            .get_or_insert(model::domain::chardev::SocketMode::Bind);
        source.path = Some(run_dir.join(name).to_string_lossy().into_owned());
    }
}

/// Whether the running definition says that the guest agent is there.
pub(crate) fn agent_is_connected(domain: &Domain) -> bool {
    domain
        .devices
        .channels
        .iter()
        .filter_map(|c| c.target.as_ref())
        .any(|target| {
            target.name.as_deref() == Some(AGENT_CHANNEL)
                && target.state == Some(ChannelState::Connected)
        })
}

/// The disk images whose own headers are believed: those declared as qcow2.
pub(crate) fn header_images(domain: &Domain) -> Vec<std::path::PathBuf> {
    let disks = domain.devices.disks.iter();
    disks
        .filter(|disk| disk.format() == model::domain::storage::ImageFormat::Qcow2)
        .filter(|disk| disk.source.as_ref().is_none_or(|s| s.fdgroup.is_none()))
        .filter_map(|disk| disk.source_path().map(Into::into))
        .collect()
}

/// The balloon's alias; none where the machine has no balloon.
pub(crate) fn balloon_alias(domain: &Domain) -> Option<&str> {
    let balloon = domain.devices.memballoon.as_ref()?;
    if balloon.model == model::domain::misc_devices::BalloonModel::None {
        return None;
    }
    balloon.info.alias.as_deref()
}
