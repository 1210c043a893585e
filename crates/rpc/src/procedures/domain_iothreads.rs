//! I/O threads and virtual processors that come, go and change, and what follows from a guest's end.

use std::sync::Arc;

use engine::options::DeviceChange;
use engine::tuning::{IothreadSettings, LifecycleEnd, Tuning, VcpuChange};
use model::domain::clock::LifecycleAction;
use wire::consts::flags::*;
use wire::errors::ErrorCode;
use wire::remote::*;
use wire::typed_params::get_unsigned;

use super::domain;
use super::domain_guest::id_set;
use super::parameters::{Kind, affect_only, check, signed};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(|client, args: DomainAddIothreadArgs| async move {
        let id = number(args.iothread_id)?;
        tune(
            &client,
            &args.dom,
            Tuning::AddIothread(id),
            args.flags,
            "qemuDomainAddIOThread",
        )
        .await
    });
    dispatch.task(|client, args: DomainDelIothreadArgs| async move {
        let id = number(args.iothread_id)?;
        tune(
            &client,
            &args.dom,
            Tuning::RemoveIothread(id),
            args.flags,
            "qemuDomainDelIOThread",
        )
        .await
    });
    dispatch.task(set_iothread);
    dispatch.task(set_vcpu);
    dispatch.task(set_lifecycle_action);
    dispatch.task(|client, args: DomainDetachDeviceAliasArgs| async move {
        let affect = affect_only(args.flags, "qemuDomainDetachDeviceAlias")?;
        let handle = domain(&client, &args.dom)?;
        let change = DeviceChange::DetachAlias;
        Ok(handle.change_device(change, &args.alias, affect).await?)
    });
}

async fn tune(
    client: &Client,
    dom: &RemoteDomain,
    tuning: Tuning,
    flags: u32,
    function: &str,
) -> Answer<()> {
    let affect = affect_only(flags, function)?;
    Ok(domain(client, dom)?.tune(tuning, affect).await?)
}

fn number(id: u32) -> Answer<u32> {
    match id {
        0 => Err(Failure::invalid_arg("invalid value of 0 for iothread_id")),
        id => Ok(id),
    }
}

async fn set_iothread(client: Arc<Client>, args: DomainSetIothreadParamsArgs) -> Answer<()> {
    const KNOWN: &[(&str, Kind)] = &[
        ("poll_max_ns", Kind::Ullong),
        ("poll_grow", Kind::Uint),
        ("poll_shrink", Kind::Uint),
        ("thread_pool_min", Kind::Int),
        ("thread_pool_max", Kind::Int),
    ];
    check(&args.params, KNOWN)?;
    let narrow = |name| signed(&args.params, name).and_then(|value| i32::try_from(value).ok());
    let settings = IothreadSettings {
        poll_max: get_unsigned(&args.params, "poll_max_ns"),
        poll_grow: get_unsigned(&args.params, "poll_grow"),
        poll_shrink: get_unsigned(&args.params, "poll_shrink"),
        pool_min: narrow("thread_pool_min"),
        pool_max: narrow("thread_pool_max"),
    };
    let longest = i64::MAX as u64;
    if settings.poll_max.is_some_and(|ns| ns > longest) {
        return Err(Failure::new(
            ErrorCode::OperationFailed,
            format!("poll-max-ns must be less than or equal to {longest}"),
        ));
    }
    let tuning = Tuning::SetIothread {
        iothread: number(args.iothread_id)?,
        settings,
    };
    tune(
        &client,
        &args.dom,
        tuning,
        args.flags,
        "qemuDomainSetIOThreadParams",
    )
    .await
}

async fn set_vcpu(client: Arc<Client>, args: DomainSetVcpuArgs) -> Answer<()> {
    if !matches!(args.state, 0 | 1) {
        return Err(Failure::invalid_arg(format!(
            "unsupported state value '{}'",
            args.state
        )));
    }
    let tuning = Tuning::Vcpus(VcpuChange::These {
        ids: id_set(&args.cpumap)?,
        on: args.state == 1,
    });
    tune(&client, &args.dom, tuning, args.flags, "qemuDomainSetVcpu").await
}

/// libvirt's `virDomainLifecycle` and `virDomainLifecycleAction`, by number.
const ENDS: [LifecycleEnd; 3] = [
    LifecycleEnd::Poweroff,
    LifecycleEnd::Reboot,
    LifecycleEnd::Crash,
];
const ACTIONS: [LifecycleAction; 6] = [
    LifecycleAction::Destroy,
    LifecycleAction::Restart,
    LifecycleAction::RenameRestart,
    LifecycleAction::Preserve,
    LifecycleAction::CoredumpDestroy,
    LifecycleAction::CoredumpRestart,
];

async fn set_lifecycle_action(
    client: Arc<Client>,
    args: DomainSetLifecycleActionArgs,
) -> Answer<()> {
    let end = ENDS
        .get(args.kind as usize)
        .copied()
        .ok_or_else(|| Failure::invalid_arg(format!("invalid lifecycle type '{}'", args.kind)))?;
    let action = ACTIONS.get(args.action as usize).copied().ok_or_else(|| {
        Failure::invalid_arg(format!("invalid lifecycle action '{}'", args.action))
    })?;
    let tuning = Tuning::Lifecycle { end, action };
    let known = args.flags & (VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG);
    super::check_flags(args.flags, known, "qemuDomainSetLifecycleAction")?;
    tune(
        &client,
        &args.dom,
        tuning,
        args.flags,
        "qemuDomainSetLifecycleAction",
    )
    .await
}
