//! What a machine may use of its host: CPUs, memory, NUMA nodes, disk time.

use super::disk::IoTune;
use super::id_set::IdSet;
use super::memory_size::Kib;
use crate::xml::{Element, Node, OnOff, XmlError, XmlWriter, YesNo, element, keyword};

keyword! {
    /// Where CPUs or memory are placed.
    pub enum Placement {
        Static = "static",
        Auto = "auto",
    }
}

element! {
    /// The number of virtual CPUs and where they may run.
    pub struct Vcpu {
        attr placement: Option<Placement> = "placement",
        attr cpuset: Option<IdSet> = "cpuset",
        attr current: Option<u32> = "current",
        text count_given: Option<u32>,
    }
}

impl Vcpu {
    /// The most CPUs the machine can have.
    pub fn count(&self) -> u32 {
        self.count_given.unwrap_or(1)
    }

    /// The CPUs it starts with.
    pub fn current(&self) -> u32 {
        self.current.unwrap_or_else(|| self.count())
    }
}

element! {
    /// One virtual CPU.
    pub struct VcpuEntry {
        req id: u32 = "id",
        attr enabled: Option<YesNo> = "enabled",
        attr hotpluggable: Option<YesNo> = "hotpluggable",
        attr order: Option<u32> = "order",
    }
}

element! {
    /// Virtual CPUs one by one.
    pub struct Vcpus {
        list vcpus: Vec<VcpuEntry> = "vcpu",
    }
}

element! {
    /// Polling of an I/O thread.
    pub struct IothreadPoll {
        attr max: Option<u64> = "max",
        attr grow: Option<u64> = "grow",
        attr shrink: Option<u64> = "shrink",
    }
}

element! {
    /// One I/O thread.
    pub struct IothreadId {
        req id: u32 = "id",
        attr pool_min: Option<i32> = "thread_pool_min",
        attr pool_max: Option<i32> = "thread_pool_max",
        child poll: Option<IothreadPoll> = "poll",
    }
}

element! {
    /// I/O threads one by one.
    pub struct IothreadIds {
        list iothreads: Vec<IothreadId> = "iothread",
    }
}

element! {
    /// The thread for all other I/O.
    pub struct DefaultIothread {
        attr pool_min: Option<i32> = "thread_pool_min",
        attr pool_max: Option<i32> = "thread_pool_max",
    }
}

element! {
    /// The CPUs one virtual CPU may run on.
    pub struct VcpuPin {
        req vcpu: u32 = "vcpu",
        req cpuset: IdSet = "cpuset",
    }
}

element! {
    /// The CPUs QEMU's own threads may run on.
    pub struct EmulatorPin {
        req cpuset: IdSet = "cpuset",
    }
}

element! {
    /// The CPUs an I/O thread may run on.
    pub struct IothreadPin {
        req iothread: u32 = "iothread",
        req cpuset: IdSet = "cpuset",
    }
}

keyword! {
    /// Schedulers of threads.
    pub enum Scheduler {
        Other = "other",
        Batch = "batch",
        Idle = "idle",
        Fifo = "fifo",
        Rr = "rr",
    }
}

element! {
    /// The scheduler of some virtual CPUs.
    pub struct VcpuSched {
        req vcpus: IdSet = "vcpus",
        req scheduler: Scheduler = "scheduler",
        attr priority: Option<i32> = "priority",
    }
}

element! {
    /// The scheduler of some I/O threads.
    pub struct IothreadSched {
        req iothreads: IdSet = "iothreads",
        req scheduler: Scheduler = "scheduler",
        attr priority: Option<i32> = "priority",
    }
}

element! {
    /// The scheduler of QEMU's own threads.
    pub struct EmulatorSched {
        req scheduler: Scheduler = "scheduler",
        attr priority: Option<i32> = "priority",
    }
}

element! {
    /// CPU time. Periods and quotas are in microseconds; a negative quota is no limit.
    pub struct CpuTune {
        leaf shares: Option<u64> = "shares",
        leaf period: Option<u64> = "period",
        leaf quota: Option<i64> = "quota",
        leaf global_period: Option<u64> = "global_period",
        leaf global_quota: Option<i64> = "global_quota",
        leaf emulator_period: Option<u64> = "emulator_period",
        leaf emulator_quota: Option<i64> = "emulator_quota",
        leaf iothread_period: Option<u64> = "iothread_period",
        leaf iothread_quota: Option<i64> = "iothread_quota",
        list vcpu_pins: Vec<VcpuPin> = "vcpupin",
        child emulator_pin: Option<EmulatorPin> = "emulatorpin",
        list iothread_pins: Vec<IothreadPin> = "iothreadpin",
        list vcpu_scheds: Vec<VcpuSched> = "vcpusched",
        list iothread_scheds: Vec<IothreadSched> = "iothreadsched",
        child emulator_sched: Option<EmulatorSched> = "emulatorsched",
    }
}

impl CpuTune {
    /// One scheduler for each CPU and thread, in order, as libvirt shows them.
    pub(super) fn split_schedulers(&mut self) {
        let one = |id: &u32| IdSet([*id].into());
        let mut vcpus: Vec<VcpuSched> = Vec::new();
        for sched in std::mem::take(&mut self.vcpu_scheds) {
            let split = sched.vcpus.0.iter();
            vcpus.extend(split.map(|id| VcpuSched {
                vcpus: one(id),
                ..sched.clone()
            }));
        }
        vcpus.sort_by(|a, b| a.vcpus.0.cmp(&b.vcpus.0));
        self.vcpu_scheds = vcpus;
        let mut iothreads: Vec<IothreadSched> = Vec::new();
        for sched in std::mem::take(&mut self.iothread_scheds) {
            let split = sched.iothreads.0.iter();
            iothreads.extend(split.map(|id| IothreadSched {
                iothreads: one(id),
                ..sched.clone()
            }));
        }
        iothreads.sort_by(|a, b| a.iothreads.0.cmp(&b.iothreads.0));
        self.iothread_scheds = iothreads;
    }
}

keyword! {
    /// How memory is spread over nodes.
    pub enum NumaMode {
        Strict = "strict",
        Preferred = "preferred",
        Interleave = "interleave",
        Restrictive = "restrictive",
    }
}

element! {
    /// The host's nodes the machine's memory comes from.
    pub struct NumaMemory {
        attr mode: Option<NumaMode> = "mode",
        attr nodeset: Option<IdSet> = "nodeset",
        attr placement: Option<Placement> = "placement",
    }
}

element! {
    /// The host's nodes one cell's memory comes from.
    pub struct NumaMemnode {
        req cell_id: u32 = "cellid",
        req mode: NumaMode = "mode",
        req nodeset: IdSet = "nodeset",
    }
}

element! {
    /// Where the machine's memory comes from.
    pub struct NumaTune {
        child memory: Option<NumaMemory> = "memory",
        list memnodes: Vec<NumaMemnode> = "memnode",
    }
}

/// The largest memory limit, in KiB: libvirt's "unlimited".
pub const MEMORY_UNLIMITED_KIB: u64 = 9_007_199_254_740_991;

element! {
    /// Limits on memory.
    pub struct MemTune {
        child hard_limit: Option<Kib> = "hard_limit",
        child soft_limit: Option<Kib> = "soft_limit",
        child min_guarantee: Option<Kib> = "min_guarantee",
        child swap_hard_limit: Option<Kib> = "swap_hard_limit",
    }
}

element! {
    /// Limits on one of the host's block devices.
    pub struct BlkioDevice {
        leaf path: Option<String> = "path",
        leaf weight: Option<u32> = "weight",
        leaf read_iops_sec: Option<u32> = "read_iops_sec",
        leaf write_iops_sec: Option<u32> = "write_iops_sec",
        leaf read_bytes_sec: Option<u64> = "read_bytes_sec",
        leaf write_bytes_sec: Option<u64> = "write_bytes_sec",
    }
}

element! {
    /// Limits on block devices.
    pub struct BlkioTune {
        leaf weight: Option<u32> = "weight",
        list devices: Vec<BlkioDevice> = "device",
    }
}

element! {
    /// A size of pages and the cells that use it; the size is in `unit`.
    pub struct HugePage {
        attr size: Option<u64> = "size",
        attr unit: Option<String> = "unit",
        attr nodeset: Option<IdSet> = "nodeset",
    }
}

impl HugePage {
    /// Shows the size in KiB, as libvirt does.
    pub(super) fn show_in_kib(&mut self) {
        let unit = self.unit.as_deref().unwrap_or("KiB");
        let bytes = self.size.and_then(|s| super::memory_size::scale(s, unit));
        if let Some(bytes) = bytes {
            self.size = Some(bytes.div_ceil(1024));
            self.unit = Some("KiB".to_owned());
        }
    }
}

element! {
    /// Memory made of large pages.
    pub struct HugePages {
        list pages: Vec<HugePage> = "page",
    }
}

keyword! {
    /// What memory is made of.
    pub enum MemorySourceType {
        File = "file",
        Anonymous = "anonymous",
        Memfd = "memfd",
    }
}

element! {
    /// What memory is made of.
    pub struct BackingSource {
        req kind: MemorySourceType = "type",
    }
}

element! {
    /// Whether others may map the memory.
    pub struct BackingAccess {
        req mode: super::memory_device::MemoryAccess = "mode",
    }
}

keyword! {
    /// When memory is allocated.
    pub enum AllocationMode {
        Immediate = "immediate",
        Ondemand = "ondemand",
    }
}

element! {
    /// When memory is allocated, and by how many threads.
    pub struct Allocation {
        attr mode: Option<AllocationMode> = "mode",
        attr threads: Option<u32> = "threads",
    }
}

element! {
    /// How the machine's memory is provided.
    pub struct MemoryBacking {
        child huge_pages: Option<HugePages> = "hugepages",
        flag no_share_pages: bool = "nosharepages",
        flag locked: bool = "locked",
        child source: Option<BackingSource> = "source",
        child access: Option<BackingAccess> = "access",
        child allocation: Option<Allocation> = "allocation",
        flag discard: bool = "discard",
    }
}

/// The machine's memory, and whether a dump of QEMU contains it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// The amount.
    pub size: Kib,
    /// `dumpCore`
    pub dump_core: Option<OnOff>,
}

impl Element for Memory {
    fn take_attribute(&mut self, node: Node, name: &str, value: &str) -> Result<bool, XmlError> {
        if name == "dumpCore" {
            self.dump_core = Some(node.scalar(name, value)?);
            return Ok(true);
        }
        self.size.take_attribute(node, name, value)
    }

    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        self.size.finish(node)
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        if let Some(dump_core) = &self.dump_core {
            w.attr("dumpCore", dump_core);
        }
        self.size.write_attributes(w);
    }

    fn write_children(&self, w: &mut XmlWriter) {
        self.size.write_children(w);
    }
}

/// The memory the machine can grow to by plugging in modules.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MaxMemory {
    /// How many modules fit.
    pub slots: Option<u32>,
    /// The amount with all of them.
    pub size: Kib,
}

impl Element for MaxMemory {
    fn take_attribute(&mut self, node: Node, name: &str, value: &str) -> Result<bool, XmlError> {
        if name == "slots" {
            self.slots = Some(node.scalar(name, value)?);
            return Ok(true);
        }
        self.size.take_attribute(node, name, value)
    }

    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        self.size.finish(node)
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        if let Some(slots) = &self.slots {
            w.attr("slots", slots);
        }
        self.size.write_attributes(w);
    }

    fn write_children(&self, w: &mut XmlWriter) {
        self.size.write_children(w);
    }
}

element! {
    /// A range of identifiers and what they become.
    pub struct IdRange {
        req start: u32 = "start",
        req target: u32 = "target",
        req count: u32 = "count",
    }
}

element! {
    /// How users and groups are translated.
    pub struct IdMap {
        list uids: Vec<IdRange> = "uid",
        list gids: Vec<IdRange> = "gid",
    }
}

element! {
    /// Which Fibre Channel application the machine is.
    pub struct FibreChannel {
        req app_id: String = "appid",
    }
}

element! {
    /// The group of machines this one belongs to.
    pub struct Resource {
        leaf partition: Option<String> = "partition",
        child fibre_channel: Option<FibreChannel> = "fibrechannel",
    }
}

element! {
    /// Named groups of limits that disks' requests pass through.
    pub struct ThrottleGroups {
        list groups: Vec<Box<IoTune>> = "throttlegroup",
    }
}

element! {
    /// One performance event.
    pub struct PerfEvent {
        req name: String = "name",
        req enabled: YesNo = "enabled",
    }
}

element! {
    /// Performance events that are counted.
    pub struct Perf {
        list events: Vec<PerfEvent> = "event",
    }
}
