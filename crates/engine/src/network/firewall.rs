//! The firewall's tables, kept as the active networks and machines want them.

use super::tools::Tool;
use crate::engine::Engine;
use crate::error::Result;
use ::network::firewall::{Firewall, NetworkRules};

const PACKAGE: &str = "nftables";

/// What was put in force last.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    text: Option<String>,
}

impl Engine {
    /// The tables' name: the daemon's own, so that several do not disturb each other.
    pub(crate) fn firewall_table(&self) -> String {
        match self.places() == &crate::places::Places::system() {
            true => "stead".to_owned(),
            false => format!("stead_{}", &self.host_id().simple().to_string()[..8]),
        }
    }

    /// All rules there should be now.
    pub(crate) fn firewall(&self) -> Firewall {
        let networks = self.networks().into_iter().filter_map(|view| {
            let live = view.live.as_ref()?;
            Some(NetworkRules {
                bridge: live.bridge.clone()?,
                network: live.definition.clone(),
            })
        });
        Firewall {
            table: self.firewall_table(),
            networks: networks.collect(),
        }
    }

    /// Has the next [`Engine::apply_firewall`] put them in force whatever is there.
    pub(super) async fn distrust_firewall(&self) {
        let mut applied = self.networks_table().firewall.lock().await;
        applied.text = Some(String::new());
    }

    /// Puts the rules in force, in one transaction, unless they are already.
    pub(crate) async fn apply_firewall(&self) -> Result<()> {
        let mut applied = self.networks_table().firewall.lock().await;
        let firewall = self.firewall();
        let text = firewall.text();
        let nothing = text == firewall.removal();
        if applied.text.as_ref() == Some(&text) || (nothing && applied.text.is_none()) {
            return Ok(());
        }
        let tool = Tool::new("nft", PACKAGE, ["-f", "-"]);
        tool.reading(text.clone()).run().await?;
        applied.text = (!nothing).then_some(text);
        Ok(())
    }
}
