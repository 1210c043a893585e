//! Steps that give a running QEMU a device, and their undoing.

use crate::error::{EngineError, ErrorKind, Result};
use crate::live::LiveMachine;
use crate::run;
use crate::secrets::SecretValue;
use crate::snapshots::nodes::open_timeout_ms;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use qemu::command_line::Step;
use qemu::qmp::{Command, Done, commands};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// What steps need and was made before the first of them.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Descriptors of taps.
    pub(super) taps: crate::taps::Queues,
    /// Values of secrets, in the order of the steps.
    pub(super) secrets: Vec<SecretValue>,
}

/// Runs steps in order; where one fails, those before it are undone.
pub(super) async fn run_all(live: &LiveMachine, steps: &[Step], mut given: Given) -> Result<()> {
    given.secrets.reverse();
    for (done, step) in steps.iter().enumerate() {
        if let Err(error) = run_step(live, step, &mut given).await {
            for earlier in steps[..done].iter().rev() {
                undo(live, earlier).await;
            }
            return Err(error);
        }
    }
    Ok(())
}

async fn run_step(live: &LiveMachine, step: &Step, given: &mut Given) -> Result<()> {
    let monitor = live.monitor()?;
    let named;
    let command = match step {
        Step::Run(command) => command,
        Step::WithFile {
            path,
            write,
            command,
        } => {
            let set = monitor.give_file(open(path, *write)?).await?;
            named = command.clone().arg("filename", format!("/dev/fdset/{set}"));
            &named
        }
        Step::WithTap {
            alias,
            taps,
            vhosts,
            command,
        } => {
            for (number, name) in (0..).zip(taps) {
                let queue = given.taps.remove(&(alias.clone(), number)).ok_or_else(|| {
                    EngineError::new(
                        ErrorKind::Internal,
                        format!("no tap was made for '{alias}'"),
                    )
                })?;
                let command = commands::getfd(name);
                monitor.ask_with_descriptor(&command, queue).await?;
            }
            for name in vhosts {
                let device = run::open_device("/dev/vhost-net")?;
                let command = commands::getfd(name);
                monitor.ask_with_descriptor(&command, device).await?;
            }
            command
        }
        Step::WithSecret { command, .. } => {
            let value = given.secrets.pop().ok_or_else(|| {
                EngineError::new(ErrorKind::Internal, "a secret was not looked up")
            })?;
            let value = BASE64_STANDARD.encode(value.expose());
            let command = command.clone().arg("format", "base64").arg("data", value);
            return monitor.execute(&command).await.map(drop);
        }
        Step::Listen {
            path,
            name,
            command,
        } => {
            let socket = run::listen(path)?;
            monitor
                .ask_with_descriptor(&commands::getfd(name), socket)
                .await?;
            command
        }
    };
    let timeout = Duration::from_millis(open_timeout_ms(command.arguments()));
    monitor.ask(command, timeout).await.map(drop)
}

fn open(path: &Path, write: bool) -> Result<OwnedFd> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(write)
        .open(path)
        .map_err(|e| EngineError {
            kind: ErrorKind::ResourceUnavailable,
            ..EngineError::io(
                &format!("Cannot access storage file '{}'", path.display()),
                &e,
            )
        })?;
    Ok(file.into())
}

/// Removes what a step has made. A device goes by the guest's leave only, and
/// what it holds stays with it.
pub(super) async fn undo(live: &LiveMachine, step: &Step) {
    let (Step::Run(command)
    | Step::WithFile { command, .. }
    | Step::WithTap { command, .. }
    | Step::WithSecret { command, .. }
    | Step::Listen { command, .. }) = step;
    let name_of = |key: &str| {
        command
            .arguments()
            .get(key)
            .and_then(|v| v.as_str())
            .map(str::to_owned)
    };
    let inverse: Option<Command<Done>> = match command.name() {
        "blockdev-add" => name_of("node-name").map(|node| commands::blockdev_del(&node)),
        "netdev_add" => name_of("id").map(|id| commands::netdev_del(&id)),
        "chardev-add" => name_of("id").map(|id| commands::chardev_remove(&id)),
        "object-add" => name_of("id").map(|id| commands::object_del(&id)),
        _ => None,
    };
    if let (Some(inverse), Ok(monitor)) = (inverse, live.monitor())
        && let Err(error) = monitor.execute(&inverse).await
    {
        tracing::debug!(%error, "a back end could not be removed");
    }
    if let Step::Listen { path, .. } = step
        && let Err(error) = crate::owner::remove_file(path)
    {
        tracing::debug!(%error, "a socket could not be removed");
    }
}
