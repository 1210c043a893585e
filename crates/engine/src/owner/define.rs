//! A domain's stored definition: written, replaced, renamed, removed.

use super::Owner;
use crate::crash::{Step, crash_point};
use crate::definition::Definition;
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::Happening;
use crate::limits::DOMAIN_NAME_MAX_BYTES;
use crate::options::{Affect, MetadataItem, UndefineOptions};
use crate::record::Head;
use model::network::policy::{NAMESPACE, Policy};
use qemu::machine::{DefinedDetail, LifecycleEvent, Operation, UndefinedDetail};
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Owner {
    pub(super) async fn define(&mut self, definition: Definition) -> Result<()> {
        let view = self.entry.view();
        let fresh = view.stored.is_none();
        let result = self.store_definition(&definition, &view.name, fresh).await;
        if result.is_err() && !self.entry.is_listed() {
            self.engine.table().remove(&self.entry);
        }
        result?;
        self.entry.set_listed(true);
        let detail = if fresh {
            DefinedDetail::Added
        } else {
            DefinedDetail::Updated
        };
        self.emit_lifecycle(LifecycleEvent::Defined(detail));
        Ok(())
    }

    pub(super) async fn store_definition(
        &self,
        definition: &Definition,
        name: &str,
        fresh: bool,
    ) -> Result<()> {
        let head = self.head(name, definition.summary.clone());
        crash_point(Step::DefineChecked);
        self.engine
            .records()
            .put(self.entry.uuid, &head, &definition.text, fresh)
            .await?;
        crash_point(Step::DefineStored);
        let summary = Arc::new(definition.summary.clone());
        self.publish(|view| view.stored = Some(summary));
        Ok(())
    }

    fn head(&self, name: &str, summary: crate::view::Summary) -> Head {
        let view = self.entry.view();
        Head {
            name: name.to_owned(),
            autostart: view.autostart,
            autostart_once: view.autostart_once,
            summary,
        }
    }

    fn stored_summary(&self) -> Result<crate::view::Summary> {
        let view = self.entry.view();
        view.stored
            .as_deref()
            .cloned()
            .ok_or_else(crate::options::transient)
    }

    pub(super) fn stored_definition(&self) -> Result<model::domain::Domain> {
        let text = self.engine.stored_xml(self.entry.uuid)?;
        self.engine.parse_stored(&text)
    }

    pub(super) async fn undefine(&mut self, options: UndefineOptions) -> Result<()> {
        let view = self.entry.view();
        if view.stored.is_none() {
            return Err(EngineError::invalid("cannot undefine transient domain"));
        }
        if view.managed_save && !options.managed_save {
            return Err(EngineError::invalid(
                "Refusing to undefine while domain managed save image exists",
            ));
        }
        if !view.snapshots.is_empty() && !options.snapshots_metadata && self.live.is_none() {
            return Err(EngineError::invalid(format!(
                "cannot delete inactive domain with {} snapshots",
                view.snapshots.len()
            )));
        }
        let stored = self.stored_definition()?;
        let nvram = crate::facts::nvram_path(&stored).filter(|path| Path::new(path).exists());
        if nvram.is_some() && options.nvram.is_none() {
            return Err(EngineError::invalid("cannot undefine domain with nvram"));
        }
        let save = view
            .managed_save
            .then(|| self.engine.places().managed_save(&view.name));
        let tpm_state = crate::tpm::state_to_remove(&self.engine, &stored, options.tpm);
        let variables = nvram.filter(|_| options.nvram == Some(true));
        if let Some(path) = variables.filter(|path| Path::new(path).is_dir()) {
            return Err(EngineError::invalid(format!(
                "the nvram '{path}' is a directory, which is not removed: keep it (--keep-nvram)"
            )));
        }
        let copies: Vec<PathBuf> = match self.live {
            Some(_) => Vec::new(),
            None => view
                .snapshots
                .all()
                .filter_map(|head| head.nvram.clone().map(Into::into))
                .collect(),
        };
        let files: Vec<PathBuf> = save
            .iter()
            .cloned()
            .chain(variables.map(Into::into))
            .chain(tpm_state.clone())
            .chain(copies.iter().cloned())
            .collect();
        crash_point(Step::UndefineAdmitted);
        self.engine
            .records()
            .delete(self.entry.uuid, &view.name, &files, self.live.is_none())
            .await?;
        crash_point(Step::UndefineStored);
        if save.is_some() {
            self.delete_managed_save()?;
            crash_point(Step::UndefineSaveRemoved);
        }
        if let Some(path) = variables {
            remove_file(Path::new(path))?;
            crash_point(Step::UndefineVariablesRemoved);
        }
        for copy in &copies {
            remove_file(copy)?;
        }
        if let Some(state) = tpm_state {
            self.engine.remove_remain(&state)?;
        }
        if !files.is_empty() {
            self.engine.records().files_removed(self.entry.uuid).await?;
        }
        crash_point(Step::UndefineDone);
        let gone = self.live.is_none();
        self.publish(|view| {
            if gone {
                view.snapshots = Arc::default();
            }
            view.stored = None;
            view.autostart = false;
            view.autostart_once = false;
        });
        self.emit_lifecycle(LifecycleEvent::Undefined(UndefinedDetail::Removed));
        if self.live.is_none() && self.busy.is_none() {
            self.engine.table().remove(&self.entry);
        }
        Ok(())
    }

    pub(super) async fn set_autostart(&mut self, on: bool, once: bool) -> Result<()> {
        let view = self.entry.view();
        let summary = view
            .stored
            .as_deref()
            .cloned()
            .ok_or_else(|| EngineError::invalid("cannot set autostart for transient domain"))?;
        let mut head = self.head(&view.name, summary);
        if once {
            head.autostart_once = on;
        } else {
            head.autostart = on;
        }
        self.engine
            .records()
            .put_head(self.entry.uuid, &head)
            .await?;
        self.publish(|view| {
            view.autostart = head.autostart;
            view.autostart_once = head.autostart_once;
        });
        Ok(())
    }

    pub(super) async fn rename(&mut self, name: Arc<str>) -> Result<()> {
        let view = self.entry.view();
        if view.stored.is_none() {
            return Err(EngineError::invalid("cannot rename a transient domain"));
        }
        self.admit(Operation::Rename)?;
        if view.managed_save {
            return Err(EngineError::invalid(
                "cannot rename a domain with a managed save image: start it or remove the image first",
            ));
        }
        check_name(&name)?;
        if name == view.name {
            return Err(EngineError::new(
                ErrorKind::OperationFailed,
                format!("Can't rename domain to itself: it is called '{name}' already"),
            ));
        }
        let mut domain = self.stored_definition()?;
        domain.name = name.to_string();
        let definition = Definition::of(domain);
        self.engine.table().claim_name(&self.entry, &name)?;
        let head = self.head(&name, definition.summary.clone());
        let written = self
            .engine
            .records()
            .rename(self.entry.uuid, &view.name, &head, &definition.text)
            .await;
        if let Err(error) = written {
            self.engine.table().forget_name(&name);
            return Err(error);
        }
        self.emit_lifecycle(LifecycleEvent::Undefined(UndefinedDetail::Renamed));
        self.publish(|view| view.name = name);
        self.engine.table().forget_name(&view.name);
        self.emit_lifecycle(LifecycleEvent::Defined(DefinedDetail::Renamed));
        Ok(())
    }

    pub(super) async fn set_metadata(
        &mut self,
        item: MetadataItem,
        value: Option<String>,
        key: Option<String>,
        affect: Affect,
    ) -> Result<()> {
        let affect = self.resolve(affect)?;
        if let (Some(live), MetadataItem::Element { uri }, Some(text)) = (&self.live, &item, &value)
            && affect.live
            && uri == NAMESPACE
        {
            let policy = Policy::parse(text).map_err(xml_error)?;
            self.engine.check_reach(&live.definition(), &policy)?;
        }
        let change = |domain: &mut model::domain::Domain| {
            crate::metadata::set(domain, &item, value.as_deref(), key.as_deref())
        };
        self.change_definition(affect, change).await?;
        let namespace = match &item {
            MetadataItem::Element { uri } => Some(uri.clone()),
            _ => None,
        };
        self.emit(Happening::MetadataChange {
            kind: item.number(),
            namespace,
        });
        Ok(())
    }

    /// Says which of the two definitions is meant where neither was named,
    /// and refuses what is not there.
    pub(super) fn resolve(&self, affect: Affect) -> Result<Affect> {
        affect.of(self.live.is_some(), self.entry.view().is_persistent())
    }

    /// Changes the stored definition, the running one, or both; the stored
    /// one first, so that a failure leaves both as they were.
    pub(super) async fn change_definition(
        &mut self,
        affect: Affect,
        change: impl Fn(&mut model::domain::Domain) -> Result<()>,
    ) -> Result<()> {
        let mut live_definition = None;
        if affect.live {
            let mut definition = model::domain::Domain::clone(&self.live()?.definition());
            change(&mut definition)?;
            live_definition = Some(definition);
        }
        if affect.config {
            self.stored_summary()?;
            let mut domain = self.stored_definition()?;
            change(&mut domain)?;
            let definition = Definition::of(domain);
            let name = self.entry.view().name.clone();
            self.store_definition(&definition, &name, false).await?;
        }
        if let (Some(live), Some(definition)) = (&self.live, live_definition) {
            live.set_definition(definition);
            self.engine
                .write_status(live, &self.entry, self.life.status());
        }
        Ok(())
    }
}

impl Engine {
    /// Removes what a domain leaves behind: a file, or its directory of an emulated TPM's state.
    pub(crate) fn remove_remain(&self, path: &Path) -> Result<()> {
        match self.places().is_tpm_state(path) {
            true => removed(path, std::fs::remove_dir_all(path)),
            false => remove_file(path),
        }
    }
}

/// Removes a file; none there is as good.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    removed(path, std::fs::remove_file(path))
}

fn removed(path: &Path, done: std::io::Result<()>) -> Result<()> {
    match done {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(EngineError::system(
            &format!("cannot remove {}", path.display()),
            error,
        )),
    }
}

/// Names are part of paths and of keys.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "an empty name is not allowed".to_owned()
    } else if name.contains('/') {
        format!("name {name} cannot contain '/'")
    } else if name.chars().any(char::is_control) {
        "a name cannot contain control characters".to_owned()
    } else if name.chars().all(char::is_whitespace) {
        "name must contain at least one character that is not whitespace".to_owned()
    } else if name.len() > DOMAIN_NAME_MAX_BYTES {
        format!("name is longer than {DOMAIN_NAME_MAX_BYTES} bytes")
    } else {
        return Ok(());
    };
    Err(EngineError::new(ErrorKind::XmlError, problem))
}
