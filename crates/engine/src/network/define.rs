//! Definitions of networks: stored, replaced, forgotten.

use super::{DEFINED, Entry, NetworkView, UNDEFINED};
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::DEFINITION_MAX_BYTES;
use model::network::{BridgeMac, Network};
use model::xml::Mac;
use network::choose;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// What is done with a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefineMode {
    /// It is stored.
    Store,
    /// It is only checked.
    Check,
}

/// What bridges of ours are called unless the definition says otherwise.
const BRIDGE_TEMPLATE: &str = "virbr%d";

impl Engine {
    /// Stores a network's definition; an active network goes on as it is.
    pub async fn define_network(&self, xml: &str, mode: DefineMode) -> Result<Arc<NetworkView>> {
        self.store_network(xml, mode, false).await
    }

    pub(super) async fn store_network(
        &self,
        xml: &str,
        mode: DefineMode,
        ours: bool,
    ) -> Result<Arc<NetworkView>> {
        let _choosing = self.networks_table().choosing.lock().await;
        let network = self.complete_network(xml)?;
        let fresh = view_of(&network);
        if mode == DefineMode::Check {
            return Ok(Arc::new(NetworkView {
                stored: Some(Arc::new(network)),
                ..fresh
            }));
        }
        let entry = self.networks_table().claim(fresh)?;
        let _held = entry.owner.lock().await;
        let before = entry.view();
        let view = NetworkView {
            stored: Some(Arc::new(network)),
            ours,
            ..NetworkView::clone(&before)
        };
        if let Err(error) = self.keep_network(&view).await {
            self.drop_unused(&entry);
            return Err(error);
        }
        let view = entry.publish(|slot| *slot = view);
        self.tell_network_life(&view, DEFINED);
        Ok(view)
    }

    /// Takes a network out of the table that nobody has ever seen.
    pub(super) fn drop_unused(&self, entry: &Entry) {
        let view = entry.view();
        if !view.is_active() && !view.is_persistent() {
            self.networks_table().remove(view.uuid);
        }
    }

    /// Reads a definition and makes the choices it leaves open.
    pub(super) fn complete_network(&self, xml: &str) -> Result<Network> {
        if xml.len() > DEFINITION_MAX_BYTES {
            return Err(EngineError::new(
                ErrorKind::XmlError,
                format!("the definition is longer than {DEFINITION_MAX_BYTES} bytes"),
            ));
        }
        let mut network = Network::parse(xml).map_err(xml_error)?;
        let same_name = self.network_by_name(&network.name).ok();
        let uuid = *network.uuid.get_or_insert_with(|| {
            // Defining a known name again without its uuid is refused below, as libvirt does.
            Uuid::new_v4()
        });
        if network.kind().owns_bridge() {
            let known = same_name.filter(|view| view.uuid == uuid);
            self.choose_bridge(&mut network, known.as_deref())?;
            if network.mac.is_none() {
                network.mac = Some(BridgeMac {
                    address: random_mac(),
                });
            }
        }
        Ok(network)
    }

    /// Gives the bridge a free name, or checks that the one it has is not another network's.
    fn choose_bridge(&self, network: &mut Network, known: Option<&NetworkView>) -> Result<()> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for view in self.networks() {
            if Some(view.uuid) == network.uuid {
                continue;
            }
            for definition in [view.definition(), view.stored.as_deref()] {
                taken.extend(definition.and_then(Network::bridge_name).map(str::to_owned));
            }
        }
        match network.bridge_name() {
            Some(name) if !name.contains("%d") => match taken.contains(name) {
                true => Err(EngineError::new(
                    ErrorKind::Internal,
                    format!("bridge name '{name}' already in use."),
                )),
                false => Ok(()),
            },
            template => {
                let present = known.and_then(|view| view.stored.as_deref()?.bridge_name());
                if let (Some(name), None) = (present, template) {
                    let name = name.to_owned();
                    network.set_bridge_name(&name);
                    return Ok(());
                }
                let template = template.unwrap_or(BRIDGE_TEMPLATE).to_owned();
                taken.extend(host_links());
                let name = choose::bridge_name(&template, &taken).ok_or_else(|| {
                    EngineError::failed(format!("no bridge name like '{template}' is free"))
                })?;
                network.set_bridge_name(&name);
                Ok(())
            }
        }
    }

    /// Removes a definition; an active network goes on until it is stopped.
    pub async fn undefine_network(&self, uuid: Uuid) -> Result<()> {
        let entry = self.network_entry(uuid)?;
        let _held = entry.owner.lock().await;
        let view = entry.view();
        if !view.is_persistent() {
            return Err(EngineError::invalid("can't undefine transient network"));
        }
        self.forget_network(uuid).await?;
        let view = entry.publish(|view| {
            view.stored = None;
            view.autostart = false;
        });
        if !view.is_active() {
            self.networks_table().remove(uuid);
            self.forget_leases(uuid);
        }
        self.tell_network_life(&view, UNDEFINED);
        Ok(())
    }

    /// Whether a network starts with the host.
    pub async fn set_network_autostart(&self, uuid: Uuid, autostart: bool) -> Result<()> {
        let entry = self.network_entry(uuid)?;
        let _held = entry.owner.lock().await;
        let before = entry.view();
        if !before.is_persistent() {
            return Err(EngineError::invalid(
                "cannot set autostart for transient network",
            ));
        }
        let view = NetworkView {
            autostart,
            ..NetworkView::clone(&before)
        };
        self.keep_network(&view).await?;
        entry.publish(|view| view.autostart = autostart);
        Ok(())
    }
}

/// A view of a network that is neither stored nor active yet.
pub(super) fn view_of(network: &Network) -> NetworkView {
    NetworkView {
        uuid: network.uuid.unwrap_or_default(),
        name: network.name.as_str().into(),
        autostart: false,
        stored: None,
        live: None,
        ours: false,
    }
}

/// The names of the host's links; none where they cannot be listed.
pub(super) fn host_links() -> Vec<String> {
    let links = sys::link::links().unwrap_or_default();
    links.into_iter().map(|link| link.name).collect()
}

/// An address of the range QEMU's guests use.
pub(super) fn random_mac() -> Mac {
    let bytes = Uuid::new_v4().into_bytes();
    Mac([0x52, 0x54, 0x00, bytes[0], bytes[1], bytes[2]])
}
