//! Figures of machines: all at once for monitoring, or of one kind for one machine.

use std::sync::Arc;

use engine::inspect::DirtyRate;
use engine::stats::{BlockFigures, DomainStats, IoThread, StatsWanted, stats_of_all};
use engine::{DomainHandle, DomainView};
use wire::consts::domain::*;
use wire::consts::flags::*;
use wire::errors::ErrorCode;
use wire::remote::*;

use super::domain_list::is_wanted;
use super::{check_flags, domain, remote_domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_all);
    dispatch.task(memory_stats);
    dispatch.task(block_stats);
    dispatch.task(block_stats_flags);
    dispatch.task(block_info);
    dispatch.task(interface_stats);
}

/// The groups that are answered.
const GROUPS: u32 = VIR_DOMAIN_STATS_STATE
    | VIR_DOMAIN_STATS_CPU_TOTAL
    | VIR_DOMAIN_STATS_BALLOON
    | VIR_DOMAIN_STATS_VCPU
    | VIR_DOMAIN_STATS_INTERFACE
    | VIR_DOMAIN_STATS_BLOCK
    | VIR_DOMAIN_STATS_PERF
    | VIR_DOMAIN_STATS_IOTHREAD
    | VIR_DOMAIN_STATS_DIRTYRATE;

async fn get_all(
    client: Arc<Client>,
    args: ConnectGetAllDomainStatsArgs,
) -> Answer<ConnectGetAllDomainStatsRet> {
    const KNOWN: u32 = 0xff
        | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        | VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING
        | VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS;
    check_flags(args.flags, KNOWN, "qemuConnectGetAllDomainStats")?;
    let unknown = args.stats & !GROUPS;
    if unknown != 0 && args.flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS != 0 {
        return Err(Failure::argument_unsupported(format!(
            "Stats types bits 0x{unknown:x} are not supported by this daemon"
        )));
    }
    let groups = if args.stats == 0 { GROUPS } else { args.stats };
    let domains: Vec<DomainHandle> = match args.doms.is_empty() {
        true => client.engine.domains(),
        // Like libvirt: one that is gone meanwhile is left out.
        false => args
            .doms
            .iter()
            .filter_map(|dom| domain(&client, dom).ok())
            .collect(),
    };
    let filter = args.flags & 0xff;
    let domains: Vec<DomainHandle> = domains
        .into_iter()
        .filter(|handle| is_wanted(&handle.view(), filter))
        .collect();
    let wanted = StatsWanted {
        cpu: groups & VIR_DOMAIN_STATS_CPU_TOTAL != 0,
        balloon: groups & VIR_DOMAIN_STATS_BALLOON != 0,
        vcpu: groups & VIR_DOMAIN_STATS_VCPU != 0,
        interface: groups & VIR_DOMAIN_STATS_INTERFACE != 0,
        block: groups & VIR_DOMAIN_STATS_BLOCK != 0,
        dirty_rate: groups & VIR_DOMAIN_STATS_DIRTYRATE != 0,
        perf: groups & VIR_DOMAIN_STATS_PERF != 0,
        iothread: groups & VIR_DOMAIN_STATS_IOTHREAD != 0,
    };
    let stats = stats_of_all(&domains, wanted).await;
    let ret_stats = domains
        .iter()
        .zip(&stats)
        .map(|(handle, stats)| DomainStatsRecord {
            dom: remote_domain(handle),
            params: record(&handle.view(), stats, groups),
        })
        .collect();
    Ok(ConnectGetAllDomainStatsRet { ret_stats })
}

fn record(view: &DomainView, stats: &DomainStats, groups: u32) -> Vec<TypedParam> {
    let mut params = Vec::new();
    if groups & VIR_DOMAIN_STATS_STATE != 0 {
        params.push(TypedParam::new("state.state", view.status.number()));
        params.push(TypedParam::new("state.reason", view.status.reason_number()));
    }
    if let Some(cpu) = &stats.cpu {
        params.push(TypedParam::new("cpu.time", cpu.time_ns));
        params.push(TypedParam::new("cpu.user", cpu.user_ns));
        params.push(TypedParam::new("cpu.system", cpu.system_ns));
    }
    if groups & VIR_DOMAIN_STATS_BALLOON != 0 {
        balloon(&mut params, view, stats);
    }
    if groups & VIR_DOMAIN_STATS_VCPU != 0 {
        vcpus(&mut params, view, stats);
    }
    if groups & VIR_DOMAIN_STATS_INTERFACE != 0 && view.is_active() {
        interfaces(&mut params, stats);
    }
    if groups & VIR_DOMAIN_STATS_BLOCK != 0 && view.is_active() {
        blocks(&mut params, &stats.blocks);
    }
    for (event, count) in &stats.perf {
        params.push(TypedParam::new(format!("perf.{event}"), *count));
    }
    if let Some(threads) = &stats.iothreads {
        iothreads(&mut params, threads);
    }
    if let Some(rate) = &stats.dirty_rate {
        dirty_rate(&mut params, rate);
    }
    params
}

fn iothreads(params: &mut Vec<TypedParam>, threads: &[IoThread]) {
    params.push(TypedParam::new("iothread.count", threads.len() as u32));
    let numbered = threads.iter().filter_map(|t| Some((t.number()?, t)));
    for (number, thread) in numbered {
        let name = |what: &str| format!("iothread.{number}.{what}");
        let factor = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        params.push(TypedParam::new(name("poll-max-ns"), thread.poll_max_ns));
        params.push(TypedParam::new(name("poll-grow"), factor(thread.poll_grow)));
        params.push(TypedParam::new(
            name("poll-shrink"),
            factor(thread.poll_shrink),
        ));
    }
}

/// What the guest says of its memory: QEMU's name, libvirt's name, libvirt's number, and whether
/// it is in bytes, which libvirt tells in KiB.
const GUEST_MEMORY: &[(&str, &str, i32, bool)] = &[
    (
        "stat-swap-in",
        "swap_in",
        VIR_DOMAIN_MEMORY_STAT_SWAP_IN,
        true,
    ),
    (
        "stat-swap-out",
        "swap_out",
        VIR_DOMAIN_MEMORY_STAT_SWAP_OUT,
        true,
    ),
    (
        "stat-major-faults",
        "major_fault",
        VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT,
        false,
    ),
    (
        "stat-minor-faults",
        "minor_fault",
        VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT,
        false,
    ),
    (
        "stat-free-memory",
        "unused",
        VIR_DOMAIN_MEMORY_STAT_UNUSED,
        true,
    ),
    (
        "stat-total-memory",
        "available",
        VIR_DOMAIN_MEMORY_STAT_AVAILABLE,
        true,
    ),
    (
        "stat-available-memory",
        "usable",
        VIR_DOMAIN_MEMORY_STAT_USABLE,
        true,
    ),
    (
        "stat-disk-caches",
        "disk_caches",
        VIR_DOMAIN_MEMORY_STAT_DISK_CACHES,
        true,
    ),
    (
        "stat-htlb-pgalloc",
        "hugetlb_pgalloc",
        VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC,
        false,
    ),
    (
        "stat-htlb-pgfail",
        "hugetlb_pgfail",
        VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL,
        false,
    ),
];

fn in_libvirts_unit(value: u64, is_bytes: bool) -> u64 {
    if is_bytes { value / 1024 } else { value }
}

fn balloon(params: &mut Vec<TypedParam>, view: &DomainView, stats: &DomainStats) {
    let Some(figures) = &stats.balloon else {
        if let Some(summary) = view.summary() {
            params.push(TypedParam::new("balloon.current", summary.memory_kib));
            params.push(TypedParam::new("balloon.maximum", summary.max_memory_kib));
        }
        return;
    };
    params.push(TypedParam::new("balloon.current", figures.current_kib));
    params.push(TypedParam::new("balloon.maximum", figures.maximum_kib));
    for (theirs, ours, _, is_bytes) in GUEST_MEMORY {
        if let Some(&value) = figures.guest.get(*theirs) {
            let value = in_libvirts_unit(value, *is_bytes);
            params.push(TypedParam::new(format!("balloon.{ours}"), value));
        }
    }
    if figures.last_update_s > 0 {
        params.push(TypedParam::new(
            "balloon.last-update",
            figures.last_update_s,
        ));
    }
    params.push(TypedParam::new("balloon.rss", figures.rss_kib));
}

fn vcpus(params: &mut Vec<TypedParam>, view: &DomainView, stats: &DomainStats) {
    if let Some(summary) = view.summary() {
        params.push(TypedParam::new("vcpu.current", summary.vcpus));
        params.push(TypedParam::new("vcpu.maximum", summary.max_vcpus));
    }
    for vcpu in &stats.vcpus {
        let field = |name: &str| format!("vcpu.{}.{name}", vcpu.number);
        params.push(TypedParam::new(field("state"), VIR_VCPU_RUNNING));
        params.push(TypedParam::new(field("time"), vcpu.time_ns));
        params.push(TypedParam::new(field("delay"), vcpu.delay_ns));
    }
}

fn interfaces(params: &mut Vec<TypedParam>, stats: &DomainStats) {
    params.push(TypedParam::new("net.count", stats.interface_count as u32));
    for interface in &stats.interfaces {
        let index = interface.place;
        params.push(TypedParam::new(
            format!("net.{index}.name"),
            interface.name.as_str(),
        ));
        for (direction, counters) in [("rx", interface.received), ("tx", interface.sent)] {
            for (name, value) in ["bytes", "pkts", "errs", "drop"].iter().zip(counters) {
                params.push(TypedParam::new(
                    format!("net.{index}.{direction}.{name}"),
                    value,
                ));
            }
        }
    }
}

fn dirty_rate(params: &mut Vec<TypedParam>, rate: &DirtyRate) {
    let status = match rate.status.as_str() {
        "unstarted" => 0,
        "measuring" => 1,
        _ => 2,
    };
    params.push(TypedParam::new("dirtyrate.calc_status", status));
    params.push(TypedParam::new(
        "dirtyrate.calc_start_time",
        rate.start_time,
    ));
    params.push(TypedParam::new("dirtyrate.calc_period", rate.calc_time));
    if let Some(speed) = rate.dirty_rate.filter(|_| status == 2) {
        params.push(TypedParam::new("dirtyrate.megabytes_per_second", speed));
    }
    params.push(TypedParam::new("dirtyrate.calc_mode", rate.mode.as_str()));
}

fn blocks(params: &mut Vec<TypedParam>, blocks: &[BlockFigures]) {
    params.push(TypedParam::new("block.count", blocks.len() as u32));
    for (index, block) in blocks.iter().enumerate() {
        let field = |name: &str| format!("block.{index}.{name}");
        params.push(TypedParam::new(field("name"), block.target.as_str()));
        if let Some(path) = &block.path {
            params.push(TypedParam::new(field("path"), path.as_str()));
        }
        if let Some(counters) = &block.counters {
            for (name, value) in [
                ("rd.reqs", counters.rd_operations),
                ("rd.bytes", counters.rd_bytes),
                ("rd.times", counters.rd_total_time_ns),
                ("wr.reqs", counters.wr_operations),
                ("wr.bytes", counters.wr_bytes),
                ("wr.times", counters.wr_total_time_ns),
                ("fl.reqs", counters.flush_operations),
                ("fl.times", counters.flush_total_time_ns),
            ] {
                params.push(TypedParam::new(field(name), value));
            }
        }
        for (name, value) in [
            ("allocation", block.allocation_bytes),
            ("capacity", block.capacity_bytes),
            ("physical", block.physical_bytes),
        ] {
            if let Some(value) = value {
                params.push(TypedParam::new(field(name), value));
            }
        }
    }
}

async fn memory_stats(
    client: Arc<Client>,
    args: DomainMemoryStatsArgs,
) -> Answer<DomainMemoryStatsRet> {
    check_flags(args.flags, 0, "qemuDomainMemoryStats")?;
    let handle = domain(&client, &args.dom)?;
    handle.live()?;
    let wanted = StatsWanted {
        balloon: true,
        ..StatsWanted::default()
    };
    let figures = handle.stats(wanted).await.balloon.unwrap_or_default();
    let mut stats = vec![(VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, figures.current_kib)];
    for (theirs, _, tag, is_bytes) in GUEST_MEMORY {
        if let Some(&value) = figures.guest.get(*theirs) {
            stats.push((*tag, in_libvirts_unit(value, *is_bytes)));
        }
    }
    if figures.last_update_s > 0 {
        stats.push((VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE, figures.last_update_s));
    }
    stats.push((VIR_DOMAIN_MEMORY_STAT_RSS, figures.rss_kib));
    Ok(DomainMemoryStatsRet {
        stats: stats
            .into_iter()
            .take(args.max_stats as usize)
            .map(|(tag, val)| DomainMemoryStat { tag, val })
            .collect(),
    })
}

/// The disk a client means: by its name in the guest or by its image.
async fn disk(handle: &DomainHandle, path: &str) -> Answer<BlockFigures> {
    let figures = handle.block_figures().await?;
    figures
        .into_iter()
        .find(|disk| disk.target == path || disk.path.as_deref() == Some(path))
        .ok_or_else(|| Failure::invalid_arg(format!("invalid path {path} not assigned to domain")))
}

/// The counters of one disk, or of all together where no disk is named, as the typed parameters of
/// DOMAIN_BLOCK_STATS_FLAGS.
async fn block_counters(handle: &DomainHandle, path: &str) -> Answer<[(&'static str, i64); 8]> {
    handle.live()?;
    let disks = match path.is_empty() {
        true => handle.block_figures().await?,
        false => vec![disk(handle, path).await?],
    };
    let mut sums = [
        ("wr_bytes", 0i64),
        ("wr_operations", 0),
        ("rd_bytes", 0),
        ("rd_operations", 0),
        ("flush_operations", 0),
        ("wr_total_times", 0),
        ("rd_total_times", 0),
        ("flush_total_times", 0),
    ];
    let silent = !disks.is_empty() && disks.iter().all(|disk| disk.counters.is_none());
    if silent {
        return Err(Failure::new(
            ErrorCode::OperationTimeout,
            "QEMU did not tell its disks' counters in time; the process hangs or is stopped",
        ));
    }
    for counters in disks.iter().filter_map(|disk| disk.counters.as_ref()) {
        let values = [
            counters.wr_bytes,
            counters.wr_operations,
            counters.rd_bytes,
            counters.rd_operations,
            counters.flush_operations,
            counters.wr_total_time_ns,
            counters.rd_total_time_ns,
            counters.flush_total_time_ns,
        ];
        for ((_, sum), value) in sums.iter_mut().zip(values) {
            *sum = sum.saturating_add(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    Ok(sums)
}

async fn block_stats(
    client: Arc<Client>,
    args: DomainBlockStatsArgs,
) -> Answer<DomainBlockStatsRet> {
    let counters = block_counters(&domain(&client, &args.dom)?, &args.path).await?;
    Ok(DomainBlockStatsRet {
        rd_req: counters[3].1,
        rd_bytes: counters[2].1,
        wr_req: counters[1].1,
        wr_bytes: counters[0].1,
        // QEMU does not count errors; libvirt says so too.
        errs: -1,
    })
}

async fn block_stats_flags(
    client: Arc<Client>,
    args: DomainBlockStatsFlagsArgs,
) -> Answer<DomainBlockStatsFlagsRet> {
    check_flags(
        args.flags,
        VIR_TYPED_PARAM_STRING_OKAY,
        "qemuDomainBlockStatsFlags",
    )?;
    let wanted = super::not_negative(args.nparams, "nparams", "virDomainBlockStatsFlags")?;
    let counters = block_counters(&domain(&client, &args.dom)?, &args.path).await?;
    Ok(DomainBlockStatsFlagsRet {
        nparams: counters.len() as i32,
        params: counters
            .iter()
            .take(wanted)
            .map(|(field, value)| TypedParam::new(*field, *value))
            .collect(),
    })
}

async fn block_info(
    client: Arc<Client>,
    args: DomainGetBlockInfoArgs,
) -> Answer<DomainGetBlockInfoRet> {
    check_flags(args.flags, 0, "qemuDomainGetBlockInfo")?;
    let disk = disk(&domain(&client, &args.dom)?, &args.path).await?;
    let Some(physical) = disk.physical_bytes else {
        return Err(Failure::new(
            ErrorCode::OperationFailed,
            format!(
                "disk '{}' has no image whose size could be told",
                disk.target
            ),
        ));
    };
    Ok(DomainGetBlockInfoRet {
        allocation: disk.allocation_bytes.unwrap_or(physical),
        capacity: disk.capacity_bytes.unwrap_or(physical),
        physical,
    })
}

async fn interface_stats(
    client: Arc<Client>,
    args: DomainInterfaceStatsArgs,
) -> Answer<DomainInterfaceStatsRet> {
    let handle = domain(&client, &args.dom)?;
    let live = handle.live()?;
    let unknown = || {
        Failure::invalid_arg(format!(
            "invalid path, '{}' is not a known interface",
            args.device
        ))
    };
    // A client may name the interface by its MAC address too.
    let definition = live.definition();
    let device = definition
        .devices
        .interfaces
        .iter()
        .find(|interface| {
            let mac = interface.mac().map(|mac| mac.to_string());
            let dev = interface.target.as_ref().and_then(|t| t.dev.as_deref());
            dev == Some(args.device.as_str()) || mac.as_deref() == Some(args.device.as_str())
        })
        .and_then(|interface| interface.target.as_ref()?.dev.clone())
        .ok_or_else(unknown)?;
    let wanted = StatsWanted {
        interface: true,
        ..StatsWanted::default()
    };
    let stats = handle.stats(wanted).await;
    let figures = stats
        .interfaces
        .iter()
        .find(|figures| figures.name == device)
        .ok_or_else(unknown)?;
    let [rx_bytes, rx_packets, rx_errs, rx_drop] = figures.received.map(signed);
    let [tx_bytes, tx_packets, tx_errs, tx_drop] = figures.sent.map(signed);
    Ok(DomainInterfaceStatsRet {
        rx_bytes,
        rx_packets,
        rx_errs,
        rx_drop,
        tx_bytes,
        tx_packets,
        tx_errs,
        tx_drop,
    })
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
