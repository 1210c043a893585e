//! Volumes: creating and cloning.

use client::api::{Job, VolumeCopy, VolumeMade};
use client::wire::remote::{self, RemoteStoragePool};

use crate::args::{self, Args};
use crate::domain::{self, flags};
use crate::failure::{Failure, OrFail, Outcome};
use crate::follow;
use crate::output::extra;
use crate::session::Session;
use crate::storage::{OF_POOL, POOL, VOL, escape, find_vol, pool, vol, vol_in};
use crate::table::{Opt, PRINT_XML, Verb, arg, file, flag, text};

const PREALLOC: Opt = flag("prealloc-metadata", "put the tables of a qcow2 on the disk");
const REFLINK: Opt = flag("reflink", "share the blocks, where the file system can");
const VALIDATE: Opt = flag("validate", "check the XML against the schema");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("vol-clone", "copy a volume within its pool", clone).options(&[
        VOL,
        arg("newname", "the copy's name"),
        OF_POOL,
        PREALLOC,
        REFLINK,
        PRINT_XML,
    ]),
    Verb::new("vol-create", "make a volume from an XML file", create).options(&[
        POOL,
        file("the volume's XML"),
        PREALLOC,
        VALIDATE,
    ]),
    Verb::new("vol-create-as", "make a volume given as options", create_as).options(&[
        POOL,
        arg("name", "the volume's name"),
        arg("capacity", "its size, in bytes or with a unit"),
        text(
            "allocation",
            "the space taken at once, in bytes or with a unit",
        )
        .bare(),
        text("format", "its format: raw, qcow2, vmdk, …").bare(),
        text("backing-vol", "the volume it builds upon").bare(),
        text("backing-vol-format", "that one's format").bare(),
        PREALLOC,
        PRINT_XML,
    ]),
    Verb::new(
        "vol-create-from",
        "make a volume with the content of another",
        create_from,
    )
    .options(&[
        POOL,
        file("the volume's XML"),
        VOL,
        text("inputpool", "the other volume's pool")
            .bare()
            .of_things(crate::table::Thing::Pool),
        PREALLOC,
        REFLINK,
        VALIDATE,
    ]),
];

/// `VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA`.
const PREALLOC_METADATA: u32 = 1;
/// `VIR_STORAGE_VOL_CREATE_REFLINK`.
const REFLINK_FLAG: u32 = 2;

/// The flags of a call that makes a volume.
fn create_flags(args: &Args) -> u32 {
    const TABLE: [(&str, u32); 3] = [
        ("prealloc-metadata", PREALLOC_METADATA),
        ("reflink", REFLINK_FLAG),
        ("validate", 4),
    ];
    let has = |name: &str| args.verb.options.iter().any(|o| o.name == name);
    let known: Vec<(&str, u32)> = TABLE.into_iter().filter(|(name, _)| has(name)).collect();
    flags(args, &known)
}

/// A size in bytes or with a unit.
///
/// # Errors
/// What is not one.
pub(super) fn size(text: &str) -> Result<u64, Failure> {
    args::scaled(text, 1).ok_or_else(|| {
        let mut failure = Failure::said(format!("Malformed size {text}"));
        let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit());
        if suffix.len() < text.len() && !suffix.is_empty() {
            // virsh tells what its library found as well.
            let why = format!("invalid argument: unknown suffix '{suffix}'");
            failure.lines.push(why);
        }
        failure
    })
}

fn create(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let from = args.need("file")?;
    let call = remote::StorageVolCreateXmlArgs {
        pool: target.pool,
        xml: domain::read_file(from)?,
        flags: create_flags(args),
    };
    let got = s
        .call(&call)
        .or_fail(|| format!("Failed to create vol from {from}"))?;
    extra!(s, "Vol {} created from {from}\n", got.vol.name);
    Ok(())
}

fn create_as(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let name = args.need("name")?;
    let xml = described(s, args, &target.pool)?;
    if args.has("print-xml") {
        s.out.text(xml);
        return Ok(());
    }
    let call = remote::StorageVolCreateXmlArgs {
        pool: target.pool,
        xml,
        flags: create_flags(args),
    };
    s.call(&call)
        .or_fail(|| format!("Failed to create vol {name}"))?;
    extra!(s, "Vol {name} created\n");
    Ok(())
}

/// The volume that the options describe, as XML.
fn described(s: &mut Session, args: &Args, pool: &RemoteStoragePool) -> Result<String, Failure> {
    let capacity = size(args.need("capacity")?)?;
    let mut xml = format!(
        "<volume>\n  <name>{}</name>\n  <capacity>{capacity}</capacity>\n",
        escape(args.need("name")?)
    );
    if let Some(given) = args.text("allocation")? {
        let bytes = size(given)?;
        xml.push_str(&format!("  <allocation>{bytes}</allocation>\n"));
    }
    let format = |given: &str| format!("    <format type='{}'/>\n", escape(given));
    if let Some(given) = args.text("format")? {
        xml.push_str(&format!("  <target>\n{}  </target>\n", format(given)));
    }
    if let Some(given) = args.text("backing-vol")? {
        let backing = find_vol(s, given, Some(pool));
        let vol = backing.or_fail(|| format!("failed to get vol '{given}'"))?;
        let path = s.call(&remote::StorageVolGetPathArgs { vol })?.name;
        let path = escape(&path);
        xml.push_str(&format!("  <backingStore>\n    <path>{path}</path>\n"));
        if let Some(given) = args.text("backing-vol-format")? {
            xml.push_str(&format(given));
        }
        xml.push_str("  </backingStore>\n");
    }
    xml.push_str("</volume>\n");
    Ok(xml)
}

fn create_from(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let from = args.need("file")?;
    let input_pool = args.text("inputpool")?.map(str::to_owned);
    let source = vol_in(s, args, "vol", input_pool.as_deref(), Some("inputpool"))?;
    let call = remote::StorageVolCreateXmlFromArgs {
        pool: target.pool,
        xml: domain::read_file(from)?,
        clonevol: source.vol.clone(),
        flags: create_flags(args),
    };
    let made = copy(s, call, || format!("Failed to create vol from {from}"))?;
    let name = source.vol.name;
    extra!(s, "Vol {made} created from input vol {name}\n");
    Ok(())
}

/// Makes a copy and gives back its name. A person at a terminal is shown how far it is, where the
/// daemon is Stead's own.
fn copy(
    s: &mut Session,
    call: remote::StorageVolCreateXmlFromArgs,
    failed: impl FnOnce() -> String,
) -> Result<String, Failure> {
    if follow::is_watched(s) {
        let copy = VolumeCopy {
            pool: call.pool.name,
            xml: call.xml,
            source_pool: call.clonevol.pool,
            source: call.clonevol.name,
            prealloc_metadata: call.flags & PREALLOC_METADATA != 0,
            reflink: call.flags & REFLINK_FLAG != 0,
        };
        let job: Job = s.rest()?.post("/volumes/copies", &copy)?;
        let made: VolumeMade = follow::follow(s, &job)?;
        return Ok(made.name);
    }
    s.call(&call).map(|got| got.vol.name).or_fail(failed)
}

fn clone(s: &mut Session, args: &Args) -> Outcome {
    let source = vol(s, args)?;
    let new = args.need("newname")?;
    let call = remote::StoragePoolLookupByVolumeArgs {
        vol: source.vol.clone(),
    };
    let pool = s
        .call(&call)
        .or_fail(|| "failed to get parent pool".into())?
        .pool;
    let call = remote::StorageVolGetXmlDescArgs {
        vol: source.vol.clone(),
        flags: 0,
    };
    let xml = renamed(&s.call(&call)?.xml, new);
    if args.has("print-xml") {
        s.out.text(xml);
        return Ok(());
    }
    let name = source.vol.name.clone();
    let call = remote::StorageVolCreateXmlFromArgs {
        pool,
        xml,
        clonevol: source.vol,
        flags: create_flags(args),
    };
    let made = copy(s, call, || format!("Failed to clone vol from {name}"))?;
    extra!(s, "Vol {made} cloned from {name}\n");
    Ok(())
}

/// A volume's XML under another name.
fn renamed(xml: &str, name: &str) -> String {
    let (Some(start), Some(end)) = (xml.find("<name>"), xml.find("</name>")) else {
        return xml.to_owned();
    };
    let start = start + "<name>".len();
    format!("{}{}{}", &xml[..start], escape(name), &xml[end..])
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn a_clone_is_the_same_under_another_name() {
        let xml = "<volume>\n  <name>a</name>\n  <key>a</key>\n</volume>\n";
        let wanted = "<volume>\n  <name>b&lt;</name>\n  <key>a</key>\n</volume>\n";
        assert_eq!(renamed(xml, "b<"), wanted);
    }
}
