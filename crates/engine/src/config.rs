//! What a daemon is started with.

use crate::places::Places;
use std::path::PathBuf;

/// Whose daemon it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The host's: `qemu:///system`.
    System,
    /// An ordinary user's: `qemu:///session`.
    Session,
}

/// The settings of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whose daemon it is.
    pub mode: Mode,
    /// Where things live.
    pub places: Places,
    /// The user QEMU runs as in system mode; the first that exists.
    pub qemu_users: Vec<String>,
    /// The QEMU binary where a definition names none; looked up in `PATH` if
    /// not given.
    pub emulator: Option<PathBuf>,
    /// A control group that a service manager keeps for the machines; their
    /// groups lie below the daemon's own where there is none.
    pub machines_cgroup: Option<String>,
}

impl Config {
    /// The usual settings for a mode and its places.
    pub fn new(mode: Mode, places: Places) -> Self {
        Self {
            mode,
            places,
            qemu_users: ["libvirt-qemu", "qemu", "stead-qemu"]
                .map(str::to_owned)
                .into(),
            emulator: None,
            machines_cgroup: None,
        }
    }
}
