//! What is known of a domain without asking its QEMU.

use std::sync::Arc;

use engine::options::XmlOptions;
use engine::{DomainView, Summary};
use wire::consts::flags::*;
use wire::errors::ErrorCode;
use wire::remote::*;

use super::domain_guest::{count_guest_vcpus, is_of_guest};
use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(get_xml_desc);
    dispatch.inline(get_state);
    dispatch.inline(get_info);
    dispatch.inline(get_os_type);
    dispatch.inline(get_max_memory);
    dispatch.inline(get_max_vcpus);
    dispatch.task(|client, args: DomainGetVcpusFlagsArgs| async move {
        if is_of_guest(args.flags)? {
            let num = count_guest_vcpus(&client, &args.dom).await?;
            return Ok(DomainGetVcpusFlagsRet { num });
        }
        get_vcpus_flags(&client, args)
    });
    dispatch.inline(get_autostart);
    dispatch.inline(get_autostart_once);
    dispatch.inline(is_active);
    dispatch.inline(is_persistent);
    dispatch.inline(is_updated);
    dispatch.inline(has_managed_save_image);
    dispatch.inline(get_security_label);
    dispatch.inline(get_messages);
    dispatch.inline(get_control_info);
}

fn get_xml_desc(client: &Client, args: DomainGetXmlDescArgs) -> Answer<DomainGetXmlDescRet> {
    const KNOWN: u32 = VIR_DOMAIN_XML_SECURE
        | VIR_DOMAIN_XML_INACTIVE
        | VIR_DOMAIN_XML_UPDATE_CPU
        | VIR_DOMAIN_XML_MIGRATABLE;
    check_flags(args.flags, KNOWN, "qemuDomainGetXMLDesc")?;
    if client.is_read_only()
        && args.flags & (VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE) != 0
    {
        return Err(Failure::read_only("virDomainGetXMLDesc with secure flag"));
    }
    let options = XmlOptions {
        inactive: args.flags & VIR_DOMAIN_XML_INACTIVE != 0,
        secure: args.flags & VIR_DOMAIN_XML_SECURE != 0,
        migratable: args.flags & VIR_DOMAIN_XML_MIGRATABLE != 0,
    };
    Ok(DomainGetXmlDescRet {
        xml: domain(client, &args.dom)?.xml(options)?,
    })
}

fn get_state(client: &Client, args: DomainGetStateArgs) -> Answer<DomainGetStateRet> {
    check_flags(args.flags, 0, "qemuDomainGetState")?;
    let status = domain(client, &args.dom)?.view().status;
    Ok(DomainGetStateRet {
        state: status.number(),
        reason: status.reason_number(),
    })
}

/// What runs, else what is stored. A domain that has neither is just being made or removed.
pub(super) fn summary(view: &DomainView) -> Answer<Arc<Summary>> {
    view.summary().ok_or_else(|| {
        Failure::new(
            ErrorCode::NoDomain,
            format!(
                "no domain with matching uuid '{}' ({})",
                view.uuid, view.name
            ),
        )
    })
}

fn get_info(client: &Client, args: DomainGetInfoArgs) -> Answer<DomainGetInfoRet> {
    let handle = domain(client, &args.dom)?;
    let view = handle.view();
    let summary = summary(&view)?;
    Ok(DomainGetInfoRet {
        state: view.status.number() as u8,
        max_mem: summary.max_memory_kib,
        memory: summary.memory_kib,
        nr_virt_cpu: u16::try_from(summary.vcpus).unwrap_or(u16::MAX),
        cpu_time: handle.cpu_time_ns(),
    })
}

fn get_os_type(client: &Client, args: DomainGetOsTypeArgs) -> Answer<DomainGetOsTypeRet> {
    let summary = summary(&domain(client, &args.dom)?.view())?;
    Ok(DomainGetOsTypeRet {
        kind: summary.os_type.to_string(),
    })
}

fn get_max_memory(client: &Client, args: DomainGetMaxMemoryArgs) -> Answer<DomainGetMaxMemoryRet> {
    let summary = summary(&domain(client, &args.dom)?.view())?;
    Ok(DomainGetMaxMemoryRet {
        memory: summary.max_memory_kib,
    })
}

/// Of the running machine, or of the definition if it does not run.
fn get_max_vcpus(client: &Client, args: DomainGetMaxVcpusArgs) -> Answer<DomainGetMaxVcpusRet> {
    let summary = summary(&domain(client, &args.dom)?.view())?;
    Ok(DomainGetMaxVcpusRet {
        num: count(summary.max_vcpus),
    })
}

fn get_vcpus_flags(
    client: &Client,
    args: DomainGetVcpusFlagsArgs,
) -> Answer<DomainGetVcpusFlagsRet> {
    const KNOWN: u32 = VIR_DOMAIN_VCPU_LIVE | VIR_DOMAIN_VCPU_CONFIG | VIR_DOMAIN_VCPU_MAXIMUM;
    check_flags(args.flags, KNOWN, "qemuDomainGetVcpusFlags")?;
    let view = domain(client, &args.dom)?.view();
    let summary = match (
        args.flags & VIR_DOMAIN_VCPU_LIVE != 0,
        args.flags & VIR_DOMAIN_VCPU_CONFIG != 0,
    ) {
        (true, true) => {
            return Err(Failure::invalid_arg(
                "Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive",
            ));
        }
        (true, false) if !view.is_active() => {
            return Err(Failure::operation_invalid("domain is not running"));
        }
        (false, true) => view.stored.clone().ok_or_else(|| {
            Failure::operation_invalid("transient domains do not have any persistent config")
        })?,
        _ => summary(&view)?,
    };
    let num = match args.flags & VIR_DOMAIN_VCPU_MAXIMUM {
        0 => summary.vcpus,
        _ => summary.max_vcpus,
    };
    Ok(DomainGetVcpusFlagsRet { num: count(num) })
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn get_autostart(client: &Client, args: DomainGetAutostartArgs) -> Answer<DomainGetAutostartRet> {
    Ok(DomainGetAutostartRet {
        autostart: i32::from(domain(client, &args.dom)?.view().autostart),
    })
}

fn get_autostart_once(
    client: &Client,
    args: DomainGetAutostartOnceArgs,
) -> Answer<DomainGetAutostartOnceRet> {
    Ok(DomainGetAutostartOnceRet {
        autostart: i32::from(domain(client, &args.dom)?.view().autostart_once),
    })
}

fn is_active(client: &Client, args: DomainIsActiveArgs) -> Answer<DomainIsActiveRet> {
    Ok(DomainIsActiveRet {
        active: i32::from(domain(client, &args.dom)?.view().is_active()),
    })
}

fn is_persistent(client: &Client, args: DomainIsPersistentArgs) -> Answer<DomainIsPersistentRet> {
    Ok(DomainIsPersistentRet {
        persistent: i32::from(domain(client, &args.dom)?.view().is_persistent()),
    })
}

/// Nothing changes a definition behind a client's back.
fn is_updated(client: &Client, args: DomainIsUpdatedArgs) -> Answer<DomainIsUpdatedRet> {
    domain(client, &args.dom)?;
    Ok(DomainIsUpdatedRet { updated: 0 })
}

fn has_managed_save_image(
    client: &Client,
    args: DomainHasManagedSaveImageArgs,
) -> Answer<DomainHasManagedSaveImageRet> {
    check_flags(args.flags, 0, "qemuDomainHasManagedSaveImage")?;
    Ok(DomainHasManagedSaveImageRet {
        result: i32::from(domain(client, &args.dom)?.view().managed_save),
    })
}

/// Empty, as where libvirt has no security driver.
fn get_security_label(
    client: &Client,
    args: DomainGetSecurityLabelArgs,
) -> Answer<DomainGetSecurityLabelRet> {
    domain(client, &args.dom)?;
    Ok(DomainGetSecurityLabelRet::default())
}

/// What the user should know of the run: for example that there was no acceleration.
fn get_messages(client: &Client, args: DomainGetMessagesArgs) -> Answer<DomainGetMessagesRet> {
    const KNOWN: u32 = VIR_DOMAIN_MESSAGE_DEPRECATION | VIR_DOMAIN_MESSAGE_TAINTING;
    check_flags(args.flags, KNOWN, "virDomainGetMessages")?;
    let view = domain(client, &args.dom)?.view();
    let wants_notes = args.flags == 0 || args.flags & VIR_DOMAIN_MESSAGE_TAINTING != 0;
    let msgs = match &view.live {
        Some(live) if wants_notes => live
            .notes()
            .iter()
            .map(|note| format!("tainted: {note}"))
            .collect(),
        _ => Vec::new(),
    };
    Ok(DomainGetMessagesRet { msgs })
}

fn get_control_info(
    client: &Client,
    args: DomainGetControlInfoArgs,
) -> Answer<DomainGetControlInfoRet> {
    use wire::consts::domain::*;
    check_flags(args.flags, 0, "qemuDomainGetControlInfo")?;
    let live = domain(client, &args.dom)?.live()?;
    let state = match live.job() {
        Some(_) => VIR_DOMAIN_CONTROL_JOB,
        None => VIR_DOMAIN_CONTROL_OK,
    };
    Ok(DomainGetControlInfoRet {
        state: state as u32,
        ..DomainGetControlInfoRet::default()
    })
}
