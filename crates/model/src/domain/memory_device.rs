//! Memory modules: DIMMs, NVDIMMs, virtio-mem, virtio-pmem, SGX.

use super::id_set::IdSet;
use super::info::DeviceInfo;
use super::memory_size::Kib;
use crate::xml::{Hex, YesNo, element, keyword};

keyword! {
    /// Models of memory modules.
    pub enum MemoryModel {
        Dimm = "dimm",
        Nvdimm = "nvdimm",
        VirtioPmem = "virtio-pmem",
        VirtioMem = "virtio-mem",
        SgxEpc = "sgx-epc",
    }
}

keyword! {
    /// Whether the host may share the memory.
    pub enum MemoryAccess {
        Shared = "shared",
        Private = "private",
    }
}

element! {
    /// What the module's memory is made of.
    pub struct MemorySource {
        leaf nodemask: Option<IdSet> = "nodemask",
        child page_size: Option<Kib> = "pagesize",
        leaf path: Option<String> = "path",
        child align_size: Option<Kib> = "alignsize",
        flag pmem: bool = "pmem",
    }
}

element! {
    /// The label area of an NVDIMM.
    pub struct MemoryLabel {
        child size: Option<Kib> = "size",
    }
}

element! {
    /// The guest address of a module.
    pub struct MemoryAddress {
        req base: Hex<1> = "base",
    }
}

element! {
    /// How the guest sees a module.
    pub struct MemoryTarget {
        attr dynamic_memslots: Option<YesNo> = "dynamicMemslots",
        child size: Option<Kib> = "size",
        leaf node: Option<u32> = "node",
        child label: Option<MemoryLabel> = "label",
        child block: Option<Kib> = "block",
        child requested: Option<Kib> = "requested",
        child current: Option<Kib> = "current",
        child address: Option<MemoryAddress> = "address",
        flag readonly: bool = "readonly",
    }
}

element! {
    /// A memory module.
    pub struct MemoryDevice {
        req model: MemoryModel = "model",
        attr access: Option<MemoryAccess> = "access",
        attr discard: Option<YesNo> = "discard",
        leaf uuid: Option<uuid::Uuid> = "uuid",
        child source: Option<MemorySource> = "source",
        child target: Option<MemoryTarget> = "target",
        flat info: DeviceInfo,
    }
}

impl MemoryDevice {
    /// The module's size.
    pub fn size(&self) -> Kib {
        self.target
            .as_ref()
            .and_then(|t| t.size)
            .unwrap_or_default()
    }
}
