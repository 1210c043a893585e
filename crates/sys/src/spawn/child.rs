//! The clone, and what the child does between it and its program.
//!
//! The child runs on a stack of its own but in the parent's memory, while the
//! thread that cloned it stands still and other threads go on. So it only
//! makes system calls with what [`super::prepare`] laid out: it allocates
//! nothing, takes no lock, cannot panic, and reports through one [`Report`].
//! User and group are changed by bare system calls, since the C library's
//! wrappers would change them in every thread of the parent.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::prepare::Prepared;
use crate::error::{SysError, SysResult};

/// Bytes of stack for the child: its few frames hold no large buffers.
const CHILD_STACK_BYTES: usize = 64 * 1024;

/// The child's steps, numbered for the report.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
enum Step {
    Session = 1,
    Cgroup,
    Processors,
    Limit,
    OomScore,
    Descriptors,
    Directory,
    Identity,
    Capabilities,
    NoNewPrivileges,
    Landlock,
    Execute,
}

impl Step {
    fn operation(number: i32) -> &'static str {
        match number {
            n if n == Step::Session as i32 => "make a session for",
            n if n == Step::Cgroup as i32 => "put into its control group",
            n if n == Step::Processors as i32 => "choose the processors of",
            n if n == Step::Limit as i32 => "set the resource limits of",
            n if n == Step::OomScore as i32 => "set the OOM score of",
            n if n == Step::Descriptors as i32 => "place the descriptors of",
            n if n == Step::Directory as i32 => "enter the working directory of",
            n if n == Step::Identity as i32 => "change user and group for",
            n if n == Step::Capabilities as i32 => "drop the capabilities of",
            n if n == Step::NoNewPrivileges as i32 => "forbid new privileges to",
            n if n == Step::Landlock as i32 => "confine the file access of",
            _ => "execute",
        }
    }
}

/// Where the child failed, if it did. Read only after it is gone or is its
/// own program: atomics just keep the compiler from guessing.
#[derive(Debug, Default)]
struct Report {
    step: AtomicI32,
    errno: AtomicI32,
}

struct Context<'a> {
    prepared: &'a Prepared,
    report: &'a Report,
}

/// Clones the child and waits until it runs its program.
pub(super) fn start(prepared: &Prepared) -> SysResult<(i32, OwnedFd)> {
    let report = Report::default();
    let context = Context {
        prepared,
        report: &report,
    };
    // u128s, since the stack must end on a multiple of 16.
    let mut stack = vec![MaybeUninit::<u128>::uninit(); CHILD_STACK_BYTES / 16];
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let blocked = BlockedSignals::new();
    let dumpable = Dumpable::remember();
    // SAFETY: the stack is ours, writable, aligned, and its end is passed as
    // the stack grows down. CLONE_VFORK keeps this thread here until the child
    // has called execve or exited, so the stack, the context and all it
    // borrows outlive the child's use of them. No signal handler can run in
    // the child: all signals are blocked until it has reset the handlers.
    // With CLONE_PIDFD the third argument receives the pidfd.
    let pid = unsafe {
        libc::clone(
            run,
            stack.as_mut_ptr().add(stack.len()).cast(),
            flags,
            (&raw const context).cast_mut().cast(),
            &raw mut pidfd,
        )
    };
    let cause = std::io::Error::last_os_error();
    drop(dumpable);
    drop(blocked);
    if pid < 0 {
        return Err(SysError::new(
            "fork a process for",
            &*prepared.subject,
            cause,
        ));
    }
    // SAFETY: the clone succeeded, so this is a new descriptor that nobody
    // else owns; the kernel sets close-on-exec on it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let step = report.step.load(Ordering::Acquire);
    if step == 0 {
        return Ok((pid, pidfd));
    }
    reap(&pidfd);
    let errno = report.errno.load(Ordering::Acquire);
    Err(SysError::from_errno(
        Step::operation(step),
        &*prepared.subject,
        errno,
    ))
}

fn reap(pidfd: &OwnedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    // It has exited or is about to; nothing can be done about an error.
    let _ =
        rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
}

/// All signals blocked in this thread, until dropped.
struct BlockedSignals {
    before: libc::sigset_t,
}

impl BlockedSignals {
    fn new() -> BlockedSignals {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initialises the set it is given, and
        // pthread_sigmask with a valid "how" initialises the old one.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
            BlockedSignals {
                before: before.assume_init(),
            }
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: restores the mask that pthread_sigmask gave.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

/// Whether this process leaves core dumps. A change of user marks the memory
/// as not to be dumped or traced: that protects it while the child, already
/// another user, still borrows it, and is undone when it is ours alone again.
struct Dumpable(libc::c_int);

impl Dumpable {
    fn remember() -> Dumpable {
        // SAFETY: takes no pointers.
        Dumpable(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) })
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        if self.0 == 1 {
            // SAFETY: takes no pointers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
        }
    }
}

/// The child. Never returns to the caller's code.
extern "C" fn run(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` passes a context that outlives this process's use of it.
    let context = unsafe { &*argument.cast::<Context<'_>>() };
    let (step, errno) = become_program(context.prepared);
    context.report.errno.store(errno, Ordering::Release);
    context.report.step.store(step as i32, Ordering::Release);
    // SAFETY: ends this process without running the parent's exit handlers.
    unsafe { libc::_exit(127) }
}

/// Takes the steps; comes back only with the one that failed.
fn become_program(prepared: &Prepared) -> (Step, i32) {
    match confine(prepared) {
        Err(failure) => failure,
        Ok(()) => {
            reset_signals();
            // SAFETY: the program and both tables are valid, end in zero
            // bytes and null pointers, and outlive the call.
            unsafe {
                libc::execve(
                    prepared.program.as_ptr(),
                    prepared.argv.as_ptr(),
                    prepared.env.as_ptr(),
                );
            }
            (Step::Execute, errno())
        }
    }
}

fn confine(prepared: &Prepared) -> Result<(), (Step, i32)> {
    // SAFETY: takes no pointers.
    check(Step::Session, unsafe { libc::setsid() } as libc::c_long)?;
    for file in &prepared.cgroups {
        // "0" is the writing process.
        write_all(Step::Cgroup, file.as_raw_fd(), b"0")?;
    }
    if let Some(processors) = &prepared.processors {
        // A bare system call; 0 is this thread, the only one there is.
        if let Err(e) = rustix::thread::sched_setaffinity(None, processors) {
            return Err((Step::Processors, e.raw_os_error()));
        }
    }
    for limit in &prepared.limits {
        // SAFETY: the limit is valid and only read.
        let done = unsafe { libc::setrlimit(limit.resource, &raw const limit.value) };
        check(Step::Limit, done.into())?;
    }
    if let Some(score) = &prepared.oom_score {
        set_oom_score(score)?;
    }
    place_descriptors(prepared)?;
    // SAFETY: takes no pointers; the directory's name is a valid C string.
    unsafe {
        libc::umask(prepared.umask);
        check(
            Step::Directory,
            libc::chdir(prepared.directory.as_ptr()).into(),
        )?;
    }
    if prepared.identity.is_some() {
        change_identity(prepared)?;
        // SAFETY: takes no pointers.
        let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        check(Step::NoNewPrivileges, done.into())?;
    }
    // After the change of user, which would take it back.
    if let Some(parent) = prepared.dies_with {
        // SAFETY: takes no pointers.
        let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
        check(Step::Session, done.into())?;
        // One that was killed before that sends no signal any more.
        // SAFETY: takes no pointers.
        if unsafe { libc::getppid() } != parent {
            return Err((Step::Session, libc::ESRCH));
        }
    }
    restrict_files(prepared)
}

fn set_oom_score(score: &[u8]) -> Result<(), (Step, i32)> {
    // SAFETY: a valid C string; the descriptor is closed on exec.
    let fd = unsafe {
        libc::open(
            c"/proc/self/oom_score_adj".as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        )
    };
    check(Step::OomScore, fd.into())?;
    write_all(Step::OomScore, fd, score)
}

/// Marks everything to be closed on exec, then places what is wanted.
fn place_descriptors(prepared: &Prepared) -> Result<(), (Step, i32)> {
    // SAFETY: takes no pointers. The descriptor table is the child's own
    // (no CLONE_FILES), and descriptors of the parent are only marked.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    // Without this call (before Linux 5.11) close-on-exec, which all our own
    // descriptors have, must do.
    if done < 0 && errno() != libc::ENOSYS && errno() != libc::EINVAL {
        return Err((Step::Descriptors, errno()));
    }
    for (fd, target) in &prepared.placements {
        // SAFETY: takes no pointers; clears close-on-exec on the new number.
        let done = unsafe { libc::dup2(fd.as_raw_fd(), *target) };
        check(Step::Descriptors, done.into())?;
    }
    Ok(())
}

/// Drops what could give privileges back, then the identity itself: with the
/// change away from root the kernel empties the capability sets.
fn change_identity(prepared: &Prepared) -> Result<(), (Step, i32)> {
    let Some(identity) = &prepared.identity else {
        return Ok(());
    };
    let (uid, gid) = (identity.uid, identity.gid);
    // SAFETY: these calls take no pointers but the group list, which is valid
    // for its length and only read.
    unsafe {
        if libc::geteuid() == 0 {
            for capability in 0..=prepared.last_capability {
                let done = libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
                check(Step::Capabilities, done.into())?;
            }
            let groups = libc::syscall(
                libc::SYS_setgroups,
                identity.groups.len(),
                identity.groups.as_ptr(),
            );
            check(Step::Identity, groups)?;
        }
        check(
            Step::Identity,
            libc::syscall(libc::SYS_setresgid, gid, gid, gid),
        )?;
        check(
            Step::Identity,
            libc::syscall(libc::SYS_setresuid, uid, uid, uid),
        )
    }
}

fn restrict_files(prepared: &Prepared) -> Result<(), (Step, i32)> {
    let Some(ruleset) = &prepared.ruleset else {
        return Ok(());
    };
    // SAFETY: takes no pointers. Root may restrict itself without the
    // promise, an ordinary user must have made it.
    unsafe {
        let done = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        check(Step::NoNewPrivileges, done.into())?;
        let fd = ruleset.as_fd().as_raw_fd();
        check(
            Step::Landlock,
            libc::syscall(libc::SYS_landlock_restrict_self, fd, 0u32),
        )
    }
}

/// Signals there are, the two the C library keeps for itself included.
const SIGNAL_MAX: libc::c_int = 64;

/// The kernel's `struct sigaction` in its longest form (handler, flags,
/// restorer, mask), all zero: the default.
static DEFAULT_ACTION: [u64; 4] = [0; 4];

/// Gives every signal its default and unblocks all.
fn reset_signals() {
    // SAFETY: the action is at least as long as what the kernel reads, the
    // old one is not asked for, and the emptied set is initialised. The child
    // has its own table of handlers (no CLONE_SIGHAND). By bare system calls,
    // since the library leaves out its own two signals; numbers that cannot
    // be changed just fail.
    unsafe {
        let action = DEFAULT_ACTION.as_ptr();
        for signal in 1..=SIGNAL_MAX {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                action,
                ptr::null::<u64>(),
                8usize,
            );
        }
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

fn write_all(step: Step, fd: libc::c_int, bytes: &[u8]) -> Result<(), (Step, i32)> {
    // SAFETY: the bytes are valid for their length and only read.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    check(step, written as libc::c_long)
}

fn check(step: Step, result: libc::c_long) -> Result<(), (Step, i32)> {
    if result < 0 {
        Err((step, errno()))
    } else {
        Ok(())
    }
}

fn errno() -> i32 {
    // SAFETY: the location is valid for this thread for ever. The child has
    // the cloning thread's, which stands still meanwhile.
    unsafe { *libc::__errno_location() }
}
