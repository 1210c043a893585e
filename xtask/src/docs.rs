//! What the documents promise must exist: the files they link to, the targets and scripts they name.

use crate::tree::Tree;

/// Every broken relative link, unknown `make` target, `scripts/` path or `cargo xtask` command.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let targets = make_targets(tree.text("Makefile").unwrap_or_default());
    tree.ending(".md")
        .flat_map(|(path, text)| document(tree, &targets, path, text))
        .collect()
}

fn make_targets(makefile: &str) -> Vec<&str> {
    makefile
        .lines()
        .filter(|line| line.contains("## "))
        .filter_map(|line| line.split(':').next())
        .collect()
}

fn document(tree: &Tree, targets: &[&str], path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut report = |what: String| findings.push(format!("{path}:{}: {what}", number + 1));
        for link in links(line) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !tree.has(&resolve(path, file)) {
                report(format!("link to {file}, which does not exist"));
            }
        }
        for target in words_after(line, "make ").filter(|_| is_command(line, "make ")) {
            if !targets.contains(&target) {
                report(format!("make {target} is no target of the Makefile"));
            }
        }
        for script in words_after(line, "scripts/") {
            if !tree.has(&format!("scripts/{script}")) {
                report(format!("scripts/{script} does not exist"));
            }
        }
    }
    findings
}

/// The relative targets of `[text](target)` and of `src="target"`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let inline = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next());
    let images = line
        .split("src=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    inline
        .chain(images)
        .filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
}

/// "make" is a common word: only in code is it the program.
fn is_command(line: &str, command: &str) -> bool {
    line.trim_start().starts_with(command) || line.contains(&format!("`{command}"))
}

/// The word that follows each occurrence of `prefix`.
fn words_after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let is_end =
        |character: char| !character.is_ascii_alphanumeric() && !"-_./".contains(character);
    line.split(prefix)
        .skip(1)
        .map(move |rest| rest.split(is_end).next().unwrap_or_default())
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| !word.is_empty())
}

/// A link as a path from the top of the tree.
fn resolve(document: &str, link: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        check(&Tree::of(&[
            ("Makefile", "demo: ## show\n"),
            ("scripts/guest", ""),
            ("docs/guide/start.md", "# Start\n"),
            ("docs/page.md", text),
        ]))
    }

    #[test]
    fn what_exists_passes() {
        let text = "[a](guide/start.md#x) [b](../Makefile) [c](https://example.org/) [d](#here)\n\
                    `make demo` makes sense; scripts/guest.\n";
        assert_eq!(findings(text), Vec::<String>::new());
    }

    #[test]
    fn a_broken_link_is_found() {
        assert_eq!(
            findings("[a](gone.md)"),
            ["docs/page.md:1: link to gone.md, which does not exist"]
        );
        assert_eq!(findings("<img src=\"gone.svg\">").len(), 1);
    }

    #[test]
    fn an_unknown_target_and_script_are_found() {
        assert_eq!(
            findings("    make magic\n`make magic`, scripts/magic").len(),
            3
        );
    }
}
