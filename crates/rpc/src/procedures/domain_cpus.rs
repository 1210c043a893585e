//! A machine's processors, and the host's processors they may run on.
//!
//! Of a running machine the kernel is asked where its threads may run; of another the definition
//! says it.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::DomainHandle;
use engine::stats::{StatsWanted, VcpuFigures};
use engine::tuning::Tuning;
use model::domain::Domain;
use model::domain::id_set::IdSet;
use sys::host::{Host, parse_list};
use wire::consts::domain::VIR_VCPU_RUNNING;
use wire::consts::flags::VIR_DOMAIN_AFFECT_LIVE;
use wire::remote::*;

use super::node::host_failure;
use super::parameters::{Asked, affect_only, asked};
use super::{domain, not_negative, positive};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// Bytes of all maps of one answer, at most.
const MAPS_MAX_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_vcpus);
    dispatch.task(get_vcpu_pin_info);
    dispatch.task(get_emulator_pin_info);
    dispatch.task(get_iothread_info);
    dispatch.task(|client, args: DomainPinVcpuArgs| {
        pin_vcpu(
            client,
            args.dom,
            args.vcpu,
            args.cpumap,
            VIR_DOMAIN_AFFECT_LIVE,
        )
    });
    dispatch.task(|client, args: DomainPinVcpuFlagsArgs| {
        pin_vcpu(client, args.dom, args.vcpu, args.cpumap, args.flags)
    });
    dispatch.task(|client, args: DomainPinEmulatorArgs| async move {
        let tuning = Tuning::PinEmulator(pinned_to(&args.cpumap)?);
        pin(
            &client,
            &args.dom,
            tuning,
            args.flags,
            "qemuDomainPinEmulator",
        )
        .await
    });
    dispatch.task(|client, args: DomainPinIothreadArgs| async move {
        let tuning = Tuning::PinIothread {
            iothread: args.iothreads_id,
            cpus: pinned_to(&args.cpumap)?,
        };
        pin(
            &client,
            &args.dom,
            tuning,
            args.flags,
            "qemuDomainPinIOThread",
        )
        .await
    });
}

type Cpus = BTreeSet<u32>;

/// The set as libvirt's bitmap of `length` bytes; what does not fit is left out.
fn bitmap(cpus: &Cpus, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for cpu in cpus {
        if let Some(byte) = bytes.get_mut(*cpu as usize / 8) {
            *byte |= 1 << (cpu % 8);
        }
    }
    bytes
}

fn bitmaps(sets: &[Cpus], length: usize) -> Answer<Vec<u8>> {
    if sets.len().saturating_mul(length) > MAPS_MAX_BYTES {
        return Err(Failure::invalid_arg(format!(
            "{} maps of {length} bytes are more than an answer holds",
            sets.len()
        )));
    }
    Ok(sets.iter().flat_map(|set| bitmap(set, length)).collect())
}

fn all_cpus() -> Answer<Cpus> {
    let map = Host::new().cpu_map().map_err(host_failure)?;
    Ok(map.online.into_iter().collect())
}

/// libvirt's bitmap as a set of the host's processors.
fn pinned_to(map: &[u8]) -> Answer<IdSet> {
    let online = all_cpus()?;
    let set =
        (0..map.len() as u32 * 8).filter(|cpu| map[*cpu as usize / 8] & (1 << (cpu % 8)) != 0);
    // Clients send all bits for "anywhere".
    Ok(IdSet(set.filter(|cpu| online.contains(cpu)).collect()))
}

async fn pin_vcpu(
    client: Arc<Client>,
    dom: RemoteDomain,
    vcpu: u32,
    map: Vec<u8>,
    flags: u32,
) -> Answer<()> {
    let cpus = pinned_to(&map)?;
    pin(
        &client,
        &dom,
        Tuning::PinVcpu { vcpu, cpus },
        flags,
        "qemuDomainPinVcpuFlags",
    )
    .await
}

async fn pin(
    client: &Client,
    dom: &RemoteDomain,
    tuning: Tuning,
    flags: u32,
    function: &str,
) -> Answer<()> {
    let affect = affect_only(flags, function)?;
    Ok(domain(client, dom)?.tune(tuning, affect).await?)
}

/// Where the kernel lets a thread run; everywhere if it does not tell.
fn allowed(pid: u32, thread: i32) -> Answer<Cpus> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/status"));
    let list = status.ok().and_then(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        parse_list(line.trim())
    });
    let online = all_cpus()?;
    Ok(match list {
        Some(list) => list
            .into_iter()
            .filter(|cpu| online.contains(cpu))
            .collect(),
        None => online,
    })
}

async fn vcpus(handle: &DomainHandle) -> Vec<VcpuFigures> {
    let wanted = StatsWanted {
        vcpu: true,
        ..StatsWanted::default()
    };
    handle.stats(wanted).await.vcpus
}

async fn get_vcpus(client: Arc<Client>, args: DomainGetVcpusArgs) -> Answer<DomainGetVcpusRet> {
    let max = positive(args.maxinfo, "maxinfo", "virDomainGetVcpus")?;
    let length = not_negative(args.maplen, "maplen", "virDomainGetVcpus")?;
    let handle = domain(&client, &args.dom)?;
    let live = handle.live().map_err(|_| {
        Failure::operation_invalid("cannot retrieve vcpu information for inactive domain")
    })?;
    let figures: Vec<VcpuFigures> = vcpus(&handle).await.into_iter().take(max).collect();
    let sets = figures
        .iter()
        .map(|vcpu| allowed(live.pid(), vcpu.thread))
        .collect::<Answer<Vec<Cpus>>>()?;
    Ok(DomainGetVcpusRet {
        info: figures
            .iter()
            .map(|vcpu| VcpuInfo {
                number: vcpu.number,
                state: VIR_VCPU_RUNNING,
                cpu_time: vcpu.time_ns,
                cpu: i32::try_from(vcpu.host_cpu).unwrap_or(-1),
            })
            .collect(),
        cpumaps: bitmaps(&sets, length)?,
    })
}

/// Where the definition lets the machine run as a whole.
fn defined(definition: &Domain, own: Option<&IdSet>) -> Answer<Cpus> {
    match own.or(definition.vcpu.cpuset.as_ref()) {
        Some(set) => Ok(set.0.clone()),
        None => all_cpus(),
    }
}

async fn get_vcpu_pin_info(
    client: Arc<Client>,
    args: DomainGetVcpuPinInfoArgs,
) -> Answer<DomainGetVcpuPinInfoRet> {
    const FUNCTION: &str = "virDomainGetVcpuPinInfo";
    let max = positive(args.ncpumaps, "ncpumaps", FUNCTION)?;
    let length = positive(args.maplen, "maplen", FUNCTION)?;
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, live } = asked(&handle, args.flags, "qemuDomainGetVcpuPinInfo")?;
    let running = match live {
        Some(live) => (live.pid(), vcpus(&handle).await),
        None => (0, Vec::new()),
    };
    let pins = definition.cputune.as_ref().map(|tune| &tune.vcpu_pins);
    let one = |vcpu| match running.1.iter().find(|figure| figure.number == vcpu) {
        Some(figure) => allowed(running.0, figure.thread),
        // One that is not plugged in has no thread yet.
        None => {
            let pin = pins.and_then(|pins| pins.iter().find(|pin| pin.vcpu == vcpu));
            defined(&definition, pin.map(|pin| &pin.cpuset))
        }
    };
    let sets = (0..definition.vcpu.count())
        .take(max)
        .map(one)
        .collect::<Answer<Vec<Cpus>>>()?;
    Ok(DomainGetVcpuPinInfoRet {
        num: sets.len() as i32,
        cpumaps: bitmaps(&sets, length)?,
    })
}

async fn get_emulator_pin_info(
    client: Arc<Client>,
    args: DomainGetEmulatorPinInfoArgs,
) -> Answer<DomainGetEmulatorPinInfoRet> {
    let length = positive(args.maplen, "maplen", "virDomainGetEmulatorPinInfo")?;
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, live } = asked(&handle, args.flags, "qemuDomainGetEmulatorPinInfo")?;
    let set = if let Some(live) = live {
        let pid = live.pid();
        allowed(pid, i32::try_from(pid).unwrap_or(0))?
    } else {
        let tune = definition.cputune.as_ref();
        let pin = tune.and_then(|tune| tune.emulator_pin.as_ref());
        defined(&definition, pin.map(|pin| &pin.cpuset))?
    };
    Ok(DomainGetEmulatorPinInfoRet {
        cpumaps: bitmaps(&[set], length)?,
        ret: 1,
    })
}

async fn get_iothread_info(
    client: Arc<Client>,
    args: DomainGetIothreadInfoArgs,
) -> Answer<DomainGetIothreadInfoRet> {
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, live } = asked(&handle, args.flags, "qemuDomainGetIOThreadInfo")?;
    let length = Host::new().cpu_map().map_err(host_failure)?.present;
    let length = (length as usize).div_ceil(8);
    let pins = definition.cputune.as_ref().map(|tune| &tune.iothread_pins);
    let mut info = Vec::new();
    for id in definition.iothread_numbers() {
        let cpus = match &live {
            Some(live) => {
                let threads = live.iothreads().await?;
                let Some(thread) = threads.get(&id) else {
                    continue;
                };
                allowed(live.pid(), *thread)?
            }
            None => {
                let pin = pins.and_then(|pins| pins.iter().find(|pin| pin.iothread == id));
                defined(&definition, pin.map(|pin| &pin.cpuset))?
            }
        };
        info.push(DomainIothreadInfo {
            iothread_id: id,
            cpumap: bitmap(&cpus, length),
        });
    }
    let ret = info.len() as u32;
    Ok(DomainGetIothreadInfoRet { info, ret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_have_the_length_asked_for() {
        let set = Cpus::from([0, 9, 200]);
        assert_eq!(bitmap(&set, 2), [1, 2]);
        assert!(bitmap(&set, 0).is_empty());
        assert!(bitmaps(&vec![set; 5000], 2048).is_err());
    }
}
