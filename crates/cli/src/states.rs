//! libvirt's numbers for states and reasons, in words.

const STATES: &[&str] = &[
    "no state",
    "running",
    "idle",
    "paused",
    "in shutdown",
    "shut off",
    "crashed",
    "pmsuspended",
];

/// A state that does not run.
pub(crate) const SHUTOFF: i32 = 5;

/// By state, the reasons for it.
const REASONS: &[&[&str]] = &[
    &["unknown"],
    &[
        "unknown",
        "booted",
        "migrated",
        "restored",
        "from snapshot",
        "unpaused",
        "migration canceled",
        "save canceled",
        "event wakeup",
        "crashed",
        "post-copy",
        "post-copy failed",
    ],
    &["unknown"],
    &[
        "unknown",
        "user",
        "migrating",
        "saving",
        "dumping",
        "I/O error",
        "watchdog",
        "from snapshot",
        "shutting down",
        "creating snapshot",
        "crashed",
        "starting up",
        "post-copy",
        "post-copy failed",
        "api error",
    ],
    &["unknown", "user"],
    &[
        "unknown",
        "shutdown",
        "destroyed",
        "crashed",
        "migrated",
        "saved",
        "failed",
        "from snapshot",
        "daemon",
    ],
    &["unknown", "panicked"],
    &["unknown"],
];

fn word(table: &[&'static str], number: i32) -> Option<&'static str> {
    usize::try_from(number)
        .ok()
        .and_then(|i| table.get(i))
        .copied()
}

/// A state in words.
pub(crate) fn state(number: i32) -> &'static str {
    word(STATES, number).unwrap_or("no state")
}

/// A reason in words.
pub(crate) fn reason(state: i32, reason: i32) -> &'static str {
    let table = usize::try_from(state).ok().and_then(|i| REASONS.get(i));
    table.and_then(|t| word(t, reason)).unwrap_or("unknown")
}

/// The state of the control channel to QEMU, in words.
pub(crate) fn control(number: u32) -> &'static str {
    match number {
        0 => "ok",
        1 => "background job",
        2 => "occupied",
        3 => "error",
        _ => "unknown",
    }
}

/// Why the control channel is in error.
pub(crate) fn control_error(number: u32) -> &'static str {
    match number {
        0 => "",
        2 => "monitor failure",
        3 => "internal (locking) error",
        _ => "unknown",
    }
}
