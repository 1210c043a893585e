//! Runs libvirt's own test data (found by `STEAD_CORPUS`) through the model.

// The test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use stead_model::XmlFlags;
use stead_model::domain::Domain;
use stead_model::domain::complete::{DefineContext, FirmwareImage};
use stead_model::domain::os::Firmware;

const SHOWN: XmlFlags = XmlFlags {
    inactive: true,
    secure: true,
    migratable: false,
};

/// The names that must pass, one on each line; regenerate with
/// `STEAD_CORPUS_BLESS=1`.
const PASSING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus_passing.txt");

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

/// The images libvirt's tests pretend to have, best first.
fn firmwares() -> Vec<FirmwareImage> {
    const OVMF: &str = "/usr/share/edk2/ovmf/";
    let image = |code: &str, vars: &str, machines: &[&str], features: &[&str]| FirmwareImage {
        interface: Firmware::Efi,
        arches: vec!["x86_64".to_owned()],
        machines: machines.iter().map(|m| (*m).to_owned()).collect(),
        code: format!("{OVMF}{code}"),
        code_format: if code.ends_with("qcow2") {
            "qcow2"
        } else {
            "raw"
        }
        .to_owned(),
        vars_template: (!vars.is_empty()).then(|| format!("{OVMF}{vars}")),
        vars_format: if vars.ends_with("qcow2") {
            "qcow2"
        } else {
            "raw"
        }
        .to_owned(),
        features: features.iter().map(|f| (*f).to_owned()).collect(),
    };
    let secure = ["enrolled-keys", "requires-smm", "secure-boot"];
    let q35 = ["pc-q35-*"];
    let both = ["pc-i440fx-*", "pc-q35-*"];
    vec![
        image(
            "OVMF_CODE_4M.secboot.qcow2",
            "OVMF_VARS_4M.secboot.qcow2",
            &q35,
            &secure,
        ),
        image(
            "OVMF_CODE.secboot.fd",
            "OVMF_VARS.secboot.fd",
            &q35,
            &secure,
        ),
        image("OVMF_CODE.secboot.fd", "OVMF_VARS.fd", &q35, &secure[1..]),
        image("OVMF_CODE.fd", "OVMF_VARS.fd", &both, &[]),
        image("OVMF.amdsev.fd", "", &q35, &[]),
        FirmwareImage {
            interface: Firmware::Bios,
            code: "/usr/share/seabios/bios-256k.bin".to_owned(),
            ..image("", "", &both, &[])
        },
    ]
}

/// The host libvirt's tests pretend to be: no alias is resolved, so that the
/// expected files need no update with each QEMU.
fn context() -> DefineContext {
    DefineContext {
        arch: "x86_64".to_owned(),
        emulators: [
            ("x86_64", "/usr/bin/qemu-system-x86_64"),
            ("i686", "/usr/bin/qemu-system-i386"),
        ]
        .map(|(arch, path)| (arch.to_owned(), path.to_owned()))
        .into(),
        default_machine: Some("pc".to_owned()),
        default_cpu: Some("qemu64".to_owned()),
        uuid: Some(
            "c7a5fdbd-edaf-9455-926a-d65c16db1809"
                .parse()
                .expect("a uuid"),
        ),
        firmwares: firmwares(),
        nvram_dir: "/var/lib/libvirt/qemu/nvram".to_owned(),
        ..DefineContext::default()
    }
}

/// Where two texts first differ.
fn difference(expected: &str, got: &str) -> String {
    let mut lines = expected.lines().zip(got.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((i, (a, b))) => format!(
            "line {}: expected `{}`, got `{}`",
            i + 1,
            a.trim(),
            b.trim()
        ),
        None => "one is longer".to_owned(),
    }
}

#[test]
fn what_libvirt_shows_is_read_and_written_unchanged() {
    let mut failed = Vec::new();
    for (name, xml) in files(".x86_64-latest.xml") {
        match Domain::parse(&xml).map(|d| d.to_xml(SHOWN)) {
            Ok(shown) if shown == xml => {}
            Ok(shown) => failed.push(format!("{name}: {}", difference(&xml, &shown))),
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

/// Completes `xml` and shows it.
fn complete(xml: &str) -> Result<String, String> {
    let mut domain = Domain::parse(xml).map_err(|e| e.message)?;
    domain.complete(&context()).map_err(|e| e.message)?;
    Ok(domain.to_xml(SHOWN))
}

/// Writes what we made into the folder `STEAD_CORPUS_OUT`, to compare by hand.
fn keep(name: &str, shown: &str) {
    if let Some(folder) = std::env::var_os("STEAD_CORPUS_OUT") {
        let path = PathBuf::from(folder).join(name).with_extension("xml");
        std::fs::write(path, shown).expect("the output can be written");
    }
}

/// What became of every case: `Ok` where it is as libvirt has it.
fn outcomes() -> BTreeMap<String, Result<(), String>> {
    let inputs = files(".xml");
    let mut outcomes = BTreeMap::new();
    for (name, expected) in files(".x86_64-latest.xml") {
        let Some(input) = inputs.get(&name) else {
            continue;
        };
        let outcome = complete(input).and_then(|shown| {
            keep(&name, &shown);
            if shown == expected {
                Ok(())
            } else {
                Err(difference(&expected, &shown))
            }
        });
        outcomes.insert(name, outcome);
    }
    let shown: BTreeSet<String> = outcomes.keys().cloned().collect();
    for (name, expected) in files(".x86_64-latest.err") {
        let Some(input) = inputs.get(&name).filter(|_| !shown.contains(&name)) else {
            continue;
        };
        let outcome = match complete(input) {
            Ok(_) => Err(format!("accepted, but libvirt says: {}", expected.trim())),
            Err(message) if message == expected.trim() => Ok(()),
            Err(message) => Err(format!("says: {message}\n  libvirt: {}", expected.trim())),
        };
        outcomes.insert(name, outcome);
    }
    outcomes
}

#[test]
fn definitions_become_what_libvirt_makes_of_them() {
    let outcomes = outcomes();
    if outcomes.is_empty() {
        return;
    }
    let passed: BTreeSet<&str> = outcomes
        .iter()
        .filter(|(_, o)| o.is_ok())
        .map(|(n, _)| n.as_str())
        .collect();
    println!("{} of {} pass", passed.len(), outcomes.len());
    for (name, outcome) in &outcomes {
        if let Err(reason) = outcome {
            println!("{name}: {reason}");
        }
    }
    if std::env::var_os("STEAD_CORPUS_BLESS").is_some() {
        let mut list = passed.iter().copied().collect::<Vec<_>>().join("\n");
        list.push('\n');
        std::fs::write(PASSING, list).expect("the list can be written");
        return;
    }
    let list = std::fs::read_to_string(PASSING).expect("the list of names that must pass");
    let regressed: Vec<String> = list
        .lines()
        .filter(|name| !passed.contains(name))
        .filter_map(|name| Some(format!("{name}: {:?}", outcomes.get(name)?)))
        .collect();
    assert!(regressed.is_empty(), "regressed:\n{}", regressed.join("\n"));
}

#[test]
fn a_completed_definition_stays_as_it_is() {
    let mut failed = Vec::new();
    // Those were made for a QEMU without the USB controller ours has.
    let other_qemu = |name: &String| name.starts_with("usb-controller-default-unavailable");
    let shown = files(".x86_64-latest.xml").into_iter();
    for (name, xml) in shown.filter(|(name, _)| !other_qemu(name)) {
        match complete(&xml) {
            Ok(shown) if shown == xml => {}
            Ok(shown) => failed.push(format!("{name}: {}", difference(&xml, &shown))),
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    assert!(
        failed.is_empty(),
        "{} change:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
