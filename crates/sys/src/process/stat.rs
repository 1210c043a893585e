//! What a process uses: its own and its threads' lines of `/proc`.

use std::path::Path;

use crate::error::{SysError, SysResult};

/// A process, as `/proc/PID/stat` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStat {
    /// State letter: `R`, `S`, `D`, `T`, `Z`, ….
    pub state: char,
    /// The parent's process id.
    pub parent: i32,
    /// Nanoseconds in user mode, in steps of a clock tick.
    pub user_ns: u64,
    /// Nanoseconds in the kernel, in steps of a clock tick.
    pub system_ns: u64,
    /// Number of threads.
    pub threads: u32,
    /// Clock ticks between boot and its start.
    pub start_time: u64,
    /// Virtual memory in bytes.
    pub virtual_bytes: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Processor it ran on last.
    pub last_cpu: u32,
}

/// A thread of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadStat {
    /// Thread id.
    pub tid: i32,
    /// Its name, as it set it (`CPU 0/KVM`).
    pub name: String,
    /// State letter.
    pub state: char,
    /// Nanoseconds in user mode, in steps of a clock tick.
    pub user_ns: u64,
    /// Nanoseconds in the kernel, in steps of a clock tick.
    pub system_ns: u64,
    /// Nanoseconds on a processor, exactly; none without scheduler statistics.
    pub run_ns: Option<u64>,
    /// Nanoseconds waiting for a processor; none without scheduler statistics.
    pub wait_ns: Option<u64>,
    /// Processor it ran on last.
    pub last_cpu: u32,
}

/// The process that has this id now; nothing when there is none.
pub fn stat(pid: i32) -> SysResult<Option<ProcessStat>> {
    let path = format!("/proc/{pid}/stat");
    let Some(line) = read_gone(&path)? else {
        return Ok(None);
    };
    match parse(&line) {
        Some((_, stat)) => Ok(Some(stat)),
        None => Err(SysError::from_errno("understand", path, libc::EINVAL)),
    }
}

/// The threads of a process, in order of their ids; none when it has ended.
pub fn threads(pid: i32) -> SysResult<Vec<ThreadStat>> {
    let directory = format!("/proc/{pid}/task");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(e) if is_gone(&e) => return Ok(Vec::new()),
        Err(e) => return Err(SysError::new("list", directory, e)),
    };
    let mut tids: Vec<i32> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    tids.sort_unstable();
    let mut threads = Vec::with_capacity(tids.len());
    for tid in tids {
        // A thread may end between the listing and the look at it.
        let Some(line) = read_gone(&format!("{directory}/{tid}/stat"))? else {
            continue;
        };
        let Some((name, stat)) = parse(&line) else {
            continue;
        };
        let times = read_gone(&format!("{directory}/{tid}/schedstat"))?;
        let mut times = times.as_deref().unwrap_or("").split_ascii_whitespace();
        threads.push(ThreadStat {
            tid,
            name: name.to_owned(),
            state: stat.state,
            user_ns: stat.user_ns,
            system_ns: stat.system_ns,
            run_ns: times.next().and_then(|n| n.parse().ok()),
            wait_ns: times.next().and_then(|n| n.parse().ok()),
            last_cpu: stat.last_cpu,
        });
    }
    Ok(threads)
}

/// Nanoseconds of processor time of all threads of a process, ended ones
/// included, exactly and in one system call; none when it is gone.
pub fn cpu_time_ns(pid: i32) -> Option<u64> {
    // The kernel's encoding of a process's clock: the inverted id, and 2 for
    // "as the scheduler counts".
    let clock: libc::clockid_t = ((!pid) << 3) | 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is valid and writable.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (pid > 0 && done == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn read_gone(path: &str) -> SysResult<Option<String>> {
    match std::fs::read(Path::new(path)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(SysError::new("read", path, e)),
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The name and the numbers of one stat line. The name stands in parentheses
/// and may itself hold any.
fn parse(line: &str) -> Option<(&str, ProcessStat)> {
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    let name = line.get(open + 1..close)?;
    // Field 3, the state, is the first after the name.
    let fields: Vec<&str> = line.get(close + 1..)?.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |n: usize| field(n)?.parse::<u64>().ok();
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let stat = ProcessStat {
        state: field(3)?.chars().next()?,
        parent: field(4)?.parse().ok()?,
        user_ns: number(14)?.saturating_mul(tick_ns),
        system_ns: number(15)?.saturating_mul(tick_ns),
        threads: u32::try_from(number(20)?).ok()?,
        start_time: number(22)?,
        virtual_bytes: number(23)?,
        resident_bytes: number(24)?.saturating_mul(rustix::param::page_size() as u64),
        last_cpu: u32::try_from(number(39)?).ok()?,
    };
    Some((name, stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4242 (CPU 0) S (KVM) R 1 4242 4242 0 -1 4194624 900 0 3 0 150 25 0 0 20 0 \
        6 0 777 123456789 2000 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 3 0 0 0 0 0 0 0";

    #[test]
    fn reads_a_line_whose_name_has_parentheses() {
        let (name, stat) = parse(LINE).unwrap();
        assert_eq!(name, "CPU 0) S (KVM");
        assert_eq!((stat.state, stat.parent, stat.threads), ('R', 1, 6));
        assert_eq!((stat.start_time, stat.last_cpu), (777, 3));
        assert_eq!((stat.user_ns, stat.system_ns), (1_500_000_000, 250_000_000));
        assert_eq!(
            stat.resident_bytes,
            2000 * rustix::param::page_size() as u64
        );
    }

    #[test]
    fn refuses_lines_that_are_cut_short() {
        for end in 0..LINE.rfind(" 3 0").unwrap() {
            assert!(parse(&LINE[..end]).is_none(), "{end}");
        }
    }

    #[test]
    fn looks_at_this_very_process() {
        let pid = std::process::id() as i32;
        let own = stat(pid).unwrap().unwrap();
        assert!(own.resident_bytes > 0 && own.threads > 0);
        let all = threads(pid).unwrap();
        assert!(all.iter().any(|thread| thread.tid == pid));
        let before = cpu_time_ns(pid).unwrap();
        assert!(cpu_time_ns(pid).unwrap() >= before && before > 0);
        assert_eq!(cpu_time_ns(-1), None);
        assert!(threads(i32::MAX).unwrap().is_empty());
        assert!(stat(i32::MAX).unwrap().is_none());
    }
}
