//! What a group may use.

use super::{Cgroup, Controller, Version, read, write};
use crate::error::SysResult;

/// Processor time per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuBandwidth {
    /// Microseconds of a period.
    pub period_us: u64,
    /// Microseconds of processor time per period; none for no bound.
    pub quota_us: Option<u64>,
}

impl Cgroup {
    /// Sets the share of the processors relative to other groups: version 1's
    /// shares (2 to 262,144, usually 1024), version 2's weight (1 to 10,000,
    /// usually 100).
    pub fn set_cpu_shares(&self, shares: u64) -> SysResult<()> {
        let name = self.by_version("cpu.shares", "cpu.weight");
        write(&self.file(Controller::Cpu, name)?, &shares.to_string())
    }

    /// The share, in the version's unit.
    pub fn cpu_shares(&self) -> SysResult<u64> {
        let name = self.by_version("cpu.shares", "cpu.weight");
        Ok(number(&read(&self.file(Controller::Cpu, name)?)?).unwrap_or(0))
    }

    /// Bounds the processor time.
    pub fn set_cpu_bandwidth(&self, bandwidth: CpuBandwidth) -> SysResult<()> {
        let CpuBandwidth {
            period_us,
            quota_us,
        } = bandwidth;
        match self.version {
            Version::V2 => {
                let quota = quota_us.map_or("max".to_owned(), |quota| quota.to_string());
                let file = self.file(Controller::Cpu, "cpu.max")?;
                write(&file, &format!("{quota} {period_us}"))
            }
            Version::V1 => {
                let period = self.file(Controller::Cpu, "cpu.cfs_period_us")?;
                let quota = self.file(Controller::Cpu, "cpu.cfs_quota_us")?;
                // Lifted first: the old quota may not fit the new period.
                write(&quota, "-1")?;
                write(&period, &period_us.to_string())?;
                match quota_us {
                    Some(us) => write(&quota, &us.to_string()),
                    None => Ok(()),
                }
            }
        }
    }

    /// The bound on processor time.
    pub fn cpu_bandwidth(&self) -> SysResult<CpuBandwidth> {
        match self.version {
            Version::V2 => {
                let text = read(&self.file(Controller::Cpu, "cpu.max")?)?;
                let mut words = text.split_ascii_whitespace();
                let quota_us = words.next().and_then(number);
                let period_us = words.next().and_then(number).unwrap_or(100_000);
                Ok(CpuBandwidth {
                    period_us,
                    quota_us,
                })
            }
            Version::V1 => {
                let period = read(&self.file(Controller::Cpu, "cpu.cfs_period_us")?)?;
                let quota = read(&self.file(Controller::Cpu, "cpu.cfs_quota_us")?)?;
                let period_us = number(&period).unwrap_or(100_000);
                // "-1" is no number of microseconds.
                Ok(CpuBandwidth {
                    period_us,
                    quota_us: number(&quota),
                })
            }
        }
    }

    /// Bounds the memory in bytes; none for no bound.
    pub fn set_memory_max(&self, bytes: Option<u64>) -> SysResult<()> {
        let name = self.by_version("memory.limit_in_bytes", "memory.max");
        self.set_memory(name, bytes)
    }

    /// Bounds memory and, with what is swapped out, both together, in bytes;
    /// none for no bound.
    pub fn set_memory_and_swap_max(&self, memory: Option<u64>, both: Option<u64>) -> SysResult<()> {
        match self.version {
            Version::V2 => {
                self.set_memory_max(memory)?;
                let swap = both.map(|both| both.saturating_sub(memory.unwrap_or(0)));
                self.set_memory("memory.swap.max", swap)
            }
            // The bound on both may at no time be below the one on memory.
            Version::V1 => {
                let name = "memory.memsw.limit_in_bytes";
                if self.set_memory_max(memory).is_ok() {
                    return self.set_memory(name, both);
                }
                self.set_memory(name, both)?;
                self.set_memory_max(memory)
            }
        }
    }

    /// The bound on memory and swap together; none without one.
    pub fn memory_and_swap_max(&self) -> SysResult<Option<u64>> {
        match self.version {
            Version::V1 => self.memory("memory.memsw.limit_in_bytes"),
            Version::V2 => {
                let swap = self.memory("memory.swap.max")?;
                let memory = self.memory_max()?.unwrap_or(0);
                Ok(swap.map(|swap| swap.saturating_add(memory)))
            }
        }
    }

    /// The memory above which the group is pressed when the host runs short.
    pub fn set_memory_soft(&self, bytes: Option<u64>) -> SysResult<()> {
        let name = self.by_version("memory.soft_limit_in_bytes", "memory.high");
        self.set_memory(name, bytes)
    }

    /// The bound on memory; none without one.
    pub fn memory_max(&self) -> SysResult<Option<u64>> {
        let name = self.by_version("memory.limit_in_bytes", "memory.max");
        self.memory(name)
    }

    /// The soft bound on memory; none without one.
    pub fn memory_soft(&self) -> SysResult<Option<u64>> {
        let name = self.by_version("memory.soft_limit_in_bytes", "memory.high");
        self.memory(name)
    }

    /// Confines the group to these processors (`0-3,8`).
    pub fn set_cpus(&self, cpus: &str) -> SysResult<()> {
        write(&self.file(Controller::CpuSet, "cpuset.cpus")?, cpus)
    }

    /// Confines the group to these memory nodes (`0-1`).
    pub fn set_memory_nodes(&self, nodes: &str) -> SysResult<()> {
        write(&self.file(Controller::CpuSet, "cpuset.mems")?, nodes)
    }

    /// The memory nodes the group is confined to.
    pub fn memory_nodes(&self) -> SysResult<String> {
        let text = read(&self.file(Controller::CpuSet, "cpuset.mems")?)?;
        Ok(text.trim().to_owned())
    }

    /// Bounds the number of processes and threads; none for no bound.
    pub fn set_pids_max(&self, count: Option<u64>) -> SysResult<()> {
        let value = count.map_or("max".to_owned(), |count| count.to_string());
        write(&self.file(Controller::Pids, "pids.max")?, &value)
    }

    pub(super) fn by_version(&self, v1: &'static str, v2: &'static str) -> &'static str {
        match self.version {
            Version::V1 => v1,
            Version::V2 => v2,
        }
    }

    fn set_memory(&self, name: &str, bytes: Option<u64>) -> SysResult<()> {
        let value = match (bytes, self.version) {
            (Some(bytes), _) => bytes.to_string(),
            (None, Version::V1) => "-1".to_owned(),
            (None, Version::V2) => "max".to_owned(),
        };
        write(&self.file(Controller::Memory, name)?, &value)
    }

    fn memory(&self, name: &str) -> SysResult<Option<u64>> {
        let value = number(&read(&self.file(Controller::Memory, name)?)?);
        // Version 1 shows "none" as the largest multiple of the page size.
        Ok(value.filter(|bytes| *bytes < i64::MAX as u64 - 65_536))
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}
