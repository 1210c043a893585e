//! The administrator's own programs, run when something happens to a network:
//! `hooks/network` and the files in `hooks/network.d`, called as libvirt calls
//! its `/etc/libvirt/hooks/network`: the network's name, the operation, `begin`
//! and `-` as arguments, the definition on standard input.

use super::LiveNetwork;
use super::tools::Tool;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::limits::HOOK_TIMEOUT_MS;
use model::XmlFlags;
use model::domain::Domain;
use model::domain::interface::{Interface, InterfaceType};
use model::network::Network;
use model::network::port::NetworkPort;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What happens to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// It is about to be started: a program that fails prevents that.
    Start,
    /// It has been started.
    Started,
    /// It has been stopped.
    Stopped,
    /// Its definition was changed while it is active.
    Updated,
    /// A card is about to be plugged into it: a program that fails prevents that.
    PortCreated,
    /// A card was unplugged from it.
    PortDeleted,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Start => "start",
            Operation::Started => "started",
            Operation::Stopped => "stopped",
            Operation::Updated => "updated",
            Operation::PortCreated => "port-created",
            Operation::PortDeleted => "port-deleted",
        }
    }
}

/// The programs, in the order in which they are run.
fn programs(hooks: &Path) -> Vec<PathBuf> {
    let runnable = |path: &PathBuf| {
        let about = std::fs::metadata(path);
        about.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let entries = std::fs::read_dir(hooks.join("network.d"));
    let entries = entries.into_iter().flatten().flatten();
    let mut more: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    more.sort();
    let first = hooks.join("network");
    [first].into_iter().chain(more).filter(runnable).collect()
}

impl Engine {
    /// Runs the administrator's programs; the first that fails ends it.
    pub(super) async fn run_network_hooks(
        &self,
        live: &LiveNetwork,
        operation: Operation,
    ) -> Result<()> {
        self.run_port_hooks(&live.definition, None, operation).await
    }

    /// The same for one of its ports.
    pub(super) async fn run_port_hooks(
        &self,
        network: &Network,
        port: Option<&NetworkPort>,
        operation: Operation,
    ) -> Result<()> {
        let programs = programs(&self.places().hooks);
        if programs.is_empty() {
            return Ok(());
        }
        let name = &network.name;
        let xml = network.to_xml(XmlFlags::default());
        let port = port.map(NetworkPort::to_xml).unwrap_or_default();
        let input = format!("<hookData>\n{xml}{port}</hookData>\n");
        for program in programs {
            let shown = program.display().to_string();
            let words = [name.as_str(), operation.name(), "begin", "-"];
            let run = Tool::at(program, words).reading(input.clone()).run();
            let bound = Duration::from_millis(HOOK_TIMEOUT_MS);
            let done = tokio::time::timeout(bound, run).await.unwrap_or_else(|_| {
                Err(EngineError::failed(format!(
                    "it did not end within {} seconds",
                    bound.as_secs()
                )))
            });
            done.map_err(|error| {
                EngineError::failed(format!(
                    "Hook script execution failed: {shown} {name} {}: {}",
                    operation.name(),
                    error.message
                ))
            })?;
        }
        Ok(())
    }

    /// The same for what has happened already: a failure is told only.
    pub(super) async fn tell_network_hooks(&self, live: &LiveNetwork, operation: Operation) {
        if let Err(error) = self.run_network_hooks(live, operation).await {
            tracing::error!(%error, "a hook has failed");
        }
    }
}

impl Engine {
    /// Tells the administrator's programs of the ports that a machine's wanted cards have got.
    /// The first that is refused ends it, and those told of before are told of as gone.
    pub(crate) async fn announce_ports(
        &self,
        domain: &Domain,
        wanted: impl Fn(&Interface) -> bool,
    ) -> Result<()> {
        let cards = domain.devices.interfaces.iter();
        let cards: Vec<&Interface> = cards.filter(|card| wanted(card)).collect();
        for (count, card) in cards.iter().enumerate() {
            let announced = self.hook_card(domain, card, Operation::PortCreated).await;
            if announced.is_err() {
                for card in &cards[..count] {
                    self.withdraw_port(domain, card).await;
                }
                return announced;
            }
        }
        Ok(())
    }

    /// Tells them that the ports of a machine's wanted cards are gone.
    pub(crate) async fn withdraw_ports(
        &self,
        domain: &Domain,
        wanted: impl Fn(&Interface) -> bool,
    ) {
        let cards = domain.devices.interfaces.iter();
        for card in cards.filter(|card| wanted(card)) {
            self.withdraw_port(domain, card).await;
        }
    }

    /// The same for one card.
    pub(crate) async fn withdraw_port(&self, domain: &Domain, card: &Interface) {
        let told = self.hook_card(domain, card, Operation::PortDeleted).await;
        if let Err(error) = told {
            tracing::error!(%error, "a hook has failed");
        }
    }

    async fn hook_card(
        &self,
        domain: &Domain,
        card: &Interface,
        operation: Operation,
    ) -> Result<()> {
        let source = card.source.as_ref();
        let name = source.and_then(|source| source.network.as_deref());
        let of_network = card.kind == InterfaceType::Network;
        let view = name.and_then(|name| self.network_by_name(name).ok());
        let (Some(view), true) = (view, of_network) else {
            return Ok(());
        };
        let port = super::ports::of_card(domain, card);
        match (view.definition(), port) {
            (Some(network), Some(port)) => {
                self.run_port_hooks(network, Some(&port), operation).await
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_run_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let hooks = folder.path();
        assert_eq!(programs(hooks), Vec::<PathBuf>::new());
        std::fs::create_dir(hooks.join("network.d")).expect("made");
        for (name, mode) in [
            ("network.d/20-b", 0o755),
            ("network.d/10-a", 0o700),
            ("network.d/notes", 0o644),
            ("network", 0o755),
        ] {
            let path = hooks.join(name);
            std::fs::write(&path, "").expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        }
        let found = ["network", "network.d/10-a", "network.d/20-b"].map(|name| hooks.join(name));
        assert_eq!(programs(hooks), found);
    }
}
