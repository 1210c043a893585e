//! `passt` beside a machine's QEMU: what connects a card of type `user` that
//! wants more than QEMU's own network. It has one end of a pair of sockets and
//! QEMU the other, so it ends with QEMU and outlives the daemon.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::process::Process;
use crate::taps::Queues;
use model::domain::Domain;
use model::domain::interface::Interface;
use network::passt::arguments;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use sys::spawn::{Descriptors, SpawnPlan};

/// Where distributions install it.
const PROGRAMS: [&str; 2] = ["/usr/bin/passt", "/usr/local/bin/passt"];
/// The socket's number in passt.
const SOCKET_NUMBER: i32 = 3;

/// Starts what the wanted cards need; QEMU's ends of the sockets.
pub(crate) fn start(
    engine: &Engine,
    domain: &Domain,
    cgroup: Option<&sys::cgroup::Cgroup>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Queues> {
    let mut ends = Queues::new();
    for interface in &domain.devices.interfaces {
        let alias = interface.info.alias.clone().unwrap_or_default();
        if interface.uses_passt() && wanted(&alias) {
            let end = start_one(engine, domain, interface, cgroup)?;
            ends.insert((alias, 0), end);
        }
    }
    Ok(ends)
}

fn start_one(
    engine: &Engine,
    domain: &Domain,
    interface: &Interface,
    cgroup: Option<&sys::cgroup::Cgroup>,
) -> Result<OwnedFd> {
    let unsupported = |what: String| EngineError::new(ErrorKind::ConfigUnsupported, what);
    let mut programs = PROGRAMS.iter().map(PathBuf::from);
    let program = programs.find(|program| program.exists()).ok_or_else(|| {
        unsupported(
            "Unable to find 'passt' binary in $PATH: install the package passt, which \
             <backend type='passt'/> needs"
                .into(),
        )
    })?;
    let (ours, theirs) =
        UnixStream::pair().map_err(|e| EngineError::system("cannot connect QEMU with passt", e))?;
    let mut plan = SpawnPlan::new(program);
    let arguments = arguments(interface, SOCKET_NUMBER).map_err(unsupported)?;
    plan.argv.extend(arguments.into_iter().map(Into::into));
    plan.cgroups = cgroup.map(|group| group.procs_files()).unwrap_or_default();
    let log = engine.places().machine_log(&domain.name);
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log)
        .map_err(|e| EngineError::system(&format!("cannot open {}", log.display()), e))?;
    let descriptors = Descriptors {
        output: log.as_fd(),
        inherited: &[(SOCKET_NUMBER, theirs.as_fd())],
    };
    // It gives up being root by itself, and sees no file of the host after that.
    let child = sys::spawn::spawn(&plan, descriptors)
        .map_err(|e| EngineError::system("cannot start passt", e))?;
    let process = Process::watch(child.process)?;
    let machine = domain.name.clone();
    tokio::spawn(async move {
        process.exited().await;
        tracing::debug!(machine, exit = process.reap(), "passt ended");
    });
    Ok(ours.into())
}
