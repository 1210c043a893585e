//! What the guest itself is asked to do: processors in or out of use, sleep, keys for SSH.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::guest::{AgentPatience, SuspendTarget};
use model::domain::id_set::IdSet;
use model::xml::Scalar;
use wire::consts::flags::*;
use wire::errors::ErrorCode;
use wire::remote::*;

use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

const SSH_KEYS_APPEND: u32 = 1;
const SSH_KEYS_REMOVE: u32 = 2;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_guest_vcpus);
    dispatch.task(set_guest_vcpus);
    dispatch.task(pm_suspend);
    dispatch.task(get_ssh_keys);
    dispatch.task(set_ssh_keys);
    dispatch.inline(set_response_timeout);
}

/// libvirt's list of processors in a text.
pub(super) fn id_set(text: &str) -> Answer<IdSet> {
    let set = IdSet::parse(text).filter(|set| !set.0.is_empty());
    set.ok_or_else(|| Failure::invalid_arg(format!("Failed to parse bitmap '{text}'")))
}

async fn get_guest_vcpus(
    client: Arc<Client>,
    args: DomainGetGuestVcpusArgs,
) -> Answer<DomainGetGuestVcpusRet> {
    check_flags(args.flags, 0, "qemuDomainGetGuestVcpus")?;
    let vcpus = domain(&client, &args.dom)?.guest_vcpus().await?;
    let those = |wanted: &dyn Fn(&engine::guest::Vcpu) -> bool| {
        let ids = vcpus.iter().filter(|vcpu| wanted(vcpu));
        let ids = ids.filter_map(|vcpu| u32::try_from(vcpu.logical_id).ok());
        IdSet(ids.collect::<BTreeSet<u32>>()).to_string()
    };
    Ok(DomainGetGuestVcpusRet {
        params: vec![
            TypedParam::new("vcpus", those(&|_| true)),
            TypedParam::new("online", those(&|vcpu| vcpu.online)),
            TypedParam::new("offlinable", those(&|vcpu| vcpu.can_offline)),
        ],
    })
}

async fn set_guest_vcpus(client: Arc<Client>, args: DomainSetGuestVcpusArgs) -> Answer<()> {
    check_flags(args.flags, 0, "qemuDomainSetGuestVcpus")?;
    if !matches!(args.state, 0 | 1) {
        return Err(Failure::invalid_arg(format!(
            "unsupported state value '{}'",
            args.state
        )));
    }
    let wanted = id_set(&args.cpumap)?;
    let handle = domain(&client, &args.dom)?;
    let known = handle.guest_vcpus().await?;
    let on = args.state == 1;
    let mut changes = Vec::new();
    for id in &wanted.0 {
        let found = known.iter().find(|vcpu| vcpu.logical_id == u64::from(*id));
        let vcpu = found.ok_or_else(|| {
            Failure::invalid_arg(format!("vCPU '{id}' is not present in the guest"))
        })?;
        if vcpu.online && !on && !vcpu.can_offline {
            return Err(Failure::operation_invalid(format!(
                "vCPU '{id}' is not offlinable"
            )));
        }
        if vcpu.online != on {
            changes.push((vcpu.logical_id, on));
        }
    }
    Ok(handle.set_guest_vcpus(&changes).await?)
}

/// How many processors the guest uses.
pub(super) async fn count_guest_vcpus(client: &Client, dom: &RemoteDomain) -> Answer<i32> {
    let vcpus = domain(client, dom)?.guest_vcpus().await?;
    let online = vcpus.iter().filter(|vcpu| vcpu.online).count();
    Ok(i32::try_from(online).unwrap_or(i32::MAX))
}

/// Has the guest use so many processors.
pub(super) async fn use_guest_vcpus(client: &Client, dom: &RemoteDomain, count: u32) -> Answer<()> {
    let handle = domain(client, dom)?;
    let known = handle.guest_vcpus().await?;
    let online = known.iter().filter(|vcpu| vcpu.online).count();
    let count = count as usize;
    if count > known.len() {
        return Err(Failure::invalid_arg(format!(
            "requested vcpu count is greater than the count of enabled vcpus in the domain: {count} > {}",
            known.len()
        )));
    }
    let changes: Vec<(u64, bool)> = if count >= online {
        let free = known.iter().filter(|vcpu| !vcpu.online);
        free.take(count - online)
            .map(|vcpu| (vcpu.logical_id, true))
            .collect()
    } else {
        let can_go = known
            .iter()
            .rev()
            .filter(|vcpu| vcpu.online && vcpu.can_offline);
        can_go
            .take(online - count)
            .map(|vcpu| (vcpu.logical_id, false))
            .collect()
    };
    if changes.len() != count.abs_diff(online) {
        return Err(Failure::new(
            ErrorCode::OperationFailed,
            "failed to set guest vCPUs: not so many of them can be taken out of use",
        ));
    }
    Ok(handle.set_guest_vcpus(&changes).await?)
}

async fn pm_suspend(client: Arc<Client>, args: DomainPmSuspendForDurationArgs) -> Answer<()> {
    check_flags(args.flags, 0, "qemuDomainPMSuspendForDuration")?;
    if args.duration != 0 {
        return Err(Failure::argument_unsupported(
            "Duration not supported. Use 0 for now",
        ));
    }
    let target = match args.target {
        0 => SuspendTarget::Memory,
        1 => SuspendTarget::Disk,
        2 => SuspendTarget::Hybrid,
        other => {
            return Err(Failure::invalid_arg(format!(
                "Unknown suspend target: {other}"
            )));
        }
    };
    Ok(domain(&client, &args.dom)?.suspend_guest(target).await?)
}

async fn get_ssh_keys(
    client: Arc<Client>,
    args: DomainAuthorizedSshKeysGetArgs,
) -> Answer<DomainAuthorizedSshKeysGetRet> {
    check_flags(args.flags, 0, "qemuDomainAuthorizedSSHKeysGet")?;
    let keys = domain(&client, &args.dom)?
        .guest_ssh_keys(&args.user)
        .await?;
    Ok(DomainAuthorizedSshKeysGetRet { keys })
}

async fn set_ssh_keys(client: Arc<Client>, args: DomainAuthorizedSshKeysSetArgs) -> Answer<()> {
    check_flags(
        args.flags,
        SSH_KEYS_APPEND | SSH_KEYS_REMOVE,
        "qemuDomainAuthorizedSSHKeysSet",
    )?;
    super::exclusive_flags(
        args.flags,
        (SSH_KEYS_APPEND, "VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND"),
        (SSH_KEYS_REMOVE, "VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE"),
    )?;
    let handle = domain(&client, &args.dom)?;
    if args.flags & SSH_KEYS_REMOVE != 0 {
        return Ok(handle.remove_guest_ssh_keys(&args.user, args.keys).await?);
    }
    let reset = args.flags & SSH_KEYS_APPEND == 0;
    Ok(handle
        .add_guest_ssh_keys(&args.user, args.keys, reset)
        .await?)
}

fn set_response_timeout(
    client: &Client,
    args: DomainAgentSetResponseTimeoutArgs,
) -> Answer<DomainAgentSetResponseTimeoutRet> {
    check_flags(args.flags, 0, "qemuDomainAgentSetResponseTimeout")?;
    let patience = match args.timeout {
        VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK => AgentPatience::Forever,
        VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_DEFAULT => AgentPatience::Usual,
        0 => AgentPatience::NoWait,
        seconds => AgentPatience::Seconds(u32::try_from(seconds).map_err(|_| {
            Failure::invalid_arg(format!(
                "guest agent timeout '{seconds}' is less than the minimum '-2'"
            ))
        })?),
    };
    domain(client, &args.dom)?.set_agent_patience(patience)?;
    Ok(DomainAgentSetResponseTimeoutRet { result: 0 })
}

const VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK: i32 = -2;
const VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_DEFAULT: i32 = -1;

/// `VIR_DOMAIN_VCPU_GUEST`, for calls that ask or change the guest's view.
pub(super) fn is_of_guest(flags: u32) -> Answer<bool> {
    let guest = flags & VIR_DOMAIN_VCPU_GUEST != 0;
    if guest && flags & VIR_DOMAIN_VCPU_CONFIG != 0 {
        return Err(Failure::invalid_arg(
            "Flags 'VIR_DOMAIN_AFFECT_CONFIG' and 'VIR_DOMAIN_VCPU_GUEST' are mutually exclusive",
        ));
    }
    Ok(guest)
}
