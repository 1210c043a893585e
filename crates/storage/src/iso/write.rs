//! Writing a CD: a few files in one directory, always the same bytes for the
//! same files.

use super::{DESCRIPTOR_SECTOR, MAGIC, RECORD_BYTES, ROOT_RECORD_AT, SECTOR_BYTES};

const PATH_TABLE_SECTORS: [usize; 2] = [18, 19];
const ROOT_SECTOR: usize = 20;
/// Bytes of the path table: the root alone.
const PATH_TABLE_BYTES: u32 = 10;
/// A file anyone may read, a directory anyone may enter.
const FILE_MODE: u32 = 0o100_444;
const DIRECTORY_MODE: u32 = 0o040_555;
const IS_DIRECTORY: u8 = 2;

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsoFile {
    /// Its name, without any directory; at most 100 bytes.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A CD with these files, in this order.
pub fn write(volume: &str, files: &[IsoFile]) -> Vec<u8> {
    let directory_bytes = directory(files, 0, 0).len();
    let directory_sectors = directory_bytes.div_ceil(SECTOR_BYTES).max(1);
    let first = ROOT_SECTOR + directory_sectors;
    let root = directory(files, directory_sectors, first);
    let sectors: usize = first + files.iter().map(|f| sectors(f.bytes.len())).sum::<usize>();

    let mut out = vec![0; sectors * SECTOR_BYTES];
    let mut put = |sector: usize, bytes: &[u8]| {
        let at = sector * SECTOR_BYTES;
        out[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(
        DESCRIPTOR_SECTOR,
        &primary(volume, sectors, directory_sectors),
    );
    put(DESCRIPTOR_SECTOR + 1, &[&[255][..], MAGIC, &[1]].concat());
    let root_at = number(ROOT_SECTOR);
    put(
        PATH_TABLE_SECTORS[0],
        &path_table(root_at.to_le_bytes(), 1u16.to_le_bytes()),
    );
    put(
        PATH_TABLE_SECTORS[1],
        &path_table(root_at.to_be_bytes(), 1u16.to_be_bytes()),
    );
    put(ROOT_SECTOR, &root);
    let mut sector = first;
    for file in files {
        put(sector, &file.bytes);
        sector += sectors_of(file);
    }
    out
}

fn sectors_of(file: &IsoFile) -> usize {
    sectors(file.bytes.len())
}

fn sectors(bytes: usize) -> usize {
    bytes.div_ceil(SECTOR_BYTES)
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A number in both orders of bytes.
fn both(value: u32) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&value.to_le_bytes());
    out[4..].copy_from_slice(&value.to_be_bytes());
    out
}

fn both_short(value: u16) -> [u8; 4] {
    let (le, be) = (value.to_le_bytes(), value.to_be_bytes());
    [le[0], le[1], be[0], be[1]]
}

fn primary(volume: &str, sectors: usize, directory_sectors: usize) -> Vec<u8> {
    let mut out = vec![0; SECTOR_BYTES];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[1]);
    put(1, MAGIC);
    put(6, &[1]);
    put(8, &[b' '; 64]);
    put(40, &volume.as_bytes()[..volume.len().min(32)]);
    put(80, &both(number(sectors)));
    put(120, &both_short(1));
    put(124, &both_short(1));
    put(128, &both_short(SECTOR_BYTES as u16));
    put(132, &both(PATH_TABLE_BYTES));
    put(140, &number(PATH_TABLE_SECTORS[0]).to_le_bytes());
    put(148, &number(PATH_TABLE_SECTORS[1]).to_be_bytes());
    let root = Record {
        sector: ROOT_SECTOR,
        bytes: directory_sectors * SECTOR_BYTES,
        flags: IS_DIRECTORY,
        name: &[0],
        system_use: Vec::new(),
    };
    put(ROOT_RECORD_AT, &root.encode());
    // Names of people and programs: blank.
    put(190, &[b' '; 623]);
    for at in [813, 830, 847, 864] {
        put(at, b"0000000000000000\0");
    }
    put(881, &[1]);
    out
}

fn path_table(sector: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    let mut out = vec![1, 0];
    out.extend(sector);
    out.extend(parent);
    out.extend([0, 0]);
    out
}

struct Record<'a> {
    sector: usize,
    bytes: usize,
    flags: u8,
    name: &'a [u8],
    system_use: Vec<u8>,
}

impl Record<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 2];
        out.extend(both(number(self.sector)));
        out.extend(both(number(self.bytes)));
        // 1 January 1970, in Greenwich.
        out.extend([70, 1, 1, 0, 0, 0, 0]);
        out.push(self.flags);
        out.extend([0, 0]);
        out.extend(both_short(1));
        out.push(self.name.len() as u8);
        debug_assert_eq!(out.len(), RECORD_BYTES);
        out.extend(self.name);
        if self.name.len().is_multiple_of(2) {
            out.push(0);
        }
        out.extend(&self.system_use);
        if out.len() % 2 == 1 {
            out.push(0);
        }
        out[0] = out.len() as u8;
        out
    }
}

/// The root directory; a record never crosses the end of a sector.
fn directory(files: &[IsoFile], directory_sectors: usize, first: usize) -> Vec<u8> {
    let itself = |name: &'static [u8], system_use| Record {
        sector: ROOT_SECTOR,
        bytes: directory_sectors * SECTOR_BYTES,
        flags: IS_DIRECTORY,
        name,
        system_use,
    };
    let mut beginning = b"SP\x07\x01\xbe\xef\0".to_vec();
    beginning.extend(mode(DIRECTORY_MODE, 2));
    beginning.extend(b"ER\x12\x01\x0a\0\0\x01RRIP_1991A");
    let mut records = vec![
        itself(&[0], beginning).encode(),
        itself(&[1], mode(DIRECTORY_MODE, 2)).encode(),
    ];
    let mut sector = first;
    for (index, file) in files.iter().enumerate() {
        let mut system_use = mode(FILE_MODE, 1);
        system_use.extend([b'N', b'M', 5 + file.name.len() as u8, 1, 0]);
        system_use.extend(file.name.as_bytes());
        let plain = format!("FILE{index}.;1");
        let record = Record {
            sector,
            bytes: file.bytes.len(),
            flags: 0,
            name: plain.as_bytes(),
            system_use,
        };
        records.push(record.encode());
        sector += sectors_of(file);
    }
    let mut out = Vec::new();
    for record in records {
        let left = SECTOR_BYTES - out.len() % SECTOR_BYTES;
        if record.len() > left {
            out.resize(out.len() + left, 0);
        }
        out.extend(record);
    }
    out
}

/// Rock Ridge's entry for permissions.
fn mode(mode: u32, links: u32) -> Vec<u8> {
    let mut out = b"PX\x24\x01".to_vec();
    for value in [mode, links, 0, 0] {
        out.extend(both(value));
    }
    out
}
