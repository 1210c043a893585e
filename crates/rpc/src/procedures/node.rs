//! The host: processors, memory, NUMA nodes. All of it is read from the kernel at once.

use sys::SysError;
use sys::host::{Host, NodeInfo};
use wire::errors::{ErrorCode, ErrorDomain};
use wire::remote::*;

use super::{not_negative, positive};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// libvirt's "all processors" (`VIR_NODE_CPU_STATS_ALL_CPUS`).
const ALL_CPUS: i32 = -1;
/// libvirt's "all NUMA nodes" (`VIR_NODE_MEMORY_STATS_ALL_CELLS`).
const ALL_CELLS: i32 = -1;
/// Bytes of a KiB.
const KIB: u64 = 1024;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(get_info);
    dispatch.inline(get_cpu_stats);
    dispatch.inline(get_memory_stats);
    dispatch.inline(get_cpu_map);
    dispatch.inline(get_free_memory);
    dispatch.inline(get_cells_free_memory);
    dispatch.inline(get_free_pages);
    dispatch.inline(get_security_model);
    dispatch.inline(get_memory_parameters);
}

/// A failure to read what the kernel tells.
pub(super) fn host_failure(error: SysError) -> Failure {
    let errno = error.errno().unwrap_or(0);
    let what = format!("cannot {} {}", error.operation(), error.subject());
    let reason = error.cause().to_string();
    Failure(RpcError::system(ErrorDomain::None, errno, &what, &reason))
}

fn get_info(_: &Client, _: NodeGetInfoArgs) -> Answer<NodeGetInfoRet> {
    let info: NodeInfo = Host::new().node_info().map_err(host_failure)?;
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let mut model = [0; 32];
    let name = &info.model.as_bytes()[..info.model.len().min(31)];
    model[..name.len()].copy_from_slice(name);
    Ok(NodeGetInfoRet {
        model,
        memory: info.memory_kib,
        cpus: number(info.cpus),
        mhz: number(info.mhz),
        nodes: number(info.nodes),
        sockets: number(info.sockets),
        cores: number(info.cores),
        threads: number(info.threads),
    })
}

fn get_cpu_stats(_: &Client, args: NodeGetCpuStatsArgs) -> Answer<NodeGetCpuStatsRet> {
    let wanted = not_negative(args.nparams, "nparams", "virNodeGetCPUStats")?;
    let host = Host::new();
    let times = match u32::try_from(args.cpu_num) {
        Err(_) if args.cpu_num == ALL_CPUS => Some(host.cpu_times().map_err(host_failure)?),
        Err(_) => None,
        Ok(cpu) => host.cpu_times_of(cpu).map_err(host_failure)?,
    };
    let times = times.ok_or_else(|| {
        Failure::invalid_arg(format!(
            "Invalid cpuNum in linuxNodeGetCPUStats: {}",
            args.cpu_num
        ))
    })?;
    let stat = |field: &str, value| NodeCpuStat {
        field: field.into(),
        value,
    };
    let stats = vec![
        stat("kernel", times.kernel_ns),
        stat("user", times.user_ns),
        stat("idle", times.idle_ns),
        stat("iowait", times.iowait_ns),
    ];
    // Asked for none, a client wants to know how many there are.
    let nparams = stats.len() as i32;
    let params = stats.into_iter().take(wanted).collect();
    Ok(NodeGetCpuStatsRet { params, nparams })
}

fn get_memory_stats(_: &Client, args: NodeGetMemoryStatsArgs) -> Answer<NodeGetMemoryStatsRet> {
    let wanted = not_negative(args.nparams, "nparams", "virNodeGetMemoryStats")?;
    let host = Host::new();
    let stats = match u32::try_from(args.cell_num) {
        Err(_) if args.cell_num == ALL_CELLS => {
            let memory = host.memory().map_err(host_failure)?;
            vec![
                ("total", memory.total_kib),
                ("free", memory.free_kib),
                ("buffers", memory.buffers_kib),
                ("cached", memory.cached_kib),
            ]
        }
        Ok(cell) if has_cell(&host, cell)? => {
            let memory = host.node_memory(cell).map_err(host_failure)?;
            vec![("total", memory.total_kib), ("free", memory.free_kib)]
        }
        _ => {
            return Err(Failure::invalid_arg(format!(
                "cellNum in virHostMemGetStats must be less than or equal to {}",
                cells_end(&host)?.saturating_sub(1)
            )));
        }
    };
    let nparams = stats.len() as i32;
    let params = stats
        .into_iter()
        .take(wanted)
        .map(|(field, value)| NodeMemoryStat {
            field: field.into(),
            value,
        })
        .collect();
    Ok(NodeGetMemoryStatsRet { params, nparams })
}

/// The NUMA nodes; a kernel without them has all on node 0.
fn cells(host: &Host) -> Answer<Vec<u32>> {
    let nodes = host.numa_nodes().map_err(host_failure)?;
    Ok(if nodes.is_empty() { vec![0] } else { nodes })
}

fn has_cell(host: &Host, cell: u32) -> Answer<bool> {
    Ok(cells(host)?.contains(&cell))
}

fn cells_end(host: &Host) -> Answer<u32> {
    Ok(cells(host)?.last().map_or(0, |last| last + 1))
}

fn get_cpu_map(_: &Client, args: NodeGetCpuMapArgs) -> Answer<NodeGetCpuMapRet> {
    let map = Host::new().cpu_map().map_err(host_failure)?;
    Ok(NodeGetCpuMapRet {
        cpumap: match args.need_map {
            0 => Vec::new(),
            _ => map.bitmap(),
        },
        online: match args.need_online {
            0 => 0,
            _ => map.online.len() as u32,
        },
        ret: i32::try_from(map.present).unwrap_or(i32::MAX),
    })
}

fn get_free_memory(_: &Client, _: NodeGetFreeMemoryArgs) -> Answer<NodeGetFreeMemoryRet> {
    let memory = Host::new().memory().map_err(host_failure)?;
    Ok(NodeGetFreeMemoryRet {
        free_mem: memory.free_kib * KIB,
    })
}

fn get_cells_free_memory(
    _: &Client,
    args: NodeGetCellsFreeMemoryArgs,
) -> Answer<NodeGetCellsFreeMemoryRet> {
    const FUNCTION: &str = "virNodeGetCellsFreeMemory";
    let wanted = positive(args.maxcells, "maxCells", FUNCTION)?;
    let start = not_negative(args.start_cell, "startCell", FUNCTION)?;
    let host = Host::new();
    let end = cells_end(&host)? as usize;
    if start >= end {
        return Err(cell_out_of_range(start, end));
    }
    let cells = (start..end)
        .take(wanted)
        .map(|cell| {
            let memory = host.node_memory(cell as u32).map_err(host_failure)?;
            Ok(memory.free_kib * KIB)
        })
        .collect::<Answer<Vec<u64>>>()?;
    Ok(NodeGetCellsFreeMemoryRet { cells })
}

fn cell_out_of_range(start: usize, end: usize) -> Failure {
    Failure::new(
        ErrorCode::InternalError,
        format!(
            "start cell {start} out of range (0-{})",
            end.saturating_sub(1)
        ),
    )
}

fn get_free_pages(_: &Client, args: NodeGetFreePagesArgs) -> Answer<NodeGetFreePagesRet> {
    const FUNCTION: &str = "virNodeGetFreePages";
    if args.pages.is_empty() {
        return Err(Failure::invalid_arg(format!(
            "npages in {FUNCTION} must not be zero"
        )));
    }
    let host = Host::new();
    let end = cells_end(&host)? as usize;
    // A negative start means the whole host, which is counted as one cell.
    let cells: Vec<Option<u32>> = match usize::try_from(args.start_cell) {
        Err(_) => vec![None],
        Ok(start) if start >= end => return Err(cell_out_of_range(start, end)),
        Ok(start) => (start..end)
            .take(args.cell_count as usize)
            .map(|cell| Some(cell as u32))
            .collect(),
    };
    let mut counts = Vec::new();
    for cell in cells {
        let pools = match cell {
            Some(cell) => host.pages(cell),
            None => host.huge_pages(),
        }
        .map_err(host_failure)?;
        for &size in &args.pages {
            let pool = pools
                .iter()
                .find(|pool| pool.size_kib == u64::from(size))
                .ok_or_else(|| {
                    Failure::new(
                        ErrorCode::OperationFailed,
                        format!("page size {size} is not available on this host"),
                    )
                })?;
            counts.push(pool.free);
        }
    }
    Ok(NodeGetFreePagesRet { counts })
}

/// Empty: what confines QEMU here is no security driver with labels.
fn get_security_model(_: &Client, _: NodeGetSecurityModelArgs) -> Answer<NodeGetSecurityModelRet> {
    Ok(NodeGetSecurityModelRet::default())
}

/// Kernel samepage merging, as libvirt shows it; a host without it has no parameters.
fn get_memory_parameters(
    _: &Client,
    args: NodeGetMemoryParametersArgs,
) -> Answer<NodeGetMemoryParametersRet> {
    let wanted = not_negative(args.nparams, "nparams", "virNodeGetMemoryParameters")?;
    let params = ksm_parameters();
    let nparams = params.len() as i32;
    Ok(NodeGetMemoryParametersRet {
        params: params.into_iter().take(wanted).collect(),
        nparams,
    })
}

fn ksm_parameters() -> Vec<TypedParam> {
    let read = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/sys/kernel/mm/ksm/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let narrow = |name| Some(TypedParam::new(format!("shm_{name}"), read(name)? as u32));
    let wide = |name| Some(TypedParam::new(format!("shm_{name}"), read(name)?));
    [
        narrow("pages_to_scan"),
        narrow("sleep_millisecs"),
        wide("pages_shared"),
        wide("pages_sharing"),
        wide("pages_unshared"),
        wide("pages_volatile"),
        wide("full_scans"),
        narrow("merge_across_nodes"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
