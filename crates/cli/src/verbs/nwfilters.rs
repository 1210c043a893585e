//! Network filters and their bindings.

use client::wire::remote::{self, RemoteNwfilter, RemoteNwfilterBinding};

use crate::args::Args;
use crate::domain::{self, parse_uuid, show_uuid};
use crate::edit::{self, Edited, Subject};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::extra;
use crate::session::Session;
use crate::table::{Opt, Verb, WRAP, XPATH, arg, file, flag};
use crate::verbs::define::print_xml;

const FILTER: Opt = arg("nwfilter", "the network filter: its name or uuid")
    .of_things(crate::table::Thing::NwFilter);
const BINDING: Opt = arg("binding", "the device the filter is bound to");
const VALIDATE: Opt = flag("validate", "check the XML against the schema");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("nwfilter-binding-create", "bind a filter to a device", bind)
        .about("Puts a network filter in force on a device of the host, until the device goes or the binding is deleted.")
        .options(&[file("the binding's XML"), VALIDATE]),
    Verb::new("nwfilter-binding-delete", "take the filter from a device", unbind)
        .options(&[BINDING]),
    Verb::new("nwfilter-binding-dumpxml", "print a binding's XML", dump_binding)
        .options(&[BINDING, XPATH, WRAP]),
    Verb::new("nwfilter-binding-list", "which filters devices have", list_bindings).tabular(),
    Verb::new("nwfilter-define", "define a network filter from an XML file", define)
        .about("Defines a network filter or changes its definition; machines that use it follow at once.")
        .options(&[file("the filter's XML"), VALIDATE]),
    Verb::new("nwfilter-dumpxml", "print a network filter's XML", dumpxml)
        .options(&[FILTER, XPATH, WRAP]),
    Verb::new("nwfilter-edit", "edit a network filter", edit_definition)
        .about("Opens the definition in $VISUAL or $EDITOR and defines what comes back.")
        .options(&[FILTER]),
    Verb::new("nwfilter-list", "the network filters there are", list).tabular(),
    Verb::new("nwfilter-undefine", "remove a network filter", undefine)
        .about("Removes a network filter that no running machine uses.")
        .options(&[FILTER]),
];

fn filter(s: &mut Session, args: &Args) -> Result<RemoteNwfilter, Failure> {
    let given = args.need("nwfilter")?.to_owned();
    if let Some(uuid) = parse_uuid(&given)
        && let Ok(found) = s.call(&remote::NwfilterLookupByUuidArgs { uuid })
    {
        return Ok(found.nwfilter);
    }
    let name = given.clone();
    let found = s.call(&remote::NwfilterLookupByNameArgs { name });
    Ok(found
        .or_fail(|| format!("failed to get nwfilter '{given}'"))?
        .nwfilter)
}

fn xml(s: &mut Session, nwfilter: &RemoteNwfilter) -> Result<String, Failure> {
    let call = remote::NwfilterGetXmlDescArgs {
        nwfilter: nwfilter.clone(),
        flags: 0,
    };
    Ok(s.call(&call)?.xml)
}

fn define(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    let xml = domain::read_file(from)?;
    let got = match args.has("validate") {
        false => s
            .call(&remote::NwfilterDefineXmlArgs { xml })
            .map(|got| got.nwfilter),
        true => s
            .call(&remote::NwfilterDefineXmlFlagsArgs { xml, flags: 1 })
            .map(|got| got.nwfilter),
    };
    let nwfilter = got.or_fail(|| format!("Failed to define network filter from {from}"))?;
    extra!(s, "Network filter {} defined from {from}\n", nwfilter.name);
    Ok(())
}

fn undefine(s: &mut Session, args: &Args) -> Outcome {
    let nwfilter = filter(s, args)?;
    let name = nwfilter.name.clone();
    s.call(&remote::NwfilterUndefineArgs { nwfilter })
        .or_fail(|| format!("Failed to undefine network filter {name}"))?;
    extra!(s, "Network filter {name} undefined\n");
    Ok(())
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let nwfilter = filter(s, args)?;
    let text = xml(s, &nwfilter)?;
    print_xml(s, args, &text)
}

fn list(s: &mut Session, _: &Args) -> Outcome {
    let call = remote::ConnectListAllNwfiltersArgs {
        need_results: 1,
        flags: 0,
    };
    let got = s
        .call(&call)
        .or_fail(|| "Failed to list network filters".into())?;
    let rows: Vec<Vec<String>> = got
        .filters
        .into_iter()
        .map(|filter| vec![show_uuid(&filter.uuid), filter.name])
        .collect();
    s.out.table(&["UUID", "Name"], &rows);
    Ok(())
}

struct Definition {
    nwfilter: RemoteNwfilter,
}

impl Subject for Definition {
    fn read(&mut self, s: &mut Session) -> Result<String, Failure> {
        xml(s, &self.nwfilter)
    }

    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure> {
        let xml = text.to_owned();
        self.nwfilter = s.call(&remote::NwfilterDefineXmlArgs { xml })?.nwfilter;
        Ok(())
    }
}

fn edit_definition(s: &mut Session, args: &Args) -> Outcome {
    let nwfilter = filter(s, args)?;
    let mut subject = Definition { nwfilter };
    let edited = edit::edit(s, &mut subject)?;
    let name = &subject.nwfilter.name;
    match edited {
        Edited::Unchanged => {
            extra!(s, "Network filter {name} XML configuration not changed.\n");
        }
        Edited::Stored => extra!(s, "Network filter {name} XML configuration edited.\n"),
    }
    Ok(())
}

fn binding(s: &mut Session, args: &Args) -> Result<RemoteNwfilterBinding, Failure> {
    let name = args.need("binding")?.to_owned();
    let call = remote::NwfilterBindingLookupByPortDevArgs { name: name.clone() };
    let found = s.call(&call);
    Ok(found
        .or_fail(|| format!("failed to get nwfilter binding '{name}'"))?
        .nwfilter)
}

fn bind(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    let xml = domain::read_file(from)?;
    let flags = u32::from(args.has("validate"));
    let got = s.call(&remote::NwfilterBindingCreateXmlArgs { xml, flags });
    let bound = got
        .or_fail(|| format!("Failed to create network filter from {from}"))?
        .nwfilter;
    extra!(
        s,
        "Network filter binding on {} created from {from}\n",
        bound.portdev
    );
    Ok(())
}

fn unbind(s: &mut Session, args: &Args) -> Outcome {
    let nwfilter = binding(s, args)?;
    let device = nwfilter.portdev.clone();
    s.call(&remote::NwfilterBindingDeleteArgs { nwfilter })
        .or_fail(|| format!("Failed to delete network filter binding on {device}"))?;
    extra!(s, "Network filter binding on {device} deleted\n");
    Ok(())
}

fn dump_binding(s: &mut Session, args: &Args) -> Outcome {
    let nwfilter = binding(s, args)?;
    let call = remote::NwfilterBindingGetXmlDescArgs { nwfilter, flags: 0 };
    let text = s.call(&call)?.xml;
    print_xml(s, args, &text)
}

fn list_bindings(s: &mut Session, _: &Args) -> Outcome {
    let call = remote::ConnectListAllNwfilterBindingsArgs {
        need_results: 1,
        flags: 0,
    };
    let got = s
        .call(&call)
        .or_fail(|| "Failed to list network filter bindings".into())?;
    let rows: Vec<Vec<String>> = got
        .bindings
        .into_iter()
        .map(|bound| vec![bound.portdev, bound.filtername])
        .collect();
    s.out.table(&["Port Dev", "Filter"], &rows);
    Ok(())
}
