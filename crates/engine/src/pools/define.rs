//! Which pool a definition is about, and which pools there are.

use super::owner::{Owner, Request, Surroundings};
use super::record::PoolRecords;
use super::{Entry, Overwrite, Pool, PoolView, no_pool};
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::POOLS_START_WAIT_MS;
use model::storage::{PoolDefinition, PoolKind, PoolSizes, capabilities_xml};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// The kinds of pools that can be used.
const USABLE: [PoolKind; 2] = [PoolKind::Dir, PoolKind::Fs];

fn check_kind(kind: PoolKind) -> Result<()> {
    match USABLE.contains(&kind) {
        true => Ok(()),
        false => Err(EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!("storage pools of type '{kind}' are not supported yet; use 'dir' or 'fs'"),
        )),
    }
}

/// What makes two pools use the same storage.
pub(super) fn is_same_storage(a: &PoolDefinition, b: &PoolDefinition) -> bool {
    let device = |pool: &PoolDefinition| match pool.kind {
        PoolKind::Fs => pool.source.devices.first().map(|d| d.path.clone()),
        _ => None,
    };
    a.path == b.path || (device(a).is_some() && device(a) == device(b))
}

impl Engine {
    fn pool_surroundings(&self) -> Surroundings {
        Surroundings {
            records: self.pool_records(),
            notices: self.notices_hub().clone(),
            secrets: self.secrets_table().clone(),
            pools: Arc::downgrade(self.pools_table()),
        }
    }

    fn pool_records(&self) -> PoolRecords {
        PoolRecords::new(self.records().clone(), self.places(), self.boot_id())
    }

    /// Learns which pools there are; those that were in use or start by themselves are started. One
    /// that takes long goes on starting when the daemon already serves.
    pub(crate) async fn load_pools(&self) -> Result<()> {
        let records = self.pool_records();
        let mut in_use: BTreeMap<_, _> = records.in_use().into_iter().collect();
        let mut starting = tokio::task::JoinSet::new();
        let stored = records.load()?;
        let is_new = self.is_new_to("storage");
        let makes_first = is_new && stored.is_empty() && in_use.is_empty();
        for stored in stored {
            let resumed = in_use.remove(&stored.uuid);
            let mut view = fresh_view(stored.uuid, stored.definition);
            view.persistent = true;
            view.autostart = stored.autostart;
            let wanted = resumed.is_some() || view.autostart;
            if let Some(running) = resumed.filter(|running| *running != *view.definition) {
                view.next = Some(std::mem::replace(&mut view.definition, Arc::new(running)));
            }
            let pool = self.add_pool(&mut self.pools_table().lock(), view, true);
            if wanted {
                starting.spawn(resume(pool));
            }
        }
        for (uuid, definition) in in_use {
            let view = fresh_view(uuid, Arc::new(definition));
            let pool = self.add_pool(&mut self.pools_table().lock(), view, true);
            starting.spawn(resume(pool));
        }
        let limit = Duration::from_millis(POOLS_START_WAIT_MS);
        let all = async { while starting.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("a storage pool takes long to start; the daemon serves without it");
            starting.detach_all();
        }
        if makes_first {
            self.make_default_pool().await;
        }
        Ok(())
    }

    fn add_pool(
        &self,
        table: &mut BTreeMap<Uuid, Arc<Entry>>,
        view: PoolView,
        listed: bool,
    ) -> Pool {
        let (mailbox, inbox) = mpsc::unbounded_channel();
        let entry = Arc::new(Entry {
            uuid: view.uuid,
            view: Mutex::new(Arc::new(view)),
            volumes: RwLock::default(),
            names: Mutex::default(),
            mailbox,
            listed: AtomicBool::new(listed),
        });
        table.insert(entry.uuid, entry.clone());
        let owner = Owner::new(entry.clone(), self.pool_surroundings());
        tokio::spawn(owner.run(inbox));
        Pool { entry }
    }

    /// Every pool, in the order of their names.
    pub fn pools(&self) -> Vec<Pool> {
        let entries: Vec<_> = self.pools_table().lock().values().cloned().collect();
        let mut pools: Vec<Pool> = entries
            .into_iter()
            .map(|entry| Pool { entry })
            .filter(Pool::is_listed)
            .collect();
        pools.sort_by_key(|pool| pool.view().name.clone());
        pools
    }

    fn pool_where(&self, found: impl Fn(&PoolView) -> bool) -> Option<Pool> {
        self.pools().into_iter().find(|pool| found(&pool.view()))
    }

    /// The pool with this uuid.
    ///
    /// # Errors
    /// If there is none.
    pub fn pool_by_uuid(&self, uuid: Uuid) -> Result<Pool> {
        let entry = self.pools_table().lock().get(&uuid).cloned();
        entry
            .map(|entry| Pool { entry })
            .filter(Pool::is_listed)
            .ok_or_else(|| no_pool(&format!("uuid '{uuid}'")))
    }

    /// The pool with this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn pool_by_name(&self, name: &str) -> Result<Pool> {
        let entries = self.pools_table().lock();
        let found = entries.values().find(|entry| *entry.view().name == *name);
        let pool = found.cloned().map(|entry| Pool { entry });
        pool.filter(Pool::is_listed)
            .ok_or_else(|| no_pool(&format!("name '{name}'")))
    }

    /// The active pool that is this directory.
    ///
    /// # Errors
    /// If there is none.
    pub fn pool_by_path(&self, path: &str) -> Result<Pool> {
        self.pool_where(|pool| pool.active && pool.path() == path)
            .ok_or_else(|| no_pool(&format!("target path '{path}'")))
    }

    /// Stores a pool's definition.
    ///
    /// # Errors
    /// If it is not valid, or its name, uuid or storage is another pool's.
    pub async fn define_pool(&self, xml: &str) -> Result<Pool> {
        let definition = PoolDefinition::parse(xml).map_err(xml_error)?;
        check_kind(definition.kind)?;
        self.give_way(&definition).await?;
        self.store_pool(definition).await
    }

    pub(super) async fn store_pool(&self, definition: PoolDefinition) -> Result<Pool> {
        let pool = self.claim_pool(&definition)?;
        let definition = Box::new(definition);
        let stored = pool
            .ask(|reply| Request::Define { definition, reply })
            .await;
        self.settle(pool, stored)
    }

    /// Starts a pool whose definition is not stored.
    ///
    /// # Errors
    /// If it is not valid, active already, or cannot be started.
    pub async fn create_pool(&self, xml: &str, build: Option<Overwrite>) -> Result<Pool> {
        let definition = PoolDefinition::parse(xml).map_err(xml_error)?;
        check_kind(definition.kind)?;
        self.give_way(&definition).await?;
        let pool = self.claim_pool(&definition)?;
        let view = pool.view();
        if view.active {
            return Err(EngineError::invalid(format!(
                "pool is already active as '{}'",
                view.name
            )));
        }
        let started = pool.start(build).await;
        self.settle(pool, started)
    }

    /// Shows a pool that came to be; one that did not is forgotten.
    fn settle(&self, pool: Pool, done: Result<()>) -> Result<Pool> {
        match done {
            Ok(()) => pool.entry.listed.store(true, Ordering::Relaxed),
            Err(error) => {
                if !pool.is_listed() {
                    self.pools_table().lock().remove(&pool.entry.uuid);
                }
                return Err(error);
            }
        }
        Ok(pool)
    }

    /// The pool a definition is about: the one there is, or a new one nobody sees yet. Names,
    /// uuids and storage belong to one pool only.
    fn claim_pool(&self, definition: &PoolDefinition) -> Result<Pool> {
        let mut table = self.pools_table().lock();
        let views: Vec<_> = table
            .values()
            .map(|entry| (entry.clone(), entry.view()))
            .collect();
        let by_uuid = views.iter().find(|(_, v)| Some(v.uuid) == definition.uuid);
        let by_name = views.iter().find(|(_, v)| *v.name == *definition.name);
        let taken = |what: String| Err(EngineError::failed(what));
        if let Some((entry, view)) = by_uuid {
            if *view.name != *definition.name {
                return taken(format!(
                    "pool '{}' is already defined with uuid {}",
                    view.name, view.uuid
                ));
            }
            check_storage(&views, definition, view.uuid)?;
            return Ok(Pool {
                entry: entry.clone(),
            });
        }
        if let Some((_, view)) = by_name {
            return taken(format!(
                "pool '{}' already exists with uuid {}",
                view.name, view.uuid
            ));
        }
        let uuid = definition.uuid.unwrap_or_else(Uuid::new_v4);
        check_storage(&views, definition, uuid)?;
        let view = fresh_view(uuid, Arc::new(definition.clone()));
        Ok(self.add_pool(&mut table, view, false))
    }

    /// libvirt's XML of the kinds of pools.
    pub fn pool_capabilities(&self) -> String {
        capabilities_xml(&USABLE)
    }

    /// The sources this host offers for a kind of pool, as libvirt's XML.
    ///
    /// # Errors
    /// For kinds whose sources cannot be looked for.
    pub fn find_pool_sources(&self, kind: &str) -> Result<String> {
        let known = PoolKind::ALL.iter().find(|known| known.as_str() == kind);
        let Some(kind) = known else {
            let what = format!("unknown storage pool type {kind}");
            return Err(EngineError::new(ErrorKind::Internal, what));
        };
        check_kind(*kind)?;
        Err(EngineError::new(
            ErrorKind::Unsupported,
            format!("pool type '{kind}' does not support source discovery"),
        ))
    }
}

async fn resume(pool: Pool) {
    if let Err(error) = pool.ask(|reply| Request::Resume { reply }).await {
        let name = pool.view().name.clone();
        tracing::error!(pool = %name, %error, "the storage pool could not be started");
    }
}

fn fresh_view(uuid: Uuid, definition: Arc<PoolDefinition>) -> PoolView {
    PoolView {
        uuid,
        name: definition.name.as_str().into(),
        definition,
        next: None,
        active: false,
        persistent: false,
        autostart: false,
        sizes: PoolSizes::default(),
        permissions: None,
    }
}

type Views = [(Arc<Entry>, Arc<PoolView>)];

fn check_storage(views: &Views, definition: &PoolDefinition, uuid: Uuid) -> Result<()> {
    let other = views
        .iter()
        .find(|(_, view)| view.uuid != uuid && is_same_storage(&view.definition, definition));
    other.map_or(Ok(()), |(_, view)| {
        Err(EngineError::failed(format!(
            "Storage source conflict with pool: '{}'",
            view.name
        )))
    })
}
