//! The steps that bring a network up, in order, with no choices left. Taking
//! it down is the same backwards.

use std::fmt;
use std::net::IpAddr;

use crate::plug::Plug;
use model::network::{Network, NetworkKind, route};
use model::xml::{Mac, OnOff, YesNo};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a bridge.
    Bridge {
        /// Its name.
        name: String,
        /// Its hardware address.
        mac: Mac,
        /// Whether it looks for loops.
        stp: bool,
        /// How long a new port waits before it forwards, in seconds.
        delay_s: u32,
        /// Its largest packet.
        mtu: Option<u32>,
    },
    /// Keep the kernel from giving a device IPv6 of its own.
    WithoutIpv6 {
        /// The device.
        device: String,
    },
    /// Give a device an address.
    Address {
        /// The device.
        device: String,
        /// The address.
        address: IpAddr,
        /// The length of its prefix.
        prefix: u8,
    },
    /// Switch a device on.
    Up {
        /// The device.
        device: String,
    },
    /// Add a route.
    Route {
        /// The device.
        device: String,
        /// Where it leads.
        target: route::RouteTarget,
    },
    /// Let the host forward packets.
    Forwarding {
        /// Of IPv6.
        ipv6: bool,
    },
    /// Let a bridge keep VLANs apart.
    FilterVlans {
        /// The bridge.
        device: String,
    },
    /// Put a bridge into a zone of firewalld.
    Zone {
        /// The bridge.
        device: String,
        /// The zone.
        zone: String,
    },
    /// Replace the firewall's tables.
    Firewall,
    /// Start the server of addresses and names.
    Serve,
    /// Have the host itself ask the network's server for the names of its machines.
    Register {
        /// The device.
        device: String,
        /// The server's address.
        server: IpAddr,
        /// The domain the names end in.
        domain: String,
    },
}

impl Step {
    /// The arguments of `resolvectl` for [`Step::Register`].
    pub fn resolvectl(&self) -> Vec<Vec<String>> {
        let Step::Register {
            device,
            server,
            domain,
        } = self
        else {
            return Vec::new();
        };
        let words = |words: [&str; 3]| words.map(str::to_owned).to_vec();
        vec![
            words(["dns", device, &server.to_string()]),
            words(["domain", device, &format!("~{domain}")]),
            words(["default-route", device, "false"]),
        ]
    }
}

/// What a change would do, as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanText {
    /// What is done, in order.
    pub steps: Vec<String>,
    /// The nftables transaction.
    pub nft: Option<String>,
    /// dnsmasq's configuration.
    pub dnsmasq: Option<String>,
    /// dnsmasq's file of reserved addresses.
    pub hosts: Option<String>,
    /// dnsmasq's file of names.
    pub names: Option<String>,
    /// Commands for tc.
    pub tc: Option<String>,
    /// The definition as it would be then.
    pub definition: Option<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Bridge {
                name,
                mac,
                stp,
                delay_s,
                mtu,
            } => {
                let stp = u8::from(*stp);
                write!(
                    f,
                    "link add {name} type bridge address {mac} stp_state {stp} forward_delay {delay_s}s"
                )?;
                match mtu {
                    Some(mtu) => write!(f, " mtu {mtu}"),
                    None => Ok(()),
                }
            }
            Step::WithoutIpv6 { device } => {
                write!(f, "sysctl net.ipv6.conf.{device}.disable_ipv6=1")
            }
            Step::Address {
                device,
                address,
                prefix,
            } => write!(f, "address add {address}/{prefix} dev {device}"),
            Step::Up { device } => write!(f, "link set {device} up"),
            Step::Route { device, target } => {
                let route::RouteTarget {
                    destination,
                    prefix,
                    gateway,
                    metric,
                } = target;
                write!(
                    f,
                    "route add {destination}/{prefix} via {gateway} dev {device}"
                )?;
                match metric {
                    Some(metric) => write!(f, " metric {metric}"),
                    None => Ok(()),
                }
            }
            Step::Forwarding { ipv6: false } => f.write_str("sysctl net.ipv4.ip_forward=1"),
            Step::Forwarding { ipv6: true } => f.write_str("sysctl net.ipv6.conf.all.forwarding=1"),
            Step::FilterVlans { device } => {
                write!(f, "link set {device} type bridge vlan_filtering 1")
            }
            Step::Zone { device, zone } => {
                write!(f, "firewall-cmd --zone={zone} --change-interface={device}")
            }
            Step::Firewall => f.write_str("firewall change"),
            Step::Serve => f.write_str("dnsmasq start"),
            Step::Register { .. } => {
                let calls = self.resolvectl().into_iter();
                let lines: Vec<String> = calls
                    .map(|words| format!("resolvectl {}", words.join(" ")))
                    .collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

/// The steps that plug a card's device in.
pub fn plug_steps(device: &str, plug: &Plug) -> Vec<String> {
    let tap = format!("tuntap add {device} mode tap");
    match plug {
        Plug::Bridge {
            name,
            isolated,
            vlans,
        } => {
            let mut steps = vec![tap, format!("link set {device} master {name} up")];
            if *isolated {
                steps.push(format!("bridge link set dev {device} isolated on"));
            }
            if vlans.is_some() {
                steps.push(format!(
                    "bridge vlan add dev {device}, as the card's <vlan> says"
                ));
            }
            steps
        }
        Plug::Switch(port) => vec![
            tap,
            format!("ovs-vsctl add-port {} {device}", port.bridge),
            format!("link set {device} up"),
        ],
        Plug::Direct {
            device: below,
            mode,
        } => {
            let mode = format!("{mode:?}").to_lowercase();
            vec![format!(
                "link add link {below} name {device} type macvtap mode {mode}"
            )]
        }
        Plug::Ethernet { made: true } => vec![tap, format!("link set {device} up")],
        Plug::Ethernet { made: false } => vec![format!("open {device}, which is there")],
    }
}

/// The steps that bring `network` up on `bridge`; `mac` is the bridge's where
/// the definition gives it none, `zone` the one of firewalld it goes into.
pub fn start(network: &Network, bridge: &str, mac: Mac, zone: Option<&str>) -> Vec<Step> {
    let device = bridge.to_owned();
    let filter = has_vlans(network).then(|| Step::FilterVlans {
        device: device.clone(),
    });
    if !network.kind().owns_bridge() {
        return filter.into_iter().collect();
    }
    let settings = network.bridge.clone().unwrap_or_default();
    let mut steps = vec![Step::Bridge {
        name: device.clone(),
        mac: network.mac.as_ref().map_or(mac, |mac| mac.address),
        stp: settings.stp.is_none_or(OnOff::is_on),
        delay_s: settings.delay.unwrap_or(0),
        mtu: network.mtu.as_ref().map(|mtu| mtu.size),
    }];
    steps.extend(filter);
    let has_ipv6 = network.ips.iter().any(|ip| ip.is_ipv6());
    if !has_ipv6 {
        steps.push(Step::WithoutIpv6 {
            device: device.clone(),
        });
    }
    for ip in &network.ips {
        if let (Some(address), Some(prefix)) = (ip.ip(), ip.prefix_length()) {
            steps.push(Step::Address {
                device: device.clone(),
                address,
                prefix,
            });
        }
    }
    steps.push(Step::Up {
        device: device.clone(),
    });
    for target in network.routes.iter().filter_map(|r| route::target(r).ok()) {
        steps.push(Step::Route {
            device: device.clone(),
            target,
        });
    }
    if network.forward.is_some() {
        if network.ips.iter().any(|ip| !ip.is_ipv6()) {
            steps.push(Step::Forwarding { ipv6: false });
        }
        if has_ipv6 {
            steps.push(Step::Forwarding { ipv6: true });
        }
    }
    steps.extend(zone.map(|zone| Step::Zone {
        device: device.clone(),
        zone: zone.to_owned(),
    }));
    steps.push(Step::Firewall);
    if crate::dnsmasq::is_wanted(network) {
        steps.push(Step::Serve);
        let asked = network.domain.as_ref();
        let asked = asked.filter(|domain| domain.register.is_some_and(YesNo::is_yes));
        let server = network.ips.iter().find_map(|ip| ip.ip());
        if let (Some(domain), Some(server)) = (asked, server) {
            steps.push(Step::Register {
                device,
                server,
                domain: domain.name.clone(),
            });
        }
    }
    steps
}

/// Whether machines on a bridge of the kernel are to be in VLANs.
pub fn has_vlans(network: &Network) -> bool {
    let kind = network.kind();
    let groups = network.portgroups.iter();
    let mut vlans = groups.map(|group| &group.vlan).chain([&network.vlan]);
    let on_bridge = kind.owns_bridge() || kind == NetworkKind::HostBridge;
    on_bridge && network.virtualport.is_none() && vlans.any(Option::is_some)
}
