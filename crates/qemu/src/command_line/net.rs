//! Network cards and what they are connected to.

use std::net::IpAddr;

use model::domain::interface::{
    Interface, InterfaceBackendDriver, InterfaceDriver, InterfaceSource, InterfaceType, LinkState,
    Offloads,
};
use model::domain::os::BootDevice;
use model::xml::OnOff;
use serde_json::json;

use super::builder::{Builder, Result, alias};
use super::launch::{DescriptorPurpose, FileMode, FileRole, Unsupported};
use super::place::virtio;
use super::props::Props;
use crate::qmp::commands;

impl Builder<'_> {
    /// All network cards.
    pub(super) fn interfaces(&mut self) -> Result<()> {
        for (position, interface) in self.domain.devices.interfaces.iter().enumerate() {
            if interface.actual_kind() == InterfaceType::Hostdev {
                self.interface_hostdev(interface)?;
                continue;
            }
            let netdev = self.netdev(interface)?;
            self.option("-netdev", netdev.to_json());
            let card = self.card(interface, position)?;
            self.device(card)?;
            if interface
                .link
                .as_ref()
                .is_some_and(|link| link.state == LinkState::Down)
            {
                self.setup
                    .push(commands::set_link(alias(&interface.info)?, false).untyped());
            }
        }
        Ok(())
    }

    fn card(&mut self, interface: &Interface, position: usize) -> Result<Props> {
        let model = interface.model_name().unwrap_or("rtl8139");
        let driver = match model {
            "virtio" => "virtio-net-pci",
            "virtio-transitional" => "virtio-net-pci-transitional",
            "virtio-non-transitional" => "virtio-net-pci-non-transitional",
            other => other,
        };
        let mut props = Props::device(driver);
        let settings = interface.driver.as_deref().cloned().unwrap_or_default();
        if interface.is_virtio() {
            virtio(&mut props, &settings.virtio);
            virtio_card(&mut props, &settings);
        }
        if let Some(mtu) = interface.mtu.as_ref().filter(|_| interface.is_virtio()) {
            props.set("host_mtu", mtu.size);
        }
        let alias = alias(&interface.info)?;
        props.set("netdev", format!("host{alias}"));
        props.set("id", alias);
        props.set_some("mac", interface.mac().map(|mac| mac.to_string()));
        let of_os = || {
            (position == 0)
                .then(|| self.os_boot_index(BootDevice::Network))
                .flatten()
        };
        props.set_some("bootindex", interface.info.boot_order().or_else(of_os));
        if let Some(teaming) = &interface.teaming
            && teaming.kind == "persistent"
        {
            props.set("failover", true);
        }
        self.place(&mut props, &interface.info)?;
        Ok(props)
    }

    fn netdev(&mut self, interface: &Interface) -> Result<Props> {
        let id = format!("host{}", alias(&interface.info)?);
        let source = interface.source.as_deref().cloned().unwrap_or_default();
        let mut props = match interface.kind {
            InterfaceType::User if interface.uses_passt() => self.passt(interface)?,
            InterfaceType::User => user(interface)?,
            InterfaceType::Network
            | InterfaceType::Bridge
            | InterfaceType::Ethernet
            | InterfaceType::Direct => self.tap(interface)?,
            InterfaceType::Server => Props::new("type", "socket").with("listen", peer(&source)),
            InterfaceType::Client => Props::new("type", "socket").with("connect", peer(&source)),
            InterfaceType::Mcast => Props::new("type", "socket").with("mcast", peer(&source)),
            InterfaceType::Udp => {
                let local = source.local.clone().unwrap_or_default();
                let local = format!(
                    "{}:{}",
                    local.address.unwrap_or_default(),
                    local.port.unwrap_or(0)
                );
                Props::new("type", "socket")
                    .with("udp", peer(&source))
                    .with("localaddr", local)
            }
            InterfaceType::VhostUser => self.vhost_user(interface, &source)?,
            // A card without a cable still needs an end to be connected to.
            InterfaceType::Null => Props::new("type", "hubport").with("hubid", 0),
            other => {
                return Err(Unsupported::new(format!(
                    "interface type '{other}' is not supported"
                )));
            }
        };
        props.set("id", id);
        Ok(props)
    }

    fn tap(&mut self, interface: &Interface) -> Result<Props> {
        let settings = interface.driver.as_deref().cloned().unwrap_or_default();
        let queues = settings.queues.unwrap_or(1).max(1);
        let name = alias(&interface.info)?.to_owned();
        let tap = |queue| DescriptorPurpose::Tap {
            alias: name.clone(),
            queue,
        };
        let taps: Vec<i32> = (0..queues)
            .map(|queue| self.descriptor(tap(queue)))
            .collect();
        let mut props = Props::new("type", "tap");
        set_descriptors(&mut props, ("fd", "fds"), &taps);
        if self.uses_vhost(interface, &settings)? {
            props.set("vhost", true);
            let vhost = |queue| DescriptorPurpose::VhostNet {
                alias: name.clone(),
                queue,
            };
            let hosts: Vec<i32> = (0..queues)
                .map(|queue| self.descriptor(vhost(queue)))
                .collect();
            set_descriptors(&mut props, ("vhostfd", "vhostfds"), &hosts);
        }
        props.set_some(
            "sndbuf",
            interface.tune.as_ref().and_then(|tune| tune.sndbuf),
        );
        Ok(props)
    }

    /// The other end of the socket is passt's.
    fn passt(&mut self, interface: &Interface) -> Result<Props> {
        let socket = self.descriptor(DescriptorPurpose::Tap {
            alias: alias(&interface.info)?.to_owned(),
            queue: 0,
        });
        Ok(Props::new("type", "stream")
            .with("addr", json!({ "type": "fd", "str": socket.to_string() }))
            .with("server", false))
    }

    fn uses_vhost(&self, interface: &Interface, settings: &InterfaceDriver) -> Result<bool> {
        match settings.name {
            Some(InterfaceBackendDriver::Qemu) => Ok(false),
            Some(InterfaceBackendDriver::Vhost) if !interface.is_virtio() => Err(Unsupported::new(
                "vhost-net is only supported for virtio network interfaces",
            )),
            Some(InterfaceBackendDriver::Vhost) if !self.context.vhost_net => Err(
                Unsupported::new("vhost-net was requested for an interface, but is unavailable"),
            ),
            _ => Ok(interface.is_virtio() && self.context.vhost_net),
        }
    }

    fn vhost_user(&mut self, interface: &Interface, source: &InterfaceSource) -> Result<Props> {
        let path = source.path.as_deref().unwrap_or_default();
        let id = format!("char{}", alias(&interface.info)?);
        let mut list = super::props::List::new("socket");
        list.set("id", &id).set("path", path);
        if source.mode.as_deref() == Some("server") {
            list.set("server", "on");
            self.file(path, FileMode::Create, FileRole::Socket);
        } else {
            self.file(path, FileMode::ReadWrite, FileRole::Socket);
        }
        self.option("-chardev", list.finish());
        let queues = interface.driver.as_ref().and_then(|driver| driver.queues);
        Ok(Props::new("type", "vhost-user")
            .with("chardev", id)
            .maybe("queues", queues))
    }

    fn interface_hostdev(&mut self, interface: &Interface) -> Result<()> {
        let address = interface
            .source
            .as_ref()
            .and_then(|source| source.hostdev.as_ref());
        let Some(address) = address else {
            return Err(Unsupported::new(
                "interface type 'hostdev' needs a PCI address",
            ));
        };
        let mut props = Props::device("vfio-pci")
            .with("host", address.pci.to_string())
            .with("id", alias(&interface.info)?);
        props.set_some("bootindex", interface.info.boot_order());
        if let Some(teaming) = &interface.teaming {
            props.set_some("failover_pair_id", teaming.persistent.as_deref());
        }
        self.place(&mut props, &interface.info)?;
        self.file("/dev/vfio", FileMode::ReadWrite, FileRole::Device);
        self.device(props)
    }
}

fn peer(source: &InterfaceSource) -> String {
    format!(
        "{}:{}",
        source.address.as_deref().unwrap_or_default(),
        source.port.unwrap_or(0)
    )
}

fn set_descriptors(props: &mut Props, (one, many): (&str, &str), numbers: &[i32]) {
    let texts: Vec<String> = numbers.iter().map(i32::to_string).collect();
    let key = if texts.len() == 1 { one } else { many };
    props.set(key, texts.join(":"));
}

fn virtio_card(props: &mut Props, settings: &InterfaceDriver) {
    let on = |switch: Option<OnOff>| switch.map(OnOff::is_on);
    props.set_some(
        "tx",
        settings.txmode.as_deref().map(|mode| match mode {
            "iothread" => "bh",
            other => other,
        }),
    );
    props.set_some("ioeventfd", on(settings.ioeventfd));
    props.set_some("event_idx", on(settings.event_idx));
    if let Some(queues) = settings.queues.filter(|queues| *queues > 1) {
        props.set("mq", true);
        // Two vectors a queue, one for the configuration and one for control.
        props.set("vectors", 2 * queues + 2);
    }
    props.set_some("rx_queue_size", settings.rx_queue_size);
    props.set_some("tx_queue_size", settings.tx_queue_size);
    props.set_some("rss", on(settings.rss));
    props.set_some("hash", on(settings.rss_hash_report));
    offloads(props, "host", settings.host.as_ref());
    offloads(props, "guest", settings.guest.as_ref());
    if let Some(host) = &settings.host {
        props.set_some("mrg_rxbuf", on(host.mrg_rxbuf));
    }
}

fn offloads(props: &mut Props, side: &str, offloads: Option<&Offloads>) {
    let Some(offloads) = offloads else { return };
    let checksum = if side == "host" {
        "csum".to_owned()
    } else {
        "guest_csum".to_owned()
    };
    let list: [(String, Option<OnOff>); 6] = [
        (checksum, offloads.csum),
        (
            if side == "host" {
                "gso".to_owned()
            } else {
                String::new()
            },
            offloads.gso,
        ),
        (format!("{side}_tso4"), offloads.tso4),
        (format!("{side}_tso6"), offloads.tso6),
        (format!("{side}_ecn"), offloads.ecn),
        (format!("{side}_ufo"), offloads.ufo),
    ];
    for (name, switch) in list.into_iter().filter(|(name, _)| !name.is_empty()) {
        props.set_some(&name, switch.map(OnOff::is_on));
    }
}

fn user(interface: &Interface) -> Result<Props> {
    let backend = interface
        .backend
        .as_ref()
        .and_then(|backend| backend.kind.as_deref());
    if let Some(kind) = backend.filter(|kind| *kind != "default") {
        return Err(Unsupported::new(format!(
            "interface backend '{kind}' is not supported"
        )));
    }
    if !interface.port_forwards.is_empty() {
        return Err(Unsupported::new(
            "the <portForward> element can only be used with <interface type='user'> and \
             its 'passt' backend",
        ));
    }
    let mut props = Props::new("type", "user");
    for ip in &interface.ips {
        match ip.address.parse() {
            Ok(IpAddr::V4(_)) => {
                props.set("net", format!("{}/{}", ip.address, ip.prefix.unwrap_or(24)));
            }
            Ok(IpAddr::V6(_)) => {
                props.set("ipv6-prefix", ip.address.as_str());
                props.set("ipv6-prefixlen", ip.prefix.unwrap_or(64));
            }
            Err(_) => {
                return Err(Unsupported::new(format!("'{}' is no address", ip.address)));
            }
        }
    }
    Ok(props)
}
