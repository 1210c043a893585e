//! What completing a definition needs to know of this host.

use crate::places::Places;
use model::domain::Domain;
use model::domain::complete::{DefineContext, FirmwareImage};
use model::xml::Mac;
use qemu::caps::QemuCaps;
use std::collections::BTreeMap;
use std::path::Path;
use uuid::Uuid;

/// libvirt's prefix for the addresses it makes up (QEMU's and KVM's own).
const MAC_PREFIX: [u8; 3] = [0x52, 0x54, 0x00];

/// The context for one definition on this emulator.
pub(crate) fn of(
    domain: &Domain,
    emulator: &Path,
    caps: &QemuCaps,
    firmware: &[FirmwareImage],
    places: &Places,
) -> DefineContext {
    let emulator = emulator.to_string_lossy().into_owned();
    let nameless = domain
        .devices
        .interfaces
        .iter()
        .filter(|card| card.mac.is_none())
        .count();
    DefineContext {
        arch: caps.arch.clone(),
        emulators: BTreeMap::from([(caps.arch.clone(), emulator)]),
        machine_aliases: caps.machine_aliases(),
        machine_vcpus: caps
            .machines
            .iter()
            .map(|machine| (machine.name.clone(), machine.cpus_max))
            .collect(),
        default_machine: caps.default_machine().map(|machine| machine.name.clone()),
        default_cpu: Some(DEFAULT_CPU.to_owned()),
        devices: Some(caps.types.clone()),
        uuid: Some(Uuid::new_v4()),
        gen_id: Some(Uuid::new_v4()),
        macs: (0..nameless).map(|_| random_mac()).collect(),
        firmwares: firmware.to_vec(),
        nvram_dir: places.nvram.to_string_lossy().into_owned(),
        abi_update: true,
    }
}

/// The processor QEMU gives an x86 machine that names none.
const DEFAULT_CPU: &str = "qemu64";

/// An address nobody else has, as far as chance goes.
pub(crate) fn random_mac() -> Mac {
    let random = Uuid::new_v4();
    let tail = &random.as_bytes()[..3];
    Mac([
        MAC_PREFIX[0],
        MAC_PREFIX[1],
        MAC_PREFIX[2],
        tail[0],
        tail[1],
        tail[2],
    ])
}
