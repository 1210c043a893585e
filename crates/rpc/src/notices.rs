//! What a client wants to be told of things that are no domains, and that as packets for it.

use engine::notices::{NetworkHappening, Notice, PoolHappening};
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
    /// One thing only, by uuid.
    only: Option<[u8; 16]>,
    /// libvirt's number of the kind of event, within the family.
    kind: i32,
}

/// What a subscription is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Storage pools.
    Pool,
    /// Networks.
    Network,
}

impl Family {
    /// The last kind of event there is.
    fn kind_max(self) -> i32 {
        match self {
            Family::Pool => POOL_REFRESH,
            Family::Network => NETWORK_METADATA,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Family::Pool => "storage pool",
            Family::Network => "network",
        }
    }
}

impl NoticeSubscriptions {
    /// True if the client wants nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Subscribes to a kind of event, of one thing or all; the number is for ending it.
    pub(crate) fn register(
        &mut self,
        family: Family,
        kind: i32,
        only: Option<[u8; 16]>,
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
    let (family, uuid) = match notice {
        Notice::Pool { uuid, .. } => (Family::Pool, uuid.into_bytes()),
        Notice::Network { uuid, .. } => (Family::Network, uuid.into_bytes()),
    };
    let is_meant =
        subscription.family == family && subscription.only.is_none_or(|only| only == uuid);
    if !is_meant {
        return None;
    }
    let (id, kind) = (subscription.id, subscription.kind);
    match notice {
        Notice::Pool { name, what, .. } => {
            let name = name.to_string();
            pool_packet(id, kind, RemoteStoragePool { name, uuid }, *what)
        }
        Notice::Network { name, what, .. } => {
            let name = name.to_string();
            network_packet(id, kind, RemoteNetwork { name, uuid }, what)
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
            .register(Family::Pool, POOL_REFRESH, Some([1; 16]))
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
}
