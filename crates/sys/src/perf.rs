//! Counters of the kernel and of the processor, for one thread and those it makes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::FromRawFd;

use crate::error::{SysError, SysResult};

/// What is counted: the kernel's kind of counter, and its number among these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    kind: u32,
    number: u64,
}

impl Event {
    /// One that the processor counts (`PERF_TYPE_HARDWARE`).
    #[must_use]
    pub const fn hardware(number: u64) -> Event {
        Event { kind: 0, number }
    }

    /// One that the kernel counts (`PERF_TYPE_SOFTWARE`).
    #[must_use]
    pub const fn software(number: u64) -> Event {
        Event { kind: 1, number }
    }
}

/// The first version of the kernel's `perf_event_attr`: what is asked for is all in it, and every
/// kernel takes it.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    number: u64,
    period: u64,
    sample_kind: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_kind: u32,
    breakpoint: u64,
}

/// Threads that are made later are counted too.
const INHERIT: u64 = 1 << 1;

/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// A counter that counts since it was made.
#[derive(Debug)]
pub struct Counter(File);

impl Counter {
    /// Begins to count for thread `thread` and for those it makes from now on. None if there is no
    /// such thread (any more).
    pub fn open(event: Event, thread: i32) -> SysResult<Option<Counter>> {
        let attributes = Attributes {
            kind: event.kind,
            size: u32::try_from(size_of::<Attributes>()).unwrap_or(u32::MAX),
            number: event.number,
            flags: INHERIT,
            ..Attributes::default()
        };
        let (any_processor, no_group): (libc::c_int, libc::c_int) = (-1, -1);
        // SAFETY: the attributes live as long as the call, and say their own size.
        let descriptor = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                thread,
                any_processor,
                no_group,
                CLOSE_ON_EXEC,
            )
        };
        let descriptor = i32::try_from(descriptor).unwrap_or(-1);
        if descriptor < 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::ESRCH) {
                return Ok(None);
            }
            let subject = format!("thread {thread}");
            return Err(SysError::new("count events of", subject, error));
        }
        // SAFETY: the kernel has just made it, and nobody else knows it.
        Ok(Some(Counter(unsafe { File::from_raw_fd(descriptor) })))
    }

    /// How many there were.
    pub fn read(&self) -> SysResult<u64> {
        let mut count = [0; 8];
        (&self.0)
            .read_exact(&mut count)
            .map_err(|e| SysError::new("read", "a counter of events", e))?;
        Ok(u64::from_ne_bytes(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's number of page faults among its own counters.
    const PAGE_FAULTS: Event = Event::software(2);

    #[test]
    fn faults_of_this_thread_are_counted_where_the_kernel_lets() {
        let this = rustix::thread::gettid().as_raw_nonzero().get();
        let counter = match Counter::open(PAGE_FAULTS, this) {
            Ok(counter) => counter.expect("this thread runs"),
            Err(error) => {
                let no = [io::ErrorKind::PermissionDenied, io::ErrorKind::Unsupported];
                assert!(no.contains(&error.kind()), "{error}");
                return;
            }
        };
        let before = counter.read().unwrap();
        // Memory nobody has touched yet, a page at a time.
        let mut fresh = vec![0_u8; 1 << 22];
        for place in (0..fresh.len()).step_by(4096) {
            fresh[place] = 1;
        }
        assert!(fresh.contains(&1));
        assert!(counter.read().unwrap() > before);
    }

    #[test]
    fn a_thread_that_is_not_there_has_no_counter() {
        match Counter::open(PAGE_FAULTS, i32::MAX) {
            Ok(counter) => assert!(counter.is_none()),
            // A kernel that lets nobody count does not look for the thread.
            Err(error) => assert!(error.to_string().contains("2147483647"), "{error}"),
        }
    }
}
