//! Statistics of running machines. What the host knows (processor time,
//! threads, packets) is read from the host; QEMU is asked only for what only
//! it knows, and one that hangs is left out instead of waited for.

use crate::handle::DomainHandle;
use crate::inspect::{self, DirtyRate};
use crate::limits::{QMP_STATS_TIMEOUT_MS, STATS_PARALLEL_MAX};
use crate::live::LiveMachine;
use crate::monitor::Monitor;
use model::domain::Domain;
use model::domain::disk::Disk;
use qemu::qmp::commands;
pub use qemu::qmp::reply::IoThread;
use qemu::qmp::reply::{BlockCounters, BlockDevice, BlockStats};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use tokio::task::JoinSet;

/// Which groups of statistics are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatsWanted {
    /// Processor time of the whole machine.
    pub cpu: bool,
    /// Memory and balloon.
    pub balloon: bool,
    /// Each processor.
    pub vcpu: bool,
    /// Each network interface.
    pub interface: bool,
    /// Each disk.
    pub block: bool,
    /// How fast memory is written.
    pub dirty_rate: bool,
    /// Events that are counted.
    pub perf: bool,
    /// Each I/O thread.
    pub iothread: bool,
}

/// Statistics of one machine; what could not be had is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DomainStats {
    /// Processor time of the whole machine.
    pub cpu: Option<CpuStats>,
    /// Memory and balloon.
    pub balloon: Option<BalloonFigures>,
    /// Each processor.
    pub vcpus: Vec<VcpuFigures>,
    /// Each network interface the host can count for.
    pub interfaces: Vec<InterfaceFigures>,
    /// All network interfaces, those the host knows nothing of included.
    pub interface_count: usize,
    /// Each disk.
    pub blocks: Vec<BlockFigures>,
    /// How fast memory is written, as it was measured last.
    pub dirty_rate: Option<DirtyRate>,
    /// How often each of the counted events happened, by libvirt's names.
    pub perf: Vec<(&'static str, u64)>,
    /// Each I/O thread, where QEMU could be asked.
    pub iothreads: Option<Vec<IoThread>>,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// In all.
    pub time_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
}

/// Memory, in KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BalloonFigures {
    /// What the guest has.
    pub current_kib: u64,
    /// What it may have.
    pub maximum_kib: u64,
    /// What QEMU's process takes of the host's memory.
    pub rss_kib: u64,
    /// What the guest says of itself, by QEMU's names, in bytes or counts.
    pub guest: BTreeMap<String, u64>,
    /// When the guest said so, in seconds since the epoch.
    pub last_update_s: u64,
}

/// One processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VcpuFigures {
    /// Its number.
    pub number: u32,
    /// The host's thread that runs it.
    pub thread: i32,
    /// Time it ran, in nanoseconds.
    pub time_ns: u64,
    /// Time it waited for a processor of the host, in nanoseconds.
    pub delay_ns: u64,
    /// The host's processor it ran on last.
    pub host_cpu: u32,
}

/// One network interface, seen from the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceFigures {
    /// Its place among the machine's interfaces.
    pub place: usize,
    /// The device on the host.
    pub name: String,
    /// The counters: bytes, packets, errors, drops received, then sent.
    pub received: [u64; 4],
    /// The counters for what the guest sent.
    pub sent: [u64; 4],
}

/// One disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockFigures {
    /// Its name in the guest (`vda`).
    pub target: String,
    /// Its image.
    pub path: Option<String>,
    /// QEMU's counters, where it could be asked.
    pub counters: Option<BlockCounters>,
    /// The size the guest sees, in bytes.
    pub capacity_bytes: Option<u64>,
    /// The highest byte written, or the blocks allocated, in bytes.
    pub allocation_bytes: Option<u64>,
    /// The size of the image's file or device, in bytes.
    pub physical_bytes: Option<u64>,
}

impl DomainHandle {
    /// The machine's statistics; nothing of an inactive one.
    pub async fn stats(&self, wanted: StatsWanted) -> DomainStats {
        match &self.view().live {
            Some(live) => stats_of(live, wanted).await,
            None => DomainStats::default(),
        }
    }

    /// Processor time in nanoseconds; 0 of an inactive machine.
    pub fn cpu_time_ns(&self) -> u64 {
        self.view()
            .live
            .as_ref()
            .map_or(0, |live| cpu_stats(live).time_ns)
    }

    /// Disks of an inactive machine too: where they are and how large.
    pub async fn block_figures(&self) -> crate::Result<Vec<BlockFigures>> {
        let view = self.view();
        match &view.live {
            Some(live) => Ok(block_figures(live).await),
            None => {
                let definition = self.definition()?;
                let mut figures = blocks_of(&definition);
                for (figure, disk) in figures.iter_mut().zip(&definition.devices.disks) {
                    figure.capacity_bytes = figure.capacity_bytes.or(capacity(disk));
                }
                Ok(figures)
            }
        }
    }
}

/// The statistics of many machines, several asked at a time, in their order.
pub async fn stats_of_all(domains: &[DomainHandle], wanted: StatsWanted) -> Vec<DomainStats> {
    let mut all = vec![DomainStats::default(); domains.len()];
    let mut asked = JoinSet::new();
    for (index, domain) in domains.iter().enumerate() {
        if asked.len() >= STATS_PARALLEL_MAX {
            take_one(&mut asked, &mut all).await;
        }
        let domain = domain.clone();
        asked.spawn(async move { (index, domain.stats(wanted).await) });
    }
    while !asked.is_empty() {
        take_one(&mut asked, &mut all).await;
    }
    all
}

async fn take_one(asked: &mut JoinSet<(usize, DomainStats)>, all: &mut [DomainStats]) {
    if let Some(Ok((index, stats))) = asked.join_next().await {
        all[index] = stats;
    }
}

async fn stats_of(live: &LiveMachine, wanted: StatsWanted) -> DomainStats {
    let mut stats = DomainStats::default();
    if wanted.cpu {
        stats.cpu = Some(cpu_stats(live));
    }
    if wanted.vcpu {
        stats.vcpus = vcpu_figures(live);
    }
    if wanted.interface {
        let definition = live.definition();
        stats.interfaces = interface_figures(&definition);
        stats.interface_count = definition.devices.interfaces.len();
    }
    if wanted.balloon {
        stats.balloon = Some(balloon_figures(live).await);
    }
    if wanted.block {
        stats.blocks = block_figures(live).await;
    }
    if wanted.perf {
        stats.perf = live.events_counted();
    }
    if wanted.iothread {
        stats.iothreads = iothreads(live).await;
    }
    if wanted.dirty_rate
        && let Some(monitor) = answering(live)
    {
        stats.dirty_rate = monitor
            .ask(&inspect::query_dirty_rate(), PATIENCE)
            .await
            .ok();
    }
    stats
}

/// QEMU is not asked where the definition says that there are none.
async fn iothreads(live: &LiveMachine) -> Option<Vec<IoThread>> {
    if live.definition().iothread_numbers().is_empty() {
        return Some(Vec::new());
    }
    let query = commands::query_iothreads();
    answering(live)?.ask(&query, PATIENCE).await.ok()
}

fn cpu_stats(live: &LiveMachine) -> CpuStats {
    let pid = live.process.id().pid;
    let stat = sys::process::stat(pid).ok().flatten();
    let (user_ns, system_ns) = stat.map_or((0, 0), |stat| (stat.user_ns, stat.system_ns));
    let time_ns = sys::process::cpu_time_ns(pid).unwrap_or(user_ns + system_ns);
    CpuStats {
        time_ns,
        user_ns,
        system_ns,
    }
}

/// QEMU names its processors' threads `CPU 0/KVM` or `CPU 0/TCG`.
pub(crate) fn vcpu_figures(live: &LiveMachine) -> Vec<VcpuFigures> {
    let threads = sys::process::threads(live.process.id().pid).unwrap_or_default();
    let mut figures: Vec<VcpuFigures> = threads
        .iter()
        .filter_map(|thread| {
            let number = thread
                .name
                .strip_prefix("CPU ")?
                .split('/')
                .next()?
                .parse()
                .ok()?;
            Some(VcpuFigures {
                number,
                thread: thread.tid,
                time_ns: thread.run_ns.unwrap_or(thread.user_ns + thread.system_ns),
                delay_ns: thread.wait_ns.unwrap_or(0),
                host_cpu: thread.last_cpu,
            })
        })
        .collect();
    figures.sort_by_key(|figure| figure.number);
    figures
}

fn interface_figures(definition: &Domain) -> Vec<InterfaceFigures> {
    let interfaces = definition.devices.interfaces.iter().enumerate();
    interfaces
        .filter_map(|(place, interface)| {
            let name = interface.target.as_ref()?.dev.clone()?;
            // What the tap receives the guest has sent.
            let tap = sys::net::stats(&name).ok().flatten()?;
            Some(InterfaceFigures {
                received: [tap.tx_bytes, tap.tx_packets, tap.tx_errors, tap.tx_dropped],
                sent: [tap.rx_bytes, tap.rx_packets, tap.rx_errors, tap.rx_dropped],
                name,
                place,
            })
        })
        .collect()
}

/// The monitor, unless asking it is pointless.
fn answering(live: &LiveMachine) -> Option<&Monitor> {
    if live.is_silent() {
        None
    } else {
        live.monitor().ok()
    }
}

const PATIENCE: Duration = Duration::from_millis(QMP_STATS_TIMEOUT_MS);

async fn balloon_figures(live: &LiveMachine) -> BalloonFigures {
    let definition = live.definition();
    let pid = live.process.id().pid;
    let rss_bytes = sys::process::stat(pid)
        .ok()
        .flatten()
        .map_or(0, |stat| stat.resident_bytes);
    let mut figures = BalloonFigures {
        current_kib: crate::facts::current_memory_kib(&definition),
        maximum_kib: definition.memory.size.0,
        rss_kib: rss_bytes / 1024,
        ..BalloonFigures::default()
    };
    let Some(alias) = crate::facts::balloon_alias(&definition) else {
        return figures;
    };
    let Some(monitor) = answering(live) else {
        return figures;
    };
    if let Ok(info) = monitor.ask(&commands::query_balloon(), PATIENCE).await {
        figures.current_kib = info.actual / 1024;
    }
    let path = format!("/machine/peripheral/{alias}");
    if let Ok(stats) = monitor.ask(&commands::balloon_stats(&path), PATIENCE).await {
        figures.last_update_s = stats.last_update;
        figures.guest = stats
            .stats
            .into_iter()
            .filter(|(_, value)| *value != u64::MAX)
            .collect();
    }
    figures
}

async fn block_figures(live: &LiveMachine) -> Vec<BlockFigures> {
    let definition = live.definition();
    let mut figures = blocks_of(&definition);
    if figures.is_empty() {
        return figures;
    }
    let Some(monitor) = answering(live) else {
        return figures;
    };
    let (query_stats, query_block) = (commands::query_blockstats(false), commands::query_block());
    let (stats, devices) = tokio::join!(
        monitor.ask(&query_stats, PATIENCE),
        monitor.ask(&query_block, PATIENCE)
    );
    let stats = stats.unwrap_or_default();
    let devices = devices.unwrap_or_default();
    for (disk, figure) in definition.devices.disks.iter().zip(&mut figures) {
        let alias = disk.info.alias.as_deref().unwrap_or_default();
        take_counters(figure, alias, &stats);
        take_sizes(figure, alias, &devices);
    }
    figures
}

/// Whether QEMU's name for a device is that of the disk with this alias.
pub(crate) fn names(qdev: Option<&str>, alias: &str) -> bool {
    let last = qdev
        .unwrap_or_default()
        .trim_end_matches("/virtio-backend")
        .rsplit('/')
        .next();
    last == Some(alias)
}

fn take_counters(figure: &mut BlockFigures, alias: &str, all: &[BlockStats]) {
    let Some(found) = all.iter().find(|stats| names(stats.qdev.as_deref(), alias)) else {
        return;
    };
    figure.counters = Some(found.stats);
    if let Some(parent) = &found.parent {
        figure.allocation_bytes = Some(parent.stats.wr_highest_offset);
    }
}

fn take_sizes(figure: &mut BlockFigures, alias: &str, all: &[BlockDevice]) {
    let found = all
        .iter()
        .find(|device| names(device.qdev.as_deref(), alias));
    if let Some(inserted) = found.and_then(|device| device.inserted.as_ref()) {
        figure.capacity_bytes = Some(inserted.image.virtual_size);
    }
}

/// The size of an image that no QEMU has open, as its header says it.
fn capacity(disk: &Disk) -> Option<u64> {
    let path = disk.source_path().filter(|path| !path.is_empty())?;
    let image = crate::pools::scan::image_of(std::path::Path::new(path))?;
    let is_meant = image.format == disk.format().as_str();
    image.capacity.filter(|_| is_meant)
}

/// What the host knows of the disks by itself.
fn blocks_of(definition: &Domain) -> Vec<BlockFigures> {
    let disks = definition.devices.disks.iter();
    disks
        .map(|disk| {
            let path = disk.source_path().map(str::to_owned);
            let meta = path.as_ref().and_then(|path| std::fs::metadata(path).ok());
            let is_raw = disk.format() == model::domain::storage::ImageFormat::Raw;
            BlockFigures {
                target: disk.target_dev().to_owned(),
                physical_bytes: meta.as_ref().map(std::fs::Metadata::len),
                allocation_bytes: meta.as_ref().map(|meta| meta.blocks() * 512),
                capacity_bytes: meta.as_ref().filter(|_| is_raw).map(std::fs::Metadata::len),
                counters: None,
                path,
            }
        })
        .collect()
}
