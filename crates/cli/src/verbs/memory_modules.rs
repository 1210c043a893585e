//! Memory modules of which a guest uses a part.

use client::wire::remote;
use roxmltree::Node;

use crate::args::Args;
use crate::domain::{AFFECT_CONFIG, affect, target};
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::query;
use crate::serialise::Changed;
use crate::session::Session;
use crate::table::{CONFIG, CURRENT, DOMAIN, LIVE, PRINT_XML, Verb, number, text};
use crate::verbs::define::XML_INACTIVE;

const REQUESTED: &str = "requested-size";

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new(
    "update-memory-device",
    "ask the guest to use another part of a memory module",
    update,
)
.options(&[
    DOMAIN,
    CONFIG,
    LIVE,
    CURRENT,
    PRINT_XML,
    text("alias", "the module's alias"),
    number("node", "the module's node in the guest"),
    text(REQUESTED, "how much of it is to be used (default KiB)"),
])];

fn update(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("node", "alias")?;
    let flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let inactive = match flags & AFFECT_CONFIG != 0 {
        true => XML_INACTIVE,
        false => 0,
    };
    let mut definition = s.domain_xml(&dom, inactive)?;
    if let Some(bytes) = args.scaled(REQUESTED, 1024, u64::MAX)? {
        definition = with_requested(&definition, args, bytes / 1024)?;
    }
    let document = query::parse(&definition)?;
    let xml = Changed::default().show(find(document.root_element(), args)?);
    if args.has("print-xml") {
        say!(s, "{xml}");
        return Ok(());
    }
    Ok(s.call(&remote::DomainUpdateDeviceFlagsArgs { dom, xml, flags })?)
}

/// The module that is meant: the only one, if nothing is said.
fn find<'a, 'i>(domain: Node<'a, 'i>, args: &Args) -> Result<Node<'a, 'i>, Failure> {
    let alias = args.text("alias")?;
    let node = args.number::<u32>("node")?.map(|node| node.to_string());
    let is = |module: &Node, place, wanted: Option<&str>| {
        wanted.is_none_or(|wanted| query::value(*module, &[place]).as_deref() == Some(wanted))
    };
    let modules = query::all(domain, "devices/memory").into_iter();
    let mut found = modules.filter(|module| {
        is(module, "alias/@name", alias) && is(module, "target/node", node.as_deref())
    });
    match (found.next(), found.next()) {
        (Some(module), None) => Ok(module),
        (None, _) => Err(Failure::said("no memory device found")),
        (Some(_), Some(_)) => Err(Failure::said(
            "multiple memory devices found, use --alias or --node to select one",
        )),
    }
}

/// The definition with another size asked for of the module that is meant.
fn with_requested(definition: &str, args: &Args, kib: u64) -> Result<String, Failure> {
    let document = query::parse(definition)?;
    let module = find(document.root_element(), args)?;
    let requested = query::all(module, "target/requested").into_iter().next();
    let place =
        requested.ok_or_else(|| Failure::said("virtio-mem device is missing <requested/>"))?;
    let mut changed = definition.to_owned();
    let element = format!("<requested unit='KiB'>{kib}</requested>");
    changed.replace_range(place.range(), &element);
    Ok(changed)
}
