//! What the numbers in SMBIOS structures stand for. Numbers that are not
//! listed have no name here and are left out.

/// Type 4, processor type.
pub(super) fn processor_type(number: u8) -> Option<&'static str> {
    let names = [
        "Other",
        "Unknown",
        "Central Processor",
        "Math Processor",
        "DSP Processor",
        "Video Processor",
    ];
    one_based(&names, number)
}

/// Type 4, processor family: those a host of our time can have.
pub(super) fn processor_family(number: u16) -> Option<&'static str> {
    Some(match number {
        0x01 => "Other",
        0x02 => "Unknown",
        0x2b => "Atom",
        0x2c => "Core M",
        0x6b => "Zen",
        0x84 => "Opteron",
        0xb3 => "Xeon",
        0xbf => "Core 2 Duo",
        0xc6 => "Core i7",
        0xcd => "Core i5",
        0xce => "Core i3",
        0xcf => "Core i9",
        0x101 => "ARMv8",
        0x102 => "ARMv9",
        _ => return None,
    })
}

/// Type 4, status: whether the socket is populated, and what runs in it.
pub(super) fn processor_status(byte: u8) -> String {
    if byte & 0x40 == 0 {
        return "Unpopulated".to_owned();
    }
    let state = match byte & 0x07 {
        1 => "Enabled",
        2 => "Disabled By User",
        3 => "Disabled By BIOS",
        4 => "Idle",
        7 => "Other",
        _ => "Unknown",
    };
    format!("Populated, {state}")
}

/// Type 17, form factor.
pub(super) fn form_factor(number: u8) -> Option<&'static str> {
    let names = [
        "Other",
        "Unknown",
        "SIMM",
        "SIP",
        "Chip",
        "DIP",
        "ZIP",
        "Proprietary Card",
        "DIMM",
        "TSOP",
        "Row Of Chips",
        "RIMM",
        "SODIMM",
        "SRIMM",
        "FB-DIMM",
        "Die",
    ];
    one_based(&names, number)
}

/// Type 17, memory type.
pub(super) fn memory_type(number: u8) -> Option<&'static str> {
    Some(match number {
        0x01 => "Other",
        0x02 => "Unknown",
        0x03 => "DRAM",
        0x07 => "RAM",
        0x0f => "SDRAM",
        0x12 => "DDR",
        0x13 => "DDR2",
        0x18 => "DDR3",
        0x1a => "DDR4",
        0x1b => "LPDDR",
        0x1c => "LPDDR2",
        0x1d => "LPDDR3",
        0x1e => "LPDDR4",
        0x1f => "Logical non-volatile device",
        0x20 => "HBM",
        0x21 => "HBM2",
        0x22 => "DDR5",
        0x23 => "LPDDR5",
        _ => return None,
    })
}

/// Type 17, type detail: a set of bits.
pub(super) fn type_detail(bits: u16) -> String {
    let names = [
        "Other",
        "Unknown",
        "Fast-paged",
        "Static Column",
        "Pseudo-static",
        "RAMBus",
        "Synchronous",
        "CMOS",
        "EDO",
        "Window DRAM",
        "Cache DRAM",
        "Non-Volatile",
        "Registered (Buffered)",
        "Unbuffered (Unregistered)",
        "LRDIMM",
    ];
    let set = names
        .iter()
        .enumerate()
        .filter(|(n, _)| bits & (2 << n) != 0);
    let text = set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        "None".to_owned()
    } else {
        text
    }
}

fn one_based(names: &[&'static str], number: u8) -> Option<&'static str> {
    names.get(usize::from(number).checked_sub(1)?).copied()
}
