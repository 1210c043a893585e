//! Disks of machines that name a pool and a volume in it (`<disk type='volume'>`).

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::disk::Disk;
use model::domain::storage::StorageType;
use model::storage::VolumeKind;

impl Engine {
    /// Gives disks that name volumes the files these are.
    ///
    /// # Errors
    /// If a pool is not there or not active, or has no such volume.
    pub(crate) fn place_volumes(&self, domain: &mut Domain) -> Result<()> {
        volume_disks(domain).try_for_each(|disk| self.place_volume(disk))
    }

    /// The same for those that can be found; the others stay as they are.
    pub(crate) fn place_known_volumes(&self, domain: &mut Domain) {
        for disk in volume_disks(domain) {
            if let Err(error) = self.place_volume(disk) {
                tracing::debug!(%error, "a disk's volume is not to be had now");
            }
        }
    }

    fn place_volume(&self, disk: &mut Disk) -> Result<()> {
        let source = disk.source.as_deref();
        let named = source.and_then(|s| Some((s.pool.as_deref()?, s.volume.as_deref()?)));
        let Some((pool, name)) = named else {
            let what = format!("disk '{}' names no pool and volume", disk.target_dev());
            return Err(EngineError::new(ErrorKind::ConfigUnsupported, what));
        };
        let found = self.pool_by_name(pool)?;
        if !found.view().active {
            return Err(EngineError::new(
                ErrorKind::ConfigUnsupported,
                format!("storage pool '{pool}' containing volume '{name}' is not active"),
            ));
        }
        let volume = found.volume(name)?;
        let kind = match volume.definition.kind {
            VolumeKind::File => StorageType::File,
            VolumeKind::Block => StorageType::Block,
            VolumeKind::Dir => StorageType::Dir,
            other => {
                return Err(EngineError::new(
                    ErrorKind::ConfigUnsupported,
                    format!("volume '{name}' of pool '{pool}' is of type '{other}', not a disk"),
                ));
            }
        };
        disk.place_volume(kind, volume.path());
        Ok(())
    }
}

fn volume_disks(domain: &mut Domain) -> impl Iterator<Item = &mut Disk> {
    let disks = domain.devices.disks.iter_mut();
    disks.filter(|disk| disk.kind == StorageType::Volume)
}
