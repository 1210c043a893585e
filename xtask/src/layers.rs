//! Who may depend on whom: the table of ARCHITECTURE.md, held against every Cargo.toml.

use toml::{Table, Value};

use crate::tree::Tree;

/// A row of the table: a crate and the crates of this workspace it may name.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
    /// Rules only: no input or output, no clock, no async runtime.
    logic: bool,
}

const fn logic(name: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer {
        name,
        may_use,
        logic: true,
    }
}

const fn host(name: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer {
        name,
        may_use,
        logic: false,
    }
}

const LAYERS: &[Layer] = &[
    logic("model", &[]),
    logic("wire", &[]),
    logic("qemu", &["model"]),
    logic("storage", &["model"]),
    logic("network", &["model"]),
    logic("api", &["model", "storage"]),
    host("sys", &[]),
    host("store", &[]),
    host(
        "engine",
        &["model", "network", "qemu", "storage", "store", "sys"],
    ),
    host("rest", &["api", "engine", "sys"]),
    host("rpc", &["wire", "model", "engine", "sys"]),
    host("client", &["api", "wire", "sys"]),
    host("cli", &["api", "client", "model"]),
    host("stead", &["rest", "rpc", "engine", "cli", "sys", "store"]),
];

/// What a logic crate must not link: these are for doing things, not for deciding them.
const DOERS: &[&str] = &[
    "async-std",
    "chrono",
    "getrandom",
    "jiff",
    "libc",
    "mio",
    "nix",
    "rand",
    "rusqlite",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
];

/// What the clippy.toml of a logic crate must forbid.
const BANNED_IN_LOGIC: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::env::var",
    "std::fs::File",
    "std::fs::read",
    "std::fs::write",
    "std::net::TcpStream",
    "std::os::unix::net::UnixStream",
    "std::process::Command",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
];

/// Every dependency in a direction the table does not give, and every logic crate that could do I/O.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending("/Cargo.toml") {
        let Some(name) = path
            .strip_prefix("crates/")
            .and_then(|rest| rest.strip_suffix("/Cargo.toml"))
        else {
            continue;
        };
        match (
            LAYERS.iter().find(|layer| layer.name == name),
            text.parse::<Table>(),
        ) {
            (None, _) => findings.push(format!(
                "{path}: give this crate its row in xtask/src/layers.rs"
            )),
            (_, Err(error)) => findings.push(format!("{path}: {error}")),
            (Some(layer), Ok(manifest)) => {
                findings.extend(manifest_findings(path, layer, &manifest));
                if layer.logic {
                    findings.extend(ban_findings(tree, name));
                }
            }
        }
    }
    findings
}

fn manifest_findings(path: &str, layer: &Layer, manifest: &Table) -> Vec<String> {
    let mut findings = Vec::new();
    for dependency in dependencies(manifest) {
        let ours = LAYERS.iter().any(|other| other.name == dependency);
        if ours && !layer.may_use.contains(&dependency.as_str()) {
            findings.push(format!(
                "{path}: {} must not depend on {dependency}",
                layer.name
            ));
        }
        if layer.logic && DOERS.contains(&dependency.as_str()) {
            findings.push(format!(
                "{path}: {} is logic and must not link {dependency}",
                layer.name
            ));
        }
    }
    let shares_lints = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"));
    if layer.name != "sys" && shares_lints != Some(&Value::Boolean(true)) {
        findings.push(format!(
            "{path}: must take the workspace's lints (they forbid unsafe code)"
        ));
    }
    findings
}

/// What ends up in the program: development dependencies do not.
fn dependencies(manifest: &Table) -> Vec<String> {
    let in_table = |table: &Table| -> Vec<String> {
        let dependencies = table.get("dependencies").and_then(Value::as_table);
        dependencies
            .into_iter()
            .flat_map(|found| found.keys().map(|name| plain_name(name)))
            .collect()
    };
    let targets = manifest.get("target").and_then(Value::as_table);
    let per_target = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    in_table(manifest)
        .into_iter()
        .chain(per_target.flat_map(in_table))
        .collect()
}

/// `stead-model` and `model` are the same crate.
fn plain_name(name: &str) -> String {
    name.strip_prefix("stead-").unwrap_or(name).to_owned()
}

fn ban_findings(tree: &Tree, name: &str) -> Vec<String> {
    let path = format!("crates/{name}/clippy.toml");
    let Some(text) = tree.text(&path) else {
        return vec![format!(
            "{path}: missing; a logic crate bans I/O, clocks and unordered maps there"
        )];
    };
    let bans = |wanted: &&&str| !text.contains(&format!("\"{wanted}\""));
    BANNED_IN_LOGIC
        .iter()
        .filter(bans)
        .map(|wanted| format!("{path}: must ban {wanted}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings_for(name: &str, manifest: &str) -> Vec<String> {
        let bans: String = BANNED_IN_LOGIC
            .iter()
            .map(|ban| format!("\"{ban}\"\n"))
            .collect();
        check(&Tree::of(&[
            (&format!("crates/{name}/Cargo.toml"), manifest),
            (&format!("crates/{name}/clippy.toml"), &bans),
        ]))
    }

    #[test]
    fn directions_of_the_table_pass() {
        let manifest =
            "[lints]\nworkspace = true\n[dependencies]\nmodel.workspace = true\nserde = \"1\"\n";
        assert_eq!(findings_for("qemu", manifest), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_direction_is_found() {
        let manifest =
            "[lints]\nworkspace = true\n[dependencies]\nstead-engine = { path = \"../engine\" }\n";
        assert_eq!(
            findings_for("model", manifest),
            ["crates/model/Cargo.toml: model must not depend on engine"]
        );
    }

    #[test]
    fn a_wrong_direction_for_one_target_is_found() {
        let manifest =
            "[lints]\nworkspace = true\n[target.'cfg(unix)'.dependencies]\nqemu = \"1\"\n";
        assert_eq!(findings_for("rpc", manifest).len(), 1);
    }

    #[test]
    fn a_logic_crate_with_a_runtime_is_found() {
        let manifest = "[lints]\nworkspace = true\n[dependencies]\ntokio = \"1\"\n";
        assert_eq!(
            findings_for("wire", manifest),
            ["crates/wire/Cargo.toml: wire is logic and must not link tokio"]
        );
    }

    #[test]
    fn development_dependencies_are_free() {
        let manifest = "[lints]\nworkspace = true\n[dev-dependencies]\ntempfile = \"3\"\n";
        assert_eq!(findings_for("wire", manifest), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_crate_and_missing_lints_are_found() {
        assert_eq!(findings_for("novel", "").len(), 1);
        assert_eq!(findings_for("store", "").len(), 1);
    }

    #[test]
    fn a_logic_crate_without_bans_is_found() {
        let tree = Tree::of(&[("crates/wire/Cargo.toml", "[lints]\nworkspace = true\n")]);
        assert!(check(&tree)[0].starts_with("crates/wire/clippy.toml: missing"));
    }
}
