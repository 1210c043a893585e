//! Bridges in zones of firewalld, asked for over D-Bus. firewalld forgets what
//! it was asked when it is started anew, so its news are followed.

use super::bus::Bus;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use ::network::dbus::{Kind, Message};
use ::network::zones;
use model::network::Network;
use std::sync::atomic::{AtomicBool, Ordering};

const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const ZONES: &str = "org.fedoraproject.FirewallD1.zone";
/// News about which firewalld's rules may be new.
const NEWS: [&str; 2] = [
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.fedoraproject.FirewallD1'",
    "type='signal',sender='org.fedoraproject.FirewallD1',member='Reloaded'",
];

/// Whether firewalld's news are followed.
#[derive(Debug, Default)]
pub(crate) struct Following(AtomicBool);

/// firewalld, where it runs.
struct Firewalld(Bus);

impl Firewalld {
    async fn find() -> Result<Option<Firewalld>> {
        let Some(mut bus) = Bus::join().await? else {
            return Ok(None);
        };
        let owner = bus.ask("GetConnectionUnixProcessID", &[NAME]).await;
        let pid = owner.ok().and_then(|words| words.into_iter().next());
        let ours = pid.is_some_and(|pid| filters_here(&pid));
        Ok(ours.then_some(Firewalld(bus)))
    }

    async fn ask(&mut self, method: &str, words: &[&str]) -> Result<Vec<String>> {
        let call = Message::call(NAME, PATH, ZONES, method);
        self.0.call(call.with(words.iter().copied())).await
    }

    /// The zone a device is in by name.
    async fn zone_of(&mut self, device: &str) -> Result<Option<String>> {
        let zone = self.ask("getZoneOfInterface", &[device]).await?;
        Ok(zone.into_iter().next().filter(|zone| !zone.is_empty()))
    }

    /// The zone a network's bridge is to go into; one that the administrator chose stays.
    async fn zone_for(&mut self, network: &Network, bridge: &str) -> Result<Option<String>> {
        let known = match zones::asked(network) {
            Some(_) => Vec::new(),
            None if self.zone_of(bridge).await?.is_some() => return Ok(None),
            None => self.ask("getZones", &[]).await?,
        };
        Ok(zones::zone_of(network, &known))
    }
}

/// Whether a process filters what this one sends: it may be in another network namespace.
fn filters_here(pid: &str) -> bool {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    match (namespace(pid), namespace("self")) {
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
            (Ok(Some(mut firewalld)), _) => firewalld.zone_for(network, bridge).await,
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
        let Some(mut firewalld) = Firewalld::find().await? else {
            return Err(EngineError::failed("firewalld is not active"));
        };
        let done = firewalld
            .ask("changeZoneOfInterface", &[zone, bridge])
            .await;
        done.map(drop).map_err(|error| {
            EngineError::failed(format!(
                "firewalld does not put '{bridge}' into its zone '{zone}': {}",
                error.message
            ))
        })
    }

    /// Has firewalld forget a bridge that is gone.
    pub(super) async fn leave_zone(&self, network: &Network, bridge: &str) {
        let Ok(Some(mut firewalld)) = Firewalld::find().await else {
            return;
        };
        // One that the administrator chose stays.
        if let Ok(Some(zone)) = firewalld.zone_of(bridge).await
            && zones::zone_of(network, std::slice::from_ref(&zone)) == Some(zone.clone())
            && let Err(error) = firewalld.ask("removeInterface", &[&zone, bridge]).await
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
        let Some(mut bus) = Bus::join().await? else {
            return Ok(());
        };
        for rule in NEWS {
            bus.ask("AddMatch", &[rule]).await?;
        }
        // It may have been started while nobody listened.
        self.renew_zones().await;
        loop {
            let news = bus.read().await?;
            let gone = news.member.as_deref() == Some("NameOwnerChanged")
                && news.strings.get(2).is_none_or(String::is_empty);
            if news.kind == Kind::Signal && !gone {
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
