//! Runs libvirt's own pools and volumes (found by `STEAD_CORPUS`) through the model.

// The test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr)]

use std::path::PathBuf;

use stead_model::storage::{Capacity, PoolDefinition, PoolKind, PoolSizes, VolumeDefinition};

/// Name, input and expected output of the cases of a family.
fn cases(family: &str) -> Vec<(String, String, String)> {
    let Some(root) = std::env::var_os("STEAD_CORPUS") else {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return Vec::new();
    };
    let folder = |end: &str| PathBuf::from(&root).join(format!("{family}{end}"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder("out")).expect("the corpus can be listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_owned();
        // Some outputs belong to inputs that are not there.
        if let Ok(input) = std::fs::read_to_string(folder("in").join(&name)) {
            let expected = std::fs::read_to_string(&path).expect("text");
            found.push((name.to_string_lossy().into_owned(), input, expected));
        }
    }
    found
}

fn check(family: &str, show: impl Fn(&str, &str) -> Result<String, String>) {
    for (name, input, expected) in cases(family) {
        let shown = show(&name, &input).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(shown, expected, "{name}");
        let again = show(&name, &shown).unwrap_or_else(|e| panic!("{name}, read back: {e}"));
        assert_eq!(again, expected, "{name}, read back");
    }
}

#[test]
fn pools_are_shown_as_libvirt_shows_them() {
    check("storagepoolxml2xml", |_, text| {
        let pool = PoolDefinition::parse(text).map_err(|e| e.to_string())?;
        Ok(pool.to_xml(PoolSizes::default()))
    });
}

#[test]
fn volumes_are_shown_as_libvirt_shows_them() {
    check("storagevolxml2xml", |name, text| {
        let kind = match name.starts_with("vol-logical") {
            true => PoolKind::Logical,
            false => PoolKind::Dir,
        };
        let volume = VolumeDefinition::parse(text, kind, Capacity::OfBacking);
        Ok(volume.map_err(|e| e.to_string())?.to_xml())
    });
}
