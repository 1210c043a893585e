//! Rules about single source files: their length, how they begin, words that must not be in them.

use crate::tree::Tree;

/// Longer than this, a file has more than one subject.
const FILE_MAX_LINES: usize = 800;

/// A word that has no place in the tree, and why.
struct Banned {
    word: &'static str,
    reason: &'static str,
    /// Paths that start like this may hold it all the same.
    allowed_in: &'static [&'static str],
}

/// This file names the words, so it may hold them.
const OWN_PATH: &str = "xtask/src/sources.rs";

const BANNED: &[Banned] = &[
    Banned {
        word: "todo!(",
        reason: "nothing unfinished lands",
        allowed_in: &[],
    },
    Banned {
        word: "unimplemented!(",
        reason: "nothing unfinished lands",
        allowed_in: &[],
    },
    Banned {
        word: "#[ignore",
        reason: "a test runs or is not there",
        allowed_in: &[],
    },
    Banned {
        word: "thread::sleep",
        reason: "wait for the event, not for a time",
        // Named by the bans of logic crates; the harness polls outside programs that announce nothing.
        allowed_in: &["tests/src/wait.rs", "xtask/src/layers.rs"],
    },
];

/// Every source file that is too long, has no header or holds a banned word.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    tree.ending(".rs")
        .filter(|(path, _)| *path != OWN_PATH)
        .flat_map(|(path, text)| file(path, text))
        .collect()
}

fn file(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_MAX_LINES {
        findings.push(format!(
            "{path}: {lines} lines, at most {FILE_MAX_LINES}: split it by subject"
        ));
    }
    // The name of a tests.rs says it all.
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        findings.push(format!(
            "{path}: begin it with a //! line that says what it is for"
        ));
    }
    for banned in BANNED {
        if banned
            .allowed_in
            .iter()
            .any(|allowed| path.starts_with(allowed))
        {
            continue;
        }
        for (number, _) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(banned.word))
        {
            findings.push(format!(
                "{path}:{}: `{}`: {}",
                number + 1,
                banned.word,
                banned.reason
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_file_passes() {
        assert_eq!(
            file("crates/x/src/a.rs", "//! Subject.\nfn f() {}\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn banned_words_are_found_with_their_line() {
        let found = file(
            "crates/x/src/a.rs",
            "//! S.\nfn f() { todo!() }\n#[ignore]\n",
        );
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("crates/x/src/a.rs:2: `todo!(`"));
    }

    #[test]
    fn sleeping_is_allowed_where_the_list_says() {
        let text = "//! S.\nstd::thread::sleep(x);\n";
        assert_eq!(file("tests/src/wait.rs", text), Vec::<String>::new());
        assert_eq!(file("tests/src/host.rs", text).len(), 1);
    }

    #[test]
    fn length_and_header_are_checked() {
        assert_eq!(
            file("a.rs", &"//! S.\n".repeat(FILE_MAX_LINES)),
            Vec::<String>::new()
        );
        assert_eq!(
            file("a.rs", &"fn f() {}\n".repeat(FILE_MAX_LINES + 1)).len(),
            2
        );
    }
}
