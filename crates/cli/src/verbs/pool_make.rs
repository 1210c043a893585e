//! Storage pools: creating and defining.

use client::wire::remote;

use super::pools::{BUILD, NO_OVERWRITE, OVERWRITE, build_flags};
use crate::args::Args;
use crate::domain;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::extra;
use crate::session::Session;
use crate::storage::escape;
use crate::table::{Opt, PRINT_XML, Verb, arg, file, flag, text};

/// VIR_STORAGE_POOL_DEFINE_VALIDATE.
const DEFINE_VALIDATE: u32 = 1;

const NAME: Opt = arg("name", "the pool's name");
const KIND: Opt = arg("type", "its kind: dir, fs, …");
const SOURCE_HOST: Opt = text("source-host", "the server").bare();
const SOURCE_PATH: Opt = text("source-path", "the server's directory").bare();
const SOURCE_DEV: Opt = text("source-dev", "the device").bare();
const SOURCE_NAME: Opt = text("source-name", "the name of what it is made of").bare();
const TARGET: Opt = text("target", "its directory").bare();
const SOURCE_FORMAT: Opt = text("source-format", "the format: ext4, xfs, …").bare();
const AUTH_TYPE: Opt = text("auth-type", "how to log in");
const AUTH_USERNAME: Opt = text("auth-username", "as whom to log in");
const SECRET_USAGE: Opt = text("secret-usage", "the usage of the secret to log in with");
const SECRET_UUID: Opt = text("secret-uuid", "the uuid of the secret to log in with");
const ADAPTER_NAME: Opt = text("adapter-name", "the adapter");
const ADAPTER_WWNN: Opt = text("adapter-wwnn", "the adapter's world wide node name");
const ADAPTER_WWPN: Opt = text("adapter-wwpn", "the adapter's world wide port name");
const ADAPTER_PARENT: Opt = text("adapter-parent", "the adapter it belongs to");
const PARENT_WWNN: Opt = text("adapter-parent-wwnn", "that one's world wide node name");
const PARENT_WWPN: Opt = text("adapter-parent-wwpn", "that one's world wide port name");
const PARENT_FABRIC: Opt = text("adapter-parent-fabric-wwn", "that one's fabric");
const PROTOCOL: Opt = text("source-protocol-ver", "the version of NFS");
const INITIATOR: Opt = text("source-initiator", "the iSCSI name to log in under");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("pool-create", "start a pool from an XML file", create)
        .about("Starts a pool whose definition is not stored.")
        .options(&[file("the pool's XML"), BUILD, NO_OVERWRITE, OVERWRITE]),
    Verb::new("pool-create-as", "start a pool given as options", create_as)
        .about("Starts a pool whose definition is not stored.")
        .options(&[
            NAME,
            KIND,
            PRINT_XML,
            SOURCE_HOST,
            SOURCE_PATH,
            SOURCE_DEV,
            SOURCE_NAME,
            TARGET,
            SOURCE_FORMAT,
            AUTH_TYPE,
            AUTH_USERNAME,
            SECRET_USAGE,
            SECRET_UUID,
            ADAPTER_NAME,
            ADAPTER_WWNN,
            ADAPTER_WWPN,
            ADAPTER_PARENT,
            PARENT_WWNN,
            PARENT_WWPN,
            PARENT_FABRIC,
            PROTOCOL,
            INITIATOR,
            BUILD,
            NO_OVERWRITE,
            OVERWRITE,
        ]),
    Verb::new("pool-define", "define a pool from an XML file", define)
        .about("Defines a pool or changes its definition; it is not started.")
        .options(&[
            file("the pool's XML"),
            flag("validate", "check the XML against the schema"),
        ]),
    Verb::new(
        "pool-define-as",
        "define a pool given as options",
        define_as,
    )
    .about("Defines a pool; it is not started.")
    .options(&[
        NAME,
        KIND,
        PRINT_XML,
        SOURCE_HOST,
        SOURCE_PATH,
        SOURCE_DEV,
        SOURCE_NAME,
        TARGET,
        SOURCE_FORMAT,
        AUTH_TYPE,
        AUTH_USERNAME,
        SECRET_USAGE,
        SECRET_UUID,
        ADAPTER_NAME,
        ADAPTER_WWNN,
        ADAPTER_WWPN,
        ADAPTER_PARENT,
        PARENT_WWNN,
        PARENT_WWPN,
        PARENT_FABRIC,
        PROTOCOL,
        INITIATOR,
    ]),
];

fn create(s: &mut Session, args: &Args) -> Outcome {
    let flags = build_flags(args)?;
    let from = args.need("file")?;
    let xml = domain::read_file(from)?;
    let got = s
        .call(&remote::StoragePoolCreateXmlArgs { xml, flags })
        .or_fail(|| format!("Failed to create pool from {from}"))?;
    extra!(s, "Pool {} created from {from}\n", got.pool.name);
    Ok(())
}

fn define(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    let xml = domain::read_file(from)?;
    let flags = if args.has("validate") {
        DEFINE_VALIDATE
    } else {
        0
    };
    let got = s
        .call(&remote::StoragePoolDefineXmlArgs { xml, flags })
        .or_fail(|| format!("Failed to define pool from {from}"))?;
    extra!(s, "Pool {} defined from {from}\n", got.pool.name);
    Ok(())
}

fn create_as(s: &mut Session, args: &Args) -> Outcome {
    let flags = build_flags(args)?;
    let xml = built(args)?;
    if args.has("print-xml") {
        s.out.text(xml);
        return Ok(());
    }
    let name = args.need("name")?;
    s.call(&remote::StoragePoolCreateXmlArgs { xml, flags })
        .or_fail(|| format!("Failed to create pool {name}"))?;
    extra!(s, "Pool {name} created\n");
    Ok(())
}

fn define_as(s: &mut Session, args: &Args) -> Outcome {
    let xml = built(args)?;
    if args.has("print-xml") {
        s.out.text(xml);
        return Ok(());
    }
    let name = args.need("name")?;
    s.call(&remote::StoragePoolDefineXmlArgs { xml, flags: 0 })
        .or_fail(|| format!("Failed to define pool {name}"))?;
    extra!(s, "Pool {name} defined\n");
    Ok(())
}

/// The pool that the options describe, as XML.
fn built(args: &Args) -> Result<String, Failure> {
    args.exclusive("secret-usage", "secret-uuid")?;
    args.exclusive("adapter-name", "adapter-wwnn")?;
    args.exclusive("adapter-name", "adapter-wwpn")?;
    let (name, kind) = (escape(args.need("name")?), escape(args.need("type")?));
    let source = source(args)?;
    let mut xml = format!("<pool type='{kind}'>\n  <name>{name}</name>\n");
    if !source.is_empty() {
        xml.push_str(&format!("  <source>\n{source}  </source>\n"));
    }
    if let Some(target) = args.text("target")? {
        let target = escape(target);
        xml.push_str(&format!(
            "  <target>\n    <path>{target}</path>\n  </target>\n"
        ));
    }
    xml.push_str("</pool>\n");
    Ok(xml)
}

fn source(args: &Args) -> Result<String, Failure> {
    let mut lines = String::new();
    let mut put = |line: String| lines.push_str(&format!("    {line}\n"));
    let value = |option| Ok::<_, Failure>(args.text(option)?.map(escape));
    if let Some(host) = value("source-host")? {
        put(format!("<host name='{host}'/>"));
    }
    if let Some(path) = value("source-path")? {
        put(format!("<dir path='{path}'/>"));
    }
    if let Some(device) = value("source-dev")? {
        put(format!("<device path='{device}'/>"));
    }
    if let Some(iqn) = value("source-initiator")? {
        put("<initiator>".to_owned());
        put(format!("  <iqn name='{iqn}'/>"));
        put("</initiator>".to_owned());
    }
    match (
        value("adapter-wwnn")?,
        value("adapter-wwpn")?,
        value("adapter-name")?,
    ) {
        (Some(node), Some(port), _) => {
            let parent = value("adapter-parent")?;
            let parent = parent.map(|parent| format!(" parent='{parent}'"));
            let parent = parent.unwrap_or_default();
            put(format!(
                "<adapter type='fc_host'{parent} wwnn='{node}' wwpn='{port}'/>"
            ));
        }
        (_, _, Some(name)) => put(format!("<adapter type='scsi_host' name='{name}'/>")),
        _ => {}
    }
    if let (Some(kind), Some(user)) = (value("auth-type")?, value("auth-username")?) {
        let secret = match (value("secret-usage")?, value("secret-uuid")?) {
            (Some(usage), _) => Some(format!("usage='{usage}'")),
            (_, Some(uuid)) => Some(format!("uuid='{uuid}'")),
            _ => None,
        };
        if let Some(secret) = secret {
            put(format!("<auth type='{kind}' username='{user}'>"));
            put(format!("  <secret {secret}/>"));
            put("</auth>".to_owned());
        }
    }
    if let Some(format) = value("source-format")? {
        put(format!("<format type='{format}'/>"));
    }
    if let Some(name) = value("source-name")? {
        put(format!("<name>{name}</name>"));
    }
    if let Some(version) = value("source-protocol-ver")? {
        put(format!("<protocol ver='{version}'/>"));
    }
    Ok(lines)
}
