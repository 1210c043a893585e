//! Who works on which volume.
//!
//! Work on a volume runs beside the pool's owner, which only remembers that it goes on: nobody
//! else may then change the volume, and the pool can be neither stopped nor read anew.

use super::owner::Request;
use super::{Entry, Pool};
use crate::error::Result;
use crate::volumes::Volume;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What somebody does with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is being made: it is not there yet.
    Make,
    /// It is being changed: nobody else may read or change it.
    Change,
    /// It is being read: nobody may change it.
    Read,
}

/// The right to work on a volume, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    entry: Arc<Entry>,
    pub(crate) name: String,
    purpose: Purpose,
    given_back: bool,
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
        };
        self.ask(|reply| Request::Claim { claim, reply }).await
    }
}

impl Claim {
    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The owner grants it.
    pub(super) fn granted(mut self) -> Claim {
        self.given_back = false;
        self
    }

    /// Gives the right back and waits until the pool shows the volume as it is now.
    pub(crate) async fn finish(mut self) -> Result<Option<Arc<Volume>>> {
        self.given_back = true;
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
        if !self.given_back {
            // An owner that is gone needs nothing back.
            let _ = self.entry.mailbox.send(Request::Release {
                name: self.name.clone(),
                purpose: self.purpose,
                reply: None,
            });
        }
    }
}
