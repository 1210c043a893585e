//! The one binary: `stead daemon` runs a host, every other verb is a command.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().skip(1))
}
