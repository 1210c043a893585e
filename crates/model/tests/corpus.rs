//! Runs libvirt's own test data (found by `STEAD_CORPUS`) through the model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use stead_model::XmlFlags;
use stead_model::domain::Domain;

const SHOWN: XmlFlags = XmlFlags {
    inactive: true,
    secure: true,
    migratable: false,
};

/// The folder of domains, or `None` (said aloud) where there is no corpus.
fn corpus() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("STEAD_CORPUS") else {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return None;
    };
    Some(PathBuf::from(root).join("qemuxmlconfdata"))
}

/// Name and text of every file ending in `suffix`.
fn files(suffix: &str) -> BTreeMap<String, String> {
    let Some(folder) = corpus() else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the corpus can be listed") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .expect("a name")
            .to_owned();
        if let Some(stem) = name.strip_suffix(suffix) {
            found.insert(
                stem.to_owned(),
                std::fs::read_to_string(&path).expect("text"),
            );
        }
    }
    found
}

#[test]
fn what_libvirt_shows_is_read_and_written_unchanged() {
    let mut failed = Vec::new();
    for (name, xml) in files(".x86_64-latest.xml") {
        let shown = Domain::parse(&xml).map(|d| d.to_xml(SHOWN));
        match shown {
            Ok(shown) if shown == xml => {}
            Ok(shown) => {
                let (a, b) = xml
                    .lines()
                    .zip(shown.lines())
                    .find(|(a, b)| a != b)
                    .unwrap_or(("", "lengths differ"));
                failed.push(format!("{name}: expected {a}, got {b}"));
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
