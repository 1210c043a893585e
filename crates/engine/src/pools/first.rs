//! The pool of a new host: the directory where Stead makes the disks of machines.

use super::define::is_same_storage;
use super::{Pool, PoolView};
use crate::engine::Engine;
use crate::error::Result;
use model::storage::PoolDefinition;
use uuid::Uuid;

/// virt-install and virt-manager look for a pool of this name.
const NAME: &str = "default";
/// Where the store has the uuid of the pool that the host was given.
const RECORD: (&str, &str) = ("given", "pool");

impl Engine {
    /// Gives a host that never had a pool its first, in use.
    pub(super) async fn make_default_pool(&self) {
        if let Err(error) = self.try_default_pool().await {
            tracing::warn!(%error, "the default storage pool could not be made");
        }
    }

    async fn try_default_pool(&self) -> Result<()> {
        let uuid = Uuid::new_v4();
        let (kind, name) = RECORD;
        self.records()
            .put_item(kind, name, uuid.to_string().into_bytes())
            .await?;
        let pool = self.store_pool(self.default_pool(uuid)).await?;
        pool.set_autostart(true).await?;
        pool.start(None).await
    }

    fn default_pool(&self, uuid: Uuid) -> PoolDefinition {
        let path = self.places().images.to_string_lossy();
        PoolDefinition {
            uuid: Some(uuid),
            ..PoolDefinition::directory(NAME, &path)
        }
    }

    /// Lets a pool somebody wants take the place of the one the host was given, while that is as it
    /// was given. libvirt gives none, and scripts written for it make a `default` of their own.
    pub(super) async fn give_way(&self, wanted: &PoolDefinition) -> Result<()> {
        let Some(given) = self.given_pool()? else {
            return Ok(());
        };
        let is_in_the_way = |view: &PoolView| {
            wanted.uuid != Some(view.uuid)
                && (*view.name == *wanted.name || is_same_storage(&view.definition, wanted))
        };
        let pools = self.pools();
        let mut in_the_way = pools.iter().map(Pool::view).filter(|v| is_in_the_way(v));
        let only = in_the_way.next().filter(|_| in_the_way.next().is_none());
        match only {
            Some(view) if view.uuid == given.view().uuid => {
                if view.active {
                    given.stop().await?;
                }
                given.undefine().await
            }
            _ => Ok(()),
        }
    }

    /// The pool the host was given, if it is still what it was.
    fn given_pool(&self) -> Result<Option<Pool>> {
        let (kind, name) = RECORD;
        let record = self.records().get_item(kind, name)?;
        let uuid = record.and_then(|text| Uuid::try_parse_ascii(&text).ok());
        Ok(uuid.and_then(|uuid| {
            let pool = self.pool_by_uuid(uuid).ok()?;
            let view = pool.view();
            let is_as_given = *view.definition == self.default_pool(uuid) && view.next.is_none();
            is_as_given.then_some(pool)
        }))
    }
}
