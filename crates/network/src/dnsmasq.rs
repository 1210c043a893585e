//! The configuration of dnsmasq, which serves addresses, names and boot files.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use model::network::dns::{Dns, Srv};
use model::network::ip::{Dhcp, DhcpHost, DhcpRange, LeaseTime, LeaseUnit, NetworkIp};
use model::network::{Network, NetworkKind};
use model::xml::YesNo;

/// Most leases that dnsmasq is told to keep, however large a range is.
pub const LEASES_MAX: u128 = 65_536;

/// Files of one network's dnsmasq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Its configuration.
    pub config: PathBuf,
    /// Machines with addresses of their own.
    pub hosts: PathBuf,
    /// Further names.
    pub names: PathBuf,
    /// Its process.
    pub pid: PathBuf,
    /// What it has given out.
    pub leases: PathBuf,
}

impl Files {
    /// The files below a folder of the network's own, and one that outlives it.
    pub fn below(run: &std::path::Path, state: &std::path::Path) -> Files {
        Files {
            config: run.join("dnsmasq.conf"),
            hosts: run.join("hosts"),
            names: run.join("names"),
            pid: run.join("dnsmasq.pid"),
            leases: state.join("leases"),
        }
    }
}

/// All texts of one network's dnsmasq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Its configuration.
    pub config: String,
    /// Machines with addresses of their own.
    pub hosts: String,
    /// Further names.
    pub names: String,
}

/// Whether the network wants a server at all.
pub fn is_wanted(network: &Network) -> bool {
    let served = network
        .ips
        .iter()
        .any(|ip| ip.dhcp.is_some() || ip.tftp.is_some());
    network.kind().owns_bridge()
        && !network.ips.is_empty()
        && (served || network.serves_dns() || network.ips.iter().any(NetworkIp::is_ipv6))
}

/// All texts for `network`; `user` is who the server runs as.
pub fn texts(network: &Network, bridge: &str, files: &Files, user: Option<&str>) -> Texts {
    let mut config =
        String::from("# Written by stead from the network's definition; changes are lost.\n");
    for line in lines(network, bridge, files) {
        config.push_str(&line);
        config.push('\n');
    }
    // The rest is our own way of running it, and says nothing about the network.
    let _ = writeln!(config, "pid-file={}", files.pid.display());
    if let Some(user) = user {
        let _ = writeln!(config, "user={user}");
    }
    if network.serves_dhcp() {
        let _ = writeln!(config, "dhcp-leasefile={}", files.leases.display());
        // Addresses are ours alone to give: asking first only makes machines wait.
        config.push_str("no-ping\n");
    }
    for option in network.dnsmasq.iter().flat_map(|d| &d.options) {
        config.push_str(&option.value);
        config.push('\n');
    }
    Texts {
        config,
        hosts: hosts(network),
        names: names(network.dns.as_ref()),
    }
}

/// What the definition means in dnsmasq's words, without the lines it passes on as they are.
fn lines(network: &Network, bridge: &str, files: &Files) -> Vec<String> {
    let mut out = vec!["strict-order".to_owned()];
    domain_lines(network, &mut out);
    if network.serves_dns() {
        forwarder_lines(network, &mut out);
    } else {
        out.push("port=0".into());
    }
    out.push("except-interface=lo".into());
    out.push("bind-dynamic".into());
    out.push(format!("interface={bridge}"));
    if network.kind() == NetworkKind::Isolated {
        // No way out: no default route, and no questions to the host's own servers.
        out.extend(["dhcp-option=3", "no-resolv", "ra-param=*,0,0"].map(str::to_owned));
    }
    if let Some(dns) = network.dns.as_ref().filter(|_| network.serves_dns()) {
        let txts = dns.txts.iter();
        out.extend(txts.map(|txt| {
            format!(
                "txt-record={},{}",
                txt.name,
                txt.value.as_deref().unwrap_or_default()
            )
        }));
        out.extend(dns.srvs.iter().map(srv_line));
    }
    let mut leases = 0;
    for ip in &network.ips {
        leases += ip_lines(network, ip, &mut out);
    }
    if leases > 0 {
        out.push(format!("dhcp-lease-max={}", leases.min(LEASES_MAX)));
    }
    if network.serves_dhcp() {
        out.push(format!("dhcp-hostsfile={}", files.hosts.display()));
    }
    if network.serves_dns() {
        out.push(format!("addn-hosts={}", files.names.display()));
    }
    router_lines(network, &mut out);
    out
}

fn domain_lines(network: &Network, out: &mut Vec<String>) {
    let Some(domain) = &network.domain else {
        return;
    };
    if domain.local_only.is_some_and(YesNo::is_yes) {
        out.push(format!("local=/{}/", domain.name));
    }
    out.push(format!("domain={}", domain.name));
    out.push("expand-hosts".into());
}

fn forwarder_lines(network: &Network, out: &mut Vec<String>) {
    let Some(dns) = &network.dns else {
        return;
    };
    if dns.forward_plain_names == Some(YesNo::No) {
        out.push("domain-needed".into());
        out.push("local=//".into());
    }
    for forwarder in &dns.forwarders {
        out.push(match (&forwarder.domain, &forwarder.addr) {
            (Some(domain), Some(addr)) => format!("server=/{domain}/{addr}"),
            (Some(domain), None) => format!("server=/{domain}/#"),
            (None, addr) => format!("server={}", addr.as_deref().unwrap_or_default()),
        });
    }
    if dns.forwarders.iter().any(|f| f.domain.is_none()) {
        out.push("no-resolv".into());
    }
}

fn srv_line(srv: &Srv) -> String {
    let mut line = format!("srv-host=_{}._{}", srv.service, srv.protocol);
    if let Some(domain) = &srv.domain {
        let _ = write!(line, ".{domain}");
    }
    let Some(target) = &srv.target else {
        return line;
    };
    let _ = write!(line, ",{target}");
    // The rest is known by its position: what stands before something given is written too.
    let given = [srv.port, srv.priority, srv.weight];
    let last = given.iter().rposition(Option::is_some);
    for (at, (value, default)) in given.iter().zip([1, 0, 0]).enumerate() {
        if last.is_some_and(|last| at <= last) {
            let _ = write!(line, ",{}", value.unwrap_or(default));
        }
    }
    line
}

/// The lines of one address; how many leases its ranges hold.
fn ip_lines(network: &Network, ip: &NetworkIp, out: &mut Vec<String>) -> u128 {
    if let Some(tftp) = &ip.tftp {
        out.push("enable-tftp".into());
        out.push(format!("tftp-root={}", tftp.root));
    }
    if ip.local_ptr.is_some_and(YesNo::is_yes)
        && let Some(zone) = reverse_zone(ip)
    {
        out.push(format!("local=/{zone}/"));
    }
    let Some(dhcp) = &ip.dhcp else {
        return 0;
    };
    let leases = range_lines(ip, dhcp, out);
    if !ip.is_ipv6() {
        out.push("dhcp-no-override".into());
        out.push("dhcp-authoritative".into());
        if let Some(mtu) = &network.mtu {
            out.push(format!("dhcp-option=option:mtu,{}", mtu.size));
        }
        if let Some(bootp) = &dhcp.bootp {
            out.push(match &bootp.server {
                Some(server) => format!("dhcp-boot={},,{server}", bootp.file),
                None => format!("dhcp-boot={}", bootp.file),
            });
        }
    }
    leases
}

fn range_lines(ip: &NetworkIp, dhcp: &Dhcp, out: &mut Vec<String>) -> u128 {
    let prefix = ip.prefix_length().unwrap_or(64);
    let address = ip.address.as_deref().unwrap_or_default();
    let mut leases = 0;
    for range in &dhcp.ranges {
        let mut line = format!("dhcp-range={},{}", range.start, range.end);
        match ip.mask().filter(|_| !ip.is_ipv6()) {
            Some(mask) => _ = write!(line, ",{mask}"),
            None => _ = write!(line, ",{prefix}"),
        }
        if let Some(lease) = &range.lease {
            let _ = write!(line, ",{}", lease_text(lease));
        }
        out.push(line);
        leases += range_size(range).unwrap_or(0);
    }
    if dhcp.ranges.is_empty() && !dhcp.hosts.is_empty() {
        out.push(match ip.is_ipv6() {
            true => format!("dhcp-range={address},static,{prefix}"),
            false => format!("dhcp-range={address},static"),
        });
    }
    leases
}

/// Who tells machines of an IPv6 network about it.
fn router_lines(network: &Network, out: &mut Vec<String>) {
    let ipv6 = || network.ips.iter().filter(|ip| ip.is_ipv6());
    if ipv6().any(|ip| ip.dhcp.is_some()) {
        out.push("enable-ra".into());
    } else {
        out.extend(ipv6().map(|ip| {
            format!(
                "dhcp-range={},ra-only",
                ip.address.as_deref().unwrap_or_default()
            )
        }));
    }
}

fn lease_text(lease: &LeaseTime) -> String {
    if lease.expiry == 0 {
        return "infinite".into();
    }
    let unit = match lease.unit {
        LeaseUnit::Minutes => 'm',
        LeaseUnit::Seconds => 's',
        LeaseUnit::Hours => 'h',
    };
    format!("{}{unit}", lease.expiry)
}

/// How many addresses a range holds.
fn range_size(range: &DhcpRange) -> Option<u128> {
    let number = |text: &str| match text.parse().ok()? {
        IpAddr::V4(ip) => Some(u128::from(u32::from(ip))),
        IpAddr::V6(ip) => Some(u128::from(ip)),
    };
    number(&range.end)?
        .checked_sub(number(&range.start)?)?
        .checked_add(1)
}

/// The zone of reverse lookups that holds a whole network, where there is one.
fn reverse_zone(ip: &NetworkIp) -> Option<String> {
    let prefix = usize::from(ip.prefix_length()?);
    match ip.network()? {
        IpAddr::V4(network) => {
            let labels = network
                .octets()
                .into_iter()
                .take(prefix / 8)
                .map(|o| o.to_string());
            let labels: Vec<String> = labels.collect();
            let text = labels.into_iter().rev().collect::<Vec<_>>().join(".");
            Some(format!("{text}.in-addr.arpa"))
        }
        IpAddr::V6(network) => {
            let nibbles = network.octets().into_iter().flat_map(|o| [o >> 4, o & 15]);
            let labels: Vec<String> = nibbles.take(prefix / 4).map(|n| format!("{n:x}")).collect();
            let text = labels.into_iter().rev().collect::<Vec<_>>().join(".");
            Some(format!("{text}.ip6.arpa"))
        }
    }
}

fn hosts(network: &Network) -> String {
    let mut out = String::new();
    for ip in &network.ips {
        for host in ip.dhcp.iter().flat_map(|dhcp| &dhcp.hosts) {
            out.push_str(&host_line(host, ip.is_ipv6()));
            out.push('\n');
        }
    }
    out
}

fn host_line(host: &DhcpHost, ipv6: bool) -> String {
    let id = host.id.as_ref().map(|id| format!("id:{id}"));
    let parts = match ipv6 {
        true => [
            id,
            host.name.clone(),
            host.ip.as_ref().map(|ip| format!("[{ip}]")),
            None,
        ],
        false if host.mac.is_none() && id.is_none() => {
            [host.name.clone(), host.ip.clone(), None, None]
        }
        false => [host.mac.clone(), id, host.ip.clone(), host.name.clone()],
    };
    let lease = host.lease.as_ref().map(lease_text);
    let parts: Vec<String> = parts.into_iter().chain([lease]).flatten().collect();
    parts.join(",")
}

fn names(dns: Option<&Dns>) -> String {
    let mut out = String::new();
    for host in dns.iter().flat_map(|dns| &dns.hosts) {
        out.push_str(host.ip.as_deref().unwrap_or_default());
        for name in &host.hostnames {
            let _ = write!(out, "\t{name}");
        }
        out.push('\n');
    }
    out
}
