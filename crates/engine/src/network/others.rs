//! Warnings about rules of others that stop a network's traffic.

use super::tools::Tool;
use crate::engine::Engine;
use crate::error::Result;
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

    /// Says in the log what stops a network that was started; nobody waits for it.
    pub(super) fn warn_of_others(&self, network: &Network) {
        let (engine, network) = (self.clone(), network.clone());
        tokio::spawn(async move {
            for warning in engine.firewall_warnings(&network).await {
                tracing::warn!(network = network.name, "{warning}");
            }
        });
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
