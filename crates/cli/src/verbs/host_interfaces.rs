//! The host's interfaces: listed, described, switched on and off.

use client::wire::remote::{self, RemoteInterface};

use crate::args::Args;
use crate::failure::{OrFail, Outcome};
use crate::output::{extra, fact};
use crate::session::Session;
use crate::table::{Opt, Verb, WRAP, XPATH, arg, flag};
use crate::verbs::define::print_xml;

const INTERFACE: Opt = arg(
    "interface",
    "the interface, by its name or hardware address",
)
.of_things(crate::table::Thing::HostInterface);

/// `VIR_CONNECT_LIST_INTERFACES_INACTIVE` and `_ACTIVE`.
const INACTIVE: u32 = 1;
const ACTIVE: u32 = 2;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("iface-destroy", "switch an interface off", destroy).options(&[INTERFACE]),
    Verb::new("iface-dumpxml", "describe an interface as XML", dumpxml).options(&[
        INTERFACE,
        flag("inactive", "as it is configured"),
        XPATH,
        WRAP,
    ]),
    Verb::new("iface-list", "list the host's interfaces", list)
        .options(&[
            flag("inactive", "those that are switched off"),
            flag("all", "those that are on and those that are off"),
        ])
        .tabular(),
    Verb::new("iface-mac", "an interface's hardware address", mac)
        .options(&[
            arg("interface", "the interface's name").of_things(crate::table::Thing::HostInterface)
        ])
        .tabular(),
    Verb::new("iface-name", "the name of an interface", name)
        .options(&[arg("interface", "the interface's hardware address")])
        .tabular(),
    Verb::new("iface-start", "switch an interface on", start).options(&[INTERFACE]),
];

/// The interface meant: by its name, else by its hardware address.
fn find(s: &mut Session, args: &Args) -> Result<RemoteInterface, crate::failure::Failure> {
    let given = args.need("interface")?.to_owned();
    if let Ok(found) = s.call(&remote::InterfaceLookupByNameArgs {
        name: given.clone(),
    }) {
        return Ok(found.iface);
    }
    let found = s
        .call(&remote::InterfaceLookupByMacStringArgs { mac: given.clone() })
        .or_fail(|| format!("failed to get interface '{given}'"))?;
    Ok(found.iface)
}

fn list(s: &mut Session, args: &Args) -> Outcome {
    let flags = match (args.has("all"), args.has("inactive")) {
        (true, _) => ACTIVE | INACTIVE,
        (false, true) => INACTIVE,
        (false, false) => ACTIVE,
    };
    let need_results = 1;
    let all = s
        .call(&remote::ConnectListAllInterfacesArgs {
            need_results,
            flags,
        })
        .or_fail(|| "Failed to list interfaces".into())?;
    let mut rows = Vec::new();
    for iface in all.ifaces {
        let asked = remote::InterfaceIsActiveArgs {
            iface: iface.clone(),
        };
        let state = match s.call(&asked)?.active {
            0 => "inactive",
            _ => "active",
        };
        rows.push(vec![iface.name, state.to_owned(), iface.mac]);
    }
    s.out.table(&["Name", "State", "MAC Address"], &rows);
    Ok(())
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let iface = find(s, args)?;
    let flags = u32::from(args.has("inactive"));
    let got = s.call(&remote::InterfaceGetXmlDescArgs { iface, flags })?;
    print_xml(s, args, &got.xml)
}

fn mac(s: &mut Session, args: &Args) -> Outcome {
    let mac = find(s, args)?.mac;
    fact!(s, "mac", mac.as_str(), "{mac}");
    Ok(())
}

fn name(s: &mut Session, args: &Args) -> Outcome {
    let name = find(s, args)?.name;
    fact!(s, "name", name.as_str(), "{name}");
    Ok(())
}

fn start(s: &mut Session, args: &Args) -> Outcome {
    let iface = find(s, args)?;
    let name = iface.name.clone();
    s.call(&remote::InterfaceCreateArgs { iface, flags: 0 })
        .or_fail(|| format!("Failed to start interface {name}"))?;
    extra!(s, "Interface {name} started\n");
    Ok(())
}

fn destroy(s: &mut Session, args: &Args) -> Outcome {
    let iface = find(s, args)?;
    let name = iface.name.clone();
    s.call(&remote::InterfaceDestroyArgs { iface, flags: 0 })
        .or_fail(|| format!("Failed to destroy interface {name}"))?;
    extra!(s, "Interface {name} destroyed\n");
    Ok(())
}
