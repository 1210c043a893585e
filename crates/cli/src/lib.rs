//! The commands: virsh's verbs over libvirt's protocol, Stead's own over REST.
//!
//! The verb table ([`verbs`]) is the one source: the parser, the help, the
//! completion scripts, the man pages and `docs/verbs.md` are made from it.

mod absent;
mod args;
mod candidates;
mod domain;
mod edit;
mod element;
mod event_text;
mod failure;
mod follow;
mod globals;
mod grammar;
mod help;
mod interrupt;
mod names;
mod nearest;
mod offered;
mod output;
mod params;
mod parse;
mod progress;
mod query;
mod scripts;
mod serialise;
mod session;
mod shell;
mod states;
mod storage;
#[cfg(test)]
mod strangers;
mod table;
mod textable;
mod verbs;
mod words;
mod xpath;

use std::ffi::OsString;
use std::process::ExitCode;

use globals::Asked;
use output::Output;
use session::Session;

/// Runs the commands of an argument vector without the program's name.
///
/// The exit code is 0 if the last command succeeded and 1 if not, as with virsh.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let argv: Vec<String> = argv
        .into_iter()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    match run_in(&argv, Output::of_process()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn run_in(argv: &[String], mut out: Output) -> bool {
    let (globals, words) = match globals::parse(argv) {
        Ok(Asked::Run(globals, words)) => (globals, words),
        Ok(asked) => {
            out.text(match asked {
                Asked::Help => grammar::usage(),
                Asked::LongVersion => grammar::long_version(),
                _ => format!("{}\n", env!("CARGO_PKG_VERSION")),
            });
            out.flush();
            return true;
        }
        Err(message) => {
            out.error(&message);
            return false;
        }
    };
    if let Some(path) = &globals.log
        && let Err(e) = out.log_to(path)
    {
        out.error(&format!(
            "failed to open the log file '{path}': {}",
            client::os_message(&e)
        ));
        return false;
    }
    let commands = match words.as_slice() {
        [] => parse::line("shell"),
        [one] => parse::line(one),
        several => parse::argv(several),
    };
    match commands {
        Ok(commands) => Session::new(globals, out).run(commands),
        Err(message) => {
            out.error(&message);
            false
        }
    }
}
