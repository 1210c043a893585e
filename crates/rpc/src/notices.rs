//! What a client wants to be told of things that are no domains, and that as packets for it.

use engine::nodedev::{DeviceListener, NodeDeviceHappening};
use engine::notices::{NetworkHappening, Notice, PoolHappening};
use engine::secrets::{SecretHappening, SecretView};
use wire::connection::encode_event;
use wire::errors::{ErrorCode, ErrorDomain};
use wire::remote::*;

use crate::failure::{Answer, Failure};
use crate::limits::SUBSCRIPTIONS_MAX;

/// `VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE`.
const POOL_LIFECYCLE: i32 = 0;
/// `VIR_STORAGE_POOL_EVENT_ID_REFRESH`.
const POOL_REFRESH: i32 = 1;

/// `VIR_NETWORK_EVENT_ID_LIFECYCLE`.
const NETWORK_LIFECYCLE: i32 = 0;
/// `VIR_NETWORK_EVENT_ID_METADATA_CHANGE`.
const NETWORK_METADATA: i32 = 1;

/// `VIR_SECRET_EVENT_ID_LIFECYCLE`.
const SECRET_LIFECYCLE: i32 = 0;
/// `VIR_SECRET_EVENT_ID_VALUE_CHANGED`.
const SECRET_VALUE_CHANGED: i32 = 1;

/// `VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE`.
const DEVICE_LIFECYCLE: i32 = 0;
/// `VIR_NODE_DEVICE_EVENT_ID_UPDATE`.
const DEVICE_UPDATE: i32 = 1;

/// One client's subscriptions.
#[derive(Debug, Default)]
pub(crate) struct NoticeSubscriptions {
    list: Vec<Subscription>,
    next_id: i32,
}

#[derive(Debug)]
struct Subscription {
    id: i32,
    family: Family,
    /// One thing only.
    only: Option<Key>,
    /// libvirt's number of the kind of event, within the family.
    kind: i32,
    /// For the host's devices, which are watched only while somebody listens.
    _listener: Option<DeviceListener>,
}

/// What a thing is told from its like by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// A uuid.
    Uuid([u8; 16]),
    /// A name.
    Name(String),
}

/// What a subscription is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Storage pools.
    Pool,
    /// Networks.
    Network,
    /// Secrets.
    Secret,
    /// The host's devices.
    NodeDevice,
}

impl Family {
    /// The last kind of event there is.
    fn kind_max(self) -> i32 {
        match self {
            Family::Pool => POOL_REFRESH,
            Family::Network => NETWORK_METADATA,
            Family::Secret => SECRET_VALUE_CHANGED,
            Family::NodeDevice => DEVICE_UPDATE,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Family::Pool => "storage pool",
            Family::Network => "network",
            Family::Secret => "secret",
            Family::NodeDevice => "node device",
        }
    }
}

impl NoticeSubscriptions {
    /// True if the client wants nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Subscribes to a kind of event, of one thing or all; the number is for ending it.
    pub(crate) fn register(&mut self, family: Family, kind: i32, only: Option<Key>) -> Answer<i32> {
        self.add(family, kind, only, None)
    }

    /// Subscribes to a kind of event of the host's devices, of one or all.
    pub(crate) fn register_device(
        &mut self,
        kind: i32,
        only: Option<String>,
        listener: DeviceListener,
    ) -> Answer<i32> {
        let only = only.map(Key::Name);
        self.add(Family::NodeDevice, kind, only, Some(listener))
    }

    fn add(
        &mut self,
        family: Family,
        kind: i32,
        only: Option<Key>,
        listener: Option<DeviceListener>,
    ) -> Answer<i32> {
        if !(0..=family.kind_max()).contains(&kind) {
            return Err(internal(format!(
                "unsupported {} event ID {kind}",
                family.word()
            )));
        }
        if self.list.len() >= SUBSCRIPTIONS_MAX {
            return Err(Failure::new(
                ErrorCode::OperationFailed,
                format!("a client can have at most {SUBSCRIPTIONS_MAX} event subscriptions"),
            ));
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1) & i32::MAX;
        self.list.push(Subscription {
            id,
            family,
            only,
            kind,
            _listener: listener,
        });
        Ok(id)
    }

    /// Ends a subscription.
    pub(crate) fn deregister(&mut self, family: Family, id: i32) -> Answer<()> {
        let before = self.list.len();
        self.list.retain(|s| s.id != id || s.family != family);
        match self.list.len() < before {
            true => Ok(()),
            false => Err(internal(format!(
                "{} event callback {id} not registered",
                family.word()
            ))),
        }
    }

    /// The packets that tell this client of a notice.
    pub(crate) fn packets(&self, notice: &Notice) -> Vec<Vec<u8>> {
        let subscribed = self.list.iter();
        subscribed
            .filter_map(|subscription| packet(subscription, notice))
            .collect()
    }
}

fn internal(detail: String) -> Failure {
    Failure(RpcError::new(
        ErrorCode::InternalError,
        ErrorDomain::Rpc,
        detail,
    ))
}

fn packet(subscription: &Subscription, notice: &Notice) -> Option<Vec<u8>> {
    let (family, key) = match notice {
        Notice::Pool { uuid, .. } => (Family::Pool, Key::Uuid(uuid.into_bytes())),
        Notice::Network { uuid, .. } => (Family::Network, Key::Uuid(uuid.into_bytes())),
        Notice::Secret { secret, .. } => (Family::Secret, Key::Uuid(secret.uuid.into_bytes())),
        Notice::NodeDevice { name, .. } => (Family::NodeDevice, Key::Name(name.to_string())),
    };
    let only = subscription.only.as_ref();
    if subscription.family != family || only.is_some_and(|only| *only != key) {
        return None;
    }
    let (id, kind) = (subscription.id, subscription.kind);
    match notice {
        Notice::Pool { name, what, uuid } => {
            let (name, uuid) = (name.to_string(), uuid.into_bytes());
            pool_packet(id, kind, RemoteStoragePool { name, uuid }, *what)
        }
        Notice::Network { name, what, uuid } => {
            let (name, uuid) = (name.to_string(), uuid.into_bytes());
            network_packet(id, kind, RemoteNetwork { name, uuid }, what)
        }
        Notice::Secret { secret, what } => secret_packet(id, kind, secret, *what),
        Notice::NodeDevice { name, what } => {
            let name = name.to_string();
            device_packet(id, kind, RemoteNodeDevice { name }, *what)
        }
    }
}

fn pool_packet(
    callback_id: i32,
    kind: i32,
    pool: RemoteStoragePool,
    what: PoolHappening,
) -> Option<Vec<u8>> {
    match (kind, lifecycle_number(what)) {
        (POOL_LIFECYCLE, Some(event)) => encode_event(&StoragePoolEventLifecycleMsg {
            callback_id,
            pool,
            event,
            detail: 0,
        })
        .ok(),
        (POOL_REFRESH, None) => {
            encode_event(&StoragePoolEventRefreshMsg { callback_id, pool }).ok()
        }
        _ => None,
    }
}

fn network_packet(
    callback_id: i32,
    kind: i32,
    net: RemoteNetwork,
    what: &NetworkHappening,
) -> Option<Vec<u8>> {
    match (kind, what) {
        (NETWORK_LIFECYCLE, NetworkHappening::Lifecycle(event)) => {
            encode_event(&NetworkEventLifecycleMsg {
                callback_id,
                net,
                event: *event,
                detail: 0,
            })
            .ok()
        }
        (NETWORK_METADATA, NetworkHappening::Metadata(kind, namespace)) => {
            encode_event(&NetworkEventCallbackMetadataChangeMsg {
                callback_id,
                net,
                kind: *kind,
                nsuri: namespace.clone(),
            })
            .ok()
        }
        _ => None,
    }
}

fn secret_packet(
    callback_id: i32,
    kind: i32,
    secret: &SecretView,
    what: SecretHappening,
) -> Option<Vec<u8>> {
    let secret = crate::procedures::remote_secret(secret);
    // `virSecretEventLifecycleType`.
    let event = match what {
        SecretHappening::Defined => Some(0),
        SecretHappening::Undefined => Some(1),
        SecretHappening::ValueChanged => None,
    };
    match (kind, event) {
        (SECRET_LIFECYCLE, Some(event)) => encode_event(&SecretEventLifecycleMsg {
            callback_id,
            secret,
            event,
            detail: 0,
        })
        .ok(),
        (SECRET_VALUE_CHANGED, None) => encode_event(&SecretEventValueChangedMsg {
            callback_id,
            secret,
        })
        .ok(),
        _ => None,
    }
}

fn device_packet(
    callback_id: i32,
    kind: i32,
    dev: RemoteNodeDevice,
    what: NodeDeviceHappening,
) -> Option<Vec<u8>> {
    // `virNodeDeviceEventLifecycleType`.
    let event = match what {
        NodeDeviceHappening::Created => Some(0),
        NodeDeviceHappening::Deleted => Some(1),
        NodeDeviceHappening::Changed => None,
    };
    match (kind, event) {
        (DEVICE_LIFECYCLE, Some(event)) => encode_event(&NodeDeviceEventLifecycleMsg {
            callback_id,
            dev,
            event,
            detail: 0,
        })
        .ok(),
        (DEVICE_UPDATE, None) => encode_event(&NodeDeviceEventUpdateMsg { callback_id, dev }).ok(),
        _ => None,
    }
}

/// `virStoragePoolEventLifecycleType`.
fn lifecycle_number(what: PoolHappening) -> Option<i32> {
    match what {
        PoolHappening::Defined => Some(0),
        PoolHappening::Undefined => Some(1),
        PoolHappening::Started => Some(2),
        PoolHappening::Stopped => Some(3),
        PoolHappening::Created => Some(4),
        PoolHappening::Deleted => Some(5),
        PoolHappening::Refreshed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(what: PoolHappening) -> Notice {
        Notice::Pool {
            name: "p".into(),
            uuid: uuid::Uuid::nil(),
            what,
        }
    }

    #[test]
    fn a_client_is_told_what_it_asked_for() {
        let mut wanted = NoticeSubscriptions::default();
        let lifecycle = wanted.register(Family::Pool, POOL_LIFECYCLE, None).unwrap();
        wanted
            .register(Family::Pool, POOL_REFRESH, Some(Key::Uuid([1; 16])))
            .unwrap();
        assert_eq!(wanted.packets(&notice(PoolHappening::Started)).len(), 1);
        assert!(wanted.packets(&notice(PoolHappening::Refreshed)).is_empty());
        wanted.deregister(Family::Pool, lifecycle).unwrap();
        assert!(wanted.packets(&notice(PoolHappening::Started)).is_empty());
        assert!(wanted.deregister(Family::Pool, lifecycle).is_err());
        assert!(wanted.register(Family::Pool, 2, None).is_err());
    }

    #[test]
    fn networks_and_pools_are_told_apart() {
        let mut wanted = NoticeSubscriptions::default();
        let id = wanted
            .register(Family::Network, NETWORK_LIFECYCLE, None)
            .unwrap();
        assert!(wanted.packets(&notice(PoolHappening::Started)).is_empty());
        let started = Notice::Network {
            name: "n".into(),
            uuid: uuid::Uuid::nil(),
            what: NetworkHappening::Lifecycle(2),
        };
        assert_eq!(wanted.packets(&started).len(), 1);
        assert!(wanted.deregister(Family::Pool, id).is_err());
        wanted.deregister(Family::Network, id).unwrap();
    }

    #[test]
    fn one_device_is_told_from_others() {
        let mut wanted = NoticeSubscriptions::default();
        let only = Some(Key::Name("net_a".to_owned()));
        wanted
            .register(Family::NodeDevice, DEVICE_LIFECYCLE, only)
            .unwrap();
        let came = |name: &str, what| {
            let name = name.into();
            Notice::NodeDevice { name, what }
        };
        let told = |notice| wanted.packets(&notice).len();
        assert_eq!(told(came("net_a", NodeDeviceHappening::Created)), 1);
        assert_eq!(told(came("net_b", NodeDeviceHappening::Created)), 0);
        assert_eq!(told(came("net_a", NodeDeviceHappening::Changed)), 0);
    }
}
