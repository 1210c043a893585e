//! The one binary: `stead daemon` runs a host, every other verb is a command.

mod daemon;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next();
    let rest: Vec<_> = arguments.collect();
    if rest.first().is_some_and(|verb| verb == "daemon") {
        return daemon::run(program.into_iter().chain(rest.into_iter().skip(1)));
    }
    cli::run(rest)
}
