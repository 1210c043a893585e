//! I/O threads that come, go and change.

use super::threads::place_iothread;
use super::{IothreadSettings, groups};
use crate::error::{EngineError, ErrorKind, Result};
use crate::live::LiveMachine;
use model::domain::Domain;
use model::domain::resources::{IothreadId, IothreadPoll};
use qemu::qmp::commands;
use serde_json::{Map, Value};

fn invalid(message: String) -> EngineError {
    EngineError::new(ErrorKind::InvalidArgument, message)
}

pub(super) fn add(domain: &mut Domain, id: u32) -> Result<()> {
    if domain.has_iothread(id) {
        return Err(invalid(format!(
            "an IOThread is already using iothread_id '{id}'"
        )));
    }
    domain.name_iothreads();
    let threads = &mut domain.iothread_ids.get_or_insert_default().iothreads;
    threads.push(IothreadId {
        id,
        ..IothreadId::default()
    });
    domain.iothreads = u32::try_from(threads.len()).ok();
    Ok(())
}

pub(super) fn remove(domain: &mut Domain, id: u32) -> Result<()> {
    if !domain.has_iothread(id) {
        return Err(invalid(format!(
            "cannot find IOThread '{id}' in iothreadids list"
        )));
    }
    if let Some(user) = user_of(domain, id) {
        return Err(EngineError::invalid(format!(
            "cannot remove IOThread {id} since it is being used by {user}"
        )));
    }
    domain.name_iothreads();
    if let Some(ids) = &mut domain.iothread_ids {
        ids.iothreads.retain(|thread| thread.id != id);
        let left = u32::try_from(ids.iothreads.len()).unwrap_or(0);
        domain.iothreads = (left > 0).then_some(left);
        if left == 0 {
            domain.iothread_ids = None;
        }
    }
    if let Some(tune) = &mut domain.cputune {
        tune.iothread_pins.retain(|pin| pin.iothread != id);
        tune.iothread_scheds
            .retain(|sched| !sched.iothreads.0.contains(&id));
    }
    Ok(())
}

/// The device whose requests an I/O thread serves.
fn user_of(domain: &Domain, id: u32) -> Option<String> {
    let devices = &domain.devices;
    let disk = devices.disks.iter().find(|disk| {
        disk.driver.as_ref().is_some_and(|driver| {
            let mapped = driver.iothreads.as_ref();
            driver.iothread == Some(id)
                || mapped.is_some_and(|m| m.iothreads.iter().any(|queue| queue.id == id))
        })
    });
    if let Some(disk) = disk {
        return Some(format!("disk '{}'", disk.target_dev()));
    }
    let controller = devices.controllers.iter().find(|controller| {
        controller
            .driver
            .as_ref()
            .and_then(|driver| driver.iothread)
            == Some(id)
    });
    controller.map(|controller| {
        let alias = controller.info.alias.as_deref().unwrap_or("scsi");
        format!("controller '{alias}'")
    })
}

pub(super) fn set(domain: &mut Domain, id: u32, settings: &IothreadSettings) -> Result<()> {
    if !domain.has_iothread(id) {
        return Err(invalid(format!(
            "cannot find IOThread '{id}' in iothreadids"
        )));
    }
    domain.name_iothreads();
    let mut threads = domain
        .iothread_ids
        .iter_mut()
        .flat_map(|ids| &mut ids.iothreads);
    let Some(thread) = threads.find(|thread| thread.id == id) else {
        return Ok(());
    };
    let min = settings.pool_min.or(thread.pool_min).unwrap_or(0);
    let max = settings.pool_max.or(thread.pool_max);
    if max.is_some_and(|max| max >= 0 && min > max) {
        return Err(invalid(format!(
            "thread_pool_min must be smaller or equal to thread_pool_max for iothread {id}"
        )));
    }
    thread.pool_min = settings.pool_min.or(thread.pool_min);
    thread.pool_max = settings.pool_max.or(thread.pool_max);
    if settings
        .poll_max
        .or(settings.poll_grow)
        .or(settings.poll_shrink)
        .is_some()
    {
        let poll = thread.poll.get_or_insert_with(IothreadPoll::default);
        poll.max = settings.poll_max.or(poll.max);
        poll.grow = settings.poll_grow.or(poll.grow);
        poll.shrink = settings.poll_shrink.or(poll.shrink);
    }
    Ok(())
}

/// Makes a new I/O thread in a running machine.
pub(super) async fn make(live: &LiveMachine, after: &Domain, id: u32) -> Result<()> {
    let command = commands::object_add("iothread", &format!("iothread{id}"), Map::new());
    live.monitor()?.execute(&command).await?;
    let threads = live.iothreads().await?;
    let Some(thread) = threads.get(&id) else {
        return Ok(());
    };
    if super::threads::are_tuned(after) || super::threads::initial_cpus(after).is_some() {
        place_iothread(after, id, *thread)?;
    }
    let Some(tune) = after.cputune.as_deref() else {
        return Ok(());
    };
    if tune.iothread_period.is_none() && tune.iothread_quota.is_none() {
        return Ok(());
    }
    let group = groups::needed(live.cgroup.as_ref(), sys::cgroup::Controller::Cpu)?;
    let own = group
        .thread_group(&format!("iothread{id}"))
        .map_err(groups::failed)?;
    groups::set_bandwidth(&own, tune.iothread_period, tune.iothread_quota)?;
    own.add_thread(*thread).map_err(groups::failed)
}

/// Ends an I/O thread of a running machine.
pub(super) async fn end(live: &LiveMachine, id: u32) -> Result<()> {
    let command = commands::object_del(&format!("iothread{id}"));
    live.monitor()?.execute(&command).await.map(drop)
}

/// Changes an I/O thread of a running machine.
pub(super) async fn change(live: &LiveMachine, id: u32, settings: &IothreadSettings) -> Result<()> {
    let path = format!("/objects/iothread{id}");
    let properties: [(&str, Option<Value>); 5] = [
        ("poll-max-ns", settings.poll_max.map(Value::from)),
        ("poll-grow", settings.poll_grow.map(Value::from)),
        ("poll-shrink", settings.poll_shrink.map(Value::from)),
        // The most first: it may not be below the fewest at any time.
        ("thread-pool-max", settings.pool_max.map(Value::from)),
        ("thread-pool-min", settings.pool_min.map(Value::from)),
    ];
    for (name, value) in properties {
        if let Some(value) = value {
            live.monitor()?
                .execute(&commands::qom_set(&path, name, value))
                .await?;
        }
    }
    Ok(())
}
