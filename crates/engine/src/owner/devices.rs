//! Devices that come and go, in the stored definition and in the running
//! machine.

use super::change::ChangeEnd;
use super::errand::ErrandEnd;
use super::{Owner, Reply, answer};
use crate::definition::Definition;
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::Happening;
use crate::limits::UNPLUG_TIMEOUT_MS;
use crate::live::{LiveMachine, Unplugged};
use crate::options::{Affect, DeviceChange};
use crate::run;
use crate::secrets::SecretValue;
use crate::snapshots::nodes::open_timeout_ms;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use model::domain::Domain;
use model::domain::change::DeviceKey;
use model::domain::controller::ControllerType;
use model::domain::interface::{Interface, LinkState};
use model::domain::memory_device::MemoryDevice;
use model::secret::SecretUse;
use qemu::command_line::{Launch, Step, command_line, plug};
use qemu::machine::Operation;
use qemu::qmp::{Command, Done, commands};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What is to be done to a running machine.
enum Plan {
    /// Carry out the steps; then the machine is as the definition says.
    Plug {
        steps: Vec<Step>,
        after: Box<Domain>,
        alias: Option<String>,
        given: Given,
    },
    /// Ask the guest to let go of a device; QEMU tells when it has.
    Unplug { alias: String, wait: bool },
    /// Run these commands, with a file for the first where there is one, and
    /// connect the cards anew that are on another network.
    Change {
        commands: Vec<Step>,
        cards: Vec<(Interface, Interface)>,
        after: Box<Domain>,
    },
}

impl Owner {
    pub(super) async fn change_device(
        &mut self,
        change: DeviceChange,
        xml: String,
        affect: Affect,
        reply: Reply<()>,
    ) {
        match self.plan_device_change(change, &xml, affect).await {
            Err(error) => answer(reply, Err(error)),
            Ok((None, stored)) => {
                let end = ChangeEnd {
                    reply,
                    result: Ok(()),
                    live: None,
                    stored,
                    told: None,
                };
                self.changed(end).await;
            }
            Ok((Some((live, plan)), stored)) => {
                let engine = self.engine.clone();
                self.hold("device", async move {
                    let end = carry_out(&engine, &live, plan, stored, reply).await;
                    ErrandEnd::Change(Box::new(end))
                });
            }
        }
    }

    async fn plan_device_change(
        &self,
        change: DeviceChange,
        xml: &str,
        affect: Affect,
    ) -> Result<(Option<(Arc<LiveMachine>, Plan)>, Option<Definition>)> {
        let affect = self.resolve(affect)?;
        let mut stored = None;
        if affect.config {
            let mut domain = self.stored_definition()?;
            self.apply(&mut domain, change, xml).await?;
            stored = Some(Definition::of(domain));
        }
        if !affect.live {
            return Ok((None, stored));
        }
        self.admit(Operation::UseMonitor)?;
        let live = self.live()?;
        let before = live.definition();
        let plan = match change {
            DeviceChange::Detach | DeviceChange::DetachAlias => {
                let key = find(&before, change, xml)?;
                let alias = before.device_alias(&key).ok_or_else(|| {
                    EngineError::new(
                        ErrorKind::NoSuchDevice,
                        "the device cannot be unplugged: it has no alias",
                    )
                })?;
                Plan::Unplug {
                    alias,
                    wait: change == DeviceChange::Detach,
                }
            }
            DeviceChange::Attach => {
                let mut after = Domain::clone(&before);
                self.apply(&mut after, change, xml).await?;
                self.engine.place_volumes(&mut after)?;
                crate::facts::place_sockets(&mut after, &live.run_dir);
                after.assign_aliases();
                keep_live_parts(&before, &mut after);
                after.number_images();
                check_room(&before, &after)?;
                crate::fd_groups::check_new(&before, &after)?;
                let alias = new_alias(&before, &after);
                let taps = self.connect_new(&before, &mut after).await?;
                let (old, new) = (
                    self.launch_of(&live, &before).await?,
                    self.launch_of(&live, &after).await?,
                );
                let steps = plug(&old, &new).map_err(unsupported)?;
                let secrets = self.secrets_for(&steps)?;
                Plan::Plug {
                    steps,
                    after: Box::new(after),
                    alias,
                    given: Given { taps, secrets },
                }
            }
            DeviceChange::Update => {
                let mut after = Domain::clone(&before);
                self.apply(&mut after, change, xml).await?;
                crate::fd_groups::check_new(&before, &after)?;
                self.engine.place_volumes(&mut after)?;
                after.number_images();
                let cards = self.settle_changed(&before, &mut after).await?;
                self.engine.check_filters(&after)?;
                Plan::Change {
                    commands: update_commands(&before, &after)?,
                    cards,
                    after: Box::new(after),
                }
            }
        };
        Ok((Some((live, plan)), stored))
    }

    async fn apply(&self, domain: &mut Domain, change: DeviceChange, xml: &str) -> Result<()> {
        match change {
            DeviceChange::Attach => domain.attach_device(xml).map_err(xml_error)?,
            DeviceChange::Update => domain.update_device(xml).map_err(xml_error)?,
            DeviceChange::Detach | DeviceChange::DetachAlias => {
                let key = find(domain, change, xml)?;
                domain.remove_device(&key);
            }
        }
        if change == DeviceChange::Attach {
            let mut context = self.engine.define_context(domain).await?;
            context.abi_update = false;
            domain.complete(&context).map_err(xml_error)?;
        }
        Ok(())
    }

    /// Connects cards that a running machine does not have yet.
    async fn connect_new(
        &self,
        before: &Domain,
        after: &mut Domain,
    ) -> Result<crate::taps::Queues> {
        let known = aliases(before);
        let is_new = |alias: &str| !known.iter().any(|other| other == alias);
        let new_card = |card: &Interface| is_new(card.info.alias.as_deref().unwrap_or_default());
        let connected = self.connect_cards(after, is_new, new_card).await;
        if connected.is_err() {
            for card in after
                .devices
                .interfaces
                .iter()
                .filter(|card| new_card(card))
            {
                self.engine.disconnect_card(after, card).await;
            }
        }
        connected
    }

    async fn connect_cards(
        &self,
        after: &mut Domain,
        is_new: impl Fn(&str) -> bool,
        new_card: impl Fn(&Interface) -> bool,
    ) -> Result<crate::taps::Queues> {
        let engine = &self.engine;
        engine.settle_networks(after, &new_card).await?;
        engine.announce_ports(after, &new_card).await?;
        engine.take_functions(after, &new_card)?;
        crate::taps::name_lasting(after, &is_new)?;
        let mut taps = crate::taps::make(after, &is_new)?;
        engine.join_switches(after, &new_card).await?;
        if !taps.is_empty() {
            engine.rule_machine(after).await?;
        }
        let cgroup = self.live()?.cgroup.clone();
        taps.extend(crate::passt::start(
            engine,
            after,
            cgroup.as_ref(),
            &is_new,
        )?);
        Ok(taps)
    }

    /// Cards that are to be connected otherwise: as they are, and as they are to be.
    async fn settle_changed(
        &self,
        before: &Domain,
        after: &mut Domain,
    ) -> Result<Vec<(Interface, Interface)>> {
        let pairs = before.devices.interfaces.iter();
        let pairs = pairs.zip(&after.devices.interfaces);
        let changed: Vec<Interface> = pairs
            .filter(|(old, new)| {
                Interface {
                    link: new.link.clone(),
                    ..(*old).clone()
                } != **new
            })
            .map(|(old, _)| old.clone())
            .collect();
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let alias = |card: &Interface| card.info.alias.clone();
        let wanted = |card: &Interface| changed.iter().any(|old| alias(old) == alias(card));
        self.engine.settle_networks(after, wanted).await?;
        let settled = |old: Interface| {
            let new = card_of(after, old.info.alias.as_deref()?)?.clone();
            Some((old, new))
        };
        Ok(changed.into_iter().filter_map(settled).collect())
    }

    /// The values of the secrets that steps make.
    fn secrets_for(&self, steps: &[Step]) -> Result<Vec<SecretValue>> {
        let references = steps.iter().filter_map(|step| match step {
            Step::WithSecret { reference, .. } => Some(reference),
            _ => None,
        });
        references
            .map(|reference| self.engine.referred_secret(reference, SecretUse::Volume))
            .collect()
    }

    /// The command line a running machine would have with this definition.
    async fn launch_of(&self, live: &LiveMachine, domain: &Domain) -> Result<Launch> {
        let emulator = run::emulator(&self.engine, domain)?;
        let caps = self.engine.binaries().caps(&emulator).await?;
        let mut context = run::launch_context(domain, &live.run_dir);
        context.tpm_socket = crate::tpm::socket(domain, &live.run_dir);
        command_line(domain, &caps, &context).map_err(unsupported)
    }

    /// The guest has let go of a device: what was behind it goes too.
    pub(super) async fn device_gone(&mut self, alias: String) {
        let Some(live) = self.live.clone() else {
            return;
        };
        let before = live.definition();
        let mut after = Domain::clone(&before);
        after.remove_device(&DeviceKey::Alias(alias.clone()));
        let launches = (
            self.launch_of(&live, &before).await,
            self.launch_of(&live, &after).await,
        );
        live.set_definition(after);
        self.engine
            .write_status(&live, &self.entry, self.life.status());
        let gone = alias.clone();
        let card = card_of(&before, &alias).cloned();
        let engine = self.engine.clone();
        self.emit(Happening::DeviceRemoved { alias });
        if let (Ok(old), Ok(new)) = launches {
            // The way to plug it in again names the back ends to remove, last first.
            let backends = plug(&new, &old).unwrap_or_default();
            self.beside(async move {
                for step in backends.iter().rev() {
                    undo(&live, step).await;
                }
                if let Some(card) = &card {
                    engine.disconnect_card(&before, card).await;
                }
                live.unplugged(&gone, Unplugged::Gone);
                ErrandEnd::Nothing { held: false }
            });
        } else {
            live.unplugged(&gone, Unplugged::Gone);
        }
    }
}

/// The device meant, by its description or by its alias alone.
fn find(domain: &Domain, change: DeviceChange, text: &str) -> Result<DeviceKey> {
    match change {
        DeviceChange::DetachAlias => with_alias(domain, text).map(DeviceKey::Alias),
        _ => domain.find_device(text).map_err(xml_error),
    }
}

fn unsupported(error: qemu::command_line::Unsupported) -> EngineError {
    EngineError::new(ErrorKind::ConfigUnsupported, error.0)
}

/// Completing a definition drops what only the running machine knows: the
/// terminals QEMU made, the ports its displays have, the devices of its cards.
fn keep_live_parts(before: &Domain, after: &mut Domain) {
    for (alias, terminal) in crate::facts::terminals(before) {
        crate::facts::set_terminal(after, &alias, &terminal);
    }
    after.devices.graphics.clone_from(&before.devices.graphics);
    for card in &mut after.devices.interfaces {
        let alias = card.info.alias.as_deref().unwrap_or_default();
        if let Some(known) = card_of(before, alias) {
            card.target.clone_from(&known.target);
        }
    }
}

/// The bus of the root ports takes nothing while the machine runs, so ports
/// that a device would want beside it cannot come with it.
fn check_room(before: &Domain, after: &Domain) -> Result<()> {
    let ports = |domain: &Domain| {
        let controllers = domain.devices.controllers.iter();
        controllers
            .filter(|controller| controller.kind == ControllerType::Pci)
            .count()
    };
    if ports(after) > ports(before) {
        return Err(EngineError::new(
            ErrorKind::Internal,
            "No more available PCI slots: define the machine with more controllers of model \
             'pcie-root-port' to have room for devices while it runs",
        ));
    }
    Ok(())
}

fn aliases(domain: &Domain) -> Vec<String> {
    let mut aliases = Vec::new();
    domain
        .devices
        .each_info(&mut |info| aliases.extend(info.alias.clone()));
    aliases
}

/// The alias, if a device has it.
fn with_alias(domain: &Domain, alias: &str) -> Result<String> {
    let found = aliases(domain).into_iter().find(|known| known == alias);
    found.ok_or_else(|| {
        EngineError::new(
            ErrorKind::Internal,
            format!("no device found with alias {alias}"),
        )
    })
}

fn new_alias(before: &Domain, after: &Domain) -> Option<String> {
    let old = aliases(before);
    aliases(after)
        .into_iter()
        .find(|alias| !old.contains(alias))
}

/// The card with this alias.
fn card_of<'a>(domain: &'a Domain, alias: &str) -> Option<&'a Interface> {
    let mut cards = domain.devices.interfaces.iter();
    cards.find(|card| card.info.alias.as_deref() == Some(alias))
}

async fn carry_out(
    engine: &Engine,
    live: &LiveMachine,
    plan: Plan,
    stored: Option<Definition>,
    reply: Reply<()>,
) -> ChangeEnd {
    let (result, after, added) = match plan {
        Plan::Plug {
            steps,
            after,
            alias,
            given,
        } => {
            let result = run_all(live, &steps, given).await;
            let card = alias.as_deref().and_then(|alias| card_of(&after, alias));
            if let (Err(_), Some(card)) = (&result, card) {
                engine.disconnect_card(&after, card).await;
            }
            (result, Some(*after), alias)
        }
        Plan::Change {
            commands,
            cards,
            after,
        } => {
            let none = Given::default();
            let mut result = run_all(live, &commands, none).await;
            for (old, new) in &cards {
                if result.is_ok() {
                    result = engine.replug(old, new, &after).await;
                }
            }
            (result, Some(*after), None)
        }
        Plan::Unplug { alias, wait } => (ask_to_let_go(live, &alias, wait).await, None, None),
    };
    ChangeEnd {
        reply,
        result,
        live: after,
        stored,
        told: added.map(|alias| Happening::DeviceAdded { alias }),
    }
}

/// Asks the guest, and waits a while for it to let go: one that does is done
/// when the call ends. One that takes longer does so in its own time, which
/// is no failure; the event tells when.
async fn ask_to_let_go(live: &LiveMachine, alias: &str, wait: bool) -> Result<()> {
    let gone = live.await_unplug(alias);
    let asked = live.monitor()?.execute(&commands::device_del(alias)).await;
    match asked {
        // The guest was asked before and has not answered yet.
        Err(error) if error.message.contains("already in the process of unplug") => {}
        asked => drop(asked?),
    }
    if !wait {
        return Ok(());
    }
    match tokio::time::timeout(Duration::from_millis(UNPLUG_TIMEOUT_MS), gone).await {
        Ok(Ok(Unplugged::Refused)) => Err(EngineError::failed(
            "unplug of device was rejected by the guest",
        )),
        Ok(_) => Ok(()),
        Err(_) => {
            tracing::warn!(
                alias,
                pid = live.pid(),
                "the guest has not let go of the device yet"
            );
            Ok(())
        }
    }
}

/// What steps need and was made before the first of them.
#[derive(Debug, Default)]
struct Given {
    /// Descriptors of taps.
    taps: crate::taps::Queues,
    /// Values of secrets, in the order of the steps.
    secrets: Vec<SecretValue>,
}

/// Runs steps in order; where one fails, those before it are undone.
async fn run_all(live: &LiveMachine, steps: &[Step], mut given: Given) -> Result<()> {
    given.secrets.reverse();
    for (done, step) in steps.iter().enumerate() {
        if let Err(error) = run_step(live, step, &mut given).await {
            for earlier in steps[..done].iter().rev() {
                undo(live, earlier).await;
            }
            return Err(error);
        }
    }
    Ok(())
}

async fn run_step(live: &LiveMachine, step: &Step, given: &mut Given) -> Result<()> {
    let monitor = live.monitor()?;
    let named;
    let command = match step {
        Step::Run(command) => command,
        Step::WithFile {
            path,
            write,
            command,
        } => {
            let set = monitor.give_file(open(path, *write)?).await?;
            named = command.clone().arg("filename", format!("/dev/fdset/{set}"));
            &named
        }
        Step::WithTap {
            alias,
            taps,
            vhosts,
            command,
        } => {
            for (number, name) in (0..).zip(taps) {
                let queue = given.taps.remove(&(alias.clone(), number)).ok_or_else(|| {
                    EngineError::new(
                        ErrorKind::Internal,
                        format!("no tap was made for '{alias}'"),
                    )
                })?;
                let command = commands::getfd(name);
                monitor.ask_with_descriptor(&command, queue).await?;
            }
            for name in vhosts {
                let device = run::open_device("/dev/vhost-net")?;
                let command = commands::getfd(name);
                monitor.ask_with_descriptor(&command, device).await?;
            }
            command
        }
        Step::WithSecret { command, .. } => {
            let value = given.secrets.pop().ok_or_else(|| {
                EngineError::new(ErrorKind::Internal, "a secret was not looked up")
            })?;
            let value = BASE64_STANDARD.encode(value.expose());
            let command = command.clone().arg("format", "base64").arg("data", value);
            return monitor.execute(&command).await.map(drop);
        }
        Step::Listen {
            path,
            name,
            command,
        } => {
            let socket = run::listen(path)?;
            monitor
                .ask_with_descriptor(&commands::getfd(name), socket)
                .await?;
            command
        }
    };
    let timeout = Duration::from_millis(open_timeout_ms(command.arguments()));
    monitor.ask(command, timeout).await.map(drop)
}

fn open(path: &Path, write: bool) -> Result<OwnedFd> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(write)
        .open(path)
        .map_err(|e| {
            EngineError::new(
                ErrorKind::ResourceUnavailable,
                format!("Cannot access storage file '{}': {e}", path.display()),
            )
        })?;
    Ok(file.into())
}

/// Removes what a step has made. A device goes by the guest's leave only, and
/// what it holds stays with it.
async fn undo(live: &LiveMachine, step: &Step) {
    let (Step::Run(command)
    | Step::WithFile { command, .. }
    | Step::WithTap { command, .. }
    | Step::WithSecret { command, .. }
    | Step::Listen { command, .. }) = step;
    let name_of = |key: &str| {
        command
            .arguments()
            .get(key)
            .and_then(|v| v.as_str())
            .map(str::to_owned)
    };
    let inverse: Option<Command<Done>> = match command.name() {
        "blockdev-add" => name_of("node-name").map(|node| commands::blockdev_del(&node)),
        "netdev_add" => name_of("id").map(|id| commands::netdev_del(&id)),
        "chardev-add" => name_of("id").map(|id| commands::chardev_remove(&id)),
        "object-add" => name_of("id").map(|id| commands::object_del(&id)),
        _ => None,
    };
    if let (Some(inverse), Ok(monitor)) = (inverse, live.monitor())
        && let Err(error) = monitor.execute(&inverse).await
    {
        tracing::debug!(%error, "a back end could not be removed");
    }
    if let Step::Listen { path, .. } = step
        && let Err(error) = super::define::remove_file(path)
    {
        tracing::debug!(%error, "a socket could not be removed");
    }
}

/// The commands that make one definition of the other, for what can be
/// changed in place.
fn update_commands(before: &Domain, after: &Domain) -> Result<Vec<Step>> {
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

fn change_medium(disk: &model::domain::disk::Disk) -> Result<Step> {
    use model::domain::disk::DiskDevice;
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

fn set_password(graphics: &model::domain::graphics::Graphics) -> Command<Done> {
    use model::domain::graphics::GraphicsType;
    let protocol = match graphics.kind {
        GraphicsType::Spice => commands::DisplayProtocol::Spice,
        _ => commands::DisplayProtocol::Vnc,
    };
    let secret = graphics.password.secret.as_deref().unwrap_or_default();
    commands::set_password(protocol, secret, None)
}
