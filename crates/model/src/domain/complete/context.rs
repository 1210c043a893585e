//! What completion needs to know of its host: plain values, no look-ups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::os::Firmware;
use crate::xml::Mac;

/// What the host offers, and the fresh identifiers a definition may use.
#[derive(Debug, Clone, Default)]
pub struct DefineContext {
    /// The host's architecture, taken where the definition names none.
    pub arch: String,
    /// The QEMU binary for each guest architecture.
    pub emulators: BTreeMap<String, String>,
    /// Machine types by alias (`pc` → `pc-i440fx-10.0`).
    pub machine_aliases: BTreeMap<String, String>,
    /// The most virtual processors each machine type takes.
    pub machine_vcpus: BTreeMap<String, u32>,
    /// The machine type taken where the definition names none.
    pub default_machine: Option<String>,
    /// The processor QEMU gives a machine that names none (`qemu64`).
    pub default_cpu: Option<String>,
    /// The devices this QEMU has; `None` means every device is assumed.
    pub devices: Option<Arc<BTreeSet<String>>>,
    /// The UUID for a definition without one.
    pub uuid: Option<Uuid>,
    /// The generation identifier for a definition that asks for a fresh one.
    pub gen_id: Option<Uuid>,
    /// MAC addresses for interfaces without one, used from the front.
    pub macs: Vec<Mac>,
    /// Firmware images of the host, best first.
    pub firmwares: Vec<FirmwareImage>,
    /// Where the variables of UEFI machines are kept.
    pub nvram_dir: String,
    /// The definition is new: what changes the guest's hardware may still be
    /// chosen (USB ports). Off for definitions that were completed before.
    pub abi_update: bool,
}

/// A firmware image the host has, as its descriptor says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirmwareImage {
    /// What it offers the guest.
    pub interface: Firmware,
    /// Architectures it runs on.
    pub arches: Vec<String>,
    /// Machine types it runs on, `*` for any tail.
    pub machines: Vec<String>,
    /// The code image.
    pub code: String,
    /// The format of the code image.
    pub code_format: String,
    /// The template of the variables; without one the image is stateless.
    pub vars_template: Option<String>,
    /// The format of the template.
    pub vars_format: String,
    /// Features as in the descriptor: `secure-boot`, `enrolled-keys`, `requires-smm`.
    pub features: BTreeSet<String>,
}

impl DefineContext {
    /// Whether this QEMU has `device`.
    pub fn has_device(&self, device: &str) -> bool {
        self.devices
            .as_ref()
            .is_none_or(|devices| devices.contains(device))
    }
}
