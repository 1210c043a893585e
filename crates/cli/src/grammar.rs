//! The verb table as clap commands, for man pages and completion scripts, and the
//! program's own usage.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, ArgAction, Command, ValueHint};

use crate::globals::GLOBALS;
use crate::table::{Completes, Kind, Opt, Place, Verb};
use crate::{help, verbs};

/// What the manual page of the program says of it.
const ABOUT: &str = "stead VERB does one thing; several verbs stand in one argument, separated by \
    semicolons; without a verb a prompt opens. The verbs are those of virsh and Stead's own; \
    stead help VERB explains one, and each has a page of its own. stead daemon is the daemon \
    they speak to: see stead daemon --help.\n\nThe exit status is 0 if the last verb succeeded \
    and 1 if not.";

/// The variables it heeds.
const ENVIRONMENT: &str = "STEAD_URI, VIRSH_DEFAULT_CONNECT_URI and LIBVIRT_DEFAULT_URI name the \
    daemon where --connect does not, the first of them that is set. VISUAL and EDITOR name the \
    editor. NO_COLOR keeps states from being coloured.";

/// The whole program as a clap command.
fn program() -> Command {
    let mut stead = Command::new("stead")
        .version(env!("CARGO_PKG_VERSION"))
        .about("keeps virtual machines in their place")
        .long_about(ABOUT)
        .after_long_help(ENVIRONMENT)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true);
    for global in GLOBALS {
        let id = if global.name.is_empty() {
            "long-version"
        } else {
            global.name
        };
        let mut arg = Arg::new(id).help(global.help);
        if global.letter != '\0' {
            arg = arg.short(global.letter);
        }
        if !global.name.is_empty() {
            arg = arg.long(global.name);
        }
        arg = match global.value {
            "" => arg.action(ArgAction::SetTrue),
            value => arg.value_name(value),
        };
        stead = stead.arg(arg);
    }
    stead.subcommands(verbs::all().map(command))
}

fn command(verb: &'static Verb) -> Command {
    let about = if verb.description.is_empty() {
        verb.summary
    } else {
        verb.description
    };
    let mut command = Command::new(verb.name.replace(' ', "-"))
        .bin_name(format!("stead {}", verb.name))
        .about(verb.summary)
        .long_about(about)
        .disable_help_flag(true)
        .args(help::visible(verb).map(argument));
    if verb.tabular {
        let format = Arg::new("format").long("format").value_name("FORMAT");
        let format = format.help("print as table, json or yaml");
        command = command.arg(format.value_parser(crate::output::Format::NAMES.to_vec()));
    }
    command
}

fn argument(opt: &'static Opt) -> Arg {
    let mut arg = Arg::new(opt.name).help(opt.help);
    if opt.place != Place::Positional {
        arg = arg.long(opt.name);
    }
    arg = match opt.kind {
        Kind::Flag | Kind::Alias(..) => arg.action(ArgAction::SetTrue),
        Kind::Rest => arg.num_args(0..).value_name(opt.name),
        Kind::Many => arg.action(ArgAction::Append).value_name(opt.name),
        Kind::Number | Kind::Text => arg.value_name(opt.name),
    };
    if opt.kind != Kind::Flag {
        arg = arg.required(opt.required);
    }
    match opt.completes {
        Completes::File => arg.value_hint(ValueHint::FilePath),
        Completes::Words(words) => arg.value_parser(words.to_vec()),
        _ => arg,
    }
}

/// `stead --help`.
pub(crate) fn usage() -> String {
    let mut out = String::from(
        "\nstead [options]... [<command_string>]\nstead [options]... <command> [args...]\n\
         stead daemon [--root DIR] ...\n\n  options:\n",
    );
    for global in GLOBALS {
        let letter = match global.letter {
            '\0' => "    ".to_owned(),
            letter => format!("-{letter} |"),
        };
        let name = match (global.name, global.value) {
            ("", _) => "-V".to_owned(),
            (name, "") => format!("{letter} --{name}"),
            (name, value) => format!("{letter} --{name}={value}"),
        };
        _ = writeln!(out, "    {name:<34}{}", global.help);
    }
    out.push_str("\n  commands (see stead help VERB):\n\n");
    for group in verbs::GROUPS {
        out.push_str(&help::group(group));
        out.push('\n');
    }
    out
}

/// `stead -V`.
pub(crate) fn long_version() -> String {
    format!(
        "stead {}\nSpeaks libvirt's remote protocol, version 1.\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Writes `stead.1` and `stead-VERB.1` for every verb into `dir`.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write_man_pages(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(program(), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_table() {
        program().debug_assert();
    }

    #[test]
    fn a_page_names_its_verb_as_it_is_typed() {
        let dir = tempfile::tempdir().expect("a directory");
        write_man_pages(dir.path()).expect("written");
        let page = std::fs::read_to_string(dir.path().join("stead-image-info.1"));
        let page = page.expect("it is there").replace('\\', "");
        assert!(page.contains("fBstead image infofR"), "{page}");
        let page = std::fs::read_to_string(dir.path().join("stead.1")).expect("it is there");
        assert!(page.contains("STEAD_URI"), "{page}");
    }
}
