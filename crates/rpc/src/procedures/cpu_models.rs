//! Models of processors: their names, comparison, what several have in common.

use std::sync::Arc;

use engine::{CommonCpu, CpuRelation, Incompatible, MachineQuestion};
use model::schema::Schema;
use wire::remote::*;

use super::{check_flags, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

const FAIL_INCOMPATIBLE: u32 = 1;
const VALIDATE_XML: u32 = 2;
const EXPAND_FEATURES: u32 = 1;
const MIGRATABLE: u32 = 2;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_cpu_model_names);
    dispatch.task(compare_cpu);
    dispatch.task(compare_hypervisor_cpu);
    dispatch.task(baseline_cpu);
    dispatch.task(baseline_hypervisor_cpu);
}

async fn get_cpu_model_names(
    client: Arc<Client>,
    args: ConnectGetCpuModelNamesArgs,
) -> Answer<ConnectGetCpuModelNamesRet> {
    check_flags(args.flags, 0, "virConnectGetCPUModelNames")?;
    let mut models = client.engine.cpu_model_names(&args.arch).await?;
    let ret = i32::try_from(models.len()).unwrap_or(i32::MAX);
    if args.need_results == 0 {
        models.clear();
    }
    Ok(ConnectGetCpuModelNamesRet { models, ret })
}

fn otherwise(flags: u32, xml: &str, function: &str) -> Answer<Incompatible> {
    check_flags(flags, FAIL_INCOMPATIBLE | VALIDATE_XML, function)?;
    validate(flags, VALIDATE_XML, Schema::Cpu, xml)?;
    Ok(match flags & FAIL_INCOMPATIBLE {
        0 => Incompatible::IsAnAnswer,
        _ => Incompatible::IsAFailure,
    })
}

fn number(relation: CpuRelation) -> i32 {
    match relation {
        CpuRelation::Incompatible => 0,
        CpuRelation::Identical => 1,
        CpuRelation::Superset => 2,
    }
}

async fn compare_cpu(
    client: Arc<Client>,
    args: ConnectCompareCpuArgs,
) -> Answer<ConnectCompareCpuRet> {
    let otherwise = otherwise(args.flags, &args.xml, "virConnectCompareCPU")?;
    let relation = client.engine.compare_cpu(&args.xml, otherwise).await?;
    let result = number(relation);
    Ok(ConnectCompareCpuRet { result })
}

async fn compare_hypervisor_cpu(
    client: Arc<Client>,
    args: ConnectCompareHypervisorCpuArgs,
) -> Answer<ConnectCompareHypervisorCpuRet> {
    let otherwise = otherwise(args.flags, &args.xml_cpu, "virConnectCompareHypervisorCPU")?;
    let question = question(args.emulator, args.arch, args.machine, args.virttype);
    let compared = client
        .engine
        .compare_hypervisor_cpu(&question, &args.xml_cpu, otherwise);
    let result = number(compared.await?);
    Ok(ConnectCompareHypervisorCpuRet { result })
}

fn common(flags: u32, function: &str) -> Answer<CommonCpu> {
    check_flags(flags, EXPAND_FEATURES | MIGRATABLE, function)?;
    Ok(CommonCpu {
        expand: flags & EXPAND_FEATURES != 0,
        migratable: flags & MIGRATABLE != 0,
    })
}

async fn baseline_cpu(
    client: Arc<Client>,
    args: ConnectBaselineCpuArgs,
) -> Answer<ConnectBaselineCpuRet> {
    let how = common(args.flags, "virConnectBaselineCPU")?;
    let cpu = client.engine.baseline_cpu(&args.xml_cpus, how).await?;
    Ok(ConnectBaselineCpuRet { cpu })
}

async fn baseline_hypervisor_cpu(
    client: Arc<Client>,
    args: ConnectBaselineHypervisorCpuArgs,
) -> Answer<ConnectBaselineHypervisorCpuRet> {
    let how = common(args.flags, "virConnectBaselineHypervisorCPU")?;
    let question = question(args.emulator, args.arch, args.machine, args.virttype);
    let found = client
        .engine
        .baseline_hypervisor_cpu(&question, &args.xml_cpus, how);
    let cpu = found.await?;
    Ok(ConnectBaselineHypervisorCpuRet { cpu })
}

fn question(
    emulator: Option<String>,
    arch: Option<String>,
    machine: Option<String>,
    domain_type: Option<String>,
) -> MachineQuestion {
    MachineQuestion {
        emulator: emulator.map(Into::into),
        arch,
        machine,
        domain_type,
    }
}
