//! `firewall`: the simple rules of each machine, kept in its own metadata.

use client::api::PlanRequest;
use client::wire::errors::ErrorCode;
use client::wire::remote;
use model::network::policy::{Allow, Forward, NAMESPACE, PREFIX, Peer, Policy, Service, is_name};

use crate::args::Args;
use crate::domain::{AFFECT_CONFIG, AFFECT_LIVE, By, lookup};
use crate::failure::{Failure, Outcome};
use crate::output::{extra, sayln};
use crate::session::Session;
use crate::table::{Completes, Verb, arg, maybe, text};
use crate::verbs::list::domains;
use crate::verbs::plans::{self, DRY_RUN};

/// `VIR_DOMAIN_METADATA_ELEMENT`.
const ELEMENT: i32 = 2;
/// What is done.
const ACTIONS: &[&str] = &[
    "show",
    "allow",
    "revoke",
    "default",
    "log",
    "join",
    "leave",
    "forward",
    "unforward",
    "clear",
];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
    "firewall",
    "what a machine may receive, and which ports lead to it",
    firewall,
)
.about(
    "show: prints the rules. allow --in SERVICE [--from PEERS] and revoke --in SERVICE: what may \
     come in. default drop|accept: what becomes of the rest. log on|off: whether what is dropped \
     is logged. join|leave GROUP: groups that other machines' rules name. forward|unforward \
     tcp/8080:80: ports of the host that lead to it. clear: no rules at all. SERVICE is \
     tcp/80,443, udp/53, tcp/set:NAME, icmp or all; PEERS are addresses, networks, group:NAME or set:NAME, separated by \
     commas.",
)
.options(&[
    arg("action", "what to do").words(ACTIONS),
    arg("domain", "the domain: its name, id or uuid").completes(Completes::Domain),
    maybe(
        "value",
        "drop, accept, on, off, a group, or ports to forward",
    ),
    text("in", "the service: tcp/80,443, udp/53, icmp or all"),
    text(
        "from",
        "who may: addresses, networks, group:NAME or set:NAME, separated by commas",
    ),
    DRY_RUN,
])
.tabular(),
    Verb::new("firewall list", "the machines that have rules, with what they amount to", list)
        .tabular(),
];

fn firewall(s: &mut Session, args: &Args) -> Outcome {
    let dom = lookup(s, args.need("domain")?, By::Any)?;
    let action = args.need("action")?.to_owned();
    let mut policy = read(s, &dom)?;
    if action == "show" {
        show(s, &policy);
        return Ok(());
    }
    change(&mut policy, &action, args)?;
    if args.has("dry-run") {
        let asked = PlanRequest::Firewall {
            domain: dom.name.clone(),
            policy: policy.to_xml(),
        };
        return plans::print(s, &asked);
    }
    write(s, &dom, &policy)?;
    extra!(s, "Firewall of '{}' changed\n", dom.name);
    Ok(())
}

fn list(s: &mut Session, _: &Args) -> Outcome {
    let mut rows = Vec::new();
    for dom in domains(s, 0)? {
        let policy = read(s, &dom)?;
        if policy != Policy::default() {
            rows.push(vec![
                dom.name,
                default_of(&policy).to_owned(),
                log_of(&policy).to_owned(),
                policy.groups.join(","),
                policy.allows.len().to_string(),
                policy.forwards.len().to_string(),
            ]);
        }
    }
    let header = ["Name", "Default", "Log", "Groups", "Allowed", "Forwarded"];
    s.out.table(&header, &rows);
    Ok(())
}

fn read(s: &mut Session, dom: &remote::RemoteDomain) -> Result<Policy, Failure> {
    let got = s.call(&remote::DomainGetMetadataArgs {
        dom: dom.clone(),
        kind: ELEMENT,
        uri: Some(NAMESPACE.to_owned()),
        flags: 0,
    });
    match got {
        Ok(got) => Policy::parse(&got.metadata).map_err(|e| Failure::said(e.to_string())),
        Err(e) if e.is(ErrorCode::NoDomainMetadata) => Ok(Policy::default()),
        Err(e) => Err(e.into()),
    }
}

/// Stores the rules where they last, and puts them in force where the machine runs.
fn write(s: &mut Session, dom: &remote::RemoteDomain, policy: &Policy) -> Outcome {
    let active = s.domain_active(dom)?;
    let persistent = s
        .call(&remote::DomainIsPersistentArgs { dom: dom.clone() })?
        .persistent
        != 0;
    let mut flags = 0;
    if active {
        flags |= AFFECT_LIVE;
    }
    if persistent {
        flags |= AFFECT_CONFIG;
    }
    let metadata = (*policy != Policy::default()).then(|| policy.to_xml());
    s.call(&remote::DomainSetMetadataArgs {
        dom: dom.clone(),
        kind: ELEMENT,
        metadata,
        key: Some(PREFIX.to_owned()),
        uri: Some(NAMESPACE.to_owned()),
        flags,
    })?;
    Ok(())
}

fn change(policy: &mut Policy, action: &str, args: &Args) -> Outcome {
    let wrong = |what: &str| Failure::said(format!("'{what}' is nothing to {action}"));
    let value = || {
        let given = args.text("value")?;
        given.ok_or_else(|| Failure::said(format!("'{action}' needs a value: see help firewall")))
    };
    let choice = |yes: &str, no: &str| match value()? {
        given if given == yes => Ok(true),
        given if given == no => Ok(false),
        given => Err(wrong(given)),
    };
    match action {
        "allow" => policy.allows.push(allow_of(args)?),
        "revoke" => {
            let allow = allow_of(args)?;
            let before = policy.allows.len();
            policy.allows.retain(|other| other.service != allow.service);
            if policy.allows.len() == before {
                return Err(Failure::said(format!("no rule allows '{}'", allow.service)));
            }
        }
        "default" => policy.drop_inbound = choice("drop", "accept")?,
        "log" => policy.log = choice("on", "off")?,
        "join" => {
            let group = value()?;
            if !is_name(group) {
                return Err(wrong(group));
            }
            policy.groups.retain(|other| other != group);
            policy.groups.push(group.to_owned());
        }
        "leave" => {
            let group = value()?;
            policy.groups.retain(|other| other != group);
        }
        "forward" | "unforward" => {
            let given = value()?;
            let forward = Forward::parse(given).ok_or_else(|| wrong(given))?;
            policy
                .forwards
                .retain(|f| (f.protocol, f.port) != (forward.protocol, forward.port));
            if action == "forward" {
                policy.forwards.push(forward);
            }
        }
        "clear" => *policy = Policy::default(),
        _ => return Err(Failure::said(format!("unknown action '{action}'"))),
    }
    Ok(())
}

fn allow_of(args: &Args) -> Result<Allow, Failure> {
    let given = args
        .text("in")?
        .ok_or_else(|| Failure::said("--in is needed: tcp/80,443"))?;
    let service = Service::parse(given)
        .ok_or_else(|| Failure::said(format!("'{given}' is no service: write it as tcp/80,443")))?;
    let words = args.text("from")?.unwrap_or_default().split(',');
    let peers = words.map(str::trim).filter(|word| !word.is_empty());
    let from = peers.map(|word| {
        Peer::parse(word)
            .ok_or_else(|| Failure::said(format!("'{word}' is no address, network or group:NAME")))
    });
    Ok(Allow {
        service,
        from: from.collect::<Result<_, _>>()?,
    })
}

/// What becomes of what no rule allows.
fn default_of(policy: &Policy) -> &'static str {
    if policy.drop_inbound {
        "drop"
    } else {
        "accept"
    }
}

/// Whether what is dropped is logged.
fn log_of(policy: &Policy) -> &'static str {
    if policy.log { "on" } else { "off" }
}

/// The rules as rows, for programs.
fn rows(policy: &Policy) -> Vec<Vec<String>> {
    let row = |kind: &str, what: String, from: String| vec![kind.to_owned(), what, from];
    let mut rows = vec![
        row("default", default_of(policy).to_owned(), String::new()),
        row("log", log_of(policy).to_owned(), String::new()),
    ];
    let groups = policy.groups.iter();
    rows.extend(groups.map(|group| row("member", group.clone(), String::new())));
    rows.extend(policy.allows.iter().map(|allow| {
        let from: Vec<String> = allow.from.iter().map(Peer::to_string).collect();
        row("allow", allow.service.to_string(), from.join(","))
    }));
    let forwards = policy.forwards.iter();
    rows.extend(forwards.map(|forward| row("forward", forward.to_string(), String::new())));
    rows
}

fn show(s: &mut Session, policy: &Policy) {
    if !s.out.is_text() {
        s.out.table(&["Rule", "What", "From"], &rows(policy));
        return;
    }
    sayln!(
        s,
        "default {}{}",
        default_of(policy),
        if policy.log { ", logged" } else { "" }
    );
    for group in &policy.groups {
        sayln!(s, "member of {group}");
    }
    for allow in &policy.allows {
        let from: Vec<String> = allow.from.iter().map(Peer::to_string).collect();
        let from = match from.is_empty() {
            true => "anybody".to_owned(),
            false => from.join(", "),
        };
        sayln!(s, "allow {} from {from}", allow.service);
    }
    for forward in &policy.forwards {
        sayln!(s, "forward {forward}");
    }
}
