//! `net-create-as`: a network in one line.

use std::fmt::Write;
use std::net::Ipv4Addr;

use client::api::PlanRequest;
use client::wire::remote;

use super::networks::{define_xml, warn};
use super::plans::{self, DRY_RUN};
use crate::args::Args;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, say};
use crate::session::Session;
use crate::table::{PRINT_XML, Verb, arg, flag, number, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new(
    "net-create-as",
    "define and start a network in one line",
    create_as,
)
.about(
    "Defines a network, starts it and lets it start with the host. The host takes the first \
     address of the subnet; --dhcp 100-200 gives out the addresses that end so.",
)
.options(&[
    arg("name", "the network's name"),
    text(
        "nat",
        "a subnet that reaches the world through the host: 192.168.50.0/24",
    ),
    text("route", "a subnet that others know the way to"),
    text("isolated", "a subnet without a way out"),
    text("bridge", "a bridge the host has already"),
    text("device", "a device of the host to share by macvtap"),
    flag("openvswitch", "--bridge is one of Open vSwitch"),
    number("vlan", "the VLAN of the machines, on --bridge"),
    text("dhcp", "the addresses given out: 100-200, or all"),
    text("dns", "the domain that machines' names end in"),
    number("mtu", "the largest packet, in bytes"),
    flag("transient", "only start it; nothing is stored"),
    PRINT_XML,
    DRY_RUN,
])
.tabular()];

fn create_as(s: &mut Session, args: &Args) -> Outcome {
    let xml = xml_of(args)?;
    if args.has("print-xml") {
        say!(s, "{xml}");
        return Ok(());
    }
    if args.has("dry-run") {
        return plans::print(s, &PlanRequest::NetCreate { xml });
    }
    if args.has("transient") {
        let got = s.call(&remote::NetworkCreateXmlArgs { xml });
        let net = got.or_fail(|| "Failed to create network".into())?.net;
        extra!(s, "Network {} created\n", net.name);
        return Ok(());
    }
    let net = define_xml(s, xml, false).or_fail(|| "Failed to define network".into())?;
    let name = net.name.clone();
    if let Err(failure) = s.call(&remote::NetworkCreateArgs { net: net.clone() }) {
        // Nothing half-made: what was defined a moment ago goes again.
        _ = s.call(&remote::NetworkUndefineArgs { net });
        let failure = Failure::from(failure);
        return Err(failure.context(format!("Failed to start network {name}")));
    }
    s.call(&remote::NetworkSetAutostartArgs { net, autostart: 1 })
        .or_fail(|| format!("failed to mark network {name} as autostarted"))?;
    extra!(s, "Network {name} defined and started\n");
    warn(s, &name);
    Ok(())
}

fn xml_of(args: &Args) -> Result<String, Failure> {
    let mut body = String::new();
    let mut kinds = 0;
    let mut subnet = None;
    for (option, mode) in [
        ("nat", Some("nat")),
        ("route", Some("route")),
        ("isolated", None),
    ] {
        if let Some(given) = args.text(option)? {
            kinds += 1;
            subnet = Some(parse_subnet(given)?);
            if let Some(mode) = mode {
                let _ = writeln!(body, "  <forward mode='{mode}'/>");
            }
        }
    }
    if let Some(bridge) = args.text("bridge")? {
        kinds += 1;
        let _ = writeln!(
            body,
            "  <forward mode='bridge'/>\n  <bridge name='{}'/>",
            escape(bridge)
        );
    }
    if let Some(device) = args.text("device")? {
        kinds += 1;
        let _ = writeln!(
            body,
            "  <forward mode='bridge'>\n    <interface dev='{}'/>\n  </forward>",
            escape(device)
        );
    }
    if kinds != 1 {
        return Err(Failure::said(
            "give exactly one of --nat, --route, --isolated, --bridge and --device",
        ));
    }
    if let Some(mtu) = args.number::<u32>("mtu")? {
        let _ = writeln!(body, "  <mtu size='{mtu}'/>");
    }
    if let Some(domain) = args.text("dns")? {
        let _ = writeln!(
            body,
            "  <domain name='{}' localOnly='yes'/>",
            escape(domain)
        );
    }
    if args.has("openvswitch") {
        args.requires("openvswitch", "bridge")?;
        body.push_str("  <virtualport type='openvswitch'/>\n");
    }
    if let Some(vlan) = args.number::<u32>("vlan")? {
        args.requires("vlan", "bridge")?;
        let _ = writeln!(body, "  <vlan>\n    <tag id='{vlan}'/>\n  </vlan>");
    }
    match (subnet, args.text("dhcp")?) {
        (Some(subnet), range) => body.push_str(&address(subnet, range)?),
        (None, Some(_)) => return Err(Failure::said("--dhcp needs a subnet of its own")),
        (None, None) => {}
    }
    let name = escape(args.need("name")?);
    Ok(format!(
        "<network>\n  <name>{name}</name>\n{body}</network>\n"
    ))
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('\'', "&apos;")
}

fn parse_subnet(text: &str) -> Result<(Ipv4Addr, u32), Failure> {
    let wrong = || {
        Failure::said(format!(
            "'{text}' is no subnet: write it as 192.168.50.0/24"
        ))
    };
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address = address.parse().map_err(|_| wrong())?;
    let prefix = prefix.parse().ok().filter(|p| (8..=30).contains(p));
    Ok((address, prefix.ok_or_else(wrong)?))
}

/// The host's address in a subnet, and what is given out of it.
fn address((subnet, prefix): (Ipv4Addr, u32), range: Option<&str>) -> Result<String, Failure> {
    let mask = u32::MAX << (32 - prefix);
    let first = u32::from(subnet) & mask;
    let last = first | !mask;
    let at = Ipv4Addr::from;
    let mut out = format!("  <ip address='{}' prefix='{prefix}'>\n", at(first + 1));
    if let Some(range) = range {
        let wrong = || {
            Failure::said(format!(
                "'{range}' is no range: write it as 100-200, or all"
            ))
        };
        let (start, end) = match range {
            "all" => (2, last - first - 1),
            _ => {
                let (start, end) = range.split_once('-').ok_or_else(wrong)?;
                let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
                (number(start)?, number(end)?)
            }
        };
        if start > end || start < 2 || first + end >= last {
            return Err(wrong());
        }
        let _ = writeln!(
            out,
            "    <dhcp>\n      <range start='{}' end='{}'/>\n    </dhcp>",
            at(first + start),
            at(first + end)
        );
    }
    out.push_str("  </ip>\n");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_become_addresses() {
        let subnet = parse_subnet("192.168.50.0/24").unwrap();
        let text = address(subnet, Some("100-200")).unwrap();
        assert!(
            text.contains("address='192.168.50.1' prefix='24'"),
            "{text}"
        );
        assert!(
            text.contains("start='192.168.50.100' end='192.168.50.200'"),
            "{text}"
        );
        assert!(
            address(subnet, Some("all"))
                .unwrap()
                .contains("192.168.50.254")
        );
        for wrong in ["1-2", "9-3", "2-255", "x"] {
            assert!(address(subnet, Some(wrong)).is_err(), "{wrong}");
        }
        for wrong in ["192.168.50.0", "a/24", "10.0.0.0/31"] {
            assert!(parse_subnet(wrong).is_err(), "{wrong}");
        }
    }
}
