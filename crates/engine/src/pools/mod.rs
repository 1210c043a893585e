//! Storage pools: one owner task each, snapshots for readers.
//!
//! - [`Pool`]: the handle that faces call; [`PoolView`]: what readers see.
//! - `owner`: the task that changes a pool, one request at a time. Whatever touches the pool's
//!   directory runs on a thread of its own ([`crate::aside`]), with a bound on silence: a directory
//!   that hangs delays only those who ask for something of this pool.
//! - `define`: which pool a definition is about. `record`: what is kept of a pool.
//! - `host`: directories and mounts. `scan`: which volumes are there.
//! - `names`: what lists of volumes need. `claim`: who works on which volume.

pub(crate) mod claim;
mod define;
mod first;
mod host;
mod names;
mod owner;
mod record;
pub(crate) mod scan;

use crate::error::{EngineError, ErrorKind, Result};
use crate::volumes::Volume;
use host::Overwrite;
use model::storage::{Permissions, PoolDefinition, PoolSizes};
use owner::Request;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub use host::Overwrite as BuildOverwrite;
pub use names::VolumeNames;

/// A pool as it was at its last change.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// Its uuid.
    pub uuid: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// What it is, if it runs: as it was started.
    pub definition: Arc<PoolDefinition>,
    /// What it will be from its next start on, where that differs.
    pub next: Option<Arc<PoolDefinition>>,
    /// Whether it is in use.
    pub active: bool,
    /// Whether its definition is stored.
    pub persistent: bool,
    /// Whether it is started with the daemon.
    pub autostart: bool,
    /// Its sizes; nothing of an inactive pool.
    pub sizes: PoolSizes,
    /// Whose its directory is, if it is in use.
    pub permissions: Option<Permissions>,
}

impl PoolView {
    /// The pool as libvirt's XML; `inactive` shows it as it will be from its next start on.
    pub fn xml(&self, inactive: bool) -> String {
        let next = self.next.as_ref().filter(|_| inactive);
        let mut shown = (**next.unwrap_or(&self.definition)).clone();
        if let (Some(permissions), None) = (&self.permissions, next) {
            shown.permissions = permissions.clone();
        }
        shown.uuid = Some(self.uuid);
        shown.to_xml(self.sizes)
    }

    /// Its directory.
    pub fn path(&self) -> &str {
        self.definition.path.as_deref().unwrap_or_default()
    }

    pub(crate) fn need_active(&self) -> Result<()> {
        match self.active {
            true => Ok(()),
            false => Err(EngineError::invalid(format!(
                "storage pool '{}' is not active",
                self.name
            ))),
        }
    }
}

type Volumes = BTreeMap<String, Arc<Volume>>;

/// What everybody shares of a pool.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) uuid: Uuid,
    view: Mutex<Arc<PoolView>>,
    /// Changed by the owner alone.
    volumes: RwLock<Volumes>,
    /// Their names and paths, while nothing has changed since somebody asked.
    names: Mutex<Option<Arc<VolumeNames>>>,
    mailbox: mpsc::UnboundedSender<Request>,
    /// Whether readers are shown the pool.
    listed: AtomicBool,
}

impl Entry {
    fn view(&self) -> Arc<PoolView> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.clone()
    }

    fn publish(&self, view: PoolView) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    fn volumes(&self) -> RwLockReadGuard<'_, Volumes> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_volumes<T>(&self, change: impl FnOnce(&mut Volumes) -> T) -> T {
        let mut volumes = self.volumes.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut volumes);
        // Before the volumes can be read again, so that nobody keeps the names of before.
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = None;
        changed
    }

    fn volume_names(&self) -> Arc<VolumeNames> {
        let volumes = self.volumes();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names
            .get_or_insert_with(|| Arc::new(VolumeNames::of(volumes.values())))
            .clone()
    }
}

/// All pools.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_uuid: Mutex<BTreeMap<Uuid, Arc<Entry>>>,
}

impl Pools {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Entry>>> {
        self.by_uuid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle to a pool.
#[derive(Debug, Clone)]
pub struct Pool {
    pub(crate) entry: Arc<Entry>,
}

impl Pool {
    /// The pool as it is now.
    pub fn view(&self) -> Arc<PoolView> {
        self.entry.view()
    }

    fn is_listed(&self) -> bool {
        self.entry.listed.load(Ordering::Relaxed)
    }

    /// Every volume, in the order of their names.
    ///
    /// # Errors
    /// If the pool is not active.
    pub fn volumes(&self) -> Result<Vec<Arc<Volume>>> {
        self.view().need_active()?;
        Ok(self.entry.volumes().values().cloned().collect())
    }

    /// The name and path of every volume, in the order of their names.
    ///
    /// # Errors
    /// If the pool is not active.
    pub fn volume_names(&self) -> Result<Arc<VolumeNames>> {
        self.view().need_active()?;
        Ok(self.entry.volume_names())
    }

    /// How many volumes there are.
    ///
    /// # Errors
    /// If the pool is not active.
    pub fn volume_count(&self) -> Result<usize> {
        self.view().need_active()?;
        Ok(self.entry.volumes().len())
    }

    /// The volume of this name.
    ///
    /// # Errors
    /// If the pool is not active, or there is none.
    pub fn volume(&self, name: &str) -> Result<Arc<Volume>> {
        self.view().need_active()?;
        let found = self.entry.volumes().get(name).cloned();
        found.ok_or_else(|| {
            let what = format!("no storage vol with matching name '{name}'");
            EngineError::new(ErrorKind::NoVolume, what)
        })
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let gone = || no_pool(&format!("uuid '{}'", self.entry.uuid));
        self.entry
            .mailbox
            .send(request(reply))
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Takes it into use, built before if `build` says so.
    ///
    /// # Errors
    /// If it is active, or its directory cannot be read.
    pub async fn start(&self, build: Option<Overwrite>) -> Result<()> {
        self.ask(|reply| Request::Start { build, reply }).await
    }

    /// Takes it out of use; one that is not stored is gone then.
    ///
    /// # Errors
    /// If it is not active, or somebody works on one of its volumes.
    pub async fn stop(&self) -> Result<()> {
        self.ask(|reply| Request::Stop { reply }).await
    }

    /// Reads anew what is in it.
    ///
    /// # Errors
    /// If it is not active, somebody works on one of its volumes, or it does not answer.
    pub async fn refresh(&self) -> Result<()> {
        self.ask(|reply| Request::Refresh { reply }).await
    }

    /// Makes its directory, and with `overwrite` given its file system.
    ///
    /// # Errors
    /// If it is active, or what is to be made cannot be.
    pub async fn build(&self, overwrite: Overwrite) -> Result<()> {
        self.ask(|reply| Request::Build { overwrite, reply }).await
    }

    /// Removes its directory, which must be empty.
    ///
    /// # Errors
    /// If it is active, or the directory cannot be removed.
    pub async fn delete(&self) -> Result<()> {
        self.ask(|reply| Request::Delete { reply }).await
    }

    /// Removes its definition; its files stay.
    ///
    /// # Errors
    /// If it is active or not stored.
    pub async fn undefine(&self) -> Result<()> {
        self.ask(|reply| Request::Undefine { reply }).await
    }

    /// Whether it is started with the daemon.
    ///
    /// # Errors
    /// If it is not stored.
    pub async fn set_autostart(&self, autostart: bool) -> Result<()> {
        self.ask(|reply| Request::Autostart { autostart, reply })
            .await
    }
}

pub(crate) fn no_pool(what: &str) -> EngineError {
    let text = format!("no storage pool with matching {what}");
    EngineError::new(ErrorKind::NoPool, text)
}
