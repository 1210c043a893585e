//! The node-local record of an active network, by which a restarted daemon
//! finds it again.

use super::{Entry, Held, LiveNetwork, NetworkView};
use crate::engine::Engine;
use crate::error::Result;
use model::XmlFlags;
use model::network::Network;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use sys::process::ProcessId;
use uuid::Uuid;

const FILE: &str = "status.json";

/// How far a start had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// Nobody was told yet that it is active.
    Starting,
    /// It is.
    Active,
}

#[derive(Debug, Serialize, Deserialize)]
struct Status {
    boot: String,
    phase: Phase,
    xml: String,
    /// The bridge, where it is of our making.
    bridge: Option<String>,
    #[serde(default)]
    server: Option<(i32, u64)>,
    /// Ports made by hand.
    #[serde(default)]
    ports: Vec<String>,
}

impl Engine {
    /// Records an active network as it is.
    pub(super) fn write_network_status(&self, view: &NetworkView, held: &Held) {
        if let Some(live) = &view.live
            && let Err(error) = self.record_network(view.uuid, live, held, Phase::Active)
        {
            tracing::error!(network = %view.name, %error, "an active network could not be recorded");
        }
    }

    pub(super) fn record_network(
        &self,
        uuid: Uuid,
        live: &LiveNetwork,
        held: &Held,
        phase: Phase,
    ) -> Result<()> {
        let status = Status {
            boot: self.boot_id().to_owned(),
            phase,
            xml: live.definition.to_xml(XmlFlags {
                inactive: true,
                secure: true,
                migratable: false,
            }),
            bridge: live.bridge.clone(),
            server: held
                .server
                .as_ref()
                .map(|s| (s.id().pid, s.id().start_time)),
            ports: self.ports_to_keep(uuid),
        };
        let run = self.network_run(uuid);
        let path = run.join(FILE);
        let fail =
            |e| crate::error::EngineError::system(&format!("cannot write {}", path.display()), e);
        std::fs::create_dir_all(&run).map_err(fail)?;
        let text = serde_json::to_vec(&status).map_err(|e| fail(e.into()))?;
        let partial = run.join("status.json.new");
        std::fs::write(&partial, text).map_err(fail)?;
        std::fs::rename(&partial, &path).map_err(fail)
    }

    /// Takes over the networks that are still there, and clears away what is
    /// left of the others.
    /// How many were looked at.
    pub(super) async fn adopt_networks(&self) -> usize {
        let folder = self.places().run.join("network");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        if !paths.is_empty() {
            // What an earlier daemon put in force is not known.
            self.distrust_firewall().await;
        }
        for path in &paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match Uuid::parse_str(&name) {
                Ok(uuid) => self.adopt_network(uuid, path).await,
                Err(_) => tracing::warn!(path = %path.display(), "not a network's folder"),
            }
        }
        paths.len()
    }

    async fn adopt_network(&self, uuid: Uuid, run: &Path) {
        let status = std::fs::read(run.join(FILE)).ok();
        let status = status.and_then(|text| serde_json::from_slice::<Status>(&text).ok());
        let network = status.as_ref().and_then(|s| Network::parse(&s.xml).ok());
        let (Some(status), Some(network)) = (status, network) else {
            let _ = std::fs::remove_dir_all(run);
            return;
        };
        let live = LiveNetwork {
            bridge: status.bridge.clone(),
            definition: network,
        };
        let id = status
            .server
            .map(|(pid, start_time)| ProcessId { pid, start_time });
        let server = id
            .filter(|_| status.boot == self.boot_id())
            .and_then(|id| self.adopt_dnsmasq(uuid, id));
        if status.phase == Phase::Starting || !self.is_still_there(&status, &live) {
            if status.boot == self.boot_id() {
                self.clear_network(uuid, &live, server).await;
            }
            let _ = std::fs::remove_dir_all(run);
            return;
        }
        self.restore_ports(uuid, &status.ports);
        let fresh = super::define::view_of(&live.definition);
        match self.networks_table().claim(fresh) {
            Ok(entry) => self.take_network_over(&entry, live, server).await,
            Err(error) => tracing::error!(%uuid, %error, "an active network belongs to nobody"),
        }
    }

    fn is_still_there(&self, status: &Status, live: &LiveNetwork) -> bool {
        let made = live.definition.kind().owns_bridge();
        let there = |name: &String| sys::net::is_bridge(name).unwrap_or(false);
        status.boot == self.boot_id() && (!made || status.bridge.as_ref().is_some_and(there))
    }

    async fn take_network_over(
        &self,
        entry: &Entry,
        live: LiveNetwork,
        server: Option<super::dnsmasq::Server>,
    ) {
        let mut held = entry.owner.lock().await;
        held.server = server;
        let wanted = network::dnsmasq::is_wanted(&live.definition);
        let view = entry.publish(|view| view.live = Some(Arc::new(live)));
        if let (Some(live), true, None) = (&view.live, wanted, &held.server) {
            let bridge = live.bridge.clone().unwrap_or_default();
            match self
                .start_dnsmasq(view.uuid, &live.definition, &bridge)
                .await
            {
                Ok(server) => held.server = Some(server),
                Err(error) => {
                    tracing::error!(network = %view.name, %error, "it serves no addresses")
                }
            }
        }
        self.write_network_status(&view, &held);
    }
}
