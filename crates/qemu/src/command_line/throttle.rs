//! Limits on the throughput of disks.
//!
//! They are block nodes of their own, between a disk's image and its device: what QEMU can set on
//! a device holds only for drives of the old kind.

use model::domain::disk::{Disk, IoTune};

use super::builder::{Builder, Result, alias};
use super::props::Props;

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
                self.throttle_group(&format!("throttle-{name}"), group);
            }
        }
    }

    /// Puts a disk's limits on the node `top` and returns the node that is on top then.
    pub(super) fn throttled(&mut self, disk: &Disk, top: String) -> Result<String> {
        let mut groups = Vec::new();
        if let Some(tune) = disk
            .iotune
            .as_deref()
            .filter(|tune| **tune != IoTune::default())
        {
            let group = match &tune.group_name {
                Some(name) => format!("throttle-{name}"),
                None => format!("throttle-{}", alias(&disk.info)?),
            };
            self.throttle_group(&group, tune);
            groups.push(group);
        }
        let filters = disk
            .throttle_filters
            .as_ref()
            .map(|filters| &filters.filters);
        let named = filters
            .into_iter()
            .flatten()
            .map(|filter| format!("throttle-{}", filter.group));
        groups.extend(named);
        let mut below = top;
        for (number, group) in groups.into_iter().enumerate() {
            let name = format!("libvirt-{}-filter{number}", disk.target_dev());
            let node = Props::device("throttle")
                .with("node-name", name.as_str())
                .with("throttle-group", group)
                .with("file", below);
            self.blockdev(&node);
            below = name;
        }
        Ok(below)
    }

    /// Makes a group once, however many disks are in it.
    fn throttle_group(&mut self, id: &str, tune: &IoTune) {
        if !self.throttle_ids.insert(id.to_owned()) {
            return;
        }
        let mut limits = Props::default();
        for (name, value) in limits_of(tune) {
            limits.set_some(name, value.filter(|value| *value > 0));
        }
        let group = Props::object("throttle-group", id).with("limits", limits);
        self.object(&group);
    }
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
