//! What the host is and which machines it runs: facts and [`QemuCaps`] as libvirt's
//! capabilities.

use std::collections::BTreeSet;

use model::capabilities::{
    Capabilities, Guest, GuestMachine, Host, HostCell, HostCpu, HostTopology, SecurityModel,
};

use crate::caps::{Accelerator, CpuVendor, QemuCaps};
use crate::cpu_match::FeatureSet;

/// Facts about the host, as its kernel tells them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// The host's identity, sixteen bytes.
    pub uuid: Option<[u8; 16]>,
    /// The architecture.
    pub arch: String,
    /// The twelve letters the processor names its maker by.
    pub vendor_id: String,
    /// Family, model and stepping.
    pub signature: (u32, u32, u32),
    /// The version of the processor's microcode.
    pub microcode: Option<u64>,
    /// The processor's features by the kernel's names.
    pub flags: Vec<String>,
    /// The width of physical addresses in bits.
    pub address_bits: Option<u32>,
    /// The NUMA nodes.
    pub cells: Vec<HostCell>,
    /// How the processors are grouped.
    pub topology: HostTopology,
    /// The sizes of pages in KiB.
    pub page_sizes_kib: Vec<u64>,
    /// How the host can sleep (`suspend_mem`, …).
    pub power_management: Vec<String>,
    /// Devices can be handed to machines safely.
    pub iommu: bool,
    /// The user and group machines run as, if not the daemon's.
    pub qemu_identity: Option<(u32, u32)>,
}

/// The host's capabilities. `emulator` is the program that `caps` are of.
#[must_use]
pub fn capabilities(caps: &QemuCaps, emulator: &str, facts: &HostFacts) -> Capabilities {
    let guest = |arch: &str, word_size, pae| guest(caps, emulator, arch, word_size, pae);
    let mut guests = Vec::new();
    if caps.arch == "x86_64" {
        guests.push(guest("i686", 32, true));
    }
    guests.push(guest(&caps.arch, 64, false));
    Capabilities {
        host: host(caps, facts),
        guests,
    }
}

fn host(caps: &QemuCaps, facts: &HostFacts) -> Host {
    Host {
        uuid: facts.uuid.map(uuid_of),
        cpu: cpu(caps, facts),
        power_management: facts.power_management.clone(),
        iommu: facts.iommu,
        migration_transports: vec!["tcp".to_owned()],
        cells: facts.cells.clone(),
        security: security(facts),
    }
}

fn uuid_of(bytes: [u8; 16]) -> model::capabilities::Uuid {
    model::capabilities::Uuid::from_bytes(bytes)
}

/// All features of the host's processor.
#[must_use]
pub fn host_features(caps: &QemuCaps, facts: &HostFacts) -> FeatureSet {
    let mut features = features(&facts.flags);
    // Where the hardware runs guests, QEMU knows of features the kernel does not show.
    if let Some(kvm) = caps
        .accelerator(Accelerator::Kvm)
        .and_then(|kvm| FeatureSet::of_hypervisor(kvm, &caps.cpu_table))
    {
        features.extend(kvm.features);
    }
    FeatureSet {
        vendor: CpuVendor::from_id(&facts.vendor_id),
        features,
    }
}

fn cpu(caps: &QemuCaps, facts: &HostFacts) -> HostCpu {
    let FeatureSet { vendor, features } = host_features(caps, facts);
    let (family, number, _) = facts.signature;
    let signature = (u64::from(family), u64::from(number));
    let model = caps.cpu_table.contained_in(vendor, signature, &features);
    let own = model.and_then(|model| caps.cpu_table.features(model));
    let own = own.unwrap_or_default();
    HostCpu {
        arch: facts.arch.clone(),
        model: Some(model.map_or_else(|| generic_model(&facts.arch), str::to_owned)),
        vendor: vendor.map(|vendor| vendor.name().to_owned()),
        microcode: facts.microcode,
        signature: Some(facts.signature),
        tsc: None,
        topology: facts.topology,
        address_bits: facts.address_bits,
        features: features.difference(&own).cloned().collect(),
        page_sizes_kib: facts.page_sizes_kib.clone(),
    }
}

/// The model to which features are added where none is known to fit.
fn generic_model(arch: &str) -> String {
    if arch == "i686" {
        "qemu32".to_owned()
    } else {
        "qemu64".to_owned()
    }
}

/// libvirt's names of the features that the kernel names.
fn features(flags: &[String]) -> BTreeSet<String> {
    flags
        .iter()
        .filter_map(|flag| feature(flag))
        .map(str::to_owned)
        .collect()
}

/// Features which the kernel calls otherwise.
const RENAMED: [(&str, &str); 25] = [
    ("avx512_4fmaps", "avx512-4fmaps"),
    ("avx512_4vnniw", "avx512-4vnniw"),
    ("avx512_bf16", "avx512-bf16"),
    ("avx512_bitalg", "avx512bitalg"),
    ("avx512_fp16", "avx512-fp16"),
    ("avx512_vbmi2", "avx512vbmi2"),
    ("avx512_vnni", "avx512vnni"),
    ("avx512_vp2intersect", "avx512-vp2intersect"),
    ("avx512_vpopcntdq", "avx512-vpopcntdq"),
    ("avx_vnni", "avx-vnni"),
    ("amx_bf16", "amx-bf16"),
    ("amx_int8", "amx-int8"),
    ("amx_tile", "amx-tile"),
    ("arch_capabilities", "arch-capabilities"),
    ("cr8_legacy", "cr8legacy"),
    ("flush_l1d", "flush-l1d"),
    ("md_clear", "md-clear"),
    ("nonstop_tsc", "invtsc"),
    ("nrip_save", "nrip-save"),
    ("ospke", "ospke"),
    ("pclmulqdq", "pclmuldq"),
    ("sha_ni", "sha-ni"),
    ("sse4_1", "sse4.1"),
    ("sse4_2", "sse4.2"),
    ("tsc_deadline_timer", "tsc-deadline"),
];

/// Features which the kernel calls as libvirt does.
const SAME: &str = " 3dnow 3dnowext 3dnowprefetch abm adx aes apic arat avx avx2 avx512bw avx512cd \
    avx512dq avx512er avx512f avx512ifma avx512pf avx512vbmi avx512vl bmi1 bmi2 clflush clflushopt \
    clwb clzero cmov cmp_legacy cx16 cx8 dca de ds_cpl dtes64 erms est f16c fma fma4 \
    fpu fsgsbase fsrm fxsr fxsr_opt gfni hle ht hypervisor ibpb ibrs ibs invpcid la57 lahf_lm lm \
    lwp mca mce misalignsse mmx mmxext monitor movbe movdir64b movdiri mpx msr mtrr nodeid_msr nx \
    osvw osxsave pae pat pbe pcid pdcm pdpe1gb perfctr_core perfctr_nb pge pku pni popcnt pse \
    pse36 rdpid rdrand rdseed rdtscp rtm sep serialize skinit smap smep smx ss ssbd sse sse2 sse4a \
    ssse3 stibp svm syscall tbm tm tm2 topoext tsc tsc_adjust umip vaes vme vmx vpclmulqdq \
    wbnoinvd wdt x2apic xgetbv1 xop xsave xsavec xsaveerptr xsaveopt xsaves xtpr ";

fn feature(flag: &str) -> Option<&str> {
    if let Some((_, name)) = RENAMED.iter().find(|(kernel, _)| *kernel == flag) {
        return Some(name);
    }
    SAME.split(' ')
        .find(|name| !name.is_empty() && *name == flag)
}

fn security(facts: &HostFacts) -> Vec<SecurityModel> {
    let none = SecurityModel {
        model: "none".to_owned(),
        doi: "0".to_owned(),
        base_labels: Vec::new(),
    };
    let Some((user, group)) = facts.qemu_identity else {
        return vec![none];
    };
    let label = format!("+{user}:+{group}");
    let labels = ["kvm", "qemu"].map(|kind| (kind.to_owned(), label.clone()));
    let ownership = SecurityModel {
        model: "dac".to_owned(),
        doi: "0".to_owned(),
        base_labels: labels.to_vec(),
    };
    vec![none, ownership]
}

fn guest(caps: &QemuCaps, emulator: &str, arch: &str, word_size: u32, pae: bool) -> Guest {
    let mut machines = Vec::new();
    for machine in &caps.machines {
        let entry = GuestMachine {
            name: machine.name.clone(),
            canonical: None,
            cpus_max: machine.cpus_max,
            deprecated: machine.deprecated,
        };
        let short = machine.alias.as_ref().map(|alias| GuestMachine {
            name: alias.clone(),
            canonical: Some(machine.name.clone()),
            ..entry.clone()
        });
        // Clients take the first as the one to choose by themselves.
        let place = if machine.default { 0 } else { machines.len() };
        let entries: Vec<_> = std::iter::once(entry).chain(short).collect();
        machines.splice(place..place, entries);
    }
    let mut domain_types = vec!["qemu".to_owned()];
    if caps.accelerator(Accelerator::Kvm).is_some() {
        domain_types.push("kvm".to_owned());
    }
    Guest {
        os_type: "hvm".to_owned(),
        arch: arch.to_owned(),
        word_size,
        emulator: emulator.to_owned(),
        machines,
        domain_types,
        pae,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> HostFacts {
        HostFacts {
            uuid: Some([7; 16]),
            arch: "x86_64".into(),
            vendor_id: "AuthenticAMD".into(),
            signature: (25, 17, 1),
            flags: ["fpu", "sse4_1", "pclmulqdq", "rep_good"]
                .map(str::to_owned)
                .to_vec(),
            qemu_identity: Some((64055, 64055)),
            ..HostFacts::default()
        }
    }

    fn caps() -> QemuCaps {
        QemuCaps::from_json(include_str!("../tests/data/caps-10.0.json")).unwrap()
    }

    #[test]
    fn flags_become_features() {
        let mut caps = caps();
        caps.accelerators.remove(&Accelerator::Kvm);
        let cpu = capabilities(&caps, "/usr/bin/q", &facts()).host.cpu;
        assert_eq!(cpu.features, ["fpu", "pclmuldq", "sse4.1"]);
        assert_eq!(
            (cpu.model.as_deref(), cpu.vendor.as_deref()),
            (Some("qemu64"), Some("AMD"))
        );
    }

    #[test]
    fn the_default_machine_comes_first() {
        let found = capabilities(&caps(), "/usr/bin/q", &facts());
        let guest = found
            .guests
            .iter()
            .find(|guest| guest.arch == "x86_64")
            .unwrap();
        let names: Vec<_> = guest
            .machines
            .iter()
            .map(|m| m.name.as_str())
            .take(2)
            .collect();
        assert_eq!(names, ["pc-i440fx-10.0", "pc"]);
        assert_eq!(
            guest.machines[1].canonical.as_deref(),
            Some("pc-i440fx-10.0")
        );
        assert_eq!(guest.domain_types, ["qemu", "kvm"]);
        let xml = found.to_xml();
        assert!(
            xml.contains("<baselabel type='qemu'>+64055:+64055</baselabel>"),
            "{xml}"
        );
        assert!(
            xml.contains("<uuid>07070707-0707-0707-0707-070707070707</uuid>"),
            "{xml}"
        );
    }
}
