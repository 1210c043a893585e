//! Tables put together by hand, and any bytes at all.

use proptest::prelude::*;

use super::*;

/// A structure: its formatted part behind the header, and its strings.
fn structure(kind: u8, body: &[u8], strings: &[&str]) -> Vec<u8> {
    let mut bytes = vec![kind, body.len() as u8 + 4, 0, 0];
    bytes.extend_from_slice(body);
    for text in strings {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes.push(0);
    if strings.is_empty() {
        bytes.push(0);
    }
    bytes
}

fn entries(list: &[(&'static str, &str)]) -> Entries {
    list.iter()
        .map(|(name, text)| (*name, (*text).to_owned()))
        .collect()
}

#[test]
fn reads_bios_system_and_boards() {
    let mut bytes = structure(
        0,
        &[1, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7],
        &["Example Inc.", " 1.2 ", "01/31/2026"],
    );
    let uuid = [0x04, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16];
    let mut body = vec![1, 2, 0, 3];
    body.extend_from_slice(&uuid);
    body.extend_from_slice(&[6, 0, 4]);
    bytes.extend(structure(1, &body, &["Maker", "Box 9", "S\u{1}N", "Line"]));
    bytes.extend(structure(
        2,
        &[1, 2, 0, 0, 0, 0, 3],
        &["Maker", "Board", "Slot 1"],
    ));
    bytes.extend(structure(11, &[2], &["one", "two"]));
    bytes.extend(structure(127, &[], &[]));
    bytes.extend(structure(11, &[1], &["after the end"]));

    let found = parse(&bytes);
    assert_eq!(
        found.bios,
        entries(&[
            ("vendor", "Example Inc."),
            ("version", "1.2"),
            ("date", "01/31/2026"),
            ("release", "1.7")
        ])
    );
    assert_eq!(
        found.system,
        entries(&[
            ("manufacturer", "Maker"),
            ("product", "Box 9"),
            ("serial", "S.N"),
            ("uuid", "01020304-0506-0708-090a-0b0c0d0e0f10"),
            ("family", "Line"),
        ])
    );
    assert_eq!(found.base_boards[0][2], ("location", "Slot 1".to_owned()));
    assert_eq!(found.oem_strings, ["one", "two"]);
}

#[test]
fn reads_processors_and_memory() {
    let mut body = vec![0; 40];
    body[0] = 1;
    body[1] = 3;
    body[2] = 0xfe;
    body[3] = 2;
    body[4..8].copy_from_slice(&0x00a2_0f12u32.to_le_bytes());
    body[14..16].copy_from_slice(&100u16.to_le_bytes());
    body[16..18].copy_from_slice(&3500u16.to_le_bytes());
    body[20] = 0x41;
    body[36..38].copy_from_slice(&0x6bu16.to_le_bytes());
    let mut bytes = structure(4, &body, &["CPU1", "Maker"]);
    let mut body = vec![0; 30];
    body[8..10].copy_from_slice(&0x7fffu16.to_le_bytes());
    body[10] = 9;
    body[12] = 1;
    body[14] = 0x22;
    body[15..17].copy_from_slice(&0x80u16.to_le_bytes());
    body[17..19].copy_from_slice(&4800u16.to_le_bytes());
    body[24..28].copy_from_slice(&65_536u32.to_le_bytes());
    bytes.extend(structure(17, &body, &["DIMM 0"]));
    bytes.extend(structure(17, &[0; 30], &["DIMM 1, empty"]));

    let found = parse(&bytes);
    assert_eq!(
        found.processors,
        [entries(&[
            ("socket_destination", "CPU1"),
            ("type", "Central Processor"),
            ("family", "Zen"),
            ("manufacturer", "Maker"),
            ("signature", "Type 0, Family 25, Model 33, Stepping 2"),
            ("external_clock", "100 MHz"),
            ("max_speed", "3500 MHz"),
            ("status", "Populated, Enabled"),
        ])]
    );
    assert_eq!(
        found.memory_devices,
        [entries(&[
            ("size", "64 GB"),
            ("form_factor", "DIMM"),
            ("locator", "DIMM 0"),
            ("type", "DDR5"),
            ("type_detail", "Synchronous"),
            ("speed", "4800 MT/s"),
        ])]
    );
}

#[test]
fn a_host_without_tables_has_none() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Host::below(directory.path()).smbios().unwrap(), None);
    let tables = directory.path().join("sys/firmware/dmi/tables");
    std::fs::create_dir_all(&tables).unwrap();
    std::fs::write(tables.join("DMI"), structure(11, &[1], &["x"])).unwrap();
    let found = Host::below(directory.path()).smbios().unwrap().unwrap();
    assert_eq!(found.oem_strings, ["x"]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parse(&bytes);
    }

    #[test]
    fn any_structures_are_read_without_harm(
        parts in prop::collection::vec(
            (prop::sample::select(vec![0u8, 1, 2, 3, 4, 11, 17]),
             prop::collection::vec(any::<u8>(), 0..60),
             prop::collection::vec("[ -~]{1,9}", 0..4)),
            0..6),
    ) {
        let mut bytes = Vec::new();
        for (kind, body, strings) in &parts {
            let strings: Vec<&str> = strings.iter().map(String::as_str).collect();
            bytes.extend(structure(*kind, body, &strings));
        }
        let found = parse(&bytes);
        let boards = parts.iter().filter(|(kind, ..)| *kind == 2).count();
        prop_assert_eq!(found.base_boards.len(), boards);
    }
}
