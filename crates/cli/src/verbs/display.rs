//! Where a domain's screens and serial lines are.

use roxmltree::Node;

use crate::args::Args;
use crate::domain::target;
use crate::failure::{Failure, Outcome};
use crate::output::{fact, told};
use crate::query;
use crate::session::Session;
use crate::table::{DOMAIN, Verb, flag, maybe, number};

/// The port of VNC's display 0.
const VNC_PORT_BASE: i32 = 5900;
const SCHEMES: &[&str] = &["vnc", "spice", "rdp", "dbus"];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "domdisplay",
        "the URI of a domain's graphical display",
        domdisplay,
    )
    .about("Prints a URI that a viewer understands.")
    .options(&[
        DOMAIN,
        flag("include-password", "with the password"),
        maybe("type", "only this kind: vnc, spice, rdp or dbus").words(SCHEMES),
        flag("all", "all displays"),
    ])
    .tabular(),
    Verb::new(
        "domdisplay-reload",
        "have a display read its certificates anew",
        reload,
    )
    .options(&[DOMAIN, number("type", "the kind of display: 1 for VNC")]),
    Verb::new(
        "ttyconsole",
        "the terminal device of a domain's console",
        ttyconsole,
    )
    .options(&[DOMAIN])
    .tabular(),
    Verb::new(
        "vncdisplay",
        "address and number of a domain's VNC display",
        vncdisplay,
    )
    .options(&[DOMAIN])
    .tabular(),
];

fn running(s: &mut Session, args: &Args) -> Result<client::wire::remote::RemoteDomain, Failure> {
    let dom = target(s, args)?.dom;
    match s.domain_active(&dom)? {
        true => Ok(dom),
        false => Err(Failure::said("Domain is not running")),
    }
}

fn reload(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let kind = args.number::<u32>("type")?.unwrap_or(0);
    let call = client::wire::remote::DomainGraphicsReloadArgs {
        dom,
        kind,
        flags: 0,
    };
    Ok(s.call(&call)?)
}

fn graphics<'a, 'i>(root: Node<'a, 'i>, kind: &str) -> Option<Node<'a, 'i>> {
    let all = query::all(root, "devices/graphics");
    all.into_iter().find(|g| g.attribute("type") == Some(kind))
}

fn listen(graphics: Node<'_, '_>) -> Option<String> {
    query::value(graphics, &["@listen", "listen/@address"])
}

fn port(graphics: Node<'_, '_>, name: &str) -> i32 {
    graphics
        .attribute(name)
        .and_then(|p| p.parse().ok())
        .unwrap_or(0)
}

fn domdisplay(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("all", "type")?;
    let dom = running(s, args)?;
    let flags = if args.has("include-password") { 1 } else { 0 };
    let wanted = args.text("type")?;
    let xml = s.domain_xml(&dom, flags)?;
    let document = query::parse(&xml)?;
    let root = document.root_element();
    let schemes = SCHEMES.iter().filter(|k| wanted.is_none_or(|w| w == **k));
    let found: Vec<String> = schemes.filter_map(|k| display_uri(root, k)).collect();
    match (found.first(), wanted) {
        (Some(_), _) if args.has("all") => s.out.names("uri", found),
        (Some(uri), _) => told!(s, "uri", uri.as_str(), "{uri}"),
        (None, Some(kind)) => {
            let what = format!("No graphical display with type '{kind}' found");
            return Err(Failure::said(what));
        }
        (None, None) => return Err(Failure::said("No graphical display found")),
    }
    Ok(())
}

/// The URI of the display of one kind.
fn display_uri(root: Node<'_, '_>, kind: &str) -> Option<String> {
    let graphics = graphics(root, kind)?;
    if kind == "dbus" {
        let address = graphics.attribute("address")?;
        let rest = address
            .strip_prefix("unix:path=")
            .map(|p| format!("unix://{p}"));
        return Some(format!(
            "dbus+{}",
            rest.unwrap_or_else(|| address.to_owned())
        ));
    }
    let socket = query::value(graphics, &["@socket", "listen/@socket"]);
    let (port, tls_port) = (port(graphics, "port"), port(graphics, "tlsPort"));
    if port <= 0 && tls_port <= 0 && socket.is_none() {
        return None;
    }
    let mut uri = format!("{kind}{}://", if socket.is_some() { "+unix" } else { "" });
    let password = graphics.attribute("passwd");
    if let Some(password) = password.filter(|_| kind == "vnc") {
        uri.push_str(&format!(":{password}@"));
    }
    if let Some(path) = socket {
        uri.push_str(&path);
    } else {
        let address = listen(graphics).filter(|a| a != "0.0.0.0" && a != "::");
        let address = address.unwrap_or_else(|| "localhost".to_owned());
        let v6 = address.contains(':');
        uri.push_str(&if v6 { format!("[{address}]") } else { address });
        match (kind, port) {
            (_, ..=0) => {}
            ("vnc", port) => uri.push_str(&format!(":{}", port - VNC_PORT_BASE)),
            (_, port) => uri.push_str(&format!(":{port}")),
        }
    }
    let mut query = Vec::new();
    if tls_port > 0 {
        query.push(format!("tls-port={tls_port}"));
    }
    if let Some(password) = password.filter(|_| kind == "spice") {
        query.push(format!("password={password}"));
    }
    if !query.is_empty() {
        uri.push('?');
        uri.push_str(&query.join("&"));
    }
    Some(uri)
}

fn vncdisplay(s: &mut Session, args: &Args) -> Outcome {
    let dom = running(s, args)?;
    let xml = s.domain_xml(&dom, 0)?;
    let document = query::parse(&xml)?;
    let graphics = graphics(document.root_element(), "vnc");
    let port = graphics.and_then(|g| g.attribute("port")?.parse::<i32>().ok());
    let Some((graphics, port)) = graphics.zip(port) else {
        let what = "Failed to get VNC port. Is this domain using VNC?";
        return Err(Failure::said(what));
    };
    let address = listen(graphics)
        .filter(|a| a != "0.0.0.0")
        .unwrap_or_default();
    let display = format!("{address}:{}", port - VNC_PORT_BASE);
    fact!(s, "display", display.as_str(), "{display}");
    Ok(())
}

fn ttyconsole(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let xml = s.domain_xml(&dom, 0)?;
    let document = query::parse(&xml)?;
    match query::value(document.root_element(), &["devices/console/@tty"]) {
        Some(tty) => fact!(s, "tty", tty.as_str(), "{tty}"),
        None => return Err(Failure::silent()),
    }
    Ok(())
}
