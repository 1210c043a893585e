//! Events of networks.

use std::sync::Arc;

use engine::network::{NetworkEvent, NetworkHappening};
use wire::connection::encode_event;
use wire::errors::ErrorCode;
use wire::remote::*;

use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_NETWORK_EVENT_ID_LIFECYCLE`.
const LIFECYCLE: i32 = 0;
/// `VIR_NETWORK_EVENT_ID_METADATA_CHANGE`.
const METADATA_CHANGE: i32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(subscribe);
    dispatch.inline(unsubscribe);
}

fn subscribe(
    client: &Client,
    args: ConnectNetworkEventRegisterAnyArgs,
) -> Answer<ConnectNetworkEventRegisterAnyRet> {
    let kind = args.event_id;
    if !matches!(kind, LIFECYCLE | METADATA_CHANGE) {
        return Err(Failure::new(
            ErrorCode::InternalError,
            format!("unsupported network event ID {kind}"),
        ));
    }
    let only = args.net.map(|net| net.uuid);
    let callback_id = client.object_events.register(
        client.engine.network_events(),
        move |id, event: &Arc<NetworkEvent>| {
            let wanted = only.is_none_or(|uuid| uuid == event.uuid.into_bytes());
            wanted.then(|| packet(id, kind, event)).flatten()
        },
    )?;
    Ok(ConnectNetworkEventRegisterAnyRet { callback_id })
}

fn unsubscribe(client: &Client, args: ConnectNetworkEventDeregisterAnyArgs) -> Answer<()> {
    client.object_events.deregister(args.callback_id, "network")
}

fn packet(callback_id: i32, kind: i32, event: &NetworkEvent) -> Option<Vec<u8>> {
    let net = RemoteNetwork {
        name: event.name.to_string(),
        uuid: event.uuid.into_bytes(),
    };
    match (kind, &event.what) {
        (LIFECYCLE, NetworkHappening::Lifecycle(number)) => {
            encode_event(&NetworkEventLifecycleMsg {
                callback_id,
                net,
                event: *number,
                detail: 0,
            })
        }
        (METADATA_CHANGE, NetworkHappening::Metadata(kind, namespace)) => {
            encode_event(&NetworkEventCallbackMetadataChangeMsg {
                callback_id,
                net,
                kind: *kind,
                nsuri: namespace.clone(),
            })
        }
        _ => return None,
    }
    .ok()
}
