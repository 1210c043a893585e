//! The pool of a new host: the directory where Stead makes the disks of machines.

use crate::engine::Engine;
use crate::error::Result;
use model::storage::PoolDefinition;

/// virt-install and virt-manager look for a pool of this name.
const NAME: &str = "default";

impl Engine {
    /// Gives a host that never had a pool its first, in use.
    pub(super) async fn make_default_pool(&self) {
        if let Err(error) = self.try_default_pool().await {
            tracing::warn!(%error, "the default storage pool could not be made");
        }
    }

    async fn try_default_pool(&self) -> Result<()> {
        let path = self.places().images.to_string_lossy();
        let definition = PoolDefinition::directory(NAME, &path);
        let pool = self.store_pool(definition).await?;
        pool.set_autostart(true).await?;
        pool.start(None).await
    }
}
