//! Bridges in zones of firewalld, asked for over D-Bus. firewalld forgets what
//! it was asked when it is started anew, so its news are followed.

use super::bus::{Bus, Service};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use ::network::zones;
use futures_util::StreamExt;
use model::network::Network;
use std::sync::atomic::{AtomicBool, Ordering};
use zbus::Message;

const NAME: &str = "org.fedoraproject.FirewallD1";
const ZONES: Service = Service {
    name: NAME,
    path: "/org/fedoraproject/FirewallD1",
    interface: "org.fedoraproject.FirewallD1.zone",
};
/// firewalld comes to the bus, or goes: the third argument is its new owner.
const COMES_OR_GOES: &str = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.fedoraproject.FirewallD1'";
/// Its rules are new.
const RELOADED: &str = "type='signal',sender='org.fedoraproject.FirewallD1',member='Reloaded'";

/// Whether firewalld's news are followed.
#[derive(Debug, Default)]
pub(crate) struct Following(AtomicBool);

/// firewalld, where it runs.
struct Firewalld(Bus);

impl Firewalld {
    async fn find() -> Result<Option<Firewalld>> {
        let Some(bus) = Bus::join().await? else {
            return Ok(None);
        };
        let owner = bus.process_of(NAME).await;
        Ok(owner.is_ok_and(filters_here).then_some(Firewalld(bus)))
    }

    /// The zone a device is in by name.
    async fn zone_of(&self, device: &str) -> Result<Option<String>> {
        let device = (device,);
        let zone: String = self.0.call(ZONES, "getZoneOfInterface", &device).await?;
        Ok(Some(zone).filter(|zone| !zone.is_empty()))
    }

    /// The zones there are.
    async fn zones(&self) -> Result<Vec<String>> {
        self.0.call(ZONES, "getZones", &()).await
    }

    /// Has a device in a zone; gives back the zone.
    async fn change_zone(&self, zone: &str, device: &str) -> Result<String> {
        self.0
            .call(ZONES, "changeZoneOfInterface", &(zone, device))
            .await
    }

    /// Has a device in no zone; gives back the zone it was in.
    async fn remove(&self, zone: &str, device: &str) -> Result<String> {
        self.0.call(ZONES, "removeInterface", &(zone, device)).await
    }

    /// The zone a network's bridge is to go into; one that the administrator chose stays.
    async fn zone_for(&self, network: &Network, bridge: &str) -> Result<Option<String>> {
        let known = match zones::asked(network) {
            Some(_) => Vec::new(),
            None if self.zone_of(bridge).await?.is_some() => return Ok(None),
            None => self.zones().await?,
        };
        Ok(zones::zone_of(network, &known))
    }
}

/// Whether a process filters what this one sends: it may be in another network namespace.
fn filters_here(pid: u32) -> bool {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    match (namespace(&pid.to_string()), namespace("self")) {
        (Some(its), Some(ours)) => its == ours,
        // It cannot be looked at.
        _ => true,
    }
}

impl Engine {
    /// The zone of firewalld that a network's bridge is to be put into.
    pub(super) async fn choose_zone(&self, network: &Network) -> Result<Option<String>> {
        let Some(bridge) = network
            .bridge_name()
            .filter(|_| network.kind().owns_bridge())
        else {
            return Ok(None);
        };
        let asked = zones::asked(network);
        let found = Firewalld::find().await;
        match (found, asked) {
            (Ok(Some(firewalld)), _) => firewalld.zone_for(network, bridge).await,
            (_, Some(zone)) => Err(EngineError::new(
                ErrorKind::ConfigUnsupported,
                format!(
                    "zone {zone} requested for network {} but firewalld is not active",
                    network.name
                ),
            )),
            (Ok(None), None) => Ok(None),
            (Err(error), None) => {
                tracing::warn!(%error, "firewalld could not be asked about zones");
                Ok(None)
            }
        }
    }

    /// Puts a bridge into a zone.
    pub(super) async fn put_into_zone(&self, bridge: &str, zone: &str) -> Result<()> {
        self.follow_firewalld();
        let Some(firewalld) = Firewalld::find().await? else {
            return Err(EngineError::failed("firewalld is not active"));
        };
        let done = firewalld.change_zone(zone, bridge).await;
        done.map(drop).map_err(|error| {
            EngineError::failed(format!(
                "firewalld does not put '{bridge}' into its zone '{zone}': {}",
                error.message
            ))
        })
    }

    /// Has firewalld forget a bridge that is gone.
    pub(super) async fn leave_zone(&self, network: &Network, bridge: &str) {
        let Ok(Some(firewalld)) = Firewalld::find().await else {
            return;
        };
        // One that the administrator chose stays.
        if let Ok(Some(zone)) = firewalld.zone_of(bridge).await
            && zones::zone_of(network, std::slice::from_ref(&zone)) == Some(zone.clone())
            && let Err(error) = firewalld.remove(&zone, bridge).await
        {
            tracing::warn!(bridge, zone, %error, "firewalld keeps a bridge that is gone");
        }
    }

    /// Follows firewalld from now on, unless it is followed already or there is no bus.
    pub(crate) fn follow_firewalld(&self) {
        let following = &self.networks_table().following.0;
        if following.swap(true, Ordering::AcqRel) {
            return;
        }
        let engine = self.clone();
        let mut stopping = self.stopping();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = engine.hear_firewalld() => ended,
                _ = stopping.wait_for(|stop| *stop) => Ok(()),
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "firewalld's restarts are no longer noticed");
            }
            let following = &engine.networks_table().following.0;
            following.store(false, Ordering::Release);
        });
    }

    async fn hear_firewalld(&self) -> Result<()> {
        let Some(bus) = Bus::join().await? else {
            return Ok(());
        };
        let mut owners = bus.follow(COMES_OR_GOES).await?;
        let mut reloads = bus.follow(RELOADED).await?;
        // It may have been started while nobody listened.
        self.renew_zones().await;
        loop {
            let renew = tokio::select! {
                news = owners.next() => is_there(&heard(news)?),
                news = reloads.next() => heard(news).map(|_| true)?,
            };
            if renew {
                self.renew_zones().await;
            }
        }
    }

    /// Puts the bridges of active networks into their zones again where they are in none.
    async fn renew_zones(&self) {
        for view in self.networks() {
            let Some(live) = &view.live else { continue };
            let network = &live.definition;
            let done = match self.choose_zone(network).await {
                Ok(Some(zone)) => {
                    let bridge = network.bridge_name().unwrap_or_default();
                    self.put_into_zone(bridge, &zone).await
                }
                Ok(None) => Ok(()),
                // It is about to start, or was stopped for good.
                Err(_) => continue,
            };
            if let Err(error) = done {
                tracing::error!(network = %view.name, %error, "firewalld may cut a network off");
            }
        }
    }
}

/// A message, unless the bus is gone.
fn heard(news: Option<zbus::Result<Message>>) -> Result<Message> {
    let lost = || EngineError::failed("the system's D-Bus is gone");
    let failed = |e: zbus::Error| EngineError::failed(e.to_string());
    news.ok_or_else(lost)?.map_err(failed)
}

/// Whether a name that changed its owner has one now.
fn is_there(changed: &Message) -> bool {
    let owners = changed.body();
    let (_, _, now): (&str, &str, &str) = owners.deserialize().unwrap_or_default();
    !now.is_empty()
}
