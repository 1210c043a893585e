//! Descriptors that clients give for machines' images, by the name of a group.
//!
//! They are kept for as long as the client that gave them is there, as libvirt keeps them. A
//! machine that is started gets copies.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::limits::{FD_GROUP_MAX, FD_GROUPS_MAX};
use crate::options::SessionId;
use model::domain::Domain;
use model::domain::storage::{BackingStore, StorageSource};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

#[derive(Debug)]
struct Group {
    session: SessionId,
    descriptors: Vec<OwnedFd>,
}

/// All groups of all machines, and the clients that are there to keep them for.
#[derive(Debug, Default)]
struct Held {
    sessions: BTreeSet<SessionId>,
    groups: BTreeMap<(Uuid, String), Group>,
}

/// The groups, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct FdGroups(Mutex<Held>);

impl FdGroups {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is there.
    pub(crate) fn expect(&self, session: SessionId) {
        self.held().sessions.insert(session);
    }

    /// A client has gone: lets go of what it gave, and takes nothing more of it.
    pub(crate) fn forget(&self, session: SessionId) {
        let mut held = self.held();
        held.sessions.remove(&session);
        held.groups.retain(|_, group| group.session != session);
    }

    fn keep(&self, key: (Uuid, String), group: Group) -> Result<()> {
        let invalid = |message: &str| Err(EngineError::new(ErrorKind::InvalidArgument, message));
        if group.descriptors.is_empty() || group.descriptors.len() > FD_GROUP_MAX {
            return invalid(&format!(
                "a group takes 1 to {FD_GROUP_MAX} file descriptors"
            ));
        }
        let mut held = self.held();
        // A call may still be worked on when its client has gone.
        if !held.sessions.contains(&group.session) {
            return invalid("the client that gives file descriptors has gone");
        }
        if held.groups.len() >= FD_GROUPS_MAX && !held.groups.contains_key(&key) {
            return invalid("too many groups of file descriptors are kept");
        }
        held.groups.insert(key, group);
        Ok(())
    }

    /// The groups a machine's images name: whether each descriptor can be written to.
    ///
    /// # Errors
    /// If one was not given.
    pub(crate) fn of(&self, domain: &Domain) -> Result<BTreeMap<String, Vec<bool>>> {
        let held = self.held();
        let mut found = BTreeMap::new();
        for name in names(domain) {
            let group = held.groups.get(&(crate::facts::uuid(domain), name.clone()));
            let group = group.ok_or_else(|| missing(&name))?;
            let modes = group.descriptors.iter().map(sys::open_files::is_writable);
            let modes = modes.collect::<sys::SysResult<_>>();
            let modes = modes.map_err(|e| EngineError::system("cannot use a descriptor", e))?;
            found.insert(name, modes);
        }
        Ok(found)
    }

    /// A copy of a descriptor.
    pub(crate) fn take(&self, domain: &Domain, name: &str, index: usize) -> Result<OwnedFd> {
        let held = self.held();
        let group = held
            .groups
            .get(&(crate::facts::uuid(domain), name.to_owned()));
        let descriptor = group.and_then(|group| group.descriptors.get(index));
        let descriptor = descriptor.ok_or_else(|| missing(name))?;
        descriptor
            .try_clone()
            .map_err(|e| EngineError::system("cannot copy a descriptor", e))
    }
}

fn missing(name: &str) -> EngineError {
    let message = format!("file descriptor group '{name}' was not associated with the domain");
    EngineError::new(ErrorKind::InvalidArgument, message)
}

/// The groups that the images of a machine's disks name.
fn names(domain: &Domain) -> Vec<String> {
    fn behind(store: Option<&BackingStore>, found: &mut Vec<String>) {
        if let Some(store) = store {
            found.extend(named(store.source.as_deref()));
            behind(store.backing_store.as_deref(), found);
        }
    }
    let mut found = Vec::new();
    for disk in &domain.devices.disks {
        found.extend(named(disk.source.as_deref()));
        behind(disk.backing_store.as_ref(), &mut found);
    }
    found
}

fn named(source: Option<&StorageSource>) -> Option<String> {
    source?.fdgroup.clone()
}

/// Refuses groups that a running machine is to use anew: descriptors are handed over at the start.
///
/// # Errors
/// If there is one.
pub(crate) fn check_new(before: &Domain, after: &Domain) -> Result<()> {
    let had = names(before);
    match names(after).into_iter().find(|name| !had.contains(name)) {
        None => Ok(()),
        Some(name) => Err(EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!(
                "file descriptor group '{name}' cannot be used by a machine that runs already: \
                 its disks get descriptors when it is started"
            ),
        )),
    }
}

impl DomainHandle {
    /// Keeps descriptors for the machine under the name of a group, until the client is gone. A
    /// group of that name is replaced.
    ///
    /// # Errors
    /// If there are none, or too many.
    pub fn associate(
        &self,
        engine: &Engine,
        session: SessionId,
        name: &str,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let group = Group {
            session,
            descriptors,
        };
        engine
            .fd_groups()
            .keep((self.uuid(), name.to_owned()), group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_for_a_client_that_has_gone() {
        let groups = FdGroups::default();
        let session = SessionId(7);
        let give = |count: usize| {
            let null = || std::fs::File::open("/dev/null").expect("there").into();
            let descriptors = (0..count).map(|_| null()).collect();
            let group = Group {
                session,
                descriptors,
            };
            groups.keep((Uuid::nil(), "g".to_owned()), group)
        };
        assert!(give(1).is_err(), "it was never there");
        groups.expect(session);
        give(1).expect("it is there");
        give(2).expect("in place of the first");
        assert!(give(0).is_err() && give(FD_GROUP_MAX + 1).is_err());
        groups.forget(session);
        assert!(groups.held().groups.is_empty());
        // A call of its that was still worked on.
        assert!(give(1).is_err());
        assert!(groups.held().groups.is_empty());
    }
}
