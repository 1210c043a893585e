//! The daemon's options: built-in values, then the configuration file, then
//! the command line.

use super::log;
use clap::Parser;
use engine::places::Places;
use engine::{Config, Mode};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The file that is read where none is named and it is there.
const DEFAULT_FILE: &str = "/etc/stead/stead.toml";

/// Runs a virtualization host: drives QEMU and serves libvirt's clients.
///
/// Started by root it is qemu:///system, by an ordinary user qemu:///session.
/// It needs no configuration file. SIGTERM stops it and leaves machines running.
#[derive(Debug, Parser)]
#[command(name = "stead daemon", version, bin_name = "stead daemon")]
struct Arguments {
    /// Keep everything below this directory; several daemons can then run side by side
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the REST API and the web console listen: ADDRESS:PORT or none
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where the state lives: sqlite (the default)
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// The QEMU binary for machines whose definition names none
    #[arg(long, value_name = "FILE")]
    emulator: Option<PathBuf>,
    /// The group that may use the read-write socket (default: libvirt, where it exists)
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The control group below which machines get theirs, where it exists (default: the daemon's own)
    #[arg(long, value_name = "GROUP")]
    machines_cgroup: Option<String>,
    /// How log lines are written
    #[arg(long, value_enum)]
    log_format: Option<log::Format>,
    /// What is logged: error, warn, info, debug, trace, or a filter (default: $STEAD_LOG or info)
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// The configuration file.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    listen: Option<String>,
    store: Option<String>,
    emulator: Option<PathBuf>,
    group: Option<String>,
    qemu_user: Option<String>,
    machines_cgroup: Option<String>,
    log_format: Option<log::Format>,
    log_level: Option<String>,
}

/// What the daemon is to do.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) engine: Config,
    /// Everything is below one directory; the host's usual sockets are left alone.
    pub(crate) rooted: bool,
    pub(crate) group: Option<String>,
    pub(crate) log_format: log::Format,
    pub(crate) log_level: Option<String>,
}

/// Reads the options; help, the version and mistakes are told here.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Options, ExitCode> {
    let arguments = Arguments::try_parse_from(arguments).map_err(|error| {
        let _ = error.print();
        if error.use_stderr() {
            ExitCode::from(2)
        } else {
            ExitCode::SUCCESS
        }
    })?;
    combine(arguments).map_err(|error| {
        let _ = writeln!(std::io::stderr(), "stead daemon: {error}");
        ExitCode::from(2)
    })
}

fn combine(arguments: Arguments) -> Result<Options, String> {
    let file = read_file(arguments.config.as_deref(), arguments.root.is_some())?;
    check_listen(arguments.listen.or(file.listen).as_deref())?;
    check_store(arguments.store.or(file.store).as_deref())?;
    let rooted = arguments.root.is_some();
    let mode = if sys::user::is_root() {
        Mode::System
    } else {
        Mode::Session
    };
    let places = match (arguments.root, mode) {
        (Some(root), _) => Places::below(&absolute(&root)?),
        (None, Mode::System) => Places::system(),
        (None, Mode::Session) => session_places()?,
    };
    let mut engine = Config::new(mode, places);
    engine.emulator = arguments.emulator.or(file.emulator);
    engine.machines_cgroup = arguments.machines_cgroup.or(file.machines_cgroup);
    if let Some(user) = file.qemu_user {
        engine.qemu_users = vec![user];
    }
    Ok(Options {
        engine,
        rooted,
        group: arguments.group.or(file.group),
        log_format: arguments.log_format.or(file.log_format).unwrap_or_default(),
        log_level: arguments.log_level.or(file.log_level),
    })
}

fn read_file(named: Option<&Path>, rooted: bool) -> Result<File, String> {
    let path = match named {
        Some(path) => path,
        None if !rooted && sys::user::is_root() && Path::new(DEFAULT_FILE).exists() => {
            Path::new(DEFAULT_FILE)
        }
        None => return Ok(File::default()),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("cannot read the configuration {}: {e}", path.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The REST face has a unix socket only: asking for more is refused rather than ignored.
fn check_listen(listen: Option<&str>) -> Result<(), String> {
    match listen {
        None | Some("none") => Ok(()),
        Some(address) => Err(format!(
            "--listen {address}: the REST API has a unix socket only (run/stead.sock), and the web \
             console is not part of this version; use --listen none"
        )),
    }
}

fn check_store(store: Option<&str>) -> Result<(), String> {
    match store {
        None | Some("sqlite") => Ok(()),
        Some(other) => Err(format!(
            "--store {other}: this version keeps its state in sqlite only"
        )),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|e| format!("--root {}: {e}", path.display()))
}

fn session_places() -> Result<Places, String> {
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let home = variable("HOME").ok_or("HOME is not set: say where to keep things with --root")?;
    let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    let data = variable("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
    let cache = variable("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
    let runtime = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| cache.clone());
    Ok(Places::session(&config, &data, &cache, &runtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, String> {
        let all = std::iter::once("stead daemon").chain(arguments.iter().copied());
        combine(Arguments::try_parse_from(all).map_err(|e| e.to_string())?)
    }

    #[test]
    fn a_root_takes_everything() {
        let options = options(&["--root", "/r", "--listen", "none"]).expect("options");
        assert!(options.rooted);
        assert_eq!(options.engine.places.database, Path::new("/r/state.db"));
        assert_eq!(options.engine.places.run, Path::new("/r/run"));
    }

    #[test]
    fn what_is_not_there_yet_is_refused_by_name() {
        for (arguments, word) in [
            (["--listen", "127.0.0.1:8006"], "REST"),
            (["--store", "etcd=http://e:2379"], "sqlite"),
        ] {
            let error =
                options(&[&["--root", "/r"], &arguments[..]].concat()).expect_err("refused");
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_mistake_in_the_file_is_told_with_its_line() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "group = \"libvirt\"\nlog-levle = \"debug\"\n").expect("write");
        let path = file.path().to_str().expect("path");
        let error = options(&["--root", "/r", "--config", path]).expect_err("unknown key");
        assert!(
            error.contains("log-levle") && error.contains("line 2"),
            "{error}"
        );
    }
}
