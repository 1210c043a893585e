//! Storage pools that are directories of this host. What is in them is read
//! from the directory whenever it is asked for, so there is nothing to go stale.

use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use model::storage::{Permissions, PoolDefinition, PoolSizes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// A pool as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its uuid.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The directory.
    pub path: PathBuf,
    /// Whether it is in use.
    pub active: bool,
    /// Whether its definition is stored.
    pub persistent: bool,
    /// Whether it is started with the daemon.
    pub autostart: bool,
}

/// What is stored of a pool.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    uuid: Uuid,
    name: String,
    path: PathBuf,
    #[serde(default)]
    autostart: bool,
}

/// All pools.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_uuid: Mutex<BTreeMap<Uuid, Pool>>,
}

impl Pools {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Pool>> {
        self.by_uuid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// The pool as libvirt's XML.
    pub fn xml(&self) -> String {
        let definition = PoolDefinition {
            name: self.name.clone(),
            uuid: Some(self.uuid),
            path: self.path.to_string_lossy().into_owned(),
        };
        definition.to_xml(self.sizes(), permissions(&self.path))
    }

    /// The space of its file system; nothing of an inactive pool.
    pub fn sizes(&self) -> PoolSizes {
        if !self.active {
            return PoolSizes::default();
        }
        let usage = sys::usage::usage(&self.path).unwrap_or_default();
        PoolSizes {
            capacity: usage.total,
            allocation: usage.used,
            available: usage.available,
        }
    }

    fn record(&self) -> Record {
        Record {
            uuid: self.uuid,
            name: self.name.clone(),
            path: self.path.clone(),
            autostart: self.autostart,
        }
    }

    /// What only an active pool can do.
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

pub(crate) fn permissions(path: &Path) -> Option<Permissions> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Permissions {
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

fn no_pool(what: &str) -> EngineError {
    EngineError::new(
        ErrorKind::NoPool,
        format!("no storage pool with matching {what}"),
    )
}

impl Engine {
    /// Reads which pools there are, and starts those that are to be started.
    pub(crate) fn load_pools(&self) -> Result<()> {
        self.records()
            .for_each_pool(|record| match serde_json::from_slice::<Record>(record) {
                Err(error) => tracing::error!(%error, "a storage pool's record cannot be read"),
                Ok(record) => {
                    let pool = Pool {
                        active: record.autostart && record.path.is_dir(),
                        persistent: true,
                        uuid: record.uuid,
                        name: record.name,
                        path: record.path,
                        autostart: record.autostart,
                    };
                    self.pools_table().lock().insert(pool.uuid, pool);
                }
            })
    }

    /// Every pool, in the order of their names.
    pub fn pools(&self) -> Vec<Pool> {
        let mut pools: Vec<Pool> = self.pools_table().lock().values().cloned().collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        pools
    }

    fn pool_where(&self, found: impl Fn(&Pool) -> bool) -> Option<Pool> {
        self.pools_table()
            .lock()
            .values()
            .find(|p| found(p))
            .cloned()
    }

    /// The pool with this uuid.
    pub fn pool_by_uuid(&self, uuid: Uuid) -> Result<Pool> {
        self.pool_where(|pool| pool.uuid == uuid)
            .ok_or_else(|| no_pool(&format!("uuid '{uuid}'")))
    }

    /// The pool with this name.
    pub fn pool_by_name(&self, name: &str) -> Result<Pool> {
        self.pool_where(|pool| pool.name == name)
            .ok_or_else(|| no_pool(&format!("name '{name}'")))
    }

    /// The active pool that is this directory.
    pub fn pool_by_path(&self, path: &Path) -> Result<Pool> {
        self.pool_where(|pool| pool.active && pool.path == path)
            .ok_or_else(|| no_pool(&format!("target path '{}'", path.display())))
    }

    /// Stores a pool's definition.
    pub async fn define_pool(&self, xml: &str) -> Result<Pool> {
        let mut pool = self.claim_pool(xml)?;
        pool.persistent = true;
        self.keep_pool(pool).await
    }

    /// Starts a pool whose definition is not stored.
    pub async fn create_pool(&self, xml: &str, build: bool) -> Result<Pool> {
        let pool = self.claim_pool(xml)?;
        if pool.active {
            return Err(EngineError::failed(format!(
                "pool '{}' already exists with uuid {}",
                pool.name, pool.uuid
            )));
        }
        if build {
            make_directory(&pool.path)?;
        }
        self.start_pool(pool).await
    }

    /// The pool of the definition: the one there is, or a new one. Names, uuids
    /// and directories belong to one pool only.
    fn claim_pool(&self, xml: &str) -> Result<Pool> {
        let definition = PoolDefinition::parse(xml).map_err(xml_error)?;
        let path = PathBuf::from(&definition.path);
        let present = self
            .pool_where(|pool| pool.name == definition.name || Some(pool.uuid) == definition.uuid);
        if let Some(pool) = &present {
            let same_uuid = definition.uuid.is_none_or(|uuid| uuid == pool.uuid);
            if pool.name != definition.name || !same_uuid {
                return Err(EngineError::failed(format!(
                    "pool '{}' already exists with uuid {}",
                    pool.name, pool.uuid
                )));
            }
        }
        let other = self.pool_where(|pool| pool.path == path && pool.name != definition.name);
        if let Some(other) = other {
            return Err(EngineError::failed(format!(
                "Storage source conflict with pool: '{}'",
                other.name
            )));
        }
        Ok(Pool {
            path,
            ..present.unwrap_or(Pool {
                uuid: definition.uuid.unwrap_or_else(Uuid::new_v4),
                name: definition.name,
                path: PathBuf::new(),
                active: false,
                persistent: false,
                autostart: false,
            })
        })
    }

    /// Stores what is to be stored, then shows it.
    async fn keep_pool(&self, pool: Pool) -> Result<Pool> {
        if pool.persistent {
            let record = serde_json::to_vec(&pool.record())
                .map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))?;
            self.records().put_pool(pool.uuid, record).await?;
        }
        self.pools_table().lock().insert(pool.uuid, pool.clone());
        Ok(pool)
    }

    /// Takes a pool into use.
    pub async fn start_pool(&self, pool: Pool) -> Result<Pool> {
        if self.pool_by_uuid(pool.uuid).is_ok_and(|pool| pool.active) {
            return Err(EngineError::invalid(format!(
                "storage pool '{}' is already active",
                pool.name
            )));
        }
        if !pool.path.is_dir() {
            return Err(EngineError::failed(format!(
                "cannot open directory '{}': there is none; build the pool to make it",
                pool.path.display()
            )));
        }
        self.keep_pool(Pool {
            active: true,
            ..pool
        })
        .await
    }

    /// Takes a pool out of use; one that is not stored is gone then.
    pub fn stop_pool(&self, pool: &Pool) -> Result<()> {
        pool.need_active()?;
        let mut pools = self.pools_table().lock();
        match pool.persistent {
            false => drop(pools.remove(&pool.uuid)),
            true => {
                if let Some(pool) = pools.get_mut(&pool.uuid) {
                    pool.active = false;
                }
            }
        }
        Ok(())
    }

    /// Removes an inactive pool's definition; its files stay.
    pub async fn undefine_pool(&self, pool: &Pool) -> Result<()> {
        if pool.active {
            return Err(EngineError::invalid(format!(
                "storage pool '{}' is still active",
                pool.name
            )));
        }
        self.records().delete_pool(pool.uuid).await?;
        self.pools_table().lock().remove(&pool.uuid);
        Ok(())
    }

    /// Whether a pool is started with the daemon.
    pub async fn set_pool_autostart(&self, pool: Pool, autostart: bool) -> Result<()> {
        if !pool.persistent {
            return Err(EngineError::invalid("pool has no config file"));
        }
        self.keep_pool(Pool { autostart, ..pool }).await.map(drop)
    }

    /// Makes an inactive pool's directory.
    pub fn build_pool(&self, pool: &Pool) -> Result<()> {
        make_directory(&pool.path)
    }

    /// Removes an inactive pool's directory, which must be empty.
    pub fn delete_pool_directory(&self, pool: &Pool) -> Result<()> {
        if pool.active {
            return Err(EngineError::invalid(format!(
                "storage pool '{}' is still active",
                pool.name
            )));
        }
        std::fs::remove_dir(&pool.path).map_err(|e| {
            EngineError::system(
                &format!("failed to remove pool '{}'", pool.path.display()),
                e,
            )
        })
    }
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .map_err(|e| EngineError::system(&format!("cannot create path '{}'", path.display()), e))
}
