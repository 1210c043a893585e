//! Snapshots: taking them, going back, deleting; what is known of one.

use client::wire::remote::{self, RemoteDomain, RemoteDomainSnapshot};

use crate::args::Args;
use crate::domain::{flags, read_file, target};
use crate::edit::{self, Edited, Subject};
use crate::element::Element;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, fact};
use crate::query;
use crate::session::Session;
use crate::table::{Completes, DOMAIN, Opt, PRINT_XML, Verb, WRAP, XPATH, flag, maybe, rest, text};
use crate::verbs::define::print_xml;

const NAME: Opt = maybe("snapshotname", "the snapshot").of_things(crate::table::Thing::Snapshot);
const CURRENT: Opt = flag("current", "the current snapshot");
const HALT: Opt = flag("halt", "end the machine once the snapshot is taken");
const DISK_ONLY: Opt = flag("disk-only", "disks only, no memory");
const REUSE: Opt = flag(
    "reuse-external",
    "the files for new images are there already",
);
const QUIESCE: Opt = flag("quiesce", "have the guest agent quiet the file systems");
const ATOMIC: Opt = flag("atomic", "all disks or none (always so)");
const LIVE: Opt = flag("live", "let the guest run while its memory is written");
const VALIDATE: Opt = flag("validate", "check the XML against the schema");
const NO_METADATA: Opt = flag("no-metadata", "take it and keep nothing about it");
const SECURITY_INFO: Opt = flag("security-info", "with passwords");

const REDEFINE: u32 = 1;
const SET_CURRENT: u32 = 2;
const CREATE_FLAGS: &[(&str, u32)] = &[
    ("no-metadata", 4),
    ("halt", 8),
    ("disk-only", 16),
    ("reuse-external", 32),
    ("quiesce", 64),
    ("atomic", 128),
    ("live", 256),
    ("validate", 512),
];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "snapshot-create",
        "take a snapshot from an XML file",
        create,
    )
    .about("Without a file: a snapshot with all defaults.")
    .options(&[
        DOMAIN,
        maybe("xmlfile", "the snapshot's XML").completes(Completes::File),
        flag(
            "redefine",
            "take over what is known of a snapshot that is there",
        ),
        flag("current", "with --redefine, make it the current one"),
        NO_METADATA,
        HALT,
        DISK_ONLY,
        REUSE,
        QUIESCE,
        ATOMIC,
        LIVE,
        VALIDATE,
    ]),
    Verb::new("snapshot-create-as", "take a snapshot", create_as).options(&[
        DOMAIN,
        maybe("name", "the snapshot's name"),
        maybe("description", "a description"),
        PRINT_XML,
        NO_METADATA,
        HALT,
        DISK_ONLY,
        REUSE,
        QUIESCE,
        ATOMIC,
        LIVE,
        VALIDATE,
        text("memspec", "where memory goes: [file=]NAME[,snapshot=TYPE]"),
        rest(
            "diskspec",
            "a disk's part: DISK[,snapshot=TYPE][,driver=TYPE][,stype=TYPE][,file=NAME]",
        ),
    ]),
    Verb::new(
        "snapshot-current",
        "show or set the current snapshot",
        current,
    )
    .options(&[
        DOMAIN,
        flag("name", "its name only"),
        SECURITY_INFO,
        text("snapshotname", "make this one the current one")
            .bare()
            .of_things(crate::table::Thing::Snapshot),
    ])
    .tabular(),
    Verb::new("snapshot-delete", "delete a snapshot", delete)
        .about("What others need of its images is kept; what only it needed is merged or removed.")
        .options(&[
            DOMAIN,
            NAME,
            CURRENT,
            flag("children", "those that came after it too"),
            flag("children-only", "those that came after it, not itself"),
            flag("metadata", "only what is known of it; images stay"),
        ]),
    Verb::new("snapshot-dumpxml", "print a snapshot's XML", dumpxml).options(&[
        DOMAIN,
        NAME,
        SECURITY_INFO,
        XPATH,
        WRAP,
    ]),
    Verb::new("snapshot-edit", "edit a snapshot's XML", edit_snapshot).options(&[
        DOMAIN,
        NAME,
        flag(
            "current",
            "make it the current one, or edit the current one",
        ),
        flag("rename", "allow a new name"),
        flag("clone", "allow a second one under a new name"),
    ]),
    Verb::new("snapshot-info", "what is known of a snapshot", info)
        .options(&[DOMAIN, NAME, CURRENT])
        .tabular(),
    Verb::new("snapshot-parent", "the snapshot before a snapshot", parent)
        .options(&[DOMAIN, NAME, CURRENT])
        .tabular(),
    Verb::new("snapshot-revert", "go back to a snapshot", revert).options(&[
        DOMAIN,
        NAME,
        CURRENT,
        flag("running", "run afterwards, whatever it says"),
        flag("paused", "stand still afterwards, whatever it says"),
        flag("force", "though something is lost by it"),
        flag(
            "reset-nvram",
            "start with a fresh copy of the NVRAM template",
        ),
    ]),
];

/// The snapshot of `--snapshotname` or `--current`.
pub(super) fn snapshot(
    s: &mut Session,
    args: &Args,
    dom: &RemoteDomain,
) -> Result<RemoteDomainSnapshot, Failure> {
    args.exclusive("current", "snapshotname")?;
    if args.has("current") {
        let dom = dom.clone();
        return Ok(s
            .call(&remote::DomainSnapshotCurrentArgs { dom, flags: 0 })?
            .snap);
    }
    match args.text("snapshotname")? {
        Some(name) => by_name(s, dom, name),
        None => Err(Failure::said("--snapshotname or --current is required")),
    }
}

pub(super) fn by_name(
    s: &mut Session,
    dom: &RemoteDomain,
    name: &str,
) -> Result<RemoteDomainSnapshot, Failure> {
    let call = remote::DomainSnapshotLookupByNameArgs {
        dom: dom.clone(),
        name: name.to_owned(),
        flags: 0,
    };
    Ok(s.call(&call)?.snap)
}

pub(super) fn xml_of(
    s: &mut Session,
    snap: &RemoteDomainSnapshot,
    flags: u32,
) -> Result<String, Failure> {
    let snap = snap.clone();
    Ok(
        s.call(&remote::DomainSnapshotGetXmlDescArgs { snap, flags })?
            .xml,
    )
}

fn make(s: &mut Session, dom: RemoteDomain, xml: &str, flags: u32) -> Result<String, Failure> {
    let call = remote::DomainSnapshotCreateXmlArgs {
        dom,
        xml_desc: xml.to_owned(),
        flags,
    };
    Ok(s.call(&call)?.snap.name)
}

fn create(s: &mut Session, args: &Args) -> Outcome {
    args.requires("current", "redefine")?;
    let dom = target(s, args)?.dom;
    let from = args.text("xmlfile")?.map(str::to_owned);
    let xml = match &from {
        Some(path) => read_file(path)?,
        None => "<domainsnapshot/>".to_owned(),
    };
    let more = flags(args, &[("redefine", REDEFINE), ("current", SET_CURRENT)]);
    let name = make(s, dom, &xml, flags(args, CREATE_FLAGS) | more)?;
    match from {
        Some(from) => extra!(s, "Domain snapshot {name} created from '{from}'"),
        None => extra!(s, "Domain snapshot {name} created"),
    }
    Ok(())
}

fn create_as(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let mut root = Element::new("domainsnapshot");
    for (option, element) in [("name", "name"), ("description", "description")] {
        if let Some(text) = args.text(option)? {
            root = root.child(Element::new(element).text(text));
        }
    }
    if let Some(spec) = args.text("memspec")? {
        root = root.child(memory(spec)?);
    }
    let disks = args.many("diskspec");
    if !disks.is_empty() {
        let mut list = Element::new("disks");
        for spec in disks {
            list = list.child(disk(spec)?);
        }
        root = root.child(list);
    }
    let xml = root.show();
    if args.has("print-xml") {
        s.out.text(xml);
        return Ok(());
    }
    let name = make(s, dom, &xml, flags(args, CREATE_FLAGS))?;
    extra!(s, "Domain snapshot {name} created");
    Ok(())
}

/// The parts of a specification; a doubled comma stands for one.
fn parts(spec: &str) -> Vec<String> {
    let marked = spec.replace(",,", "\0");
    marked
        .split(',')
        .map(|part| part.replace('\0', ","))
        .collect()
}

fn memory(spec: &str) -> Result<Element, Failure> {
    let (mut file, mut mode) = (None, None);
    for part in parts(spec) {
        if let Some(value) = part.strip_prefix("file=").filter(|_| file.is_none()) {
            file = Some(value.to_owned());
        } else if let Some(value) = part.strip_prefix("snapshot=").filter(|_| mode.is_none()) {
            mode = Some(value.to_owned());
        } else if file.is_none() && !part.contains('=') {
            file = Some(part);
        } else {
            return Err(Failure::said(format!("unable to parse memspec: {spec}")));
        }
    }
    Ok(Element::new("memory")
        .attr("snapshot", mode)
        .attr("file", file))
}

fn disk(spec: &str) -> Result<Element, Failure> {
    let wrong = || Failure::said(format!("unable to parse diskspec: {spec}"));
    let mut parts = parts(spec).into_iter();
    let name = parts
        .next()
        .filter(|name| !name.is_empty())
        .ok_or_else(wrong)?;
    let (mut mode, mut driver, mut kind, mut file) = (None, None, None, None);
    for part in parts {
        let (key, value) = part.split_once('=').ok_or_else(wrong)?;
        let slot = match key {
            "snapshot" => &mut mode,
            "driver" => &mut driver,
            "stype" => &mut kind,
            "file" => &mut file,
            _ => return Err(wrong()),
        };
        if slot.replace(value.to_owned()).is_some() {
            return Err(wrong());
        }
    }
    let place = match kind.as_deref() {
        Some("block") => "dev",
        None | Some("file") => "file",
        Some(_) => return Err(wrong()),
    };
    let mut element = Element::new("disk")
        .attr("name", Some(name))
        .attr("snapshot", mode)
        .attr("type", kind);
    if let Some(driver) = driver {
        element = element.child(Element::new("driver").attr("type", Some(driver)));
    }
    if let Some(file) = file {
        element = element.child(Element::new("source").attr(place, Some(file)));
    }
    Ok(element)
}

fn current(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("name", "snapshotname")?;
    let t = target(s, args)?;
    let secure = flags(args, &[("security-info", 1)]);
    if let Some(name) = args.text("snapshotname")? {
        let snap = by_name(s, &t.dom, name)?;
        let xml = xml_of(s, &snap, 1)?;
        make(s, t.dom, &xml, REDEFINE | SET_CURRENT)?;
        extra!(s, "Snapshot {name} set as current");
        return Ok(());
    }
    let dom = t.dom.clone();
    let has = s.call(&remote::DomainHasCurrentSnapshotArgs { dom, flags: 0 })?;
    if has.result == 0 {
        return Err(Failure::said(format!(
            "domain '{}' has no current snapshot",
            t.given
        )));
    }
    let call = remote::DomainSnapshotCurrentArgs {
        dom: t.dom,
        flags: 0,
    };
    let snap = s.call(&call)?.snap;
    if args.has("name") || !s.out.is_text() {
        fact!(s, "name", snap.name.as_str(), "{}", snap.name);
        return Ok(());
    }
    let xml = xml_of(s, &snap, secure)?;
    s.out.text(xml);
    Ok(())
}

fn delete(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let snap = snapshot(s, args, &dom)?;
    let name = snap.name.clone();
    let table = [("children", 1), ("metadata", 2), ("children-only", 4)];
    let flags = flags(args, &table);
    s.call(&remote::DomainSnapshotDeleteArgs { snap, flags })
        .or_fail(|| format!("Failed to delete snapshot {name}"))?;
    match args.has("children-only") {
        true => extra!(s, "Domain snapshot {name} children deleted\n"),
        false => extra!(s, "Domain snapshot {name} deleted\n"),
    }
    Ok(())
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let snap = by_name(s, &dom, args.need("snapshotname")?)?;
    let xml = xml_of(s, &snap, flags(args, &[("security-info", 1)]))?;
    print_xml(s, args, &xml)
}

struct Edit {
    snap: RemoteDomainSnapshot,
    flags: u32,
    stored: String,
}

impl Subject for Edit {
    fn read(&mut self, s: &mut Session) -> Result<String, Failure> {
        xml_of(s, &self.snap, 1)
    }

    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure> {
        self.stored = make(s, self.snap.dom.clone(), text, self.flags)?;
        Ok(())
    }
}

fn edit_snapshot(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("rename", "clone")?;
    let dom = target(s, args)?.dom;
    let snap = match (args.has("current"), args.text("snapshotname")?) {
        (_, Some(name)) => by_name(s, &dom, name)?,
        (true, None) => {
            s.call(&remote::DomainSnapshotCurrentArgs { dom, flags: 0 })?
                .snap
        }
        (false, None) => return Err(Failure::said("--snapshotname or --current is required")),
    };
    let is_current = args.has("current") && args.has("snapshotname");
    let mut subject = Edit {
        stored: snap.name.clone(),
        snap,
        flags: REDEFINE | if is_current { SET_CURRENT } else { 0 },
    };
    let edited = edit::edit(s, &mut subject)?;
    let (old, new) = (subject.snap.name.clone(), subject.stored.clone());
    match edited {
        Edited::Unchanged => {
            extra!(s, "Snapshot {old} XML configuration not changed.\n");
        }
        Edited::Stored if old == new => extra!(s, "Snapshot {new} edited.\n"),
        Edited::Stored if args.has("clone") => extra!(s, "Snapshot {old} cloned to {new}.\n"),
        Edited::Stored => {
            // Without leave for another name, the one just made is taken back.
            let goes = if args.has("rename") {
                old.clone()
            } else {
                new.clone()
            };
            let snap = by_name(s, &subject.snap.dom, &goes)?;
            s.call(&remote::DomainSnapshotDeleteArgs { snap, flags: 2 })
                .or_fail(|| format!("Failed to clean up {goes}"))?;
            if !args.has("rename") {
                let what = "Cannot change the name without --rename or --clone";
                return Err(Failure::said(what));
            }
            extra!(s, "Snapshot {old} renamed to {new}.\n");
        }
    }
    Ok(())
}

fn info(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let snap = snapshot(s, args, &dom)?;
    let xml = xml_of(s, &snap, 0)?;
    let document = query::parse(&xml)?;
    let root = document.root_element();
    let state = query::value(root, &["state"]).unwrap_or_default();
    let is_external = query::value(root, &["memory/@snapshot"]).as_deref() == Some("external")
        || query::all(root, "disks/disk")
            .iter()
            .any(|disk| disk.attribute("snapshot") == Some("external"));
    let is_current = s.call(&remote::DomainSnapshotIsCurrentArgs {
        snap: snap.clone(),
        flags: 0,
    })?;
    let mut count = |flags| {
        let snap = snap.clone();
        s.call(&remote::DomainSnapshotNumChildrenArgs { snap, flags })
            .map(|got| got.num.to_string())
    };
    let (children, descendants) = (count(0)?, count(1)?);
    let word = |yes: bool, a: &str, b: &str| if yes { a } else { b }.to_owned();
    let pairs = [
        ("Name:", snap.name.clone()),
        ("Domain:", dom.name.clone()),
        ("Current:", word(is_current.current != 0, "yes", "no")),
        ("State:", state),
        ("Location:", word(is_external, "external", "internal")),
        (
            "Parent:",
            query::value(root, &["parent/name"]).unwrap_or_else(|| "-".to_owned()),
        ),
        ("Children:", children),
        ("Descendants:", descendants),
        ("Metadata:", "yes".to_owned()),
    ];
    s.out.pairs(15, &pairs);
    Ok(())
}

fn parent(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let snap = snapshot(s, args, &dom)?;
    let name = snap.name.clone();
    let got = s.call(&remote::DomainSnapshotGetParentArgs { snap, flags: 0 });
    let parent = got.or_fail(|| format!("snapshot '{name}' has no parent"))?;
    fact!(s, "name", parent.snap.name.as_str(), "{}", parent.snap.name);
    Ok(())
}

fn revert(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let snap = snapshot(s, args, &dom)?;
    let name = snap.name.clone();
    let table = [
        ("running", 1),
        ("paused", 2),
        ("force", 4),
        ("reset-nvram", 8),
    ];
    let flags = flags(args, &table);
    s.call(&remote::DomainRevertToSnapshotArgs { snap, flags })
        .or_fail(|| format!("Failed to revert snapshot {name}"))?;
    extra!(s, "Domain snapshot {name} reverted\n");
    Ok(())
}
