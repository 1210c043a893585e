//! `stead help`, `stead help GROUP`, `stead help VERB` and `stead --help`.

use std::fmt::Write;

use crate::table::{Group, Kind, Opt, Place, Verb};
use crate::verbs;

/// All groups with their verbs.
pub(crate) fn everything() -> String {
    let mut out = String::from("Grouped commands:\n\n");
    for each in verbs::GROUPS {
        out.push_str(&group(each));
        out.push('\n');
    }
    out
}

/// One group.
pub(crate) fn group(group: &Group) -> String {
    let mut out = format!(" {} (help keyword '{}'):\n", group.title, group.keyword);
    for verb in group.verbs() {
        _ = writeln!(out, "    {:<30} {}", verb.name, verb.summary);
    }
    out
}

/// The verbs of one family: those that begin with the same word.
pub(crate) fn family(name: &str) -> Option<String> {
    let of_family = |verb: &&Verb| verb.name.split_once(' ').is_some_and(|(w, _)| w == name);
    let lines: Vec<_> = verbs::all()
        .filter(of_family)
        .map(|verb| format!("    {:<30} {}\n", verb.name, verb.summary))
        .collect();
    (!lines.is_empty()).then(|| lines.concat())
}

/// One verb, in the layout of virsh.
pub(crate) fn verb(verb: &Verb) -> String {
    let mut out = format!("  NAME\n    {} - {}\n", verb.name, verb.summary);
    _ = writeln!(out, "\n  SYNOPSIS\n    {}", synopsis(verb));
    if !verb.description.is_empty() {
        _ = writeln!(out, "\n  DESCRIPTION\n    {}", verb.description);
    }
    let shown: Vec<_> = visible(verb).collect();
    if !shown.is_empty() || verb.tabular {
        out.push_str("\n  OPTIONS\n");
    }
    for opt in shown {
        _ = writeln!(out, "    {:<15}  {}", usage(opt), opt.help);
    }
    if verb.tabular {
        _ = writeln!(
            out,
            "    {:<15}  print as table, json or yaml",
            "--format <string>"
        );
    }
    out
}

/// The options help speaks of: all but aliases.
pub(crate) fn visible(verb: &Verb) -> impl Iterator<Item = &'static Opt> {
    verb.options
        .iter()
        .filter(|o| !matches!(o.kind, Kind::Alias(..)))
}

/// The verb with its options on one line.
pub(crate) fn synopsis(verb: &Verb) -> String {
    let mut out = verb.name.to_owned();
    for opt in visible(verb) {
        let name = opt.name;
        let shown = match (opt.kind, opt.place) {
            (Kind::Flag, _) => format!("[--{name}]"),
            (Kind::Rest, Place::Positional) if opt.required => format!("<{name}>..."),
            (Kind::Rest, Place::Positional) => format!("[<{name}>]..."),
            (Kind::Rest, _) if opt.required => format!("--{name} <string>..."),
            (Kind::Rest, _) => format!("[--{name} <string>]..."),
            (Kind::Many, _) => format!("[{}]...", usage(opt)),
            (_, Place::Positional) if opt.required => format!("<{name}>"),
            (_, Place::Positional) => format!("[<{name}>]"),
            _ if opt.required => usage(opt),
            _ => format!("[{}]", usage(opt)),
        };
        _ = write!(out, " {shown}");
    }
    out
}

fn usage(opt: &Opt) -> String {
    let value = match opt.kind {
        Kind::Flag | Kind::Alias(..) => return format!("--{}", opt.name),
        Kind::Number => "<number>",
        Kind::Text | Kind::Many => "<string>",
        Kind::Rest => "<string>...",
    };
    match opt.place {
        Place::Positional => format!("[--{}] {value}", opt.name),
        _ => format!("--{} {value}", opt.name),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_verb() {
        let echo = crate::verbs::find("echo").expect("echo");
        insta::assert_snapshot!(super::verb(echo));
    }
}
