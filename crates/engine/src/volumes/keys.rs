//! What encrypted volumes are opened with.

use super::Volume;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::secrets::SecretValue;
use model::domain::storage::SecretRef;
use model::secret::SecretUse;
use model::storage::VolumeDefinition;

impl Engine {
    /// The key of a volume that is there; none if it is not encrypted.
    pub(super) fn volume_key(&self, volume: &Volume) -> Result<Option<SecretValue>> {
        let Some(encryption) = &volume.definition.target.encryption else {
            return Ok(None);
        };
        let by_path = SecretRef {
            usage: Some(volume.path().to_owned()),
            ..SecretRef::default()
        };
        let reference = encryption.secrets.first().unwrap_or(&by_path);
        let found = self.referred_secret(reference, SecretUse::Volume);
        found.map(Some).map_err(|error| match error.kind {
            ErrorKind::NoSecret => EngineError::new(
                ErrorKind::NoSecret,
                format!(
                    "{}; the volume '{}' is encrypted: define a secret with \
                     <usage type='volume'><volume>{}</volume></usage> and set its value",
                    error.message,
                    volume.name(),
                    volume.path()
                ),
            ),
            _ => error,
        })
    }

    /// The key a new volume is to be encrypted with; none if it is not, or names none.
    pub(super) fn new_volume_key(&self, volume: &VolumeDefinition) -> Result<Option<SecretValue>> {
        let encryption = volume.target.encryption.as_ref();
        let reference = encryption.and_then(|encryption| encryption.secrets.first());
        reference
            .map(|reference| self.referred_secret(reference, SecretUse::Volume))
            .transpose()
    }
}
