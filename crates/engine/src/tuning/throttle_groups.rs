//! Named groups of limits that several disks' requests pass through.

use super::TunableValue;
use super::disks::{take_over, told_limits};
use crate::error::{EngineError, ErrorKind, Result};
use crate::live::LiveMachine;
use model::domain::Domain;
use model::domain::disk::{Disk, IoTune};
use qemu::command_line::{throttle_group_id, throttle_group_limits};
use qemu::qmp::commands;

/// The group of this name.
pub(crate) fn find<'a>(domain: &'a Domain, name: &str) -> Option<&'a IoTune> {
    let groups = domain.throttle_groups.as_ref()?;
    let mut all = groups.groups.iter();
    let found = all.find(|group| group.group_name.as_deref() == Some(name))?;
    Some(&**found)
}

/// Makes the group, or changes it as a disk's own limits are changed.
pub(super) fn set(domain: &mut Domain, name: &str, change: &IoTune) -> Result<()> {
    let groups = &mut domain.throttle_groups.get_or_insert_default().groups;
    let place = groups
        .iter()
        .position(|group| group.group_name.as_deref() == Some(name));
    let mut group = place.map_or_else(Box::default, |place| groups[place].clone());
    take_over(&mut group, change)?;
    group.group_name = Some(name.to_owned());
    match place {
        Some(place) => groups[place] = group,
        None => groups.push(group),
    }
    Ok(())
}

/// Takes the group away, unless a disk is in it. One that is not there is away already.
pub(super) fn remove(domain: &mut Domain, name: &str) -> Result<()> {
    let uses = |disk: &&Disk| {
        let filters = disk.throttle_filters.as_ref();
        filters.is_some_and(|filters| filters.filters.iter().any(|filter| filter.group == name))
    };
    if let Some(disk) = domain.devices.disks.iter().find(uses) {
        let message = format!(
            "throttle group '{name}' is still being used by disk {}",
            disk.target_dev()
        );
        return Err(EngineError::new(ErrorKind::InvalidArgument, message));
    }
    if let Some(groups) = &mut domain.throttle_groups {
        groups
            .groups
            .retain(|group| group.group_name.as_deref() != Some(name));
    }
    domain.throttle_groups = domain
        .throttle_groups
        .take()
        .filter(|groups| !groups.groups.is_empty());
    Ok(())
}

/// Makes or changes the group in a running machine.
pub(super) async fn enact_set(live: &LiveMachine, after: &Domain, name: &str) -> Result<()> {
    let none = IoTune::default();
    let limits = throttle_group_limits(find(after, name).unwrap_or(&none));
    let id = throttle_group_id(name);
    let command = match find(&live.definition(), name) {
        Some(_) => commands::qom_set(&format!("/objects/{id}"), "limits", limits),
        None => {
            let properties = [("limits".to_owned(), limits)].into_iter().collect();
            commands::object_add("throttle-group", &id, properties)
        }
    };
    live.monitor()?.execute(&command).await.map(drop)
}

/// Takes the group out of a running machine.
pub(super) async fn enact_remove(live: &LiveMachine, name: &str) -> Result<()> {
    if find(&live.definition(), name).is_none() {
        return Ok(());
    }
    let command = commands::object_del(&throttle_group_id(name));
    live.monitor()?.execute(&command).await.map(drop)
}

/// What the event about a changed group tells.
pub(super) fn told(domain: &Domain, name: &str) -> Vec<(String, TunableValue)> {
    find(domain, name)
        .cloned()
        .map_or_else(Vec::new, told_limits)
}
