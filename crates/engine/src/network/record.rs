//! What is stored of a network: `host/HOST/network/UUID`, as JSON.

use super::NetworkView;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use model::XmlFlags;
use model::network::Network;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// The kind of the record's key.
const KIND: &str = "network";

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    xml: String,
    #[serde(default)]
    autostart: bool,
    #[serde(default)]
    ours: bool,
}

/// The definition as it is kept.
pub(super) fn stored_xml(network: &Network) -> String {
    network.to_xml(XmlFlags {
        inactive: true,
        secure: true,
        migratable: false,
    })
}

impl Engine {
    pub(super) async fn keep_network(&self, view: &NetworkView) -> Result<()> {
        let Some(stored) = &view.stored else {
            return Ok(());
        };
        let record = Record {
            xml: stored_xml(stored),
            autostart: view.autostart,
            ours: view.ours,
        };
        let bytes = serde_json::to_vec(&record)
            .map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))?;
        self.records().put_object(KIND, view.uuid, bytes).await
    }

    pub(super) async fn forget_network(&self, uuid: Uuid) -> Result<()> {
        self.records().delete_object(KIND, uuid).await
    }

    /// Reads every stored network; one that cannot be read is told and left as it is.
    pub(super) fn read_networks(&self) -> Result<usize> {
        let mut count = 0;
        self.records().for_each_object(KIND, |bytes| {
            count += 1;
            if let Err(error) = self.read_network(bytes) {
                tracing::error!(%error, "a network's record cannot be read");
            }
        })?;
        Ok(count)
    }

    fn read_network(&self, bytes: &[u8]) -> Result<()> {
        let broken = |e: String| EngineError::new(ErrorKind::Store, e);
        let record: Record = serde_json::from_slice(bytes).map_err(|e| broken(e.to_string()))?;
        let network = Network::parse(&record.xml).map_err(|e| broken(e.to_string()))?;
        let uuid = network
            .uuid
            .ok_or_else(|| broken("a network without a uuid".into()))?;
        self.networks_table().claim(NetworkView {
            uuid,
            name: network.name.as_str().into(),
            autostart: record.autostart,
            ours: record.ours,
            stored: Some(Arc::new(network)),
            live: None,
        })?;
        Ok(())
    }
}
