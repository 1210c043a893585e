//! What a group has used.

use super::{Cgroup, Controller, Version, read};
use crate::error::SysResult;

/// Processor time of a group, ended processes included, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// All of it.
    pub total_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
}

/// Memory of a group, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Charged to the group now, page cache included.
    pub current: u64,
    /// Of that, anonymous memory.
    pub anonymous: u64,
    /// Of that, page cache.
    pub cache: u64,
}

impl Cgroup {
    /// The processor time used.
    pub fn cpu_usage(&self) -> SysResult<CpuUsage> {
        match self.version {
            Version::V2 => {
                let text = read(&self.file(Controller::CpuAccounting, "cpu.stat")?)?;
                let ns = |name| field(&text, name).saturating_mul(1000);
                Ok(CpuUsage {
                    total_ns: ns("usage_usec"),
                    user_ns: ns("user_usec"),
                    system_ns: ns("system_usec"),
                })
            }
            Version::V1 => {
                let one = |name| -> SysResult<u64> {
                    let text = read(&self.file(Controller::CpuAccounting, name)?)?;
                    Ok(text.trim().parse().unwrap_or(0))
                };
                Ok(CpuUsage {
                    total_ns: one("cpuacct.usage")?,
                    user_ns: one("cpuacct.usage_user")?,
                    system_ns: one("cpuacct.usage_sys")?,
                })
            }
        }
    }

    /// The processor time used on each processor, in nanoseconds; an error of
    /// kind `Unsupported` where the host does not count it (version 2).
    pub fn cpu_usage_per_cpu(&self) -> SysResult<Vec<u64>> {
        if self.version == Version::V2 {
            let subject = "the per-processor times of a version 2 control group";
            return Err(crate::SysError::new(
                "read",
                subject,
                std::io::ErrorKind::Unsupported,
            ));
        }
        let text = read(&self.file(Controller::CpuAccounting, "cpuacct.usage_percpu")?)?;
        Ok(text
            .split_ascii_whitespace()
            .map(|n| n.parse().unwrap_or(0))
            .collect())
    }

    /// The memory in use.
    pub fn memory_usage(&self) -> SysResult<MemoryUsage> {
        let (current, anonymous, cache) = match self.version {
            Version::V2 => ("memory.current", "anon", "file"),
            Version::V1 => ("memory.usage_in_bytes", "rss", "cache"),
        };
        let stat = read(&self.file(Controller::Memory, "memory.stat")?)?;
        let current = read(&self.file(Controller::Memory, current)?)?;
        Ok(MemoryUsage {
            current: current.trim().parse().unwrap_or(0),
            anonymous: field(&stat, anonymous),
            cache: field(&stat, cache),
        })
    }
}

/// The number after a name in a file of `name number` lines; 0 without it.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "usage_usec 12\nuser_usec 7\nsystem_usec 5\nuser_usec_x 1\n";
        assert_eq!(field(text, "user_usec"), 7);
        assert_eq!(field(text, "usec"), 0);
    }
}
