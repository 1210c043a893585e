//! Where a machine's threads run, and how much processor time each kind gets.

use super::groups::{failed, needed, set_bandwidth};
use crate::error::{EngineError, Result};
use crate::monitor::Monitor;
use model::domain::Domain;
use model::domain::id_set::IdSet;
use model::domain::resources::{CpuTune, Scheduler};
use qemu::qmp::commands;
use std::collections::BTreeMap;
use std::time::Duration;
use sys::cgroup::{Cgroup, Controller};
use sys::process::{Policy, set_affinity, set_policy};

/// The group of QEMU's own threads.
const EMULATOR_GROUP: &str = "emulator";

/// A machine's threads by what they do.
pub(super) struct Threads {
    pid: i32,
    vcpus: BTreeMap<u32, i32>,
    iothreads: BTreeMap<u32, i32>,
}

impl Threads {
    /// Asks QEMU.
    pub(super) async fn of(
        pid: i32,
        monitor: &Monitor,
        domain: &Domain,
        timeout: Duration,
    ) -> Result<Self> {
        let cpus = monitor.ask(&commands::query_cpus_fast(), timeout).await?;
        let threads = match domain.iothreads.unwrap_or(0) > 0 || domain.iothread_ids.is_some() {
            true => monitor.ask(&commands::query_iothreads(), timeout).await?,
            false => Vec::new(),
        };
        Ok(Self {
            pid,
            vcpus: cpus
                .iter()
                .map(|cpu| (cpu.cpu_index, cpu.thread_id))
                .collect(),
            iothreads: threads
                .iter()
                .filter_map(|thread| Some((thread.number()?, thread.thread_id)))
                .collect(),
        })
    }

    /// Binds every thread that is neither a processor nor an I/O thread.
    pub(super) fn bind_others(&self, cpus: &IdSet) -> Result<()> {
        let all = sys::process::threads(self.pid).map_err(failed)?;
        let has_its_own = |thread: &i32| {
            self.vcpus
                .values()
                .chain(self.iothreads.values())
                .any(|own| own == thread)
        };
        let others = all
            .iter()
            .map(|thread| thread.tid)
            .filter(|t| !has_its_own(t));
        for thread in others.filter(|thread| *thread != self.pid) {
            // A worker may end at any moment.
            if let Err(error) = bind(thread, cpus) {
                tracing::debug!(thread, %error, "a thread was not bound");
            }
        }
        bind(self.pid, cpus)
    }

    pub(super) fn vcpu(&self, number: u32) -> Result<i32> {
        self.vcpus
            .get(&number)
            .copied()
            .ok_or_else(|| EngineError::invalid(format!("vcpu {number} is not active")))
    }

    pub(super) fn iothread(&self, number: u32) -> Result<i32> {
        self.iothreads
            .get(&number)
            .copied()
            .ok_or_else(|| EngineError::invalid(format!("iothread {number} not found")))
    }
}

/// Whether a definition says anything about single threads.
pub(crate) fn are_tuned(domain: &Domain) -> bool {
    domain.cputune.as_ref().is_some_and(|tune| {
        let parts = super::bandwidths(tune);
        let bounded = |b: &super::NamedBandwidth| {
            b.part != "global" && (b.period_us.is_some() || b.quota_us.is_some())
        };
        !tune.vcpu_pins.is_empty()
            || !tune.iothread_pins.is_empty()
            || tune.emulator_pin.is_some()
            || !tune.vcpu_scheds.is_empty()
            || !tune.iothread_scheds.is_empty()
            || tune.emulator_sched.is_some()
            || parts.iter().any(bounded)
    })
}

/// The host's processors QEMU begins on; every thread it makes inherits them.
pub(crate) fn initial_cpus(domain: &Domain) -> Option<Vec<u32>> {
    let pin = domain
        .cputune
        .as_ref()
        .and_then(|tune| tune.emulator_pin.as_ref());
    let set = pin.map(|pin| &pin.cpuset).or(domain.vcpu.cpuset.as_ref())?;
    Some(set.0.iter().copied().collect())
}

/// Makes a new machine's threads as its definition says.
pub(crate) async fn apply(
    pid: i32,
    monitor: &Monitor,
    group: Option<&Cgroup>,
    domain: &Domain,
    timeout: Duration,
) -> Result<()> {
    let Some(tune) = domain.cputune.as_deref().filter(|_| are_tuned(domain)) else {
        return Ok(());
    };
    let threads = Threads::of(pid, monitor, domain, timeout).await?;
    bound(group, tune, &threads)?;
    for (number, thread) in &threads.vcpus {
        place_vcpu(domain, *number, *thread)?;
    }
    for (number, thread) in &threads.iothreads {
        place_iothread(domain, *number, *thread)?;
    }
    if let Some(sched) = &tune.emulator_sched {
        set_policy(pid, policy(sched.scheduler, sched.priority)).map_err(failed)?;
    }
    Ok(())
}

/// Makes processors that have just come as the definition says.
pub(super) async fn settle_vcpus(
    pid: i32,
    monitor: &Monitor,
    group: Option<&Cgroup>,
    domain: &Domain,
    numbers: &[u32],
    timeout: Duration,
) -> Result<()> {
    let threads = Threads::of(pid, monitor, domain, timeout).await?;
    if let Some(tune) = domain.cputune.as_deref() {
        bound(group, tune, &threads)?;
    }
    for number in numbers {
        place_vcpu(domain, *number, threads.vcpu(*number)?)?;
    }
    Ok(())
}

/// Where a processor or I/O thread runs that has no pin of its own: not where
/// the emulator was pinned to, though it was made by one of its threads.
fn general_cpus(domain: &Domain) -> Result<Vec<u32>> {
    match &domain.vcpu.cpuset {
        Some(set) => Ok(set.0.iter().copied().collect()),
        None => {
            let map = sys::host::Host::new().cpu_map();
            Ok(map.map_err(failed)?.online.into_iter().collect())
        }
    }
}

fn place(thread: i32, pin: Option<&IdSet>, domain: &Domain) -> Result<()> {
    match pin {
        Some(set) => bind(thread, set),
        None => set_affinity(thread, general_cpus(domain)?).map_err(failed),
    }
}

pub(super) fn bind(thread: i32, cpus: &IdSet) -> Result<()> {
    set_affinity(thread, cpus.0.iter().copied()).map_err(failed)
}

fn place_vcpu(domain: &Domain, number: u32, thread: i32) -> Result<()> {
    let tune = domain.cputune.as_deref();
    let pin = tune.and_then(|tune| tune.vcpu_pins.iter().find(|pin| pin.vcpu == number));
    place(thread, pin.map(|pin| &pin.cpuset), domain)?;
    let sched = tune.and_then(|t| t.vcpu_scheds.iter().find(|s| s.vcpus.0.contains(&number)));
    match sched {
        Some(sched) => set_policy(thread, policy(sched.scheduler, sched.priority)).map_err(failed),
        None => Ok(()),
    }
}

pub(super) fn place_iothread(domain: &Domain, number: u32, thread: i32) -> Result<()> {
    let tune = domain.cputune.as_deref();
    let pin = tune.and_then(|t| t.iothread_pins.iter().find(|pin| pin.iothread == number));
    place(thread, pin.map(|pin| &pin.cpuset), domain)?;
    let sched = tune.and_then(|t| {
        t.iothread_scheds
            .iter()
            .find(|s| s.iothreads.0.contains(&number))
    });
    match sched {
        Some(sched) => set_policy(thread, policy(sched.scheduler, sched.priority)).map_err(failed),
        None => Ok(()),
    }
}

fn policy(scheduler: Scheduler, priority: Option<i32>) -> Policy {
    match scheduler {
        Scheduler::Other => Policy::Other,
        Scheduler::Batch => Policy::Batch,
        Scheduler::Idle => Policy::Idle,
        Scheduler::Fifo => Policy::Fifo(priority.unwrap_or(1)),
        Scheduler::Rr => Policy::RoundRobin(priority.unwrap_or(1)),
    }
}

/// Bounds each processor, each I/O thread and the rest, where the definition
/// says so. Groups of threads are made for nothing else: joining one takes
/// the kernel long.
pub(super) fn bound(group: Option<&Cgroup>, tune: &CpuTune, threads: &Threads) -> Result<()> {
    let limits = |period: Option<u64>, quota: Option<i64>| {
        (period.is_some() || quota.is_some()).then_some((period, quota))
    };
    if let Some((period, quota)) = limits(tune.emulator_period, tune.emulator_quota) {
        bound_thread(
            group,
            EMULATOR_GROUP.to_owned(),
            &[threads.pid],
            period,
            quota,
        )?;
    }
    if let Some((period, quota)) = limits(tune.period, tune.quota) {
        for (number, thread) in &threads.vcpus {
            bound_thread(group, format!("vcpu{number}"), &[*thread], period, quota)?;
        }
    }
    if let Some((period, quota)) = limits(tune.iothread_period, tune.iothread_quota) {
        for (number, thread) in &threads.iothreads {
            bound_thread(
                group,
                format!("iothread{number}"),
                &[*thread],
                period,
                quota,
            )?;
        }
    }
    Ok(())
}

fn bound_thread(
    group: Option<&Cgroup>,
    name: String,
    threads: &[i32],
    period: Option<u64>,
    quota: Option<i64>,
) -> Result<()> {
    let group = needed(group, Controller::Cpu)?;
    let own = group.thread_group(&name).map_err(failed)?;
    set_bandwidth(&own, period, quota)?;
    threads
        .iter()
        .try_for_each(|thread| own.add_thread(*thread).map_err(failed))
}
