//! All domains of the host, found by uuid, name or id.
//!
//! An entry is claimed before anything is written, so that two definitions of
//! one name cannot both win; it is listed only when its owner says so.

use crate::error::{EngineError, ErrorKind, Result};
use crate::owner::Request;
use crate::view::DomainView;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::mpsc;
use uuid::Uuid;

/// One domain: its published view and the way to its owner.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) uuid: Uuid,
    view: RwLock<Arc<DomainView>>,
    /// Listed entries are seen by readers; others are being made or are gone.
    listed: AtomicBool,
    /// The owner's mailbox while it has an owner. Taken and given back under
    /// this lock only, so that no request is left in a mailbox nobody reads.
    pub(crate) mailbox: Mutex<Option<mpsc::Sender<Request>>>,
}

impl Entry {
    pub(crate) fn new(view: DomainView) -> Self {
        Self {
            uuid: view.uuid,
            view: RwLock::new(Arc::new(view)),
            listed: AtomicBool::new(false),
            mailbox: Mutex::new(None),
        }
    }

    pub(crate) fn view(&self) -> Arc<DomainView> {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn publish(&self, view: DomainView) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    pub(crate) fn set_listed(&self, listed: bool) {
        self.listed.store(listed, Ordering::Release);
    }
}

#[derive(Debug, Default)]
struct Maps {
    by_uuid: BTreeMap<Uuid, Arc<Entry>>,
    by_name: BTreeMap<Arc<str>, Arc<Entry>>,
    by_id: BTreeMap<i32, Arc<Entry>>,
    last_id: i32,
}

/// The table of all domains.
#[derive(Debug, Default)]
pub(crate) struct Table {
    maps: RwLock<Maps>,
}

impl Table {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of this very domain, or a new one that nobody sees yet.
    /// A name or uuid that belongs to another domain is refused.
    pub(crate) fn claim(&self, fresh: DomainView) -> Result<Arc<Entry>> {
        let mut maps = self.write();
        if let Some(entry) = maps.by_uuid.get(&fresh.uuid) {
            let present = entry.view();
            if present.name != fresh.name {
                return Err(EngineError::new(
                    ErrorKind::DomainExists,
                    format!(
                        "domain '{}' is already defined with uuid {}",
                        present.name, fresh.uuid
                    ),
                ));
            }
            return Ok(entry.clone());
        }
        if let Some(entry) = maps.by_name.get(&fresh.name) {
            return Err(EngineError::new(
                ErrorKind::DomainExists,
                format!(
                    "domain '{}' already exists with uuid {}",
                    fresh.name, entry.uuid
                ),
            ));
        }
        let entry = Arc::new(Entry::new(fresh));
        maps.by_name
            .insert(entry.view().name.clone(), entry.clone());
        maps.by_uuid.insert(entry.uuid, entry.clone());
        Ok(entry)
    }

    /// Takes the new name beside the old one, so that nobody else can; the
    /// old one is given up by [`Table::forget_name`].
    pub(crate) fn claim_name(&self, entry: &Arc<Entry>, name: &Arc<str>) -> Result<()> {
        let mut maps = self.write();
        if let Some(other) = maps.by_name.get(name) {
            return Err(EngineError::new(
                ErrorKind::DomainExists,
                format!(
                    "domain with name '{name}' already exists (uuid {})",
                    other.uuid
                ),
            ));
        }
        maps.by_name.insert(name.clone(), entry.clone());
        Ok(())
    }

    /// Gives a name up.
    pub(crate) fn forget_name(&self, name: &str) {
        self.write().by_name.remove(name);
    }

    /// Takes the entry out altogether.
    pub(crate) fn remove(&self, entry: &Arc<Entry>) {
        let mut maps = self.write();
        entry.set_listed(false);
        let name = entry.view().name.clone();
        maps.by_uuid.remove(&entry.uuid);
        if maps
            .by_name
            .get(&name)
            .is_some_and(|e| Arc::ptr_eq(e, entry))
        {
            maps.by_name.remove(&name);
        }
    }

    /// The next free id; ids only grow while the daemon runs.
    pub(crate) fn next_id(&self) -> i32 {
        let mut maps = self.write();
        maps.last_id += 1;
        maps.last_id
    }

    /// Gives a running machine its id; ids of machines found at start-up are kept.
    pub(crate) fn set_id(&self, id: i32, entry: &Arc<Entry>) {
        let mut maps = self.write();
        maps.last_id = maps.last_id.max(id);
        maps.by_id.insert(id, entry.clone());
    }

    /// Takes an id back.
    pub(crate) fn clear_id(&self, id: i32) {
        self.write().by_id.remove(&id);
    }

    pub(crate) fn by_uuid(&self, uuid: Uuid) -> Option<Arc<Entry>> {
        self.read()
            .by_uuid
            .get(&uuid)
            .filter(|e| e.is_listed())
            .cloned()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Entry>> {
        self.read()
            .by_name
            .get(name)
            // While a rename is under way both names lead here; only one is shown.
            .filter(|e| e.is_listed() && &*e.view().name == name)
            .cloned()
    }

    pub(crate) fn by_id(&self, id: i32) -> Option<Arc<Entry>> {
        self.read()
            .by_id
            .get(&id)
            .filter(|e| e.is_listed())
            .cloned()
    }

    /// Every listed domain, in the order of their uuids.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.read()
            .by_uuid
            .values()
            .filter(|e| e.is_listed())
            .cloned()
            .collect()
    }

    /// How many active and how many inactive domains there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let maps = self.read();
        let listed = maps.by_uuid.values().filter(|e| e.is_listed());
        listed.fold((0, 0), |(active, inactive), e| {
            if e.view().is_active() {
                (active + 1, inactive)
            } else {
                (active, inactive + 1)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qemu::machine::{OffReason, Status};

    fn view(name: &str, uuid: u128) -> DomainView {
        DomainView {
            name: name.into(),
            uuid: Uuid::from_u128(uuid),
            status: Status::Off(OffReason::Unknown),
            stored: None,
            autostart: false,
            autostart_once: false,
            managed_save: false,
            snapshots: Arc::default(),
            live: None,
        }
    }

    #[test]
    fn a_name_and_a_uuid_belong_to_one_domain() {
        let table = Table::default();
        let web = table.claim(view("web", 1)).expect("free");
        assert!(Arc::ptr_eq(
            &web,
            &table.claim(view("web", 1)).expect("the same domain")
        ));
        let name_taken = table.claim(view("web", 2)).expect_err("another uuid");
        assert_eq!(name_taken.kind, ErrorKind::DomainExists);
        let uuid_taken = table.claim(view("db", 1)).expect_err("another name");
        assert!(uuid_taken.message.contains("already defined with uuid"));
    }

    #[test]
    fn nothing_half_made_is_found() {
        let table = Table::default();
        let web = table.claim(view("web", 1)).expect("free");
        assert!(table.by_name("web").is_none() && table.all().is_empty());
        web.set_listed(true);
        assert!(table.by_name("web").is_some());
        table.remove(&web);
        assert!(table.by_uuid(web.uuid).is_none());
        table.claim(view("web", 2)).expect("the name is free again");
    }

    #[test]
    fn a_rename_is_seen_at_one_moment() {
        let table = Table::default();
        let web = table.claim(view("web", 1)).expect("free");
        web.set_listed(true);
        let name: Arc<str> = "www".into();
        table.claim_name(&web, &name).expect("free");
        assert!(table.by_name("www").is_none() && table.by_name("web").is_some());
        web.publish(view("www", 1));
        assert!(table.by_name("www").is_some() && table.by_name("web").is_none());
        table.forget_name("web");
        table.claim(view("web", 2)).expect("the old name is free");
    }
}
