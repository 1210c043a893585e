//! Snapshots in the store.
//!
//! `host/HOST/snapshot-head/DOMAIN/NAME`: what lists need, as JSON.
//! `host/HOST/snapshot-xml/DOMAIN/NAME`: the whole snapshot.
//! `host/HOST/snapshot-current/DOMAIN`: the current one's name.
//! `host/HOST/snapshot-layers/DOMAIN`: images no snapshot names any more.
//! `host/HOST/snapshot-journal/DOMAIN`: what is under way.

use crate::definition::Definition;
use crate::error::{EngineError, ErrorKind, Result};
use crate::record::{Head, Records, encode, store_failed};
use crate::snapshots::journal::{Journal, Outcome};
use crate::snapshots::{SnapshotHead, SnapshotTree};
use std::collections::{BTreeMap, BTreeSet};
use store::Txn;
use uuid::Uuid;

impl Records {
    fn snapshot(&self, part: &str, domain: Uuid) -> String {
        self.key(&format!("snapshot-{part}/{domain}"))
    }

    fn of_snapshot(&self, part: &str, domain: Uuid, name: &str) -> String {
        format!("{}/{name}", self.snapshot(part, domain))
    }

    /// The snapshots of every domain that has any.
    pub(crate) fn snapshot_trees(&self) -> Result<BTreeMap<Uuid, SnapshotTree>> {
        let mut trees: BTreeMap<Uuid, SnapshotTree> = BTreeMap::new();
        let mut broken = Vec::new();
        self.for_each("snapshot-head/", |key, value| {
            let uuid = key.split_once('/').map(|(uuid, _)| Uuid::parse_str(uuid));
            match (uuid, serde_json::from_slice::<SnapshotHead>(value)) {
                (Some(Ok(uuid)), Ok(head)) => trees.entry(uuid).or_default().insert(head),
                _ => broken.push(key.to_owned()),
            }
        })?;
        self.for_each("snapshot-current/", |key, value| {
            let tree = Uuid::parse_str(key)
                .ok()
                .and_then(|uuid| trees.get_mut(&uuid));
            if let Some(tree) = tree {
                tree.set_current(Some(String::from_utf8_lossy(value).into_owned()));
            }
        })?;
        for key in broken {
            tracing::error!(key, "the record of a snapshot cannot be read");
        }
        Ok(trees)
    }

    /// A snapshot's XML.
    pub(crate) fn snapshot_xml(&self, domain: Uuid, name: &str) -> Result<Option<String>> {
        self.text(&self.of_snapshot("xml", domain, name))
    }

    /// Images that were made by snapshots no longer there.
    pub(crate) fn layers(&self, domain: Uuid) -> Result<BTreeSet<String>> {
        let text = self.text(&self.snapshot("layers", domain))?;
        let layers = text.map(|text| serde_json::from_str(&text)).transpose();
        Ok(layers.map_err(damaged)?.unwrap_or_default())
    }

    /// Every journal there is.
    pub(crate) fn journals(&self) -> Result<Vec<(Uuid, Journal)>> {
        let mut journals = Vec::new();
        self.for_each("snapshot-journal/", |key, value| {
            match (Uuid::parse_str(key), serde_json::from_slice(value)) {
                (Ok(uuid), Ok(journal)) => journals.push((uuid, journal)),
                _ => tracing::error!(key, "the journal of a domain's snapshots cannot be read"),
            }
        })?;
        Ok(journals)
    }

    /// The journal of one domain.
    pub(crate) fn journal(&self, domain: Uuid) -> Result<Option<Journal>> {
        let text = self.text(&self.snapshot("journal", domain))?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(damaged)
    }

    /// Writes down what is about to be done.
    pub(crate) async fn put_journal(&self, domain: Uuid, journal: &Journal) -> Result<()> {
        let text = serde_json::to_vec(journal).map_err(damaged)?;
        self.commit(Txn::new().put(self.snapshot("journal", domain), text))
            .await
    }

    /// What was begun has been undone.
    pub(crate) async fn drop_journal(&self, domain: Uuid) -> Result<()> {
        self.commit(Txn::new().delete(self.snapshot("journal", domain)))
            .await
    }

    /// Writes an outcome and forgets the journal, in one transaction.
    pub(crate) async fn settle(&self, domain: Uuid, outcome: &Outcome) -> Result<()> {
        let mut txn = Txn::new().delete(self.snapshot("journal", domain));
        let kept: BTreeSet<&str> = outcome.put.iter().map(|s| s.head.name.as_str()).collect();
        for snapshot in &outcome.put {
            let head = serde_json::to_vec(&snapshot.head).map_err(damaged)?;
            let name = &snapshot.head.name;
            txn = txn
                .put(self.of_snapshot("head", domain, name), head)
                .put(self.of_snapshot("xml", domain, name), snapshot.xml.as_str());
        }
        for name in outcome
            .remove
            .iter()
            .filter(|name| !kept.contains(name.as_str()))
        {
            txn = txn
                .delete(self.of_snapshot("head", domain, name))
                .delete(self.of_snapshot("xml", domain, name));
        }
        let current = self.snapshot("current", domain);
        txn = match &outcome.current {
            Some(name) => txn.put(current, name.as_str()),
            None => txn.delete(current),
        };
        let layers = self.snapshot("layers", domain);
        txn = match outcome.layers.is_empty() {
            true => txn.delete(layers),
            false => txn.put(
                layers,
                serde_json::to_vec(&outcome.layers).map_err(damaged)?,
            ),
        };
        if let Some(text) = &outcome.definition {
            txn = self.with_definition(txn, domain, text)?;
        }
        self.commit(txn).await
    }

    fn with_definition(&self, txn: Txn, domain: Uuid, text: &str) -> Result<Txn> {
        let head = self.text(&self.domain(domain, "head"))?;
        let Some(head) = head else { return Ok(txn) };
        let head: Head = serde_json::from_str(&head).map_err(damaged)?;
        let parsed = model::domain::Domain::parse(text).map_err(crate::engine::xml_error)?;
        let definition = Definition::of(parsed);
        let head = Head {
            summary: definition.summary,
            ..head
        };
        Ok(txn
            .put(self.domain(domain, "head"), encode(&head)?)
            .put(self.domain(domain, "xml"), definition.text))
    }

    /// Forgets all snapshots of a domain in the same transaction.
    pub(crate) fn without_snapshots(&self, mut txn: Txn, domain: Uuid) -> Txn {
        for part in ["head", "xml"] {
            txn = txn.delete_prefix(format!("{}/", self.snapshot(part, domain)));
        }
        for part in ["current", "layers", "journal"] {
            txn = txn.delete(self.snapshot(part, domain));
        }
        txn
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        let found = self.get(key).map_err(store_failed)?;
        Ok(found.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }
}

fn damaged(error: serde_json::Error) -> EngineError {
    EngineError::new(
        ErrorKind::Store,
        format!("a record about snapshots cannot be read or written: {error}"),
    )
}
