//! A machine's processors, and the host's processors they may run on.
//!
//! Of a running machine the kernel is asked where its threads may run; of another the definition
//! says it.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::DomainHandle;
use engine::stats::{StatsWanted, VcpuFigures};
use model::domain::Domain;
use model::domain::id_set::IdSet;
use sys::host::{Host, parse_list};
use wire::consts::domain::VIR_VCPU_RUNNING;
use wire::consts::flags::{VIR_DOMAIN_AFFECT_CONFIG, VIR_DOMAIN_AFFECT_LIVE};
use wire::remote::*;

use super::node::host_failure;
use super::{check_flags, domain, not_negative, positive};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// Bytes of all maps of one answer, at most.
const MAPS_MAX_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_vcpus);
    dispatch.task(get_vcpu_pin_info);
    dispatch.task(get_emulator_pin_info);
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

/// Whether the running machine is asked about; else its definition.
fn asks_live(handle: &DomainHandle, flags: u32, function: &str) -> Answer<bool> {
    check_flags(
        flags,
        VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG,
        function,
    )?;
    super::exclusive_flags(
        flags,
        (VIR_DOMAIN_AFFECT_LIVE, "VIR_DOMAIN_AFFECT_LIVE"),
        (VIR_DOMAIN_AFFECT_CONFIG, "VIR_DOMAIN_AFFECT_CONFIG"),
    )?;
    if flags & VIR_DOMAIN_AFFECT_LIVE != 0 {
        handle.live()?;
    }
    Ok(flags & VIR_DOMAIN_AFFECT_CONFIG == 0 && handle.view().is_active())
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
    let sets = if asks_live(&handle, args.flags, "qemuDomainGetVcpuPinInfo")? {
        let pid = handle.live()?.pid();
        let figures = vcpus(&handle).await;
        let threads = figures.iter().take(max);
        threads
            .map(|vcpu| allowed(pid, vcpu.thread))
            .collect::<Answer<Vec<Cpus>>>()?
    } else {
        let definition = handle.definition()?;
        let pins = definition.cputune.as_ref().map(|tune| &tune.vcpu_pins);
        let pin_of = |vcpu| {
            let pin = pins?.iter().find(|pin| pin.vcpu == vcpu);
            pin.map(|pin| &pin.cpuset)
        };
        (0..definition.vcpu.count())
            .take(max)
            .map(|vcpu| defined(&definition, pin_of(vcpu)))
            .collect::<Answer<Vec<Cpus>>>()?
    };
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
    let set = if asks_live(&handle, args.flags, "qemuDomainGetEmulatorPinInfo")? {
        let pid = handle.live()?.pid();
        allowed(pid, i32::try_from(pid).unwrap_or(0))?
    } else {
        let definition = handle.definition()?;
        let tune = definition.cputune.as_ref();
        let pin = tune.and_then(|tune| tune.emulator_pin.as_ref());
        defined(&definition, pin.map(|pin| &pin.cpuset))?
    };
    Ok(DomainGetEmulatorPinInfoRet {
        cpumaps: bitmaps(&[set], length)?,
        ret: 1,
    })
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
