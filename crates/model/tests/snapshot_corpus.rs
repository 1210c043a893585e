//! Runs libvirt's own snapshots (found by `STEAD_CORPUS`) through the model.

// The test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use stead_model::snapshot::{Snapshot, SnapshotDomain};

/// The names that must pass, one on each line; regenerate with `STEAD_CORPUS_BLESS=1`.
const PASSING: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/snapshot_corpus_passing.txt"
);

/// Times libvirt's tests pretend to have, taken from what they expect.
fn creation_time(expected: &str) -> i64 {
    let after = expected.split("<creationTime>").nth(1);
    let text = after.and_then(|rest| rest.split('<').next());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn check(input: Option<&str>, expected: &str) -> Result<(), String> {
    let mut snapshot = match input {
        Some(input) => Snapshot::parse_request(input, creation_time(expected)),
        None => Snapshot::parse_finished(expected),
    }
    .map_err(|e| e.to_string())?;
    if input.is_some() && expected.contains("<uuid>") {
        let uuid = expected
            .split("<uuid>")
            .nth(1)
            .and_then(|r| r.split('<').next());
        snapshot.domain = Some(SnapshotDomain::Uuid(uuid.and_then(|u| u.parse().ok())));
    }
    let shown = snapshot.to_xml(true);
    if shown == expected {
        return Ok(());
    }
    let lines = expected.lines().zip(shown.lines());
    let different = lines.into_iter().find(|(a, b)| a != b);
    Err(format!("expected and got: {different:?}"))
}

#[test]
fn snapshots_are_shown_as_libvirt_shows_them() {
    let Some(root) = std::env::var_os("STEAD_CORPUS").map(PathBuf::from) else {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return;
    };
    let read =
        |folder: &str, name: &str| std::fs::read_to_string(root.join(folder).join(name)).ok();
    let folder = root.join("qemudomainsnapshotxml2xmlout");
    let mut passed = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the corpus can be listed") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("a name");
        let expected = read("qemudomainsnapshotxml2xmlout", name).expect("text");
        let input = read("qemudomainsnapshotxml2xmlin", name);
        match check(input.as_deref(), &expected) {
            Ok(()) => drop(passed.insert(name.to_owned())),
            Err(why) => eprintln!("{name}: {why}"),
        }
    }
    if std::env::var_os("STEAD_CORPUS_BLESS").is_some() {
        let list: Vec<&str> = passed.iter().map(String::as_str).collect();
        std::fs::write(PASSING, list.join("\n") + "\n").expect("the list can be written");
        return;
    }
    let list = std::fs::read_to_string(PASSING).expect("the list of names that must pass");
    let regressed: Vec<&str> = list
        .lines()
        .filter(|name| !passed.contains(*name))
        .collect();
    assert!(regressed.is_empty(), "regressed: {regressed:?}");
}
