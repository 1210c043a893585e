//! Templates: machines that are never started again, so that others can build
//! upon their disks.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use model::domain::Domain;
use model::domain::disk::{Disk, DiskDevice};
use model::domain::storage::StorageType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// A template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The machine.
    pub uuid: Uuid,
    /// Its name when it became one.
    pub name: String,
    /// Its disks, which nobody writes to.
    pub disks: Vec<PathBuf>,
    /// The permissions its disks had.
    modes: Vec<u32>,
}

/// All templates.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    by_uuid: Mutex<BTreeMap<Uuid, Template>>,
}

impl Templates {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Template>> {
        self.by_uuid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    pub(crate) fn load_templates(&self) -> Result<()> {
        self.records().for_each_item("template", |id, bytes| {
            match serde_json::from_slice::<Template>(bytes) {
                Ok(template) => drop(self.templates().lock().insert(template.uuid, template)),
                Err(error) => tracing::error!(id, %error, "a template's record cannot be read"),
            }
        })
    }

    /// Every template that still is a machine.
    pub fn all_templates(&self) -> Vec<Template> {
        let all: Vec<Template> = self.templates().lock().values().cloned().collect();
        all.into_iter()
            .filter(|template| self.domain_by_uuid(template.uuid).is_ok())
            .collect()
    }

    /// Whether a machine is a template.
    pub(crate) fn is_template(&self, uuid: Uuid) -> bool {
        self.templates().lock().contains_key(&uuid)
    }

    /// Makes a template of a machine that is shut off.
    pub async fn make_template(&self, domain: &DomainHandle) -> Result<()> {
        let view = domain.view();
        if self.is_template(view.uuid) {
            return Ok(());
        }
        need_at_rest(domain)?;
        let definition = domain.definition()?;
        let disks = own_disks(&definition)?;
        let modes = disks.iter().map(|path| mode(path)).collect::<Result<_>>()?;
        let template = Template {
            uuid: view.uuid,
            name: view.name.to_string(),
            disks,
            modes,
        };
        let record = crate::record::encode(&template)?;
        let id = view.uuid.to_string();
        self.records().put_item("template", &id, record).await?;
        // From here on it does not start; then its disks are closed.
        self.templates().lock().insert(view.uuid, template.clone());
        for disk in &template.disks {
            set_mode(disk, 0o444)?;
        }
        Ok(())
    }

    /// Makes an ordinary machine of a template nobody builds upon.
    pub async fn unmake_template(&self, domain: &DomainHandle) -> Result<()> {
        let uuid = domain.uuid();
        let Some(template) = self.templates().lock().get(&uuid).cloned() else {
            return Err(EngineError::invalid("the machine is no template"));
        };
        for disk in &template.disks {
            self.refuse_if_base(disk, "write to")?;
        }
        for (disk, mode) in template.disks.iter().zip(&template.modes) {
            set_mode(disk, *mode)?;
        }
        self.records()
            .delete_item("template", &uuid.to_string())
            .await?;
        self.templates().lock().remove(&uuid);
        Ok(())
    }

    /// Refuses a start that would change what others build upon: of a template,
    /// and of a machine with a template's disk or a library's image to write to.
    pub(crate) fn refuse_writing_to_bases(&self, domain: &Domain) -> Result<()> {
        let uuid = crate::facts::uuid(domain);
        if self.is_template(uuid) {
            return Err(EngineError::invalid(format!(
                "'{0}' is a template, whose disks others build upon: start a clone of it (stead \
                 clone {0} NAME), or make a machine of it again (stead template {0} --undo)",
                domain.name
            )));
        }
        for disk in domain.devices.disks.iter().filter(|disk| is_written(disk)) {
            let Some(path) = disk.source_path() else {
                continue;
            };
            if let Some(owner) = self.base_owner(Path::new(path)) {
                return Err(EngineError::invalid(format!(
                    "disk '{}' of '{}' is {owner}, which nobody may write to: make a clone of it, \
                     or mark the disk <readonly/>",
                    disk.target_dev(),
                    domain.name
                )));
            }
        }
        Ok(())
    }

    /// Whose base a file is, in words.
    fn base_owner(&self, path: &Path) -> Option<String> {
        let templates = self.templates().lock();
        let of = templates
            .values()
            .find(|t| t.disks.iter().any(|d| d == path));
        if let Some(template) = of {
            return Some(format!("a disk of the template '{}'", template.name));
        }
        drop(templates);
        let image = self.images().into_iter().find(|image| image.path == path)?;
        Some(format!("the library's image '{}'", image.name))
    }
}

fn is_written(disk: &Disk) -> bool {
    disk.device == DiskDevice::Disk && !disk.readonly && disk.transient.is_none()
}

/// A machine that is shut off, with nothing of it saved.
pub(crate) fn need_at_rest(domain: &DomainHandle) -> Result<()> {
    let view = domain.view();
    if view.status.is_active() {
        return Err(EngineError::invalid(format!(
            "domain '{}' is running: shut it down first",
            view.name
        )));
    }
    if view.managed_save {
        return Err(EngineError::invalid(format!(
            "domain '{}' has a saved state: start it and shut it down, or drop that with \
             managedsave-remove",
            view.name
        )));
    }
    if view.stored.is_none() {
        return Err(EngineError::invalid(
            "a transient domain cannot be a template or be cloned",
        ));
    }
    Ok(())
}

/// The disks that are a machine's own: written to, and not shared.
pub(crate) fn cloned_disks(domain: &Domain) -> impl Iterator<Item = &Disk> {
    domain
        .devices
        .disks
        .iter()
        .filter(|disk| disk.device == DiskDevice::Disk && !disk.readonly && !disk.shareable)
}

fn own_disks(domain: &Domain) -> Result<Vec<PathBuf>> {
    cloned_disks(domain)
        .map(|disk| match (disk.kind, disk.source_path()) {
            (StorageType::File, Some(path)) => Ok(PathBuf::from(path)),
            _ => Err(not_a_file(domain, disk)),
        })
        .collect()
}

/// Why a disk cannot be cloned.
pub(crate) fn not_a_file(domain: &Domain, disk: &Disk) -> EngineError {
    EngineError::new(
        ErrorKind::ConfigUnsupported,
        format!(
            "disk '{}' of '{}' is of type '{}': only disks that are files can be cloned; detach \
             it, or mark it <shareable/> for the clones to use the same one",
            disk.target_dev(),
            domain.name,
            disk.kind.as_str()
        ),
    )
}

fn mode(path: &Path) -> Result<u32> {
    std::fs::metadata(path)
        .map(|meta| meta.mode() & 0o7777)
        .map_err(|e| EngineError::system(&format!("cannot look at '{}'", path.display()), e))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| {
        EngineError::system(
            &format!("cannot change the permissions of '{}'", path.display()),
            e,
        )
    })
}
