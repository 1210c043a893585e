//! Network interfaces from options instead of a file.

use client::wire::remote;
use roxmltree::Node;

use crate::args::Args;
use crate::domain::{AFFECT_CONFIG, AFFECT_LIVE, target};
use crate::element::Element;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, say};
use crate::query;
use crate::serialise::Changed;
use crate::session::Session;
use crate::table::{CONFIG, CURRENT, DOMAIN, LIVE, PERSISTENT, PRINT_XML, Verb, arg, flag, text};
use crate::verbs::define::XML_INACTIVE;
use crate::verbs::devices::{attach_xml, detach_xml, device_flags, with_running};
use crate::verbs::nics::normal_mac;
use crate::verbs::plans::{self, DRY_RUN};
use client::api::PlanRequest;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("attach-interface", "plug in a network interface", attach)
        .options(&[
            DOMAIN,
            arg("type", "its kind: network, bridge, direct, vhostuser"),
            arg("source", "the network, bridge or device"),
            text("target", "its name on the host").bare(),
            text("mac", "its MAC address").bare(),
            text("script", "a script that connects it").bare(),
            text("model", "its model: virtio, e1000").bare(),
            text("alias", "an alias of your own, beginning with ua-").bare(),
            text(
                "inbound",
                "limits for what it receives: average,peak,burst,floor",
            )
            .bare(),
            text("outbound", "limits for what it sends: average,peak,burst").bare(),
            PERSISTENT,
            CONFIG,
            LIVE,
            CURRENT,
            PRINT_XML,
            flag("managed", "the daemon takes care of the device's driver"),
            text("source-mode", "server or client, for vhostuser").bare(),
            DRY_RUN,
        ])
        .tabular(),
    Verb::new("detach-interface", "unplug a network interface", detach).options(&[
        DOMAIN,
        arg("type", "its kind"),
        text("mac", "its MAC address").bare(),
        PERSISTENT,
        CONFIG,
        LIVE,
        CURRENT,
        PRINT_XML,
    ]),
    Verb::new(
        "domif-setlink",
        "plug or pull an interface's cable",
        setlink,
    )
    .options(&[
        DOMAIN,
        arg("interface", "the interface: its target or MAC address")
            .of_things(crate::table::Thing::Card),
        arg("state", "up or down").words(&["up", "down"]),
        flag("config", "in the definition"),
        PRINT_XML,
    ]),
];

/// `average,peak,burst,floor`; what is left out is zero.
fn rates(text: &str) -> Result<[u64; 4], Failure> {
    let mut rates = [0; 4];
    let wrong = || Failure::said(format!("malformed bandwidth '{text}'"));
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > rates.len() {
        return Err(wrong());
    }
    for (rate, part) in rates.iter_mut().zip(parts) {
        if !part.is_empty() {
            *rate = part.parse().map_err(|_| wrong())?;
        }
    }
    Ok(rates)
}

fn bandwidth(args: &Args) -> Result<Element, Failure> {
    let mut all = Element::new("bandwidth");
    let limits = |name, rates: [u64; 4]| {
        let names = ["average", "peak", "burst", "floor"];
        names
            .iter()
            .zip(rates)
            .fold(Element::new(name), |element, (limit, rate)| {
                element.attr(limit, (rate > 0).then(|| rate.to_string()))
            })
    };
    if let Some(text) = args.text("inbound")? {
        let rates = rates(text)?;
        if rates[0] == 0 && rates[3] == 0 {
            return Err(Failure::said(
                "either inbound average or floor is mandatory",
            ));
        }
        all = all.child(limits("inbound", rates));
    }
    if let Some(text) = args.text("outbound")? {
        let rates = rates(text)?;
        if rates[0] == 0 {
            return Err(Failure::said("outbound average is mandatory"));
        }
        if rates[3] != 0 {
            return Err(Failure::said("outbound floor is unsupported yet"));
        }
        all = all.child(limits("outbound", rates));
    }
    Ok(all)
}

fn interface_xml(args: &Args) -> Result<String, Failure> {
    let (kind, source) = (args.need("type")?, args.need("source")?);
    let mode = args.text("source-mode")?;
    if let Some(other) = mode.filter(|m| !matches!(*m, "server" | "client")) {
        return Err(Failure::said(format!("Invalid source mode: {other}")));
    }
    let bandwidth = bandwidth(args)?;
    let from = Element::new("source");
    let from = match kind {
        "network" => from.attr("network", Some(source)),
        "bridge" => from.attr("bridge", Some(source)),
        "direct" => from.attr("dev", Some(source)),
        "vhostuser" => {
            let mode = mode.ok_or_else(|| Failure::said("source-mode is mandatory"))?;
            from.attr("type", Some("unix"))
                .attr("path", Some(source))
                .attr("mode", Some(mode))
        }
        other => {
            let what = format!("No support for {other} in command 'attach-interface'");
            return Err(Failure::said(what));
        }
    };
    let named = |name, attribute, option| -> Result<Element, Failure> {
        Ok(Element::new(name).attr(attribute, args.text(option)?))
    };
    Ok(Element::new("interface")
        .attr("type", Some(kind))
        .attr("managed", args.has("managed").then_some("yes"))
        .child(from)
        .child_if_any(named("target", "dev", "target")?)
        .child_if_any(named("mac", "address", "mac")?)
        .child_if_any(named("script", "path", "script")?)
        .child_if_any(named("model", "type", "model")?)
        .child_if_any(named("alias", "name", "alias")?)
        .child_if_any(bandwidth)
        .show())
}

fn attach(s: &mut Session, args: &Args) -> Outcome {
    let flags = device_flags(args)?;
    let xml = interface_xml(args)?;
    if args.has("print-xml") {
        say!(s, "{xml}");
        return Ok(());
    }
    let dom = target(s, args)?.dom;
    let flags = with_running(s, args, &dom, flags);
    if args.has("dry-run") {
        let request = PlanRequest::AttachInterface {
            domain: dom.name,
            xml,
            live: flags & AFFECT_LIVE != 0 || (flags == 0 && !args.has("current")),
            config: flags & AFFECT_CONFIG != 0,
        };
        return plans::print(s, &request);
    }
    attach_xml(s, args, dom, xml, flags).or_fail(|| "Failed to attach interface".into())?;
    extra!(s, "Interface attached successfully\n");
    Ok(())
}

/// The one interface of a kind, or the one with the MAC address.
fn find<'a, 'i>(
    root: Node<'a, 'i>,
    kind: &str,
    mac: Option<&str>,
) -> Result<Node<'a, 'i>, Failure> {
    let mut nics = query::all(root, "devices/interface");
    nics.retain(|n| n.attribute("type") == Some(kind));
    let Some(mac) = mac else {
        return match nics.as_slice() {
            [nic] => Ok(*nic),
            [] => Err(Failure::said(format!(
                "No interface found whose type is {kind}"
            ))),
            several => Err(Failure::said(format!(
                "Domain has {} interfaces. Please specify which one to detach using --mac",
                several.len()
            ))),
        };
    };
    if nics.is_empty() {
        return Err(Failure::said(format!(
            "No interface found whose type is {kind}"
        )));
    }
    let wanted = normal_mac(mac);
    nics.retain(|n| {
        let address = query::value(*n, &["mac/@address"]).and_then(|a| normal_mac(&a));
        address.is_some() && address == wanted
    });
    match nics.as_slice() {
        [nic] => Ok(*nic),
        [] => Err(Failure::said(format!(
            "No interface with MAC address {mac} was found"
        ))),
        _ => Err(Failure::said(format!(
            "Domain has multiple interfaces matching MAC address {mac}. You must use \
             detach-device and specify the device pci address to remove it."
        ))),
    }
}

fn detach(s: &mut Session, args: &Args) -> Outcome {
    device_flags(args)?;
    let dom = target(s, args)?.dom;
    let config = args.has("config") || args.has("persistent");
    let running = args.has("persistent") && s.domain_active(&dom).unwrap_or(false);
    let live = args.has("live") || running;
    let mut steps = Vec::new();
    if config {
        steps.push((XML_INACTIVE, AFFECT_CONFIG));
    }
    if live || !config {
        steps.push((0, if live { AFFECT_LIVE } else { 0 }));
    }
    for (query_flags, flags) in steps {
        let done = detach_one(s, args, &dom, query_flags, flags);
        match done {
            Err(mut failure) if !args.has("print-xml") => {
                failure.lines.push("Failed to detach interface".into());
                return Err(failure);
            }
            done => done?,
        }
    }
    if !args.has("print-xml") {
        extra!(s, "Interface detached successfully\n");
    }
    Ok(())
}

fn detach_one(
    s: &mut Session,
    args: &Args,
    dom: &remote::RemoteDomain,
    query_flags: u32,
    flags: u32,
) -> Outcome {
    let definition = s.domain_xml(dom, query_flags)?;
    let document = query::parse(&definition)?;
    let nic = find(
        document.root_element(),
        args.need("type")?,
        args.text("mac")?,
    )?;
    let xml = Changed::default().show(nic);
    if args.has("print-xml") {
        say!(s, "{xml}");
        return Ok(());
    }
    Ok(detach_xml(s, args, dom.clone(), xml, flags)?)
}

fn setlink(s: &mut Session, args: &Args) -> Outcome {
    let interface = args.need("interface")?.to_owned();
    let state = args.need("state")?.to_owned();
    let dom = target(s, args)?.dom;
    if !matches!(state.as_str(), "up" | "down") {
        return Err(Failure::said(format!("invalid link state '{state}'")));
    }
    let config = args.has("config");
    let active = s.domain_active(&dom)?;
    let flags = if config || !active {
        AFFECT_CONFIG
    } else {
        AFFECT_LIVE
    };
    let definition = s.domain_xml(&dom, if config { XML_INACTIVE } else { 0 })?;
    let document = query::parse(&definition)?;
    let nics = query::all(document.root_element(), "devices/interface");
    if nics.is_empty() {
        let what = "Failed to extract interface information or no interfaces found";
        return Err(Failure::said(what));
    }
    let named = |nic: &Node<'_, '_>| {
        ["mac/@address", "target/@dev"].iter().any(|place| {
            query::value(*nic, &[*place]).is_some_and(|v| v.eq_ignore_ascii_case(&interface))
        })
    };
    let nic = nics.into_iter().find(named);
    let nic = nic.ok_or_else(|| Failure::said(format!("interface '{interface}' not found")))?;
    let link = format!("<link state=\"{state}\"/>");
    let child = Some(link.as_str());
    let xml = Changed {
        without: "link",
        kind: None,
        child,
        in_place: true,
    }
    .show(nic);
    if args.has("print-xml") {
        say!(s, "{xml}");
        return Ok(());
    }
    s.call(&remote::DomainUpdateDeviceFlagsArgs { dom, xml, flags })
        .or_fail(|| "Failed to update interface link state".into())?;
    extra!(s, "Device updated successfully\n");
    Ok(())
}
