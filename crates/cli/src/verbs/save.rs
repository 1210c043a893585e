//! Saving machines to files and restoring them; managed saves; dumps; screenshots.

use std::io::Write;

use client::wire::remote::{self, RemoteDomain, TypedParam};
use client::wire::xdr::TypedParamValue;
use jiff::Zoned;

use crate::args::Args;
use crate::domain::{self, flags, read_file, target};
use crate::edit::{self, Edited, Subject};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::extra;
use crate::params::param;
use crate::progress::watch;
use crate::session::Session;
use crate::table::{Completes, DOMAIN, Opt, Verb, WRAP, XPATH, arg, file, flag, number, text};
use crate::verbs::define::{XML_SECURE, print_xml};

const BYPASS_CACHE: Opt = flag("bypass-cache", "go around the file system's cache");
const RUNNING: Opt = flag("running", "let the guest run once restored");
const PAUSED: Opt = flag("paused", "leave the guest paused once restored");
const VERBOSE: Opt = flag("verbose", "show how far it is");
const SECURITY_INFO: Opt = flag("security-info", "with passwords");
const NEW_XML: Opt = text("xml", "a file with a changed definition to restore into")
    .bare()
    .completes(Completes::File);
const CHANNELS: Opt = number(
    "parallel-channels",
    "channels to read or write through at once",
);
const IMAGE: Opt = file("the file of the saved machine");

const SAVE_FLAGS: &[(&str, u32)] = &[("bypass-cache", 1), ("running", 2), ("paused", 4)];
const STATE_FLAGS: &[(&str, u32)] = &[("running", 2), ("paused", 4)];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("dump", "write a guest's memory to a file", dump)
        .about("Writes a dump for analysis; the machine goes on afterwards unless told not to.")
        .options(&[
            DOMAIN,
            file("the file on the daemon's host"),
            flag("live", "do not pause the guest meanwhile"),
            flag("crash", "stop the machine afterwards, as crashed"),
            BYPASS_CACHE,
            flag("reset", "reset the machine afterwards"),
            VERBOSE,
            flag("memory-only", "memory and CPU state only"),
            text(
                "format",
                "with --memory-only: elf, kdump-zlib, kdump-lzo, kdump-snappy, win-dmp",
            )
            .bare()
            .words(DUMP_FORMATS),
        ]),
    Verb::new(
        "managedsave",
        "save a machine where the daemon keeps it",
        managedsave,
    )
    .about("Saves and stops a machine; the next start goes on from there.")
    .options(&[DOMAIN, BYPASS_CACHE, RUNNING, PAUSED, VERBOSE]),
    Verb::new(
        "managedsave-define",
        "replace the definition in a managed save",
        ms_define,
    )
    .options(&[
        DOMAIN,
        arg("xml", "a file with the new definition"),
        RUNNING,
        PAUSED,
    ]),
    Verb::new(
        "managedsave-dumpxml",
        "print the definition in a managed save",
        ms_dumpxml,
    )
    .options(&[DOMAIN, SECURITY_INFO, XPATH, WRAP]),
    Verb::new(
        "managedsave-edit",
        "edit the definition in a managed save",
        ms_edit,
    )
    .options(&[DOMAIN, RUNNING, PAUSED]),
    Verb::new("managedsave-remove", "remove a managed save", ms_remove).options(&[DOMAIN]),
    Verb::new("restore", "restore a machine from a file", restore).options(&[
        file("the file on the daemon's host"),
        BYPASS_CACHE,
        CHANNELS,
        NEW_XML,
        RUNNING,
        PAUSED,
        flag(
            "reset-nvram",
            "start with a fresh copy of the NVRAM template",
        ),
    ]),
    Verb::new("save", "save a machine to a file", save)
        .about("Saves the machine's memory and state to a file and stops it.")
        .options(&[
            DOMAIN,
            file("the file on the daemon's host"),
            BYPASS_CACHE,
            CHANNELS,
            text("image-format", "raw, zstd, lzop and so on, or sparse"),
            NEW_XML,
            RUNNING,
            PAUSED,
            VERBOSE,
        ]),
    Verb::new(
        "save-image-define",
        "replace the definition in a saved machine",
        image_define,
    )
    .options(&[
        IMAGE,
        arg("xml", "a file with the new definition"),
        RUNNING,
        PAUSED,
    ]),
    Verb::new(
        "save-image-dumpxml",
        "print the definition in a saved machine",
        image_dumpxml,
    )
    .options(&[IMAGE, SECURITY_INFO, XPATH, WRAP]),
    Verb::new(
        "save-image-edit",
        "edit the definition in a saved machine",
        image_edit,
    )
    .options(&[IMAGE, RUNNING, PAUSED]),
    Verb::new(
        "screenshot",
        "store a picture of the guest's screen",
        screenshot,
    )
    .options(&[
        DOMAIN,
        text(
            "file",
            "the file to write; named after domain and time if left out",
        )
        .bare()
        .completes(Completes::File),
        number("screen", "which screen, from 0").bare(),
    ]),
];

fn new_xml(args: &Args) -> Result<Option<String>, Failure> {
    args.text("xml")?.map(read_file).transpose()
}

fn extra_params(args: &Args) -> Result<Vec<TypedParam>, Failure> {
    let mut params = Vec::new();
    if let Some(n) = args.number("parallel-channels")? {
        params.push(param("parallel.channels", TypedParamValue::Int(n)));
    }
    if args.verb.name == "save"
        && let Some(format) = args.text("image-format")?
    {
        params.push(param(
            "image_format",
            TypedParamValue::String(format.to_owned()),
        ));
    }
    Ok(params)
}

fn add_file_and_xml(params: &mut Vec<TypedParam>, file: &str, xml: Option<String>) {
    params.push(param("file", TypedParamValue::String(file.to_owned())));
    params.extend(xml.map(|xml| param("dxml", TypedParamValue::String(xml))));
}

fn save(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let to = args.need("file")?.to_owned();
    let flags = flags(args, SAVE_FLAGS);
    let mut params = extra_params(args)?;
    let dxml = new_xml(args)?;
    let (dom, verbose) = (t.dom.clone(), args.has("verbose"));
    let done = if !params.is_empty() {
        add_file_and_xml(&mut params, &to, dxml);
        let call = remote::DomainSaveParamsArgs { dom, params, flags };
        watch(s, &t.dom, &call, "Save", verbose)
    } else if flags != 0 || dxml.is_some() {
        let call = remote::DomainSaveFlagsArgs {
            dom,
            to: to.clone(),
            dxml,
            flags,
        };
        watch(s, &t.dom, &call, "Save", verbose)
    } else {
        let call = remote::DomainSaveArgs {
            dom,
            to: to.clone(),
        };
        watch(s, &t.dom, &call, "Save", verbose)
    };
    done.or_fail(|| format!("Failed to save domain '{}' to {to}", t.given))?;
    extra!(s, "\nDomain '{}' saved to {to}\n", t.given);
    Ok(())
}

fn restore(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?.to_owned();
    let table = [
        ("bypass-cache", 1),
        ("running", 2),
        ("paused", 4),
        ("reset-nvram", 8),
    ];
    let flags = flags(args, &table);
    let dxml = new_xml(args)?;
    let mut params = extra_params(args)?;
    let done = if !params.is_empty() {
        add_file_and_xml(&mut params, &from, dxml);
        s.call(&remote::DomainRestoreParamsArgs { params, flags })
    } else if flags != 0 || dxml.is_some() {
        s.call(&remote::DomainRestoreFlagsArgs {
            from: from.clone(),
            dxml,
            flags,
        })
    } else {
        s.call(&remote::DomainRestoreArgs { from: from.clone() })
    };
    done.or_fail(|| format!("Failed to restore domain from {from}"))?;
    extra!(s, "Domain restored from {from}\n");
    Ok(())
}

struct Image {
    file: String,
    flags: u32,
}

impl Subject for Image {
    fn read(&mut self, s: &mut Session) -> Result<String, Failure> {
        let file = self.file.clone();
        let call = remote::DomainSaveImageGetXmlDescArgs {
            file,
            flags: XML_SECURE,
        };
        Ok(s.call(&call)?.xml)
    }

    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure> {
        Ok(s.call(&remote::DomainSaveImageDefineXmlArgs {
            file: self.file.clone(),
            dxml: text.to_owned(),
            flags: self.flags,
        })?)
    }
}

fn image_dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let file = args.need("file")?.to_owned();
    let flags = flags(args, &[("security-info", XML_SECURE)]);
    let got = s.call(&remote::DomainSaveImageGetXmlDescArgs { file, flags })?;
    print_xml(s, args, &got.xml)
}

fn image_define(s: &mut Session, args: &Args) -> Outcome {
    let file = args.need("file")?.to_owned();
    let dxml = read_file(args.need("xml")?)?;
    let mut image = Image {
        file,
        flags: flags(args, STATE_FLAGS),
    };
    image
        .store(s, &dxml)
        .or_fail(|| format!("Failed to update {}", image.file))?;
    extra!(s, "State file {} updated.\n", image.file);
    Ok(())
}

fn image_edit(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("running", "paused")?;
    let file = args.need("file")?.to_owned();
    let mut image = Image {
        file,
        flags: flags(args, STATE_FLAGS),
    };
    match edit::edit(s, &mut image)? {
        Edited::Unchanged => {
            extra!(
                s,
                "Saved image {} XML configuration not changed.\n",
                image.file
            );
        }
        Edited::Stored => extra!(s, "State file {} edited.\n", image.file),
    }
    Ok(())
}

fn managedsave(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let flags = flags(args, SAVE_FLAGS);
    let call = remote::DomainManagedSaveArgs {
        dom: t.dom.clone(),
        flags,
    };
    watch(s, &t.dom, &call, "Managedsave", args.has("verbose"))
        .or_fail(|| format!("Failed to save domain '{}' state", t.given))?;
    extra!(s, "\nDomain '{}' state saved by libvirt\n", t.given);
    Ok(())
}

fn ms_remove(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let name = &t.given;
    let has = s.call(&remote::DomainHasManagedSaveImageArgs {
        dom: t.dom.clone(),
        flags: 0,
    });
    let has = has.or_fail(|| "Failed to check for domain managed save image".into())?;
    if has.result == 0 {
        extra!(
            s,
            "Domain '{name}' has no manage save image; removal skipped"
        );
        return Ok(());
    }
    s.call(&remote::DomainManagedSaveRemoveArgs {
        dom: t.dom,
        flags: 0,
    })
    .or_fail(|| format!("Failed to remove managed save image for domain '{name}'"))?;
    extra!(s, "Removed managedsave image for domain '{name}'");
    Ok(())
}

fn ms_dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let flags = flags(args, &[("security-info", XML_SECURE)]);
    let got = s.call(&remote::DomainManagedSaveGetXmlDescArgs { dom, flags })?;
    print_xml(s, args, &got.xml)
}

struct ManagedSave {
    dom: RemoteDomain,
    flags: u32,
}

impl Subject for ManagedSave {
    fn read(&mut self, s: &mut Session) -> Result<String, Failure> {
        let dom = self.dom.clone();
        let call = remote::DomainManagedSaveGetXmlDescArgs {
            dom,
            flags: XML_SECURE,
        };
        Ok(s.call(&call)?.xml)
    }

    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure> {
        Ok(s.call(&remote::DomainManagedSaveDefineXmlArgs {
            dom: self.dom.clone(),
            dxml: Some(text.to_owned()),
            flags: self.flags,
        })?)
    }
}

fn ms_define(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("running", "paused")?;
    let dxml = read_file(args.need("xml")?)?;
    let dom = target(s, args)?.dom;
    let mut image = ManagedSave {
        dom,
        flags: flags(args, STATE_FLAGS),
    };
    let name = image.dom.name.clone();
    image
        .store(s, &dxml)
        .or_fail(|| format!("Failed to update {name} XML configuration"))?;
    extra!(s, "Managed save state file of domain '{name}' updated.\n");
    Ok(())
}

fn ms_edit(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("running", "paused")?;
    let dom = target(s, args)?.dom;
    let mut image = ManagedSave {
        dom,
        flags: flags(args, STATE_FLAGS),
    };
    let edited = edit::edit(s, &mut image)?;
    let name = &image.dom.name;
    match edited {
        Edited::Unchanged => extra!(
            s,
            "Managed save image of domain '{name}' XML configuration not changed.\n"
        ),
        Edited::Stored => {
            extra!(
                s,
                "Managed save image of Domain '{name}' XML configuration edited.\n"
            );
        }
    }
    Ok(())
}

/// By libvirt's number, from 1; 0 is QEMU's own.
const DUMP_FORMATS: &[&str] = &["kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp", "elf"];

fn dump_format(args: &Args) -> Result<u32, Failure> {
    if !args.has("format") {
        return Ok(0);
    }
    if !args.has("memory-only") {
        return Err(Failure::said("--format only works with --memory-only"));
    }
    // "elf" is libvirt's number 0, the plain format.
    match args.text("format")? {
        None | Some("elf") => Ok(0),
        Some(word) => {
            let number = DUMP_FORMATS.iter().position(|f| *f == word);
            let number = number.and_then(|i| u32::try_from(i + 1).ok());
            number.ok_or_else(|| {
                Failure::said(format!(
                    "format '{word}' is not supported, expecting 'kdump-zlib', 'kdump-lzo', \
                     'kdump-snappy', 'win-dmp' or 'elf'"
                ))
            })
        }
    }
}

fn dump(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let to = args.need("file")?.to_owned();
    let table = [
        ("crash", 1),
        ("live", 2),
        ("bypass-cache", 4),
        ("reset", 8),
        ("memory-only", 16),
    ];
    let flags = flags(args, &table);
    let dumpformat = dump_format(args)?;
    let (dom, verbose) = (t.dom.clone(), args.has("verbose"));
    let done = match dumpformat {
        0 => {
            let call = remote::DomainCoreDumpArgs {
                dom,
                to: to.clone(),
                flags,
            };
            watch(s, &t.dom, &call, "Dump", verbose)
        }
        dumpformat => {
            let to = to.clone();
            let call = remote::DomainCoreDumpWithFormatArgs {
                dom,
                to,
                dumpformat,
                flags,
            };
            watch(s, &t.dom, &call, "Dump", verbose)
        }
    };
    done.or_fail(|| format!("Failed to core dump domain '{}' to {to}", t.given))?;
    extra!(s, "\nDomain '{}' dumped to {to}\n", t.given);
    Ok(())
}

fn screenshot(s: &mut Session, args: &Args) -> Outcome {
    let given = args.text("file")?.map(str::to_owned);
    let screen = args.number("screen")?.unwrap_or(0);
    let t = domain::target(s, args)?;
    let name = &t.given;
    let call = remote::DomainScreenshotArgs {
        dom: t.dom.clone(),
        screen,
        flags: 0,
    };
    let opened = s.conn()?.open_stream(&call);
    let (got, mut stream) = opened.or_fail(|| format!("could not take a screenshot of {name}"))?;
    let mime = got.mime.unwrap_or_default();
    let path = given.unwrap_or_else(|| file_name(&t.dom.name, &mime));
    let existed = std::path::Path::new(&path).exists();
    let cannot = |_| Failure::said(format!("cannot create file {path}"));
    let mut file = std::fs::File::create(&path).map_err(cannot)?;
    let received = (|| -> Result<(), Failure> {
        while let Some(data) = stream.receive()? {
            let wrong = |e| Failure::said(format!("{path}: {}", client::os_message(&e)));
            file.write_all(&data).map_err(wrong)?;
        }
        Ok(())
    })();
    if received.is_err() && !existed {
        _ = std::fs::remove_file(&path);
    }
    received.or_fail(|| format!("could not receive data from domain '{name}'"))?;
    stream
        .finish()
        .or_fail(|| format!("cannot close stream on domain '{name}'"))?;
    extra!(s, "Screenshot saved to {path}, with type of {mime}");
    Ok(())
}

fn file_name(name: &str, mime: &str) -> String {
    let extension = match mime {
        "image/x-portable-pixmap" => ".ppm",
        "image/png" => ".png",
        _ => "",
    };
    format!(
        "{name}-{}{extension}",
        Zoned::now().strftime("%Y-%m-%d-%H:%M:%S")
    )
}
