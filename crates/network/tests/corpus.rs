//! libvirt's own networks (found by `STEAD_CORPUS`) as dnsmasq configurations,
//! compared in meaning: the same lines, wherever files are kept.

// The test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model::network::Network;
use stead_network::dnsmasq::{Files, texts};

/// How we run the server: nothing of it is about the network.
const OURS: &[&str] = &["pid-file=", "user=", "dhcp-leasefile=", "no-ping", "#"];

fn meaning(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .filter(|line| !OURS.iter().any(|ours| line.starts_with(ours)))
        .map(|line| match line.split_once('=') {
            Some((key @ ("dhcp-hostsfile" | "addn-hosts"), _)) => key.to_owned(),
            _ => line.to_owned(),
        })
        .collect()
}

#[test]
fn configurations_mean_what_libvirts_mean() {
    let Some(root) = std::env::var_os("STEAD_CORPUS") else {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return;
    };
    let folder = PathBuf::from(root).join("networkxml2confdata");
    let files = Files::below(Path::new("/run/n"), Path::new("/state/n"));
    let mut failed = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("it can be listed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let xml = std::fs::read_to_string(&path).expect("text");
        let network = Network::parse(&xml).unwrap_or_else(|e| panic!("{name}: {e}"));
        let bridge = network.bridge_name().expect("a bridge").to_owned();
        let texts = texts(&network, &bridge, &files, Some("nobody"));
        let read = |suffix: &str| std::fs::read_to_string(folder.join(format!("{name}.{suffix}")));
        let wanted = meaning(&read("conf").expect("a configuration"));
        let got = meaning(&texts.config);
        if wanted != got {
            let missing: Vec<_> = wanted.difference(&got).collect();
            let surplus: Vec<_> = got.difference(&wanted).collect();
            failed.push(format!("{name}: missing {missing:?}, surplus {surplus:?}"));
        }
        let hosts = read("hostsfile").unwrap_or_default();
        if meaning(&hosts) != meaning(&texts.hosts) {
            failed.push(format!("{name}: hosts\n{hosts}\n{}", texts.hosts));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
