//! A change carried out on a running machine.

use super::threads::{Threads, bind, bound};
use super::{Tuning, disks, groups, iothreads, lifecycle, throttle_groups, vcpus};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::QMP_REPLY_TIMEOUT_MS;
use crate::live::LiveMachine;
use model::domain::Domain;
use qemu::qmp::commands;
use std::time::Duration;
use sys::cgroup::{Cgroup, Controller};

impl Tuning {
    /// Carries the change out; `after` is the running definition with it.
    pub(crate) async fn enact(
        &self,
        engine: &Engine,
        live: &LiveMachine,
        after: &Domain,
    ) -> Result<()> {
        match self {
            Self::PinVcpu { vcpu, cpus } => {
                // One that is not plugged in is bound when it comes.
                match threads(live, after).await?.vcpu(*vcpu) {
                    Ok(thread) => bind(thread, cpus),
                    Err(_) => Ok(()),
                }
            }
            Self::PinEmulator(cpus) => threads(live, after).await?.bind_others(cpus),
            Self::PinIothread { iothread, cpus } => {
                let threads = threads(live, after).await?;
                bind(threads.iothread(*iothread)?, cpus)
            }
            Self::Cpu(change) => {
                let group = mounted(live, Controller::Cpu)?;
                let Some(tune) = after.cputune.as_deref() else {
                    return Ok(());
                };
                groups::set_cpu(group, tune)?;
                let single = super::bandwidths(change);
                let touched = |b: &super::NamedBandwidth| {
                    b.part != "global" && (b.period_us.is_some() || b.quota_us.is_some())
                };
                match single.iter().any(touched) {
                    true => bound(Some(group), tune, &threads(live, after).await?),
                    false => Ok(()),
                }
            }
            Self::Memory(change) => {
                // A limit that is lifted is in no definition: the change names it.
                let mut limits = after.memtune.as_deref().cloned().unwrap_or_default();
                limits.hard_limit = limits.hard_limit.or(change.hard_limit);
                limits.soft_limit = limits.soft_limit.or(change.soft_limit);
                limits.swap_hard_limit = limits.swap_hard_limit.or(change.swap_hard_limit);
                groups::set_memory(mounted(live, Controller::Memory)?, &limits)
            }
            Self::Block(change) => {
                let group = mounted(live, Controller::BlockIo)?;
                if let Some(weight) = change.weight.filter(|weight| *weight > 0) {
                    group.set_io_weight(weight.into()).map_err(groups::failed)?;
                }
                // The change itself, since a limit that is lifted is in no definition.
                change
                    .devices
                    .iter()
                    .try_for_each(|device| groups::set_device(group, device))
            }
            Self::Numa(_) => groups::set_nodes(mounted(live, Controller::CpuSet)?, after),
            Self::Disk { disk, .. } => match disks::command(after, disk) {
                Some(command) => live.monitor()?.execute(&command).await.map(drop),
                None => Err(EngineError::new(
                    ErrorKind::NoSuchDevice,
                    format!("disk '{disk}' has no device in the running machine"),
                )),
            },
            Self::Perf(_) => live.count_events(after),
            Self::SetThrottleGroup { group, .. } => {
                throttle_groups::enact_set(live, after, group).await
            }
            Self::RemoveThrottleGroup(group) => throttle_groups::enact_remove(live, group).await,
            Self::Interface { device, .. } => limit(engine, live, after, device).await,
            Self::AddIothread(id) => iothreads::make(live, after, *id).await,
            Self::RemoveIothread(id) => iothreads::end(live, *id).await,
            Self::SetIothread { iothread, settings } => {
                iothreads::change(live, *iothread, settings).await
            }
            Self::Vcpus(_) => vcpus::enact(live, after).await,
            Self::Lifecycle { end, action } => lifecycle::enact(live, *end, *action).await,
            Self::BalloonPeriod(seconds) => {
                let alias = crate::facts::balloon_alias(after).unwrap_or_default();
                let path = format!("/machine/peripheral/{alias}");
                let command = commands::set_balloon_period(&path, *seconds);
                live.monitor()?.execute(&command).await.map(drop)
            }
        }
    }
}

/// Limits a card's traffic. What the machine sends is limited by rules, which are made of running
/// definitions: so this one is in force before they are.
async fn limit(engine: &Engine, live: &LiveMachine, after: &Domain, device: &str) -> Result<()> {
    let interface = super::interface(after, device)?;
    let before = live.definition();
    live.set_definition(after.clone());
    let limited = engine.limit_running_card(interface, after).await;
    if limited.is_err() {
        live.set_definition(Domain::clone(&before));
    }
    limited
}

async fn threads(live: &LiveMachine, domain: &Domain) -> Result<Threads> {
    let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
    Threads::of(live.process.id().pid, live.monitor()?, domain, timeout).await
}

/// The running machine's group, if this host can bound `what` by it.
pub(super) fn mounted(live: &LiveMachine, what: Controller) -> Result<&Cgroup> {
    let group = live.cgroup.as_ref().filter(|group| group.has(what));
    group.ok_or_else(|| {
        let name = match what {
            Controller::Cpu => "CPU",
            Controller::CpuAccounting => "CPUACCT",
            Controller::Memory => "memory",
            Controller::BlockIo => "blkio",
            _ => "cpuset",
        };
        EngineError::invalid(format!("cgroup {name} controller is not mounted"))
    })
}
