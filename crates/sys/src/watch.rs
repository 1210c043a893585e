//! Descriptors that a task waits for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor for as long as its holder is in the answer. Only inside a runtime.
pub fn watch<T: AsFd + AsRawFd>(holder: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: what lends a descriptor keeps it open, and the holder is kept until the watch ends.
    let watched = unsafe { AsyncFd::register_with_interest(holder, interest) };
    Ok(watched?)
}
