//! The guest's memory: its back ends, NUMA cells and modules.

use std::path::PathBuf;

use model::domain::address::Address;
use model::domain::cpu::NumaCell;
use model::domain::id_set::IdSet;
use model::domain::info::DeviceInfo;
use model::domain::memory_device::{MemoryAccess, MemoryDevice, MemoryModel};
use model::domain::resources::{AllocationMode, HugePage, MemorySourceType, NumaMode};
use model::xml::YesNo;

use super::builder::{Builder, Result, alias};
use super::launch::{FileMode, FileRole, Unsupported};
use super::props::{List, Props};

/// One piece of guest memory.
struct Piece<'a> {
    id: String,
    bytes: u64,
    access: Option<MemoryAccess>,
    cell: Option<u32>,
    discard: Option<bool>,
    /// Where the piece's pages come from, other than what holds for the whole machine.
    path: Option<&'a str>,
    page_kib: Option<u64>,
    /// The host's nodes, other than what holds for the whole machine.
    nodes: Option<IdSet>,
    reserve: bool,
    /// It is backed by a file that outlives the machine.
    persistent: bool,
}

impl Builder<'_> {
    /// `-m` and the memory back ends of the machine or of its cells. Returns the id of the back
    /// end of the whole memory, unless it lies in cells.
    pub(super) fn memory(&mut self) -> Result<Option<String>> {
        let modules: u64 = self
            .domain
            .devices
            .memories
            .iter()
            .filter_map(|module| module.target.as_ref()?.size)
            .map(|size| size.0)
            .sum();
        let cells = self
            .domain
            .cpu
            .as_ref()
            .map_or(&[][..], |cpu| cpu.numa_cells());
        let base = match cells {
            [] => whole_mib(self.domain.memory.size.0.saturating_sub(modules)),
            cells => cells
                .iter()
                .map(|cell| whole_mib(cell.memory.unwrap_or(0)))
                .sum(),
        };
        let mut list = List::default();
        list.set("size", format!("{base}k"));
        if let Some(most) = &self.domain.max_memory {
            list.set_some("slots", most.slots.filter(|slots| *slots > 0));
            list.set("maxmem", format!("{}k", most.size.0));
        }
        self.option("-m", list.finish());
        if !cells.is_empty() {
            return Ok(None);
        }
        let machine = self.caps.machine(self.domain.os.machine());
        let id = machine.and_then(|machine| machine.default_ram_id.clone());
        let id = id.unwrap_or_else(|| "pc.ram".to_owned());
        let props = self.memory_backend(&Piece {
            id: id.clone(),
            bytes: base * 1024,
            access: None,
            cell: None,
            discard: self.discards(),
            path: None,
            page_kib: None,
            nodes: None,
            reserve: true,
            persistent: false,
        })?;
        self.object(&props);
        Ok(Some(id))
    }

    /// Whether memory is thrown away at the end rather than written back, where it is said.
    fn discards(&self) -> Option<bool> {
        let backing = self.domain.memory_backing.as_ref()?;
        backing.discard.then_some(true)
    }

    /// `-overcommit`: whether the memory is locked.
    pub(super) fn overcommit(&mut self) {
        let locked = self
            .domain
            .memory_backing
            .as_ref()
            .is_some_and(|backing| backing.locked);
        self.option(
            "-overcommit",
            if locked {
                "mem-lock=on"
            } else {
                "mem-lock=off"
            },
        );
    }

    /// The back end of a NUMA cell's memory; returns its id.
    pub(super) fn cell_memory(&mut self, id: u32, cell: &NumaCell) -> Result<String> {
        let piece = Piece {
            id: format!("ram-node{id}"),
            bytes: whole_mib(cell.memory.unwrap_or(0)) * 1024,
            access: cell.mem_access,
            cell: Some(id),
            discard: cell.discard.map(YesNo::is_yes).or_else(|| self.discards()),
            path: None,
            page_kib: None,
            nodes: None,
            reserve: true,
            persistent: false,
        };
        let props = self.memory_backend(&piece)?;
        self.object(&props);
        Ok(piece.id)
    }

    /// The back end of a piece of memory.
    fn memory_backend(&mut self, piece: &Piece) -> Result<Props> {
        let backing = self.domain.memory_backing.clone().unwrap_or_default();
        let source = backing.source.as_ref().map(|source| source.kind);
        let access = piece
            .access
            .or(backing.access.as_ref().map(|access| access.mode));
        let pages = match piece.page_kib {
            Some(size) => Some(size),
            None => self.huge_page(piece.cell)?,
        };
        // What is shared with another program has to have a descriptor.
        let shared = access == Some(MemoryAccess::Shared);
        let memfd = source == Some(MemorySourceType::Memfd)
            || (source.is_none() && pages.is_none() && shared);
        let mut props = match (piece.path, pages, source) {
            (Some(path), ..) => {
                let mode = FileMode::ReadWrite;
                self.file(path, mode, FileRole::Memory);
                Props::object("memory-backend-file", &piece.id).with("mem-path", path)
            }
            (None, pages, _) if memfd => {
                let mut props = Props::object("memory-backend-memfd", &piece.id);
                if let Some(size) = pages {
                    props.set("hugetlb", true);
                    props.set("hugetlbsize", size * 1024);
                }
                props
            }
            (None, Some(size), _) => {
                let path = self.huge_page_mount(size)?;
                self.file(&path, FileMode::Create, FileRole::Memory);
                let path = path.to_string_lossy().into_owned();
                Props::object("memory-backend-file", &piece.id).with("mem-path", path)
            }
            (None, None, Some(MemorySourceType::File)) => {
                let path = self.context.state_dir.join("ram").join(&piece.id);
                self.file(&path, FileMode::Create, FileRole::Memory);
                let path = path.to_string_lossy().into_owned();
                Props::object("memory-backend-file", &piece.id).with("mem-path", path)
            }
            (None, None, _) => Props::object("memory-backend-ram", &piece.id),
        };
        let file = props.get("mem-path").is_some();
        props.set_some("discard-data", piece.discard.filter(|_| file));
        if file || memfd {
            props.set_some("share", access.map(|access| access == MemoryAccess::Shared));
        }
        let immediate = backing
            .allocation
            .as_ref()
            .is_some_and(|allocation| allocation.mode == Some(AllocationMode::Immediate));
        if immediate || ((pages.is_some() || piece.persistent) && piece.reserve) {
            props.set("prealloc", true);
            let threads = backing
                .allocation
                .as_ref()
                .and_then(|allocation| allocation.threads);
            props.set_some("prealloc-threads", threads);
        }
        if !piece.reserve {
            props.set("reserve", false);
        }
        props.set("size", piece.bytes);
        self.memory_policy(&mut props, piece);
        Ok(props)
    }

    /// The size of the huge pages a cell's memory is made of.
    fn huge_page(&self, cell: Option<u32>) -> Result<Option<u64>> {
        let backing = self.domain.memory_backing.as_ref();
        let Some(pages) = backing.and_then(|backing| backing.huge_pages.as_ref()) else {
            return Ok(None);
        };
        let here = |page: &&HugePage| match (&page.nodeset, cell) {
            (Some(nodes), Some(cell)) => nodes.0.contains(&cell),
            (Some(nodes), None) => nodes.0.contains(&0),
            (None, _) => false,
        };
        let found = pages.pages.iter().find(here);
        let everywhere = || pages.pages.iter().find(|page| page.nodeset.is_none());
        match found.or_else(everywhere) {
            Some(HugePage {
                size: Some(size),
                unit,
                ..
            }) => {
                let unit = unit.as_deref().unwrap_or("KiB");
                let bytes = model::domain::memory_size::scale(*size, unit);
                Ok(Some(bytes.unwrap_or(0) / 1024))
            }
            Some(_) => self.default_huge_page().map(Some),
            None if pages.pages.is_empty() => self.default_huge_page().map(Some),
            None => Ok(None),
        }
    }

    fn default_huge_page(&self) -> Result<u64> {
        let first = self.context.huge_pages.first();
        first.map(|(size, _)| *size).ok_or_else(|| {
            Unsupported::new(
                "hugetlbfs filesystem is not mounted or disabled by administrator config",
            )
        })
    }

    fn huge_page_mount(&self, size_kib: u64) -> Result<PathBuf> {
        let mut mounts = self.context.huge_pages.iter();
        let found = mounts
            .find(|(size, _)| *size == size_kib)
            .map(|(_, path)| path.clone());
        found.ok_or_else(|| {
            Unsupported::new(format!(
                "Unable to find any usable hugetlbfs mount for {size_kib} KiB"
            ))
        })
    }

    fn memory_policy(&self, props: &mut Props, piece: &Piece) {
        let tune = self.domain.numatune.as_ref();
        let of_cell = piece
            .cell
            .and_then(|cell| tune?.memnodes.iter().find(|node| node.cell_id == cell));
        let (nodes, mode) = match (of_cell, tune.and_then(|tune| tune.memory.as_ref())) {
            (Some(node), _) => (Some(node.nodeset.clone()), node.mode),
            (None, Some(all)) => (all.nodeset.clone(), all.mode.unwrap_or_default()),
            (None, None) => (None, NumaMode::default()),
        };
        let Some(nodes) = piece.nodes.clone().or(nodes) else {
            return;
        };
        let policy = match mode {
            NumaMode::Strict => "bind",
            NumaMode::Preferred => "preferred",
            NumaMode::Interleave => "interleave",
            // Left to the cgroup.
            NumaMode::Restrictive => return,
        };
        props.set("host-nodes", nodes.0.iter().copied().collect::<Vec<u32>>());
        props.set("policy", policy);
    }

    /// Memory modules.
    pub(super) fn memory_modules(&mut self) -> Result<()> {
        for module in self.domain.devices.memories.clone() {
            let id = format!("mem{}", alias(&module.info)?);
            let backend = self.module_backend(&module, &id)?;
            self.object(&backend);
            let device = self.module_device(&module, &id)?;
            self.device(device)?;
        }
        Ok(())
    }

    fn module_backend(&mut self, module: &MemoryDevice, id: &str) -> Result<Props> {
        let target = module.target.clone().unwrap_or_default();
        let source = module.source.clone().unwrap_or_default();
        let piece = Piece {
            id: id.to_owned(),
            bytes: target
                .size
                .map_or(0, |size| size.0.next_multiple_of(MODULE_KIB) * 1024),
            access: module.access,
            cell: target.node,
            discard: module
                .discard
                .map(YesNo::is_yes)
                .or_else(|| self.discards()),
            path: source.path.as_deref(),
            page_kib: source.page_size.map(|size| size.0),
            nodes: source.nodemask.clone(),
            reserve: module.model != MemoryModel::VirtioMem,
            persistent: module.model == MemoryModel::Nvdimm,
        };
        let mut props = self.memory_backend(&piece)?;
        props.set_some("align", source.align_size.map(|size| size.0 * 1024));
        if source.pmem {
            props.set("pmem", true);
        }
        Ok(props)
    }

    fn module_device(&mut self, module: &MemoryDevice, backend: &str) -> Result<Props> {
        let driver = match module.model {
            MemoryModel::Dimm => "pc-dimm",
            MemoryModel::Nvdimm => "nvdimm",
            MemoryModel::VirtioPmem => "virtio-pmem-pci",
            MemoryModel::VirtioMem => "virtio-mem-pci",
            MemoryModel::SgxEpc => return Err(Unsupported::new("sgx-epc is not supported")),
        };
        let target = module.target.clone().unwrap_or_default();
        let mut props = Props::device(driver).maybe("node", target.node);
        if let Some(size) = target.label.as_ref().and_then(|label| label.size) {
            props.set("label-size", size.0 * 1024);
        }
        if module.model == MemoryModel::VirtioMem {
            props.set_some("block-size", target.block.map(|size| size.0 * 1024));
            props.set_some("requested-size", target.requested.map(|size| size.0 * 1024));
            props.set_some(
                "dynamic-memslots",
                target.dynamic_memslots.map(YesNo::is_yes),
            );
            let huge = module
                .source
                .as_ref()
                .is_some_and(|source| source.page_size.is_some());
            props.set_some("prealloc", huge.then_some(true));
        }
        if target.readonly && module.model == MemoryModel::Nvdimm {
            props.set("unarmed", true);
        }
        props.set_some("uuid", module.uuid.map(|uuid| uuid.to_string()));
        props.set("memdev", backend);
        props.set_some(
            "memaddr",
            target.address.as_ref().map(|address| address.base.0),
        );
        props.set("id", alias(&module.info)?);
        self.module_place(&mut props, &module.info)?;
        Ok(props)
    }

    fn module_place(&mut self, props: &mut Props, info: &DeviceInfo) -> Result<()> {
        if let Some(Address::Dimm(dimm)) = &info.address {
            props.set("slot", dimm.slot.0);
            props.set_some(
                "addr",
                dimm.base.map(|base| base.0).filter(|base| *base > 0),
            );
            return Ok(());
        }
        self.place(props, info)
    }
}

/// The size of a memory module, in KiB, is a multiple of this.
const MODULE_KIB: u64 = 2048;

/// An amount in KiB rounded up to whole MiB: QEMU's memory has no smaller unit.
fn whole_mib(kib: u64) -> u64 {
    kib.next_multiple_of(1024)
}
