//! QEMU's events, typed as far as Stead acts on them.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::reply::{JobStatus, MigrationStatus};

/// What ended or restarted the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownCause {
    /// No reason given.
    None,
    /// QEMU met an error.
    HostError,
    /// `quit` by QMP.
    HostQmpQuit,
    /// `system_reset` by QMP.
    HostQmpSystemReset,
    /// A signal to QEMU.
    HostSignal,
    /// The user closed QEMU's window.
    HostUi,
    /// The guest shut itself down.
    GuestShutdown,
    /// The guest reset itself.
    GuestReset,
    /// The guest's kernel panicked.
    GuestPanic,
    /// A reset by a subsystem of the guest.
    SubsystemReset,
    /// A snapshot was loaded.
    SnapshotLoad,
    /// A reason this version of Stead does not know.
    #[serde(other)]
    Unknown,
}

/// A display client and server of a VNC or SPICE event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DisplayPeers {
    /// The server's side.
    pub server: DisplayPeer,
    /// The client's side.
    pub client: DisplayPeer,
}

/// One side of a display connection. VNC calls its port `service`, SPICE `port`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DisplayPeer {
    /// The address.
    pub host: String,
    /// The port, or the socket's path.
    #[serde(alias = "port", default)]
    pub service: String,
    /// `ipv4`, `ipv6`, `unix` or `vsock`.
    #[serde(default)]
    pub family: String,
    /// How the client proved itself.
    #[serde(default)]
    pub auth: Option<String>,
    /// The name the client gave with SASL.
    #[serde(default)]
    pub sasl_username: Option<String>,
    /// The name on the client's certificate.
    #[serde(default)]
    pub x509_dname: Option<String>,
}

/// A moment in the life of a display connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisplayPhase {
    /// A client connected.
    Connected,
    /// It proved itself and may look.
    Initialized,
    /// It left.
    Disconnected,
}

/// A disk could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlockIoError {
    /// The back end's name; empty for disks made with `-blockdev`.
    pub device: String,
    /// The device's object path (QEMU 9.2 and newer).
    #[serde(default)]
    pub qom_path: Option<String>,
    /// The block node.
    #[serde(default)]
    pub node_name: Option<String>,
    /// `read` or `write`.
    pub operation: String,
    /// What QEMU did: `report`, `ignore` or `stop`.
    pub action: String,
    /// There was no space left.
    #[serde(default)]
    pub nospace: bool,
    /// The cause for people.
    #[serde(default)]
    pub reason: String,
}

/// Something that happened in QEMU or its guest.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// QEMU shuts down, or would if it were not told to stay.
    Shutdown {
        /// The guest asked for it.
        guest: bool,
        /// Why.
        reason: ShutdownCause,
    },
    /// The guest restarts.
    Reset {
        /// The guest asked for it.
        guest: bool,
        /// Why.
        reason: ShutdownCause,
    },
    /// The processors stopped.
    Stop,
    /// The processors run again.
    Resume,
    /// The power button was pressed.
    Powerdown,
    /// The guest suspended to memory.
    Suspend,
    /// The guest suspended to disk and powers off.
    SuspendDisk,
    /// The guest woke up.
    Wakeup,
    /// The guest's kernel panicked.
    GuestPanicked {
        /// `pause`, `poweroff` or `run`.
        action: String,
        /// What the guest said about it.
        info: Option<Value>,
    },
    /// The guest's kernel crashed, and it saves a dump itself.
    GuestCrashloaded,
    /// The guest set its clock.
    RtcChange {
        /// Seconds the guest's clock is ahead of the host's.
        offset: i64,
    },
    /// The watchdog fired.
    Watchdog {
        /// What QEMU does about it.
        action: String,
    },
    /// A disk could not be read or written.
    BlockIoError(BlockIoError),
    /// A node has been written beyond a threshold.
    BlockWriteThreshold {
        /// The block node.
        node: String,
        /// How far beyond, in bytes.
        exceeded: u64,
        /// The threshold, in bytes.
        threshold: u64,
    },
    /// The tray of a drive moved.
    DeviceTrayMoved {
        /// The back end's name; empty for disks made with `-blockdev`.
        device: String,
        /// The device's id or path.
        id: Option<String>,
        /// It is open now.
        open: bool,
    },
    /// A device is gone.
    DeviceDeleted {
        /// Its id, if it had one.
        device: Option<String>,
        /// Its object.
        path: String,
    },
    /// The guest refused to release a device.
    DeviceUnplugGuestError {
        /// Its id, if it has one.
        device: Option<String>,
        /// Its object.
        path: String,
    },
    /// The balloon has a new size.
    BalloonChange {
        /// Memory left to the guest, in bytes.
        actual: u64,
    },
    /// A program in the guest opened or closed a virtio serial port.
    VserportChange {
        /// The port's id.
        id: String,
        /// It is open now.
        open: bool,
    },
    /// A network card's filter changed.
    NicRxFilterChanged {
        /// The card's id.
        name: Option<String>,
        /// Its object.
        path: String,
    },
    /// A VNC client came or went.
    Vnc(DisplayPhase, DisplayPeers),
    /// A SPICE client came or went.
    Spice(DisplayPhase, DisplayPeers),
    /// A SPICE client was moved to the destination of a migration.
    SpiceMigrateCompleted,
    /// A migration changed its state.
    Migration(MigrationStatus),
    /// A migration went through all memory once more.
    MigrationPass(u64),
    /// A job changed its state.
    JobStatusChange {
        /// The job's id.
        id: String,
        /// Its state.
        status: JobStatus,
    },
    /// A block job ended well, with an error, or by request; or it is ready to be completed.
    BlockJob {
        /// Which of these.
        phase: BlockJobPhase,
        /// The job's id.
        device: String,
        /// Its type.
        kind: String,
        /// Why it failed.
        error: Option<String>,
    },
    /// A dump in the background is over.
    DumpCompleted {
        /// Why it failed.
        error: Option<String>,
    },
    /// A memory device changed its size.
    MemoryDeviceSizeChange {
        /// Its id.
        id: Option<String>,
        /// Its new size in bytes.
        size: u64,
    },
    /// Anything else, or an event whose data is not as expected.
    Other {
        /// QEMU's name for it.
        name: String,
        /// Its data.
        data: Value,
    },
}

/// How far a block job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockJobPhase {
    /// Ended, well or not.
    Completed,
    /// Ended by request.
    Cancelled,
    /// Waits to be completed.
    Ready,
    /// Met an error and may go on.
    Error,
}

impl Event {
    /// Reads an event by its name. What is unknown or misshapen becomes [`Event::Other`].
    #[must_use]
    pub fn from_parts(name: &str, data: Value) -> Self {
        let bare = match name {
            "STOP" => Some(Self::Stop),
            "RESUME" => Some(Self::Resume),
            "POWERDOWN" => Some(Self::Powerdown),
            "SUSPEND" => Some(Self::Suspend),
            "SUSPEND_DISK" => Some(Self::SuspendDisk),
            "WAKEUP" => Some(Self::Wakeup),
            "GUEST_CRASHLOADED" => Some(Self::GuestCrashloaded),
            "SPICE_MIGRATE_COMPLETED" => Some(Self::SpiceMigrateCompleted),
            _ => None,
        };
        bare.or_else(|| Self::of_machine(name, &data))
            .or_else(|| Self::of_device(name, &data))
            .or_else(|| Self::of_job(name, &data))
            .unwrap_or_else(|| Self::Other {
                name: name.to_owned(),
                data,
            })
    }

    fn of_machine(name: &str, data: &Value) -> Option<Self> {
        let reason = || field(data, "reason").unwrap_or(ShutdownCause::None);
        Some(match name {
            "SHUTDOWN" => Self::Shutdown {
                guest: field(data, "guest")?,
                reason: reason(),
            },
            "RESET" => Self::Reset {
                guest: field(data, "guest")?,
                reason: reason(),
            },
            "GUEST_PANICKED" => Self::GuestPanicked {
                action: field(data, "action")?,
                info: field(data, "info"),
            },
            "RTC_CHANGE" => Self::RtcChange {
                offset: field(data, "offset")?,
            },
            "WATCHDOG" => Self::Watchdog {
                action: field(data, "action")?,
            },
            "BALLOON_CHANGE" => Self::BalloonChange {
                actual: field(data, "actual")?,
            },
            "VNC_CONNECTED" => Self::Vnc(DisplayPhase::Connected, whole(data)?),
            "VNC_INITIALIZED" => Self::Vnc(DisplayPhase::Initialized, whole(data)?),
            "VNC_DISCONNECTED" => Self::Vnc(DisplayPhase::Disconnected, whole(data)?),
            "SPICE_CONNECTED" => Self::Spice(DisplayPhase::Connected, whole(data)?),
            "SPICE_INITIALIZED" => Self::Spice(DisplayPhase::Initialized, whole(data)?),
            "SPICE_DISCONNECTED" => Self::Spice(DisplayPhase::Disconnected, whole(data)?),
            _ => return None,
        })
    }

    fn of_device(name: &str, data: &Value) -> Option<Self> {
        let path = || field(data, "path");
        Some(match name {
            "BLOCK_IO_ERROR" => Self::BlockIoError(whole(data)?),
            "BLOCK_WRITE_THRESHOLD" => Self::BlockWriteThreshold {
                node: field(data, "node-name")?,
                exceeded: field(data, "amount-exceeded")?,
                threshold: field(data, "write-threshold")?,
            },
            "DEVICE_TRAY_MOVED" => Self::DeviceTrayMoved {
                device: field(data, "device")?,
                id: field(data, "id"),
                open: field(data, "tray-open")?,
            },
            "DEVICE_DELETED" => Self::DeviceDeleted {
                device: field(data, "device"),
                path: path()?,
            },
            "DEVICE_UNPLUG_GUEST_ERROR" => Self::DeviceUnplugGuestError {
                device: field(data, "device"),
                path: path()?,
            },
            "VSERPORT_CHANGE" => Self::VserportChange {
                id: field(data, "id")?,
                open: field(data, "open")?,
            },
            "NIC_RX_FILTER_CHANGED" => Self::NicRxFilterChanged {
                name: field(data, "name"),
                path: path()?,
            },
            "MEMORY_DEVICE_SIZE_CHANGE" => Self::MemoryDeviceSizeChange {
                id: field(data, "id"),
                size: field(data, "size")?,
            },
            _ => return None,
        })
    }

    fn of_job(name: &str, data: &Value) -> Option<Self> {
        let phase = match name {
            "MIGRATION" => return Some(Self::Migration(field(data, "status")?)),
            "MIGRATION_PASS" => return Some(Self::MigrationPass(field(data, "pass")?)),
            "DUMP_COMPLETED" => {
                return Some(Self::DumpCompleted {
                    error: field(data, "error"),
                });
            }
            "JOB_STATUS_CHANGE" => {
                let (id, status) = (field(data, "id")?, field(data, "status")?);
                return Some(Self::JobStatusChange { id, status });
            }
            "BLOCK_JOB_COMPLETED" => BlockJobPhase::Completed,
            "BLOCK_JOB_CANCELLED" => BlockJobPhase::Cancelled,
            "BLOCK_JOB_READY" => BlockJobPhase::Ready,
            "BLOCK_JOB_ERROR" => BlockJobPhase::Error,
            _ => return None,
        };
        Some(Self::BlockJob {
            phase,
            device: field(data, "device")?,
            kind: field(data, "type").unwrap_or_default(),
            error: field(data, "error"),
        })
    }
}

fn field<T: DeserializeOwned>(data: &Value, name: &str) -> Option<T> {
    T::deserialize(data.get(name)?).ok()
}

fn whole<T: DeserializeOwned>(data: &Value) -> Option<T> {
    T::deserialize(data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shutdown_says_who_and_why() {
        let event = Event::from_parts(
            "SHUTDOWN",
            json!({"guest": true, "reason": "guest-shutdown"}),
        );
        let reason = ShutdownCause::GuestShutdown;
        assert_eq!(
            event,
            Event::Shutdown {
                guest: true,
                reason
            }
        );
        let event = Event::from_parts("RESET", json!({"guest": false, "reason": "new-one"}));
        assert_eq!(
            event,
            Event::Reset {
                guest: false,
                reason: ShutdownCause::Unknown
            }
        );
    }

    #[test]
    fn both_displays_name_their_ports() {
        let peers = |service: &str| {
            let side = |port: &str| json!({"host": "::1", service: port, "family": "ipv6"});
            json!({"server": side("5900"), "client": side("4")})
        };
        let vnc = Event::from_parts("VNC_CONNECTED", peers("service"));
        let spice = Event::from_parts("SPICE_DISCONNECTED", peers("port"));
        assert!(matches!(&vnc, Event::Vnc(DisplayPhase::Connected, p) if p.client.service == "4"));
        let Event::Spice(DisplayPhase::Disconnected, peers) = spice else {
            panic!("{spice:?}")
        };
        assert_eq!(peers.server.service, "5900");
    }

    #[test]
    fn tray_and_deletion_are_named() {
        let data = json!({"device": "", "id": "sata0-0-0", "tray-open": true});
        assert_eq!(
            Event::from_parts("DEVICE_TRAY_MOVED", data),
            Event::DeviceTrayMoved {
                device: String::new(),
                id: Some("sata0-0-0".into()),
                open: true
            }
        );
        let event = Event::from_parts("DEVICE_DELETED", json!({"path": "/machine/x"}));
        assert_eq!(
            event,
            Event::DeviceDeleted {
                device: None,
                path: "/machine/x".into()
            }
        );
    }

    #[test]
    fn jobs_and_migrations_report() {
        let event = Event::from_parts("MIGRATION", json!({"status": "completed"}));
        assert_eq!(event, Event::Migration(MigrationStatus::Completed));
        let event = Event::from_parts("JOB_STATUS_CHANGE", json!({"id": "a", "status": "ready"}));
        assert_eq!(
            event,
            Event::JobStatusChange {
                id: "a".into(),
                status: JobStatus::Ready
            }
        );
    }

    #[test]
    fn the_unexpected_is_kept() {
        for (name, data) in [
            ("NEW", json!({})),
            ("SHUTDOWN", json!([])),
            ("RTC_CHANGE", json!(1)),
        ] {
            let other = Event::Other {
                name: name.to_owned(),
                data: data.clone(),
            };
            assert_eq!(Event::from_parts(name, data), other);
        }
    }
}
