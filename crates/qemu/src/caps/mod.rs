//! What one QEMU binary can do on this host: asked once over QMP, kept as JSON.
//!
//! [`Probe`] is the dialogue that finds it out; [`QemuCaps`] is what remains. Whoever keeps
//! it on disk keys it by what the answers depend on: the binary (path, modification time, size),
//! the kernel, and whether KVM is usable.

mod cpu;
mod names;
mod probe;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use cpu::is_version;
pub use cpu::{AccelCaps, CpuModel, CpuVendor, HostModel};
pub use names::{feature_from_qemu, feature_to_qemu};
pub use probe::{PROBE_ROUNDS_MAX, Probe, ProbeError};
pub use table::CpuTable;

use crate::qmp::reply::Version;

/// The layout of [`QemuCaps`] in its JSON form; a cache with another number is asked anew.
pub const CAPS_FORMAT: u32 = 4;

/// The oldest QEMU that Stead drives.
pub const QEMU_VERSION_MIN: Version = Version {
    major: 7,
    minor: 2,
    micro: 0,
};

/// What runs a guest's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor itself, through the kernel.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// QEMU's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// One type of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineType {
    /// Its full name.
    pub name: String,
    /// Its short name, on the newest of a family.
    pub alias: Option<String>,
    /// It is what QEMU takes where none is named.
    pub default: bool,
    /// The most virtual processors it takes.
    pub cpus_max: u32,
    /// QEMU advises against it.
    pub deprecated: bool,
    /// Virtual processors can be added to a running guest.
    pub hotpluggable_cpus: bool,
    /// The type of processor where none is named.
    pub default_cpu: Option<String>,
    /// The id which the memory back end takes in migration streams.
    pub default_ram_id: Option<String>,
}

/// What one QEMU binary can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QemuCaps {
    /// [`CAPS_FORMAT`] at the time of writing.
    pub format: u32,
    /// The version.
    pub version: Version,
    /// The distributor's package string.
    pub package: String,
    /// The architecture of its guests.
    pub arch: String,
    /// The machine types, in QEMU's order.
    pub machines: Vec<MachineType>,
    /// The kinds of devices, back ends and other objects.
    pub types: Arc<BTreeSet<String>>,
    /// The QMP commands.
    pub commands: BTreeSet<String>,
    /// The options of the command line with their parameters.
    pub options: BTreeMap<String, BTreeSet<String>>,
    /// The properties of those devices whose properties differ between versions.
    pub properties: BTreeMap<String, BTreeSet<String>>,
    /// The models of TPM.
    pub tpm_models: BTreeSet<String>,
    /// The back ends of TPM.
    pub tpm_backends: BTreeSet<String>,
    /// What the named models of processors consist of.
    pub cpu_table: Arc<CpuTable>,
    /// What depends on the accelerator. TCG is always there, KVM only if it is usable.
    pub accelerators: BTreeMap<Accelerator, AccelCaps>,
}

impl QemuCaps {
    /// Whether a kind of device, back end or other object exists.
    #[must_use]
    pub fn has_type(&self, name: &str) -> bool {
        self.types.contains(name)
    }

    /// Whether a QMP command exists.
    #[must_use]
    pub fn has_command(&self, name: &str) -> bool {
        self.commands.contains(name)
    }

    /// Whether an option of the command line exists, without its dash.
    #[must_use]
    pub fn has_option(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// Whether a device has a property. Only for devices that were asked about, see
    /// [`QemuCaps::properties`].
    #[must_use]
    pub fn has_property(&self, device: &str, property: &str) -> bool {
        self.properties
            .get(device)
            .is_some_and(|known| known.contains(property))
    }

    /// The machine type with a name or alias.
    #[must_use]
    pub fn machine(&self, name: &str) -> Option<&MachineType> {
        self.machines
            .iter()
            .find(|machine| machine.name == name || machine.alias.as_deref() == Some(name))
    }

    /// The machine type QEMU takes where none is named.
    #[must_use]
    pub fn default_machine(&self) -> Option<&MachineType> {
        self.machines.iter().find(|machine| machine.default)
    }

    /// The machine types' full names by alias.
    #[must_use]
    pub fn machine_aliases(&self) -> BTreeMap<String, String> {
        self.machines
            .iter()
            .filter_map(|machine| Some((machine.alias.clone()?, machine.name.clone())))
            .collect()
    }

    /// What depends on the accelerator, if this QEMU was probed with it.
    #[must_use]
    pub fn accelerator(&self, accelerator: Accelerator) -> Option<&AccelCaps> {
        self.accelerators.get(&accelerator)
    }

    /// Takes over from `other` what was found out with another accelerator.
    pub fn merge_accelerators(&mut self, other: Self) {
        self.accelerators.extend(other.accelerators);
    }

    /// Reads what was kept as JSON; nothing if it is damaged or of another layout.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text)
            .ok()
            .filter(|caps: &Self| caps.format == CAPS_FORMAT)
    }

    /// Writes it as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// QEMU's version as libvirt counts it: 10.0.2 is 10000002.
    #[must_use]
    pub fn version_number(&self) -> u64 {
        let Version {
            major,
            minor,
            micro,
        } = self.version;
        u64::from(major) * 1_000_000 + u64::from(minor) * 1_000 + u64::from(micro)
    }
}

#[cfg(test)]
mod tests;
