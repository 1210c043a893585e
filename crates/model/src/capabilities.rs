//! What a host is and which machines it can run: libvirt's `<capabilities>`.
//!
//! Written, never read.

pub use uuid::Uuid;

use crate::xml::{XmlFlags, XmlWriter};

/// The host's processor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostCpu {
    /// The architecture.
    pub arch: String,
    /// The named model nearest to it.
    pub model: Option<String>,
    /// Who makes it: `AMD`, `Intel`, …
    pub vendor: Option<String>,
    /// The version of its microcode.
    pub microcode: Option<u64>,
    /// Family, model and stepping.
    pub signature: Option<(u32, u32, u32)>,
    /// The frequency of its time stamp counter in Hz, and whether it can be scaled.
    pub tsc: Option<(u64, bool)>,
    /// Sockets, dies, clusters, cores and threads.
    pub topology: HostTopology,
    /// The width of its physical addresses in bits.
    pub address_bits: Option<u32>,
    /// Its features besides the model's.
    pub features: Vec<String>,
    /// The sizes of pages in KiB.
    pub page_sizes_kib: Vec<u64>,
}

/// How the host's processors are grouped; each number is per group of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostTopology {
    /// Sockets per NUMA node.
    pub sockets: u32,
    /// Dies.
    pub dies: u32,
    /// Clusters.
    pub clusters: u32,
    /// Cores.
    pub cores: u32,
    /// Threads.
    pub threads: u32,
}

/// One of the host's processors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostThread {
    /// Its number.
    pub id: u32,
    /// Its socket, die, cluster and core.
    pub place: Option<(u32, u32, u32, u32)>,
    /// The processors on the same core, as a set (`0,4`).
    pub siblings: String,
}

/// One NUMA node of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostCell {
    /// Its number.
    pub id: u32,
    /// Its memory in KiB.
    pub memory_kib: u64,
    /// Its pages: size in KiB, and how many.
    pub pages: Vec<(u64, u64)>,
    /// Its distances to nodes.
    pub distances: Vec<(u32, u32)>,
    /// Its processors.
    pub cpus: Vec<HostThread>,
}

/// How machines are kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityModel {
    /// Its name: `none`, `dac`.
    pub model: String,
    /// Its domain of interpretation.
    pub doi: String,
    /// The labels machines run under, by domain type.
    pub base_labels: Vec<(String, String)>,
}

/// The host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Its identity.
    pub uuid: Option<Uuid>,
    /// Its processor.
    pub cpu: HostCpu,
    /// How it can sleep: `suspend_mem`, `suspend_disk`, `suspend_hybrid`.
    pub power_management: Vec<String>,
    /// Devices can be handed to machines safely.
    pub iommu: bool,
    /// What machines can be migrated over.
    pub migration_transports: Vec<String>,
    /// Its NUMA nodes.
    pub cells: Vec<HostCell>,
    /// How machines are kept apart.
    pub security: Vec<SecurityModel>,
}

/// A machine type as a guest's capabilities list it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuestMachine {
    /// The name.
    pub name: String,
    /// The full name, if this is a short one.
    pub canonical: Option<String>,
    /// The most virtual processors.
    pub cpus_max: u32,
    /// It is advised against.
    pub deprecated: bool,
}

/// Machines of one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guest {
    /// The kind of operating system: `hvm`.
    pub os_type: String,
    /// The architecture.
    pub arch: String,
    /// Bits of a word.
    pub word_size: u32,
    /// The program that runs them.
    pub emulator: String,
    /// The machine types.
    pub machines: Vec<GuestMachine>,
    /// The domain types: `qemu`, `kvm`.
    pub domain_types: Vec<String>,
    /// Guests may use PAE or not; only on 32 bits.
    pub pae: bool,
}

/// What a host is and which machines it can run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// The host.
    pub host: Host,
    /// The machines.
    pub guests: Vec<Guest>,
}

impl Capabilities {
    /// The document as libvirt writes it.
    pub fn to_xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("capabilities");
        w.line("");
        self.host.write(&mut w);
        w.line("");
        for guest in &self.guests {
            guest.write(&mut w);
            w.line("");
        }
        w.end("capabilities");
        w.finish()
    }
}

impl Host {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("host");
        if let Some(uuid) = &self.uuid {
            w.leaf("uuid", uuid);
        }
        self.cpu.write(w);
        w.begin("power_management");
        for state in &self.power_management {
            w.empty(state);
        }
        w.end("power_management");
        w.begin("iommu");
        w.attr_str("support", if self.iommu { "yes" } else { "no" });
        w.end("iommu");
        w.begin("migration_features");
        w.empty("live");
        w.begin("uri_transports");
        for transport in &self.migration_transports {
            w.leaf("uri_transport", transport);
        }
        w.end("uri_transports");
        w.end("migration_features");
        self.write_cells(w);
        for model in &self.security {
            model.write(w);
        }
        w.end("host");
    }

    fn write_cells(&self, w: &mut XmlWriter) {
        w.begin("topology");
        w.begin("cells");
        w.attr("num", &count(self.cells.len()));
        for cell in &self.cells {
            cell.write(w);
        }
        w.end("cells");
        w.end("topology");
    }
}

impl HostCpu {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("cpu");
        w.leaf("arch", &self.arch);
        if let Some(model) = &self.model {
            w.leaf("model", model);
        }
        if let Some(vendor) = &self.vendor {
            w.leaf("vendor", vendor);
        }
        if let Some(version) = &self.microcode {
            w.begin("microcode");
            w.attr("version", version);
            w.end("microcode");
        }
        if let Some((family, model, stepping)) = &self.signature {
            w.begin("signature");
            w.attr("family", family);
            w.attr("model", model);
            w.attr("stepping", stepping);
            w.end("signature");
        }
        if let Some((frequency, scaling)) = &self.tsc {
            w.begin("counter");
            w.attr_str("name", "tsc");
            w.attr("frequency", frequency);
            w.attr_str("scaling", if *scaling { "yes" } else { "no" });
            w.end("counter");
        }
        self.topology.write(w);
        if let Some(bits) = &self.address_bits {
            w.begin("maxphysaddr");
            w.attr_str("mode", "emulate");
            w.attr("bits", bits);
            w.end("maxphysaddr");
        }
        for feature in &self.features {
            w.begin("feature");
            w.attr_str("name", feature);
            w.end("feature");
        }
        for size in &self.page_sizes_kib {
            w.begin("pages");
            w.attr_str("unit", "KiB");
            w.attr("size", size);
            w.end("pages");
        }
        w.end("cpu");
    }
}

impl HostTopology {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("topology");
        w.attr("sockets", &self.sockets);
        w.attr("dies", &self.dies);
        w.attr("clusters", &self.clusters);
        w.attr("cores", &self.cores);
        w.attr("threads", &self.threads);
        w.end("topology");
    }
}

impl HostCell {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("cell");
        w.attr("id", &self.id);
        w.begin("memory");
        w.attr_str("unit", "KiB");
        w.text(&self.memory_kib);
        w.end("memory");
        for (size, number) in &self.pages {
            w.begin("pages");
            w.attr_str("unit", "KiB");
            w.attr("size", size);
            w.text(number);
            w.end("pages");
        }
        w.begin("distances");
        for (id, value) in &self.distances {
            w.begin("sibling");
            w.attr("id", id);
            w.attr("value", value);
            w.end("sibling");
        }
        w.end("distances");
        w.begin("cpus");
        w.attr("num", &count(self.cpus.len()));
        for cpu in &self.cpus {
            cpu.write(w);
        }
        w.end("cpus");
        w.end("cell");
    }
}

impl HostThread {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("cpu");
        w.attr("id", &self.id);
        if let Some((socket, die, cluster, core)) = &self.place {
            w.attr("socket_id", socket);
            w.attr("die_id", die);
            w.attr("cluster_id", cluster);
            w.attr("core_id", core);
        }
        w.attr_str("siblings", &self.siblings);
        w.end("cpu");
    }
}

impl SecurityModel {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("secmodel");
        w.leaf("model", &self.model);
        w.leaf("doi", &self.doi);
        for (kind, label) in &self.base_labels {
            w.begin("baselabel");
            w.attr_str("type", kind);
            w.text(label);
            w.end("baselabel");
        }
        w.end("secmodel");
    }
}

impl Guest {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("guest");
        w.leaf("os_type", &self.os_type);
        w.begin("arch");
        w.attr_str("name", &self.arch);
        w.leaf("wordsize", &self.word_size);
        w.leaf("emulator", &self.emulator);
        for machine in &self.machines {
            machine.write(w);
        }
        for kind in &self.domain_types {
            w.begin("domain");
            w.attr_str("type", kind);
            w.end("domain");
        }
        w.end("arch");
        w.begin("features");
        if self.pae {
            w.empty("pae");
            w.empty("nonpae");
        }
        toggle(w, "acpi", "yes");
        toggle(w, "apic", "no");
        w.empty("cpuselection");
        w.empty("deviceboot");
        toggle(w, "disksnapshot", "no");
        w.empty("externalSnapshot");
        w.end("features");
        w.end("guest");
    }
}

/// A feature that is on, and whether it can be switched off.
fn toggle(w: &mut XmlWriter, name: &str, can: &str) {
    w.begin(name);
    w.attr_str("default", "on");
    w.attr_str("toggle", can);
    w.end(name);
}

impl GuestMachine {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("machine");
        if let Some(canonical) = &self.canonical {
            w.attr_str("canonical", canonical);
        }
        w.attr("maxCpus", &self.cpus_max);
        if self.deprecated {
            w.attr_str("deprecated", "yes");
        }
        w.text(&self.name);
        w.end("machine");
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_libvirts() {
        let machine = GuestMachine {
            name: "q35".into(),
            canonical: Some("pc-q35-10.0".into()),
            cpus_max: 4096,
            deprecated: false,
        };
        let guest = Guest {
            os_type: "hvm".into(),
            arch: "x86_64".into(),
            word_size: 64,
            emulator: "/usr/bin/qemu-system-x86_64".into(),
            machines: vec![machine],
            domain_types: vec!["qemu".into()],
            pae: false,
        };
        let xml = Capabilities {
            host: Host::default(),
            guests: vec![guest],
        }
        .to_xml();
        assert!(xml.starts_with("<capabilities>\n\n  <host>\n"), "{xml}");
        assert!(xml.ends_with("  </guest>\n\n</capabilities>\n"), "{xml}");
        for part in [
            "    <power_management/>\n    <iommu support='no'/>\n",
            "      <machine canonical='pc-q35-10.0' maxCpus='4096'>q35</machine>\n      \
             <domain type='qemu'/>\n    </arch>\n    <features>\n      \
             <acpi default='on' toggle='yes'/>\n      <apic default='on' toggle='no'/>\n      \
             <cpuselection/>\n",
        ] {
            assert!(xml.contains(part), "{part}\n in\n{xml}");
        }
    }
}
