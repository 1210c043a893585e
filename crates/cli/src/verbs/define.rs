//! Definitions: defining, undefining, printing, editing, converting.

use client::wire::remote::{self, RemoteDomain};

use crate::args::Args;
use crate::domain::{self, flags, target};
use crate::edit::{self, Edited, Subject};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::extra;
use crate::session::Session;
use crate::table::{Completes, DOMAIN, Verb, WRAP, XPATH, arg, file, flag, text};

/// VIR_DOMAIN_XML_SECURE.
pub(crate) const XML_SECURE: u32 = 1;
/// VIR_DOMAIN_XML_INACTIVE.
pub(crate) const XML_INACTIVE: u32 = 2;
/// VIR_DOMAIN_DEFINE_VALIDATE.
const DEFINE_VALIDATE: u32 = 1;

const FORMAT: crate::table::Opt =
    arg("format", "the other format: qemu-argv").words(&["qemu-argv"]);

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("autostart", "start a domain with the host", autostart)
        .about("Makes the daemon start the domain when the host starts, or no longer.")
        .options(&[
            DOMAIN,
            flag("disable", "no longer start it"),
            flag("once", "only at the next start of the host"),
        ]),
    Verb::new("define", "define a domain from an XML file", define)
        .about("Defines a domain or changes its definition; nothing is started.")
        .options(&[
            file("the domain's XML"),
            flag("validate", "check the XML against the schema"),
        ]),
    Verb::new("domrename", "rename a domain that does not run", rename)
        .options(&[DOMAIN, arg("new-name", "the new name")]),
    Verb::new(
        "domxml-from-native",
        "convert a QEMU command line to XML",
        from_native,
    )
    .options(&[
        FORMAT,
        arg("config", "the file to convert").completes(Completes::File),
    ]),
    Verb::new(
        "domxml-to-native",
        "convert XML to a QEMU command line",
        to_native,
    )
    .options(&[
        FORMAT,
        text("domain", "the domain: its name, id or uuid").completes(Completes::Domain),
        text("xml", "an XML file instead of a domain")
            .bare()
            .completes(Completes::File),
    ]),
    Verb::new("dumpxml", "print a domain's XML", dumpxml)
        .about("Prints what the domain is now, or with --inactive its definition.")
        .options(&[
            DOMAIN,
            flag("inactive", "the definition the next start will use"),
            flag("security-info", "with passwords"),
            flag(
                "update-cpu",
                "with the CPU's features as the host resolves them",
            ),
            flag("migratable", "fit for other hosts"),
            XPATH,
            WRAP,
        ]),
    Verb::new("edit", "edit a domain's definition", edit_definition)
        .about("Opens the definition in $VISUAL or $EDITOR and defines what comes back.")
        .options(&[
            DOMAIN,
            flag("skip-validate", "do not check against the schema"),
        ]),
    Verb::new("undefine", "remove a domain's definition", undefine)
        .about("Removes the definition; a running machine goes on as a transient one.")
        .options(&[
            DOMAIN,
            flag("managed-save", "remove its managed save"),
            text(
                "storage",
                "remove these volumes: targets or sources, separated by commas",
            )
            .bare(),
            flag("remove-all-storage", "remove all its volumes"),
            crate::table::alias("delete-snapshots", "delete-storage-volume-snapshots"),
            flag(
                "delete-storage-volume-snapshots",
                "remove the volumes' snapshots too, with --remove-all-storage",
            ),
            flag(
                "wipe-storage",
                "overwrite the volumes before they are removed",
            ),
            flag(
                "snapshots-metadata",
                "remove what is known of its snapshots",
            ),
            flag(
                "checkpoints-metadata",
                "remove what is known of its checkpoints",
            ),
            flag("nvram", "remove its NVRAM file"),
            flag("keep-nvram", "keep its NVRAM file"),
            flag("tpm", "remove its TPM's state"),
            flag("keep-tpm", "keep its TPM's state"),
        ]),
];

fn define(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    let xml = domain::read_file(from)?;
    let validate = if args.has("validate") {
        DEFINE_VALIDATE
    } else {
        0
    };
    let got = define_with(s, xml, validate);
    let dom = got.or_fail(|| format!("Failed to define domain from {from}"))?;
    extra!(s, "Domain '{}' defined from {from}\n", dom.name);
    Ok(())
}

fn define_with(s: &mut Session, xml: String, flags: u32) -> Result<RemoteDomain, client::Error> {
    match flags {
        0 => s
            .call(&remote::DomainDefineXmlArgs { xml })
            .map(|got| got.dom),
        flags => s
            .call(&remote::DomainDefineXmlFlagsArgs { xml, flags })
            .map(|got| got.dom),
    }
}

fn autostart(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let on = !args.has("disable");
    let verb = if on { "mark" } else { "unmark" };
    let (done, when) = if args.has("once") {
        let call = remote::DomainSetAutostartOnceArgs {
            dom: t.dom,
            autostart: on.into(),
        };
        (s.call(&call), " on next boot")
    } else {
        let call = remote::DomainSetAutostartArgs {
            dom: t.dom,
            autostart: on.into(),
        };
        (s.call(&call), "")
    };
    let name = &t.given;
    done.or_fail(|| format!("Failed to {verb} domain '{name}' as autostarted{when}"))?;
    extra!(s, "Domain '{name}' {verb}ed as autostarted{when}\n");
    Ok(())
}

fn rename(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let new_name = Some(args.need("new-name")?.to_owned());
    s.call(&remote::DomainRenameArgs {
        dom: t.dom,
        new_name,
        flags: 0,
    })?;
    extra!(s, "Domain successfully renamed\n");
    Ok(())
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let table = [
        ("inactive", XML_INACTIVE),
        ("security-info", XML_SECURE),
        ("update-cpu", 4),
        ("migratable", 8),
    ];
    let t = target(s, args)?;
    let xml = s.domain_xml(&t.dom, flags(args, &table))?;
    print_xml(s, args, &xml)
}

/// Prints XML, or what `--xpath` selects of it.
pub(crate) fn print_xml(s: &mut Session, args: &Args, xml: &str) -> Outcome {
    match args.text("xpath")? {
        None => s.out.text(xml),
        Some(path) => {
            let selected = crate::xpath::select(xml, path, args.has("wrap"))?;
            s.out.text(selected);
        }
    }
    Ok(())
}

struct Definition {
    dom: RemoteDomain,
    flags: u32,
    name: String,
}

impl Subject for Definition {
    fn read(&mut self, s: &mut Session) -> Result<String, Failure> {
        Ok(s.domain_xml(&self.dom, XML_SECURE | XML_INACTIVE)?)
    }

    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure> {
        self.name = define_with(s, text.to_owned(), self.flags)?.name;
        Ok(())
    }

    fn can_relax(&self) -> bool {
        self.flags & DEFINE_VALIDATE != 0
    }

    fn relax(&mut self) -> bool {
        let could = self.can_relax();
        self.flags &= !DEFINE_VALIDATE;
        could
    }
}

fn edit_definition(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let flags = if args.has("skip-validate") {
        0
    } else {
        DEFINE_VALIDATE
    };
    let name = t.dom.name.clone();
    let mut subject = Definition {
        dom: t.dom,
        flags,
        name,
    };
    match edit::edit(s, &mut subject)? {
        Edited::Unchanged => {
            extra!(
                s,
                "Domain '{}' XML configuration not changed.\n",
                subject.name
            );
        }
        Edited::Stored => extra!(s, "Domain '{}' XML configuration edited.\n", subject.name),
    }
    Ok(())
}

fn from_native(s: &mut Session, args: &Args) -> Outcome {
    let call = remote::ConnectDomainXmlFromNativeArgs {
        native_format: args.need("format")?.to_owned(),
        native_config: domain::read_file(args.need("config")?)?,
        flags: 0,
    };
    let got = s.call(&call)?;
    s.out.text(got.domain_xml);
    Ok(())
}

fn to_native(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("domain", "xml")?;
    let native_format = args.need("format")?.to_owned();
    let domain_xml = if args.has("domain") {
        let t = target(s, args)?;
        s.domain_xml(&t.dom, 0)
            .or_fail(|| "failed to retrieve XML".into())?
    } else if let Some(path) = args.text("xml")? {
        domain::read_file(path)?
    } else {
        return Err(Failure::said("need either domain or domain XML"));
    };
    let call = remote::ConnectDomainXmlToNativeArgs {
        native_format,
        domain_xml,
        flags: 0,
    };
    let got = s.call(&call)?;
    s.out.text(got.native_config);
    Ok(())
}

const UNDEFINE_MANAGED_SAVE: u32 = 1;
const UNDEFINE_SNAPSHOTS: u32 = 2;

fn undefine(s: &mut Session, args: &Args) -> Outcome {
    args.requires("delete-storage-volume-snapshots", "remove-all-storage")?;
    args.exclusive("nvram", "keep-nvram")?;
    args.exclusive("tpm", "keep-tpm")?;
    let storage = args.has("storage") || args.has("remove-all-storage");
    if args.has("wipe-storage") && !storage {
        return Err(Failure::said(
            "'--wipe-storage' requires '--storage <string>' or '--remove-all-storage'",
        ));
    }
    let table = [
        ("managed-save", UNDEFINE_MANAGED_SAVE),
        ("snapshots-metadata", UNDEFINE_SNAPSHOTS),
        ("nvram", 4),
        ("keep-nvram", 8),
        ("checkpoints-metadata", 16),
        ("tpm", 32),
        ("keep-tpm", 64),
    ];
    let mut bits = flags(args, &table);
    let t = target(s, args)?;
    let running = s.domain_active(&t.dom)?;
    // A daemon may refuse a flag for what is not there.
    if running {
        bits &= !(UNDEFINE_MANAGED_SAVE | UNDEFINE_SNAPSHOTS);
    }
    if !running && !args.has("managed-save") && crate::verbs::has_managed_save(s, &t.dom) {
        let what = "Refusing to undefine while domain managed save image exists";
        return Err(Failure::said(what).hint("--managed-save removes it too"));
    }
    let volumes = match storage {
        true => crate::verbs::volumes::selected(s, args, &t.dom, running)?,
        false => Vec::new(),
    };
    let name = &t.given;
    s.call(&remote::DomainUndefineFlagsArgs {
        dom: t.dom,
        flags: bits,
    })
    .or_fail(|| format!("Failed to undefine domain '{name}'"))?;
    extra!(s, "Domain '{name}' has been undefined\n");
    crate::verbs::volumes::remove(s, args, &volumes)
}
