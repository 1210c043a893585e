//! The daemon's log: lines for people, or JSON for machines, on standard error.

use clap::ValueEnum;
use std::error::Error;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `level` is a level or a filter such as `info,engine=debug`;
/// the variable `STEAD_LOG` is used where none is given.
pub(crate) fn start(format: Format, level: Option<&str>) -> Result<(), Box<dyn Error>> {
    let level = match level {
        Some(level) => level.to_owned(),
        None => std::env::var("STEAD_LOG").unwrap_or_else(|_| "info".to_owned()),
    };
    let filter = EnvFilter::try_new(&level).map_err(|e| {
        format!("'{level}' is not a log level (error, warn, info, debug, trace): {e}")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        Format::Json => builder.json().init(),
        Format::Text => {
            // The service manager stamps lines itself.
            let under_manager = std::env::var_os("JOURNAL_STREAM").is_some();
            let builder = builder
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false);
            if under_manager {
                builder.without_time().init()
            } else {
                builder.init()
            }
        }
    }
    Ok(())
}
