//! The keys of a domain's images: which secret opens an image that its header calls encrypted.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::pools::scan::image_of;
use crate::secrets::SecretValue;
use crate::snapshots::graph::read_snapshots;
use model::domain::Domain;
use model::domain::disk::{Disk, SnapshotMode};
use model::domain::storage::{Encryption, ImageFormat};
use model::secret::SecretUse;
use model::snapshot::{Snapshot, SnapshotDisk};
use std::path::Path;
use storage::keys::{KeyRef, Keys, WHOLE_LUKS, tool_format};

/// Whether an image of this format, by the header above it or by its definition, is encrypted.
pub(crate) fn is_encrypted(image: &Path, format: &str) -> bool {
    match format {
        WHOLE_LUKS => true,
        "qcow2" => image_of(image).is_some_and(|image| image.encryption == Some("luks")),
        _ => false,
    }
}

impl Engine {
    /// The keys that a definition and the domain's snapshots name. What cannot be read names none.
    pub(crate) fn image_keys(&self, domain: &Domain) -> Keys {
        let mut keys = Keys::default();
        let entry = domain.uuid.and_then(|uuid| self.table().by_uuid(uuid));
        if let Some(entry) = entry {
            let tree = entry.view().snapshots.clone();
            let snapshots = read_snapshots(self, entry.uuid, &tree).unwrap_or_default();
            snapshots.values().for_each(|s| keys.note_snapshot(s));
        }
        keys.note_domain(domain);
        keys
    }

    /// What an encrypted image is opened with: by its path, by the volume that a secret is for, or
    /// as the image `above` it, whose encryption new images take over.
    pub(crate) fn key_of(
        &self,
        keys: &Keys,
        image: &str,
        above: Option<&KeyRef>,
    ) -> Result<KeyRef> {
        let by_volume = || {
            let found = self.secret_by_usage(SecretUse::Volume, image);
            found.is_ok().then(|| KeyRef::of_volume(image))
        };
        let found = keys.get(image).cloned().or_else(by_volume);
        found.or_else(|| above.cloned()).ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoSecret,
                format!(
                    "the image '{image}' is encrypted and nothing says with which secret: define \
                     one with <usage type='volume'><volume>{image}</volume></usage> and set its \
                     value"
                ),
            )
        })
    }

    /// The passphrase itself.
    pub(crate) fn key_value(&self, key: &KeyRef) -> Result<SecretValue> {
        self.referred_secret(&key.reference(), SecretUse::Volume)
    }
}

/// New images are encrypted as the ones they are put upon, unless the snapshot says how: what a
/// guest goes on to write would otherwise be readable. An image that is there already is what its
/// header says.
pub(crate) fn settle_overlays(snapshot: &mut Snapshot, domain: &Domain, reuse: bool) -> Result<()> {
    let disks = snapshot.disks.iter_mut().flat_map(|list| &mut list.disks);
    for made in disks.filter(|disk| disk.mode == Some(SnapshotMode::External)) {
        let disk = storage::snapshot::find(domain, made.name());
        let inherited = disk.and_then(own_encryption);
        let Some(given) = settled_encryption(made, inherited, reuse)? else {
            continue;
        };
        made.source.get_or_insert_default().encryption = Some(given);
    }
    Ok(())
}

fn settled_encryption(
    made: &SnapshotDisk,
    inherited: Option<Encryption>,
    reuse: bool,
) -> Result<Option<Encryption>> {
    let given = made.source.as_ref().and_then(|s| s.encryption.clone());
    let format = made.format().unwrap_or(ImageFormat::Qcow2);
    let path = Path::new(made.path().unwrap_or_default());
    new_encryption(made.name(), given, inherited, format, reuse.then_some(path))
}

/// How a new image of a disk is encrypted: as `given`, else as the disk's own image; one that is
/// `there` already, as its header says.
pub(crate) fn new_encryption(
    disk: &str,
    given: Option<Encryption>,
    inherited: Option<Encryption>,
    format: ImageFormat,
    there: Option<&Path>,
) -> Result<Option<Encryption>> {
    let refuse = |why: String| Err(EngineError::new(ErrorKind::ConfigUnsupported, why));
    let is_encrypted = there.is_none_or(|path| match format {
        ImageFormat::Raw => is_luks(path),
        format => is_encrypted(path, format.as_str()),
    });
    if given.is_none() && !is_encrypted {
        return Ok(None);
    }
    let Some(wanted) = given.or(inherited) else {
        return Ok(None);
    };
    if !matches!(format, ImageFormat::Raw | ImageFormat::Qcow2) {
        return refuse(format!(
            "the new image of disk '{disk}' cannot be encrypted in format '{format}': use qcow2"
        ));
    }
    if KeyRef::of(&wanted).is_none() {
        return refuse(format!(
            "the new image of disk '{disk}' needs a secret: \
             <encryption format='luks'><secret type='passphrase' uuid='…'/></encryption>"
        ));
    }
    Ok(Some(wanted))
}

fn is_luks(path: &Path) -> bool {
    image_of(path).is_some_and(|image| image.encryption == Some("luks"))
}

/// What the header of an image upon a disk's own one calls the format of that one.
pub(crate) fn own_format(disk: &Disk) -> String {
    let own = disk.links().into_iter().next();
    own.as_ref().map(tool_format).unwrap_or_default()
}

/// How a disk's own image is encrypted.
pub(crate) fn own_encryption(disk: &Disk) -> Option<Encryption> {
    let own = disk.links().into_iter().next()?;
    own.source.encryption
}
