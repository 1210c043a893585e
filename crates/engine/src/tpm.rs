//! Emulated TPMs: a `swtpm` beside a machine's QEMU, confined like it, with
//! its state in a directory of its own. It listens at a socket the daemon
//! makes, and ends by itself when QEMU lets go of it; so it outlives the
//! daemon as the machine does, and not the machine.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::process::Process;
use crate::{files, run};
use model::domain::Domain;
use model::domain::tpm::{TpmBackendType, TpmVersion};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use sys::spawn::{Descriptors, Identity, SpawnPlan};

/// Where distributions install the emulator.
const PROGRAMS: [&str; 3] = ["/usr/bin/swtpm", "/usr/local/bin/swtpm", "/bin/swtpm"];

/// The socket's number in the emulator.
const SOCKET_NUMBER: i32 = 3;

/// The variable by which an emulator without a machine is found.
const RUN_VARIABLE: &str = "STEAD_RUN";

/// The emulator's program, if it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    let mut programs = PROGRAMS.iter().map(PathBuf::from);
    programs.find(|program| program.exists())
}

/// The version of the emulated TPM a machine has, if it has one.
fn wanted(domain: &Domain) -> Option<TpmVersion> {
    let backends = domain.devices.tpms.iter();
    let mut backends = backends.filter_map(|tpm| tpm.backend.as_ref());
    let emulated = backends.find(|backend| backend.kind == TpmBackendType::Emulator)?;
    Some(emulated.version.unwrap_or(TpmVersion::V2_0))
}

/// The socket of a run's emulator, where the machine has one.
pub(crate) fn socket(domain: &Domain, run_dir: &Path) -> Option<PathBuf> {
    wanted(domain).map(|_| socket_path(run_dir))
}

fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("swtpm.sock")
}

/// Starts the emulator that a machine wants; QEMU connects to it.
pub(crate) fn start(
    engine: &Engine,
    domain: &Domain,
    run_dir: &Path,
    cgroup: Option<&sys::cgroup::Cgroup>,
) -> Result<()> {
    let Some(version) = wanted(domain) else {
        return Ok(());
    };
    let Some(program) = program() else {
        return Err(EngineError::new(
            ErrorKind::ConfigUnsupported,
            "Unable to find 'swtpm' binary in $PATH: install the package swtpm to give machines \
             an emulated TPM",
        ));
    };
    let identity = engine.qemu_identity();
    let state = engine.places().tpm_state(crate::facts::uuid(domain));
    make_state_directory(&state, identity.as_ref())?;
    let path = socket_path(run_dir);
    let socket = run::listen(&path)?;
    if let Some(identity) = &identity {
        chown(&path, Some(identity.uid), Some(identity.gid))
            .map_err(|e| EngineError::system("cannot give the TPM's socket to QEMU", e))?;
    }
    let log = engine.places().machine_log(&domain.name);
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log)
        .map_err(|e| EngineError::system(&format!("cannot open {}", log.display()), e))?;
    let plan = plan(&program, version, &state, run_dir, identity, cgroup);
    let descriptors = Descriptors {
        output: log.as_fd(),
        inherited: &[(SOCKET_NUMBER, socket.as_fd())],
    };
    let child = sys::spawn::spawn(&plan, descriptors)
        .map_err(|e| EngineError::system("cannot start swtpm", e))?;
    let process = Process::watch(child.process)?;
    // Its end is taken note of, so that it does not stay as a zombie.
    tokio::spawn(async move {
        process.exited().await;
        tracing::debug!(pid = process.pid(), exit = process.reap(), "swtpm ended");
    });
    Ok(())
}

fn plan(
    program: &Path,
    version: TpmVersion,
    state: &Path,
    run_dir: &Path,
    identity: Option<Identity>,
    cgroup: Option<&sys::cgroup::Cgroup>,
) -> SpawnPlan {
    let mut plan = SpawnPlan::new(program);
    let mut state_option = OsString::from("dir=");
    state_option.push(state);
    state_option.push(",mode=0600");
    plan.argv.extend([
        "socket".into(),
        "--ctrl".into(),
        format!("type=unixio,fd={SOCKET_NUMBER}").into(),
        "--tpmstate".into(),
        state_option,
        "--terminate".into(),
    ]);
    if version == TpmVersion::V2_0 {
        plan.argv.push("--tpm2".into());
    }
    plan.env = vec![
        ("LC_ALL".into(), "C".into()),
        (RUN_VARIABLE.into(), run_dir.join("").into()),
    ];
    plan.paths = Some(files::rules(&[], &[], program, state));
    plan.cgroups = cgroup.map(|group| group.procs_files()).unwrap_or_default();
    plan.identity = identity;
    plan
}

fn make_state_directory(state: &Path, identity: Option<&Identity>) -> Result<()> {
    let fail = |e| EngineError::system(&format!("cannot create directory {}", state.display()), e);
    if let Some(parent) = state.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(parent)
            .map_err(fail)?;
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(fail)?;
    match identity {
        Some(identity) => chown(state, Some(identity.uid), Some(identity.gid)).map_err(fail),
        None => Ok(()),
    }
}

/// Ends the emulator of a run that came to nothing: no QEMU will let go of it.
pub(crate) async fn end(run_dir: &Path) {
    if !socket_path(run_dir).exists() {
        return;
    }
    let mark = format!("{RUN_VARIABLE}={}", run_dir.join("").display());
    for process in sys::process::find_by_start(&mark) {
        let ended = match Process::watch(process) {
            Ok(process) => crate::owner::abandon(&process).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::error!(%error, "a TPM's emulator is left");
        }
    }
}

/// The state of a machine's TPM, which goes with its definition unless it is to be kept.
pub(crate) fn state_to_remove(
    engine: &Engine,
    domain: &Domain,
    wish: Option<bool>,
) -> Option<PathBuf> {
    let backends = domain
        .devices
        .tpms
        .iter()
        .filter_map(|tpm| tpm.backend.as_ref());
    let kept = backends
        .filter_map(|backend| backend.persistent_state)
        .any(model::xml::YesNo::is_yes);
    let state = engine.places().tpm_state(crate::facts::uuid(domain));
    (wish.unwrap_or(!kept) && state.exists()).then_some(state)
}
