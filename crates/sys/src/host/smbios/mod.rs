//! The firmware's own description of the machine: the SMBIOS tables, read
//! into what libvirt's `sysinfo` shows.
//!
//! Layout after the SMBIOS reference specification (DMTF DSP0134). The tables
//! come from firmware, so everything is bounded and a malformed structure ends
//! the reading instead of failing it.

mod names;

use std::io::ErrorKind;

use super::Host;
use crate::error::{SysError, SysResult};

/// Bytes of the tables that are looked at.
pub const SMBIOS_MAX_BYTES: usize = 1 << 20;

/// Structures that are looked at.
pub const SMBIOS_STRUCTURES_MAX: usize = 8_192;

/// A named value, in the order in which libvirt shows them.
pub type Entries = Vec<(&'static str, String)>;

/// The tables' content. Entries are named as in libvirt's XML; what the
/// firmware leaves out is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Smbios {
    /// Type 0: vendor, version, date, release.
    pub bios: Entries,
    /// Type 1: manufacturer, product, version, serial, uuid, sku, family.
    pub system: Entries,
    /// Type 2: manufacturer, product, version, serial, asset, location.
    pub base_boards: Vec<Entries>,
    /// Type 3: manufacturer, version, serial, asset, sku.
    pub chassis: Entries,
    /// Type 4, per processor.
    pub processors: Vec<Entries>,
    /// Type 17, per slot.
    pub memory_devices: Vec<Entries>,
    /// Type 11.
    pub oem_strings: Vec<String>,
}

impl Host {
    /// What the firmware says of the machine; none when it says nothing. The
    /// tables can be read by root only.
    pub fn smbios(&self) -> SysResult<Option<Smbios>> {
        let path = self.path("sys/firmware/dmi/tables/DMI");
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(parse(&bytes))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(SysError::on_path("read", &path, e)),
        }
    }
}

/// Reads the tables. Never fails: what cannot be read is left out.
pub fn parse(bytes: &[u8]) -> Smbios {
    let mut found = Smbios::default();
    let mut rest = &bytes[..bytes.len().min(SMBIOS_MAX_BYTES)];
    for _ in 0..SMBIOS_STRUCTURES_MAX {
        let Some((structure, after)) = Structure::split(rest) else {
            break;
        };
        if structure.kind == END_OF_TABLE {
            break;
        }
        take(&mut found, &structure);
        rest = after;
    }
    found
}

const END_OF_TABLE: u8 = 127;

/// One structure: its formatted part, header included, and its strings.
struct Structure<'a> {
    kind: u8,
    formatted: &'a [u8],
    strings: Vec<&'a [u8]>,
}

impl<'a> Structure<'a> {
    /// The first structure, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(Structure<'a>, &'a [u8])> {
        let (&kind, &length) = (bytes.first()?, bytes.get(1)?);
        let length = usize::from(length);
        if length < 4 {
            return None;
        }
        let formatted = bytes.get(..length)?;
        let unformatted = &bytes[length..];
        // The strings end with two zero bytes.
        let end = unformatted.windows(2).position(|pair| pair == [0, 0])?;
        let strings = unformatted[..end].split(|byte| *byte == 0).collect();
        Some((
            Structure {
                kind,
                formatted,
                strings,
            },
            &unformatted[end + 2..],
        ))
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.formatted.get(at).copied()
    }

    fn word(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(
            self.formatted.get(at..at + 2)?.try_into().ok()?,
        ))
    }

    fn double(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(
            self.formatted.get(at..at + 4)?.try_into().ok()?,
        ))
    }

    /// The string whose number, from 1, stands at this place.
    fn string(&self, at: usize) -> Option<String> {
        let number = usize::from(self.byte(at)?).checked_sub(1)?;
        clean(self.strings.get(number)?)
    }

    fn strings_at(&self, places: &[(&'static str, usize)]) -> Entries {
        places
            .iter()
            .filter_map(|(name, at)| Some((*name, self.string(*at)?)))
            .collect()
    }
}

/// Printable text without spaces around; none when nothing is left.
fn clean(bytes: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn take(found: &mut Smbios, structure: &Structure<'_>) {
    match structure.kind {
        0 if found.bios.is_empty() => found.bios = bios(structure),
        1 if found.system.is_empty() => found.system = system(structure),
        2 => found.base_boards.push(structure.strings_at(&[
            ("manufacturer", 4),
            ("product", 5),
            ("version", 6),
            ("serial", 7),
            ("asset", 8),
            ("location", 10),
        ])),
        3 if found.chassis.is_empty() => found.chassis = chassis(structure),
        4 => found.processors.push(processor(structure)),
        11 => found
            .oem_strings
            .extend(structure.strings.iter().filter_map(|text| clean(text))),
        17 => found.memory_devices.extend(memory_device(structure)),
        _ => {}
    }
}

fn bios(structure: &Structure<'_>) -> Entries {
    let mut entries = structure.strings_at(&[("vendor", 4), ("version", 5), ("date", 8)]);
    // 255 stands for "not given".
    let given = |at| structure.byte(at).filter(|number| *number != 255);
    if let (Some(major), Some(minor)) = (given(20), given(21)) {
        entries.push(("release", format!("{major}.{minor}")));
    }
    entries
}

fn system(structure: &Structure<'_>) -> Entries {
    let mut entries = structure.strings_at(&[
        ("manufacturer", 4),
        ("product", 5),
        ("version", 6),
        ("serial", 7),
    ]);
    entries.extend(uuid(structure).map(|uuid| ("uuid", uuid)));
    entries.extend(structure.strings_at(&[("sku", 25), ("family", 26)]));
    entries
}

/// The first three fields are little-endian, as everybody reads them since
/// version 2.6. All zeros or all ones is "none".
fn uuid(structure: &Structure<'_>) -> Option<String> {
    let raw: [u8; 16] = structure.formatted.get(8..24)?.try_into().ok()?;
    if raw.iter().all(|byte| *byte == 0) || raw.iter().all(|byte| *byte == 0xff) {
        return None;
    }
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::new();
    for (n, at) in order.into_iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", raw[at]));
    }
    Some(text)
}

fn chassis(structure: &Structure<'_>) -> Entries {
    let mut entries = structure.strings_at(&[
        ("manufacturer", 4),
        ("version", 6),
        ("serial", 7),
        ("asset", 8),
    ]);
    // The SKU stands behind a list of records of a given number and length.
    let records = (structure.byte(19), structure.byte(20));
    if let (Some(count), Some(length)) = records {
        let at = 21 + usize::from(count) * usize::from(length);
        entries.extend(structure.strings_at(&[("sku", at)]));
    }
    entries
}

fn processor(structure: &Structure<'_>) -> Entries {
    let mut entries = structure.strings_at(&[("socket_destination", 4)]);
    let kind = structure.byte(5).and_then(names::processor_type);
    entries.extend(kind.map(|text| ("type", text.to_owned())));
    // 0xfe sends to the longer number further down.
    let family = match structure.byte(6) {
        Some(0xfe) => structure.word(40),
        family => family.map(u16::from),
    };
    let family = family.and_then(names::processor_family);
    entries.extend(family.map(|text| ("family", text.to_owned())));
    entries.extend(structure.strings_at(&[("manufacturer", 7)]));
    entries.extend(signature(structure).map(|text| ("signature", text)));
    entries.extend(structure.strings_at(&[("version", 16)]));
    for (name, at) in [("external_clock", 18), ("max_speed", 20)] {
        let mhz = structure.word(at);
        entries.extend(mhz.map(|mhz| match mhz {
            0 => (name, "Unknown".to_owned()),
            mhz => (name, format!("{mhz} MHz")),
        }));
    }
    entries.extend(
        structure
            .byte(24)
            .map(|status| ("status", names::processor_status(status))),
    );
    entries.extend(structure.strings_at(&[("serial_number", 32), ("part_number", 34)]));
    entries
}

/// Family, model and stepping out of the processor's CPUID word.
fn signature(structure: &Structure<'_>) -> Option<String> {
    let word = structure.double(8).filter(|word| *word != 0)?;
    let (kind, stepping) = (word >> 12 & 0x3, word & 0xf);
    let family = (word >> 20 & 0xff) + (word >> 8 & 0xf);
    let model = (word >> 12 & 0xf0) + (word >> 4 & 0xf);
    Some(format!(
        "Type {kind}, Family {family}, Model {model}, Stepping {stepping}"
    ))
}

/// Empty slots are left out.
fn memory_device(structure: &Structure<'_>) -> Option<Entries> {
    let size = match structure.word(12)? {
        0 => return None,
        0xffff => "Unknown".to_owned(),
        0x7fff => memory_size(u64::from(structure.double(28)? & 0x7fff_ffff) * 1024),
        kib if kib & 0x8000 != 0 => memory_size(u64::from(kib & 0x7fff)),
        mib => memory_size(u64::from(mib) * 1024),
    };
    let mut entries = vec![("size", size)];
    let form = structure.byte(14).and_then(names::form_factor);
    entries.extend(form.map(|text| ("form_factor", text.to_owned())));
    entries.extend(structure.strings_at(&[("locator", 16), ("bank_locator", 17)]));
    let kind = structure.byte(18).and_then(names::memory_type);
    entries.extend(kind.map(|text| ("type", text.to_owned())));
    entries.extend(
        structure
            .word(19)
            .map(|bits| ("type_detail", names::type_detail(bits))),
    );
    entries.extend(structure.word(21).map(|speed| match speed {
        0 => ("speed", "Unknown".to_owned()),
        speed => ("speed", format!("{speed} MT/s")),
    }));
    entries.extend(structure.strings_at(&[
        ("manufacturer", 23),
        ("serial_number", 24),
        ("part_number", 26),
    ]));
    Some(entries)
}

/// In the largest unit that keeps it whole.
fn memory_size(kib: u64) -> String {
    match kib {
        kib if kib % (1 << 20) == 0 => format!("{} GB", kib >> 20),
        kib if kib % (1 << 10) == 0 => format!("{} MB", kib >> 10),
        kib => format!("{kib} kB"),
    }
}

#[cfg(test)]
mod tests;
