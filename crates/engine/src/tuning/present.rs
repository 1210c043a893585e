//! What holds for a running machine now, where the kernel knows it best.

use super::enact::mounted;
use super::groups::failed;
use crate::error::Result;
use crate::live::LiveMachine;
use model::domain::id_set::IdSet;
use model::domain::memory_size::Kib;
use model::domain::resources::{MEMORY_UNLIMITED_KIB, MemTune};
use std::collections::{BTreeMap, BTreeSet};
use sys::cgroup::Controller;

impl LiveMachine {
    /// Its share of the processors, against other groups.
    pub fn cpu_shares(&self) -> Result<u64> {
        mounted(self, Controller::Cpu)?.cpu_shares().map_err(failed)
    }

    /// Its limits on memory; none is "unlimited".
    pub fn memory_limits(&self) -> Result<MemTune> {
        let group = mounted(self, Controller::Memory)?;
        let kib = |bytes: Option<u64>| {
            Some(Kib(bytes.map_or(MEMORY_UNLIMITED_KIB, |bytes| bytes / 1024)))
        };
        Ok(MemTune {
            hard_limit: kib(group.memory_max().map_err(failed)?),
            soft_limit: kib(group.memory_soft().map_err(failed)?),
            // Kernels without accounting of swap have no such bound.
            swap_hard_limit: kib(group.memory_and_swap_max().unwrap_or(None)),
            min_guarantee: None,
        })
    }

    /// Its weight at block devices.
    pub fn block_weight(&self) -> Result<u64> {
        let weight = mounted(self, Controller::BlockIo)?.io_weight();
        Ok(weight.unwrap_or(0))
    }

    /// The host's memory nodes it is kept on.
    pub fn memory_nodes(&self) -> Result<Option<IdSet>> {
        let nodes = mounted(self, Controller::CpuSet)?
            .memory_nodes()
            .map_err(failed)?;
        Ok(sys::host::parse_list(&nodes)
            .map(|list| IdSet(list.into_iter().collect::<BTreeSet<u32>>())))
    }

    /// Its processor time on each of the host's processors, by number, in nanoseconds.
    pub fn cpu_times(&self) -> Result<Vec<u64>> {
        let group = mounted(self, Controller::CpuAccounting)?;
        group.cpu_usage_per_cpu().map_err(failed)
    }

    /// Its I/O threads: their numbers and the host's threads.
    pub async fn iothreads(&self) -> Result<BTreeMap<u32, i32>> {
        let threads = self
            .monitor()?
            .execute(&qemu::qmp::commands::query_iothreads())
            .await?;
        let named = threads
            .iter()
            .filter_map(|t| Some((t.number()?, t.thread_id)));
        Ok(named.collect())
    }

    /// The disks that have failed, by their names in the guest, and how.
    pub async fn disk_errors(&self) -> Result<BTreeMap<String, DiskError>> {
        let devices = self
            .monitor()?
            .execute(&qemu::qmp::commands::query_block())
            .await?;
        let definition = self.definition();
        let mut errors = BTreeMap::new();
        for disk in &definition.devices.disks {
            let alias = disk.info.alias.as_deref().unwrap_or_default();
            let device = devices
                .iter()
                .find(|d| crate::stats::names(d.qdev.as_deref(), alias));
            let error = match device.and_then(|device| device.io_status.as_deref()) {
                Some("nospace") => DiskError::NoSpace,
                Some("failed") => DiskError::Unspecified,
                _ => continue,
            };
            errors.insert(disk.target_dev().to_owned(), error);
        }
        Ok(errors)
    }
}

/// Why a disk stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// Some failure.
    Unspecified,
    /// The host has no space left.
    NoSpace,
}
