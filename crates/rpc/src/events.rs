//! What events a client wants, and events as packets for it.
//!
//! A subscription is filtered here, on the server's side: by the kind of event and, if the client
//! named one, by domain. The older way, one subscription per kind for all domains and packets
//! without its number, works too.

use engine::events::{DomainEvent, DomainName, Happening};
use engine::machine::{LifecycleEvent, StartedDetail};
use engine::tuning::TunableValue;
use wire::connection::encode_event;
use wire::consts::event::*;
use wire::errors::ErrorCode;
use wire::procedure::Event;
use wire::qemu;
use wire::remote::*;

use crate::event_name::EventName;
use crate::failure::{Answer, Failure};
use crate::limits::SUBSCRIPTIONS_MAX;

/// One client's subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    list: Vec<Subscription>,
    next_id: i32,
}

#[derive(Debug)]
struct Subscription {
    id: i32,
    domain: Option<[u8; 16]>,
    what: Wanted,
}

#[derive(Debug)]
enum Wanted {
    /// Events of one of libvirt's kinds; packets carry the subscription's number.
    Kind(i32),
    /// The same without the number.
    Legacy(i32),
    /// QEMU's own events, all or those of one name.
    Monitor(EventName),
}

impl Subscription {
    fn is_legacy(&self, kind: i32) -> bool {
        matches!(self.what, Wanted::Legacy(mine) if mine == kind)
    }
}

/// Kinds of events that the older way of subscribing knows: up to this one.
const LEGACY_KIND_MAX: i32 = VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED;
/// The last kind of domain event there is: a changed MAC address.
const KIND_MAX: i32 = 27;

impl Subscriptions {
    /// True if the client wants no events.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn add(&mut self, domain: Option<[u8; 16]>, what: Wanted) -> Answer<i32> {
        if self.list.len() >= SUBSCRIPTIONS_MAX {
            return Err(Failure::new(
                ErrorCode::OperationFailed,
                format!("a client can have at most {SUBSCRIPTIONS_MAX} event subscriptions"),
            ));
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1) & i32::MAX;
        self.list.push(Subscription { id, domain, what });
        Ok(id)
    }

    fn remove(&mut self, which: impl Fn(&Subscription) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(|subscription| !which(subscription));
        self.list.len() < before
    }

    /// Subscribes to a kind of event, of one domain or all; the number is for ending it.
    pub(crate) fn register(&mut self, kind: i32, domain: Option<[u8; 16]>) -> Answer<i32> {
        check_kind(kind, KIND_MAX)?;
        self.add(domain, Wanted::Kind(kind))
    }

    /// Ends a subscription.
    pub(crate) fn deregister(&mut self, id: i32) -> Answer<()> {
        match self.remove(|s| s.id == id && matches!(s.what, Wanted::Kind(_))) {
            true => Ok(()),
            false => Err(not_registered(&format!("domain event callback {id}"))),
        }
    }

    /// Subscribes the older way.
    pub(crate) fn register_legacy(&mut self, kind: i32) -> Answer<()> {
        check_kind(kind, LEGACY_KIND_MAX)?;
        if self.list.iter().any(|s| s.is_legacy(kind)) {
            return Err(Failure(wire::remote::RpcError::new(
                ErrorCode::InternalError,
                wire::errors::ErrorDomain::Rpc,
                format!("domain event {kind} already registered"),
            )));
        }
        self.add(None, Wanted::Legacy(kind)).map(drop)
    }

    /// Ends the older way's subscription.
    pub(crate) fn deregister_legacy(&mut self, kind: i32) -> Answer<()> {
        check_kind(kind, LEGACY_KIND_MAX)?;
        match self.remove(|s| s.is_legacy(kind)) {
            true => Ok(()),
            false => Err(not_registered(&format!("domain event {kind}"))),
        }
    }

    /// Subscribes to QEMU's own events.
    pub(crate) fn register_monitor(
        &mut self,
        domain: Option<[u8; 16]>,
        event: EventName,
    ) -> Answer<i32> {
        self.add(domain, Wanted::Monitor(event))
    }

    /// Ends a subscription to QEMU's own events.
    pub(crate) fn deregister_monitor(&mut self, id: i32) -> Answer<()> {
        match self.remove(|s| s.id == id && matches!(s.what, Wanted::Monitor(_))) {
            true => Ok(()),
            false => Err(not_registered(&format!("qemu monitor event callback {id}"))),
        }
    }

    /// The packets that tell this client of an event.
    pub(crate) fn packets(&self, event: &DomainEvent) -> Vec<Vec<u8>> {
        let uuid = event.domain.uuid.into_bytes();
        let dom = remote_domain(&event.domain);
        self.list
            .iter()
            .filter(|s| s.domain.is_none_or(|wanted| wanted == uuid))
            .flat_map(|s| match &s.what {
                Wanted::Kind(kind) => packets_of(*kind, Some(s.id), &dom, &event.what),
                Wanted::Legacy(kind) => packets_of(*kind, None, &dom, &event.what),
                Wanted::Monitor(name) => monitor_packet(s.id, name, &dom, &event.what),
            })
            .collect()
    }
}

fn check_kind(kind: i32, max: i32) -> Answer<()> {
    match (0..=max).contains(&kind) {
        true => Ok(()),
        false => Err(Failure(RpcError::new(
            ErrorCode::InternalError,
            wire::errors::ErrorDomain::Rpc,
            format!("unsupported event ID {kind}"),
        ))),
    }
}

fn not_registered(what: &str) -> Failure {
    Failure(RpcError::new(
        ErrorCode::InternalError,
        wire::errors::ErrorDomain::Rpc,
        format!("{what} not registered"),
    ))
}

fn remote_domain(name: &DomainName) -> RemoteDomain {
    RemoteDomain {
        name: name.name.to_string(),
        uuid: name.uuid.into_bytes(),
        id: name.id.unwrap_or(-1),
    }
}

fn packet<T: Event>(event: T) -> Vec<Vec<u8>> {
    // An event too long to be sent is lost to this client, and no reason to end its connection.
    encode_event(&event).into_iter().collect()
}

/// Makes the packet of an event that can be told with and without a subscription's number.
macro_rules! both {
    ($id:expr, $plain:expr, $numbered:ident) => {{
        let msg = $plain;
        match $id {
            None => packet(msg),
            Some(callback_id) => packet($numbered { callback_id, msg }),
        }
    }};
    ($id:expr, $plain:expr, $numbered:ident, reason $reason:expr) => {{
        let msg = $plain;
        match $id {
            None => packet(msg),
            Some(callback_id) => packet($numbered {
                callback_id,
                reason: $reason,
                msg,
            }),
        }
    }};
}

/// The event as one of this kind, if it is one; `id` is the subscription's number.
fn packets_of(kind: i32, id: Option<i32>, dom: &RemoteDomain, what: &Happening) -> Vec<Vec<u8>> {
    let dom = dom.clone();
    match (kind, what) {
        (VIR_DOMAIN_EVENT_ID_LIFECYCLE, Happening::Lifecycle(event)) => both!(
            id,
            DomainEventLifecycleMsg {
                dom,
                event: event.number(),
                detail: event.detail_number(),
            },
            DomainEventCallbackLifecycleMsg
        ),
        (VIR_DOMAIN_EVENT_ID_REBOOT, Happening::Reboot) => {
            both!(
                id,
                DomainEventRebootMsg { dom },
                DomainEventCallbackRebootMsg
            )
        }
        (VIR_DOMAIN_EVENT_ID_RTC_CHANGE, Happening::RtcChange { offset_s }) => both!(
            id,
            DomainEventRtcChangeMsg {
                dom,
                offset: *offset_s,
            },
            DomainEventCallbackRtcChangeMsg
        ),
        (VIR_DOMAIN_EVENT_ID_WATCHDOG, Happening::Watchdog { action }) => both!(
            id,
            DomainEventWatchdogMsg {
                dom,
                action: *action,
            },
            DomainEventCallbackWatchdogMsg
        ),
        (
            VIR_DOMAIN_EVENT_ID_IO_ERROR,
            Happening::IoError {
                path,
                alias,
                action,
                ..
            },
        ) => both!(
            id,
            DomainEventIoErrorMsg {
                dom,
                src_path: path.clone(),
                dev_alias: alias.clone(),
                action: *action,
            },
            DomainEventCallbackIoErrorMsg
        ),
        (
            VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
            Happening::IoError {
                path,
                alias,
                action,
                reason,
            },
        ) => both!(
            id,
            DomainEventIoErrorReasonMsg {
                dom,
                src_path: path.clone(),
                dev_alias: alias.clone(),
                action: *action,
                reason: reason.clone(),
            },
            DomainEventCallbackIoErrorReasonMsg
        ),
        (
            VIR_DOMAIN_EVENT_ID_GRAPHICS,
            Happening::Graphics {
                phase,
                local,
                remote,
                auth,
            },
        ) => both!(
            id,
            DomainEventGraphicsMsg {
                dom,
                phase: *phase,
                local: graphics_address(local),
                remote: graphics_address(remote),
                auth_scheme: auth.clone(),
                subject: Vec::new(),
            },
            DomainEventCallbackGraphicsMsg
        ),
        (VIR_DOMAIN_EVENT_ID_CONTROL_ERROR, Happening::ControlError) => both!(
            id,
            DomainEventControlErrorMsg { dom },
            DomainEventCallbackControlErrorMsg
        ),
        (VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, Happening::TrayChange { alias, open }) => both!(
            id,
            DomainEventTrayChangeMsg {
                dom,
                dev_alias: alias.clone(),
                reason: match open {
                    true => VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN,
                    false => VIR_DOMAIN_EVENT_TRAY_CHANGE_CLOSE,
                },
            },
            DomainEventCallbackTrayChangeMsg
        ),
        (VIR_DOMAIN_EVENT_ID_PMWAKEUP, Happening::Lifecycle(event))
            if *event == LifecycleEvent::Started(StartedDetail::Wakeup) =>
        {
            both!(
                id,
                DomainEventPmwakeupMsg { dom },
                DomainEventCallbackPmwakeupMsg,
                reason 0
            )
        }
        (
            VIR_DOMAIN_EVENT_ID_PMSUSPEND,
            Happening::Lifecycle(LifecycleEvent::PmSuspendedMemory),
        ) => both!(
            id,
            DomainEventPmsuspendMsg { dom },
            DomainEventCallbackPmsuspendMsg,
            reason 0
        ),
        (
            VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK,
            Happening::Lifecycle(LifecycleEvent::PmSuspendedDisk),
        ) => both!(
            id,
            DomainEventPmsuspendDiskMsg { dom },
            DomainEventCallbackPmsuspendDiskMsg,
            reason 0
        ),
        (
            VIR_DOMAIN_EVENT_ID_BLOCK_JOB,
            Happening::BlockJob {
                path, kind, status, ..
            },
        ) => both!(
            id,
            DomainEventBlockJobMsg {
                dom,
                path: path.clone(),
                kind: *kind,
                status: *status,
            },
            DomainEventCallbackBlockJobMsg
        ),
        (VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, Happening::BalloonChange { actual_kib }) => both!(
            id,
            DomainEventBalloonChangeMsg {
                dom,
                actual: *actual_kib,
            },
            DomainEventCallbackBalloonChangeMsg
        ),
        (VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, Happening::DeviceRemoved { alias }) => both!(
            id,
            DomainEventDeviceRemovedMsg {
                dom,
                dev_alias: alias.clone(),
            },
            DomainEventCallbackDeviceRemovedMsg
        ),
        _ => id.map_or(Vec::new(), |id| numbered_packets(kind, id, dom, what)),
    }
}

/// Kinds that came after the older way, and always carry the subscription's number.
fn numbered_packets(
    kind: i32,
    callback_id: i32,
    dom: RemoteDomain,
    what: &Happening,
) -> Vec<Vec<u8>> {
    match (kind, what) {
        (VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, Happening::AgentLifecycle { connected, reason }) => {
            packet(DomainEventCallbackAgentLifecycleMsg {
                callback_id,
                dom,
                state: match connected {
                    true => VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED,
                    false => VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED,
                },
                reason: *reason,
            })
        }
        (
            VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE,
            Happening::MemoryDeviceSizeChange { alias, bytes },
        ) => packet(DomainEventMemoryDeviceSizeChangeMsg {
            callback_id,
            dom,
            alias: alias.clone(),
            size: *bytes,
        }),
        (VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, Happening::DeviceAdded { alias }) => {
            packet(DomainEventCallbackDeviceAddedMsg {
                callback_id,
                dom,
                dev_alias: alias.clone(),
            })
        }
        (VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, Happening::DeviceRemovalFailed { alias }) => {
            packet(DomainEventCallbackDeviceRemovalFailedMsg {
                callback_id,
                dom,
                dev_alias: alias.clone(),
            })
        }
        (VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, Happening::MetadataChange { kind, namespace }) => {
            packet(DomainEventCallbackMetadataChangeMsg {
                callback_id,
                dom,
                kind: *kind,
                nsuri: namespace.clone(),
            })
        }
        (
            VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD,
            Happening::BlockThreshold {
                device,
                path,
                threshold,
                excess,
            },
        ) => packet(DomainEventBlockThresholdMsg {
            callback_id,
            dom,
            dev: device.clone(),
            path: path.clone(),
            threshold: *threshold,
            excess: *excess,
        }),
        (VIR_DOMAIN_EVENT_ID_TUNABLE, Happening::Tunable(values)) => {
            let param = |(name, value): &(String, TunableValue)| match value {
                TunableValue::Unsigned(number) => TypedParam::new(name.as_str(), *number),
                TunableValue::Signed(number) => TypedParam::new(name.as_str(), *number),
                TunableValue::Text(text) => TypedParam::new(name.as_str(), text.as_str()),
            };
            packet(DomainEventCallbackTunableMsg {
                callback_id,
                dom,
                params: values.iter().map(param).collect(),
            })
        }
        (
            VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
            Happening::BlockJob {
                disk, kind, status, ..
            },
        ) => packet(DomainEventBlockJob2Msg {
            callback_id,
            dom,
            dst: disk.clone(),
            kind: *kind,
            status: *status,
        }),
        (VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, Happening::JobCompleted(stats)) => {
            packet(DomainEventCallbackJobCompletedMsg {
                callback_id,
                dom,
                params: crate::procedures::job::params(stats),
            })
        }
        _ => Vec::new(),
    }
}

fn monitor_packet(
    callback_id: i32,
    wanted: &EventName,
    dom: &RemoteDomain,
    what: &Happening,
) -> Vec<Vec<u8>> {
    let Happening::Monitor {
        event,
        seconds,
        micros,
        details,
    } = what
    else {
        return Vec::new();
    };
    if !wanted.matches(event) {
        return Vec::new();
    }
    packet(qemu::DomainMonitorEventMsg {
        callback_id,
        dom: dom.clone(),
        event: event.clone(),
        seconds: *seconds,
        micros: u32::try_from(*micros).unwrap_or(0),
        details: details.clone(),
    })
}

fn graphics_address(address: &engine::events::GraphicsAddress) -> GraphicsAddress {
    GraphicsAddress {
        family: address.family,
        node: address.node.clone(),
        service: address.service.clone(),
    }
}
