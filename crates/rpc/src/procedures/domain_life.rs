//! The life of a machine: start, shutdown, reboot, reset, destroy, suspend, resume.

use std::sync::Arc;

use engine::options::{AskWays, GuestAsk, StartOptions};
use model::schema::Schema;
use wire::consts::flags::*;
use wire::errors::ErrorCode;
use wire::remote::*;

use super::{check_flags, domain, remote_domain, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(|client, args: DomainCreateArgs| async move {
        start(&client, &args.dom, 0).await.map(drop)
    });
    dispatch.task(|client, args: DomainCreateWithFlagsArgs| async move {
        let dom = start(&client, &args.dom, args.flags).await?;
        Ok(DomainCreateWithFlagsRet { dom })
    });
    dispatch.task(|client, args: DomainCreateXmlArgs| async move {
        let options = start_options(&client, args.flags, "qemuDomainCreateXML")?;
        let xml = &args.xml_desc;
        validate(args.flags, VIR_DOMAIN_START_VALIDATE, Schema::Domain, xml)?;
        let handle = client.engine.create(&args.xml_desc, options).await?;
        Ok(DomainCreateXmlRet {
            dom: remote_domain(&handle),
        })
    });
    dispatch.task(|client, args: DomainShutdownArgs| {
        ask(
            client,
            args.dom,
            GuestAsk::Shutdown,
            0,
            "qemuDomainShutdown",
        )
    });
    dispatch.task(|client, args: DomainShutdownFlagsArgs| {
        let function = "qemuDomainShutdownFlags";
        ask(client, args.dom, GuestAsk::Shutdown, args.flags, function)
    });
    dispatch.task(|client, args: DomainRebootArgs| {
        ask(
            client,
            args.dom,
            GuestAsk::Reboot,
            args.flags,
            "qemuDomainReboot",
        )
    });
    dispatch.task(|client, args: DomainResetArgs| async move {
        check_flags(args.flags, 0, "qemuDomainReset")?;
        Ok(domain(&client, &args.dom)?.reset().await?)
    });
    dispatch.task(|client, args: DomainDestroyArgs| destroy(client, args.dom, 0));
    dispatch.task(|client, args: DomainDestroyFlagsArgs| destroy(client, args.dom, args.flags));
    dispatch.task(|client, args: DomainSuspendArgs| async move {
        Ok(domain(&client, &args.dom)?.suspend().await?)
    });
    dispatch.task(|client, args: DomainResumeArgs| async move {
        Ok(domain(&client, &args.dom)?.resume().await?)
    });
}

fn start_options(client: &Client, flags: u32, function: &str) -> Answer<StartOptions> {
    const KNOWN: u32 = VIR_DOMAIN_START_PAUSED
        | VIR_DOMAIN_START_AUTODESTROY
        | VIR_DOMAIN_START_BYPASS_CACHE
        | VIR_DOMAIN_START_FORCE_BOOT
        | VIR_DOMAIN_START_VALIDATE
        | VIR_DOMAIN_START_RESET_NVRAM;
    check_flags(flags, KNOWN, function)?;
    Ok(StartOptions {
        paused: flags & VIR_DOMAIN_START_PAUSED != 0,
        autodestroy: (flags & VIR_DOMAIN_START_AUTODESTROY != 0).then_some(client.session),
        force_boot: flags & VIR_DOMAIN_START_FORCE_BOOT != 0,
        reset_nvram: flags & VIR_DOMAIN_START_RESET_NVRAM != 0,
    })
}

async fn start(client: &Client, dom: &RemoteDomain, flags: u32) -> Answer<RemoteDomain> {
    let options = start_options(client, flags, "qemuDomainCreateWithFlags")?;
    let handle = domain(client, dom)?;
    handle.start(options).await?;
    Ok(remote_domain(&handle))
}

/// The flags of shutdown and of reboot have the same values.
async fn ask(
    client: Arc<Client>,
    dom: RemoteDomain,
    what: GuestAsk,
    flags: u32,
    function: &str,
) -> Answer<()> {
    const KNOWN: u32 = VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN | VIR_DOMAIN_SHUTDOWN_GUEST_AGENT;
    check_flags(flags, KNOWN, function)?;
    let ways = AskWays {
        acpi: flags & VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN != 0,
        agent: flags & VIR_DOMAIN_SHUTDOWN_GUEST_AGENT != 0,
    };
    Ok(domain(&client, &dom)?.ask_guest(what, ways).await?)
}

async fn destroy(client: Arc<Client>, dom: RemoteDomain, flags: u32) -> Answer<()> {
    const KNOWN: u32 = VIR_DOMAIN_DESTROY_GRACEFUL | VIR_DOMAIN_DESTROY_REMOVE_LOGS;
    check_flags(flags, KNOWN, "qemuDomainDestroyFlags")?;
    if flags & VIR_DOMAIN_DESTROY_REMOVE_LOGS != 0 {
        return Err(Failure::new(
            ErrorCode::ArgumentUnsupported,
            "flag VIR_DOMAIN_DESTROY_REMOVE_LOGS is not supported",
        ));
    }
    let graceful = flags & VIR_DOMAIN_DESTROY_GRACEFUL != 0;
    Ok(domain(&client, &dom)?.destroy(graceful).await?)
}
