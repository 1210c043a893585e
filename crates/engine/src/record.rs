//! What is written about a domain in the store, and under which keys.
//!
//! `host/HOST/domain-head/UUID`: a small JSON that lists need.
//! `host/HOST/domain-xml/UUID`: the complete definition.
//! `host/HOST/domain-remains/UUID`: files of a domain that was undefined, still to be removed.
//! `host/HOST/pool/UUID`: a storage pool, as JSON.
//! `host/HOST/job/ID`: a long operation, as JSON.
//! `host/HOST/network/UUID`: a network, as JSON.
//! `host/HOST/secret/UUID`: what a secret is for, as JSON; never its value.
//! `host/HOST/domain-name/NAME`: the uuid that owns the name. What is said of one domain is always written in one
//! transaction.

use crate::error::{EngineError, ErrorKind, Result};
use crate::view::Summary;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use store::{Store, Txn};
use uuid::Uuid;

/// The small part of a domain's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) autostart: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) autostart_once: bool,
    pub(crate) summary: Summary,
}

/// The keys of one host's domains.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    store: Store,
    host: Uuid,
}

impl Records {
    pub(crate) fn new(store: Store, host: Uuid) -> Self {
        Self { store, host }
    }

    /// A key of this host.
    pub(crate) fn key(&self, rest: &str) -> String {
        format!("host/{}/{rest}", self.host)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> std::result::Result<Option<Vec<u8>>, store::StoreError> {
        let found = self.store.get_blocking(key)?;
        Ok(found.map(|item| item.value.to_vec()))
    }

    /// Every key below `prefix` of this host's keys, the prefix taken off, with its value.
    pub(crate) fn for_each(&self, prefix: &str, mut each: impl FnMut(&str, &[u8])) -> Result<()> {
        let prefix = self.key(prefix);
        self.store
            .for_each_blocking(&prefix, |item| each(&item.key[prefix.len()..], &item.value))
            .map(drop)
            .map_err(store_failed)
    }

    pub(crate) fn domain(&self, uuid: Uuid, part: &str) -> String {
        self.key(&format!("domain-{part}/{uuid}"))
    }

    fn name(&self, name: &str) -> String {
        format!("host/{}/domain-name/{name}", self.host)
    }

    /// Every domain of the host. Reads the heads and nothing else, so that a
    /// start with thousands of domains is quick.
    pub(crate) fn for_each_head(&self, mut each: impl FnMut(Uuid, Head)) -> Result<()> {
        let prefix = format!("host/{}/domain-head/", self.host);
        let mut broken = None;
        self.store
            .for_each_blocking(&prefix, |item| {
                let uuid = &item.key[prefix.len()..];
                match (Uuid::parse_str(uuid), serde_json::from_slice(&item.value)) {
                    (Ok(uuid), Ok(head)) => each(uuid, head),
                    _ => broken = Some(item.key),
                }
            })
            .map_err(store_failed)?;
        match broken {
            None => Ok(()),
            Some(key) => Err(EngineError::new(
                ErrorKind::Store,
                format!(
                    "the record '{key}' cannot be read: it was damaged or written by a newer stead"
                ),
            )),
        }
    }

    /// The stored definition.
    pub(crate) fn xml(&self, uuid: Uuid) -> Result<Option<String>> {
        let found = self
            .store
            .get_blocking(&self.domain(uuid, "xml"))
            .map_err(store_failed)?;
        found
            .map(|item| String::from_utf8(item.value.to_vec()))
            .transpose()
            .map_err(|_| {
                EngineError::new(
                    ErrorKind::Store,
                    format!("the definition of {uuid} is not text"),
                )
            })
    }

    /// Writes a definition; with `fresh`, only if its name is free.
    pub(crate) async fn put(&self, uuid: Uuid, head: &Head, xml: &str, fresh: bool) -> Result<()> {
        let name = self.name(&head.name);
        let mut txn = Txn::new();
        if fresh {
            txn = txn.when_absent(name.clone());
        }
        let txn = txn
            .put(name, uuid.to_string())
            .put(self.domain(uuid, "head"), encode(head)?)
            .put(self.domain(uuid, "xml"), xml);
        self.commit(txn).await
    }

    /// Writes the head alone.
    pub(crate) async fn put_head(&self, uuid: Uuid, head: &Head) -> Result<()> {
        self.commit(Txn::new().put(self.domain(uuid, "head"), encode(head)?))
            .await
    }

    /// Writes a definition under a new name and frees the old one.
    pub(crate) async fn rename(&self, uuid: Uuid, old: &str, head: &Head, xml: &str) -> Result<()> {
        let name = self.name(&head.name);
        let txn = Txn::new()
            .when_absent(name.clone())
            .delete(self.name(old))
            .put(name, uuid.to_string())
            .put(self.domain(uuid, "head"), encode(head)?)
            .put(self.domain(uuid, "xml"), xml);
        self.commit(txn).await
    }

    /// Removes a domain's record, and notes the files that are to go with it:
    /// they are removed by the caller, or at the next start.
    ///
    /// With `snapshots`, what is known of its snapshots too.
    pub(crate) async fn delete(
        &self,
        uuid: Uuid,
        name: &str,
        files: &[PathBuf],
        snapshots: bool,
    ) -> Result<()> {
        let mut txn = Txn::new()
            .delete(self.name(name))
            .delete(self.domain(uuid, "head"))
            .delete(self.domain(uuid, "xml"));
        if !files.is_empty() {
            txn = txn.put(self.domain(uuid, "remains"), encode(&files)?);
        }
        if snapshots {
            txn = self.without_snapshots(txn, uuid);
        }
        self.commit(txn).await
    }

    /// The files of a domain whose record was deleted are gone.
    pub(crate) async fn files_removed(&self, uuid: Uuid) -> Result<()> {
        self.commit(Txn::new().delete(self.domain(uuid, "remains")))
            .await
    }

    /// The domains whose record was deleted and whose files may still be there.
    pub(crate) fn remains(&self) -> Result<Vec<(Uuid, Vec<PathBuf>)>> {
        let prefix = format!("host/{}/domain-remains/", self.host);
        let mut found = Vec::new();
        self.store
            .for_each_blocking(&prefix, |item| {
                let uuid = Uuid::parse_str(&item.key[prefix.len()..]);
                if let (Ok(uuid), Ok(files)) = (uuid, serde_json::from_slice(&item.value)) {
                    found.push((uuid, files));
                }
            })
            .map_err(store_failed)?;
        Ok(found)
    }

    fn pool(&self, uuid: Uuid) -> String {
        format!("host/{}/pool/{uuid}", self.host)
    }

    /// Every pool's record.
    pub(crate) fn for_each_pool(&self, mut each: impl FnMut(&[u8])) -> Result<()> {
        let prefix = format!("host/{}/pool/", self.host);
        self.store
            .for_each_blocking(&prefix, |item| each(&item.value))
            .map(drop)
            .map_err(store_failed)
    }

    /// Writes a pool's record.
    pub(crate) async fn put_pool(&self, uuid: Uuid, record: Vec<u8>) -> Result<()> {
        self.commit(Txn::new().put(self.pool(uuid), record)).await
    }

    /// Removes a pool's record.
    pub(crate) async fn delete_pool(&self, uuid: Uuid) -> Result<()> {
        self.commit(Txn::new().delete(self.pool(uuid))).await
    }

    /// Every job's record.
    pub(crate) fn for_each_job(&self, mut each: impl FnMut(u64, &[u8])) -> Result<()> {
        let prefix = format!("host/{}/job/", self.host);
        self.store
            .for_each_blocking(&prefix, |item| {
                if let Ok(id) = item.key[prefix.len()..].parse() {
                    each(id, &item.value);
                }
            })
            .map(drop)
            .map_err(store_failed)
    }

    /// Writes a job's record.
    pub(crate) async fn put_job(&self, id: u64, record: Vec<u8>) -> Result<()> {
        self.commit(Txn::new().put(format!("host/{}/job/{id}", self.host), record))
            .await
    }

    /// Removes a job's record.
    pub(crate) async fn delete_job(&self, id: u64) -> Result<()> {
        self.commit(Txn::new().delete(format!("host/{}/job/{id}", self.host)))
            .await
    }

    fn object(&self, kind: &str, uuid: Uuid) -> String {
        format!("host/{}/{kind}/{uuid}", self.host)
    }

    /// Every record of one kind (`network`, …).
    pub(crate) fn for_each_object(&self, kind: &str, mut each: impl FnMut(&[u8])) -> Result<()> {
        let prefix = format!("host/{}/{kind}/", self.host);
        self.store
            .for_each_blocking(&prefix, |item| each(&item.value))
            .map(drop)
            .map_err(store_failed)
    }

    fn item(&self, kind: &str, name: &str) -> String {
        format!("host/{}/{kind}/{name}", self.host)
    }

    /// Every record of a kind that is known by a name: `image`, `template`, `seed`.
    pub(crate) fn for_each_item(
        &self,
        kind: &str,
        mut each: impl FnMut(&str, &[u8]),
    ) -> Result<()> {
        let prefix = self.item(kind, "");
        self.store
            .for_each_blocking(&prefix, |item| each(&item.key[prefix.len()..], &item.value))
            .map(drop)
            .map_err(store_failed)
    }

    /// Writes a record.
    pub(crate) async fn put_object(&self, kind: &str, uuid: Uuid, record: Vec<u8>) -> Result<()> {
        self.commit(Txn::new().put(self.object(kind, uuid), record))
            .await
    }

    /// Removes a record.
    pub(crate) async fn delete_object(&self, kind: &str, uuid: Uuid) -> Result<()> {
        self.commit(Txn::new().delete(self.object(kind, uuid)))
            .await
    }

    /// The host the records are of.
    pub(crate) fn host(&self) -> Uuid {
        self.host
    }

    /// One such record.
    pub(crate) fn get_item(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>> {
        let found = self.store.get_blocking(&self.item(kind, name));
        Ok(found.map_err(store_failed)?.map(|item| item.value.to_vec()))
    }

    /// Writes one.
    pub(crate) async fn put_item(&self, kind: &str, name: &str, record: Vec<u8>) -> Result<()> {
        self.commit(Txn::new().put(self.item(kind, name), record))
            .await
    }

    /// Removes one.
    pub(crate) async fn delete_item(&self, kind: &str, name: &str) -> Result<()> {
        self.commit(Txn::new().delete(self.item(kind, name))).await
    }

    pub(crate) async fn commit(&self, txn: Txn) -> Result<()> {
        let outcome = self.store.txn(txn).await.map_err(store_failed)?;
        outcome.into_result().map(drop).map_err(store_failed)
    }
}

pub(crate) fn encode(record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))
}

pub(crate) fn store_failed(error: store::StoreError) -> EngineError {
    EngineError::new(ErrorKind::Store, error.to_string())
}
