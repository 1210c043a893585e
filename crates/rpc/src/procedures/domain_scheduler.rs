//! Shares and bandwidths of processor time, and the processor time used.

use std::sync::Arc;

use engine::stats::StatsWanted;
use engine::tuning::{CPU_PERIOD_DEFAULT_US, Tuning, bandwidths};
use model::domain::resources::CpuTune;
use wire::consts::flags::*;
use wire::remote::*;
use wire::typed_params::get_unsigned;

use super::parameters::{Asked, Kind, affect_only, asked, check, signed};
use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// Shares, and period and quota of each of four parts.
const SCHEDULER_PARAMETERS: i32 = 9;
/// What a machine's processor time on one processor is told by.
const CPU_STATS_TOTAL: i32 = 3;
const CPU_STATS_EACH: i32 = 1;

const PERIOD_MIN_US: u64 = 1_000;
const PERIOD_MAX_US: u64 = 1_000_000;
const QUOTA_MIN_US: i64 = 1_000;
const QUOTA_MAX_US: i64 = 17_592_186_044_415;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(get_type);
    dispatch.task(
        |client, args: DomainGetSchedulerParametersArgs| async move {
            let params = get(&client, &args.dom, args.nparams, 0)?;
            Ok(DomainGetSchedulerParametersRet { params })
        },
    );
    dispatch.task(
        |client, args: DomainGetSchedulerParametersFlagsArgs| async move {
            let params = get(&client, &args.dom, args.nparams, args.flags)?;
            Ok(DomainGetSchedulerParametersFlagsRet { params })
        },
    );
    dispatch.task(|client, args: DomainSetSchedulerParametersArgs| {
        set(client, args.dom, args.params, 0)
    });
    dispatch.task(|client, args: DomainSetSchedulerParametersFlagsArgs| {
        set(client, args.dom, args.params, args.flags)
    });
    dispatch.task(get_cpu_stats);
}

fn get_type(
    client: &Client,
    args: DomainGetSchedulerTypeArgs,
) -> Answer<DomainGetSchedulerTypeRet> {
    domain(client, &args.dom)?;
    Ok(DomainGetSchedulerTypeRet {
        kind: "posix".to_owned(),
        nparams: SCHEDULER_PARAMETERS,
    })
}

fn get(client: &Client, dom: &RemoteDomain, room: i32, flags: u32) -> Answer<Vec<TypedParam>> {
    let handle = domain(client, dom)?;
    let Asked { definition, live } =
        asked(&handle, flags, "qemuDomainGetSchedulerParametersFlags")?;
    let none = CpuTune::default();
    let tune = definition.cputune.as_deref().unwrap_or(&none);
    let shares = match &live {
        Some(live) => live.cpu_shares()?,
        None => tune.shares.unwrap_or(0),
    };
    let (period, quota) = match &live {
        Some(_) => (CPU_PERIOD_DEFAULT_US, -1),
        None => (0, 0),
    };
    let mut params = vec![TypedParam::new("cpu_shares", shares)];
    for part in bandwidths(tune) {
        let name = part.part;
        params.push(TypedParam::new(
            format!("{name}_period"),
            part.period_us.unwrap_or(period),
        ));
        params.push(TypedParam::new(
            format!("{name}_quota"),
            part.quota_us.unwrap_or(quota),
        ));
    }
    params.truncate(usize::try_from(room).unwrap_or(0));
    Ok(params)
}

async fn set(
    client: Arc<Client>,
    dom: RemoteDomain,
    params: Vec<TypedParam>,
    flags: u32,
) -> Answer<()> {
    const KNOWN: &[(&str, Kind)] = &[
        ("cpu_shares", Kind::Ullong),
        ("vcpu_period", Kind::Ullong),
        ("vcpu_quota", Kind::Llong),
        ("global_period", Kind::Ullong),
        ("global_quota", Kind::Llong),
        ("emulator_period", Kind::Ullong),
        ("emulator_quota", Kind::Llong),
        ("iothread_period", Kind::Ullong),
        ("iothread_quota", Kind::Llong),
    ];
    let affect = affect_only(flags, "qemuDomainSetSchedulerParametersFlags")?;
    check(&params, KNOWN)?;
    let tune = CpuTune {
        shares: get_unsigned(&params, "cpu_shares"),
        period: period(&params, "vcpu_period")?,
        quota: quota(&params, "vcpu_quota")?,
        global_period: period(&params, "global_period")?,
        global_quota: quota(&params, "global_quota")?,
        emulator_period: period(&params, "emulator_period")?,
        emulator_quota: quota(&params, "emulator_quota")?,
        iothread_period: period(&params, "iothread_period")?,
        iothread_quota: quota(&params, "iothread_quota")?,
        ..CpuTune::default()
    };
    let handle = domain(&client, &dom)?;
    Ok(handle.tune(Tuning::Cpu(Box::new(tune)), affect).await?)
}

/// A period that may be set; 0 leaves it as it is.
fn period(params: &[TypedParam], name: &str) -> Answer<Option<u64>> {
    match get_unsigned(params, name) {
        None | Some(0) => Ok(None),
        Some(us) if (PERIOD_MIN_US..=PERIOD_MAX_US).contains(&us) => Ok(Some(us)),
        Some(_) => Err(out_of_range(
            name,
            PERIOD_MIN_US as i64,
            PERIOD_MAX_US as i64,
        )),
    }
}

/// A quota that may be set: negative for none, 0 leaves it as it is.
fn quota(params: &[TypedParam], name: &str) -> Answer<Option<i64>> {
    match signed(params, name) {
        None | Some(0) => Ok(None),
        Some(us) if us < 0 || (QUOTA_MIN_US..=QUOTA_MAX_US).contains(&us) => Ok(Some(us)),
        Some(_) => Err(out_of_range(name, QUOTA_MIN_US, QUOTA_MAX_US)),
    }
}

fn out_of_range(name: &str, min: i64, max: i64) -> Failure {
    Failure::invalid_arg(format!("value of '{name}' is out of range [{min}, {max}]"))
}

/// Processor time in all (`start_cpu` −1) or on each of the host's processors.
async fn get_cpu_stats(
    client: Arc<Client>,
    args: DomainGetCpuStatsArgs,
) -> Answer<DomainGetCpuStatsRet> {
    check_flags(
        args.flags,
        VIR_TYPED_PARAM_STRING_OKAY,
        "qemuDomainGetCPUStats",
    )?;
    let handle = domain(&client, &args.dom)?;
    let live = handle.live()?;
    let answer = |params, nparams| Ok(DomainGetCpuStatsRet { params, nparams });
    if args.start_cpu == -1 {
        if args.nparams == 0 {
            return answer(Vec::new(), CPU_STATS_TOTAL);
        }
        let wanted = StatsWanted {
            cpu: true,
            ..StatsWanted::default()
        };
        let cpu = handle.stats(wanted).await.cpu.unwrap_or_default();
        let mut params = vec![
            TypedParam::new("cpu_time", cpu.time_ns),
            TypedParam::new("user_time", cpu.user_ns),
            TypedParam::new("system_time", cpu.system_ns),
        ];
        params.truncate(args.nparams as usize);
        let told = params.len() as i32;
        return answer(params, told);
    }
    let Ok(first) = usize::try_from(args.start_cpu) else {
        return Err(Failure::invalid_arg(
            "start_cpu in virDomainGetCPUStats must be -1 or more",
        ));
    };
    let times = live.cpu_times()?;
    if args.ncpus == 0 {
        return answer(Vec::new(), i32::try_from(times.len()).unwrap_or(i32::MAX));
    }
    if args.nparams == 0 {
        return answer(Vec::new(), CPU_STATS_EACH);
    }
    if first >= times.len() {
        return Err(Failure::invalid_arg(format!(
            "start_cpu {first} larger than maximum of {}",
            times.len().saturating_sub(1)
        )));
    }
    // One list for all: libvirt's clients take it apart by the number of parameters.
    let asked = times.iter().skip(first).take(args.ncpus as usize);
    let params = asked
        .map(|time| TypedParam::new("cpu_time", *time))
        .collect();
    answer(params, CPU_STATS_EACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_quotas_have_bounds() {
        let of = |name: &str, value: i64| quota(&[TypedParam::new(name, value)], name);
        assert_eq!(of("vcpu_quota", -1).unwrap(), Some(-1));
        assert_eq!(of("vcpu_quota", 0).unwrap(), None);
        assert_eq!(of("vcpu_quota", 1_000).unwrap(), Some(1_000));
        assert!(of("vcpu_quota", 999).is_err());
        let of = |value: u64| period(&[TypedParam::new("p", value)], "p");
        assert!(of(999).is_err() && of(1_000_001).is_err());
        assert_eq!(of(50_000).unwrap(), Some(50_000));
    }
}
