//! The snapshots of one domain as readers see them.

use model::snapshot::{Snapshot, SnapshotState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What lists need to know of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// Its name.
    pub name: String,
    /// The snapshot it was taken after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The state of the domain then, in libvirt's word.
    pub state: String,
    /// Whether some of it is in files of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Whether its XML holds passwords that most readers must not see.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_secrets: bool,
    /// The copy of the UEFI variables that belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<String>,
}

impl SnapshotHead {
    /// Of a finished snapshot.
    pub(crate) fn of(snapshot: &Snapshot, nvram: Option<String>) -> Self {
        let domains = [snapshot.whole_domain(), snapshot.whole_inactive_domain()];
        Self {
            name: snapshot.name().to_owned(),
            parent: snapshot.parent_name().map(str::to_owned),
            state: snapshot.state.unwrap_or_default().as_str().to_owned(),
            external: snapshot.is_external(),
            has_secrets: domains
                .into_iter()
                .flatten()
                .any(|domain| crate::view::Summary::of(domain).has_secrets),
            nvram,
        }
    }

    /// Whether only disks were kept, of a machine that ran.
    pub fn is_disk_only(&self) -> bool {
        self.state == SnapshotState::DiskSnapshot.as_str()
    }

    /// Whether the machine was off.
    pub fn is_inactive(&self) -> bool {
        self.state == SnapshotState::Shutoff.as_str()
    }
}

/// All snapshots of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotTree {
    heads: BTreeMap<String, Arc<SnapshotHead>>,
    current: Option<String>,
}

impl SnapshotTree {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// The one with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<SnapshotHead>> {
        self.heads.get(name)
    }

    /// The one the domain's state goes on from.
    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// All, in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Arc<SnapshotHead>> {
        self.heads.values()
    }

    /// Those without a parent.
    pub fn roots(&self) -> Vec<Arc<SnapshotHead>> {
        self.where_parent_is(None)
    }

    /// Those taken right after the one with this name.
    pub fn children(&self, name: &str) -> Vec<Arc<SnapshotHead>> {
        self.where_parent_is(Some(name))
    }

    fn where_parent_is(&self, parent: Option<&str>) -> Vec<Arc<SnapshotHead>> {
        let parent_of = |head: &SnapshotHead| {
            let parent = head.parent.as_deref()?;
            self.heads.contains_key(parent).then(|| parent.to_owned())
        };
        let all = self.heads.values();
        all.filter(|head| parent_of(head).as_deref() == parent)
            .cloned()
            .collect()
    }

    /// All that came after the one with this name (all there are, without a
    /// name), parents before their children.
    pub fn descendants(&self, name: Option<&str>) -> Vec<Arc<SnapshotHead>> {
        let mut found = self.where_parent_is(name);
        let mut next = 0;
        while next < found.len() {
            let children = self.children(&found[next].name.clone());
            found.extend(children);
            next += 1;
        }
        found
    }

    /// Whether `name` is `other` or came after it.
    pub fn is_at_or_after(&self, name: &str, other: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut at = Some(name);
        while let Some(name) = at.filter(|name| seen.insert(*name)) {
            if name == other {
                return true;
            }
            at = self.heads.get(name).and_then(|head| head.parent.as_deref());
        }
        false
    }

    pub(crate) fn insert(&mut self, head: SnapshotHead) {
        self.heads.insert(head.name.clone(), Arc::new(head));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.heads.remove(name);
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
    }

    pub(crate) fn set_current(&mut self, name: Option<String>) {
        self.current = name.filter(|name| self.heads.contains_key(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(pairs: &[(&str, Option<&str>)]) -> SnapshotTree {
        let mut tree = SnapshotTree::default();
        for (name, parent) in pairs {
            tree.insert(SnapshotHead {
                name: (*name).to_owned(),
                parent: parent.map(str::to_owned),
                state: "shutoff".to_owned(),
                external: false,
                has_secrets: false,
                nvram: None,
            });
        }
        tree
    }

    #[test]
    fn descendants_come_after_their_parents() {
        let tree = tree(&[
            ("a", None),
            ("b", Some("z")),
            ("z", Some("a")),
            ("q", Some("gone")),
        ]);
        let names = |heads: Vec<Arc<SnapshotHead>>| {
            heads
                .iter()
                .map(|head| head.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(tree.descendants(Some("a"))), ["z", "b"]);
        assert_eq!(names(tree.roots()), ["a", "q"]);
        assert_eq!(names(tree.descendants(None)), ["a", "q", "z", "b"]);
        assert!(tree.is_at_or_after("b", "a") && !tree.is_at_or_after("a", "b"));
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let tree = tree(&[("a", Some("b")), ("b", Some("a"))]);
        assert!(!tree.is_at_or_after("a", "c"));
    }
}
