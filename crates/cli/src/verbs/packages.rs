//! Machines as packages, and what is made of machines and images for elsewhere.

use client::api::{Export, ExportFormat, Exported, Job, PackageImport, Packaged};

use super::inside::absolute;
use super::library::{evidence, name_of, place};
use super::machine_options as options;
use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::follow;
use crate::output::extra;
use crate::session::Session;
use crate::table::{Completes, Verb, arg, maybe, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new(
    "image export",
    "make a file for elsewhere of a machine or an image",
    export,
)
.about(
    "As ova: a machine that is shut off, with its disks, as VMware's and VirtualBox's programs \
     read it. As qcow2: one disk of a machine, or an image of the library, that builds upon \
     nothing any more.",
)
.options(&[
    arg(
        "name",
        "the name of a machine or of an image of the library",
    )
    .completes(Completes::Domain),
    maybe(
        "file",
        "the file to make on the daemon's host; NAME.ova or NAME.qcow2 here without",
    )
    .completes(Completes::File),
    text("format", "what is made; ova if not given").words(FORMATS),
    text(
        "disk",
        "as qcow2: which disk, by its target; the first one without",
    ),
])
.over_rest()];

const FORMATS: &[&str] = &["ova", "qcow2"];

fn export(s: &mut Session, args: &Args) -> Outcome {
    let name = args.need("name")?.to_owned();
    let word = args.text("format")?.unwrap_or("ova");
    let format = match word {
        "ova" => ExportFormat::Ova,
        "qcow2" => ExportFormat::Qcow2,
        other => {
            let known = FORMATS.join(" or ");
            return Err(Failure::said(format!("'{other}' is not exported: {known}")));
        }
    };
    let file = match args.text("file")? {
        Some(file) => file.to_owned(),
        None => format!("{}.{word}", name.replace('/', "_")),
    };
    let asked = Export {
        name,
        format,
        disk: args.text("disk")?.map(str::to_owned),
        target: absolute(&file)?,
    };
    let job: Job = s.rest()?.post("/exports", &asked)?;
    let made: Exported = follow::follow(s, &job)?;
    extra!(s, "'{}' exported to {}\n", asked.name, made.path);
    Ok(())
}

/// Whether a source is a machine's package by its name.
pub(super) fn is_package(source: &str) -> bool {
    let path = source.split(['?', '#']).next().unwrap_or_default();
    let lower = path.to_ascii_lowercase();
    lower.ends_with(".ova") || lower.ends_with(".ovf")
}

/// Makes a machine of a package.
pub(super) fn import(s: &mut Session, args: &Args) -> Outcome {
    let source = place(args.need("source")?)?;
    let name = match args.text("name")? {
        Some(name) => name.to_owned(),
        None => name_of(&source),
    };
    let asked = PackageImport {
        source,
        name,
        networks: match args.has("network") {
            true => options::networks(args, "network")?,
            false => Vec::new(),
        },
        virtio: args.has("virtio"),
        evidence: evidence(args)?,
        start: args.has("start"),
    };
    let job: Job = s.rest()?.post("/packages", &asked)?;
    if args.has("detach") {
        extra!(s, "Job {} imports '{}'\n", job.id, asked.name);
        return Ok(());
    }
    let made: Packaged = follow::follow(s, &job)?;
    for note in &made.notes {
        s.out.note(note);
    }
    extra!(s, "Domain '{}' imported from {}\n", made.name, asked.source);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_their_names() {
        for name in ["/srv/web.ova", "https://h/a/Web.OVA?x=1", "vm.ovf"] {
            assert!(is_package(name), "{name}");
        }
        assert!(!is_package("/srv/ova.qcow2"));
    }
}
