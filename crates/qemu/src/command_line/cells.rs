//! The guest's NUMA cells: their processors and memory, distances, caches, and how fast they reach
//! each other's memory.

use model::domain::cpu::{CellCache, CpuNuma, Interconnect, NumaCell};
use model::domain::id_set::IdSet;
use model::domain::memory_size::scale;

use super::builder::{Builder, Result};
use super::launch::Unsupported;
use super::props::List;

impl Builder<'_> {
    /// `-numa` and the back ends of the cells.
    pub(super) fn cells(&mut self) -> Result<()> {
        let Some(numa) = self.domain.cpu.as_ref().and_then(|cpu| cpu.numa.clone()) else {
            return Ok(());
        };
        for (position, cell) in numa.cells.iter().enumerate() {
            self.cell(number(position, cell), cell, &numa)?;
        }
        for (position, cell) in numa.cells.iter().enumerate() {
            for sibling in cell
                .distances
                .iter()
                .flat_map(|distances| &distances.siblings)
            {
                let mut list = List::new("dist");
                list.set("src", number(position, cell));
                list.set("dst", sibling.id).set("val", sibling.value);
                self.option("-numa", list.finish());
            }
        }
        self.interconnects(&numa)?;
        for (position, cell) in numa.cells.iter().enumerate() {
            for cache in &cell.caches {
                let cache = cell_cache(number(position, cell), cache)?;
                self.option("-numa", cache);
            }
        }
        Ok(())
    }

    fn cell(&mut self, id: u32, cell: &NumaCell, numa: &CpuNuma) -> Result<()> {
        let memory = self.cell_memory(id, cell)?;
        let mut list = List::new("node");
        list.set("nodeid", id);
        let cpus = cell.cpus.as_ref().map(IdSet::to_string).unwrap_or_default();
        for range in cpus.split(',').filter(|range| !range.is_empty()) {
            list.set("cpus", range);
        }
        if describes_speed(numa) {
            list.set("initiator", initiator(id, cell, numa));
        }
        list.set("memdev", memory);
        self.option("-numa", list.finish());
        Ok(())
    }

    fn interconnects(&mut self, numa: &CpuNuma) -> Result<()> {
        let Some(interconnects) = &numa.interconnects else {
            return Ok(());
        };
        for latency in &interconnects.latencies {
            let mut list = speed(latency, "latency")?;
            self.option("-numa", list.set("latency", latency.value).finish());
        }
        for bandwidth in &interconnects.bandwidths {
            let unit = bandwidth.unit.as_deref().unwrap_or("KiB");
            let bytes = scale(bandwidth.value, unit)
                .ok_or_else(|| Unsupported::new(format!("unknown unit '{unit}' of a bandwidth")))?;
            let mut list = speed(bandwidth, "bandwidth")?;
            self.option(
                "-numa",
                list.set("bandwidth", format!("{}K", bytes / 1024)).finish(),
            );
        }
        Ok(())
    }
}

/// Whether a table of speeds is given to the guest.
pub(super) fn describes_speed(numa: &CpuNuma) -> bool {
    numa.interconnects.is_some() || numa.cells.iter().any(|cell| !cell.caches.is_empty())
}

fn number(position: usize, cell: &NumaCell) -> u32 {
    cell.id
        .unwrap_or(u32::try_from(position).unwrap_or(u32::MAX))
}

/// The cell whose processors are nearest to a cell's memory: its own, if it has any; else those
/// with the greatest bandwidth or least latency, else the first.
fn initiator(id: u32, cell: &NumaCell, numa: &CpuNuma) -> u32 {
    let has_cpus = |cell: &NumaCell| cell.cpus.as_ref().is_some_and(|cpus| !cpus.0.is_empty());
    if has_cpus(cell) {
        return id;
    }
    let to_here = |one: &&Interconnect| one.target == id && one.cache.is_none();
    let tables = numa.interconnects.as_ref();
    let fastest = tables.and_then(|tables| {
        let wide = tables
            .bandwidths
            .iter()
            .filter(to_here)
            .max_by_key(|one| one.value);
        wide.or_else(|| {
            tables
                .latencies
                .iter()
                .filter(to_here)
                .min_by_key(|one| one.value)
        })
    });
    let first = || {
        let mut cells = numa.cells.iter().enumerate();
        cells
            .find(|(_, cell)| has_cpus(cell))
            .map_or(0, |(position, cell)| number(position, cell))
    };
    fastest.map_or_else(first, |one| one.initiator)
}

fn speed(one: &Interconnect, what: &str) -> Result<List> {
    let hierarchy = match one.cache {
        None => "memory",
        Some(1) => "first-level",
        Some(2) => "second-level",
        Some(3) => "third-level",
        Some(level) => {
            return Err(Unsupported::new(format!(
                "a cache of level {level} is not supported"
            )));
        }
    };
    let mut list = List::new("hmat-lb");
    list.set("initiator", one.initiator)
        .set("target", one.target);
    list.set("hierarchy", hierarchy)
        .set("data-type", format!("{}-{what}", one.kind));
    Ok(list)
}

fn cell_cache(cell: u32, cache: &CellCache) -> Result<String> {
    let missing = || Unsupported::new("a NUMA cache needs a size and a line");
    let bytes = |value: Option<&model::domain::cpu::CacheValue>| {
        let value = value.ok_or_else(missing)?;
        scale(value.value, &value.unit).ok_or_else(missing)
    };
    let size = bytes(cache.size.as_ref())?;
    let line = bytes(cache.line.as_ref())?;
    let associativity = match cache.associativity.as_str() {
        "full" => "complex",
        other => other,
    };
    let policy = match cache.policy.as_str() {
        "writeback" => "write-back",
        "writethrough" => "write-through",
        other => other,
    };
    let mut list = List::new("hmat-cache");
    list.set("node-id", cell)
        .set("size", format!("{}K", size / 1024))
        .set("level", cache.level);
    list.set("associativity", associativity)
        .set("policy", policy)
        .set("line", line);
    Ok(list.finish())
}
