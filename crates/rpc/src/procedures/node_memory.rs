//! The host's memory as it can be set: pools of large pages, and sharing of equal pages.

use std::path::PathBuf;

use sys::host::Host;
use wire::errors::ErrorCode;
use wire::remote::*;
use wire::typed_params::get_unsigned;

use super::check_flags;
use super::node::host_failure;
use super::parameters::{Kind, check};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_NODE_ALLOC_PAGES_SET`: so many in all, not so many more.
const SET: u32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(|_, args: NodeAllocPagesArgs| async move {
        let ret = allocate(&args)?;
        Ok(NodeAllocPagesRet { ret })
    });
    dispatch.task(
        |_: std::sync::Arc<Client>, args: NodeSetMemoryParametersArgs| async move {
            set_parameters(&args)
        },
    );
}

/// How many pools were changed.
fn allocate(args: &NodeAllocPagesArgs) -> Answer<i32> {
    check_flags(args.flags, SET, "virNodeAllocPages")?;
    let nodes = Host::new().numa_nodes().map_err(host_failure)?;
    let last = nodes.into_iter().max().unwrap_or(0);
    let wrong_cell = || {
        Failure::new(
            ErrorCode::InternalError,
            format!("start cell {} out of range (0-{last})", args.start_cell),
        )
    };
    let (first, count) = match args.start_cell {
        -1 => (0, last + 1),
        cell => (
            u32::try_from(cell).map_err(|_| wrong_cell())?,
            args.cell_count,
        ),
    };
    if first > last {
        return Err(wrong_cell());
    }
    let mut changed = 0;
    for node in first..first.saturating_add(count).min(last + 1) {
        for (size_kib, pages) in args.page_sizes.iter().zip(&args.page_counts) {
            set_pool(node, *size_kib, *pages, args.flags & SET == 0)?;
            changed += 1;
        }
    }
    Ok(changed)
}

fn set_pool(node: u32, size_kib: u32, pages: u64, add: bool) -> Answer<()> {
    let path = PathBuf::from(format!(
        "/sys/devices/system/node/node{node}/hugepages/hugepages-{size_kib}kB/nr_hugepages"
    ));
    let read = || -> Option<u64> { std::fs::read_to_string(&path).ok()?.trim().parse().ok() };
    let present = read().ok_or_else(|| {
        Failure::new(
            ErrorCode::OperationFailed,
            "page size or NUMA node not available",
        )
    })?;
    let wanted = if add {
        present.saturating_add(pages)
    } else {
        pages
    };
    std::fs::write(&path, wanted.to_string()).map_err(|e| {
        Failure::new(
            ErrorCode::SystemError,
            format!("Unable to write to: {}: {e}", path.display()),
        )
    })?;
    let now = read().unwrap_or(0);
    if now == wanted {
        return Ok(());
    }
    // The kernel gives what it can: what was asked for is not there.
    let got = now.saturating_sub(if add { present } else { 0 });
    Err(Failure::new(
        ErrorCode::OperationFailed,
        format!("Unable to allocate {pages} pages. Allocated only {got}"),
    ))
}

fn set_parameters(args: &NodeSetMemoryParametersArgs) -> Answer<()> {
    const KNOWN: &[(&str, Kind)] = &[
        ("shm_pages_to_scan", Kind::Uint),
        ("shm_sleep_millisecs", Kind::Uint),
        ("shm_merge_across_nodes", Kind::Uint),
    ];
    check_flags(args.flags, 0, "virNodeSetMemoryParameters")?;
    check(&args.params, KNOWN)?;
    for (name, _) in KNOWN {
        let Some(value) = get_unsigned(&args.params, name) else {
            continue;
        };
        let file = name.trim_start_matches("shm_");
        let path = format!("/sys/kernel/mm/ksm/{file}");
        if !std::path::Path::new(&path).exists() {
            return Err(Failure::new(
                ErrorCode::OperationUnsupported,
                format!("Parameter '{name}' is not supported by this kernel"),
            ));
        }
        std::fs::write(&path, value.to_string()).map_err(|e| {
            Failure::new(ErrorCode::SystemError, format!("failed to set {file}: {e}"))
        })?;
    }
    Ok(())
}
