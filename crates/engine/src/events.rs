//! What the engine tells its subscribers.

use crate::error::EngineError;
use crate::limits::EVENT_BACKLOG_MAX;
use qemu::machine::LifecycleEvent;
use std::sync::Arc;
use tokio::sync::broadcast;
use uuid::Uuid;

/// Which domain an event is about, as it was named then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainName {
    /// Its name.
    pub name: Arc<str>,
    /// Its uuid.
    pub uuid: Uuid,
    /// Its id while it ran.
    pub id: Option<i32>,
}

/// One thing that happened to a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainEvent {
    /// The domain.
    pub domain: DomainName,
    /// What happened.
    pub what: Happening,
}

/// What can happen to a domain.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// It was defined, started, stopped, …
    Lifecycle(LifecycleEvent),
    /// Its guest rebooted.
    Reboot,
    /// Its guest set its clock.
    RtcChange {
        /// Seconds ahead of the host's clock.
        offset_s: i64,
    },
    /// Its watchdog fired; libvirt's number of what was done about it.
    Watchdog {
        /// `virDomainEventWatchdogAction`.
        action: i32,
    },
    /// A disk failed.
    IoError {
        /// The disk's source.
        path: String,
        /// The disk's alias.
        alias: String,
        /// `virDomainEventIOErrorAction`.
        action: i32,
        /// Why, for example `enospc`.
        reason: String,
    },
    /// A viewer of its screen came or went.
    Graphics {
        /// `virDomainEventGraphicsPhase`.
        phase: i32,
        /// The viewer's address.
        local: GraphicsAddress,
        /// The server's address.
        remote: GraphicsAddress,
        /// How the viewer proved who it is.
        auth: String,
    },
    /// A tray was opened or closed.
    TrayChange {
        /// The drive's alias.
        alias: String,
        /// Whether it is open now.
        open: bool,
    },
    /// A program in the guest connected to or left the agent's channel.
    AgentLifecycle {
        /// Whether the agent is there.
        connected: bool,
        /// `virConnectDomainEventAgentLifecycleReason`.
        reason: i32,
    },
    /// Its balloon has a new size.
    BalloonChange {
        /// Memory left to the guest.
        actual_kib: u64,
    },
    /// The guest uses another part of a memory module.
    MemoryDeviceSizeChange {
        /// The module's alias.
        alias: String,
        /// How much of it the guest uses now, in bytes.
        bytes: u64,
    },
    /// A device is gone from it.
    DeviceRemoved {
        /// The device's alias.
        alias: String,
    },
    /// A device came to it.
    DeviceAdded {
        /// The device's alias.
        alias: String,
    },
    /// A device could not be taken away.
    DeviceRemovalFailed {
        /// The device's alias.
        alias: String,
    },
    /// Its title, description or metadata changed.
    MetadataChange {
        /// `virDomainMetadataType`.
        kind: i32,
        /// The namespace of a metadata element.
        namespace: Option<String>,
    },
    /// An image was written beyond a threshold.
    BlockThreshold {
        /// The disk, `vda` or `vda[1]`.
        device: String,
        /// The image's file, if it has one.
        path: Option<String>,
        /// The threshold, in bytes.
        threshold: u64,
        /// How far beyond, in bytes.
        excess: u64,
    },
    /// What it may use of the host changed: names of values, and the values.
    Tunable(Vec<(String, crate::tuning::TunableValue)>),
    /// A long operation on it ended.
    JobCompleted(crate::job::JobStats),
    /// A job on one of its disks ended or is ready.
    BlockJob {
        /// The disk's source.
        path: String,
        /// The disk's target.
        disk: String,
        /// `virDomainBlockJobType`.
        kind: i32,
        /// `virConnectDomainEventBlockJobStatus`.
        status: i32,
    },
    /// Its monitor failed.
    ControlError,
    /// Any event of QEMU, raw, for `qemu-monitor-event`.
    Monitor {
        /// QEMU's name for it.
        event: String,
        /// Seconds since the epoch, by QEMU's clock.
        seconds: i64,
        /// Microseconds of it.
        micros: i64,
        /// Its data as JSON.
        details: Option<String>,
    },
}

/// An end of a viewer's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphicsAddress {
    /// `virDomainEventGraphicsAddressType`.
    pub family: i32,
    /// Host or path.
    pub node: String,
    /// Port.
    pub service: String,
}

/// The engine's side of all subscriptions.
#[derive(Debug, Clone)]
pub(crate) struct EventHub {
    sender: broadcast::Sender<Arc<DomainEvent>>,
}

/// The engine listens too, for what rules depend on.
const OWN_LISTENERS: usize = 1;

impl EventHub {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(EVENT_BACKLOG_MAX),
        }
    }

    pub(crate) fn emit(&self, domain: DomainName, what: Happening) {
        // Nobody listening is no error.
        let _ = self.sender.send(Arc::new(DomainEvent { domain, what }));
    }

    /// Whether anybody listens: raw monitor events are not worth copying otherwise.
    pub(crate) fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > OWN_LISTENERS
    }

    pub(crate) fn subscribe(&self) -> EventStream {
        EventStream {
            receiver: self.sender.subscribe(),
        }
    }
}

/// One subscriber's stream of events.
#[derive(Debug)]
pub struct EventStream {
    receiver: broadcast::Receiver<Arc<DomainEvent>>,
}

impl EventStream {
    /// The next event; an error when the subscriber was so slow that events
    /// were lost, or when the engine is gone. Either ends the stream.
    pub async fn next(&mut self) -> Result<Arc<DomainEvent>, EngineError> {
        self.receiver.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(count) => {
                EngineError::failed(format!("the client is too slow: {count} events were lost"))
            }
            broadcast::error::RecvError::Closed => EngineError::stopping(),
        })
    }
}
