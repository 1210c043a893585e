//! What could come next on a command line: verbs, options, values.
//!
//! The shell inside and the scripts for bash, zsh and fish all ask here.

use crate::args::Args;
use crate::globals::GLOBALS;
use crate::output::Format;
use crate::table::{Completes, Kind, Opt, Verb};
use crate::verbs;

/// What could be typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// One of these words.
    Words(Vec<String>),
    /// A path.
    Files,
}

/// The candidates for the last of `words`, which may be empty. `names` gives the names of what the
/// daemon has, given the options so far, and is only asked where one may stand.
pub(crate) fn candidates(
    words: &[String],
    names: impl FnOnce(Completes, &Args) -> Vec<String>,
) -> Candidates {
    let Some((current, before)) = words.split_last() else {
        return Candidates::Words(Vec::new());
    };
    if let Some(found) = before_the_verb(before, current) {
        return Candidates::Words(found);
    }
    let Some(first) = before.first() else {
        return Candidates::Words(matching(first_words(), current));
    };
    let plain: Vec<&str> = before.iter().map(String::as_str).collect();
    let Some((verb, taken)) = verbs::resolve(&plain) else {
        let second = verbs::family(first).map(str::to_owned);
        let none = plain.len() > 1;
        return Candidates::Words(matching(second.filter(|_| !none), current));
    };
    let (args, open) = read(verb, &before[taken..]);
    if open.is_none() && current.starts_with('-') {
        let free = |(i, o): &(usize, &Opt)| {
            !matches!(o.kind, Kind::Alias(..)) && (!args.given(*i) || o.kind.repeats())
        };
        let options = verb
            .options
            .iter()
            .enumerate()
            .filter(free)
            .map(|(_, o)| o.name);
        let options = options.chain(verb.tabular.then_some("format"));
        return Candidates::Words(matching(options.map(|o| format!("--{o}")), current));
    }
    if verb.tabular && before.last().is_some_and(|word| word == "--format") {
        return Candidates::Words(matching(formats(), current));
    }
    let option = open.or_else(|| args.next_positional().map(|i| &verb.options[i]));
    match option.map(|o| o.completes) {
        Some(what @ (Completes::Domain | Completes::Of(_))) => {
            Candidates::Words(matching(names(what, &args).into_iter(), current))
        }
        Some(Completes::File) => Candidates::Files,
        Some(Completes::Words(all)) => {
            Candidates::Words(matching(all.iter().map(|w| (*w).to_owned()), current))
        }
        Some(Completes::Verb) => {
            let groups = verbs::GROUPS.iter().map(|g| g.keyword.to_owned());
            Candidates::Words(matching(first_words().chain(groups), current))
        }
        Some(Completes::Nothing) | None => Candidates::Words(Vec::new()),
    }
}

/// The options of the program itself, and the values of the one that has a fixed set of them; none
/// where a verb is there or may come.
fn before_the_verb(before: &[String], current: &str) -> Option<Vec<String>> {
    if before.first().is_some_and(|word| !word.starts_with('-')) {
        return None;
    }
    if before.last().is_some_and(|word| word == "--format") {
        return Some(matching(formats(), current));
    }
    let named = GLOBALS.iter().filter(|global| !global.name.is_empty());
    let options = named.map(|global| format!("--{}", global.name));
    current.starts_with('-').then(|| matching(options, current))
}

fn formats() -> impl Iterator<Item = String> {
    Format::NAMES.iter().map(|name| (*name).to_owned())
}

/// The first word of every verb.
fn first_words() -> impl Iterator<Item = String> {
    verbs::all().map(|v| v.name.split(' ').next().unwrap_or_default().to_owned())
}

/// The options given so far, and the one that waits for its value.
fn read(verb: &'static Verb, words: &[String]) -> (Args, Option<&'static Opt>) {
    let mut args = Args::new(verb);
    let mut open: Option<usize> = None;
    for word in words {
        if let Some(index) = open.take() {
            args.assign(index, Some(word.clone()));
        } else if let Some(name) = word.strip_prefix("--").filter(|n| !n.is_empty()) {
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let Some(index) = verb.options.iter().position(|o| o.name == name) else {
                continue;
            };
            match (verb.options[index].kind, value) {
                (Kind::Flag | Kind::Alias(..), _) => args.assign(index, None),
                (_, Some(value)) => args.assign(index, Some(value)),
                (_, None) => open = Some(index),
            }
        } else if let Some(index) = args.next_positional() {
            args.assign(index, Some(word.clone()));
        }
    }
    (args, open.map(|i| &verb.options[i]))
}

fn matching(all: impl Iterator<Item = String>, beginning: &str) -> Vec<String> {
    let mut found: Vec<String> = all.filter(|w| w.starts_with(beginning)).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let names = |what, args: &Args| match what {
            Completes::Of(_) => vec![format!(
                "{what:?} of {}",
                args.need("domain").unwrap_or("all")
            )],
            _ => vec!["web1".to_owned(), "web2".to_owned(), "db".to_owned()],
        };
        match candidates(&words, names) {
            Candidates::Words(words) => words,
            Candidates::Files => vec!["(files)".to_owned()],
        }
    }

    #[test]
    fn verbs_options_names_and_values() {
        assert_eq!(ask("dominf"), ["dominfo"]);
        assert_eq!(ask("start web"), ["web1", "web2"]);
        assert_eq!(ask("start web1 --pa"), ["--pass-fds", "--paused"]);
        assert_eq!(ask("start --domain d"), ["db"]);
        assert_eq!(ask("start web1 --paused --pau"), Vec::<String>::new());
        assert_eq!(ask("shutdown web1 --mode a"), ["acpi", "agent"]);
        assert_eq!(ask("define x"), ["(files)"]);
        assert_eq!(ask("domstats web1 web"), ["web1", "web2"]);
        assert_eq!(ask("help monit"), ["monitor"]);
        assert_eq!(ask("nonsense x"), Vec::<String>::new());
        assert_eq!(ask("domblkstat web1 "), ["Of(Disk) of web1"]);
        assert_eq!(ask("snapshot-revert db "), ["Of(Snapshot) of db"]);
        assert_eq!(ask("list --format "), ["json", "table", "yaml"]);
        assert_eq!(ask("--format j"), ["json"]);
        assert_eq!(ask("--keep"), ["--keepalive-count", "--keepalive-interval"]);
    }
}
