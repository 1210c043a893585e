//! Changes to networks that are there: sections, title, description, metadata.

use super::hooks::Operation;
use super::{LiveNetwork, NetworkView};
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::metadata::{absent, set};
use crate::notices::NetworkHappening;
use crate::options::{Affect, MetadataItem};
use model::network::Network;
use model::network::update::{Command, Section, UpdateError};
use std::sync::Arc;
use uuid::Uuid;

/// A change of one section.
#[derive(Debug, Clone)]
pub struct SectionChange {
    /// What is done.
    pub command: Command,
    /// To what.
    pub section: Section,
    /// Of which address, for the DHCP sections.
    pub parent: Option<usize>,
    /// The element.
    pub xml: String,
}

impl Engine {
    /// Changes one section of the active network, of the stored definition, or of both.
    pub async fn update_network(
        &self,
        uuid: Uuid,
        change: SectionChange,
        affect: Affect,
    ) -> Result<()> {
        let apply = |network: &mut Network| apply_section(network, &change);
        self.change_network(uuid, affect, apply).await.map(drop)
    }

    async fn change_network(
        &self,
        uuid: Uuid,
        affect: Affect,
        apply: impl Fn(&mut Network) -> Result<()>,
    ) -> Result<Arc<NetworkView>> {
        let entry = self.network_entry(uuid)?;
        let mut held = entry.owner.lock().await;
        let before = entry.view();
        let affect = resolve(&before, affect)?;
        let mut view = NetworkView::clone(&before);
        if let (true, Some(stored)) = (affect.config, &before.stored) {
            let mut changed = Network::clone(stored);
            apply(&mut changed)?;
            view.stored = Some(Arc::new(changed));
            view.ours = false;
        }
        if let (true, Some(live)) = (affect.live, &before.live) {
            let mut changed = LiveNetwork::clone(live);
            apply(&mut changed.definition)?;
            if let Some(bridge) = changed.bridge.clone() {
                let server = &mut held.server;
                self.refresh_dnsmasq(uuid, &changed.definition, &bridge, server)
                    .await?;
            }
            view.live = Some(Arc::new(changed));
        }
        if affect.config {
            self.keep_network(&view).await?;
        }
        let view = entry.publish(|slot| *slot = view);
        if affect.live {
            self.write_network_status(&view, &held);
            if let Some(live) = &view.live {
                self.tell_network_hooks(live, Operation::Updated).await;
            }
            self.apply_firewall().await?;
        }
        Ok(view)
    }

    /// Sets or removes a title, a description or a metadata element.
    pub async fn set_network_metadata(
        &self,
        uuid: Uuid,
        item: MetadataItem,
        value: Option<String>,
        key: Option<String>,
        affect: Affect,
    ) -> Result<()> {
        let apply = |network: &mut Network| set(network, &item, value.as_deref(), key.as_deref());
        let view = self.change_network(uuid, affect, apply).await?;
        let (kind, namespace) = match item {
            MetadataItem::Description => (0, None),
            MetadataItem::Title => (1, None),
            MetadataItem::Element { uri } => (2, Some(uri)),
        };
        self.tell_network(&view, NetworkHappening::Metadata(kind, namespace));
        Ok(())
    }

    /// A title, a description or a metadata element.
    pub fn network_metadata(
        &self,
        uuid: Uuid,
        item: &MetadataItem,
        affect: Affect,
    ) -> Result<String> {
        let view = self.network_by_uuid(uuid)?;
        let affect = resolve(&view, affect)?;
        let network = match affect.config {
            true => view.stored.as_deref(),
            false => view.live.as_ref().map(|live| &live.definition),
        };
        let found = network.and_then(|network| match item {
            MetadataItem::Title => network.title.clone(),
            MetadataItem::Description => network.description.clone(),
            MetadataItem::Element { uri } => network.metadata.as_ref()?.get(uri),
        });
        found.ok_or_else(|| EngineError::new(ErrorKind::NoNetworkMetadata, absent(item)))
    }
}

pub(super) fn apply_section(network: &mut Network, change: &SectionChange) -> Result<()> {
    network
        .update(change.command, change.section, change.parent, &change.xml)
        .map_err(update_failed)
}

impl SectionChange {
    /// A change by libvirt's numbers; none where there is no such command or section.
    pub fn of(command: u32, section: u32, parent: Option<usize>, xml: String) -> Option<Self> {
        Some(SectionChange {
            command: Command::of(command)?,
            section: Section::of(section)?,
            parent,
            xml,
        })
    }
}

/// Which definitions a change is for, where that is left open.
fn resolve(view: &NetworkView, affect: Affect) -> Result<Affect> {
    let affect = match (affect.live, affect.config) {
        (false, false) => Affect {
            live: view.is_active(),
            config: !view.is_active(),
        },
        _ => affect,
    };
    if affect.live && !view.is_active() {
        return Err(EngineError::invalid("network is not running"));
    }
    if affect.config && !view.is_persistent() {
        return Err(EngineError::invalid(
            "cannot change persistent config of a transient network",
        ));
    }
    Ok(affect)
}

fn update_failed(error: UpdateError) -> EngineError {
    match error {
        UpdateError::Xml(error) => xml_error(error),
        UpdateError::Invalid(message) => EngineError::invalid(message),
        UpdateError::Unsupported(message) => EngineError::new(ErrorKind::Unsupported, message),
    }
}
