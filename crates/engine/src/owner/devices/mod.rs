//! Devices that come and go, in the stored definition and in the running
//! machine.

mod cards;
mod steps;
mod update;

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
use cards::card_of;
use model::domain::Domain;
use model::domain::change::DeviceKey;
use model::domain::controller::ControllerType;
use model::domain::interface::Interface;
use model::secret::SecretUse;
use qemu::command_line::{Launch, Step, command_line, plug};
use qemu::machine::Operation;
use qemu::qmp::commands;
use std::sync::Arc;
use std::time::Duration;
use steps::{Given, run_all, undo};
use update::update_commands;

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
                self.changed(ChangeEnd::of_stored(reply, stored)).await;
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
                let (steps, secrets) = match self.plan_steps(&live, &before, &after).await {
                    Ok(planned) => planned,
                    Err(error) => {
                        self.disconnect_new(&before, &after).await;
                        return Err(error);
                    }
                };
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

    /// What gives a running machine the devices it does not have, and the secrets for that.
    async fn plan_steps(
        &self,
        live: &LiveMachine,
        before: &Domain,
        after: &Domain,
    ) -> Result<(Vec<Step>, Vec<SecretValue>)> {
        let (old, new) = (
            self.launch_of(live, before).await?,
            self.launch_of(live, after).await?,
        );
        let steps = plug(&old, &new).map_err(unsupported)?;
        let secrets = self.secrets_for(&steps)?;
        Ok((steps, secrets))
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

/// Whether a device is none of those whose aliases are known.
fn is_new_to(known: &[String], alias: Option<&str>) -> bool {
    let alias = alias.unwrap_or_default();
    !known.iter().any(|other| other == alias)
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
