//! Replies about the process, its run state, processors, devices and memory.

use std::collections::BTreeMap;

use serde::Deserialize;

/// QEMU's run state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Stopped by a debugger.
    Debug,
    /// Waiting for a migration to be finished.
    FinishMigrate,
    /// Waiting for, or receiving, a migration.
    Inmigrate,
    /// Something in the processor's emulation went wrong; the guest cannot go on.
    InternalError,
    /// Stopped because a disk could not be read or written.
    IoError,
    /// Stopped by request.
    Paused,
    /// Stopped, its state has been sent.
    Postmigrate,
    /// Started with `-S` and not yet run.
    Prelaunch,
    /// Going back to a snapshot.
    RestoreVm,
    /// Running.
    Running,
    /// Taking a snapshot.
    SaveVm,
    /// The guest has shut down and QEMU stayed.
    Shutdown,
    /// The guest is suspended to memory.
    Suspended,
    /// Stopped by its watchdog.
    Watchdog,
    /// The guest's kernel panicked.
    GuestPanicked,
    /// Waiting for the rest of its configuration.
    Preconfig,
    /// A state this version of Stead does not know.
    #[serde(other)]
    Unknown,
}

/// The reply of `query-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct StatusInfo {
    /// Whether the processors run.
    pub running: bool,
    /// Why they run or not.
    pub status: RunState,
}

/// The reply of `query-version`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VersionInfo {
    /// The version's three numbers.
    pub qemu: Version,
    /// The distributor's package string.
    #[serde(default)]
    pub package: String,
}

/// A version of QEMU.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize, Default,
)]
pub struct Version {
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
    /// The micro version.
    pub micro: u32,
}

/// The reply of `query-name`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NameInfo {
    /// The name given with `-name`.
    #[serde(default)]
    pub name: Option<String>,
}

/// The reply of `query-kvm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct KvmInfo {
    /// QEMU was built with KVM.
    pub present: bool,
    /// This process uses KVM.
    pub enabled: bool,
}

/// The reply of `query-current-machine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct CurrentMachine {
    /// The guest can be woken from suspend to memory.
    #[serde(rename = "wakeup-suspend-support")]
    pub wakeup_suspend_support: bool,
}

/// One character device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChardevInfo {
    /// Its id.
    pub label: String,
    /// What it is connected to; `pty:PATH` for a pseudo terminal.
    pub filename: String,
    /// Whether the guest's side is open.
    #[serde(rename = "frontend-open", default)]
    pub frontend_open: bool,
}

impl ChardevInfo {
    /// The path of the pseudo terminal, if it is one.
    #[must_use]
    pub fn pty(&self) -> Option<&str> {
        self.filename.strip_prefix("pty:")
    }
}

/// A descriptor that QEMU has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct AddedFd {
    /// The number of the set it is in.
    #[serde(rename = "fdset-id")]
    pub set: u32,
}

/// One virtual processor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CpuFast {
    /// Its number.
    pub cpu_index: u32,
    /// Its object.
    pub qom_path: String,
    /// The host's thread which runs it.
    pub thread_id: i32,
    /// Where it sits: socket, die, core, thread and node numbers.
    #[serde(default)]
    pub props: BTreeMap<String, u64>,
}

/// One I/O thread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IoThread {
    /// Its id.
    pub id: String,
    /// The host's thread.
    #[serde(rename = "thread-id")]
    pub thread_id: i32,
    /// How long it looks for work before it sleeps, at most, in nanoseconds.
    #[serde(rename = "poll-max-ns", default)]
    pub poll_max_ns: u64,
    /// By what that time is multiplied when it was too short; 0 leaves it to QEMU.
    #[serde(rename = "poll-grow", default)]
    pub poll_grow: u64,
    /// By what it is divided when it was too long; 0 leaves it to QEMU.
    #[serde(rename = "poll-shrink", default)]
    pub poll_shrink: u64,
}

impl IoThread {
    /// Its number, which its id ends with.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.id.strip_prefix("iothread")?.parse().ok()
    }
}

/// A property of a kind of object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its type in QEMU's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value where none is given.
    #[serde(rename = "default-value", default)]
    pub default: Option<serde_json::Value>,
}

/// A kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TypeInfo {
    /// Its name.
    pub name: String,
    /// What it derives from.
    #[serde(default)]
    pub parent: Option<String>,
}

/// The reply of `query-balloon`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct BalloonInfo {
    /// The memory left to the guest, in bytes.
    pub actual: u64,
}

/// The guest's memory figures as its balloon driver reports them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BalloonStats {
    /// When the guest last reported, in seconds since the epoch; 0 for never.
    #[serde(default)]
    pub last_update: u64,
    /// The figures by QEMU's names (`stat-free-memory`, …) in bytes or counts. What the guest
    /// does not report QEMU gives as a huge number; [`BalloonStats::get`] leaves it out.
    #[serde(default)]
    pub stats: BTreeMap<String, u64>,
}

impl BalloonStats {
    /// One figure, if the guest reports it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.stats
            .get(name)
            .copied()
            .filter(|&value| value != u64::MAX)
    }
}

/// What a network card lets through.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RxFilter {
    /// The card's id.
    pub name: String,
    /// It takes every frame.
    pub promiscuous: bool,
    /// `normal`, `none` or `all`.
    pub multicast: String,
    /// `normal`, `none` or `all`.
    pub unicast: String,
    /// Its address.
    pub main_mac: String,
    /// Further addresses.
    #[serde(default)]
    pub unicast_table: Vec<String>,
    /// Groups it listens to.
    #[serde(default)]
    pub multicast_table: Vec<String>,
    /// VLANs it takes.
    #[serde(default)]
    pub vlan_table: Vec<u32>,
}
