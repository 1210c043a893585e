//! Who works on which volume.
//!
//! Work on a volume runs beside the pool's owner, which only remembers that it goes on: nobody
//! else may then change the volume, and the pool can be neither stopped nor read anew.

use super::owner::Request;
use super::scan::is_volume_name;
use super::{Entry, Pool};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::volumes::Volume;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// What somebody does with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is being made: it is not there yet.
    Make,
    /// It is being changed: nobody else may read or change it.
    Change,
    /// Its content is being uploaded: nobody else may read or change it, but it can be deleted,
    /// after which the upload comes to nothing.
    Upload,
    /// It is being deleted.
    Delete,
    /// It is being read: nobody may change it.
    Read,
}

/// Whether an upload's volume was deleted under it. Who wants to say so, and the upload that is
/// about to give its file the volume's name, cannot both do it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overtaken(Arc<Mutex<bool>>);

impl Overtaken {
    /// Does the last step of an upload, unless its volume was deleted.
    pub(crate) fn unless<T>(&self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let overtaken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *overtaken {
            false => step(),
            true => Err(EngineError::new(
                ErrorKind::OperationAborted,
                format!("volume '{name}' was deleted while it was uploaded"),
            )),
        }
    }

    /// The volume is about to be deleted; not while the upload takes its last step.
    fn overtake(&self) -> bool {
        match self.0.try_lock() {
            Ok(mut overtaken) => {
                *overtaken = true;
                true
            }
            Err(_) => false,
        }
    }

    fn is_overtaken(&self) -> bool {
        // While the upload takes its last step it is not.
        self.0.try_lock().is_ok_and(|overtaken| *overtaken)
    }
}

#[derive(Debug)]
struct Held {
    purpose: Purpose,
    /// How many have it: more than one only of readers.
    count: usize,
    overtaken: Overtaken,
}

/// What an owner knows of who works on its pool's volumes.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<String, Held>);

impl Claims {
    /// True if nobody works on any volume.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody is making this one.
    pub(super) fn is_made(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|held| held.purpose == Purpose::Make)
    }

    /// Notes that somebody works on a volume, which is there or is not.
    pub(super) fn grant(&mut self, claim: &Claim, is_there: bool) -> Result<()> {
        self.hold(&claim.name, claim.purpose, &claim.overtaken, is_there)
    }

    fn hold(
        &mut self,
        name: &str,
        purpose: Purpose,
        overtaken: &Overtaken,
        is_there: bool,
    ) -> Result<()> {
        match (purpose, self.0.get_mut(name)) {
            (_, Some(held)) if held.purpose == Purpose::Make => {
                return Err(EngineError::invalid(format!(
                    "volume '{name}' is still being allocated."
                )));
            }
            (Purpose::Make, _) if is_there => {
                let what = format!("'{name}'");
                return Err(EngineError::new(ErrorKind::VolumeExists, what));
            }
            (purpose, _) if purpose != Purpose::Make && !is_there => {
                let what = format!("no storage vol with matching name '{name}'");
                return Err(EngineError::new(ErrorKind::NoVolume, what));
            }
            (Purpose::Read, Some(held)) if held.purpose == Purpose::Read => {
                held.count += 1;
                return Ok(());
            }
            (Purpose::Delete, Some(held))
                if held.purpose == Purpose::Upload && held.overtaken.overtake() => {}
            (_, Some(_)) => {
                return Err(EngineError::invalid(format!(
                    "volume '{name}' is still in use."
                )));
            }
            (_, None) => {}
        }
        let held = Held {
            purpose,
            count: 1,
            overtaken: overtaken.clone(),
        };
        self.0.insert(name.to_owned(), held);
        Ok(())
    }

    /// Somebody who was granted it for this purpose is done. An upload that was overtaken meanwhile
    /// has nothing to give back: the claim is that of whoever deletes the volume.
    pub(super) fn release(&mut self, name: &str, purpose: Purpose) {
        if let Some(held) = self.0.get_mut(name)
            && held.purpose == purpose
        {
            held.count -= 1;
            if held.count == 0 {
                self.0.remove(name);
            }
        }
    }
}

/// The right to work on a volume, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    entry: Arc<Entry>,
    pub(crate) name: String,
    purpose: Purpose,
    given_back: bool,
    overtaken: Overtaken,
}

impl Pool {
    /// Takes the right to work on a volume.
    ///
    /// # Errors
    /// If the pool is not active or does not answer, the volume is not there (or is, for one to be
    /// made), or somebody else works on it.
    pub(crate) async fn claim(&self, name: &str, purpose: Purpose) -> Result<Claim> {
        let entry = self.entry.clone();
        let claim = Claim {
            entry,
            name: name.to_owned(),
            purpose,
            given_back: true,
            overtaken: Overtaken::default(),
        };
        self.ask(|reply| Request::Claim { claim, reply }).await
    }

    /// Shows the file of this name as it is now: as a volume, or no more.
    ///
    /// # Errors
    /// If the pool does not answer.
    pub(crate) async fn look(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.ask(|reply| Request::Look { name, reply }).await
    }
}

impl Engine {
    /// Takes the right to a path that is a volume, or would be one; none where it is in no pool.
    ///
    /// # Errors
    /// As [`Pool::claim`].
    pub(crate) async fn claim_path(&self, path: &Path, purpose: Purpose) -> Result<Option<Claim>> {
        let Some((pool, name)) = path.to_str().and_then(|path| self.pool_of_path(path)) else {
            return Ok(None);
        };
        if purpose != Purpose::Make && pool.volume(&name).is_err() {
            // Something put it there after the pool was read.
            return Ok(None);
        }
        let claimed = match pool.claim(&name, purpose).await {
            // Somebody may have removed it behind the pool's back.
            Err(error) if error.kind == ErrorKind::VolumeExists => {
                pool.look(&name).await?;
                pool.claim(&name, purpose).await
            }
            claimed => claimed,
        };
        claimed.map(Some).map_err(|error| match error.kind {
            ErrorKind::VolumeExists => {
                let what = format!("'{}' is there already", path.display());
                EngineError::new(ErrorKind::VolumeExists, what)
            }
            _ => error,
        })
    }

    /// The active pool that a file lies in, or would, and its name there.
    pub(crate) fn pool_of_path(&self, path: &str) -> Option<(Pool, String)> {
        let (directory, name) = path.trim_end_matches('/').rsplit_once('/')?;
        let pool = self.pool_by_path(directory.trim_end_matches('/')).ok()?;
        is_volume_name(name).then(|| (pool, name.to_owned()))
    }

    /// Lets pools show files that have come or gone without them.
    pub(crate) async fn show_files(&self, files: &[PathBuf]) {
        for file in files {
            if let Some((pool, name)) = file.to_str().and_then(|file| self.pool_of_path(file))
                && let Err(error) = pool.look(&name).await
            {
                tracing::warn!(file = %file.display(), %error, "its pool does not show it");
            }
        }
    }
}

impl Claim {
    /// Whether the volume is deleted while it is uploaded.
    pub(crate) fn overtaken(&self) -> Overtaken {
        self.overtaken.clone()
    }

    /// The owner grants it.
    pub(super) fn granted(mut self) -> Claim {
        self.given_back = false;
        self
    }

    /// Gives the right back and waits until the pool shows the volume as it is now.
    pub(crate) async fn finish(mut self) -> Result<Option<Arc<Volume>>> {
        self.given_back = true;
        if self.overtaken.is_overtaken() {
            return Ok(None);
        }
        let (reply, answer) = oneshot::channel();
        let request = Request::Release {
            name: self.name.clone(),
            purpose: self.purpose,
            reply: Some(reply),
        };
        if self.entry.mailbox.send(request).is_err() {
            return Ok(None);
        }
        answer.await.unwrap_or(Ok(None))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.given_back && !self.overtaken.is_overtaken() {
            // An owner that is gone needs nothing back.
            let _ = self.entry.mailbox.send(Request::Release {
                name: self.name.clone(),
                purpose: self.purpose,
                reply: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_that_was_overtaken_gives_nobodys_claim_back() {
        let mut claims = Claims::default();
        let (upload, other) = (Overtaken::default(), Overtaken::default());
        let hold = |claims: &mut Claims, purpose, overtaken: &Overtaken| {
            claims.hold("v", purpose, overtaken, true).is_ok()
        };
        assert!(hold(&mut claims, Purpose::Upload, &upload));
        assert!(!hold(&mut claims, Purpose::Read, &other));
        assert!(hold(&mut claims, Purpose::Delete, &other));
        let late = upload.unless("v", || Ok(())).expect_err("it was deleted");
        assert_eq!(late.kind, ErrorKind::OperationAborted);
        claims.release("v", Purpose::Upload);
        assert!(!hold(&mut claims, Purpose::Read, &other), "it is deleted");
        claims.release("v", Purpose::Delete);
        assert!(claims.is_empty());
    }

    #[test]
    fn an_upload_in_its_last_step_is_not_overtaken() {
        let mut claims = Claims::default();
        let (upload, other) = (Overtaken::default(), Overtaken::default());
        let held = claims.hold("v", Purpose::Upload, &upload, true);
        held.expect("nobody has it");
        let done = upload.unless("v", || claims.hold("v", Purpose::Delete, &other, true));
        assert!(done.is_err() && !upload.is_overtaken());
    }
}
