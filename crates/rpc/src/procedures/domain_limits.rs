//! Limits on memory, block devices, memory nodes and network interfaces.

use std::sync::Arc;

use engine::tuning::Tuning;
use model::domain::id_set::IdSet;
use model::domain::interface::{Bandwidth, BandwidthLimit};
use model::domain::memory_size::Kib;
use model::domain::resources::{
    BlkioDevice, BlkioTune, MEMORY_UNLIMITED_KIB, MemTune, NumaMemory, NumaMode,
};
use model::xml::Scalar;
use wire::remote::*;
use wire::typed_params::{get_str, get_unsigned};

use super::domain;
use super::parameters::{Asked, Kind, affect_only, asked, check, signed, with_room};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_memory);
    dispatch.task(set_memory);
    dispatch.task(get_blkio);
    dispatch.task(set_blkio);
    dispatch.task(get_numa);
    dispatch.task(set_numa);
    dispatch.task(get_interface);
    dispatch.task(set_interface);
    dispatch.task(set_memory_stats_period);
}

async fn get_memory(
    client: Arc<Client>,
    args: DomainGetMemoryParametersArgs,
) -> Answer<DomainGetMemoryParametersRet> {
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, live } = asked(&handle, args.flags, "qemuDomainGetMemoryParameters")?;
    let tune = match &live {
        Some(live) => live.memory_limits()?,
        None => definition.memtune.as_deref().cloned().unwrap_or_default(),
    };
    let kib = |limit: Option<Kib>| limit.map_or(MEMORY_UNLIMITED_KIB, |limit| limit.0);
    let all = vec![
        TypedParam::new("hard_limit", kib(tune.hard_limit)),
        TypedParam::new("soft_limit", kib(tune.soft_limit)),
        TypedParam::new("swap_hard_limit", kib(tune.swap_hard_limit)),
    ];
    let (params, nparams) = with_room(all, args.nparams);
    Ok(DomainGetMemoryParametersRet { params, nparams })
}

async fn set_memory(client: Arc<Client>, args: DomainSetMemoryParametersArgs) -> Answer<()> {
    const KNOWN: &[(&str, Kind)] = &[
        ("hard_limit", Kind::Ullong),
        ("soft_limit", Kind::Ullong),
        ("swap_hard_limit", Kind::Ullong),
    ];
    let affect = affect_only(args.flags, "qemuDomainSetMemoryParameters")?;
    check(&args.params, KNOWN)?;
    let kib = |name| {
        let value = get_unsigned(&args.params, name)?;
        Some(Kib(value.min(MEMORY_UNLIMITED_KIB)))
    };
    let tune = MemTune {
        hard_limit: kib("hard_limit"),
        soft_limit: kib("soft_limit"),
        swap_hard_limit: kib("swap_hard_limit"),
        min_guarantee: None,
    };
    let handle = domain(&client, &args.dom)?;
    Ok(handle.tune(Tuning::Memory(Box::new(tune)), affect).await?)
}

/// The limits on devices by libvirt's names, each with the entry's field.
const DEVICE_LIMITS: [&str; 5] = [
    "device_weight",
    "device_read_iops_sec",
    "device_write_iops_sec",
    "device_read_bytes_sec",
    "device_write_bytes_sec",
];

fn device_limit(device: &BlkioDevice, name: &str) -> Option<u64> {
    match name {
        "device_weight" => device.weight.map(u64::from),
        "device_read_iops_sec" => device.read_iops_sec.map(u64::from),
        "device_write_iops_sec" => device.write_iops_sec.map(u64::from),
        "device_read_bytes_sec" => device.read_bytes_sec,
        _ => device.write_bytes_sec,
    }
}

fn set_device_limit(device: &mut BlkioDevice, name: &str, value: u64) -> Option<()> {
    let narrow = u32::try_from(value).ok();
    match name {
        "device_weight" => device.weight = Some(narrow?),
        "device_read_iops_sec" => device.read_iops_sec = Some(narrow?),
        "device_write_iops_sec" => device.write_iops_sec = Some(narrow?),
        "device_read_bytes_sec" => device.read_bytes_sec = Some(value),
        _ => device.write_bytes_sec = Some(value),
    }
    Some(())
}

async fn get_blkio(
    client: Arc<Client>,
    args: DomainGetBlkioParametersArgs,
) -> Answer<DomainGetBlkioParametersRet> {
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, live } = asked(&handle, args.flags, "qemuDomainGetBlkioParameters")?;
    let none = BlkioTune::default();
    let tune = definition.blkiotune.as_deref().unwrap_or(&none);
    let weight = match &live {
        Some(live) => u32::try_from(live.block_weight()?).unwrap_or(u32::MAX),
        None => tune.weight.unwrap_or(0),
    };
    let mut all = vec![TypedParam::new("weight", weight)];
    for name in DEVICE_LIMITS {
        let pairs = tune.devices.iter().filter_map(|device| {
            let value = device_limit(device, name).filter(|value| *value > 0)?;
            Some(format!("{},{value}", device.path.as_deref()?))
        });
        all.push(TypedParam::new(name, pairs.collect::<Vec<_>>().join(",")));
    }
    let (params, nparams) = with_room(all, args.nparams);
    Ok(DomainGetBlkioParametersRet { params, nparams })
}

async fn set_blkio(client: Arc<Client>, args: DomainSetBlkioParametersArgs) -> Answer<()> {
    const KNOWN: &[(&str, Kind)] = &[
        ("weight", Kind::Uint),
        ("device_weight", Kind::Text),
        ("device_read_iops_sec", Kind::Text),
        ("device_write_iops_sec", Kind::Text),
        ("device_read_bytes_sec", Kind::Text),
        ("device_write_bytes_sec", Kind::Text),
    ];
    let affect = affect_only(args.flags, "qemuDomainSetBlkioParameters")?;
    check(&args.params, KNOWN)?;
    let mut tune = BlkioTune {
        weight: get_unsigned(&args.params, "weight").and_then(|weight| weight.try_into().ok()),
        devices: Vec::new(),
    };
    for name in DEVICE_LIMITS {
        if let Some(text) = get_str(&args.params, name) {
            read_device_limits(&mut tune.devices, name, text)?;
        }
    }
    let handle = domain(&client, &args.dom)?;
    Ok(handle.tune(Tuning::Block(Box::new(tune)), affect).await?)
}

/// `/dev/sda,300,/dev/sdb,0`
fn read_device_limits(devices: &mut Vec<BlkioDevice>, name: &str, text: &str) -> Answer<()> {
    let wrong = || Failure::invalid_arg(format!("unable to parse blkio device '{name}' '{text}'"));
    let words: Vec<&str> = text.split(',').collect();
    for pair in words.chunks(2) {
        let [path, value] = pair else {
            return Err(wrong());
        };
        if !path.starts_with('/') {
            return Err(wrong());
        }
        let value: u64 = value.parse().map_err(|_| wrong())?;
        let known = devices.iter().position(|d| d.path.as_deref() == Some(path));
        let index = known.unwrap_or_else(|| {
            devices.push(BlkioDevice {
                path: Some((*path).to_owned()),
                ..BlkioDevice::default()
            });
            devices.len() - 1
        });
        set_device_limit(&mut devices[index], name, value).ok_or_else(wrong)?;
    }
    Ok(())
}

const NUMA_MODES: [NumaMode; 4] = [
    NumaMode::Strict,
    NumaMode::Preferred,
    NumaMode::Interleave,
    NumaMode::Restrictive,
];

async fn get_numa(
    client: Arc<Client>,
    args: DomainGetNumaParametersArgs,
) -> Answer<DomainGetNumaParametersRet> {
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, live } = asked(&handle, args.flags, "qemuDomainGetNumaParameters")?;
    let memory = definition
        .numatune
        .as_ref()
        .and_then(|tune| tune.memory.as_ref());
    let mode = memory
        .and_then(|memory| memory.mode)
        .unwrap_or(NumaMode::Strict);
    let mode = NUMA_MODES.iter().position(|m| *m == mode).unwrap_or(0);
    let bound = match (&live, memory) {
        (Some(live), Some(_)) => live.memory_nodes()?,
        _ => None,
    };
    let defined = memory.and_then(|memory| memory.nodeset.clone());
    let nodes = bound.or(defined).map(|nodes| nodes.to_string());
    let all = vec![
        TypedParam::new("numa_mode", mode as i32),
        TypedParam::new("numa_nodeset", nodes.unwrap_or_default()),
    ];
    let (params, nparams) = with_room(all, args.nparams);
    Ok(DomainGetNumaParametersRet { params, nparams })
}

async fn set_numa(client: Arc<Client>, args: DomainSetNumaParametersArgs) -> Answer<()> {
    const KNOWN: &[(&str, Kind)] = &[("numa_mode", Kind::Int), ("numa_nodeset", Kind::Text)];
    let affect = affect_only(args.flags, "qemuDomainSetNumaParameters")?;
    check(&args.params, KNOWN)?;
    let mode = signed(&args.params, "numa_mode");
    let mode = mode.map(|number| {
        let known = usize::try_from(number).ok().and_then(|n| NUMA_MODES.get(n));
        known
            .copied()
            .ok_or_else(|| Failure::invalid_arg(format!("unsupported numatune mode: '{number}'")))
    });
    let nodeset = get_str(&args.params, "numa_nodeset").map(|text| {
        IdSet::parse(text)
            .filter(|set| !set.0.is_empty())
            .ok_or_else(|| Failure::invalid_arg(format!("Failed to parse bitmap '{text}'")))
    });
    let memory = NumaMemory {
        mode: mode.transpose()?,
        nodeset: nodeset.transpose()?,
        placement: None,
    };
    let handle = domain(&client, &args.dom)?;
    Ok(handle.tune(Tuning::Numa(memory), affect).await?)
}

async fn get_interface(
    client: Arc<Client>,
    args: DomainGetInterfaceParametersArgs,
) -> Answer<DomainGetInterfaceParametersRet> {
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, .. } = asked(&handle, args.flags, "qemuDomainGetInterfaceParameters")?;
    let known = engine::tuning::interface(&definition, &args.device);
    // Clients ask for the number of parameters first, which all interfaces share.
    let bandwidth = match args.nparams {
        0 => known.ok().and_then(|interface| interface.bandwidth.clone()),
        _ => known?.bandwidth.clone(),
    };
    let bandwidth = bandwidth.unwrap_or_default();
    let inbound = bandwidth.inbound.unwrap_or_default();
    let outbound = bandwidth.outbound.unwrap_or_default();
    let one = |name: &str, value: Option<u64>| {
        TypedParam::new(name, u32::try_from(value.unwrap_or(0)).unwrap_or(u32::MAX))
    };
    let all = vec![
        one("inbound.average", inbound.average),
        one("inbound.peak", inbound.peak),
        one("inbound.burst", inbound.burst),
        one("inbound.floor", inbound.floor),
        one("outbound.average", outbound.average),
        one("outbound.peak", outbound.peak),
        one("outbound.burst", outbound.burst),
    ];
    let (params, nparams) = with_room(all, args.nparams);
    Ok(DomainGetInterfaceParametersRet { params, nparams })
}

async fn set_interface(client: Arc<Client>, args: DomainSetInterfaceParametersArgs) -> Answer<()> {
    let affect = affect_only(args.flags, "qemuDomainSetInterfaceParameters")?;
    let bandwidth = bandwidth(&args.params)?;
    let handle = domain(&client, &args.dom)?;
    let tuning = Tuning::Interface {
        device: args.device,
        bandwidth: Box::new(bandwidth),
    };
    Ok(handle.tune(tuning, affect).await?)
}

/// Limits of traffic from libvirt's parameters.
pub(super) fn bandwidth(params: &[TypedParam]) -> Answer<Bandwidth> {
    const KNOWN: &[(&str, Kind)] = &[
        ("inbound.average", Kind::Uint),
        ("inbound.peak", Kind::Uint),
        ("inbound.burst", Kind::Uint),
        ("inbound.floor", Kind::Uint),
        ("outbound.average", Kind::Uint),
        ("outbound.peak", Kind::Uint),
        ("outbound.burst", Kind::Uint),
    ];
    check(params, KNOWN)?;
    Ok(Bandwidth {
        inbound: direction(params, "inbound")?,
        outbound: direction(params, "outbound")?,
    })
}

fn direction(params: &[TypedParam], name: &str) -> Answer<Option<BandwidthLimit>> {
    let value = |what| get_unsigned(params, &format!("{name}.{what}"));
    let limit = BandwidthLimit {
        average: value("average"),
        peak: value("peak"),
        floor: value("floor"),
        burst: value("burst"),
    };
    if limit == BandwidthLimit::default() {
        return Ok(None);
    }
    let some = |value: Option<u64>| value.filter(|value| *value > 0);
    if some(limit.average).is_none() && some(limit.floor).is_none() {
        if some(limit.peak).is_some() || some(limit.burst).is_some() {
            return Err(Failure::invalid_arg(format!("{name} average is mandatory")));
        }
        return Ok(Some(BandwidthLimit::default()));
    }
    Ok(Some(BandwidthLimit {
        average: some(limit.average),
        peak: some(limit.peak),
        floor: some(limit.floor),
        burst: some(limit.burst),
    }))
}

async fn set_memory_stats_period(
    client: Arc<Client>,
    args: DomainSetMemoryStatsPeriodArgs,
) -> Answer<()> {
    let affect = affect_only(args.flags, "qemuDomainSetMemoryStatsPeriod")?;
    let seconds = u32::try_from(args.period).map_err(|_| {
        Failure::invalid_arg("period in virDomainSetMemoryStatsPeriod must be zero or greater")
    })?;
    let handle = domain(&client, &args.dom)?;
    Ok(handle.tune(Tuning::BalloonPeriod(seconds), affect).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_devices_are_pairs() {
        let mut devices = Vec::new();
        read_device_limits(&mut devices, "device_weight", "/dev/sda,300,/dev/sdb,0").unwrap();
        read_device_limits(&mut devices, "device_read_bytes_sec", "/dev/sda,5").unwrap();
        assert_eq!(devices.len(), 2);
        assert_eq!(
            (devices[0].weight, devices[0].read_bytes_sec),
            (Some(300), Some(5))
        );
        for wrong in ["", "/dev/sda", "sda,3", "/dev/sda,x", "/dev/sda,-1"] {
            assert!(read_device_limits(&mut devices, "device_weight", wrong).is_err());
        }
    }
}
