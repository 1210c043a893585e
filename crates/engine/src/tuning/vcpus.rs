//! Virtual processors that come and go.

use super::VcpuChange;
use super::threads::{are_tuned, initial_cpus, settle_vcpus};
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::{QMP_REPLY_TIMEOUT_MS, VCPU_UNPLUG_POLL_MS, VCPU_UNPLUG_TIMEOUT_MS};
use crate::live::LiveMachine;
use crate::monitor::Monitor;
use model::domain::Domain;
use model::domain::resources::{VcpuEntry, Vcpus};
use model::xml::YesNo;
use qemu::qmp::commands;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

fn invalid(message: String) -> EngineError {
    EngineError::new(ErrorKind::InvalidArgument, message)
}

/// The processors that are plugged in.
fn enabled(domain: &Domain) -> BTreeSet<u32> {
    match &domain.vcpus {
        Some(list) => {
            let on = list
                .vcpus
                .iter()
                .filter(|vcpu| vcpu.enabled != Some(YesNo::No));
            on.map(|vcpu| vcpu.id).collect()
        }
        None => (0..domain.vcpu.current()).collect(),
    }
}

fn yes_no(yes: bool) -> YesNo {
    if yes { YesNo::Yes } else { YesNo::No }
}

/// Whether the guest can be asked to let go of a processor.
fn can_go(domain: &Domain, id: u32) -> bool {
    let mut listed = domain.vcpus.iter().flat_map(|list| &list.vcpus);
    listed.any(|vcpu| vcpu.id == id && vcpu.hotpluggable == Some(YesNo::Yes))
}

pub(super) fn amend(domain: &mut Domain, change: &VcpuChange, running: bool) -> Result<()> {
    let present = enabled(domain);
    let wanted = wanted(domain, change, &present, running)?;
    for id in present.difference(&wanted) {
        let stays = *id == 0 || (running && !can_go(domain, *id));
        if stays && running {
            return Err(EngineError::new(
                ErrorKind::Unsupported,
                format!("vcpu '{id}' can't be unplugged"),
            ));
        } else if stays {
            return Err(invalid(format!("vCPU '{id}' can't be modified")));
        }
    }
    let fixed: BTreeSet<u32> = present
        .iter()
        .copied()
        .filter(|id| !can_go(domain, *id))
        .collect();
    let mut order = 0;
    let mut entry = |id: u32| {
        let on = wanted.contains(&id);
        order += u32::from(on);
        VcpuEntry {
            id,
            enabled: Some(yes_no(on)),
            hotpluggable: Some(yes_no(!(on && fixed.contains(&id)))),
            order: (on && running).then_some(order),
        }
    };
    let count = domain.vcpu.count();
    let vcpus = (0..count).map(&mut entry).collect();
    let on = u32::try_from(wanted.len()).unwrap_or(count);
    domain.vcpu.current = (on < count).then_some(on);
    domain.vcpus = Some(Vcpus { vcpus });
    Ok(())
}

fn wanted(
    domain: &Domain,
    change: &VcpuChange,
    present: &BTreeSet<u32>,
    running: bool,
) -> Result<BTreeSet<u32>> {
    let most = domain.vcpu.count();
    let which = if running { "live" } else { "persistent" };
    match change {
        VcpuChange::Count(count) => {
            if *count > most {
                return Err(invalid(format!(
                    "requested vcpus is greater than max allowable vcpus for the {which} domain: {count} > {most}"
                )));
            }
            let mut wanted = present.clone();
            let mut free = (0..most).filter(|id| !present.contains(id));
            while wanted.len() < *count as usize {
                wanted.extend(free.next());
            }
            while wanted.len() > *count as usize {
                wanted.pop_last();
            }
            Ok(wanted)
        }
        VcpuChange::These { ids, on } => {
            if let Some(id) = ids.0.iter().find(|id| **id >= most) {
                return Err(invalid(format!(
                    "vcpu {id} is not present in {which} config"
                )));
            }
            let mut wanted = present.clone();
            match on {
                true => wanted.extend(&ids.0),
                false => wanted.retain(|id| !ids.0.contains(id)),
            }
            Ok(wanted)
        }
    }
}

/// Plugs processors in and out until the machine has those of its definition.
pub(super) async fn enact(live: &LiveMachine, after: &Domain) -> Result<()> {
    let present = running(live).await?;
    let wanted = enabled(after);
    let new: Vec<u32> = wanted.difference(&present).copied().collect();
    if !new.is_empty() {
        plug(live.monitor()?, &new).await?;
        if are_tuned(after) || initial_cpus(after).is_some() {
            let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
            let (pid, group) = (live.process.id().pid, live.cgroup.as_ref());
            settle_vcpus(pid, live.monitor()?, group, after, &new, timeout).await?;
        }
    }
    for id in present.difference(&wanted) {
        unplug(live, *id).await?;
    }
    Ok(())
}

async fn running(live: &LiveMachine) -> Result<BTreeSet<u32>> {
    let cpus = live
        .monitor()?
        .execute(&commands::query_cpus_fast())
        .await?;
    Ok(cpus.iter().map(|cpu| cpu.cpu_index).collect())
}

/// Plugs processors into a QEMU that runs.
pub(crate) async fn plug(monitor: &Monitor, numbers: &[u32]) -> Result<()> {
    let answer = monitor
        .execute(&commands::query_hotpluggable_cpus())
        .await?;
    // QEMU lists them from the last to the first.
    let slots: Vec<&Value> = answer.as_array().into_iter().flatten().rev().collect();
    for number in numbers {
        let slot = slots
            .get(*number as usize)
            .filter(|slot| slot["vcpus-count"] == 1);
        let driver = slot.and_then(|slot| slot["type"].as_str());
        let (Some(slot), Some(driver)) = (slot, driver) else {
            return Err(EngineError::new(
                ErrorKind::Unsupported,
                format!("this machine type has no slot for vcpu {number} alone"),
            ));
        };
        let mut properties = slot["props"].as_object().cloned().unwrap_or_else(Map::new);
        properties.insert("driver".to_owned(), driver.into());
        properties.insert("id".to_owned(), format!("vcpu{number}").into());
        monitor.execute(&commands::device_add(properties)).await?;
    }
    Ok(())
}

/// Asks the guest to let go of a processor and waits a while until it has.
async fn unplug(live: &LiveMachine, number: u32) -> Result<()> {
    let command = commands::device_del(&format!("vcpu{number}"));
    live.monitor()?.execute(&command).await?;
    let deadline = Instant::now() + Duration::from_millis(VCPU_UNPLUG_TIMEOUT_MS);
    while running(live).await?.contains(&number) {
        if Instant::now() >= deadline {
            return Err(EngineError::new(
                ErrorKind::OperationTimeout,
                "vcpu unplug request timed out. Unplug result must be manually inspected in the domain",
            ));
        }
        tokio::time::sleep(Duration::from_millis(VCPU_UNPLUG_POLL_MS)).await;
    }
    Ok(())
}
