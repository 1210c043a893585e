//! What control groups carry out.

use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::memory_size::Kib;
use model::domain::resources::{BlkioDevice, CpuTune, MEMORY_UNLIMITED_KIB, MemTune, NumaMode};
use std::path::Path;
use sys::cgroup::{BlockDevice, BlockLimit, Cgroup, Controller, CpuBandwidth};

/// Whether the definition has limits that must hold from QEMU's first moment.
pub(crate) fn confines(domain: &Domain) -> bool {
    wants_memory(domain) || nodes(domain).is_some()
}

fn wants_memory(domain: &Domain) -> bool {
    domain.memtune.as_ref().is_some_and(|tune| {
        tune.hard_limit.is_some() || tune.soft_limit.is_some() || tune.swap_hard_limit.is_some()
    })
}

fn wants_cpu(tune: &CpuTune) -> bool {
    tune.shares.is_some()
        || super::bandwidths(tune)
            .iter()
            .any(|b| b.period_us.is_some() || b.quota_us.is_some())
}

/// Sets all limits of a definition that concern the machine as a whole; a
/// host that cannot carry one out is an error that names it.
pub(crate) fn apply(group: Option<&Cgroup>, domain: &Domain) -> Result<()> {
    if let Some(tune) = domain.cputune.as_deref().filter(|tune| wants_cpu(tune)) {
        set_cpu(needed(group, Controller::Cpu)?, tune)?;
    }
    if let Some(tune) = domain.memtune.as_ref().filter(|_| wants_memory(domain)) {
        set_memory(needed(group, Controller::Memory)?, tune)?;
    }
    if domain.blkiotune.is_some() {
        set_block(needed(group, Controller::BlockIo)?, domain)?;
    }
    if nodes(domain).is_some() {
        set_nodes(needed(group, Controller::CpuSet)?, domain)?;
    }
    Ok(())
}

/// The group, if this host can bound `what` by it.
pub(super) fn needed(group: Option<&Cgroup>, what: Controller) -> Result<&Cgroup> {
    group.filter(|group| group.has(what)).ok_or_else(|| {
        let message = match what {
            Controller::Cpu => "CPU tuning is not available on this host",
            Controller::Memory => "Memory cgroup is not available on this host",
            Controller::BlockIo => "Block I/O tuning is not available on this host",
            _ => "NUMA tuning of memory is not available on this host",
        };
        EngineError::new(ErrorKind::ConfigUnsupported, message)
    })
}

pub(super) fn failed(error: sys::SysError) -> EngineError {
    EngineError::new(ErrorKind::SystemError, error.to_string())
}

/// Shares and the bandwidth of the machine as a whole.
pub(super) fn set_cpu(group: &Cgroup, tune: &CpuTune) -> Result<()> {
    if let Some(shares) = tune.shares {
        group.set_cpu_shares(shares).map_err(failed)?;
    }
    set_bandwidth(group, tune.global_period, tune.global_quota)
}

/// A bandwidth of which perhaps only one half is given.
pub(super) fn set_bandwidth(group: &Cgroup, period: Option<u64>, quota: Option<i64>) -> Result<()> {
    if period.is_none() && quota.is_none() {
        return Ok(());
    }
    let bandwidth = CpuBandwidth {
        period_us: period
            .filter(|us| *us > 0)
            .unwrap_or(super::CPU_PERIOD_DEFAULT_US),
        quota_us: quota
            .and_then(|us| u64::try_from(us).ok())
            .filter(|us| *us > 0),
    };
    group.set_cpu_bandwidth(bandwidth).map_err(failed)
}

/// Sets the limits that are given; "unlimited" lifts one.
pub(super) fn set_memory(group: &Cgroup, tune: &MemTune) -> Result<()> {
    let bytes = |kib: Kib| (kib.0 < MEMORY_UNLIMITED_KIB).then(|| kib.0.saturating_mul(1024));
    match (tune.hard_limit, tune.swap_hard_limit) {
        (hard, Some(both)) => group.set_memory_and_swap_max(hard.and_then(bytes), bytes(both)),
        (Some(hard), None) => group.set_memory_max(bytes(hard)),
        (None, None) => Ok(()),
    }
    .map_err(failed)?;
    match tune.soft_limit {
        Some(soft) => group.set_memory_soft(bytes(soft)).map_err(failed),
        None => Ok(()),
    }
}

pub(super) fn set_block(group: &Cgroup, domain: &Domain) -> Result<()> {
    let Some(tune) = &domain.blkiotune else {
        return Ok(());
    };
    if let Some(weight) = tune.weight.filter(|weight| *weight > 0) {
        group.set_io_weight(weight.into()).map_err(failed)?;
    }
    tune.devices
        .iter()
        .try_for_each(|device| set_device(group, device))
}

/// Sets what the entry says of its device; 0 lifts a limit.
pub(super) fn set_device(group: &Cgroup, entry: &BlkioDevice) -> Result<()> {
    let path = entry.path.as_deref().unwrap_or_default();
    let device = BlockDevice::at(Path::new(path)).map_err(failed)?;
    if let Some(weight) = entry.weight {
        group
            .set_device_weight(device, weight.into())
            .map_err(failed)?;
    }
    for (limit, value) in [
        (BlockLimit::ReadIops, entry.read_iops_sec.map(u64::from)),
        (BlockLimit::WriteIops, entry.write_iops_sec.map(u64::from)),
        (BlockLimit::ReadBytes, entry.read_bytes_sec),
        (BlockLimit::WriteBytes, entry.write_bytes_sec),
    ] {
        if let Some(value) = value {
            group
                .set_device_limit(device, limit, value)
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// The nodes the kernel is to keep the machine's memory on.
fn nodes(domain: &Domain) -> Option<String> {
    let memory = domain.numatune.as_ref()?.memory.as_ref()?;
    let binding = matches!(
        memory.mode.unwrap_or(NumaMode::Strict),
        NumaMode::Strict | NumaMode::Restrictive
    );
    memory
        .nodeset
        .as_ref()
        .filter(|_| binding)
        .map(ToString::to_string)
}

pub(super) fn set_nodes(group: &Cgroup, domain: &Domain) -> Result<()> {
    match nodes(domain) {
        Some(nodes) => group.set_memory_nodes(&nodes).map_err(failed),
        None => Ok(()),
    }
}
