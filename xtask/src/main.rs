//! Checks of the tree and packaging: `cargo xtask tidy`, `cargo xtask install`.

mod docs;
mod install;
mod layers;
mod sources;
mod tree;

use std::io::Write;
use std::process::ExitCode;

use tree::Tree;

const USAGE: &str = "usage: cargo xtask tidy | install --prefix DIR [--destdir DIR]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("tidy") => tidy(),
        Some("install") => install::run(&arguments[1..]),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nothing is left to tell when even standard error is closed.
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every check and reports all findings at once.
fn tidy() -> Result<(), String> {
    let tree = Tree::read()?;
    let findings = [
        layers::check(&tree),
        sources::check(&tree),
        docs::check(&tree),
    ]
    .concat();
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\n{} finding(s)",
        findings.join("\n"),
        findings.len()
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        assert_eq!(super::tidy(), Ok(()));
    }
}
