//! Memory: large pages, NUMA, modules.

use super::super::basics::xml_error;
use super::plain;
use crate::domain::Domain;
use crate::domain::cpu::NumaCell;
use crate::domain::memory_device::{MemoryAccess, MemoryDevice, MemoryModel};
use crate::domain::resources::Placement;
use crate::xml::XmlError;

pub(super) fn check(domain: &Domain) -> Result<(), XmlError> {
    let cells = domain.cpu.as_ref().map_or(&[][..], |c| c.numa_cells());
    check_huge_pages(domain, cells)?;
    check_tuning(domain, cells)?;
    check_modules(domain, cells)
}

fn check_huge_pages(domain: &Domain, cells: &[NumaCell]) -> Result<(), XmlError> {
    let pages = domain
        .memory_backing
        .as_ref()
        .and_then(|m| m.huge_pages.as_ref());
    let pages = pages.map_or(&[][..], |h| &h.pages);
    let mut master = None;
    for page in pages {
        let size = page.size.unwrap_or(0);
        match &page.nodeset {
            None => {
                if let Some(first) = master.replace(size) {
                    return Err(two_masters(first, size));
                }
            }
            Some(nodes) => {
                // Without cells there is only node 0.
                let count = cells.len().max(1) as u32;
                if let Some(node) = nodes.0.iter().find(|n| **n >= count) {
                    return Err(plain(format!("hugepages: node {node} not found")));
                }
            }
        }
    }
    let whole_machine = cells.is_empty();
    let for_node_0 = pages.iter().find(|p| p.nodeset.is_some());
    if let (true, Some(first), Some(page)) = (whole_machine, master, for_node_0) {
        return Err(two_masters(page.size.unwrap_or(0), first));
    }
    Ok(())
}

/// Whether another process can map the guest's memory.
pub(super) fn is_shared(domain: &Domain) -> bool {
    let access = domain
        .memory_backing
        .as_ref()
        .and_then(|m| m.access.as_ref());
    let cells = domain.cpu.as_ref().map_or(&[][..], |c| c.numa_cells());
    let shared = |cell: &NumaCell| cell.mem_access == Some(MemoryAccess::Shared);
    access.is_some_and(|a| a.mode == MemoryAccess::Shared)
        || (!cells.is_empty() && cells.iter().all(shared))
}

fn two_masters(first: u64, second: u64) -> XmlError {
    plain(format!(
        "two master hugepages detected: {first} and {second}"
    ))
}

fn check_tuning(domain: &Domain, cells: &[NumaCell]) -> Result<(), XmlError> {
    let Some(tune) = &domain.numatune else {
        return Ok(());
    };
    if let Some(memory) = &tune.memory
        && memory.placement == Some(Placement::Static)
        && memory.nodeset.is_none()
    {
        return Err(XmlError::unsupported(
            "nodeset for NUMA memory tuning must be set if 'placement' is 'static'",
        ));
    }
    if tune.memnodes.is_empty() {
        return Ok(());
    }
    if cells.is_empty() {
        return Err(xml_error(
            "Element 'memnode' is invalid without any guest NUMA cells",
        ));
    }
    if tune
        .memory
        .as_ref()
        .is_some_and(|m| m.placement == Some(Placement::Auto))
    {
        return Err(XmlError::unsupported(
            "Per-node binding is not compatible with automatic NUMA placement.",
        ));
    }
    for (i, node) in tune.memnodes.iter().enumerate() {
        if node.cell_id as usize >= cells.len() {
            return Err(xml_error(
                "Argument 'cellid' in memnode element must correspond to existing guest's NUMA cell",
            ));
        }
        if tune.memnodes[..i].iter().any(|n| n.cell_id == node.cell_id) {
            return Err(xml_error(format!(
                "Multiple memnode elements with cellid {}",
                node.cell_id
            )));
        }
    }
    Ok(())
}

fn check_modules(domain: &Domain, cells: &[NumaCell]) -> Result<(), XmlError> {
    let memories = &domain.devices.memories;
    if domain.max_memory.is_none() && memories.iter().any(|m| m.model != MemoryModel::SgxEpc) {
        return Err(XmlError::unsupported(
            "cannot use/hotplug a memory device when domain 'maxMemory' is not defined",
        ));
    }
    for memory in memories {
        let target = memory.target.as_ref();
        if memory.size().0 == 0 {
            return Err(xml_error("memory device needs a size"));
        }
        let Some(node) = target.and_then(|t| t.node) else {
            continue;
        };
        if node as usize >= cells.len() {
            return Err(plain(format!(
                "can't add memory backend for guest node '{node}' as the guest has only '{}' NUMA \
                 nodes configured",
                cells.len()
            )));
        }
    }
    for (i, memory) in memories.iter().enumerate() {
        check_overlap(memory, &memories[i + 1..])?;
    }
    Ok(())
}

/// The guest addresses a module takes up, where they are given.
fn span(memory: &MemoryDevice) -> Option<(u64, u64)> {
    let base = memory.target.as_ref()?.address.as_ref()?.base.0;
    Some((
        base,
        base.saturating_add(memory.size().0.saturating_mul(1024)),
    ))
}

fn check_overlap(memory: &MemoryDevice, others: &[MemoryDevice]) -> Result<(), XmlError> {
    let Some((start, end)) = span(memory) else {
        return Ok(());
    };
    let hit = others
        .iter()
        .filter_map(span)
        .find(|(s, e)| *s < end && start < *e);
    match hit {
        Some((other, _)) => Err(XmlError::unsupported(format!(
            "memory device address [0x{start:x}:0x{end:x}] overlaps with other memory device \
             (0x{other:x})"
        ))),
        None => Ok(()),
    }
}
