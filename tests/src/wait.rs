//! Waiting for what announces nothing: the one place that polls, always with an end.

use std::time::{Duration, Instant};

/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `found` gives a value.
///
/// # Panics
/// After `limit`, naming `what` was awaited.
pub fn for_value<T>(what: &str, limit: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(
            begin.elapsed() < limit,
            "waited {limit:?} in vain for {what}"
        );
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Looks until `holds` is true, or until `limit`; tells whether it came to be.
pub fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begin.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Looks until `holds` is true.
///
/// # Panics
/// After `limit`, naming `what` was awaited.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    for_value(what, limit, || holds().then_some(()));
}
