//! What encrypted images are opened with, as plans and journals name it: never the passphrase.

use model::domain::Domain;
use model::domain::images::Link;
use model::domain::storage::{Encryption, EncryptionFormat, SecretRef};
use model::snapshot::{Snapshot, SnapshotDomain};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// QEMU's word for a raw image that is encrypted as a whole.
pub const WHOLE_LUKS: &str = "luks";

/// Which secret an image is opened with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    /// The secret's uuid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Or the volume it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}

impl KeyRef {
    /// The secret whose use is the volume at `path`.
    pub fn of_volume(path: &str) -> Self {
        Self {
            uuid: None,
            usage: Some(path.to_owned()),
        }
    }

    /// What a definition says of it; none if it names no secret.
    pub fn of(encryption: &Encryption) -> Option<Self> {
        let reference = encryption.secrets.first()?;
        Some(Self {
            uuid: reference.uuid.map(|uuid| uuid.to_string()),
            usage: reference.usage.clone(),
        })
    }

    /// As a definition refers to it.
    pub fn reference(&self) -> SecretRef {
        SecretRef {
            kind: Some("passphrase".to_owned()),
            uuid: self.uuid.as_ref().and_then(|uuid| uuid.parse().ok()),
            usage: self.usage.clone(),
        }
    }

    /// As a definition says it of an image.
    pub fn encryption(&self) -> Encryption {
        Encryption {
            format: EncryptionFormat::Luks,
            secrets: vec![self.reference()],
            ..Encryption::default()
        }
    }
}

/// The encrypted images among those of a domain, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Keys(BTreeMap<String, KeyRef>);

impl Keys {
    /// Those a definition names.
    pub fn of_domain(domain: &Domain) -> Self {
        let mut keys = Self::default();
        keys.note_domain(domain);
        keys
    }

    /// Adds those a definition names.
    pub fn note_domain(&mut self, domain: &Domain) {
        let disks = domain.devices.disks.iter();
        for link in disks.flat_map(|disk| disk.links()) {
            self.note(link.path(), link.source.encryption.as_ref());
        }
    }

    /// Adds those a snapshot names: in its definitions, and the images it made.
    pub fn note_snapshot(&mut self, snapshot: &Snapshot) {
        let domains = [&snapshot.domain, &snapshot.inactive_domain];
        for domain in domains.into_iter().flatten() {
            if let SnapshotDomain::Whole(domain) = domain {
                self.note_domain(domain);
            }
        }
        for made in snapshot.disks().iter().chain(snapshot.revert_disks()) {
            let source = made.source.as_ref();
            self.note(made.path(), source.and_then(|s| s.encryption.as_ref()));
        }
    }

    /// Adds an image, if it is encrypted.
    pub fn note(&mut self, path: Option<&str>, encryption: Option<&Encryption>) {
        if let (Some(path), Some(key)) = (path, encryption.and_then(KeyRef::of)) {
            self.0.insert(path.to_owned(), key);
        }
    }

    /// Adds an image.
    pub fn insert(&mut self, path: &str, key: KeyRef) {
        self.0.insert(path.to_owned(), key);
    }

    /// What the image is opened with; none if it is not known to be encrypted.
    pub fn get(&self, path: &str) -> Option<&KeyRef> {
        self.0.get(path)
    }

    /// Whether no image is encrypted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What an image's format is called by the header of the image above it, and by qemu-img.
pub fn tool_format(link: &Link) -> String {
    match link.format.as_str() {
        "raw" if link.source.encryption.is_some() => WHOLE_LUKS.to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_images_are_found_wherever_they_are_named() {
        const UUID: &str = "c1f11a6d-8c5d-4a3e-ac7a-4e171c5e0d4a";
        let xml = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><devices>\
             <disk type='file'><driver type='qcow2'/><source file='/top'><encryption format='luks'>\
             <secret type='passphrase' uuid='{UUID}'/></encryption></source>\
             <backingStore type='file'><format type='raw'/><source file='/base'>\
             <encryption format='luks'><secret type='passphrase' usage='/base'/></encryption>\
             </source><backingStore/></backingStore><target dev='vda'/></disk>\
             <disk type='file'><source file='/plain'/><target dev='vdb'/></disk>\
             </devices></domain>"
        );
        let domain = Domain::parse(&xml).expect("a domain");
        let keys = Keys::of_domain(&domain);
        let top = keys.get("/top").expect("it is encrypted");
        assert_eq!(top.uuid.as_deref(), Some(UUID));
        assert_eq!(keys.get("/base"), Some(&KeyRef::of_volume("/base")));
        assert_eq!(keys.get("/plain"), None);
        assert_eq!(KeyRef::of(&top.encryption()).as_ref(), Some(top));
        let formats: Vec<String> = domain.devices.disks[0]
            .links()
            .iter()
            .map(tool_format)
            .collect();
        assert_eq!(formats, ["qcow2", WHOLE_LUKS]);
        let text = serde_json::to_string(&keys).expect("text");
        assert_eq!(serde_json::from_str::<Keys>(&text).expect("keys"), keys);
    }
}
