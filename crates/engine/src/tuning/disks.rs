//! Limits on the throughput of one disk, which QEMU keeps at the device.

use super::TunableValue;
use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::disk::{Disk, IoTune};
use qemu::command_line::throttle_command;
use qemu::qmp::{Command, Done};

/// The disk with this name in the guest or this source.
pub(crate) fn find<'a>(domain: &'a Domain, disk: &str) -> Option<&'a Disk> {
    let disks = &domain.devices.disks;
    let by_name = disks.iter().find(|d| d.target_dev() == disk);
    by_name.or_else(|| disks.iter().find(|d| d.source_path() == Some(disk)))
}

/// Fields that are changed together: whoever sets one of them sets them all.
macro_rules! together {
    ($change:expr, $present:expr; $([$($field:ident),+]),+ $(,)?) => {
        $(if $(change_sets(&$change.$field))||+ {
            $($present.$field = $change.$field;)+
        })+
    };
}

fn change_sets(field: &Option<u64>) -> bool {
    field.is_some()
}

/// Makes the change in a definition, as libvirt does.
pub(super) fn amend(domain: &mut Domain, name: &str, change: &IoTune) -> Result<()> {
    let target = super::disk(domain, name)?.target_dev().to_owned();
    let mut all = domain.devices.disks.iter_mut();
    let Some(disk) = all.find(|disk| disk.target_dev() == target) else {
        return Ok(());
    };
    let mut present = disk.iotune.take().unwrap_or_default();
    take_over(&mut present, change)?;
    let limited = IoTune {
        group_name: None,
        ..(*present).clone()
    };
    disk.iotune = (limited != IoTune::default()).then_some(present);
    Ok(())
}

/// Takes over the limits of a change: related limits go together.
pub(super) fn take_over(present: &mut IoTune, change: &IoTune) -> Result<()> {
    together!(change, present;
        [total_bytes_sec, read_bytes_sec, write_bytes_sec],
        [total_iops_sec, read_iops_sec, write_iops_sec],
        [total_bytes_sec_max, read_bytes_sec_max, write_bytes_sec_max],
        [total_iops_sec_max, read_iops_sec_max, write_iops_sec_max],
        [total_bytes_sec_max_length, read_bytes_sec_max_length, write_bytes_sec_max_length],
        [total_iops_sec_max_length, read_iops_sec_max_length, write_iops_sec_max_length],
        [size_iops_sec],
    );
    drop_lengths(present);
    if change.group_name.is_some() {
        present.group_name.clone_from(&change.group_name);
    }
    check(present)?;
    drop_zeroes(present);
    Ok(())
}

/// A burst that is taken away takes its length along.
fn drop_lengths(tune: &mut IoTune) {
    macro_rules! with_burst {
        ($($max:ident => $length:ident),+ $(,)?) => {
            $(if tune.$max == Some(0) {
                tune.$length = None;
            })+
        };
    }
    with_burst!(
        total_bytes_sec_max => total_bytes_sec_max_length,
        read_bytes_sec_max => read_bytes_sec_max_length,
        write_bytes_sec_max => write_bytes_sec_max_length,
        total_iops_sec_max => total_iops_sec_max_length,
        read_iops_sec_max => read_iops_sec_max_length,
        write_iops_sec_max => write_iops_sec_max_length,
    );
}

fn drop_zeroes(tune: &mut IoTune) {
    for (_, field) in fields_mut(tune) {
        *field = field.filter(|value| *value > 0);
    }
}

fn check(tune: &IoTune) -> Result<()> {
    let set = |value: Option<u64>| value.unwrap_or(0) > 0;
    let invalid = |what: &str| {
        let message = format!("total and read/write of {what} cannot be set at the same time");
        EngineError::new(ErrorKind::InvalidArgument, message)
    };
    for (what, total, read, write) in [
        (
            "bytes_sec",
            tune.total_bytes_sec,
            tune.read_bytes_sec,
            tune.write_bytes_sec,
        ),
        (
            "iops_sec",
            tune.total_iops_sec,
            tune.read_iops_sec,
            tune.write_iops_sec,
        ),
        (
            "bytes_sec_max",
            tune.total_bytes_sec_max,
            tune.read_bytes_sec_max,
            tune.write_bytes_sec_max,
        ),
        (
            "iops_sec_max",
            tune.total_iops_sec_max,
            tune.read_iops_sec_max,
            tune.write_iops_sec_max,
        ),
    ] {
        if set(total) && (set(read) || set(write)) {
            return Err(invalid(what));
        }
    }
    let mut whole = tune.clone();
    let whole: Vec<_> = fields_mut(&mut whole)
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or(0)))
        .collect();
    let value_of = |name: &str| {
        whole
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(0, |(_, value)| *value)
    };
    for (name, max) in whole
        .iter()
        .filter(|(name, max)| name.ends_with("_max") && *max > 0)
    {
        let base = name.trim_end_matches("_max");
        let sustained = value_of(base);
        let refusal = if sustained == 0 {
            format!("cannot reset '{base}' when '{name}' is set")
        } else if *max < sustained {
            format!("value '{name}' cannot be smaller than '{base}'")
        } else {
            continue;
        };
        return Err(EngineError::new(ErrorKind::ConfigUnsupported, refusal));
    }
    for (name, _) in whole
        .iter()
        .filter(|(name, length)| name.ends_with("_length") && *length > 0)
    {
        let max = name.trim_end_matches("_length");
        if value_of(max) == 0 {
            let refusal = format!("value '{name}' cannot be set if '{max}' is not set");
            return Err(EngineError::new(ErrorKind::ConfigUnsupported, refusal));
        }
    }
    Ok(())
}

/// Every limit by libvirt's name.
fn fields_mut(tune: &mut IoTune) -> [(&'static str, &mut Option<u64>); 19] {
    macro_rules! named {
        ($($field:ident),+ $(,)?) => { [$((stringify!($field), &mut tune.$field)),+] };
    }
    named![
        total_bytes_sec,
        read_bytes_sec,
        write_bytes_sec,
        total_iops_sec,
        read_iops_sec,
        write_iops_sec,
        total_bytes_sec_max,
        read_bytes_sec_max,
        write_bytes_sec_max,
        total_iops_sec_max,
        read_iops_sec_max,
        write_iops_sec_max,
        size_iops_sec,
        total_bytes_sec_max_length,
        read_bytes_sec_max_length,
        write_bytes_sec_max_length,
        total_iops_sec_max_length,
        read_iops_sec_max_length,
        write_iops_sec_max_length,
    ]
}

/// The command that sets a running disk's limits.
pub(super) fn command(domain: &Domain, name: &str) -> Option<Command<Done>> {
    throttle_command(find(domain, name)?)
}

/// What the event about a disk's limits tells: all that are set.
pub(super) fn told(domain: &Domain, name: &str) -> Vec<(String, TunableValue)> {
    let Some(disk) = find(domain, name) else {
        return Vec::new();
    };
    let text = |text: &str| TunableValue::Text(text.to_owned());
    let mut told = vec![("blkdeviotune.disk".to_owned(), text(disk.target_dev()))];
    let tune = disk.iotune.as_deref().cloned().unwrap_or_default();
    told.extend(told_limits(tune));
    told
}

/// The limits that are set, and their group.
pub(super) fn told_limits(mut tune: IoTune) -> Vec<(String, TunableValue)> {
    let set = fields_mut(&mut tune).into_iter();
    let mut told: Vec<_> = set
        .filter_map(|(name, value)| {
            let value = TunableValue::Unsigned((*value)?);
            Some((format!("blkdeviotune.{name}"), value))
        })
        .collect();
    if let Some(group) = tune.group_name {
        let name = "blkdeviotune.group_name".to_owned();
        told.push((name, TunableValue::Text(group)));
    }
    told
}
