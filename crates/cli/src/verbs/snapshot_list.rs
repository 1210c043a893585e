//! Lists of snapshots, flat and as a tree.

use std::fmt::Write;

use client::wire::remote::{self, RemoteDomain, RemoteDomainSnapshot};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::snapshots::{by_name, xml_of};
use crate::args::Args;
use crate::domain::{flags, target};
use crate::failure::{Failure, Outcome};
use crate::output::fact;
use crate::query;
use crate::session::Session;
use crate::table::{DOMAIN, Verb, flag, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new("snapshot-list", "a domain's snapshots", list)
    .options(&[
        DOMAIN,
        flag("parent", "with a column for the parent"),
        flag("roots", "only those without a parent"),
        flag("leaves", "only those without children"),
        flag("no-leaves", "only those with children"),
        flag("metadata", "only those with metadata"),
        flag("no-metadata", "only those without metadata"),
        flag("inactive", "only those of a stopped machine"),
        flag("active", "only those of a running machine, with memory"),
        flag("disk-only", "only those of a running machine's disks"),
        flag("internal", "only those inside the images"),
        flag("external", "only those in files of their own"),
        flag("tree", "as a tree"),
        text("from", "only those after this one").of_things(crate::table::Thing::Snapshot),
        flag("current", "only those after the current one"),
        flag("descendants", "with --from, all that came after it"),
        flag("name", "names only"),
        flag("topological", "parents before their children"),
    ])
    .tabular()];

const FILTERS: &[(&str, u32)] = &[
    ("metadata", 2),
    ("leaves", 4),
    ("no-leaves", 8),
    ("no-metadata", 16),
    ("inactive", 32),
    ("active", 64),
    ("disk-only", 128),
    ("internal", 256),
    ("external", 512),
    ("topological", 1024),
];
/// Roots of a domain, descendants of a snapshot.
const WIDE: u32 = 1;

fn list(s: &mut Session, args: &Args) -> Outcome {
    for (a, b) in [
        ("tree", "name"),
        ("parent", "roots"),
        ("parent", "tree"),
        ("roots", "tree"),
        ("roots", "from"),
        ("roots", "current"),
    ] {
        args.exclusive(a, b)?;
    }
    let dom = target(s, args)?.dom;
    let start = start(s, args, &dom)?;
    let mut bits = flags(args, FILTERS);
    if args.has("roots") || (start.is_some() && (args.has("descendants") || args.has("tree"))) {
        bits |= WIDE;
    }
    let mut found = snapshots(s, &dom, start.as_ref(), bits)?;
    if !args.has("topological") {
        found.sort_by(|a, b| a.name.cmp(&b.name));
    }
    if args.has("tree") {
        return tree(s, start, found);
    }
    if args.has("name") {
        let names = found.into_iter().map(|snap| snap.name);
        s.out.names("name", names);
        return Ok(());
    }
    let mut rows = Vec::with_capacity(found.len());
    for snap in &found {
        rows.push(row(s, snap, args.has("parent"))?);
    }
    match args.has("parent") {
        true => s
            .out
            .table(&["Name", "Creation Time", "State", "Parent"], &rows),
        false => s.out.table(&["Name", "Creation Time", "State"], &rows),
    }
    Ok(())
}

fn start(
    s: &mut Session,
    args: &Args,
    dom: &RemoteDomain,
) -> Result<Option<RemoteDomainSnapshot>, Failure> {
    args.exclusive("from", "current")?;
    if let Some(name) = args.text("from")? {
        return by_name(s, dom, name).map(Some);
    }
    if !args.has("current") {
        return Ok(None);
    }
    let dom = dom.clone();
    let got = s.call(&remote::DomainSnapshotCurrentArgs { dom, flags: 0 })?;
    Ok(Some(got.snap))
}

fn snapshots(
    s: &mut Session,
    dom: &RemoteDomain,
    start: Option<&RemoteDomainSnapshot>,
    flags: u32,
) -> Result<Vec<RemoteDomainSnapshot>, Failure> {
    Ok(match start {
        Some(snapshot) => {
            s.call(&remote::DomainSnapshotListAllChildrenArgs {
                snapshot: snapshot.clone(),
                need_results: 1,
                flags,
            })?
            .snapshots
        }
        None => {
            s.call(&remote::DomainListAllSnapshotsArgs {
                dom: dom.clone(),
                need_results: 1,
                flags,
            })?
            .snapshots
        }
    })
}

fn row(
    s: &mut Session,
    snap: &RemoteDomainSnapshot,
    with_parent: bool,
) -> Result<Vec<String>, Failure> {
    let xml = xml_of(s, snap, 0)?;
    let document = query::parse(&xml)?;
    let root = document.root_element();
    let mut row = vec![
        snap.name.clone(),
        query::value(root, &["creationTime"])
            .and_then(|time| show_time(&time))
            .unwrap_or_default(),
        query::value(root, &["state"]).unwrap_or_default(),
    ];
    if with_parent {
        row.push(query::value(root, &["parent/name"]).unwrap_or_default());
    }
    Ok(row)
}

fn show_time(seconds: &str) -> Option<String> {
    let time = Timestamp::from_second(seconds.parse().ok()?).ok()?;
    let zoned = time.to_zoned(TimeZone::system());
    Some(zoned.strftime("%Y-%m-%d %H:%M:%S %z").to_string())
}

fn tree(
    s: &mut Session,
    start: Option<RemoteDomainSnapshot>,
    found: Vec<RemoteDomainSnapshot>,
) -> Outcome {
    let mut parents = Vec::with_capacity(found.len() + 1);
    for snap in start.iter().chain(&found) {
        let xml = xml_of(s, snap, 0)?;
        let document = query::parse(&xml)?;
        parents.push((
            snap.name.clone(),
            query::value(document.root_element(), &["parent/name"]),
        ));
    }
    show_tree(s, &parents);
    Ok(())
}

/// Prints names below their parents; for programs, each with its parent.
pub(crate) fn show_tree(s: &mut Session, parents: &[(String, Option<String>)]) {
    if s.out.is_text() {
        return s.out.text(draw(parents));
    }
    s.out.many_records();
    for (name, parent) in parents {
        s.out.next_record();
        fact!(s, "name", name.as_str(), "");
        fact!(s, "parent", parent.as_deref(), "");
    }
}

/// Each name below its parent; those whose parent is not among them stand at
/// the left.
fn draw(parents: &[(String, Option<String>)]) -> String {
    let known = |name: &str| parents.iter().any(|(other, _)| other == name);
    let mut out = String::new();
    for (name, parent) in parents {
        if !parent.as_deref().is_some_and(known) {
            branch(&mut out, parents, name, true, true, &mut String::new());
        }
    }
    out
}

fn branch(
    out: &mut String,
    parents: &[(String, Option<String>)],
    name: &str,
    is_root: bool,
    is_last: bool,
    indent: &mut String,
) {
    let before = indent.len();
    _ = writeln!(out, "{indent}{}{name}", if is_root { "" } else { "+- " });
    if !is_root {
        indent.push_str(if is_last { "  " } else { "| " });
    }
    let children: Vec<&str> = parents
        .iter()
        .filter(|(_, parent)| parent.as_deref() == Some(name))
        .map(|(child, _)| child.as_str())
        .collect();
    if !children.is_empty() {
        _ = writeln!(out, "{indent}  |");
    }
    indent.push_str("  ");
    for (i, child) in children.iter().enumerate() {
        branch(out, parents, child, false, i + 1 == children.len(), indent);
    }
    indent.truncate(indent.len() - 2);
    if children.is_empty() && is_last {
        _ = writeln!(out, "{indent}");
    }
    indent.truncate(before);
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_tree_is_drawn_as_virsh_draws_it() {
        let pairs = [
            ("a", None),
            ("b", Some("a")),
            ("c", Some("a")),
            ("d", Some("b")),
        ];
        let pairs = pairs.map(|(n, p): (&str, Option<&str>)| (n.to_owned(), p.map(str::to_owned)));
        assert_eq!(
            super::draw(&pairs),
            "a\n  |\n  +- b\n  |   |\n  |   +- d\n  |     \n  +- c\n    \n"
        );
    }
}
