//! Bringing networks up and taking them down.

use super::define::{host_links, random_mac, view_of};
use super::hooks::Operation;
use super::status::Phase;
use super::tools::Tool;
use super::{Entry, Held, LiveNetwork, NetworkView, STARTED, STOPPED};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use ::network::choose::{self, Subnet};
use ::network::plan::{self, Step};
use model::network::{Network, NetworkKind};
use model::xml::Mac;
use std::net::IpAddr;
use std::sync::Arc;
use sys::link::BridgePlan;
use uuid::Uuid;

/// The largest packets that bridges of the kernel can have.
const BRIDGE_MTU: std::ops::RangeInclusive<u32> = 68..=65_535;

impl Engine {
    /// Starts a stored network.
    pub async fn start_network(&self, uuid: Uuid) -> Result<()> {
        let entry = self.network_entry(uuid)?;
        let mut held = entry.owner.lock().await;
        self.start_held(&entry, &mut held).await
    }

    async fn start_held(&self, entry: &Entry, held: &mut Held) -> Result<()> {
        let view = entry.view();
        if view.is_active() {
            return Err(EngineError::invalid("network is already active"));
        }
        let stored = view.stored.as_deref().cloned();
        let mut definition =
            stored.ok_or_else(|| super::no_network(&format!("uuid '{}'", view.uuid)))?;
        if view.ours {
            self.make_room(entry, &mut definition).await?;
        }
        self.bring_up(entry, held, definition).await
    }

    /// Starts a network whose definition is not stored, or an inactive stored one with another definition.
    pub async fn create_network(&self, xml: &str) -> Result<Arc<NetworkView>> {
        let network = {
            let _choosing = self.networks_table().choosing.lock().await;
            self.complete_network(xml)?
        };
        let entry = self.networks_table().claim(view_of(&network))?;
        let mut held = entry.owner.lock().await;
        if entry.view().is_active() {
            return Err(EngineError::invalid(format!(
                "network is already active as '{}'",
                network.name
            )));
        }
        let done = self.bring_up(&entry, &mut held, network).await;
        if done.is_err() {
            self.drop_unused(&entry);
        }
        done.map(|()| entry.view())
    }

    /// A network the daemon made itself gives way to what came meanwhile.
    async fn make_room(&self, entry: &Entry, definition: &mut Network) -> Result<()> {
        let before = definition.clone();
        let taken = taken_subnets(None);
        let own: Vec<Subnet> = subnets(definition);
        if own
            .iter()
            .any(|a| taken.iter().any(|b| choose::overlap(*a, *b)))
            && let Some(third) = choose::free_subnet(&taken)
            && let Ok(other) = Network::parse(&choose::default_network(third))
        {
            definition.ips = other.ips;
        }
        let links: std::collections::BTreeSet<String> = host_links().into_iter().collect();
        if definition
            .bridge_name()
            .is_some_and(|name| links.contains(name))
            && let Some(name) = choose::bridge_name("virbr%d", &links)
        {
            definition.set_bridge_name(&name);
        }
        if *definition != before {
            let view = entry.publish(|view| view.stored = Some(Arc::new(definition.clone())));
            self.keep_network(&view).await?;
        }
        Ok(())
    }

    /// Carries the plan out; on an error nothing is left of it.
    async fn bring_up(&self, entry: &Entry, held: &mut Held, definition: Network) -> Result<()> {
        let uuid = entry.view().uuid;
        self.check_host(&definition)?;
        let zone = self.choose_zone(&definition).await?;
        let bridge = definition.bridge_name().map(str::to_owned);
        let owned = definition.kind().owns_bridge();
        let live = LiveNetwork { definition, bridge };
        self.run_network_hooks(&live, Operation::Start).await?;
        self.record_network(uuid, &live, held, Phase::Starting)?;
        let view = entry.publish(|view| view.live = Some(Arc::new(live.clone())));
        let bridge = live.bridge.clone().unwrap_or_default();
        let steps = plan::start(&live.definition, &bridge, random_mac(), zone.as_deref());
        if let Err(error) = self.carry_out(uuid, &live, &steps, held).await {
            let made = error.kind != ErrorKind::ResourceUnavailable || !is_taken(&error);
            entry.publish(|view| view.live = None);
            if made {
                self.clear_network(uuid, &live, held.server.take()).await;
            }
            let _ = std::fs::remove_dir_all(self.network_run(uuid));
            return Err(error);
        }
        if let (Some(bridge), Some(bandwidth), true) =
            (&live.bridge, &live.definition.bandwidth, owned)
            && let Err(error) = self.limit_device(bridge, Some(bandwidth)).await
        {
            entry.publish(|view| view.live = None);
            self.clear_network(uuid, &live, held.server.take()).await;
            let _ = std::fs::remove_dir_all(self.network_run(uuid));
            return Err(error);
        }
        self.write_network_status(&view, held);
        self.tell_network_life(&view, STARTED);
        self.settle_with_others(&live.definition);
        self.tell_network_hooks(&live, Operation::Started).await;
        Ok(())
    }

    async fn carry_out(
        &self,
        uuid: Uuid,
        live: &LiveNetwork,
        steps: &[Step],
        held: &mut Held,
    ) -> Result<()> {
        for step in steps {
            match step {
                Step::Zone { device, zone } => self.put_into_zone(device, zone).await?,
                Step::Firewall => self.apply_firewall().await?,
                Step::Serve => {
                    let bridge = live.bridge.clone().unwrap_or_default();
                    let server = self.start_dnsmasq(uuid, &live.definition, &bridge).await?;
                    held.server = Some(server);
                }
                Step::Register { .. } => {
                    for words in step.resolvectl() {
                        let tool = Tool::new("resolvectl", "systemd-resolved", words);
                        tool.run().await?;
                    }
                }
                step => do_step(step)?,
            }
        }
        Ok(())
    }

    /// What the host must be like for a network to start.
    pub(super) fn check_host(&self, network: &Network) -> Result<()> {
        let name = &network.name;
        let busy = |what: String| EngineError::new(ErrorKind::Internal, what);
        check_made(network)?;
        if network.kind().owns_bridge() {
            let bridge = network.bridge_name().unwrap_or_default();
            if sys::net::index(bridge).ok().flatten().is_some() {
                return Err(busy(format!("bridge name '{bridge}' already in use.")));
            }
            for subnet in subnets(network) {
                if let Some(device) = holder_of(subnet) {
                    return Err(busy(format!(
                        "Network is already in use by interface {device}"
                    )));
                }
            }
        }
        for target in network
            .routes
            .iter()
            .filter_map(|r| model::network::route::target(r).ok())
        {
            let to = target.destination;
            if let Some((own, prefix)) = subnets(network)
                .into_iter()
                .find(|own| choose::overlap(*own, (to, target.prefix)))
            {
                return Err(EngineError::invalid(format!(
                    "network '{name}' has a route to {to}/{}, which leads back into its own subnet {own}/{prefix}",
                    target.prefix
                )));
            }
        }
        let forward = network.forward.iter();
        let devices = forward.flat_map(|f| f.interfaces.iter().chain(&f.pfs));
        let devices = devices.map(|device| ("interface", device.dev.as_str()));
        // A bridge of the host may come later, unless something is to be set on it now.
        let set_now = network.kind() == NetworkKind::HostBridge && plan::has_vlans(network);
        let bridge = network.bridge_name().filter(|_| set_now);
        for (what, device) in devices.chain(bridge.map(|bridge| ("bridge", bridge))) {
            if sys::net::index(device).ok().flatten().is_none() {
                return Err(EngineError::new(
                    ErrorKind::ResourceUnavailable,
                    format!(
                        "network '{name}' needs the {what} '{device}', which this host does not have"
                    ),
                ));
            }
        }
        if network.kind() == NetworkKind::Hostdev {
            super::pool::pool_devices(network, std::path::Path::new("/sys"))?;
        }
        Ok(())
    }

    /// Takes an active network down; a transient one is gone then.
    pub async fn stop_network(&self, uuid: Uuid) -> Result<()> {
        let entry = self.network_entry(uuid)?;
        let mut held = entry.owner.lock().await;
        let view = entry.view();
        let Some(live) = view.live.clone() else {
            return Err(EngineError::invalid(format!(
                "network '{}' is not active",
                view.name
            )));
        };
        let view = entry.publish(|view| view.live = None);
        self.forget_ports(uuid);
        self.clear_network(uuid, &live, held.server.take()).await;
        let _ = std::fs::remove_dir_all(self.network_run(uuid));
        if !view.is_persistent() {
            self.networks_table().remove(uuid);
            self.forget_leases(uuid);
        }
        self.tell_network_life(&view, STOPPED);
        self.tell_network_hooks(&live, Operation::Stopped).await;
        Ok(())
    }

    /// Takes away what a network has of the host. What cannot be taken away is told.
    pub(super) async fn clear_network(
        &self,
        uuid: Uuid,
        live: &LiveNetwork,
        server: Option<super::dnsmasq::Server>,
    ) {
        if let Some(server) = server {
            server.end().await;
        }
        if live.definition.kind().owns_bridge()
            && let Some(bridge) = &live.bridge
            && let Err(error) = sys::link::delete(bridge)
        {
            tracing::error!(%uuid, %error, "a network's bridge is left");
        }
        if live.definition.kind().owns_bridge()
            && let Some(bridge) = &live.bridge
        {
            self.leave_zone(&live.definition, bridge).await;
        }
        if let Err(error) = self.apply_firewall().await {
            tracing::error!(%uuid, %error, "a network's rules are left");
        }
        self.settle_beside_docker().await;
    }

    /// Reads which networks there are, finds the active ones again, and gives a
    /// new host its first.
    pub(crate) async fn load_networks(&self) -> Result<()> {
        self.load_firewall_sets()?;
        let stored = self.read_networks()?;
        self.adopt_networks().await;
        if stored == 0 && self.is_new_to("network") {
            self.make_default_network().await;
        }
        Ok(())
    }

    async fn make_default_network(&self) {
        let taken = taken_subnets(None);
        let Some(third) = choose::free_subnet(&taken) else {
            tracing::warn!("no subnet is free for the default network");
            return;
        };
        let xml = choose::default_network(third);
        let made = self
            .store_network(&xml, super::DefineMode::Store, true)
            .await;
        let system = self.places() == &crate::places::Places::system();
        let done = match made {
            // A daemon with a root of its own leaves the host alone until asked.
            Ok(view) if system => self.set_network_autostart(view.uuid, true).await,
            done => done.map(drop),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the default network could not be made");
        }
    }

    /// Starts the networks marked for it.
    pub(crate) async fn autostart_networks(&self) {
        for view in self.networks() {
            if !view.autostart || view.is_active() {
                continue;
            }
            if let Err(error) = self.start_network(view.uuid).await {
                tracing::error!(network = %view.name, %error, "autostart failed");
            }
        }
    }

    /// The network a machine's interface names, active; the daemon's own is
    /// started for it.
    pub(crate) async fn active_network(&self, name: &str) -> Result<Arc<NetworkView>> {
        let view = self.network_by_name(name)?;
        if view.is_active() {
            return Ok(view);
        }
        if view.ours {
            match self.start_network(view.uuid).await {
                // Somebody was quicker.
                Err(error) if !self.network_by_uuid(view.uuid)?.is_active() => return Err(error),
                _ => return self.network_by_uuid(view.uuid),
            }
        }
        Err(EngineError::invalid(format!(
            "network '{name}' is not active"
        )))
    }
}

fn is_taken(error: &EngineError) -> bool {
    error.message.contains("already in use")
}

fn do_step(step: &Step) -> Result<()> {
    let failed = |e: sys::SysError| EngineError::new(ErrorKind::SystemError, e.to_string());
    match step {
        Step::Bridge {
            name,
            mac: Mac(mac),
            stp,
            delay_s,
            mtu,
        } => sys::link::create_bridge(&BridgePlan {
            name: name.clone(),
            mac: *mac,
            stp: *stp,
            delay_s: *delay_s,
            mtu: *mtu,
        })
        .map_err(|e| match e.errno() {
            Some(code) if code == sys::net::NAME_TAKEN => EngineError::new(
                ErrorKind::ResourceUnavailable,
                format!("bridge name '{name}' already in use."),
            ),
            _ => failed(e),
        }),
        Step::WithoutIpv6 { device } => {
            // A kernel without IPv6 has nothing to switch off.
            let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
            let _ = std::fs::write(path, "1");
            Ok(())
        }
        Step::Address {
            device,
            address,
            prefix,
        } => sys::link::add_address(device, *address, *prefix).map_err(failed),
        Step::Up { device } => sys::net::set_up(device, true).map_err(failed),
        Step::Route { device, target } => sys::link::add_route(
            device,
            target.destination,
            target.prefix,
            target.gateway,
            target.metric,
        )
        .map_err(failed),
        Step::Forwarding { ipv6 } => {
            let path = match ipv6 {
                false => "/proc/sys/net/ipv4/ip_forward",
                true => "/proc/sys/net/ipv6/conf/all/forwarding",
            };
            let on = std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
            match on {
                true => Ok(()),
                false => std::fs::write(path, "1").map_err(|e| {
                    EngineError::system(&format!("cannot let the host forward packets ({path})"), e)
                }),
            }
        }
        Step::FilterVlans { device } => crate::taps::keep_vlans_apart(device),
        Step::Zone { .. } | Step::Firewall | Step::Serve | Step::Register { .. } => Ok(()),
    }
}

/// What the kernel takes of a network that makes a bridge.
fn check_made(network: &Network) -> Result<()> {
    if !network.kind().owns_bridge() {
        return Ok(());
    }
    let name = &network.name;
    let bridge = network.bridge_name().unwrap_or_default();
    let why = if !sys::net::is_name(bridge) {
        format!("'{bridge}' is no name the kernel takes for a bridge (network '{name}')")
    } else if let Some(mtu) = network.mtu.as_ref().map(|mtu| mtu.size)
        && !BRIDGE_MTU.contains(&mtu)
    {
        let (least, most) = BRIDGE_MTU.into_inner();
        format!("the mtu of network '{name}' must be from {least} to {most}, not {mtu}")
    } else if let Some(address) = network.ips.iter().filter_map(|ip| ip.ip()).find(is_nobodys) {
        format!("'{address}' cannot be the address of a host (network '{name}')")
    } else {
        return Ok(());
    };
    Err(EngineError::new(ErrorKind::ConfigUnsupported, why))
}

fn is_nobodys(address: &IpAddr) -> bool {
    address.is_multicast() || address.is_unspecified()
}

/// The subnets of a definition.
fn subnets(network: &Network) -> Vec<Subnet> {
    let ips = network.ips.iter();
    ips.filter_map(|ip| Some((ip.network()?, ip.prefix_length()?)))
        .collect()
}

/// The host's addresses that others may not have too: every device has one of
/// IPv6 that holds for its own link only.
fn host_addresses() -> Vec<sys::link::LinkAddress> {
    let mut addresses = sys::link::addresses().unwrap_or_default();
    addresses.retain(|a| match a.address {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    addresses
}

/// The subnets of the host's links, but for one of them.
fn taken_subnets(but: Option<u32>) -> Vec<Subnet> {
    let addresses = host_addresses().into_iter();
    addresses
        .filter(|a| Some(a.index) != but)
        .map(|a| (a.address, a.prefix))
        .collect()
}

/// The link that has an address in the subnet.
fn holder_of(subnet: Subnet) -> Option<String> {
    let addresses = host_addresses();
    let mut held = addresses.iter();
    let found = held.find(|a| choose::overlap((a.address, a.prefix), subnet))?;
    let links = sys::link::links().unwrap_or_default();
    let link = links.into_iter().find(|link| link.index == found.index);
    Some(link.map_or_else(|| "?".to_owned(), |link| link.name))
}
