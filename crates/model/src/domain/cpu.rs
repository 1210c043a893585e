//! The guest's processor and its NUMA cells.

use super::id_set::IdSet;
use super::memory_device::MemoryAccess;
use crate::xml::{OnOff, YesNo, element, keyword};

keyword! {
    /// How the guest's processor is chosen.
    pub enum CpuMode {
        Custom = "custom",
        HostModel = "host-model",
        HostPassthrough = "host-passthrough",
        Maximum = "maximum",
    }
}

keyword! {
    /// How closely the host must provide what is asked for.
    pub enum CpuMatch {
        Minimum = "minimum",
        Exact = "exact",
        Strict = "strict",
    }
}

keyword! {
    /// What is compared before the machine starts.
    pub enum CpuCheck {
        Default = "default",
        None = "none",
        Partial = "partial",
        Full = "full",
    }
}

keyword! {
    /// Whether another model may be used.
    pub enum CpuFallback {
        Allow = "allow",
        Forbid = "forbid",
    }
}

element! {
    /// A model of processors.
    pub struct CpuModel {
        attr fallback: Option<CpuFallback> = "fallback",
        attr vendor_id: Option<String> = "vendor_id",
        text name: Option<String>,
    }
}

element! {
    /// Sockets, dies, clusters, cores and threads.
    pub struct CpuTopology {
        req sockets: u32 = "sockets",
        attr dies: Option<u32> = "dies",
        attr clusters: Option<u32> = "clusters",
        req cores: u32 = "cores",
        req threads: u32 = "threads",
    }
}

keyword! {
    /// Where the cache the guest sees comes from.
    pub enum CpuCacheMode {
        Emulate = "emulate",
        Passthrough = "passthrough",
        Disable = "disable",
    }
}

element! {
    /// The cache the guest sees.
    pub struct CpuCache {
        attr level: Option<u32> = "level",
        req mode: CpuCacheMode = "mode",
    }
}

keyword! {
    /// Where the width of addresses comes from.
    pub enum MaxPhysAddrMode {
        Emulate = "emulate",
        Passthrough = "passthrough",
    }
}

element! {
    /// The width of physical addresses, in bits.
    pub struct MaxPhysAddr {
        req mode: MaxPhysAddrMode = "mode",
        attr bits: Option<u32> = "bits",
        attr limit: Option<u32> = "limit",
    }
}

keyword! {
    /// What is asked of a feature.
    pub enum FeaturePolicy {
        Require = "require",
        Force = "force",
        Optional = "optional",
        Disable = "disable",
        Forbid = "forbid",
    }
}

element! {
    /// A feature of the processor.
    pub struct CpuFeature {
        always policy: FeaturePolicy = "policy",
        req name: String = "name",
    }
}

element! {
    /// The distance to another cell; 10 is local.
    pub struct Sibling {
        req id: u32 = "id",
        req value: u32 = "value",
    }
}

element! {
    /// Distances to other cells.
    pub struct Distances {
        list siblings: Vec<Sibling> = "sibling",
    }
}

element! {
    /// A size or line of a cell's cache.
    pub struct CacheValue {
        req value: u64 = "value",
        req unit: String = "unit",
    }
}

element! {
    /// A memory-side cache of a cell.
    pub struct CellCache {
        req level: u32 = "level",
        req associativity: String = "associativity",
        req policy: String = "policy",
        child size: Option<CacheValue> = "size",
        child line: Option<CacheValue> = "line",
    }
}

element! {
    /// A NUMA cell; memory is in `unit`, KiB once completed.
    pub struct NumaCell {
        attr id: Option<u32> = "id",
        attr cpus: Option<IdSet> = "cpus",
        attr memory: Option<u64> = "memory",
        attr unit: Option<String> = "unit",
        attr mem_access: Option<MemoryAccess> = "memAccess",
        attr discard: Option<YesNo> = "discard",
        child distances: Option<Distances> = "distances",
        list caches: Vec<CellCache> = "cache",
    }
}

element! {
    /// How fast one cell reaches another's memory.
    pub struct Interconnect {
        req initiator: u32 = "initiator",
        req target: u32 = "target",
        attr cache: Option<u32> = "cache",
        req kind: String = "type",
        req value: u64 = "value",
        attr unit: Option<String> = "unit",
    }
}

element! {
    /// How fast cells reach each other's memory.
    pub struct Interconnects {
        list latencies: Vec<Interconnect> = "latency",
        list bandwidths: Vec<Interconnect> = "bandwidth",
    }
}

element! {
    /// The guest's NUMA cells.
    pub struct CpuNuma {
        list cells: Vec<NumaCell> = "cell",
        child interconnects: Option<Interconnects> = "interconnects",
    }
}

element! {
    /// The guest's processor.
    pub struct Cpu {
        attr mode: Option<CpuMode> = "mode",
        attr match_: Option<CpuMatch> = "match",
        attr check: Option<CpuCheck> = "check",
        attr migratable: Option<OnOff> = "migratable",
        attr deprecated_features: Option<OnOff> = "deprecated_features",
        child model: Option<CpuModel> = "model",
        leaf vendor: Option<String> = "vendor",
        child topology: Option<CpuTopology> = "topology",
        child cache: Option<CpuCache> = "cache",
        child max_phys_addr: Option<MaxPhysAddr> = "maxphysaddr",
        list features: Vec<CpuFeature> = "feature",
        child numa: Option<CpuNuma> = "numa",
    }
}

impl Cpu {
    /// The model's name, if one is given.
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_ref().and_then(|m| m.name.as_deref())
    }

    /// Number of NUMA cells.
    pub fn numa_cells(&self) -> &[NumaCell] {
        self.numa.as_ref().map_or(&[], |n| &n.cells)
    }
}

impl NumaCell {
    /// The cell's memory in KiB, 0 where none is given.
    pub fn memory_kib(&self) -> u64 {
        let unit = self.unit.as_deref().unwrap_or("KiB");
        let bytes = self.memory.and_then(|m| super::memory_size::scale(m, unit));
        bytes.map_or(0, |b| b.div_ceil(1024))
    }
}
