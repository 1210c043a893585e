//! Limits on the throughput of disks.
//!
//! A disk's own limits are set at its device once QEMU runs, and can be changed there. Groups of
//! limits that disks name are block nodes of their own, between the image and the device.

use model::domain::disk::{Disk, DiskBus, IoTune};

use serde_json::Value;

use super::builder::Builder;
use super::props::Props;
use crate::qmp::{Command, Done};

impl Builder<'_> {
    /// The groups of limits which disks name.
    pub(super) fn throttle_groups(&mut self) {
        let groups = self
            .domain
            .throttle_groups
            .as_ref()
            .map(|groups| &groups.groups);
        for group in groups.into_iter().flatten() {
            if let Some(name) = &group.group_name {
                self.throttle_group(&throttle_group_id(name), group);
            }
        }
    }

    /// Puts the groups of limits a disk names on the node `top` and returns the node that is on
    /// top then.
    pub(super) fn throttled(&mut self, disk: &Disk, top: String) -> String {
        let filters = disk
            .throttle_filters
            .as_ref()
            .map(|filters| &filters.filters);
        let mut below = top;
        for (number, filter) in filters.into_iter().flatten().enumerate() {
            let name = format!("libvirt-{}-filter{number}", disk.target_dev());
            let node = Props::device("throttle")
                .with("node-name", name.as_str())
                .with("throttle-group", throttle_group_id(&filter.group))
                .with("file", below);
            self.blockdev(&node);
            below = name;
        }
        below
    }

    /// The commands for the disks' own limits.
    pub(super) fn disk_limits(&mut self) {
        let limited = self
            .domain
            .devices
            .disks
            .iter()
            .filter(|disk| disk.iotune.is_some());
        let commands: Vec<_> = limited.filter_map(throttle_command).collect();
        self.setup
            .extend(commands.into_iter().map(Command::untyped));
    }

    /// Makes a group once, however many disks are in it.
    fn throttle_group(&mut self, id: &str, tune: &IoTune) {
        if !self.throttle_ids.insert(id.to_owned()) {
            return;
        }
        let mut limits = Props::default();
        for (name, value) in set_limits(tune) {
            limits.set(name, value);
        }
        let group = Props::object("throttle-group", id).with("limits", limits);
        self.object(&group);
    }
}

/// The object that is the group of limits of this name.
#[must_use]
pub fn throttle_group_id(name: &str) -> String {
    format!("throttle-{name}")
}

/// The limits of a group, as the object takes them.
#[must_use]
pub fn throttle_group_limits(tune: &IoTune) -> Value {
    let limits = set_limits(tune).map(|(name, value)| (name.to_owned(), value.into()));
    Value::Object(limits.collect())
}

fn set_limits(tune: &IoTune) -> impl Iterator<Item = (&'static str, u64)> {
    let limits = limits_of(tune).into_iter();
    limits.filter_map(|(name, value)| Some((name, value.filter(|value| *value > 0)?)))
}

/// The command that sets all of a disk's own limits, those it has not included. None for a disk
/// without a device in QEMU.
pub fn throttle_command(disk: &Disk) -> Option<Command<Done>> {
    let id = throttle_target(disk)?;
    let none = IoTune::default();
    let tune = disk.iotune.as_deref().unwrap_or(&none);
    let mut command = Command::new("block_set_io_throttle").arg("id", id);
    for (name, old_name, value) in old_names(tune) {
        let is_burst = name.ends_with("-max") || name.ends_with("-length") || name == "iops-size";
        // QEMU wants the six plain limits always, the others only where they are set.
        if !is_burst || value.is_some_and(|value| value > 0) {
            command = command.arg(old_name, value.unwrap_or(0));
        }
    }
    Some(command.maybe("group", tune.group_name.as_deref()))
}

/// The part of a running disk's device that its own limits are set at.
pub fn throttle_target(disk: &Disk) -> Option<String> {
    let alias = disk.info.alias.as_deref()?;
    // A virtio disk's requests come from a part of its device.
    Some(match disk.bus() {
        Some(DiskBus::Virtio) => format!("/machine/peripheral/{alias}/virtio-backend"),
        _ => alias.to_owned(),
    })
}

/// The limits with the names they have for groups and those they have for devices.
fn old_names(tune: &IoTune) -> impl Iterator<Item = (&'static str, &'static str, Option<u64>)> {
    const OLD: [&str; 19] = [
        "bps",
        "bps_rd",
        "bps_wr",
        "iops",
        "iops_rd",
        "iops_wr",
        "bps_max",
        "bps_rd_max",
        "bps_wr_max",
        "iops_max",
        "iops_rd_max",
        "iops_wr_max",
        "iops_size",
        "bps_max_length",
        "bps_rd_max_length",
        "bps_wr_max_length",
        "iops_max_length",
        "iops_rd_max_length",
        "iops_wr_max_length",
    ];
    limits_of(tune)
        .into_iter()
        .zip(OLD)
        .map(|((name, value), old)| (name, old, value))
}

fn limits_of(tune: &IoTune) -> [(&'static str, Option<u64>); 19] {
    [
        ("bps-total", tune.total_bytes_sec),
        ("bps-read", tune.read_bytes_sec),
        ("bps-write", tune.write_bytes_sec),
        ("iops-total", tune.total_iops_sec),
        ("iops-read", tune.read_iops_sec),
        ("iops-write", tune.write_iops_sec),
        ("bps-total-max", tune.total_bytes_sec_max),
        ("bps-read-max", tune.read_bytes_sec_max),
        ("bps-write-max", tune.write_bytes_sec_max),
        ("iops-total-max", tune.total_iops_sec_max),
        ("iops-read-max", tune.read_iops_sec_max),
        ("iops-write-max", tune.write_iops_sec_max),
        ("iops-size", tune.size_iops_sec),
        ("bps-total-max-length", tune.total_bytes_sec_max_length),
        ("bps-read-max-length", tune.read_bytes_sec_max_length),
        ("bps-write-max-length", tune.write_bytes_sec_max_length),
        ("iops-total-max-length", tune.total_iops_sec_max_length),
        ("iops-read-max-length", tune.read_iops_sec_max_length),
        ("iops-write-max-length", tune.write_iops_sec_max_length),
    ]
}
