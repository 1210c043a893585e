//! The definitions inside saved states: shown, and changed before a restore.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::saved::{self, SavedState};
use model::XmlFlags;
use model::domain::Domain;
use std::path::{Path, PathBuf};

impl Engine {
    /// The definition inside a saved state; with passwords if `secure`.
    pub fn saved_xml(&self, path: &Path, secure: bool) -> Result<String> {
        let saved = SavedState::open(path)?;
        Ok(self.parse_stored(&saved.xml)?.to_xml(XmlFlags {
            inactive: true,
            secure,
            migratable: false,
        }))
    }

    /// Puts another definition of the same machine into a saved state.
    pub async fn redefine_saved(
        &self,
        path: &Path,
        xml: &str,
        running: Option<bool>,
    ) -> Result<()> {
        let saved = SavedState::open(path)?;
        let old = self.parse_stored(&saved.xml)?;
        drop(saved);
        let new = self.complete(xml).await?.domain;
        check_same_machine(&old, &new)?;
        let text = new.to_xml(XmlFlags {
            inactive: true,
            secure: true,
            migratable: true,
        });
        saved::redefine(path, &text, running)
    }
}

impl DomainHandle {
    /// The definition inside its managed save.
    pub fn managed_save_xml(&self, secure: bool) -> Result<String> {
        self.engine.saved_xml(&self.managed_save()?, secure)
    }

    /// Puts another definition into its managed save.
    pub async fn redefine_managed_save(&self, xml: &str, running: Option<bool>) -> Result<()> {
        let path = self.managed_save()?;
        self.engine.redefine_saved(&path, xml, running).await
    }

    fn managed_save(&self) -> Result<PathBuf> {
        let view = self.view();
        if view.managed_save {
            return Ok(self.engine.places().managed_save(&view.name));
        }
        Err(EngineError::invalid(
            "domain does not have managed save image",
        ))
    }
}

/// What a machine's memory was saved from cannot become another machine.
fn check_same_machine(old: &Domain, new: &Domain) -> Result<()> {
    let refused = |what: String| Err(EngineError::new(ErrorKind::ConfigUnsupported, what));
    if old.uuid != new.uuid {
        let show = |domain: &Domain| domain.uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        return refused(format!(
            "Target domain uuid {} does not match source {}",
            show(new),
            show(old)
        ));
    }
    if old.name != new.name {
        return refused(format!(
            "Target domain name '{}' does not match source '{}'",
            new.name, old.name
        ));
    }
    if old.memory.size != new.memory.size {
        return refused(format!(
            "Target domain max memory {} does not match source {}",
            new.memory.size.0, old.memory.size.0
        ));
    }
    if old.vcpu.count() != new.vcpu.count() {
        return refused(format!(
            "Target domain vCPU max {} does not match source {}",
            new.vcpu.count(),
            old.vcpu.count()
        ));
    }
    Ok(())
}
