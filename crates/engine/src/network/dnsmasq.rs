//! The server of a network's addresses and names: started, watched, told of
//! changes, ended.

use super::tools::Tool;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::{DNSMASQ_END_TIMEOUT_MS, DNSMASQ_RESTART_PAUSE_MS};
use crate::process::{Process, Signal};
use model::network::Network;
use network::dnsmasq::{Files, texts};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::process::ProcessId;
use tokio::task::AbortHandle;
use uuid::Uuid;

const PACKAGE: &str = "dnsmasq-base";
/// Users it may run as, best first.
const USERS: [&str; 3] = ["libvirt-dnsmasq", "dnsmasq", "nobody"];

/// A running dnsmasq.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    watcher: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Server {
    /// Which process it is.
    pub(super) fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// Ends it and waits until it is gone.
    pub(super) async fn end(self) {
        self.watcher.abort();
        let bound = Duration::from_millis(DNSMASQ_END_TIMEOUT_MS);
        self.process.signal(Signal::TERM);
        if !self.process.ends_within(bound).await {
            self.process.signal(Signal::KILL);
            self.process.ends_within(bound).await;
        }
    }

    /// Lets it read names and hosts again.
    fn reread(&self) {
        self.process.signal(Signal::HUP);
    }
}

impl Engine {
    /// What is only known while a network is active.
    pub(super) fn network_run(&self, uuid: Uuid) -> PathBuf {
        self.places().run.join("network").join(uuid.to_string())
    }

    /// What outlives it: its leases.
    pub(super) fn network_state(&self, uuid: Uuid) -> PathBuf {
        self.places().state.join("network").join(uuid.to_string())
    }

    pub(super) fn dnsmasq_files(&self, uuid: Uuid) -> Files {
        Files::below(&self.network_run(uuid), &self.network_state(uuid))
    }

    /// Removes what a network that is no more has given out.
    pub(super) fn forget_leases(&self, uuid: Uuid) {
        let _ = std::fs::remove_dir_all(self.network_state(uuid));
    }

    /// Writes the texts, has them checked, and starts the server.
    pub(super) async fn start_dnsmasq(
        &self,
        uuid: Uuid,
        network: &Network,
        bridge: &str,
    ) -> Result<Server> {
        let files = self.dnsmasq_files(uuid);
        self.write_dnsmasq(uuid, network, bridge, &files)?;
        let config = config_argument(&files);
        // It says what is wrong with its configuration before it serves anything.
        Tool::new("dnsmasq", PACKAGE, [config])
            .run()
            .await
            .map_err(|e| {
                EngineError::new(e.kind, format!("network '{}': {}", network.name, e.message))
            })?;
        let server = self.find_dnsmasq(uuid, &files)?;
        Ok(server)
    }

    /// The server that wrote its process id into its file.
    fn find_dnsmasq(&self, uuid: Uuid, files: &Files) -> Result<Server> {
        let failed = |why: String| EngineError::failed(format!("dnsmasq did not start: {why}"));
        let text = std::fs::read_to_string(&files.pid).map_err(|e| failed(e.to_string()))?;
        let pid = text.trim().parse().map_err(|_| failed(text.clone()))?;
        let process = sys::process::Process::current(pid).map_err(|e| failed(e.to_string()))?;
        let process = process.ok_or_else(|| failed("it has ended".into()))?;
        self.watch_dnsmasq(uuid, process)
    }

    /// Finds a server again that outlived the last daemon.
    pub(super) fn adopt_dnsmasq(&self, uuid: Uuid, id: ProcessId) -> Option<Server> {
        let process = sys::process::Process::open(id).ok().flatten()?;
        self.watch_dnsmasq(uuid, process).ok()
    }

    fn watch_dnsmasq(&self, uuid: Uuid, process: sys::process::Process) -> Result<Server> {
        let process = Process::watch(process)?;
        let (engine, watched) = (self.clone(), process.clone());
        let watcher = tokio::spawn(async move {
            watched.exited().await;
            engine.dnsmasq_died(uuid, watched.id());
        });
        Ok(Server {
            process,
            watcher: watcher.abort_handle(),
        })
    }

    /// It ended though nobody asked: another one takes its place.
    fn dnsmasq_died(&self, uuid: Uuid, which: ProcessId) {
        let engine = self.clone();
        tokio::spawn(async move {
            loop {
                match engine.restart_dnsmasq(uuid, which).await {
                    Ok(()) => return,
                    Err(error) => tracing::error!(%uuid, %error, "dnsmasq cannot be restarted"),
                }
                tokio::time::sleep(Duration::from_millis(DNSMASQ_RESTART_PAUSE_MS)).await;
            }
        });
    }

    async fn restart_dnsmasq(&self, uuid: Uuid, which: ProcessId) -> Result<()> {
        let Ok(entry) = self.network_entry(uuid) else {
            return Ok(());
        };
        let mut held = entry.owner.lock().await;
        let view = entry.view();
        let ours = held.server.as_ref().is_some_and(|s| s.id() == which);
        let (Some(live), true) = (&view.live, ours) else {
            return Ok(());
        };
        tracing::warn!(network = %view.name, "dnsmasq ended; starting it again");
        let bridge = live.bridge.clone().unwrap_or_default();
        let server = self.start_dnsmasq(uuid, &live.definition, &bridge).await?;
        held.server = Some(server);
        self.write_network_status(&view, &held);
        Ok(())
    }

    /// Brings a running server up to a changed definition: told where that is
    /// enough, started anew where its configuration is another.
    pub(super) async fn refresh_dnsmasq(
        &self,
        uuid: Uuid,
        network: &Network,
        bridge: &str,
        server: &mut Option<Server>,
    ) -> Result<()> {
        let files = self.dnsmasq_files(uuid);
        let before = std::fs::read_to_string(&files.config).unwrap_or_default();
        let wanted = network::dnsmasq::is_wanted(network);
        let user = self.dnsmasq_user();
        let texts = texts(network, bridge, &files, user.as_deref());
        if let (Some(running), true) = (&server, wanted && before == texts.config) {
            self.write_dnsmasq(uuid, network, bridge, &files)?;
            running.reread();
            return Ok(());
        }
        if wanted {
            check_config(&texts.config).await?;
        }
        if let Some(running) = server.take() {
            running.end().await;
        }
        if wanted {
            *server = Some(self.start_dnsmasq(uuid, network, bridge).await?);
        }
        Ok(())
    }

    fn write_dnsmasq(
        &self,
        uuid: Uuid,
        network: &Network,
        bridge: &str,
        files: &Files,
    ) -> Result<()> {
        let user = self.dnsmasq_user();
        let texts = texts(network, bridge, files, user.as_deref());
        for folder in [self.network_run(uuid), self.network_state(uuid)] {
            make_readable(&folder)?;
        }
        for (path, text) in [
            (&files.config, &texts.config),
            (&files.hosts, &texts.hosts),
            (&files.names, &texts.names),
        ] {
            std::fs::write(path, text)
                .map_err(|e| EngineError::system(&format!("cannot write {}", path.display()), e))?;
        }
        Ok(())
    }

    /// Who the server runs as: a user who may do little, where that one can
    /// reach its files; else the daemon's own.
    pub(super) fn dnsmasq_user(&self) -> Option<String> {
        let reachable =
            reachable_by_all(&self.places().run) && reachable_by_all(&self.places().state);
        if !reachable {
            return Some("root".into());
        }
        let exists = |name: &&&str| sys::user::find_user(name).is_ok_and(|user| user.is_some());
        USERS.iter().find(exists).map(|name| (*name).to_owned())
    }
}

fn config_argument(files: &Files) -> OsString {
    let mut argument = OsString::from("--conf-file=");
    argument.push(&files.config);
    argument
}

/// Has dnsmasq itself look at a configuration.
pub(super) async fn check_config(config: &str) -> Result<()> {
    let tool = Tool::new("dnsmasq", PACKAGE, ["--test", "--conf-file=-"]);
    let checked = tool.reading(config.to_owned()).run().await;
    checked.map(drop).map_err(|e| {
        EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!("dnsmasq refuses the configuration: {}", e.message),
        )
    })
}

fn make_readable(folder: &Path) -> Result<()> {
    let failed = |e| EngineError::system(&format!("cannot create {}", folder.display()), e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    for path in [Some(folder), folder.parent()].into_iter().flatten() {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(())
}

fn reachable_by_all(path: &Path) -> bool {
    path.ancestors()
        .all(|folder| std::fs::metadata(folder).is_ok_and(|m| m.permissions().mode() & 0o001 != 0))
}
