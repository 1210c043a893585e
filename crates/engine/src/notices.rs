//! What the engine tells of things that are no domains.

use crate::error::EngineError;
use crate::limits::EVENT_BACKLOG_MAX;
use crate::nodedev::NodeDeviceHappening;
use crate::secrets::{SecretHappening, SecretView};
use std::sync::Arc;
use tokio::sync::broadcast;
use uuid::Uuid;

/// One thing that happened to something that is no domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// To a storage pool.
    Pool {
        /// Its name.
        name: Arc<str>,
        /// Its uuid.
        uuid: Uuid,
        /// What happened.
        what: PoolHappening,
    },
    /// To a network.
    Network {
        /// Its name.
        name: Arc<str>,
        /// Its uuid.
        uuid: Uuid,
        /// What happened.
        what: NetworkHappening,
    },
    /// To a secret.
    Secret {
        /// The secret, as it is or was.
        secret: Arc<SecretView>,
        /// What happened.
        what: SecretHappening,
    },
    /// To a device of the host.
    NodeDevice {
        /// Its name.
        name: Arc<str>,
        /// What happened.
        what: NodeDeviceHappening,
    },
}

/// What can happen to a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkHappening {
    /// Its life: libvirt's number (defined 0, undefined 1, started 2, stopped 3).
    Lifecycle(i32),
    /// Its title, description or metadata: `virNetworkMetadataType` and the namespace.
    Metadata(i32, Option<String>),
}

/// What can happen to a storage pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolHappening {
    /// Its definition was stored.
    Defined,
    /// Its definition was removed.
    Undefined,
    /// It was taken into use.
    Started,
    /// It was taken out of use.
    Stopped,
    /// It was built.
    Created,
    /// What it was built of was removed.
    Deleted,
    /// What is in it was read anew.
    Refreshed,
}

/// The engine's side of all subscriptions.
#[derive(Debug, Clone)]
pub(crate) struct NoticeHub {
    sender: broadcast::Sender<Arc<Notice>>,
}

impl NoticeHub {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(EVENT_BACKLOG_MAX),
        }
    }

    pub(crate) fn tell(&self, notice: Notice) {
        // Nobody listening is no error.
        let _ = self.sender.send(Arc::new(notice));
    }

    pub(crate) fn subscribe(&self) -> NoticeStream {
        NoticeStream {
            receiver: self.sender.subscribe(),
        }
    }
}

/// One subscriber's stream of notices.
#[derive(Debug)]
pub struct NoticeStream {
    receiver: broadcast::Receiver<Arc<Notice>>,
}

impl NoticeStream {
    /// The next notice; an error when the subscriber was so slow that some were lost, or when the
    /// engine is gone. Either ends the stream.
    pub async fn next(&mut self) -> Result<Arc<Notice>, EngineError> {
        self.receiver.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(count) => {
                EngineError::failed(format!("the client is too slow: {count} events were lost"))
            }
            broadcast::error::RecvError::Closed => EngineError::stopping(),
        })
    }
}
