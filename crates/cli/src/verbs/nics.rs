//! A domain's network interfaces: list, addresses, statistics, link state.

use client::wire::remote;
use roxmltree::Node;

use crate::args::Args;
use crate::domain::target;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{Format, extra, fact, say, sayln};
use crate::query;
use crate::session::Session;
use crate::table::{DOMAIN, Verb, arg, flag, maybe, text};
use crate::verbs::define::XML_INACTIVE;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "domif-getlink",
        "link state of a network interface",
        getlink,
    )
    .options(&[
        DOMAIN,
        arg("interface", "the interface: its target or MAC address")
            .of_things(crate::table::Thing::Card),
        flag("config", "in the definition"),
    ])
    .tabular(),
    Verb::new(
        "domifaddr",
        "addresses of a domain's network interfaces",
        domifaddr,
    )
    .about("Asks the DHCP leases, the guest agent or the host's ARP table.")
    .options(&[
        DOMAIN,
        maybe("interface", "only this interface"),
        flag("full", "name and MAC address on every line"),
        text("source", "whom to ask: lease, agent or arp")
            .bare()
            .words(&["lease", "agent", "arp"]),
    ])
    .tabular(),
    Verb::new("domiflist", "a domain's network interfaces", domiflist)
        .options(&[DOMAIN, flag("inactive", "those of the definition")])
        .tabular(),
    Verb::new("domifstat", "statistics of a network interface", domifstat)
        .options(&[
            DOMAIN,
            arg("interface", "the interface: its target or MAC address")
                .of_things(crate::table::Thing::Card),
        ])
        .tabular(),
];

fn domiflist(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let flags = if args.has("inactive") {
        XML_INACTIVE
    } else {
        0
    };
    let xml = s.domain_xml(&dom, flags)?;
    let document = query::parse(&xml)?;
    let row = |nic: Node<'_, '_>| {
        let or_dash = |paths| query::value(nic, paths).unwrap_or_else(|| "-".to_owned());
        vec![
            or_dash(&["target/@dev"]),
            nic.attribute("type").unwrap_or_default().to_owned(),
            or_dash(&[
                // A card on a network says what that gave it, too.
                "source/@network",
                "source/@bridge",
                "source/@dev",
                "source/@name",
                "source/@path",
            ]),
            or_dash(&["model/@type"]),
            or_dash(&["mac/@address"]),
        ]
    };
    let nics = query::all(document.root_element(), "devices/interface");
    let rows: Vec<_> = nics.into_iter().map(row).collect();
    s.out
        .table(&["Interface", "Type", "Source", "Model", "MAC"], &rows);
    Ok(())
}

fn domifstat(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let device = args.need("interface")?.to_owned();
    let call = remote::DomainInterfaceStatsArgs {
        dom: t.dom,
        device: device.clone(),
    };
    let got = s.call(&call);
    let got = got.or_fail(|| format!("Failed to get interface stats {} {device}", t.given))?;
    let counters = [
        ("rx_bytes", got.rx_bytes),
        ("rx_packets", got.rx_packets),
        ("rx_errs", got.rx_errs),
        ("rx_drop", got.rx_drop),
        ("tx_bytes", got.tx_bytes),
        ("tx_packets", got.tx_packets),
        ("tx_errs", got.tx_errs),
        ("tx_drop", got.tx_drop),
    ];
    for (name, value) in counters.iter().filter(|(_, v)| *v >= 0) {
        fact!(s, name, *value, "{device} {name} {value}");
    }
    Ok(())
}

fn domifaddr(s: &mut Session, args: &Args) -> Outcome {
    let only = args.text("interface")?.map(str::to_owned);
    let source = match args.text("source")? {
        None | Some("lease") => 0,
        Some("agent") => 1,
        Some("arp") => 2,
        Some(other) => return Err(Failure::said(format!("Unknown data source '{other}'"))),
    };
    let dom = target(s, args)?.dom;
    let got = s.call(&remote::DomainInterfaceAddressesArgs {
        dom,
        source,
        flags: 0,
    });
    let got = got.or_fail(|| "Failed to query for interfaces addresses".into())?;
    let mut nics = got.ifaces;
    nics.retain(|nic| only.as_ref().is_none_or(|name| *name == nic.name));
    if !s.out.is_text() {
        let rows: Vec<_> = nics.iter().flat_map(address_rows).collect();
        s.out
            .table(&["Name", "MAC address", "Protocol", "Address"], &rows);
        return Ok(());
    }
    let (name, mac, protocol) = ("Name", "MAC address", "Protocol");
    extra!(
        s,
        " {name:<10} {mac:<20} {protocol:<8}     Address\n{}\n",
        "-".repeat(79)
    );
    for nic in &nics {
        for (i, row) in address_rows(nic).iter().enumerate() {
            let [name, mac, kind, address] = row.as_slice() else {
                continue;
            };
            let (name, mac) = match i == 0 || args.has("full") {
                true => (name.as_str(), mac.as_str()),
                false => ("-", "-"),
            };
            sayln!(s, " {name:<10} {mac:<17}    {kind:<12} {address}");
        }
    }
    Ok(())
}

fn address_rows(nic: &remote::DomainInterface) -> Vec<Vec<String>> {
    let row = |mac: &str, kind: &str, address: String| {
        vec![nic.name.clone(), mac.to_owned(), kind.to_owned(), address]
    };
    let mac = nic.hwaddr.as_deref();
    if nic.addrs.is_empty() {
        return vec![row(mac.unwrap_or("N/A"), "N/A", "N/A".to_owned())];
    }
    let one = |a: &remote::DomainIpAddr| {
        let kind = if a.kind == 0 { "ipv4" } else { "ipv6" };
        row(
            mac.unwrap_or_default(),
            kind,
            format!("{}/{}", a.addr, a.prefix),
        )
    };
    nic.addrs.iter().map(one).collect()
}

/// A MAC address as libvirt writes it, if the text is one.
pub(crate) fn normal_mac(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split([':', '-']).collect();
    let byte = |p: &&str| match p.len() {
        1 | 2 => u8::from_str_radix(p, 16).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = parts.iter().map(byte).collect();
    let bytes = bytes.filter(|b| b.len() == 6)?;
    let shown: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Some(shown.join(":"))
}

fn getlink(s: &mut Session, args: &Args) -> Outcome {
    let interface = args.need("interface")?.to_owned();
    let flags = if args.has("config") { XML_INACTIVE } else { 0 };
    let dom = target(s, args)?.dom;
    let xml = s.domain_xml(&dom, flags)?;
    let document = query::parse(&xml)?;
    let mac = normal_mac(&interface);
    let wanted = |nic: &Node<'_, '_>| {
        let is =
            |paths, text: &Option<String>| text.is_some() && query::value(*nic, paths) == *text;
        is(&["mac/@address"], &mac) || is(&["target/@dev"], &Some(interface.clone()))
    };
    let mut found = query::all(document.root_element(), "devices/interface");
    found.retain(wanted);
    let state = match found.as_slice() {
        [nic] => query::value(*nic, &["link/@state"]).unwrap_or_else(|| "up".to_owned()),
        [] => {
            return Err(Failure::said(match mac {
                Some(mac) => format!("Interface (mac: {mac}) not found."),
                None => format!("Interface (dev: {interface}) not found."),
            }));
        }
        _ => return Err(Failure::said("multiple matching interfaces found")),
    };
    match s.out.format {
        Format::Table => say!(s, "{interface} {state}"),
        _ => s
            .out
            .pairs(0, &[("interface", interface), ("state", state)]),
    }
    Ok(())
}
