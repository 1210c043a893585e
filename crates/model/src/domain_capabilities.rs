//! What a machine of one kind can have on this host: libvirt's `<domainCapabilities>`.
//!
//! Written, never read: clients ask for it before they compose a definition.

use crate::xml::{XmlFlags, XmlWriter};

/// Something a machine can have or not, with the values its settings may take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Support {
    /// The element's name.
    pub name: String,
    /// Machines can have it.
    pub supported: bool,
    /// The settings, in libvirt's order.
    pub enums: Vec<EnumValues>,
}

/// The values of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnumValues {
    /// The setting's name.
    pub name: String,
    /// Its values, in libvirt's order.
    pub values: Vec<String>,
}

impl Support {
    /// Something machines can or cannot have, without settings.
    pub fn new(name: &str, supported: bool) -> Self {
        Support {
            name: name.to_owned(),
            supported,
            enums: Vec::new(),
        }
    }

    /// Adds a setting.
    #[must_use]
    pub fn with<'v>(mut self, name: &str, values: impl IntoIterator<Item = &'v str>) -> Self {
        let values = values.into_iter().map(str::to_owned).collect();
        self.enums.push(EnumValues {
            name: name.to_owned(),
            values,
        });
        self
    }

    fn write(&self, w: &mut XmlWriter) {
        w.begin(&self.name);
        w.attr_str("supported", yes_no(self.supported));
        if self.supported {
            for setting in &self.enums {
                setting.write(w);
            }
        }
        w.end(&self.name);
    }
}

impl EnumValues {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("enum");
        w.attr_str("name", &self.name);
        for value in &self.values {
            w.leaf("value", value);
        }
        w.end("enum");
    }
}

/// How a machine can boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OsCapabilities {
    /// Kinds of firmware that are chosen by themselves.
    pub firmware: Vec<String>,
    /// Firmware images of the host.
    pub loaders: Vec<String>,
    /// How an image can be mapped.
    pub loader_types: Vec<String>,
    /// Whether an image can be read-only or not.
    pub loader_readonly: Vec<String>,
    /// Whether an image can be secure or not.
    pub loader_secure: Vec<String>,
}

/// The processor nearest to the host's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostModelCapabilities {
    /// The model's name.
    pub model: String,
    /// Who makes it.
    pub vendor: Option<String>,
    /// The most bits an address of the guest may have, where the host decides.
    pub address_bits_max: Option<u32>,
    /// Features besides the model's, with `require` or `disable`.
    pub features: Vec<(String, String)>,
}

/// A model of processors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuModelCapabilities {
    /// Its name.
    pub name: String,
    /// Whether this host can run it, if that is known.
    pub usable: Option<bool>,
    /// Who makes it, or `unknown`.
    pub vendor: String,
    /// The versioned model it stands for.
    pub canonical: Option<String>,
    /// It is advised against.
    pub deprecated: bool,
    /// The features the host lacks.
    pub blockers: Vec<String>,
}

/// The processors a machine can have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuCapabilities {
    /// The host's own processor.
    pub host_passthrough: bool,
    /// Everything that can be had at once.
    pub maximum: bool,
    /// The named model nearest to the host.
    pub host_model: Option<HostModelCapabilities>,
    /// Named models.
    pub models: Vec<CpuModelCapabilities>,
}

/// What a machine of one kind can have on this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DomainCapabilities {
    /// The program that runs the machine.
    pub path: String,
    /// The domain's type: `kvm` or `qemu`.
    pub domain_type: String,
    /// The machine type's full name.
    pub machine: String,
    /// The guest's architecture.
    pub arch: String,
    /// The most virtual processors.
    pub vcpus_max: u32,
    /// Disks can be served by threads of their own.
    pub iothreads: bool,
    /// How it can boot.
    pub os: OsCapabilities,
    /// Its processors.
    pub cpu: CpuCapabilities,
    /// What its memory can be made of.
    pub memory_backing: Support,
    /// Its devices.
    pub devices: Vec<Support>,
    /// Its features.
    pub features: Vec<Support>,
}

impl DomainCapabilities {
    /// The document as libvirt writes it.
    pub fn to_xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("domainCapabilities");
        w.leaf("path", &self.path);
        w.leaf("domain", &self.domain_type);
        w.leaf("machine", &self.machine);
        w.leaf("arch", &self.arch);
        w.begin("vcpu");
        w.attr("max", &self.vcpus_max);
        w.end("vcpu");
        Support::new("iothreads", self.iothreads).write(&mut w);
        self.os.write(&mut w);
        self.cpu.write(&mut w);
        self.memory_backing.write(&mut w);
        w.begin("devices");
        for device in &self.devices {
            device.write(&mut w);
        }
        w.end("devices");
        w.begin("features");
        for feature in &self.features {
            feature.write(&mut w);
        }
        w.end("features");
        w.end("domainCapabilities");
        w.finish()
    }
}

impl OsCapabilities {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("os");
        w.attr_str("supported", "yes");
        let values = |name: &str, values: &[String]| EnumValues {
            name: name.to_owned(),
            values: values.to_vec(),
        };
        values("firmware", &self.firmware).write(w);
        w.begin("loader");
        w.attr_str("supported", "yes");
        for path in &self.loaders {
            w.leaf("value", path);
        }
        values("type", &self.loader_types).write(w);
        values("readonly", &self.loader_readonly).write(w);
        values("secure", &self.loader_secure).write(w);
        w.end("loader");
        w.end("os");
    }
}

impl CpuCapabilities {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("cpu");
        begin_mode(w, "host-passthrough", self.host_passthrough);
        if self.host_passthrough {
            on_off("hostPassthroughMigratable").write(w);
        }
        w.end("mode");
        begin_mode(w, "maximum", self.maximum);
        if self.maximum {
            on_off("maximumMigratable").write(w);
        }
        w.end("mode");
        begin_mode(w, "host-model", self.host_model.is_some());
        if let Some(model) = &self.host_model {
            model.write(w);
        }
        w.end("mode");
        begin_mode(w, "custom", !self.models.is_empty());
        for model in &self.models {
            model.write(w);
        }
        w.end("mode");
        w.end("cpu");
    }
}

fn begin_mode(w: &mut XmlWriter, name: &str, supported: bool) {
    w.begin("mode");
    w.attr_str("name", name);
    w.attr_str("supported", yes_no(supported));
}

fn on_off(name: &str) -> EnumValues {
    EnumValues {
        name: name.to_owned(),
        values: vec!["on".to_owned(), "off".to_owned()],
    }
}

impl HostModelCapabilities {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("model");
        w.attr_str("fallback", "forbid");
        w.text(&self.model);
        w.end("model");
        if let Some(vendor) = &self.vendor {
            w.leaf("vendor", vendor);
        }
        if let Some(bits) = &self.address_bits_max {
            w.begin("maxphysaddr");
            w.attr_str("mode", "passthrough");
            w.attr("limit", bits);
            w.end("maxphysaddr");
        }
        for (policy, name) in &self.features {
            w.begin("feature");
            w.attr_str("policy", policy);
            w.attr_str("name", name);
            w.end("feature");
        }
    }
}

impl CpuModelCapabilities {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("model");
        w.attr_str("usable", self.usable.map_or("unknown", yes_no));
        if self.deprecated {
            w.attr_str("deprecated", "yes");
        }
        w.attr_str("vendor", &self.vendor);
        if let Some(canonical) = &self.canonical {
            w.attr_str("canonical", canonical);
        }
        w.text(&self.name);
        w.end("model");
        if self.blockers.is_empty() {
            return;
        }
        w.begin("blockers");
        w.attr_str("model", &self.name);
        for blocker in &self.blockers {
            w.begin("feature");
            w.attr_str("name", blocker);
            w.end("feature");
        }
        w.end("blockers");
    }
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_libvirts() {
        let capabilities = DomainCapabilities {
            path: "/usr/bin/qemu".into(),
            domain_type: "qemu".into(),
            machine: "pc".into(),
            arch: "x86_64".into(),
            vcpus_max: 255,
            iothreads: true,
            cpu: CpuCapabilities {
                models: vec![CpuModelCapabilities {
                    name: "EPYC".into(),
                    usable: Some(false),
                    vendor: "AMD".into(),
                    canonical: Some("EPYC-v1".into()),
                    blockers: vec!["xsavec".into()],
                    ..CpuModelCapabilities::default()
                }],
                ..CpuCapabilities::default()
            },
            memory_backing: Support::new("memoryBacking", true).with("sourceType", ["memfd"]),
            devices: vec![Support::new("disk", true).with("bus", ["ide"])],
            features: vec![Support::new("gic", false)],
            ..DomainCapabilities::default()
        };
        let xml = capabilities.to_xml();
        for part in [
            "  <vcpu max='255'/>\n  <iothreads supported='yes'/>\n",
            "    <mode name='host-passthrough' supported='no'/>\n",
            "      <model usable='no' vendor='AMD' canonical='EPYC-v1'>EPYC</model>\n      \
             <blockers model='EPYC'>\n        <feature name='xsavec'/>\n      </blockers>\n",
            "    <disk supported='yes'>\n      <enum name='bus'>\n        <value>ide</value>\n",
            "    <gic supported='no'/>\n",
        ] {
            assert!(xml.contains(part), "{part}\n in\n{xml}");
        }
    }
}
