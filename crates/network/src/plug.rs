//! What a card of a machine is plugged into: its own definition and that of
//! its network, brought together.
//!
//! [`settle`] writes into a running machine's card what the network gives it,
//! so that from then on the card alone tells all; [`plug`] reads that.

use model::domain::interface::{
    Interface, InterfaceSource, InterfaceType, PortIsolation, VirtualPort, VirtualPortParameters,
};
use model::domain::vlan::PortVlans;
use model::network::{Network, NetworkKind};
use model::xml::YesNo;
use thiserror::Error;
use uuid::Uuid;

/// A card that cannot be plugged in, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unsupported configuration: {0}")]
pub struct Refusal(pub String);

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// How a macvtap treats its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectMode {
    /// They reach each other through a switch outside.
    Vepa,
    /// They do not see each other.
    Private,
    /// They reach each other here.
    Bridge,
    /// It has the device for itself.
    Passthrough,
}

impl DirectMode {
    /// The mode of this name.
    pub fn of(name: &str) -> Option<DirectMode> {
        Some(match name {
            "vepa" => DirectMode::Vepa,
            "private" => DirectMode::Private,
            "bridge" => DirectMode::Bridge,
            "passthrough" => DirectMode::Passthrough,
            _ => return None,
        })
    }
}

/// What a card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plug {
    /// A bridge of the kernel.
    Bridge {
        /// Its name.
        name: String,
        /// Whether the card may not talk to other such ports.
        isolated: bool,
        /// Its VLANs.
        vlans: Option<PortVlans>,
    },
    /// A bridge of Open vSwitch.
    Switch(SwitchPlug),
    /// A device of the host, by a macvtap.
    Direct {
        /// The device.
        device: String,
        /// How it treats its neighbours.
        mode: DirectMode,
    },
    /// A tap that the host's own setup connects.
    Ethernet {
        /// Whether it is made (and removed) with the machine, or is there already.
        made: bool,
    },
}

/// A port of Open vSwitch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchPlug {
    /// The switch's bridge.
    pub bridge: String,
    /// What names the card for whoever steers the switch.
    pub interface_id: Uuid,
    /// The profile of the port.
    pub profile: Option<String>,
    /// Its VLANs.
    pub vlans: Option<PortVlans>,
}

/// The kind of virtual port that Open vSwitch has.
const OPENVSWITCH: &str = "openvswitch";

fn is_switched(port: Option<&VirtualPort>) -> bool {
    port.is_some_and(|port| port.kind.as_deref() == Some(OPENVSWITCH))
}

fn isolated(port: Option<&PortIsolation>) -> bool {
    port.and_then(|port| port.isolated)
        .is_some_and(YesNo::is_yes)
}

/// Writes what a network gives into the card: bridge, VLANs, virtual port,
/// isolation. `bridge` is the network's, where it has one; `fresh` are ids that
/// nobody has yet, for the port and for the switch.
pub fn settle(
    interface: &mut Interface,
    network: &Network,
    bridge: Option<&str>,
    fresh: [Uuid; 2],
) -> Result<(), Refusal> {
    let name = &network.name;
    let source: &mut InterfaceSource = interface.source.get_or_insert_with(Default::default);
    let group = network.port_group(source.portgroup.as_deref());
    if let (Some(wanted), None) = (&source.portgroup, group) {
        return refuse(format!("network '{name}' has no port group '{wanted}'"));
    }
    source.portid.get_or_insert(fresh[0]);
    source.bridge = bridge.map(str::to_owned);
    if interface.vlan.is_none() {
        let of_group = group.and_then(|group| group.vlan.clone());
        interface.vlan = of_group.or_else(|| network.vlan.clone());
    }
    let of_group = group.and_then(|group| group.virtualport.as_ref());
    for given in [of_group, network.virtualport.as_ref()]
        .into_iter()
        .flatten()
    {
        merge_port(&mut interface.virtualport, given)
            .map_err(|why| Refusal(format!("network '{name}': {why}")))?;
    }
    name_port(interface.virtualport.as_mut(), fresh[1]);
    let alone = isolated(network.isolation.as_ref())
        || group.is_some_and(|group| isolated(group.isolation.as_ref()));
    if alone && interface.isolation.is_none() {
        let isolated = Some(YesNo::Yes);
        interface.isolation = Some(PortIsolation { isolated });
    }
    Ok(())
}

/// The same for a card that names its bridge or device itself: an id for the switch.
pub fn settle_alone(interface: &mut Interface, fresh: Uuid) {
    name_port(interface.virtualport.as_mut(), fresh);
}

/// What the card says itself holds; what it leaves open is as given.
fn merge_port(own: &mut Option<VirtualPort>, given: &VirtualPort) -> Result<(), String> {
    let Some(own) = own else {
        *own = Some(given.clone());
        return Ok(());
    };
    match (&own.kind, &given.kind) {
        (Some(own), Some(given)) if own != given => {
            return Err(format!(
                "attempt to merge virtualports with mismatched types: {own} and {given}"
            ));
        }
        (None, given) => own.kind.clone_from(given),
        _ => {}
    }
    let Some(given) = &given.parameters else {
        return Ok(());
    };
    let parameters = own.parameters.get_or_insert_with(Default::default);
    let VirtualPortParameters {
        manager_id,
        type_id,
        type_id_version,
        instance_id,
        interface_id,
        profile_id,
    } = parameters;
    *manager_id = manager_id.or(given.manager_id);
    *type_id = type_id.or(given.type_id);
    *type_id_version = type_id_version.or(given.type_id_version);
    *instance_id = instance_id.or(given.instance_id);
    *interface_id = interface_id.or(given.interface_id);
    if profile_id.is_none() {
        profile_id.clone_from(&given.profile_id);
    }
    Ok(())
}

/// A port of Open vSwitch always has an id.
fn name_port(port: Option<&mut VirtualPort>, fresh: Uuid) {
    if let Some(port) = port
        && is_switched(Some(port))
    {
        let parameters = port.parameters.get_or_insert_with(Default::default);
        parameters.interface_id.get_or_insert(fresh);
    }
}

/// The mode of the macvtaps of a network without a bridge.
pub fn direct_mode(network: &Network) -> Option<&'static str> {
    use model::network::forward::ForwardMode;
    if network.kind() != NetworkKind::Direct {
        return None;
    }
    Some(match network.forward.as_ref()?.mode {
        ForwardMode::Private => "private",
        ForwardMode::Vepa => "vepa",
        ForwardMode::Passthrough => "passthrough",
        _ => "bridge",
    })
}

/// What a settled card is plugged into; none for those that need no device of the host.
pub fn plug(interface: &Interface) -> Result<Option<Plug>, Refusal> {
    let source = interface.source.as_deref();
    let kind = interface.actual_kind();
    let vlan = interface.vlan.as_ref();
    let vlans = vlan.map_or(Ok(None), |vlan| vlan.port()).map_err(Refusal)?;
    let port = interface.virtualport.as_ref();
    let switched = is_switched(port);
    if let Some(port) = port.filter(|_| !switched) {
        let name = port.kind.as_deref().unwrap_or_default();
        return refuse(format!(
            "<virtualport type='{name}'> is not supported: only 'openvswitch' is"
        ));
    }
    if switched && kind != InterfaceType::Bridge {
        return refuse(format!(
            "<virtualport type='openvswitch'> needs an interface on a bridge, not one of type '{kind}'"
        ));
    }
    let vlans_work = matches!(kind, InterfaceType::Bridge | InterfaceType::Hostdev);
    if vlans.is_some() && !vlans_work {
        return refuse(match source.and_then(|s| s.network.as_deref()) {
            Some(network) => format!(
                "an interface connecting to network '{network}' is requesting a vlan tag, but that is not supported for this type of network"
            ),
            None => format!(
                "an interface of type '{kind}' is requesting a vlan tag, but that is not supported for this type of connection"
            ),
        });
    }
    let alone = isolated(interface.isolation.as_ref());
    if alone && (switched || kind != InterfaceType::Bridge) {
        return refuse(
            "port isolation (<port isolated='yes'/>) is supported on Linux bridges only",
        );
    }
    Ok(match kind {
        InterfaceType::Bridge => {
            let Some(name) = source.and_then(|s| s.bridge.clone()) else {
                return refuse("the interface names no bridge of the host");
            };
            Some(match port.and_then(|port| port.parameters.as_ref()) {
                Some(parameters) => Plug::Switch(SwitchPlug {
                    bridge: name,
                    interface_id: parameters.interface_id.unwrap_or_default(),
                    profile: parameters.profile_id.clone(),
                    vlans,
                }),
                None => Plug::Bridge {
                    name,
                    isolated: alone,
                    vlans,
                },
            })
        }
        InterfaceType::Direct => {
            let mode = source.and_then(|s| s.mode.as_deref()).unwrap_or("vepa");
            let Some(device) = source.and_then(|s| s.dev.clone()) else {
                return refuse("the interface names no device of the host");
            };
            let Some(mode) = DirectMode::of(mode) else {
                return refuse(format!("unknown mode '{mode}' of a direct interface"));
            };
            Some(Plug::Direct { device, mode })
        }
        InterfaceType::Ethernet => {
            if let Some(script) = interface.script.as_ref().or(interface.downscript.as_ref()) {
                return refuse(format!(
                    "scripts of interfaces ('{}') are not run: connect the tap on the host, or use managed='no' with a tap of your own",
                    script.path
                ));
            }
            let target = interface.target.as_ref();
            let theirs = target.is_some_and(|target| target.managed == Some(YesNo::No));
            if theirs && target.is_none_or(|target| target.dev.is_none()) {
                return refuse("target managed='no' needs the name of the tap (<target dev=…>)");
            }
            Some(Plug::Ethernet { made: !theirs })
        }
        _ => None,
    })
}
