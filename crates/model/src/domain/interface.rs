//! Network cards.

use super::address::PciAddress;
use super::info::{DeviceInfo, VirtioOptions};
use crate::xml::{Mac, OnOff, YesNo, element, keyword};

keyword! {
    /// What a card is connected to.
    pub enum InterfaceType {
        User = "user",
        Ethernet = "ethernet",
        VhostUser = "vhostuser",
        Server = "server",
        Client = "client",
        Mcast = "mcast",
        Network = "network",
        Bridge = "bridge",
        Internal = "internal",
        Direct = "direct",
        Hostdev = "hostdev",
        Udp = "udp",
        Vdpa = "vdpa",
        Null = "null",
        Vds = "vds",
    }
}

element! {
    /// A card's MAC address.
    pub struct MacElement {
        req address: Mac = "address",
        attr kind: Option<String> = "type",
        attr check: Option<YesNo> = "check",
        attr current_address: Option<Mac> = "currentAddress",
    }
}

element! {
    /// The local end of a UDP tunnel.
    pub struct UdpLocal {
        attr address: Option<String> = "address",
        attr port: Option<u32> = "port",
    }
}

element! {
    /// An IP address.
    pub struct IpAddress {
        req address: String = "address",
        attr family: Option<String> = "family",
        attr prefix: Option<u32> = "prefix",
        attr peer: Option<String> = "peer",
    }
}

element! {
    /// A route.
    pub struct Route {
        attr family: Option<String> = "family",
        req address: String = "address",
        attr netmask: Option<String> = "netmask",
        attr prefix: Option<u32> = "prefix",
        attr gateway: Option<String> = "gateway",
        attr metric: Option<u32> = "metric",
    }
}

element! {
    /// A PCI or USB device of the host, as a card's source.
    pub struct SourceAddress {
        attr kind: Option<String> = "type",
        flat pci: PciAddress,
    }
}

keyword! {
    /// How a macvtap device treats its neighbours.
    pub enum MacvtapMode {
        Vepa = "vepa",
        Private = "private",
        Bridge = "bridge",
        Passthrough = "passthrough",
    }
}

element! {
    /// The host's side of a card. Which attributes are meant depends on the type.
    pub struct InterfaceSource {
        attr network: Option<String> = "network",
        attr portgroup: Option<String> = "portgroup",
        live portid: Option<uuid::Uuid> = "portid",
        attr bridge: Option<String> = "bridge",
        attr kind: Option<String> = "type",
        attr path: Option<String> = "path",
        attr address: Option<String> = "address",
        attr port: Option<u32> = "port",
        attr name: Option<String> = "name",
        attr dev: Option<String> = "dev",
        attr mode: Option<String> = "mode",
        attr managed: Option<YesNo> = "managed",
        attr switch_id: Option<uuid::Uuid> = "switchid",
        attr port_id: Option<String> = "portgroupid",
        attr connection_id: Option<String> = "connectionid",
        child reconnect: Option<super::storage::Reconnect> = "reconnect",
        child local: Option<UdpLocal> = "local",
        list ips: Vec<IpAddress> = "ip",
        list routes: Vec<Route> = "route",
        child hostdev: Option<SourceAddress> = "address",
    }
}

element! {
    /// Parameters of a virtual port.
    pub struct VirtualPortParameters {
        attr manager_id: Option<u32> = "managerid",
        attr type_id: Option<u32> = "typeid",
        attr type_id_version: Option<u32> = "typeidversion",
        attr instance_id: Option<uuid::Uuid> = "instanceid",
        attr interface_id: Option<uuid::Uuid> = "interfaceid",
        attr profile_id: Option<String> = "profileid",
    }
}

element! {
    /// A port of a virtual switch.
    pub struct VirtualPort {
        attr kind: Option<String> = "type",
        child parameters: Option<VirtualPortParameters> = "parameters",
    }
}

element! {
    /// A VLAN tag.
    pub struct VlanTag {
        req id: u32 = "id",
        attr native_mode: Option<String> = "nativeMode",
    }
}

element! {
    /// The VLANs of a card.
    pub struct Vlan {
        attr trunk: Option<YesNo> = "trunk",
        list tags: Vec<VlanTag> = "tag",
    }
}

element! {
    /// Limits in one direction: KiB per second, and KiB of burst.
    pub struct BandwidthLimit {
        attr average: Option<u64> = "average",
        attr peak: Option<u64> = "peak",
        attr floor: Option<u64> = "floor",
        attr burst: Option<u64> = "burst",
    }
}

element! {
    /// Limits of a card's traffic.
    pub struct Bandwidth {
        child inbound: Option<BandwidthLimit> = "inbound",
        child outbound: Option<BandwidthLimit> = "outbound",
    }
}

element! {
    /// A program run when the card is plugged in or out.
    pub struct Script {
        req path: String = "path",
    }
}

element! {
    /// The device on the host.
    pub struct InterfaceTarget {
        attr dev: Option<String> = "dev",
        attr managed: Option<YesNo> = "managed",
    }
}

element! {
    /// The name in the guest (containers only).
    pub struct InterfaceGuest {
        attr dev: Option<String> = "dev",
        attr actual: Option<String> = "actual",
    }
}

element! {
    /// The card's model.
    pub struct InterfaceModel {
        req name: String = "type",
    }
}

element! {
    /// Offloads of one side of a virtio card.
    pub struct Offloads {
        attr csum: Option<OnOff> = "csum",
        attr gso: Option<OnOff> = "gso",
        attr tso4: Option<OnOff> = "tso4",
        attr tso6: Option<OnOff> = "tso6",
        attr ecn: Option<OnOff> = "ecn",
        attr ufo: Option<OnOff> = "ufo",
        attr mrg_rxbuf: Option<OnOff> = "mrg_rxbuf",
    }
}

keyword! {
    /// Who moves the packets of a virtio card.
    pub enum InterfaceBackendDriver {
        Qemu = "qemu",
        Vhost = "vhost",
        Vfio = "vfio",
        Xen = "xen",
        Kvm = "kvm",
    }
}

element! {
    /// How QEMU handles a card.
    pub struct InterfaceDriver {
        attr name: Option<InterfaceBackendDriver> = "name",
        attr model: Option<String> = "model",
        attr txmode: Option<String> = "txmode",
        attr ioeventfd: Option<OnOff> = "ioeventfd",
        attr event_idx: Option<OnOff> = "event_idx",
        attr queues: Option<u32> = "queues",
        attr rx_queue_size: Option<u32> = "rx_queue_size",
        attr tx_queue_size: Option<u32> = "tx_queue_size",
        attr rss: Option<OnOff> = "rss",
        attr rss_hash_report: Option<OnOff> = "rss_hash_report",
        flat virtio: VirtioOptions,
        child host: Option<Offloads> = "host",
        child guest: Option<Offloads> = "guest",
    }
}

element! {
    /// The host's devices and helper behind a card.
    pub struct InterfaceBackend {
        attr kind: Option<String> = "type",
        attr tap: Option<String> = "tap",
        attr vhost: Option<String> = "vhost",
        attr log_file: Option<String> = "logFile",
        attr hostname: Option<String> = "hostname",
        attr fqdn: Option<String> = "fqdn",
    }
}

element! {
    /// A variable of a network filter.
    pub struct FilterParameter {
        req name: String = "name",
        req value: String = "value",
    }
}

element! {
    /// The network filter of a card.
    pub struct FilterRef {
        req filter: String = "filter",
        list parameters: Vec<FilterParameter> = "parameter",
    }
}

keyword! {
    /// Whether the cable is plugged in.
    pub enum LinkState {
        Default = "default",
        Up = "up",
        Down = "down",
    }
}

element! {
    /// The state of the cable.
    pub struct Link {
        req state: LinkState = "state",
    }
}

element! {
    /// Tuning of the host's device.
    pub struct InterfaceTune {
        leaf sndbuf: Option<u64> = "sndbuf",
    }
}

element! {
    /// The largest packet, in bytes.
    pub struct Mtu {
        req size: u32 = "size",
    }
}

element! {
    /// How many frames one interrupt waits for.
    pub struct CoalesceFrames {
        attr max: Option<u32> = "max",
    }
}

element! {
    /// Interrupt coalescing of received frames.
    pub struct CoalesceRx {
        child frames: Option<CoalesceFrames> = "frames",
    }
}

element! {
    /// Interrupt coalescing.
    pub struct Coalesce {
        child rx: Option<CoalesceRx> = "rx",
    }
}

element! {
    /// A card that stands in for another.
    pub struct Teaming {
        req kind: String = "type",
        attr persistent: Option<String> = "persistent",
    }
}

element! {
    /// A range of forwarded ports.
    pub struct PortRange {
        req start: u32 = "start",
        attr end: Option<u32> = "end",
        attr to: Option<u32> = "to",
        attr exclude: Option<YesNo> = "exclude",
    }
}

element! {
    /// Ports of the host forwarded to the guest.
    pub struct PortForward {
        req proto: String = "proto",
        attr address: Option<String> = "address",
        attr dev: Option<String> = "dev",
        list ranges: Vec<PortRange> = "range",
    }
}

element! {
    /// A network card.
    pub struct Interface {
        req kind: InterfaceType = "type",
        attr managed: Option<YesNo> = "managed",
        attr trust_guest_rx_filters: Option<YesNo> = "trustGuestRxFilters",
        child mac: Option<MacElement> = "mac",
        child source: Option<Box<InterfaceSource>> = "source",
        child vlan: Option<Vlan> = "vlan",
        child virtualport: Option<VirtualPort> = "virtualport",
        list ips: Vec<IpAddress> = "ip",
        list routes: Vec<Route> = "route",
        list port_forwards: Vec<PortForward> = "portForward",
        child bandwidth: Option<Bandwidth> = "bandwidth",
        child isolation: Option<PortIsolation> = "port",
        child script: Option<Script> = "script",
        child downscript: Option<Script> = "downscript",
        child backend_domain: Option<super::disk::BackendDomain> = "backenddomain",
        child target: Option<InterfaceTarget> = "target",
        child guest: Option<InterfaceGuest> = "guest",
        child model: Option<InterfaceModel> = "model",
        child driver: Option<Box<InterfaceDriver>> = "driver",
        child backend: Option<InterfaceBackend> = "backend",
        child filterref: Option<FilterRef> = "filterref",
        child link: Option<Link> = "link",
        child tune: Option<InterfaceTune> = "tune",
        child teaming: Option<Teaming> = "teaming",
        child mtu: Option<Mtu> = "mtu",
        child coalesce: Option<Coalesce> = "coalesce",
        flat info: DeviceInfo,
    }
}

element! {
    /// Whether the card may talk to other isolated ports of its bridge.
    pub struct PortIsolation {
        attr isolated: Option<YesNo> = "isolated",
    }
}

impl Interface {
    /// What the card of a running machine is connected to: of one on a
    /// network, what that network has given it.
    pub fn actual_kind(&self) -> InterfaceType {
        let source = self.source.as_deref();
        match self.kind {
            InterfaceType::Network if source.is_some_and(|s| s.hostdev.is_some()) => {
                InterfaceType::Hostdev
            }
            InterfaceType::Network if source.is_some_and(|s| s.mode.is_some()) => {
                InterfaceType::Direct
            }
            InterfaceType::Network => InterfaceType::Bridge,
            kind => kind,
        }
    }

    /// Whether its packets go through a program that is started for it.
    pub fn uses_passt(&self) -> bool {
        let backend = self.backend.as_ref();
        self.kind == InterfaceType::User
            && backend.is_some_and(|backend| backend.kind.as_deref() == Some("passt"))
    }

    /// The name of its device on the host, once it has one.
    pub fn target_dev(&self) -> Option<&str> {
        self.target.as_ref()?.dev.as_deref()
    }

    /// Names its device on the host.
    pub fn set_target_dev(&mut self, name: &str) {
        let target = self.target.get_or_insert_with(InterfaceTarget::default);
        target.dev = Some(name.to_owned());
    }

    /// The MAC address, once chosen.
    pub fn mac(&self) -> Option<Mac> {
        self.mac.as_ref().map(|m| m.address)
    }

    /// The model's name, once chosen.
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_ref().map(|m| m.name.as_str())
    }

    /// Whether the model is one of virtio's.
    pub fn is_virtio(&self) -> bool {
        self.model_name().is_some_and(|m| {
            matches!(
                m,
                "virtio" | "virtio-transitional" | "virtio-non-transitional"
            )
        })
    }
}
