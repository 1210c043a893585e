//! Warnings about rules of others that stop a network's traffic.

use super::tools::Tool;
use crate::engine::Engine;
use crate::error::Result;
use ::network::docker;
use ::network::others::obstacles;
use model::network::{Network, NetworkKind};

const PACKAGE: &str = "nftables";

impl Engine {
    /// What other programs' rules drop of an active network's traffic, and what to do about it.
    pub async fn network_warnings(&self, name: &str) -> Result<Vec<String>> {
        let view = self.network_by_name(name)?;
        match view.definition() {
            Some(network) => Ok(self.firewall_warnings(network).await),
            None => Ok(Vec::new()),
        }
    }

    /// Makes room for a network that was started, and says in the log what stops it still; nobody waits for it.
    pub(super) fn settle_with_others(&self, network: &Network) {
        let (engine, network) = (self.clone(), network.clone());
        tokio::spawn(async move {
            engine.settle_beside_docker().await;
            for warning in engine.firewall_warnings(&network).await {
                tracing::warn!(network = network.name, "{warning}");
            }
        });
    }

    /// The same as [`Engine::settle_beside_docker`], where there is an active network.
    pub(super) async fn settle_active_beside_docker(&self) {
        if self.networks().iter().any(|view| view.is_active()) {
            self.settle_beside_docker().await;
        }
    }

    /// Has Docker's policy except the bridges of active networks, and no others.
    pub(super) async fn settle_beside_docker(&self) {
        // One at a time: what is missing is read first.
        let _settling = self.networks_table().beside_docker.lock().await;
        let text = self.docker_exceptions(None).await;
        if text.is_empty() {
            return;
        }
        let tool = Tool::new("nft", PACKAGE, ["-f", "-"]).reading(text);
        if let Err(error) = tool.run().await {
            tracing::warn!(%error, "Docker's rules may cut networks off");
        }
    }

    /// The transaction that makes the exceptions what they should be, with one network more.
    pub(super) async fn docker_exceptions(&self, more: Option<&Network>) -> String {
        let Ok(chains) = Tool::new("nft", PACKAGE, ["-j", "list", "chains"])
            .run()
            .await
        else {
            return String::new();
        };
        let views = self.networks();
        let live = views.iter().filter_map(|view| view.live.as_ref());
        let active = live.map(|live| &live.definition).chain(more);
        let crossing = active.filter(|network| {
            network.kind().owns_bridge() && network.kind() != NetworkKind::Isolated
        });
        let bridges = crossing.filter_map(|network| network.bridge_name().map(str::to_owned));
        let bridges = bridges.collect();
        let mut text = String::new();
        for chain in docker::chains(&chains) {
            let words = [
                "-j",
                "list",
                "chain",
                &chain.family,
                &chain.table,
                &chain.name,
            ];
            if let Ok(listing) = Tool::new("nft", PACKAGE, words).run().await {
                text += &docker::exceptions(&chain, &listing, &self.firewall_table(), &bridges);
            }
        }
        text
    }

    pub(super) async fn firewall_warnings(&self, network: &Network) -> Vec<String> {
        let Some(bridge) = network
            .bridge_name()
            .filter(|_| network.kind().owns_bridge())
        else {
            return Vec::new();
        };
        let tool = Tool::new("nft", PACKAGE, ["-j", "list", "ruleset"]);
        let Ok(listing) = tool.run().await else {
            return Vec::new();
        };
        let forwards = network.kind() != NetworkKind::Isolated;
        let serves = ::network::dnsmasq::is_wanted(network);
        let found = obstacles(&listing, &self.firewall_table(), bridge, forwards, serves);
        found
            .iter()
            .map(|obstacle| obstacle.sentence(&network.name))
            .collect()
    }
}
