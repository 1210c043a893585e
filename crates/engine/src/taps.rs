//! Devices of the host that machines' cards are plugged into: taps on bridges
//! and switches, macvtaps, taps that are left to the host's own setup.
//!
//! A tap goes with its last descriptor, so one whose QEMU has ended needs no
//! removal. A macvtap stays, so its name is recorded before it is made.

use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::interface::{Interface, LinkState};
use model::domain::vlan::PortVlans;
use network::plug::{DirectMode, Plug, plug};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use sys::bridge;
use sys::macvtap::{self, MacvtapMode, MacvtapPlan};
use sys::tap::{Tap, TapPlan};

/// What connects a run's cards, by the card's alias and the queue's number.
pub(crate) type Queues = BTreeMap<(String, u32), OwnedFd>;

/// How the names of macvtaps begin that nobody chose.
const MACVTAP: &str = "macvtap";
/// Most numbers tried for such a name.
const MACVTAP_NUMBERS_MAX: u32 = 65_536;

/// Names the devices that stay when nobody holds them, so that they can be
/// recorded; whether there are any.
pub(crate) fn name_lasting(domain: &mut Domain, wanted: impl Fn(&str) -> bool) -> Result<bool> {
    let mut taken: Option<BTreeSet<String>> = None;
    for interface in cards(domain, wanted) {
        if !matches!(settled(interface)?, Some(Plug::Direct { .. })) {
            continue;
        }
        let taken = taken.get_or_insert_with(|| {
            let links = sys::link::links().unwrap_or_default();
            links.into_iter().map(|link| link.name).collect()
        });
        let name = match interface.target_dev() {
            Some(name) => name.to_owned(),
            None => (0..MACVTAP_NUMBERS_MAX)
                .map(|number| format!("{MACVTAP}{number}"))
                .find(|name| !taken.contains(name))
                .ok_or_else(|| EngineError::failed("no name is left for a macvtap"))?,
        };
        interface.set_target_dev(&name);
        taken.insert(name);
    }
    Ok(taken.is_some())
}

/// Makes the device of every wanted card, plugs it in where that is done with
/// the kernel alone, and writes its name into the running definition.
pub(crate) fn make(domain: &mut Domain, wanted: impl Fn(&str) -> bool) -> Result<Queues> {
    let mut queues = Queues::new();
    for interface in cards(domain, wanted) {
        let Some(plug) = settled(interface)? else {
            continue;
        };
        let made = match plug {
            Plug::Bridge {
                name,
                isolated,
                vlans,
            } => on_bridge(interface, &name, isolated, vlans.as_ref())?,
            // A switch without a place in the kernel does not know of the
            // header that spares virtio its checksums.
            Plug::Switch(plug) => {
                let in_kernel = sys::net::driver(&plug.bridge).is_ok_and(|name| name != "tun");
                new_tap(&tap_plan(interface, None, in_kernel))?
            }
            Plug::Direct { device, mode } => on_device(interface, &device, mode)?,
            Plug::Ethernet { made: true } => ethernet(interface)?,
            Plug::Ethernet { made: false } => existing(interface)?,
        };
        finish(interface, &made.name)?;
        let alias = alias(interface);
        for (number, queue) in (0..).zip(made.queues) {
            queues.insert((alias.clone(), number), queue);
        }
        interface.set_target_dev(&made.name);
    }
    Ok(queues)
}

/// Removes the devices of a machine that stay when nobody holds them.
pub(crate) fn remove_lasting(domain: &Domain) {
    domain.devices.interfaces.iter().for_each(remove);
}

/// Removes the device of one card, if it stays when nobody holds it.
pub(crate) fn remove(interface: &Interface) {
    if let (Ok(Some(Plug::Direct { device, .. })), Some(name)) =
        (plug(interface), interface.target_dev())
        && let Err(error) = macvtap::remove(name, &device)
    {
        tracing::error!(%error, "a machine's macvtap is left");
    }
}

/// Lets a bridge keep VLANs apart; machines that are on it already tag nothing.
pub(crate) fn keep_vlans_apart(name: &str) -> Result<()> {
    let machine = |link: &sys::link::Link| link.kind.as_deref() == Some("tun");
    bridge::filter_vlans(name, machine).map_err(|error| match bridge::lacks_filtering(&error) {
        true => EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!(
                "bridge '{name}' cannot keep VLANs apart: this kernel is built without \
                 CONFIG_BRIDGE_VLAN_FILTERING; use a bridge of Open vSwitch \
                 (<virtualport type='openvswitch'/>)"
            ),
        ),
        false => EngineError::system("cannot let the bridge keep VLANs apart", error),
    })
}

/// Sets the VLANs of a port of a bridge.
fn set_vlans(name: &str, port: &str, vlans: &PortVlans) -> Result<()> {
    keep_vlans_apart(name)?;
    bridge::set_port_vlans(port, &kernel_vlans(vlans))
        .map_err(|e| EngineError::system("cannot set the VLANs of the machine's port", e))
}

fn kernel_vlans(vlans: &PortVlans) -> bridge::PortVlans {
    match vlans {
        PortVlans::Access(vlan) => bridge::PortVlans {
            tagged: Vec::new(),
            native: Some((*vlan, false)),
        },
        PortVlans::Trunk { tags, native } => bridge::PortVlans {
            tagged: tags.clone(),
            native: native.map(|native| (native.tag, native.tagged)),
        },
    }
}

fn cards(
    domain: &mut Domain,
    wanted: impl Fn(&str) -> bool,
) -> impl Iterator<Item = &mut Interface> {
    let interfaces = domain.devices.interfaces.iter_mut();
    interfaces.filter(move |interface| wanted(interface.info.alias.as_deref().unwrap_or_default()))
}

fn alias(interface: &Interface) -> String {
    interface.info.alias.clone().unwrap_or_default()
}

fn settled(interface: &Interface) -> Result<Option<Plug>> {
    plug(interface)
        .map_err(|refusal| EngineError::new(ErrorKind::ConfigUnsupported, refusal.to_string()))
}

fn queue_count(interface: &Interface) -> u32 {
    let driver = interface.driver.as_ref();
    driver.and_then(|driver| driver.queues).unwrap_or(1)
}

fn tap_plan(interface: &Interface, bridge: Option<String>, vnet_header: bool) -> TapPlan {
    TapPlan {
        name: interface.target_dev().unwrap_or("vnet%d").to_owned(),
        queues: queue_count(interface),
        vnet_header,
        guest_mac: interface.mac().map(|mac| mac.0),
        mtu: interface.mtu.as_ref().map(|mtu| mtu.size),
        bridge,
        up: true,
    }
}

fn new_tap(plan: &TapPlan) -> Result<Tap> {
    sys::tap::create(plan)
        .map_err(|e| EngineError::system("cannot connect the machine to its network", e))
}

fn on_bridge(
    interface: &Interface,
    name: &str,
    isolated: bool,
    vlans: Option<&PortVlans>,
) -> Result<Tap> {
    let tap = new_tap(&tap_plan(interface, Some(name.to_owned()), true))?;
    set_port(&tap.name, name, isolated, vlans)?;
    Ok(tap)
}

/// Puts a device that is there on a bridge.
pub(crate) fn join_bridge(
    device: &str,
    bridge: &str,
    isolated: bool,
    vlans: Option<&PortVlans>,
) -> Result<()> {
    sys::net::attach(bridge, device)
        .map_err(|e| EngineError::system("cannot put the card on its bridge", e))?;
    set_port(device, bridge, isolated, vlans)
}

fn set_port(device: &str, bridge: &str, isolated: bool, vlans: Option<&PortVlans>) -> Result<()> {
    if isolated {
        sys::link::set_isolated(device, true)
            .map_err(|e| EngineError::system("cannot isolate the machine on its bridge", e))?;
    }
    match vlans {
        Some(vlans) => set_vlans(bridge, device, vlans),
        None => Ok(()),
    }
}

fn on_device(interface: &Interface, device: &str, mode: DirectMode) -> Result<Tap> {
    let name = interface.target_dev().unwrap_or_default().to_owned();
    let plan = MacvtapPlan {
        name: name.clone(),
        lower: device.to_owned(),
        mode: match mode {
            DirectMode::Vepa => MacvtapMode::Vepa,
            DirectMode::Private => MacvtapMode::Private,
            DirectMode::Bridge => MacvtapMode::Bridge,
            DirectMode::Passthrough => MacvtapMode::Passthrough,
        },
        mac: interface.mac().map(|mac| mac.0).unwrap_or_default(),
        mtu: interface.mtu.as_ref().map(|mtu| mtu.size),
        queues: queue_count(interface),
        vnet_header: true,
        up: !is_cut(interface),
    };
    let queues = macvtap::create(&plan).map_err(|error| match macvtap::is_missing(&error) {
        true => EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!(
                "the kernel cannot share '{device}' with machines: it has no macvtap (load the \
                 module: modprobe macvtap)"
            ),
        ),
        false => EngineError::system("cannot connect the machine to its device", error),
    })?;
    Ok(Tap { name, queues })
}

fn is_cut(interface: &Interface) -> bool {
    let link = interface.link.as_ref();
    link.is_some_and(|link| link.state == LinkState::Down)
}

/// What holds for every device that is made for a machine.
fn finish(interface: &Interface, device: &str) -> Result<()> {
    let coalesce = interface.coalesce.as_ref().and_then(|c| c.rx.as_ref());
    let frames = coalesce.and_then(|rx| rx.frames.as_ref()?.max);
    match frames {
        None => Ok(()),
        Some(frames) => sys::ethtool::set_rx_frames(device, frames).map_err(|e| {
            EngineError::system("cannot set how many frames an interrupt waits for", e)
        }),
    }
}

fn ethernet(interface: &Interface) -> Result<Tap> {
    let tap = new_tap(&tap_plan(interface, None, true))?;
    let ips = interface.source.iter().flat_map(|source| &source.ips);
    for ip in ips {
        let address = ip.address.parse().map_err(|_| {
            EngineError::new(
                ErrorKind::XmlError,
                format!(
                    "'{}' is no address for the host's end of a card",
                    ip.address
                ),
            )
        })?;
        let longest = if ip.address.contains(':') { 128 } else { 32 };
        let prefix = ip.prefix.and_then(|prefix| u8::try_from(prefix).ok());
        sys::link::add_address(&tap.name, address, prefix.unwrap_or(longest))
            .map_err(|e| EngineError::system("cannot give the host's end its address", e))?;
    }
    Ok(tap)
}

fn existing(interface: &Interface) -> Result<Tap> {
    let name = interface.target_dev().unwrap_or_default().to_owned();
    let queues = sys::tap::open_existing(&name, queue_count(interface), true);
    let queues = queues.map_err(|e| {
        EngineError::system(
            "cannot use the tap (target managed='no': the host's own setup makes it before the machine starts)",
            e,
        )
    })?;
    Ok(Tap { name, queues })
}
