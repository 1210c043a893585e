//! What has to be there before the engine starts: directories with the right
//! owners, the lock that says one daemon only, the host's own id.

use crate::config::{Config, Mode};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use sys::lockfile::{LockFile, Locked};
use uuid::Uuid;

impl Engine {
    /// Whether this host never kept any of these things: what was removed does not come back.
    pub(crate) fn is_new_to(&self, things: &str) -> bool {
        let marker = self.places().state.join(things);
        let is_new = !marker.exists();
        if let Err(error) = fs::create_dir_all(&marker) {
            tracing::warn!(%error, things, "cannot note that this host had its first");
        }
        is_new
    }
}

/// Makes the directories and takes the lock.
pub(crate) fn prepare(config: &Config) -> Result<LockFile> {
    let places = &config.places;
    make_directory(&places.state, 0o755)?;
    let lock = lock(&places.state)?;
    make_directory(&places.run, 0o755)?;
    make_directory(&places.run.join("qemu"), 0o711)?;
    make_directory(&places.log, 0o755)?;
    make_directory(&places.log.join("qemu"), 0o700)?;
    for (directory, mode) in [
        (&places.images, 0o711),
        (&places.save, 0o711),
        (&places.nvram, 0o711),
        (&places.dump, 0o700),
        (&places.cache, 0o755),
    ] {
        make_directory(directory, mode)?;
    }
    Ok(lock)
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |e| EngineError::system(&format!("cannot create directory {}", path.display()), e);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(failed)?;
    // The mode asked for, whatever the umask says.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

fn lock(state: &Path) -> Result<LockFile> {
    let path = state.join("daemon.lock");
    match sys::lockfile::lock(&path).map_err(|e| EngineError::system("cannot lock the state", e))? {
        Locked::Ours(lock) => Ok(lock),
        Locked::HeldBy(pid) => {
            let who = pid.map_or_else(
                || "another process".to_owned(),
                |pid| format!("process {pid}"),
            );
            Err(EngineError::new(
                ErrorKind::OperationInvalid,
                format!(
                    "another stead daemon ({who}) uses {}: stop it first, or give this one its \
                     own directory with --root",
                    state.display()
                ),
            ))
        }
    }
}

/// The host's own id: made at the first start and kept, since every key in
/// the store begins with it.
pub(crate) fn host_id(config: &Config) -> Result<Uuid> {
    let path = config.places.state.join("host-id");
    match fs::read_to_string(&path) {
        Ok(text) => Uuid::parse_str(text.trim()).map_err(|e| {
            EngineError::new(
                ErrorKind::Store,
                format!(
                    "{} does not hold a uuid ({e}); restore it from a backup",
                    path.display()
                ),
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = Uuid::new_v4();
            sys::atomic::write(&path, format!("{id}\n").as_bytes(), 0o644)
                .map_err(|e| EngineError::system("cannot keep the host's id", e))?;
            Ok(id)
        }
        Err(error) => Err(EngineError::system(
            &format!("cannot read {}", path.display()),
            error,
        )),
    }
}

/// Who QEMU runs as: the first of the configured users that exists, in system
/// mode and as root; else the daemon's own user.
pub(crate) fn qemu_identity(config: &Config) -> Option<sys::spawn::Identity> {
    if config.mode == Mode::Session || sys::user::current_uid() != 0 {
        return None;
    }
    let found = config
        .qemu_users
        .iter()
        .find_map(|name| sys::user::find_user(name).ok().flatten());
    match found {
        Some(user) => {
            let kvm = sys::user::find_group("kvm").ok().flatten();
            Some(sys::spawn::Identity {
                uid: user.uid,
                gid: user.gid,
                groups: kvm.into_iter().collect(),
            })
        }
        None => {
            tracing::warn!(
                users = ?config.qemu_users,
                "none of the users QEMU may run as exists: it runs as root, confined to its files"
            );
            None
        }
    }
}

/// What makes cgroups for machines; none where the host has none or the
/// daemon may not.
pub(crate) fn cgroups(config: &Config) -> Option<sys::cgroup::Manager> {
    let found = sys::cgroup::detect(config.machines_cgroup.as_deref());
    for note in &found.notes {
        tracing::info!(note, "machines are not confined by every controller");
    }
    found.manager
}
