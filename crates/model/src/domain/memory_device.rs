//! Memory modules: DIMMs, NVDIMMs, virtio-mem, virtio-pmem, SGX.

use super::id_set::IdSet;
use super::info::DeviceInfo;
use super::memory_size::Kib;
use crate::xml::{Hex, XmlError, YesNo, element, keyword};

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
        /// How much the guest has plugged in of it.
        running current: Option<Kib> = "current",
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
    /// Whether both are the same module: all that a guest cannot be asked to change is the same.
    pub fn is_same(&self, other: &MemoryDevice) -> bool {
        let lasting = |module: &MemoryDevice| {
            let target = module.target.clone().unwrap_or_default();
            (module.model, target.size, target.node, target.block)
        };
        lasting(self) == lasting(other) && self.uuid == other.uuid
    }

    /// Asks the guest for another part of the module.
    ///
    /// # Errors
    /// If it is not of a kind that can be had in parts, or the part is no whole number of blocks.
    pub fn request(&mut self, requested: Kib) -> Result<(), XmlError> {
        if self.model != MemoryModel::VirtioMem {
            let message = format!("cannot modify memory of model '{}'", self.model);
            return Err(XmlError::unsupported(message));
        }
        let size = self.size();
        let target = self.target.get_or_insert_default();
        if requested > size {
            let message = "requested size must be smaller than or equal to @size";
            return Err(XmlError::invalid(message));
        }
        let block = target.block.unwrap_or_default().0;
        if block == 0 || !requested.0.is_multiple_of(block) {
            let message = "requested size must be an integer multiple of block size";
            return Err(XmlError::invalid(message));
        }
        target.requested = Some(requested);
        Ok(())
    }

    /// The module's size.
    pub fn size(&self) -> Kib {
        self.target
            .as_ref()
            .and_then(|t| t.size)
            .unwrap_or_default()
    }
}
