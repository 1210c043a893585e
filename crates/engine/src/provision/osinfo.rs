//! What libosinfo's database on this host says of an operating system.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::OSINFO_FILES_MAX;
use model::osinfo::{OsRecord, parse};
use std::collections::BTreeMap;
use std::path::Path;

/// Where the database lies, what administrators added last.
const DIRECTORIES: [&str; 3] = [
    "/usr/share/osinfo/os",
    "/usr/local/share/osinfo/os",
    "/etc/osinfo/os",
];
/// Systems that derive from each other that are followed.
const DERIVED_MAX: usize = 64;

/// An operating system with everything it shares with those it derives from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OsFacts {
    pub(crate) record: OsRecord,
    /// Said where another system stands in for the one asked for.
    pub(crate) note: Option<String>,
}

impl OsFacts {
    /// A system nothing is known of: a recent Linux.
    pub(crate) fn generic() -> Self {
        Self {
            record: OsRecord {
                family: "linux".into(),
                virtio: true,
                ..OsRecord::default()
            },
            note: None,
        }
    }

    /// Whether its clock is the local time.
    pub(crate) fn has_local_time(&self) -> bool {
        self.record.family.starts_with("win")
    }
}

/// The system of this name, as `--os-variant` takes it. Reads some hundred
/// small files, so it blocks for a moment.
pub(crate) fn find(name: &str) -> Result<OsFacts> {
    if matches!(name, "generic" | "unknown") {
        return Ok(OsFacts::generic());
    }
    let all = read_all();
    if all.is_empty() {
        return Err(EngineError::new(
            ErrorKind::Unsupported,
            "libosinfo's database is not installed: install the package osinfo-db, or leave \
             --os-variant away",
        ));
    }
    let by_name = |name: &str| {
        let mut all = all.values();
        all.find(|os| os.short_ids.iter().any(|id| id == name) || os.id == name)
    };
    if let Some(found) = by_name(name) {
        return Ok(whole(found, &all, None));
    }
    // A database older than the system knows the one before it.
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (distro, number) = name.split_at(name.len() - digits);
    let older = number.parse::<u32>().ok().and_then(|number| {
        let mut versions = (1..number).rev();
        versions.find_map(|version| by_name(&format!("{distro}{version}")))
    });
    match older.filter(|_| !distro.is_empty()) {
        Some(found) => {
            let note = format!(
                "the database does not know '{name}' yet: what it says of {} is used",
                found.name
            );
            Ok(whole(found, &all, Some(note)))
        }
        None => Err(unknown(name, &all)),
    }
}

fn unknown(name: &str, all: &BTreeMap<String, OsRecord>) -> EngineError {
    let beginning: String = name.chars().take_while(char::is_ascii_alphabetic).collect();
    let mut near: Vec<&str> = all
        .values()
        .flat_map(|os| &os.short_ids)
        .filter(|id| !beginning.is_empty() && id.starts_with(&beginning))
        .map(String::as_str)
        .collect();
    near.sort_unstable();
    let hint = match near.is_empty() {
        true => "`osinfo-query os` lists those there are; generic is always there".to_owned(),
        false => format!("there are {}", near.join(", ")),
    };
    EngineError::new(
        ErrorKind::InvalidArgument,
        format!("the operating system '{name}' is not known: {hint}"),
    )
}

/// With what it shares with those it derives from.
fn whole(os: &OsRecord, all: &BTreeMap<String, OsRecord>, note: Option<String>) -> OsFacts {
    let mut record = os.clone();
    let mut wanted = os.derives_from.clone();
    let mut seen = 0;
    while let Some(id) = wanted.pop() {
        seen += 1;
        if seen > DERIVED_MAX {
            break;
        }
        let Some(older) = all.get(&id) else {
            continue;
        };
        record.virtio |= older.virtio;
        record.memory_bytes = record.memory_bytes.or(older.memory_bytes);
        record.vcpus = record.vcpus.or(older.vcpus);
        record.storage_bytes = record.storage_bytes.or(older.storage_bytes);
        wanted.extend(older.derives_from.clone());
    }
    OsFacts { record, note }
}

fn read_all() -> BTreeMap<String, OsRecord> {
    let mut all = BTreeMap::new();
    for directory in DIRECTORIES {
        let vendors = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let files = vendors.flat_map(|vendor| {
            let inside = std::fs::read_dir(vendor.path());
            inside.into_iter().flatten().flatten()
        });
        for file in files.take(OSINFO_FILES_MAX) {
            all.extend(read(&file.path()).map(|os| (os.id.clone(), os)));
        }
    }
    all
}

fn read(file: &Path) -> Option<OsRecord> {
    let text = std::fs::read_to_string(file).ok()?;
    parse(&text, std::env::consts::ARCH)
}
