//! Secrets: what encrypted volumes and the like are opened with.
//!
//! What a secret is for is in the store (`host/HOST/secret/UUID`); its value is a file of its own
//! below `secrets/` that only the daemon's user can read. An ephemeral secret is in memory only.
//! Whoever changes secrets holds one lock; readers see the table.

mod value;

use crate::aside::aside;
use crate::crash::{Step, crash_point};
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::notices::Notice;
use crate::record::encode;
use model::domain::storage::SecretRef;
use model::secret::{SecretDefinition, SecretUse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

pub use value::SecretValue;

/// The kind of the record's key.
const KIND: &str = "secret";
/// The permission bits of a value's file.
const VALUE_MODE: u32 = 0o600;

/// A secret as readers see it, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretView {
    /// Its uuid.
    pub uuid: Uuid,
    /// What it is for.
    pub definition: SecretDefinition,
}

/// What can happen to a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretHappening {
    /// It was defined, or defined anew.
    Defined,
    /// It is gone.
    Undefined,
    /// It has a value, or another one.
    ValueChanged,
}

#[derive(Debug, Clone)]
struct Held {
    view: Arc<SecretView>,
    value: Option<SecretValue>,
}

/// All secrets.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    by_uuid: Mutex<BTreeMap<Uuid, Held>>,
    /// Held by whoever changes one.
    changing: tokio::sync::Mutex<()>,
    /// Volumes that were made with a secret, by their paths.
    named: Mutex<BTreeMap<String, SecretRef>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    xml: String,
}

impl Secrets {
    fn table(&self) -> MutexGuard<'_, BTreeMap<Uuid, Held>> {
        self.by_uuid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, uuid: Uuid) -> Result<Held> {
        let found = self.table().get(&uuid).cloned();
        found.ok_or_else(|| no_secret(format!("no secret with matching uuid '{uuid}'")))
    }

    /// The secret of a volume, for whoever shows the volume.
    pub(crate) fn of_volume(&self, path: &str) -> Option<SecretRef> {
        let passphrase = |uuid, usage| SecretRef {
            kind: Some("passphrase".to_owned()),
            uuid,
            usage,
        };
        match self.by_usage(SecretUse::Volume, path) {
            Some(view) => Some(passphrase(Some(view.uuid), None)),
            None => {
                let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
                let named = named.get(path)?.clone();
                Some(passphrase(named.uuid, named.usage))
            }
        }
    }

    /// Whoever made the volume named this secret for it. As with libvirt, only a secret whose use is
    /// the volume is found again after a restart.
    pub(crate) fn note_volume(&self, path: &str, reference: &SecretRef) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.insert(path.to_owned(), reference.clone());
    }

    fn by_usage(&self, used_by: SecretUse, usage: &str) -> Option<Arc<SecretView>> {
        let table = self.table();
        let mut views = table.values().map(|held| &held.view);
        let found = views.find(|view| {
            let definition = &view.definition;
            used_by != SecretUse::None && definition.used_by == used_by && definition.usage == usage
        });
        found.cloned()
    }

    /// Which secret a definition is about, by the rules of libvirt: a uuid keeps its use.
    fn uuid_of(&self, definition: &SecretDefinition) -> Result<Uuid> {
        let refused = |what: String| Err(EngineError::new(ErrorKind::Internal, what));
        if let Some(uuid) = definition.uuid
            && let Ok(held) = self.get(uuid)
        {
            let old = &held.view.definition;
            if old.usage != definition.usage {
                return refused(format!(
                    "a secret with UUID {uuid} is already defined for use with {}",
                    old.usage
                ));
            }
            if old.private && !definition.private {
                return refused("cannot change private flag on existing secret".to_owned());
            }
            return Ok(uuid);
        }
        match self.by_usage(definition.used_by, &definition.usage) {
            Some(other) => refused(format!(
                "a secret with UUID {} already defined for use with {}",
                other.uuid, definition.usage
            )),
            None => Ok(definition.uuid.unwrap_or_else(Uuid::new_v4)),
        }
    }
}

fn no_secret(what: String) -> EngineError {
    EngineError::new(ErrorKind::NoSecret, what)
}

impl Engine {
    /// Learns which secrets there are, and removes values nothing belongs to any more.
    pub(crate) fn load_secrets(&self) -> Result<()> {
        let mut table = self.secrets_table().table();
        self.records().for_each_object(KIND, |bytes| {
            let read = serde_json::from_slice(bytes).map_err(|e| e.to_string());
            let read = read.and_then(|record: Record| {
                SecretDefinition::parse(&record.xml).map_err(|e| e.to_string())
            });
            match read {
                Ok(SecretDefinition { uuid: None, .. }) => {
                    tracing::error!("a secret's record has no uuid");
                }
                Ok(definition) => {
                    let uuid = definition.uuid.unwrap_or_default();
                    let value = self.read_value(uuid);
                    let view = Arc::new(SecretView { uuid, definition });
                    table.insert(uuid, Held { view, value });
                }
                Err(error) => tracing::error!(%error, "a secret's record cannot be read"),
            }
        })?;
        let files = std::fs::read_dir(self.places().secrets()).into_iter();
        for file in files.flatten().flatten() {
            let name = file.file_name();
            let uuid = name.to_str().and_then(|name| Uuid::parse_str(name).ok());
            if uuid.is_none_or(|uuid| !table.contains_key(&uuid)) {
                // An undefine was broken off, or the writing of a value.
                let _ = std::fs::remove_file(file.path());
            }
        }
        Ok(())
    }

    fn value_file(&self, uuid: Uuid) -> PathBuf {
        self.places().secrets().join(uuid.to_string())
    }

    fn read_value(&self, uuid: Uuid) -> Option<SecretValue> {
        match std::fs::read(self.value_file(uuid)) {
            Ok(bytes) => Some(SecretValue::new(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(%uuid, %error, "the value of a secret cannot be read");
                None
            }
        }
    }

    async fn write_value(&self, uuid: Uuid, value: SecretValue) -> Result<()> {
        let (directory, file) = (self.places().secrets(), self.value_file(uuid));
        let written = aside(move || {
            make_private(&directory).map_err(|e| e.to_string())?;
            sys::atomic::write(&file, value.expose(), VALUE_MODE).map_err(|e| e.to_string())
        });
        let failed = |e| EngineError::system("cannot store the value of the secret", e);
        written.await?.map_err(failed)
    }

    async fn remove_value(&self, uuid: Uuid) -> Result<()> {
        let file = self.value_file(uuid);
        let removed = aside(move || sys::atomic::remove(&file)).await?;
        removed.map_err(|e| EngineError::system("cannot remove the value of the secret", e))
    }

    /// Every secret, in the order of their uuids.
    pub fn secrets(&self) -> Vec<Arc<SecretView>> {
        let table = self.secrets_table().table();
        table.values().map(|held| held.view.clone()).collect()
    }

    /// The secret with this uuid.
    ///
    /// # Errors
    /// If there is none.
    pub fn secret_by_uuid(&self, uuid: Uuid) -> Result<Arc<SecretView>> {
        Ok(self.secrets_table().get(uuid)?.view)
    }

    /// The secret for this use.
    ///
    /// # Errors
    /// If there is none.
    pub fn secret_by_usage(&self, used_by: SecretUse, usage: &str) -> Result<Arc<SecretView>> {
        let found = self.secrets_table().by_usage(used_by, usage);
        found.ok_or_else(|| no_secret(format!("no secret with matching usage '{usage}'")))
    }

    fn tell_secret(&self, secret: &Arc<SecretView>, what: SecretHappening) {
        let secret = secret.clone();
        self.notices_hub().tell(Notice::Secret { secret, what });
    }

    /// Defines a secret, or defines it anew: its value stays then.
    ///
    /// # Errors
    /// If the XML is not valid, or its use is another secret's.
    pub async fn define_secret(&self, xml: &str) -> Result<Arc<SecretView>> {
        let definition = SecretDefinition::parse(xml).map_err(xml_error)?;
        let secrets = self.secrets_table();
        let _changing = secrets.changing.lock().await;
        let uuid = secrets.uuid_of(&definition)?;
        let definition = SecretDefinition {
            uuid: Some(uuid),
            ..definition
        };
        let old = secrets.get(uuid).ok();
        let value = old.as_ref().and_then(|held| held.value.clone());
        if definition.ephemeral {
            self.records().delete_object(KIND, uuid).await?;
            self.remove_value(uuid).await?;
        } else {
            if let (Some(value), Some(held)) = (&value, &old)
                && held.view.definition.ephemeral
            {
                self.write_value(uuid, value.clone()).await?;
            }
            let xml = definition.to_xml();
            let record = encode(&Record { xml })?;
            self.records().put_object(KIND, uuid, record).await?;
        }
        let view = Arc::new(SecretView { uuid, definition });
        let held = Held {
            view: view.clone(),
            value,
        };
        secrets.table().insert(uuid, held);
        self.tell_secret(&view, SecretHappening::Defined);
        Ok(view)
    }

    /// Gives a secret its value.
    ///
    /// # Errors
    /// If there is no such secret, or the value cannot be stored.
    pub async fn set_secret_value(&self, uuid: Uuid, value: SecretValue) -> Result<()> {
        let secrets = self.secrets_table();
        let _changing = secrets.changing.lock().await;
        let view = secrets.get(uuid)?.view;
        if !view.definition.ephemeral {
            self.write_value(uuid, value.clone()).await?;
            crash_point(Step::SecretValueStored);
        }
        if let Some(held) = secrets.table().get_mut(&uuid) {
            held.value = Some(value);
        }
        self.tell_secret(&view, SecretHappening::ValueChanged);
        Ok(())
    }

    /// A secret's value, for a client.
    ///
    /// # Errors
    /// If there is no such secret, it has no value, or it is private.
    pub fn secret_value(&self, uuid: Uuid) -> Result<SecretValue> {
        let held = self.secrets_table().get(uuid)?;
        match held.view.definition.private {
            true => Err(EngineError::new(
                ErrorKind::InvalidSecret,
                "secret is private",
            )),
            false => value_of(held),
        }
    }

    /// The value a definition refers to, for this daemon's own use.
    ///
    /// # Errors
    /// If there is no such secret, or it has no value.
    pub(crate) fn referred_secret(
        &self,
        reference: &SecretRef,
        used_by: SecretUse,
    ) -> Result<SecretValue> {
        let secrets = self.secrets_table();
        let held = match (&reference.uuid, &reference.usage) {
            (Some(uuid), _) => secrets.get(*uuid)?,
            (None, Some(usage)) => secrets.get(self.secret_by_usage(used_by, usage)?.uuid)?,
            (None, None) => {
                let what = "a secret is referred to by neither uuid nor usage";
                return Err(EngineError::new(ErrorKind::InvalidArgument, what));
            }
        };
        value_of(held)
    }

    /// Removes a secret and its value.
    ///
    /// # Errors
    /// If there is no such secret, or it cannot be removed.
    pub async fn undefine_secret(&self, uuid: Uuid) -> Result<()> {
        let secrets = self.secrets_table();
        let _changing = secrets.changing.lock().await;
        let view = secrets.get(uuid)?.view;
        if !view.definition.ephemeral {
            self.records().delete_object(KIND, uuid).await?;
            crash_point(Step::SecretForgotten);
            self.remove_value(uuid).await?;
        }
        secrets.table().remove(&uuid);
        self.tell_secret(&view, SecretHappening::Undefined);
        Ok(())
    }
}

fn value_of(held: Held) -> Result<SecretValue> {
    let uuid = held.view.uuid;
    held.value
        .ok_or_else(|| no_secret(format!("secret '{uuid}' does not have a value")))
}

/// A file in memory with a secret's value, for a program that is handed its descriptor.
pub(crate) fn memory_file(value: &SecretValue) -> Result<File> {
    let mut file = sys::unix::memory_file("secret")
        .map_err(|e| EngineError::system("cannot hand a secret on", e))?;
    file.write_all(value.expose())
        .map_err(|e| EngineError::system("cannot hand a secret on", e))?;
    Ok(file)
}

/// Makes a directory that only its owner can look into.
fn make_private(directory: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}
