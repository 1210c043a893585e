//! Machines made from images and templates.

use client::api::{Job, MachineClone, MachineCreate, Named, Template};
use client::segment;
use serde::Deserialize;

use super::machine_options as options;
use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::follow;
use crate::names;
use crate::output::extra;
use crate::session::Session;
use crate::table::{DOMAIN, Verb, flag, rest};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("clone", "make machines like another one", clone)
        .about(
            "Clones have names, uuids, MAC addresses and UEFI variables of their own; cloud-init \
             in them sees a new machine and makes new SSH host keys. They build upon the disks of \
             a template (stead template), or copy those of any machine that is shut off (--full). \
             Several names may be given, also as web{1..50}.",
        )
        .options(&[
            DOMAIN,
            flag("full", "copy the disks whole"),
            flag("start", "start the clones"),
            flag("detach", "do not wait: `stead jobs` tells how far it is"),
            rest("name", "the names of the clones").required(),
        ])
        .over_rest(),
    Verb::new("template", "make a template of a machine", template)
        .about(
            "A template is not started any more, so that others can build upon its disks. --undo \
             makes a machine of it again, once nothing builds upon it.",
        )
        .options(&[DOMAIN, flag("undo", "make a machine of it again")])
        .over_rest(),
    Verb::new(
        "template-list",
        "list templates, with their clones",
        template_list,
    )
    .over_rest()
    .tabular(),
];

fn clone(s: &mut Session, args: &Args) -> Outcome {
    let source = args.need("domain")?;
    let patterns = args.many("name");
    let names = names::expand_all(patterns).map_err(Failure::said)?;
    let asked = MachineClone {
        names,
        full: args.has("full"),
        start: args.has("start"),
    };
    let path = format!("/machines/{}/clones", segment(source));
    let job: Job = s.rest()?.post(&path, &asked)?;
    if args.has("detach") {
        extra!(s, "Job {} clones '{source}'\n", job.id);
        return Ok(());
    }
    #[derive(Deserialize)]
    struct Made {
        names: Vec<String>,
    }
    let made: Made = follow::follow(s, &job)?;
    for name in &made.names {
        extra!(s, "Domain '{name}' cloned from '{source}'\n");
    }
    Ok(())
}

fn template(s: &mut Session, args: &Args) -> Outcome {
    let path = format!("/templates/{}", segment(args.need("domain")?));
    if args.has("undo") {
        let made: Named = s.rest()?.delete(&path)?;
        extra!(s, "Domain '{}' is no template any more\n", made.name);
    } else {
        let made: Named = s.rest()?.put(&path, &())?;
        extra!(s, "Domain '{}' is a template\n", made.name);
    }
    Ok(())
}

fn template_list(s: &mut Session, _: &Args) -> Outcome {
    let templates: Vec<Template> = s.rest()?.get("/templates")?;
    let rows: Vec<_> = templates
        .into_iter()
        .map(|template| {
            let clones = match template.clones.as_slice() {
                [] => "-".to_owned(),
                clones => clones.join(", "),
            };
            vec![template.name, template.uuid, clones]
        })
        .collect();
    s.out.table(&["Name", "UUID", "Clones"], &rows);
    Ok(())
}

/// `stead create NAME --image IMAGE …`: the other half of virsh's verb.
pub(crate) fn create_from_image(s: &mut Session, args: &Args, image: &str) -> Outcome {
    let asked = MachineCreate {
        name: args.need("file")?.to_owned(),
        image: image.to_owned(),
        memory_kib: options::memory_kib(args, "ram")?,
        vcpus: args.number("vcpus")?.unwrap_or(1),
        disk_bytes: args.scaled("disk-size", GIB, u64::MAX)?,
        uefi: args.has("uefi"),
        networks: options::networks(args, "network")?,
        graphics: options::graphics(args.text("graphics")?)?,
        cloud_init: options::cloud_init(args)?,
        start: !args.has("nostart"),
    };
    let job: Job = s.rest()?.post("/machines", &asked)?;
    let made: Named = follow::follow(s, &job)?;
    extra!(s, "Domain '{}' created from image '{image}'\n", made.name);
    Ok(())
}

const GIB: u64 = 1 << 30;
