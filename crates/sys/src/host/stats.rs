//! Processor times, as libvirt adds them up.

use super::Host;
use crate::error::SysResult;

/// Nanoseconds since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// In the kernel: system, interrupts and soft interrupts.
    pub kernel_ns: u64,
    /// In user mode: user and nice.
    pub user_ns: u64,
    /// Idle.
    pub idle_ns: u64,
    /// Idle while waiting for a disk.
    pub iowait_ns: u64,
}

impl Host {
    /// The times of all processors together.
    pub fn cpu_times(&self) -> SysResult<CpuTimes> {
        Ok(parse(&self.read("proc/stat")?, "cpu").unwrap_or_default())
    }

    /// The times of one processor; none when it is not there or offline.
    pub fn cpu_times_of(&self, cpu: u32) -> SysResult<Option<CpuTimes>> {
        Ok(parse(&self.read("proc/stat")?, &format!("cpu{cpu}")))
    }
}

fn parse(text: &str, name: &str) -> Option<CpuTimes> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    let ns = |at: &[usize]| {
        let sum: u64 = at.iter().filter_map(|&n| ticks.get(n)).sum();
        sum.saturating_mul(tick_ns)
    };
    Some(CpuTimes {
        kernel_ns: ns(&[2, 5, 6]),
        user_ns: ns(&[0, 1]),
        idle_ns: ns(&[3]),
        iowait_ns: ns(&[4]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  10 1 20 300 4 5 6 7 8 9\ncpu0 1 0 2 3 4 5 6 0 0 0\ncpu10 9 9 9 9\n";

    #[test]
    fn adds_up_as_libvirt_does() {
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let all = parse(STAT, "cpu").unwrap();
        assert_eq!(all.kernel_ns, 31 * tick);
        assert_eq!(
            (all.user_ns, all.idle_ns, all.iowait_ns),
            (11 * tick, 300 * tick, 4 * tick)
        );
        assert_eq!(parse(STAT, "cpu0").unwrap().idle_ns, 3 * tick);
        assert_eq!(parse(STAT, "cpu1"), None);
        assert_eq!(parse(STAT, "cpu10").unwrap().kernel_ns, 9 * tick);
    }

    #[test]
    fn this_host_has_run() {
        let host = Host::new();
        assert!(host.cpu_times().unwrap().user_ns > 0);
        assert!(host.cpu_times_of(0).unwrap().is_some());
        assert_eq!(host.cpu_times_of(60_000).unwrap(), None);
    }
}
