//! Networks: list, life, definitions.

use client::api::PlanRequest;
use client::wire::remote::{self, RemoteNetwork};

use crate::args::Args;
use crate::domain::{self, parse_uuid, show_uuid};
use crate::edit::{self, Edited, Subject};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, fact};
use crate::session::Session;
use crate::table::{Opt, Verb, WRAP, XPATH, arg, file, flag};
use crate::verbs::plans::{self, DRY_RUN};

/// VIR_NETWORK_XML_INACTIVE.
const XML_INACTIVE: u32 = 1;

/// The network a verb acts on.
pub(crate) const NETWORK: Opt =
    arg("network", "the network: its name or uuid").of_things(crate::table::Thing::Network);
const VALIDATE: Opt = flag("validate", "check the XML against the schema");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("net-autostart", "start a network with the host", autostart)
        .options(&[NETWORK, flag("disable", "no longer start it")]),
    Verb::new("net-create", "start a network from an XML file", create)
        .about("Starts a network that is gone once it is stopped.")
        .options(&[file("the network's XML"), VALIDATE, DRY_RUN]),
    Verb::new("net-define", "define a network from an XML file", define)
        .about("Defines a network or changes its definition; nothing is started.")
        .options(&[file("the network's XML"), VALIDATE, DRY_RUN])
        .tabular(),
    Verb::new("net-destroy", "stop a network", destroy).options(&[NETWORK, DRY_RUN]),
    Verb::new("net-dumpxml", "print a network's XML", dumpxml).options(&[
        NETWORK,
        flag("inactive", "the definition the next start will use"),
        XPATH,
        WRAP,
    ]),
    Verb::new("net-edit", "edit a network's definition", edit_definition)
        .about("Opens the definition in $VISUAL or $EDITOR and defines what comes back.")
        .options(&[NETWORK]),
    Verb::new("net-info", "what a network is", info)
        .options(&[NETWORK])
        .tabular(),
    Verb::new("net-list", "the networks there are", list)
        .about("Lists active networks unless told otherwise.")
        .options(&[
            flag("inactive", "those that are not active"),
            flag("all", "active and inactive ones"),
            flag("persistent", "only those with a stored definition"),
            flag("transient", "only those without"),
            flag("autostart", "only those that start with the host"),
            flag("no-autostart", "only those that do not"),
            flag("name", "names only"),
            flag("table", "as a table (the default)"),
            flag("uuid", "uuids only"),
        ])
        .tabular(),
    Verb::new("net-name", "a network's name", name)
        .options(&[NETWORK])
        .tabular(),
    Verb::new("net-start", "start a network", start).options(&[NETWORK, DRY_RUN]),
    Verb::new("net-undefine", "remove a network's definition", undefine).options(&[NETWORK]),
    Verb::new("net-uuid", "a network's uuid", uuid)
        .options(&[NETWORK])
        .tabular(),
];

/// The network a verb names.
///
/// # Errors
/// If there is none.
pub(crate) fn network(s: &mut Session, args: &Args) -> Result<RemoteNetwork, Failure> {
    named(s, args.need("network")?)
}

/// The network of this name or uuid.
///
/// # Errors
/// If there is none.
pub(crate) fn named(s: &mut Session, given: &str) -> Result<RemoteNetwork, Failure> {
    if let Some(uuid) = parse_uuid(given)
        && let Ok(found) = s.call(&remote::NetworkLookupByUuidArgs { uuid })
    {
        return Ok(found.net);
    }
    let name = given.to_owned();
    let found = s.call(&remote::NetworkLookupByNameArgs { name });
    Ok(found
        .or_fail(|| format!("failed to get network '{given}'"))?
        .net)
}

/// A network's XML.
///
/// # Errors
/// The daemon's.
pub(crate) fn xml(s: &mut Session, net: &RemoteNetwork, flags: u32) -> Result<String, Failure> {
    let net = net.clone();
    Ok(s.call(&remote::NetworkGetXmlDescArgs { net, flags })?.xml)
}

/// Stores a definition.
///
/// # Errors
/// The daemon's.
pub(crate) fn define_xml(
    s: &mut Session,
    xml: String,
    validate: bool,
) -> Result<RemoteNetwork, client::Error> {
    match validate {
        false => Ok(s.call(&remote::NetworkDefineXmlArgs { xml })?.net),
        true => Ok(s
            .call(&remote::NetworkDefineXmlFlagsArgs { xml, flags: 1 })?
            .net),
    }
}

fn define(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    let xml = domain::read_file(from)?;
    if args.has("dry-run") {
        return plans::print(s, &PlanRequest::NetDefine { xml });
    }
    let got = define_xml(s, xml, args.has("validate"));
    let net = got.or_fail(|| format!("Failed to define network from {from}"))?;
    extra!(s, "Network {} defined from {from}\n", net.name);
    Ok(())
}

fn create(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    let xml = domain::read_file(from)?;
    if args.has("dry-run") {
        return plans::print(s, &PlanRequest::NetCreate { xml });
    }
    let flags = u32::from(args.has("validate"));
    let got = s.call(&remote::NetworkCreateXmlFlagsArgs { xml, flags });
    let net = got
        .or_fail(|| format!("Failed to create network from {from}"))?
        .net;
    extra!(s, "Network {} created from {from}\n", net.name);
    Ok(())
}

fn start(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    let name = net.name.clone();
    if args.has("dry-run") {
        return plans::print(s, &PlanRequest::NetStart { network: name });
    }
    s.call(&remote::NetworkCreateArgs { net })
        .or_fail(|| format!("Failed to start network {name}"))?;
    extra!(s, "Network {name} started\n");
    warn(s, &name);
    Ok(())
}

/// Says which rules of other programs stop a network; where the daemon cannot tell, nothing is said.
pub(crate) fn warn(s: &mut Session, name: &str) {
    let path = format!("/networks/{}/warnings", client::segment(name));
    let Ok(rest) = s.rest() else { return };
    let warnings: Vec<String> = rest.get(&path).unwrap_or_default();
    for warning in warnings {
        s.out.note(&format!("warning: {warning}"));
    }
}

fn destroy(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    let name = net.name.clone();
    if args.has("dry-run") {
        return plans::print(s, &PlanRequest::NetDestroy { network: name });
    }
    s.call(&remote::NetworkDestroyArgs { net })
        .or_fail(|| format!("Failed to destroy network {name}"))?;
    extra!(s, "Network {name} destroyed\n");
    Ok(())
}

fn undefine(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    let name = net.name.clone();
    s.call(&remote::NetworkUndefineArgs { net })
        .or_fail(|| format!("Failed to undefine network {name}"))?;
    extra!(s, "Network {name} has been undefined\n");
    Ok(())
}

fn autostart(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    let name = net.name.clone();
    let on = !args.has("disable");
    let call = remote::NetworkSetAutostartArgs {
        net,
        autostart: i32::from(on),
    };
    let mark = if on { "mark" } else { "unmark" };
    s.call(&call)
        .or_fail(|| format!("failed to {mark} network {name} as autostarted"))?;
    extra!(s, "Network {name} {mark}ed as autostarted\n");
    Ok(())
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    let flags = if args.has("inactive") {
        XML_INACTIVE
    } else {
        0
    };
    let text = xml(s, &net, flags)?;
    super::define::print_xml(s, args, &text)
}

struct Definition {
    net: RemoteNetwork,
}

impl Subject for Definition {
    fn read(&mut self, s: &mut Session) -> Result<String, Failure> {
        xml(s, &self.net, XML_INACTIVE)
    }

    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure> {
        self.net = define_xml(s, text.to_owned(), false)?;
        Ok(())
    }
}

fn edit_definition(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    let mut subject = Definition { net };
    let edited = edit::edit(s, &mut subject)?;
    let name = &subject.net.name;
    match edited {
        Edited::Unchanged => extra!(s, "Network {name} XML configuration not changed.\n"),
        Edited::Stored => extra!(s, "Network {name} XML configuration edited.\n"),
    }
    Ok(())
}

fn name(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    fact!(s, "name", net.name.as_str(), "{}", net.name);
    Ok(())
}

fn uuid(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    let uuid = show_uuid(&net.uuid);
    fact!(s, "uuid", uuid.as_str(), "{uuid}");
    Ok(())
}

/// What lists and infos show of a network.
struct State {
    active: bool,
    persistent: bool,
    autostart: bool,
}

fn state(s: &mut Session, net: &RemoteNetwork) -> Result<State, client::Error> {
    let net = || net.clone();
    Ok(State {
        active: s.call(&remote::NetworkIsActiveArgs { net: net() })?.active != 0,
        persistent: s
            .call(&remote::NetworkIsPersistentArgs { net: net() })?
            .persistent
            != 0,
        autostart: s
            .call(&remote::NetworkGetAutostartArgs { net: net() })?
            .autostart
            != 0,
    })
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn info(s: &mut Session, args: &Args) -> Outcome {
    let net = network(s, args)?;
    let state = state(s, &net)?;
    let mut pairs = vec![
        ("Name:", net.name.clone()),
        ("UUID:", show_uuid(&net.uuid)),
        ("Active:", yes(state.active)),
        ("Persistent:", yes(state.persistent)),
        ("Autostart:", yes(state.autostart)),
    ];
    if let Ok(got) = s.call(&remote::NetworkGetBridgeNameArgs { net }) {
        pairs.push(("Bridge:", got.name));
    }
    s.out.pairs(15, &pairs);
    Ok(())
}

fn list(s: &mut Session, args: &Args) -> Outcome {
    let wanted = |name| args.has(name);
    let active = !wanted("inactive");
    let inactive = wanted("inactive") || wanted("all");
    let flags = [
        (inactive, 1),
        (active, 2),
        (wanted("persistent"), 4),
        (wanted("transient"), 8),
        (wanted("autostart"), 16),
        (wanted("no-autostart"), 32),
    ];
    let flags = flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
    let call = remote::ConnectListAllNetworksArgs {
        need_results: 1,
        flags,
    };
    let mut nets = s
        .call(&call)
        .or_fail(|| "Failed to list networks".into())?
        .nets;
    nets.sort_by_key(|net| net.name.to_lowercase());
    if wanted("name") || wanted("uuid") {
        match wanted("uuid") {
            true => s
                .out
                .names("uuid", nets.iter().map(|net| show_uuid(&net.uuid))),
            false => s.out.names("name", nets.into_iter().map(|net| net.name)),
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    for net in nets {
        // One that has gone since is left out.
        if let Ok(state) = state(s, &net) {
            let active = if state.active { "active" } else { "inactive" };
            rows.push(vec![
                net.name,
                active.to_owned(),
                yes(state.autostart),
                yes(state.persistent),
            ]);
        }
    }
    s.out
        .table(&["Name", "State", "Autostart", "Persistent"], &rows);
    Ok(())
}
