//! The host's memory: its cells, huge pages and the merging of same pages.

use client::wire::remote;
use client::wire::xdr::TypedParamValue;

use crate::args::Args;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{fact, say, sayln};
use crate::params::{asked, json, param, show};
use crate::query;
use crate::session::Session;
use crate::table::{Verb, arg_number, flag, number};
use crate::verbs::host::capabilities_xml;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("allocpages", "change the number of huge pages", allocpages).options(&[
        arg_number(
            "pagesize",
            "the size of a page, in KiB unless it has a unit",
        ),
        arg_number("pagecount", "how many pages"),
        number("cellno", "only in this NUMA cell").bare(),
        flag("add", "so many more, not so many in all"),
        flag("all", "in every NUMA cell"),
    ]),
    Verb::new("freecell", "free memory of NUMA cells", freecell)
        .options(&[
            number("cellno", "of this NUMA cell").bare(),
            flag("all", "of every NUMA cell"),
        ])
        .tabular(),
    Verb::new("freepages", "free pages of NUMA cells", freepages)
        .options(&[
            number("cellno", "of this NUMA cell").bare(),
            number("pagesize", "of this size, in KiB unless it has a unit").bare(),
            flag("all", "of every NUMA cell"),
        ])
        .tabular(),
    Verb::new(
        "node-memory-tune",
        "read or set the merging of equal pages",
        memory_tune,
    )
    .options(&[
        number("shm-pages-to-scan", "pages looked at before a pause").bare(),
        number("shm-sleep-millisecs", "the pause, in milliseconds").bare(),
        number(
            "shm-merge-across-nodes",
            "whether pages of different cells are merged",
        )
        .bare(),
    ])
    .tabular(),
];

/// The ids of the host's NUMA cells.
fn cells(xml: &str) -> Result<Vec<i32>, Failure> {
    let document = query::parse(xml)?;
    let cells = query::all(document.root_element(), "host/topology/cells/cell");
    let id = |cell: roxmltree::Node<'_, '_>| cell.attribute("id")?.parse().ok();
    let ids: Option<Vec<i32>> = cells.into_iter().map(id).collect();
    ids.ok_or_else(|| Failure::said("conversion from string failed"))
}

fn freecell(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("all", "cellno")?;
    let free = |s: &mut Session, start_cell| {
        let call = remote::NodeGetCellsFreeMemoryArgs {
            start_cell,
            maxcells: 1,
        };
        s.call(&call)
            .map(|got| got.cells.first().copied().unwrap_or(0) / 1024)
    };
    if let Some(cell) = args.number("cellno")? {
        let kib = free(s, cell)?;
        fact!(s, &cell.to_string(), kib, "{cell}: {kib} KiB");
        return Ok(());
    }
    if !args.has("all") {
        let got = s.call(&remote::NodeGetFreeMemoryArgs {})?;
        let kib = got.free_mem / 1024;
        fact!(s, "Total", kib, "Total: {kib} KiB");
        return Ok(());
    }
    let xml = capabilities_xml(s).or_fail(|| "unable to get node capabilities".into())?;
    let mut total = 0;
    for cell in cells(&xml)? {
        let kib = free(s, cell)
            .or_fail(|| format!("failed to get free memory for NUMA node number: {cell}"))?;
        fact!(s, &cell.to_string(), kib, "{cell:>5}: {kib:>10} KiB");
        total += kib;
    }
    if !s.out.is_text() {
        fact!(s, "Total", total, "");
    } else if !s.out.quiet {
        say!(s, "--------------------\n{:>5}: {total:>10} KiB\n", "Total");
    }
    Ok(())
}

/// Largest page size taken.
const PAGE_SIZE_MAX_BYTES: u64 = u32::MAX as u64 * 1024;

fn page_size_kib(args: &Args) -> Result<Option<u32>, Failure> {
    let bytes = args.scaled("pagesize", 1024, PAGE_SIZE_MAX_BYTES)?;
    Ok(bytes.and_then(|b| u32::try_from(b.div_ceil(1024)).ok()))
}

fn freepages(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("all", "cellno")?;
    let given = page_size_kib(args)?;
    let ask = |s: &mut Session, pages: Vec<u32>, start_cell: i32| {
        let call = remote::NodeGetFreePagesArgs {
            pages,
            start_cell,
            cell_count: 1,
            flags: 0,
        };
        s.call(&call).map(|got| got.counts)
    };
    if !args.has("all") {
        let cell = args.number::<i32>("cellno")?;
        let cell = cell.ok_or_else(|| Failure::said("missing cellno argument"))?;
        if cell < -1 {
            return Err(Failure::said(
                "cell number must be non-negative integer or -1",
            ));
        }
        let size = given.ok_or_else(|| Failure::said("missing pagesize argument"))?;
        let counts = ask(s, vec![size], cell)?;
        let count = counts.first().ok_or_else(|| {
            Failure::said(format!(
                "Could not get count of free {size}KiB pages, no data returned"
            ))
        })?;
        fact!(s, &format!("{size}KiB"), *count, "{size}KiB: {count}");
        return Ok(());
    }
    let xml = capabilities_xml(s).or_fail(|| "unable to get node capabilities".into())?;
    let sizes = match given {
        Some(size) => vec![size],
        None => page_sizes(&xml)?,
    };
    for cell in cells(&xml)? {
        let counts = ask(s, sizes.clone(), cell)?;
        s.out.next_record();
        fact!(s, "Node", cell, "Node {cell}:");
        for (size, count) in sizes.iter().zip(counts) {
            fact!(s, &format!("{size}KiB"), count, "{size}KiB: {count}");
        }
        if s.out.is_text() {
            sayln!(s);
        }
    }
    Ok(())
}

fn page_sizes(xml: &str) -> Result<Vec<u32>, Failure> {
    let document = query::parse(xml)?;
    let root = document.root_element();
    let of_cpu = query::all(root, "host/cpu/pages");
    let pages = match of_cpu.is_empty() {
        false => of_cpu,
        true => query::all(root, "host/topology/cells/cell/pages"),
    };
    let size = |p: roxmltree::Node<'_, '_>| p.attribute("size")?.parse().ok();
    let mut sizes: Vec<u32> = pages.into_iter().filter_map(size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    match sizes.is_empty() {
        true => Err(Failure::said(
            "could not get information about supported page sizes",
        )),
        false => Ok(sizes),
    }
}

fn allocpages(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("all", "cellno")?;
    let start = args.number("cellno")?.unwrap_or(-1);
    let call = remote::NodeAllocPagesArgs {
        page_sizes: page_size_kib(args)?.into_iter().collect(),
        page_counts: vec![args.need_number("pagecount")?],
        start_cell: start,
        cell_count: 1,
        flags: u32::from(!args.has("add")),
    };
    let starts = match args.has("all") {
        false => vec![start],
        true => {
            let xml = capabilities_xml(s).or_fail(|| "unable to get node capabilities".into())?;
            cells(&xml)?
        }
    };
    for start_cell in starts {
        s.call(&remote::NodeAllocPagesArgs {
            start_cell,
            ..call.clone()
        })?;
    }
    Ok(())
}

fn memory_tune(s: &mut Session, args: &Args) -> Outcome {
    let mut params = Vec::new();
    for (option, field) in [
        ("shm-pages-to-scan", "shm_pages_to_scan"),
        ("shm-sleep-millisecs", "shm_sleep_millisecs"),
        ("shm-merge-across-nodes", "shm_merge_across_nodes"),
    ] {
        let value = args.number(option)?;
        params.extend(value.map(|n| param(field, TypedParamValue::Uint(n))));
    }
    if !params.is_empty() {
        return s
            .call(&remote::NodeSetMemoryParametersArgs { params, flags: 0 })
            .or_fail(|| "Unable to change memory parameters".into());
    }
    let mut call = remote::NodeGetMemoryParametersArgs {
        nparams: 0,
        flags: 0,
    };
    let params = asked!(
        s,
        call,
        "Unable to get number of memory parameters",
        "Unable to get memory parameters"
    );
    if s.out.is_text() && !params.is_empty() {
        sayln!(s, "Shared memory:");
    }
    for p in params {
        let shown = show(&p.value);
        fact!(s, &p.field, json(&p.value), "\t{:<15} {shown}", p.field);
    }
    Ok(())
}
