//! Definitions: storing, removing, renaming, autostart.

use std::sync::Arc;

use engine::options::UndefineOptions;
use model::schema::Schema;
use wire::consts::flags::*;
use wire::remote::*;

use super::{check_flags, domain, exclusive_flags, remote_domain, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(|client, args: DomainDefineXmlArgs| async move {
        let dom = define(client, &args.xml, 0).await?;
        Ok(DomainDefineXmlRet { dom })
    });
    dispatch.task(|client, args: DomainDefineXmlFlagsArgs| async move {
        let dom = define(client, &args.xml, args.flags).await?;
        Ok(DomainDefineXmlFlagsRet { dom })
    });
    dispatch.task(|client, args: DomainUndefineArgs| undefine(client, args.dom, 0));
    dispatch.task(|client, args: DomainUndefineFlagsArgs| undefine(client, args.dom, args.flags));
    dispatch.task(|client, args: DomainSetAutostartArgs| async move {
        let handle = domain(&client, &args.dom)?;
        Ok(handle.set_autostart(args.autostart != 0).await?)
    });
    dispatch.task(|client, args: DomainSetAutostartOnceArgs| async move {
        let handle = domain(&client, &args.dom)?;
        Ok(handle.set_autostart_once(args.autostart != 0).await?)
    });
    dispatch.task(rename);
    dispatch.task(xml_to_native);
}

async fn xml_to_native(
    client: Arc<Client>,
    args: ConnectDomainXmlToNativeArgs,
) -> Answer<ConnectDomainXmlToNativeRet> {
    check_flags(args.flags, 0, "virConnectDomainXMLToNative")?;
    let command = client
        .engine
        .native_command(&args.native_format, &args.domain_xml);
    let native_config = command.await?;
    Ok(ConnectDomainXmlToNativeRet { native_config })
}

async fn define(client: Arc<Client>, xml: &str, flags: u32) -> Answer<RemoteDomain> {
    check_flags(
        flags,
        VIR_DOMAIN_DEFINE_VALIDATE,
        "qemuDomainDefineXMLFlags",
    )?;
    validate(flags, VIR_DOMAIN_DEFINE_VALIDATE, Schema::Domain, xml)?;
    let handle = client.engine.define(xml).await?;
    Ok(remote_domain(&handle))
}

async fn undefine(client: Arc<Client>, dom: RemoteDomain, flags: u32) -> Answer<()> {
    /// All of them, from the first to the last.
    const KNOWN: u32 = VIR_DOMAIN_UNDEFINE_KEEP_TPM * 2 - 1;
    check_flags(flags, KNOWN, "qemuDomainUndefineFlags")?;
    exclusive_flags(
        flags,
        (VIR_DOMAIN_UNDEFINE_NVRAM, "VIR_DOMAIN_UNDEFINE_NVRAM"),
        (
            VIR_DOMAIN_UNDEFINE_KEEP_NVRAM,
            "VIR_DOMAIN_UNDEFINE_KEEP_NVRAM",
        ),
    )?;
    exclusive_flags(
        flags,
        (VIR_DOMAIN_UNDEFINE_TPM, "VIR_DOMAIN_UNDEFINE_TPM"),
        (VIR_DOMAIN_UNDEFINE_KEEP_TPM, "VIR_DOMAIN_UNDEFINE_KEEP_TPM"),
    )?;
    let choice = |remove: u32, keep: u32| match (flags & remove != 0, flags & keep != 0) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    let options = UndefineOptions {
        managed_save: flags & VIR_DOMAIN_UNDEFINE_MANAGED_SAVE != 0,
        nvram: choice(VIR_DOMAIN_UNDEFINE_NVRAM, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM),
        tpm: choice(VIR_DOMAIN_UNDEFINE_TPM, VIR_DOMAIN_UNDEFINE_KEEP_TPM),
        snapshots_metadata: flags & VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA != 0,
        checkpoints_metadata: flags & VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA != 0,
    };
    Ok(domain(&client, &dom)?.undefine(options).await?)
}

async fn rename(client: Arc<Client>, args: DomainRenameArgs) -> Answer<DomainRenameRet> {
    check_flags(args.flags, 0, "qemuDomainRename")?;
    let name = args
        .new_name
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Failure::invalid_arg("new_name in virDomainRename must not be empty"))?;
    domain(&client, &args.dom)?.rename(&name).await?;
    Ok(DomainRenameRet { retcode: 0 })
}
