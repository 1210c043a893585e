//! Runs libvirt's own networks and filters (found by `STEAD_CORPUS`) through the model.

// The test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use stead_model::XmlFlags;
use stead_model::network::Network;
use stead_model::network::update::{Command, Section};
use stead_model::nwfilter::Filter;

const SHOWN: XmlFlags = XmlFlags {
    inactive: true,
    secure: true,
    migratable: false,
};

/// Name and text of every file of a folder; empty (said aloud) where there is no corpus.
fn files(folder: &str) -> BTreeMap<String, String> {
    let Some(root) = std::env::var_os("STEAD_CORPUS") else {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return BTreeMap::new();
    };
    let entries = std::fs::read_dir(PathBuf::from(root).join(folder)).expect("it can be listed");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect()
}

fn difference(expected: &str, got: &str) -> String {
    let mut lines = expected.lines().zip(got.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((i, (a, b))) => format!("line {}: expected `{a}`, got `{b}`", i + 1),
        None => "one is longer".to_owned(),
    }
}

/// What is refused by name where libvirt passes over it: file and reason, one each line.
const FILTERS_EXCEPTED: &str = include_str!("nwfilter_corpus_excepted.txt");

/// Every input as shown, compared with what libvirt shows; one without an output must be refused.
fn compare(folder: &str, excepted: &[&str], show: impl Fn(&str) -> Result<String, String>) {
    let expected = files(&format!("{folder}out"));
    let mut failed = Vec::new();
    for (name, input) in files(&format!("{folder}in")) {
        if excepted.contains(&name.as_str()) {
            assert!(
                show(&input).is_err(),
                "{name} is accepted: no exception any more"
            );
            continue;
        }
        match (show(&input), expected.get(&name)) {
            (Ok(shown), Some(wanted)) if shown == *wanted => {}
            (Ok(shown), Some(wanted)) => {
                failed.push(format!("{name}: {}", difference(wanted, &shown)));
            }
            (Ok(_), None) => failed.push(format!("{name}: accepted")),
            (Err(error), Some(_)) => failed.push(format!("{name}: {error}")),
            (Err(_), None) => {}
        }
    }
    for (name, wanted) in &expected {
        match show(wanted) {
            Ok(shown) if shown == *wanted => {}
            Ok(shown) => failed.push(format!("{name} again: {}", difference(wanted, &shown))),
            Err(error) => failed.push(format!("{name} again: {error}")),
        }
    }
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// The names of [`FILTERS_EXCEPTED`].
fn excepted() -> Vec<&'static str> {
    let lines = FILTERS_EXCEPTED
        .lines()
        .filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn networks_are_shown_as_libvirt_shows_them() {
    compare("networkxml2xml", &[], |xml| {
        let network = Network::parse(xml).map_err(|e| e.to_string())?;
        Ok(network.to_xml(SHOWN))
    });
}

#[test]
fn updated_networks_are_shown_as_libvirt_shows_them() {
    // One device more than a definition may name; only an update makes that.
    let made_by_update = |name: &String| name == "nat-network-forward-ifaces.xml";
    let shown = files("networkxml2xmlupdateout").into_iter();
    for (name, xml) in shown.filter(|(name, _)| !made_by_update(name)) {
        let network = Network::parse(&xml).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(network.to_xml(SHOWN), xml, "{name}");
    }
}

/// Updates of libvirt's own tests: what is changed by what, how, and what comes of it, if
/// anything does.
const UPDATES: &[(&str, &str, Command, Section, Option<&str>)] = &[
    (
        "nat-network",
        "host-updated",
        Command::Modify,
        Section::DhcpHost,
        Some("nat-network-host-updated"),
    ),
    (
        "nat-network",
        "host-new-incomplete",
        Command::AddLast,
        Section::DhcpHost,
        None,
    ),
    (
        "nat-network",
        "interface-eth47",
        Command::Delete,
        Section::ForwardInterface,
        None,
    ),
    (
        "nat-network-dns-txt-record",
        "dns-txt-record-modify-success",
        Command::Modify,
        Section::DnsTxt,
        Some("nat-network-dns-txt-modify-ok"),
    ),
    (
        "nat-network-dns-txt-record",
        "dns-txt-record-modify-fail",
        Command::Modify,
        Section::DnsTxt,
        None,
    ),
    (
        "nat-network",
        "dns-host-modify-not-existing",
        Command::Modify,
        Section::DnsHost,
        None,
    ),
    (
        "dhcp6host-routed-network",
        "dhcp-range",
        Command::AddLast,
        Section::DhcpRange,
        Some("dhcp6host-routed-network-range"),
    ),
];

#[test]
fn networks_are_updated_as_libvirt_updates_them() {
    let (before, updates) = (files("networkxml2xmlin"), files("networkxml2xmlupdatein"));
    let after = files("networkxml2xmlupdateout");
    if updates.is_empty() {
        return;
    }
    for (network, update, command, section, wanted) in UPDATES {
        let case = format!("{network} {command:?} {update}");
        let text = |files: &BTreeMap<String, String>, name: &str| {
            let found = files.get(&format!("{name}.xml"));
            found.unwrap_or_else(|| panic!("{name}.xml")).clone()
        };
        let mut changed = Network::parse(&text(&before, network)).expect("a network");
        let told = changed.update(*command, *section, None, &text(&updates, update));
        match wanted {
            None => assert!(told.is_err(), "{case} is accepted"),
            Some(wanted) => {
                told.unwrap_or_else(|e| panic!("{case}: {e:?}"));
                let (wanted, got) = (text(&after, wanted), changed.to_xml(SHOWN));
                assert!(got == wanted, "{case}: {}", difference(&wanted, &got));
            }
        }
    }
}

#[test]
fn filters_are_shown_as_libvirt_shows_them() {
    compare("nwfilterxml2xml", &excepted(), |xml| {
        let filter = Filter::parse(xml).map_err(|e| e.to_string())?;
        Ok(filter.to_xml())
    });
}

#[test]
fn filters_for_rules_are_read() {
    for (name, xml) in files("nwfilterxml2firewalldata") {
        if name.ends_with(".xml") {
            Filter::parse(&xml).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}
