//! What a machine may use of its host: processors, memory, disk time, network
//! speed. The definition says it; control groups, the scheduler and QEMU
//! carry it out, at the start and whenever it is changed.
//!
//! A change is the part of the definition it is about, with only the fields
//! set that are to change.

mod amend;
mod disks;
mod enact;
mod groups;
mod iothreads;
mod lifecycle;
mod perf;
mod present;
mod threads;
mod throttle_groups;
mod vcpus;

use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::clock::LifecycleAction;
use model::domain::disk::{Disk, IoTune};
use model::domain::id_set::IdSet;
use model::domain::interface::{Bandwidth, Interface};
use model::domain::resources::{BlkioTune, CpuTune, MemTune, NumaMemory};

pub(crate) use groups::{apply as apply_groups, confines as groups_confine};
pub use perf::{PERF_EVENTS, perf_event_is_on};
pub(crate) use perf::{PerfCounters, refuse as refuse_perf};
pub use present::DiskError;
pub use qemu::command_line::throttle_target;
pub(crate) use threads::{apply as apply_threads, are_tuned as threads_are_tuned, initial_cpus};
pub(crate) use vcpus::plug as plug_vcpus;

/// The period of a bandwidth whose definition names none, in microseconds.
pub const CPU_PERIOD_DEFAULT_US: u64 = 100_000;

/// A change of what a machine may use.
#[derive(Debug, Clone, PartialEq)]
pub enum Tuning {
    /// The host's processors one virtual processor may run on.
    PinVcpu {
        /// Its number.
        vcpu: u32,
        /// The host's processors.
        cpus: IdSet,
    },
    /// The host's processors QEMU's own threads may run on.
    PinEmulator(IdSet),
    /// The host's processors an I/O thread may run on.
    PinIothread {
        /// Its number.
        iothread: u32,
        /// The host's processors.
        cpus: IdSet,
    },
    /// Shares, periods and quotas.
    Cpu(Box<CpuTune>),
    /// Limits on memory.
    Memory(Box<MemTune>),
    /// Limits on the host's block devices; a value of 0 takes a device's limit away.
    Block(Box<BlkioTune>),
    /// The host's nodes the memory comes from.
    Numa(NumaMemory),
    /// Limits on one disk.
    Disk {
        /// Its name in the guest, or its source.
        disk: String,
        /// The limits.
        limits: Box<IoTune>,
    },
    /// Events of the host's processors that are counted, or not any more, by their names.
    Perf(Vec<(String, bool)>),
    /// Limits that several disks share, made or changed.
    SetThrottleGroup {
        /// Its name.
        group: String,
        /// The limits.
        limits: Box<IoTune>,
    },
    /// One group of limits less, by its name.
    RemoveThrottleGroup(String),
    /// Limits on one network interface; a direction without a value loses its limit.
    Interface {
        /// Its name on the host, or its MAC address.
        device: String,
        /// The limits.
        bandwidth: Box<Bandwidth>,
    },
    /// How often the guest says how it uses its memory, in seconds; 0 for never.
    BalloonPeriod(u32),
    /// A further I/O thread, by its number.
    AddIothread(u32),
    /// One I/O thread less.
    RemoveIothread(u32),
    /// How an I/O thread works.
    SetIothread {
        /// Its number.
        iothread: u32,
        /// What is to change.
        settings: IothreadSettings,
    },
    /// Which virtual processors it has.
    Vcpus(VcpuChange),
    /// What follows from the guest's end.
    Lifecycle {
        /// From which end.
        end: LifecycleEnd,
        /// What is done.
        action: LifecycleAction,
    },
}

/// What can be changed of an I/O thread; what is not given stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IothreadSettings {
    /// Longest time to poll, in nanoseconds.
    pub poll_max: Option<u64>,
    /// By what the time grows.
    pub poll_grow: Option<u64>,
    /// By what the time shrinks.
    pub poll_shrink: Option<u64>,
    /// Fewest worker threads.
    pub pool_min: Option<i32>,
    /// Most worker threads.
    pub pool_max: Option<i32>,
}

/// Which virtual processors a machine is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VcpuChange {
    /// So many.
    Count(u32),
    /// These are plugged in or out.
    These {
        /// Their numbers.
        ids: IdSet,
        /// In.
        on: bool,
    },
}

/// How a guest can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleEnd {
    /// It powers off.
    Poweroff,
    /// It reboots.
    Reboot,
    /// It crashes.
    Crash,
}

/// A value in the event that tells of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TunableValue {
    /// A number.
    Unsigned(u64),
    /// A number that may be negative.
    Signed(i64),
    /// Text.
    Text(String),
}

/// A bandwidth of processor time by libvirt's name of its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedBandwidth {
    /// `vcpu`, `emulator`, `global` or `iothread`.
    pub part: &'static str,
    /// Microseconds of a period.
    pub period_us: Option<u64>,
    /// Microseconds of processor time per period; negative for no bound.
    pub quota_us: Option<i64>,
}

/// The bandwidths a definition has, in libvirt's order.
pub fn bandwidths(tune: &CpuTune) -> [NamedBandwidth; 4] {
    let one = |part, period_us, quota_us| NamedBandwidth {
        part,
        period_us,
        quota_us,
    };
    [
        one("vcpu", tune.period, tune.quota),
        one("emulator", tune.emulator_period, tune.emulator_quota),
        one("global", tune.global_period, tune.global_quota),
        one("iothread", tune.iothread_period, tune.iothread_quota),
    ]
}

/// The disk with this name in the guest or this source.
pub fn disk<'a>(domain: &'a Domain, name: &str) -> Result<&'a Disk> {
    disks::find(domain, name).ok_or_else(|| {
        let message = format!("disk '{name}' not found in domain");
        EngineError::new(ErrorKind::InvalidArgument, message)
    })
}

/// The interface with this name on the host or this MAC address.
pub fn interface<'a>(domain: &'a Domain, device: &str) -> Result<&'a Interface> {
    let is_it = |interface: &&Interface| {
        let name = interface.target.as_ref().and_then(|t| t.dev.as_deref());
        let mac = interface.mac.as_ref().map(|mac| mac.address.to_string());
        name == Some(device) || mac.is_some_and(|mac| mac.eq_ignore_ascii_case(device))
    };
    let found = domain.devices.interfaces.iter().find(is_it);
    found.ok_or_else(|| {
        let message = format!("'{device}' is not a known interface");
        EngineError::new(ErrorKind::InvalidArgument, message)
    })
}

impl Tuning {
    /// What the event about it tells; some changes are not told.
    pub(crate) fn told(&self, domain: &Domain) -> Vec<(String, TunableValue)> {
        let text = |name: String, cpus: &IdSet| vec![(name, TunableValue::Text(cpus.to_string()))];
        match self {
            Self::PinVcpu { vcpu, cpus } => text(format!("cputune.vcpupin{vcpu}"), cpus),
            Self::PinEmulator(cpus) => text("cputune.emulatorpin".to_owned(), cpus),
            Self::PinIothread { iothread, cpus } => {
                text(format!("cputune.iothreadpin{iothread}"), cpus)
            }
            Self::Cpu(tune) => told_of_cpu(tune),
            Self::Disk { disk, .. } => disks::told(domain, disk),
            Self::SetThrottleGroup { group, .. } => throttle_groups::told(domain, group),
            _ => Vec::new(),
        }
    }
}

fn told_of_cpu(tune: &CpuTune) -> Vec<(String, TunableValue)> {
    let mut told = Vec::new();
    if let Some(shares) = tune.shares {
        told.push(("cputune.cpu_shares".into(), TunableValue::Unsigned(shares)));
    }
    for bandwidth in bandwidths(tune) {
        let name = |what| format!("cputune.{}_{what}", bandwidth.part);
        if let Some(period) = bandwidth.period_us {
            told.push((name("period"), TunableValue::Unsigned(period)));
        }
        if let Some(quota) = bandwidth.quota_us {
            told.push((name("quota"), TunableValue::Signed(quota)));
        }
    }
    told
}
