//! Parts of networks: leases, sections, ports, titles and metadata.

use client::api::PlanRequest;
use client::wire::errors::ErrorCode;
use client::wire::remote::{self, RemoteNetwork};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::networks::{NETWORK, network};
use crate::args::Args;
use crate::domain::{self, parse_uuid, show_uuid};
use crate::edit;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, sayln};
use crate::session::Session;
use crate::table::{CONFIG, CURRENT, LIVE, Verb, arg, file, flag, maybe, number, rest, text};
use crate::verbs::describe::{Words, new_text};
use crate::verbs::plans::{self, DRY_RUN};

const AFFECT_LIVE: u32 = 1;
const AFFECT_CONFIG: u32 = 2;
const DESCRIPTION: i32 = 0;
const TITLE: i32 = 1;
const ELEMENT: i32 = 2;

/// What can be done to a section, in the order of libvirt's numbers; two names have the third.
const COMMANDS: &[(&str, u32)] = &[
    ("modify", 1),
    ("delete", 2),
    ("add-last", 3),
    ("add", 3),
    ("add-first", 4),
];
/// The sections, in the order of libvirt's numbers from 1 on.
const SECTIONS: &[&str] = &[
    "bridge",
    "domain",
    "ip",
    "ip-dhcp-host",
    "ip-dhcp-range",
    "forward",
    "forward-interface",
    "forward-pf",
    "portgroup",
    "dns-host",
    "dns-txt",
    "dns-srv",
];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "net-desc",
        "show or set a network's description or title",
        desc,
    )
    .about("Without a new text: prints the description, or with --title the title.")
    .options(&[
        NETWORK,
        LIVE,
        CONFIG,
        CURRENT,
        flag("title", "the title, not the description"),
        flag("edit", "open it in the editor"),
        rest("new-desc", "the new text"),
    ]),
    Verb::new(
        "net-dhcp-leases",
        "addresses a network has given out",
        leases,
    )
    .options(&[NETWORK, maybe("mac", "only those of this card")])
    .tabular(),
    Verb::new(
        "net-metadata",
        "show or set a network's own XML metadata",
        metadata,
    )
    .options(&[
        NETWORK,
        arg("uri", "the namespace's URI"),
        LIVE,
        CONFIG,
        CURRENT,
        flag("edit", "open it in the editor"),
        text("key", "the namespace's prefix, for a change").bare(),
        text("set", "the new element").bare(),
        flag("remove", "remove the element"),
    ]),
    Verb::new(
        "net-port-create",
        "make a port of a network from an XML file",
        port_create,
    )
    .options(&[
        NETWORK,
        file("the port's XML"),
        flag("validate", "check the XML against the schema"),
    ]),
    Verb::new("net-port-delete", "remove a port of a network", port_delete)
        .options(&[NETWORK, arg("port", "the port's uuid")]),
    Verb::new("net-port-dumpxml", "print a port's XML", port_dumpxml).options(&[
        NETWORK,
        arg("port", "the port's uuid"),
        crate::table::XPATH,
        crate::table::WRAP,
    ]),
    Verb::new("net-port-list", "the ports of a network", port_list)
        .options(&[
            NETWORK,
            flag("uuid", "uuids only"),
            flag("table", "as a table (the default)"),
        ])
        .tabular(),
    Verb::new("net-update", "change a section of a network", update)
        .about("Changes the running network, its definition, or both.")
        .options(&[
            NETWORK,
            arg(
                "command",
                "what to do: add-first, add-last, delete or modify",
            )
            .words(&["add", "add-first", "add-last", "delete", "modify"]),
            arg("section", "the section to change").words(SECTIONS),
            arg("xml", "the element, or the name of a file that holds it"),
            number("parent-index", "which <ip> the element is of").bare(),
            CONFIG,
            LIVE,
            CURRENT,
            DRY_RUN,
        ])
        .tabular(),
];

/// The definitions a change is for, as libvirt's flags.
fn affect(args: &Args) -> Result<u32, Failure> {
    args.exclusive("current", "live")?;
    args.exclusive("current", "config")?;
    Ok(domain::flags(
        args,
        &[("live", AFFECT_LIVE), ("config", AFFECT_CONFIG)],
    ))
}

fn leases(s: &mut Session, args: &Args) -> Outcome {
    let mac = args.text("mac")?.map(str::to_owned);
    let net = network(s, args)?;
    let name = net.name.clone();
    let call = remote::NetworkGetDhcpLeasesArgs {
        net,
        mac,
        need_results: 1,
        flags: 0,
    };
    let got = s.call(&call);
    let mut leases = got
        .or_fail(|| format!("Failed to get leases info for {name}"))?
        .leases;
    leases.sort_by(|a, b| (&a.mac, &a.ipaddr).cmp(&(&b.mac, &b.ipaddr)));
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = leases
        .into_iter()
        .map(|lease| {
            vec![
                moment(lease.expirytime),
                or_dash(lease.mac),
                if lease.kind == 0 { "ipv4" } else { "ipv6" }.to_owned(),
                format!("{}/{}", lease.ipaddr, lease.prefix),
                or_dash(lease.hostname),
                or_dash(lease.clientid),
            ]
        })
        .collect();
    let columns = [
        "Expiry Time",
        "MAC address",
        "Protocol",
        "IP address",
        "Hostname",
        "Client ID or DUID",
    ];
    s.out.table(&columns, &rows);
    Ok(())
}

/// A time as people here write it.
fn moment(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) if seconds > 0 => {
            let zoned = time.to_zoned(TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        _ => "infinite".to_owned(),
    }
}

fn update(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let word = args.need("command")?;
    let command = COMMANDS.iter().find(|(name, _)| *name == word);
    let (_, command) =
        *command.ok_or_else(|| Failure::said(format!("unrecognized command name '{word}'")))?;
    let word = args.need("section")?;
    let section = SECTIONS.iter().position(|name| *name == word);
    let section =
        section.ok_or_else(|| Failure::said(format!("unrecognized section name '{word}'")))?;
    let given = args.need("xml")?;
    // Anything that does not begin as XML does is a file's name.
    let xml = match given.trim_start().starts_with('<') {
        true => given.to_owned(),
        false => domain::read_file(given)?,
    };
    let parent_index = args.number::<i32>("parent-index")?.unwrap_or(-1);
    let net = network(s, args)?;
    let name = net.name.clone();
    if args.has("dry-run") {
        let asked = PlanRequest::NetUpdate {
            network: name,
            command,
            section: section as u32 + 1,
            parent: usize::try_from(parent_index).ok(),
            xml,
        };
        return plans::print(s, &asked);
    }
    s.call(&remote::NetworkUpdateArgs {
        net,
        command,
        section: section as u32 + 1,
        parent_index,
        xml,
        flags,
    })
    .or_fail(|| format!("Failed to update network {name}"))?;
    let affected = match flags {
        AFFECT_CONFIG => "persistent config",
        AFFECT_LIVE => "live state",
        0 => "",
        _ => "persistent config and live state",
    };
    match affected {
        "" => extra!(s, "Updated network {name} live state\n"),
        affected => extra!(s, "Updated network {name} {affected}\n"),
    }
    Ok(())
}

fn read(
    s: &mut Session,
    net: &RemoteNetwork,
    kind: i32,
    uri: Option<String>,
    flags: u32,
) -> Result<String, Failure> {
    let network = net.clone();
    let got = s.call(&remote::NetworkGetMetadataArgs {
        network,
        kind,
        uri,
        flags,
    });
    match got {
        Ok(got) => Ok(got.metadata),
        Err(e) if e.is(ErrorCode::NoNetworkMetadata) => Ok(String::new()),
        Err(e) => Err(e.into()),
    }
}

fn desc(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let net = network(s, args)?;
    let (kind, noun) = match args.has("title") {
        true => (TITLE, "title"),
        false => (DESCRIPTION, "description"),
    };
    let before = read(s, &net, kind, None, flags & AFFECT_CONFIG)?;
    let words = Words {
        noun,
        of: "network",
        start: "Network",
        name: &net.name,
    };
    let Some(new) = new_text(s, args, before, &words)? else {
        return Ok(());
    };
    set(s, &net, kind, Some(new), (None, None), flags)
        .or_fail(|| format!("Failed to set new network {noun}"))?;
    extra!(s, "Network {noun} updated successfully");
    Ok(())
}

fn set(
    s: &mut Session,
    net: &RemoteNetwork,
    kind: i32,
    metadata: Option<String>,
    (key, uri): (Option<String>, Option<String>),
    flags: u32,
) -> Result<(), client::Error> {
    s.call(&remote::NetworkSetMetadataArgs {
        network: net.clone(),
        kind,
        metadata,
        key,
        uri,
        flags,
    })
}

fn metadata(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("edit", "set")?;
    args.exclusive("remove", "set")?;
    args.exclusive("remove", "edit")?;
    let flags = affect(args)?;
    let net = network(s, args)?;
    let uri = args.need("uri")?.to_owned();
    let key = args.text("key")?.map(str::to_owned);
    let name = (key.clone(), Some(uri.clone()));
    if args.has("remove") {
        set(s, &net, ELEMENT, None, name, flags)?;
        extra!(s, "Metadata removed\n");
        return Ok(());
    }
    let new = match args.text("set")? {
        Some(new) => Some(new.to_owned()),
        None if args.has("edit") => {
            let before = read(s, &net, ELEMENT, Some(uri.clone()), flags & AFFECT_CONFIG)?;
            Some(edit::edit_text(s, &before)?)
        }
        None => None,
    };
    let Some(new) = new else {
        let call = remote::NetworkGetMetadataArgs {
            network: net,
            kind: ELEMENT,
            uri: Some(uri),
            flags: flags & AFFECT_CONFIG,
        };
        let got = s.call(&call)?;
        sayln!(s, "{}", got.metadata);
        return Ok(());
    };
    if key.is_none() {
        return Err(Failure::said(
            "namespace key is required when modifying metadata",
        ));
    }
    set(s, &net, ELEMENT, Some(new), name, flags)?;
    extra!(s, "Metadata modified\n");
    Ok(())
}

fn port(s: &mut Session, args: &Args) -> Result<remote::RemoteNetworkPort, Failure> {
    let given = args.need("port")?.to_owned();
    let net = network(s, args)?;
    let missing = || format!("failed to get network port '{given}'");
    let uuid = parse_uuid(&given).ok_or_else(|| Failure::said(missing()))?;
    let call = remote::NetworkPortLookupByUuidArgs { network: net, uuid };
    Ok(s.call(&call).or_fail(missing)?.port)
}

fn port_create(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    let xml = domain::read_file(from)?;
    let network = network(s, args)?;
    let call = remote::NetworkPortCreateXmlArgs {
        network,
        xml,
        flags: 0,
    };
    let got = s.call(&call);
    let port = got
        .or_fail(|| format!("Failed to create network port from {from}"))?
        .port;
    extra!(
        s,
        "Network port {} created from {from}\n",
        show_uuid(&port.uuid)
    );
    Ok(())
}

fn port_delete(s: &mut Session, args: &Args) -> Outcome {
    let port = port(s, args)?;
    let uuid = show_uuid(&port.uuid);
    s.call(&remote::NetworkPortDeleteArgs { port, flags: 0 })
        .or_fail(|| format!("Failed to delete network port {uuid}"))?;
    extra!(s, "Network port {uuid} deleted\n");
    Ok(())
}

fn port_dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let port = port(s, args)?;
    let xml = s
        .call(&remote::NetworkPortGetXmlDescArgs { port, flags: 0 })?
        .xml;
    super::define::print_xml(s, args, &xml)
}

fn port_list(s: &mut Session, args: &Args) -> Outcome {
    let network = network(s, args)?;
    let call = remote::NetworkListAllPortsArgs {
        network,
        need_results: 1,
        flags: 0,
    };
    let mut ports = s.call(&call)?.ports;
    ports.sort_by_key(|port| port.uuid);
    if args.has("uuid") {
        let uuids = ports.iter().map(|port| show_uuid(&port.uuid));
        s.out.names("uuid", uuids);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = ports.iter().map(|p| vec![show_uuid(&p.uuid)]).collect();
    s.out.table(&["UUID"], &rows);
    Ok(())
}
