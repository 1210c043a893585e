//! Limits on single disks, and disks that have failed.

use std::sync::Arc;

use engine::tuning::{DiskError, Tuning};
use model::domain::disk::IoTune;
use wire::remote::*;
use wire::typed_params::{get_str, get_unsigned};

use super::parameters::{Asked, Kind, affect_only, asked, check, with_room};
use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_block_io_tune);
    dispatch.task(set_block_io_tune);
    dispatch.task(set_throttle_group);
    dispatch.task(del_throttle_group);
    dispatch.task(get_disk_errors);
}

/// Applies a macro's body to every limit that is a number, in libvirt's order; the name of the
/// group stands between the two halves.
macro_rules! limits {
    ($each:ident) => {
        $each!(total_bytes_sec);
        $each!(read_bytes_sec);
        $each!(write_bytes_sec);
        $each!(total_iops_sec);
        $each!(read_iops_sec);
        $each!(write_iops_sec);
        $each!(total_bytes_sec_max);
        $each!(read_bytes_sec_max);
        $each!(write_bytes_sec_max);
        $each!(total_iops_sec_max);
        $each!(read_iops_sec_max);
        $each!(write_iops_sec_max);
        $each!(size_iops_sec);
        $each!(total_bytes_sec_max_length);
        $each!(read_bytes_sec_max_length);
        $each!(write_bytes_sec_max_length);
        $each!(total_iops_sec_max_length);
        $each!(read_iops_sec_max_length);
        $each!(write_iops_sec_max_length);
    };
}

/// Where the group's name stands among the limits.
const GROUP_NAME_AT: usize = 13;

async fn get_block_io_tune(
    client: Arc<Client>,
    args: DomainGetBlockIoTuneArgs,
) -> Answer<DomainGetBlockIoTuneRet> {
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, live } = asked(&handle, args.flags, "qemuDomainGetBlockIoTune")?;
    let tune = match args.disk.as_deref() {
        // Without a disk only the number of parameters is asked.
        None => IoTune::default(),
        Some(name) => {
            let disk = engine::tuning::disk(&definition, name)?;
            let mut tune = disk.iotune.as_deref().cloned().unwrap_or_default();
            if live.is_some() && tune != IoTune::default() && tune.group_name.is_none() {
                // QEMU's own name for a group of one.
                tune.group_name = engine::tuning::throttle_target(disk);
            }
            tune
        }
    };
    let mut all = Vec::new();
    macro_rules! put {
        ($field:ident) => {
            all.push(TypedParam::new(
                stringify!($field),
                tune.$field.unwrap_or(0),
            ));
        };
    }
    limits!(put);
    let group = tune.group_name.unwrap_or_default();
    all.insert(GROUP_NAME_AT, TypedParam::new("group_name", group));
    let (params, nparams) = with_room(all, args.nparams);
    Ok(DomainGetBlockIoTuneRet { params, nparams })
}

async fn set_block_io_tune(client: Arc<Client>, args: DomainSetBlockIoTuneArgs) -> Answer<()> {
    let affect = affect_only(args.flags, "qemuDomainSetBlockIoTune")?;
    let mut limits = limits_of(&args.params, &[("group_name", Kind::Text)])?;
    limits.group_name = get_str(&args.params, "group_name").map(str::to_owned);
    let handle = domain(&client, &args.dom)?;
    let tuning = Tuning::Disk {
        disk: args.disk,
        limits: Box::new(limits),
    };
    Ok(handle.tune(tuning, affect).await?)
}

/// The limits among parameters, beside which there may be `others`.
fn limits_of(params: &[TypedParam], others: &[(&'static str, Kind)]) -> Answer<IoTune> {
    let mut known = others.to_vec();
    let mut limits = IoTune::default();
    macro_rules! take {
        ($field:ident) => {
            known.push((stringify!($field), Kind::Ullong));
            limits.$field = get_unsigned(params, stringify!($field));
        };
    }
    limits!(take);
    check(params, &known)?;
    Ok(limits)
}

async fn set_throttle_group(client: Arc<Client>, args: DomainSetThrottleGroupArgs) -> Answer<()> {
    let affect = affect_only(args.flags, "qemuDomainSetThrottleGroup")?;
    let tuning = Tuning::SetThrottleGroup {
        group: args.group,
        // Clients name the group among the limits too.
        limits: Box::new(limits_of(&args.params, &[("group_name", Kind::Text)])?),
    };
    Ok(domain(&client, &args.dom)?.tune(tuning, affect).await?)
}

async fn del_throttle_group(client: Arc<Client>, args: DomainDelThrottleGroupArgs) -> Answer<()> {
    let affect = affect_only(args.flags, "qemuDomainDelThrottleGroup")?;
    let tuning = Tuning::RemoveThrottleGroup(args.group.unwrap_or_default());
    Ok(domain(&client, &args.dom)?.tune(tuning, affect).await?)
}

async fn get_disk_errors(
    client: Arc<Client>,
    args: DomainGetDiskErrorsArgs,
) -> Answer<DomainGetDiskErrorsRet> {
    check_flags(args.flags, 0, "qemuDomainGetDiskErrors")?;
    let live = domain(&client, &args.dom)?.live()?;
    if args.maxerrors == 0 {
        let disks = live.definition().devices.disks.len();
        return Ok(DomainGetDiskErrorsRet {
            errors: Vec::new(),
            nerrors: i32::try_from(disks).unwrap_or(i32::MAX),
        });
    }
    let found = live.disk_errors().await.map_err(Failure::from)?;
    let errors: Vec<DomainDiskError> = found
        .into_iter()
        .take(args.maxerrors as usize)
        .map(|(disk, error)| DomainDiskError {
            disk,
            // virDomainDiskErrorCode.
            error: match error {
                DiskError::Unspecified => 1,
                DiskError::NoSpace => 2,
            },
        })
        .collect();
    let nerrors = errors.len() as i32;
    Ok(DomainGetDiskErrorsRet { errors, nerrors })
}
