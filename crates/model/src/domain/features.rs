//! Features of the machine: ACPI, APIC, Hyper-V enlightenments and so on.

use super::memory_size::Kib;
use crate::xml::{Element, Node, OnOff, XmlError, XmlWriter, YesNo, element, keyword};

element! {
    /// A feature that is on or off.
    pub struct Switch {
        attr state: Option<OnOff> = "state",
    }
}

impl Switch {
    /// A feature that is on.
    pub fn on() -> Self {
        Switch {
            state: Some(OnOff::On),
        }
    }

    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.state == Some(OnOff::On)
    }
}

element! {
    /// The interrupt controller.
    pub struct Apic {
        attr eoi: Option<OnOff> = "eoi",
    }
}

keyword! {
    /// How Hyper-V enlightenments are chosen.
    pub enum HypervMode {
        Custom = "custom",
        Passthrough = "passthrough",
        HostModel = "host-model",
    }
}

element! {
    /// An enlightenment that is on or off.
    pub struct Enlightenment {
        req state: OnOff = "state",
    }
}

impl Enlightenment {
    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.state.is_on()
    }
}

element! {
    /// Hyper-V's spinlocks.
    pub struct Spinlocks {
        attr state: Option<OnOff> = "state",
        attr retries: Option<u32> = "retries",
    }
}

element! {
    /// Hyper-V's synthetic timers.
    pub struct Stimer {
        attr state: Option<OnOff> = "state",
        child direct: Option<Switch> = "direct",
    }
}

element! {
    /// The vendor Hyper-V shows.
    pub struct HypervVendor {
        attr state: Option<OnOff> = "state",
        attr value: Option<String> = "value",
    }
}

element! {
    /// Hyper-V's flushes of remote TLBs.
    pub struct TlbFlush {
        attr state: Option<OnOff> = "state",
        child direct: Option<Switch> = "direct",
        child extended: Option<Switch> = "extended",
    }
}

/// Makes an element have an end tag of its own though there is nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenBody;

impl Element for OpenBody {
    fn write_children(&self, w: &mut XmlWriter) {
        w.open_body();
    }
}

element! {
    /// Hyper-V enlightenments.
    pub struct Hyperv {
        attr mode: Option<HypervMode> = "mode",
        flat body: OpenBody,
        child relaxed: Option<Enlightenment> = "relaxed",
        child vapic: Option<Enlightenment> = "vapic",
        child spinlocks: Option<Spinlocks> = "spinlocks",
        child vpindex: Option<Enlightenment> = "vpindex",
        child runtime: Option<Enlightenment> = "runtime",
        child synic: Option<Enlightenment> = "synic",
        child stimer: Option<Stimer> = "stimer",
        child reset: Option<Enlightenment> = "reset",
        child vendor_id: Option<HypervVendor> = "vendor_id",
        child frequencies: Option<Enlightenment> = "frequencies",
        child reenlightenment: Option<Enlightenment> = "reenlightenment",
        child tlbflush: Option<TlbFlush> = "tlbflush",
        child ipi: Option<Enlightenment> = "ipi",
        child evmcs: Option<Enlightenment> = "evmcs",
        child avic: Option<Enlightenment> = "avic",
        child emsr_bitmap: Option<Enlightenment> = "emsr_bitmap",
        child xmm_input: Option<Enlightenment> = "xmm_input",
    }
}

element! {
    /// The ring that tracks written pages; the size is in entries.
    pub struct DirtyRing {
        attr state: Option<OnOff> = "state",
        attr size: Option<u32> = "size",
    }
}

element! {
    /// What KVM shows the guest of itself.
    pub struct KvmFeatures {
        flat body: OpenBody,
        child hidden: Option<Switch> = "hidden",
        child hint_dedicated: Option<Switch> = "hint-dedicated",
        child poll_control: Option<Switch> = "poll-control",
        child pv_ipi: Option<Switch> = "pv-ipi",
        child dirty_ring: Option<DirtyRing> = "dirty-ring",
    }
}

element! {
    /// What Xen shows the guest of itself.
    pub struct XenFeatures {
        child e820_host: Option<Switch> = "e820_host",
        child passthrough: Option<XenPassthrough> = "passthrough",
    }
}

element! {
    /// How Xen hands devices over.
    pub struct XenPassthrough {
        attr state: Option<OnOff> = "state",
        attr mode: Option<String> = "mode",
    }
}

keyword! {
    /// Who emulates the I/O APIC.
    pub enum IoapicDriver {
        Kvm = "kvm",
        Qemu = "qemu",
    }
}

element! {
    /// The I/O APIC.
    pub struct Ioapic {
        req driver: IoapicDriver = "driver",
    }
}

element! {
    /// ARM's interrupt controller.
    pub struct Gic {
        attr version: Option<String> = "version",
    }
}

/// An amount of memory whose unit is kept as libvirt shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrettySize {
    /// The amount in bytes.
    pub bytes: u64,
}

impl Element for PrettySize {
    fn take_attribute(&mut self, _: Node, name: &str, _: &str) -> Result<bool, XmlError> {
        Ok(name == "unit")
    }

    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        self.bytes = super::memory_size::read(node, "MiB")?;
        Ok(())
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        w.attr_str("unit", self.pretty().1);
    }

    fn write_children(&self, w: &mut XmlWriter) {
        w.text(&self.pretty().0);
    }
}

impl PrettySize {
    /// The amount in the largest unit that holds it without remainder.
    fn pretty(&self) -> (u64, &'static str) {
        let mut value = self.bytes;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            if value == 0 || !value.is_multiple_of(1024) {
                break;
            }
            value /= 1024;
            unit = next;
        }
        (value, unit)
    }
}

element! {
    /// System management mode.
    pub struct Smm {
        attr state: Option<OnOff> = "state",
        child tseg: Option<PrettySize> = "tseg",
    }
}

element! {
    /// A capability of a container.
    pub struct HptFeature {
        attr resizing: Option<String> = "resizing",
        child max_page_size: Option<Kib> = "maxpagesize",
    }
}

element! {
    /// A POWER setting with a value.
    pub struct ValueFeature {
        req value: String = "value",
    }
}

element! {
    /// Asynchronous teardown of the guest's memory.
    pub struct AsyncTeardown {
        attr enabled: Option<YesNo> = "enabled",
    }
}

element! {
    /// Features of the machine.
    pub struct Features {
        flag acpi: bool = "acpi",
        child apic: Option<Apic> = "apic",
        flag pae: bool = "pae",
        child hap: Option<Switch> = "hap",
        flag viridian: bool = "viridian",
        flag privnet: bool = "privnet",
        child hyperv: Option<Box<Hyperv>> = "hyperv",
        child pvspinlock: Option<Switch> = "pvspinlock",
        child kvm: Option<KvmFeatures> = "kvm",
        child xen: Option<XenFeatures> = "xen",
        child pmu: Option<Switch> = "pmu",
        child vmport: Option<Switch> = "vmport",
        child gic: Option<Gic> = "gic",
        child smm: Option<Smm> = "smm",
        child ioapic: Option<Ioapic> = "ioapic",
        child hpt: Option<HptFeature> = "hpt",
        child vmcoreinfo: Option<Switch> = "vmcoreinfo",
        child htm: Option<Switch> = "htm",
        child nested_hv: Option<Switch> = "nested-hv",
        child cfpc: Option<ValueFeature> = "cfpc",
        child sbbc: Option<ValueFeature> = "sbbc",
        child ibs: Option<ValueFeature> = "ibs",
        child ccf_assist: Option<Switch> = "ccf-assist",
        child async_teardown: Option<AsyncTeardown> = "async-teardown",
        child ras: Option<Switch> = "ras",
        child ps2: Option<Switch> = "ps2",
        child aia: Option<ValueFeature> = "aia",
    }
}
