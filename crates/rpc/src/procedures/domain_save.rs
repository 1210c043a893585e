//! Saved machines: save, restore, managed save, memory dumps.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::options::{DumpOptions, SaveOptions};
use wire::consts::flags::*;
use wire::remote::*;
use wire::typed_params;

use super::{check_flags, domain, exclusive_flags};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(|client, args: DomainSaveArgs| save(client, args.dom, Some(args.to), None, 0));
    dispatch.task(|client, args: DomainSaveFlagsArgs| {
        save(client, args.dom, Some(args.to), args.dxml, args.flags)
    });
    dispatch.task(|client, args: DomainSaveParamsArgs| async move {
        let (file, xml) = save_params(&args.params)?;
        save(client, args.dom, file, xml, args.flags).await
    });
    dispatch
        .task(|client, args: DomainManagedSaveArgs| save(client, args.dom, None, None, args.flags));
    dispatch.task(|client, args: DomainManagedSaveRemoveArgs| async move {
        check_flags(args.flags, 0, "qemuDomainManagedSaveRemove")?;
        Ok(domain(&client, &args.dom)?.remove_managed_save().await?)
    });
    dispatch.task(save_image_get_xml_desc);
    dispatch.task(save_image_define_xml);
    dispatch.task(managed_save_get_xml_desc);
    dispatch.task(managed_save_define_xml);
    dispatch.task(|client, args: DomainRestoreArgs| restore(client, args.from, None, 0));
    dispatch.task(|client, args: DomainRestoreFlagsArgs| {
        restore(client, args.from, args.dxml, args.flags)
    });
    dispatch.task(|client, args: DomainRestoreParamsArgs| async move {
        let (file, xml) = save_params(&args.params)?;
        let file = file.ok_or_else(|| Failure::invalid_arg("missing parameter 'file'"))?;
        restore(client, file, xml, args.flags).await
    });
    dispatch
        .task(|client, args: DomainCoreDumpArgs| dump(client, args.dom, args.to, 0, args.flags));
    dispatch.task(|client, args: DomainCoreDumpWithFormatArgs| {
        dump(client, args.dom, args.to, args.dumpformat, args.flags)
    });
}

/// Reading a saved state is reading any file of the host, and tells passwords on demand: a
/// read-only connection may do neither.
fn may_read_saved(client: &Client, flags: u32, function: &str) -> Answer<bool> {
    if client.is_read_only() {
        return Err(Failure::read_only(function));
    }
    check_flags(flags, VIR_DOMAIN_XML_SECURE, function)?;
    Ok(flags & VIR_DOMAIN_XML_SECURE != 0)
}

async fn save_image_get_xml_desc(
    client: Arc<Client>,
    args: DomainSaveImageGetXmlDescArgs,
) -> Answer<DomainSaveImageGetXmlDescRet> {
    let secure = may_read_saved(&client, args.flags, "virDomainSaveImageGetXMLDesc")?;
    let xml = client.engine.saved_xml(&absolute(&args.file)?, secure)?;
    Ok(DomainSaveImageGetXmlDescRet { xml })
}

async fn save_image_define_xml(
    client: Arc<Client>,
    args: DomainSaveImageDefineXmlArgs,
) -> Answer<()> {
    const KNOWN: u32 = VIR_DOMAIN_SAVE_RUNNING | VIR_DOMAIN_SAVE_PAUSED;
    check_flags(args.flags, KNOWN, "qemuDomainSaveImageDefineXML")?;
    let path = absolute(&args.file)?;
    let running = running(args.flags)?;
    let engine = &client.engine;
    Ok(engine.redefine_saved(&path, &args.dxml, running).await?)
}

async fn managed_save_get_xml_desc(
    client: Arc<Client>,
    args: DomainManagedSaveGetXmlDescArgs,
) -> Answer<DomainManagedSaveGetXmlDescRet> {
    let secure = may_read_saved(&client, args.flags, "virDomainManagedSaveGetXMLDesc")?;
    let xml = domain(&client, &args.dom)?.managed_save_xml(secure)?;
    Ok(DomainManagedSaveGetXmlDescRet { xml })
}

async fn managed_save_define_xml(
    client: Arc<Client>,
    args: DomainManagedSaveDefineXmlArgs,
) -> Answer<()> {
    const KNOWN: u32 = VIR_DOMAIN_SAVE_RUNNING | VIR_DOMAIN_SAVE_PAUSED;
    check_flags(args.flags, KNOWN, "qemuDomainManagedSaveDefineXML")?;
    let running = running(args.flags)?;
    let handle = domain(&client, &args.dom)?;
    let xml = args.dxml.unwrap_or(handle.managed_save_xml(true)?);
    Ok(handle.redefine_managed_save(&xml, running).await?)
}

/// Whether a machine is to run or to stand still afterwards, if the flags say so.
fn running(flags: u32) -> Answer<Option<bool>> {
    exclusive_flags(
        flags,
        (VIR_DOMAIN_SAVE_RUNNING, "VIR_DOMAIN_SAVE_RUNNING"),
        (VIR_DOMAIN_SAVE_PAUSED, "VIR_DOMAIN_SAVE_PAUSED"),
    )?;
    Ok(
        match (
            flags & VIR_DOMAIN_SAVE_RUNNING != 0,
            flags & VIR_DOMAIN_SAVE_PAUSED != 0,
        ) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        },
    )
}

/// A path that the daemon can use as the client meant it: its own directory is another.
fn absolute(path: &str) -> Answer<PathBuf> {
    match Path::new(path).is_absolute() {
        true => Ok(PathBuf::from(path)),
        false => Err(Failure::invalid_arg(format!(
            "path '{path}' must be absolute"
        ))),
    }
}

fn save_params(params: &[TypedParam]) -> Answer<(Option<String>, Option<String>)> {
    for param in params {
        if !["file", "dxml"].contains(&param.field.as_str()) {
            return Err(Failure::argument_unsupported(format!(
                "parameter '{}' not supported",
                param.field
            )));
        }
    }
    let text = |field| typed_params::get_str(params, field).map(str::to_owned);
    Ok((text("file"), text("dxml")))
}

async fn save(
    client: Arc<Client>,
    dom: RemoteDomain,
    to: Option<String>,
    xml: Option<String>,
    flags: u32,
) -> Answer<()> {
    const KNOWN: u32 =
        VIR_DOMAIN_SAVE_BYPASS_CACHE | VIR_DOMAIN_SAVE_RUNNING | VIR_DOMAIN_SAVE_PAUSED;
    check_flags(flags, KNOWN, "qemuDomainSaveFlags")?;
    let options = SaveOptions {
        path: to.as_deref().map(absolute).transpose()?,
        xml,
        running: running(flags)?,
    };
    Ok(domain(&client, &dom)?.save(options).await?)
}

async fn restore(client: Arc<Client>, from: String, xml: Option<String>, flags: u32) -> Answer<()> {
    const KNOWN: u32 =
        VIR_DOMAIN_SAVE_BYPASS_CACHE | VIR_DOMAIN_SAVE_RUNNING | VIR_DOMAIN_SAVE_PAUSED;
    check_flags(flags, KNOWN, "qemuDomainRestoreFlags")?;
    let path = absolute(&from)?;
    client
        .engine
        .restore(&path, xml.as_deref(), running(flags)?)
        .await?;
    Ok(())
}

async fn dump(
    client: Arc<Client>,
    dom: RemoteDomain,
    to: String,
    format: u32,
    flags: u32,
) -> Answer<()> {
    const KNOWN: u32 = VIR_DUMP_CRASH
        | VIR_DUMP_LIVE
        | VIR_DUMP_BYPASS_CACHE
        | VIR_DUMP_RESET
        | VIR_DUMP_MEMORY_ONLY;
    check_flags(flags, KNOWN, "qemuDomainCoreDumpWithFormat")?;
    if format != VIR_DOMAIN_CORE_DUMP_FORMAT_RAW {
        return Err(Failure::argument_unsupported(
            "only the raw dump format is supported",
        ));
    }
    exclusive_flags(
        flags,
        (VIR_DUMP_CRASH, "VIR_DUMP_CRASH"),
        (VIR_DUMP_LIVE, "VIR_DUMP_LIVE"),
    )?;
    exclusive_flags(
        flags,
        (VIR_DUMP_CRASH, "VIR_DUMP_CRASH"),
        (VIR_DUMP_RESET, "VIR_DUMP_RESET"),
    )?;
    let options = DumpOptions {
        path: absolute(&to)?,
        memory_only: flags & VIR_DUMP_MEMORY_ONLY != 0,
        crash: flags & VIR_DUMP_CRASH != 0,
        live: flags & VIR_DUMP_LIVE != 0,
        reset: flags & VIR_DUMP_RESET != 0,
    };
    Ok(domain(&client, &dom)?.dump(options).await?)
}
