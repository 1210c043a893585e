//! Changes of the definition.

use super::{Tuning, disks, iothreads, lifecycle, perf, throttle_groups, vcpus};
use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::id_set::IdSet;
use model::domain::interface::Bandwidth;
use model::domain::misc_devices::{BalloonModel, BalloonStats};
use model::domain::resources::{
    BlkioDevice, BlkioTune, CpuTune, EmulatorPin, IothreadPin, MEMORY_UNLIMITED_KIB, MemTune,
    NumaMemory, Placement, VcpuPin,
};

/// Takes over each field that the change sets.
macro_rules! take_over {
    ($from:expr => $to:expr; $($field:ident),+ $(,)?) => {
        $(if $from.$field.is_some() {
            $to.$field = $from.$field.clone();
        })+
    };
}

impl Tuning {
    /// Makes the change in a definition; `running` says whose it is.
    pub(crate) fn amend(&self, domain: &mut Domain, running: bool) -> Result<()> {
        match self {
            Self::PinVcpu { vcpu, cpus } => pin_vcpu(domain, *vcpu, cpus, running)?,
            Self::PinEmulator(cpus) => {
                some_cpus(cpus, "emulator")?;
                let pin = EmulatorPin {
                    cpuset: cpus.clone(),
                };
                domain.cputune.get_or_insert_default().emulator_pin = Some(pin);
            }
            Self::PinIothread { iothread, cpus } => pin_iothread(domain, *iothread, cpus, running)?,
            Self::Cpu(tune) => amend_cpu(domain.cputune.get_or_insert_default(), tune),
            Self::Memory(tune) => {
                amend_memory(domain.memtune.get_or_insert_default(), tune)?;
                domain.memtune = domain.memtune.take().filter(|t| **t != MemTune::default());
            }
            Self::Block(tune) => amend_block(domain, tune),
            Self::Numa(memory) => amend_numa(domain, memory, running)?,
            Self::Disk { disk, limits } => disks::amend(domain, disk, limits)?,
            Self::Perf(changes) => perf::amend(domain, changes),
            Self::SetThrottleGroup { group, limits } => {
                throttle_groups::set(domain, group, limits)?;
            }
            Self::RemoveThrottleGroup(group) => throttle_groups::remove(domain, group)?,
            Self::Interface { device, bandwidth } => amend_interface(domain, device, bandwidth)?,
            Self::BalloonPeriod(seconds) => amend_balloon(domain, *seconds)?,
            Self::AddIothread(id) => iothreads::add(domain, *id)?,
            Self::RemoveIothread(id) => iothreads::remove(domain, *id)?,
            Self::SetIothread { iothread, settings } => {
                iothreads::set(domain, *iothread, settings)?;
            }
            Self::Vcpus(change) => vcpus::amend(domain, change, running)?,
            Self::Lifecycle { end, action } => lifecycle::amend(domain, *end, *action)?,
        }
        Ok(())
    }
}

fn invalid(message: impl Into<String>) -> EngineError {
    EngineError::new(ErrorKind::InvalidArgument, message)
}

fn some_cpus(cpus: &IdSet, whose: &str) -> Result<()> {
    match cpus.0.is_empty() {
        false => Ok(()),
        true => Err(invalid(format!("Empty {whose} cpumap list for pinning"))),
    }
}

fn pin_vcpu(domain: &mut Domain, vcpu: u32, cpus: &IdSet, running: bool) -> Result<()> {
    if cpus.0.is_empty() {
        return Err(invalid("Empty cpu list for pinning"));
    }
    if vcpu >= domain.vcpu.count() {
        let message = match running {
            true => format!(
                "vcpu {vcpu} is out of range of live cpu count {}",
                domain.vcpu.count()
            ),
            false => format!(
                "vcpu {vcpu} is out of range of persistent cpu count {}",
                domain.vcpu.count()
            ),
        };
        return Err(invalid(message));
    }
    let pins = &mut domain.cputune.get_or_insert_default().vcpu_pins;
    pins.retain(|pin| pin.vcpu != vcpu);
    pins.push(VcpuPin {
        vcpu,
        cpuset: cpus.clone(),
    });
    pins.sort_by_key(|pin| pin.vcpu);
    Ok(())
}

fn pin_iothread(domain: &mut Domain, iothread: u32, cpus: &IdSet, running: bool) -> Result<()> {
    if cpus.0.is_empty() {
        return Err(invalid("Empty iothread cpumap list for pinning"));
    }
    if !domain.has_iothread(iothread) {
        return Err(invalid(match running {
            true => format!("iothread {iothread} not found"),
            false => format!("iothreadid {iothread} not found"),
        }));
    }
    domain.name_iothreads();
    let pins = &mut domain.cputune.get_or_insert_default().iothread_pins;
    pins.retain(|pin| pin.iothread != iothread);
    pins.push(IothreadPin {
        iothread,
        cpuset: cpus.clone(),
    });
    pins.sort_by_key(|pin| pin.iothread);
    Ok(())
}

fn amend_cpu(present: &mut CpuTune, change: &CpuTune) {
    take_over!(change => present; shares, period, quota, global_period, global_quota,
        emulator_period, emulator_quota, iothread_period, iothread_quota);
}

fn amend_memory(present: &mut MemTune, change: &MemTune) -> Result<()> {
    take_over!(change => present; hard_limit, soft_limit, swap_hard_limit);
    if let (Some(hard), Some(both)) = (present.hard_limit, present.swap_hard_limit)
        && hard > both
    {
        return Err(invalid(
            "memory hard_limit tunable value must be lower than or equal to swap_hard_limit",
        ));
    }
    for limit in [
        &mut present.hard_limit,
        &mut present.soft_limit,
        &mut present.swap_hard_limit,
    ] {
        *limit = limit.filter(|limit| limit.0 < MEMORY_UNLIMITED_KIB);
    }
    Ok(())
}

fn amend_block(domain: &mut Domain, change: &BlkioTune) {
    let present = domain.blkiotune.get_or_insert_default();
    take_over!(change => present; weight);
    for device in &change.devices {
        let known = present.devices.iter().position(|d| d.path == device.path);
        let index = known.unwrap_or_else(|| {
            present.devices.push(BlkioDevice {
                path: device.path.clone(),
                ..BlkioDevice::default()
            });
            present.devices.len() - 1
        });
        let entry = &mut present.devices[index];
        take_over!(device => entry; weight, read_iops_sec, write_iops_sec, read_bytes_sec, write_bytes_sec);
    }
    for device in &mut present.devices {
        device.weight = device.weight.filter(|value| *value > 0);
        device.read_iops_sec = device.read_iops_sec.filter(|value| *value > 0);
        device.write_iops_sec = device.write_iops_sec.filter(|value| *value > 0);
        device.read_bytes_sec = device.read_bytes_sec.filter(|value| *value > 0);
        device.write_bytes_sec = device.write_bytes_sec.filter(|value| *value > 0);
    }
    let unlimited = |device: &BlkioDevice| BlkioDevice {
        path: device.path.clone(),
        ..BlkioDevice::default()
    };
    present
        .devices
        .retain(|device| *device != unlimited(device));
    if **present == BlkioTune::default() {
        domain.blkiotune = None;
    }
}

fn amend_numa(domain: &mut Domain, change: &NumaMemory, running: bool) -> Result<()> {
    use model::domain::resources::NumaMode;
    let is_static = domain.vcpu.placement != Some(Placement::Auto);
    let tune = domain.numatune.get_or_insert_default();
    let present = tune.memory.get_or_insert_default();
    if is_static && change.nodeset.is_none() && present.nodeset.is_none() {
        return Err(EngineError::new(
            ErrorKind::ConfigUnsupported,
            "nodeset for NUMA memory tuning must be set if 'placement' is 'static'",
        ));
    }
    let mode = present.mode.unwrap_or(NumaMode::Strict);
    if running {
        if change.mode.is_some_and(|wanted| wanted != mode) {
            return Err(EngineError::invalid(
                "can't change numatune mode for running domain",
            ));
        }
        if change.nodeset.is_some() && !matches!(mode, NumaMode::Strict | NumaMode::Restrictive) {
            return Err(EngineError::invalid(
                "change of nodeset for running domain requires strict numa mode",
            ));
        }
    }
    take_over!(change => present; mode, nodeset);
    present.mode.get_or_insert(NumaMode::Strict);
    if change.nodeset.is_some() {
        // Named nodes are a static placement, which is not written out.
        present.placement = present.placement.filter(|p| *p == Placement::Static);
    } else if present.nodeset.is_none() && present.placement.is_none() {
        present.placement = Some(Placement::Auto);
    }
    Ok(())
}

fn amend_interface(domain: &mut Domain, device: &str, change: &Bandwidth) -> Result<()> {
    let info = super::interface(domain, device)?.info.clone();
    let mut all = domain.devices.interfaces.iter_mut();
    let Some(interface) = all.find(|interface| interface.info == info) else {
        return Ok(());
    };
    let present = interface.bandwidth.get_or_insert_default();
    for (given, kept) in [
        (&change.inbound, &mut present.inbound),
        (&change.outbound, &mut present.outbound),
    ] {
        if let Some(limit) = given {
            *kept = limit
                .average
                .is_some_and(|average| average > 0)
                .then(|| limit.clone());
        }
    }
    interface.bandwidth = interface
        .bandwidth
        .take()
        .filter(|b| *b != Bandwidth::default());
    Ok(())
}

fn amend_balloon(domain: &mut Domain, seconds: u32) -> Result<()> {
    let balloon = domain.devices.memballoon.as_mut();
    let balloon = balloon.filter(|balloon| balloon.model != BalloonModel::None);
    let balloon = balloon.ok_or_else(|| {
        EngineError::invalid(
            "No memory balloon device configured, can not set the collection period",
        )
    })?;
    balloon.stats = (seconds > 0).then_some(BalloonStats { period: seconds });
    Ok(())
}
