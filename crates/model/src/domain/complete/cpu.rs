//! The guest's processor and its NUMA cells.

use std::collections::{BTreeMap, BTreeSet};

use super::DefineContext;
use super::basics::xml_error;
use crate::domain::Domain;
use crate::domain::DomainType;
use crate::domain::cpu::{
    Cpu, CpuCheck, CpuFallback, CpuMatch, CpuMode, CpuModel, Distances, NumaCell, Sibling,
};
use crate::domain::id_set::ID_SET_MAX;
use crate::domain::memory_device::MemoryModel;
use crate::xml::{OnOff, XmlError};

/// Chooses a processor where none is named and fills in how it is compared.
pub(super) fn complete(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    if let Some(cpu) = &mut domain.cpu {
        normalize(cpu)?;
    }
    choose_default(domain, context);
    add_cell_for_growth(domain, context);
    let kind = domain.kind;
    let count = domain.vcpu.count();
    if let Some(cpu) = &mut domain.cpu {
        complete_cpu(cpu, kind);
        complete_cells(cpu)?;
        complete_distances(cpu);
        place_all_vcpus(cpu, count);
    }
    Ok(())
}

/// The distance of a cell to itself.
const LOCAL_DISTANCE: u32 = 10;
/// The distance of cells of which nothing is said.
const REMOTE_DISTANCE: u32 = 20;

/// Where any cell says how far others are, every cell does: as far as they
/// are from it, else the usual distance.
fn complete_distances(cpu: &mut Cpu) {
    let Some(numa) = &mut cpu.numa else { return };
    if numa.cells.iter().all(|c| c.distances.is_none()) {
        return;
    }
    let given: BTreeMap<(u32, u32), u32> = numa
        .cells
        .iter()
        .flat_map(|c| c.distances.iter().map(move |d| (c.id.unwrap_or(0), d)))
        .flat_map(|(id, d)| d.siblings.iter().map(move |s| ((id, s.id), s.value)))
        .collect();
    let count = numa.cells.len() as u32;
    for cell in &mut numa.cells {
        let from = cell.id.unwrap_or(0);
        let usual = |to| {
            if from == to {
                LOCAL_DISTANCE
            } else {
                REMOTE_DISTANCE
            }
        };
        let siblings = (0..count).map(|to| {
            let value = given.get(&(from, to)).or_else(|| given.get(&(to, from)));
            Sibling {
                id: to,
                value: value.copied().unwrap_or_else(|| usual(to)),
            }
        });
        cell.distances = Some(Distances {
            siblings: siblings.collect(),
        });
    }
}

/// A machine that can grow needs a cell to grow in.
fn add_cell_for_growth(domain: &mut Domain, context: &DefineContext) {
    let grows = domain.max_memory.is_some();
    let has_cells = domain
        .cpu
        .as_ref()
        .is_some_and(|c| !c.numa_cells().is_empty());
    if !context.abi_update || !grows || has_cells {
        return;
    }
    let mut memory = domain.memory.size.0;
    for module in &mut domain.devices.memories {
        memory = memory.saturating_sub(module.size().0);
        let in_cell = matches!(
            module.model,
            MemoryModel::Dimm | MemoryModel::Nvdimm | MemoryModel::VirtioMem
        );
        if in_cell && let Some(target) = &mut module.target {
            target.node.get_or_insert(0);
        }
    }
    let cell = NumaCell {
        id: Some(0),
        memory: Some(memory),
        ..NumaCell::default()
    };
    domain
        .cpu
        .get_or_insert_default()
        .numa
        .get_or_insert_default()
        .cells
        .push(cell);
}

/// Processors that are in no cell belong to the first one.
fn place_all_vcpus(cpu: &mut Cpu, count: u32) {
    let Some(numa) = &mut cpu.numa else { return };
    let placed: BTreeSet<u32> = numa
        .cells
        .iter()
        .flat_map(|c| &c.cpus)
        .flat_map(|c| c.0.iter().copied())
        .collect();
    let too_high = placed.last().is_some_and(|last| *last >= count);
    let Some(first) = numa.cells.first_mut() else {
        return;
    };
    if count > ID_SET_MAX || too_high || placed.len() as u32 >= count {
        return;
    }
    let rest = (0..count).filter(|id| !placed.contains(id));
    first.cpus.get_or_insert_default().0.extend(rest);
}

/// What libvirt settles while it reads the element.
fn normalize(cpu: &mut Cpu) -> Result<(), XmlError> {
    let has_model = cpu.model_name().is_some_and(|m| !m.is_empty());
    if cpu.mode.is_none() {
        // Without model and mode only topology or cells are given.
        if has_model || cpu.match_.is_some() {
            cpu.mode = Some(CpuMode::Custom);
        }
    }
    let mode = cpu.mode.unwrap_or(CpuMode::Custom);
    if mode == CpuMode::Custom {
        if has_model {
            cpu.match_.get_or_insert(CpuMatch::Exact);
        } else if !cpu.features.is_empty() {
            return Err(xml_error(
                "Non-empty feature list specified without CPU model",
            ));
        }
        if let Some(model) = &mut cpu.model {
            model.fallback.get_or_insert(CpuFallback::Allow);
        }
    } else {
        cpu.match_ = None;
    }
    match mode {
        CpuMode::HostModel => {
            // The model is the host's; only the vendor shown can be chosen.
            if let Some(model) = &mut cpu.model {
                model.name = None;
                model.fallback = None;
            }
            cpu.model = cpu.model.take().filter(|m| m.vendor_id.is_some());
        }
        CpuMode::HostPassthrough | CpuMode::Maximum => cpu.model = None,
        CpuMode::Custom => {}
    }
    if let Some(topology) = &mut cpu.topology {
        topology.dies.get_or_insert(1);
        topology.clusters.get_or_insert(1);
    }
    Ok(())
}

fn choose_default(domain: &mut Domain, context: &DefineContext) {
    let named = domain.cpu.as_ref().is_some_and(|cpu| {
        cpu.mode.is_some_and(|m| m != CpuMode::Custom) || cpu.model_name().is_some()
    });
    let Some(default) = context
        .default_cpu
        .as_ref()
        .filter(|_| !named && domain.is_x86())
    else {
        return;
    };
    let cpu = domain.cpu.get_or_insert_default();
    cpu.check = Some(CpuCheck::None);
    cpu.mode = Some(CpuMode::Custom);
    cpu.match_ = Some(CpuMatch::Exact);
    cpu.model = Some(CpuModel {
        fallback: Some(CpuFallback::Forbid),
        vendor_id: None,
        name: Some(default.clone()),
    });
}

fn complete_cpu(cpu: &mut Cpu, kind: DomainType) {
    let Some(mode) = cpu.mode else { return };
    if mode == CpuMode::HostPassthrough {
        cpu.migratable.get_or_insert(OnOff::On);
    }
    if mode == CpuMode::Custom && cpu.model_name().is_none() {
        return;
    }
    if cpu.check.is_none_or(|c| c == CpuCheck::Default) {
        cpu.check = Some(match mode {
            CpuMode::HostPassthrough | CpuMode::Maximum => CpuCheck::None,
            CpuMode::HostModel => CpuCheck::Partial,
            CpuMode::Custom if kind == DomainType::Qemu => CpuCheck::None,
            CpuMode::Custom => CpuCheck::Partial,
        });
    }
}

/// Numbers the cells and shows their memory in KiB.
fn complete_cells(cpu: &mut Cpu) -> Result<(), XmlError> {
    let Some(numa) = &mut cpu.numa else {
        return Ok(());
    };
    for (i, cell) in numa.cells.iter_mut().enumerate() {
        cell.id.get_or_insert(i as u32);
        let kib = cell.memory_kib();
        cell.memory = Some(kib);
        cell.unit = Some("KiB".to_owned());
        if cell.cpus.as_ref().is_some_and(|c| c.0.is_empty()) {
            cell.cpus = None;
        }
    }
    numa.cells.sort_by_key(|c| c.id);
    let contiguous = numa
        .cells
        .iter()
        .enumerate()
        .all(|(i, c)| c.id == Some(i as u32));
    if !contiguous {
        return Err(xml_error(
            "Exactly one 'cell' element per guest NUMA cell allowed, non-contiguous ranges or \
             ranges not starting from 0 are not allowed",
        ));
    }
    for (i, cell) in numa.cells.iter().enumerate() {
        let Some(cpus) = &cell.cpus else { continue };
        let others = numa.cells.iter().enumerate().filter(|(j, _)| *j > i);
        for (j, other) in others {
            if other.cpus.as_ref().is_some_and(|o| o.overlaps(cpus)) {
                return Err(XmlError::unsupported(format!(
                    "NUMA cells {i} and {j} have overlapping vCPU ids"
                )));
            }
        }
    }
    Ok(())
}
