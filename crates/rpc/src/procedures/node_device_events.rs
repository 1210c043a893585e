//! Events of the host's devices.

use std::sync::Arc;

use engine::nodedev::{NodeDeviceEvent, NodeDeviceHappening};
use wire::connection::encode_event;
use wire::errors::ErrorCode;
use wire::remote::*;

use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE`.
const LIFECYCLE: i32 = 0;
/// `VIR_NODE_DEVICE_EVENT_ID_UPDATE`.
const UPDATE: i32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(subscribe);
    dispatch.inline(unsubscribe);
}

fn subscribe(
    client: &Client,
    args: ConnectNodeDeviceEventRegisterAnyArgs,
) -> Answer<ConnectNodeDeviceEventRegisterAnyRet> {
    let kind = args.event_id;
    if !matches!(kind, LIFECYCLE | UPDATE) {
        return Err(Failure::new(
            ErrorCode::InternalError,
            format!("unsupported node device event ID {kind}"),
        ));
    }
    let only = args.dev.map(|dev| dev.name);
    let callback_id = client.object_events.register(
        client.engine.node_device_events()?,
        move |id, event: &Arc<NodeDeviceEvent>| {
            let wanted = only.as_ref().is_none_or(|name| *name == event.name);
            wanted.then(|| packet(id, kind, event)).flatten()
        },
    )?;
    Ok(ConnectNodeDeviceEventRegisterAnyRet { callback_id })
}

fn unsubscribe(client: &Client, args: ConnectNodeDeviceEventDeregisterAnyArgs) -> Answer<()> {
    client
        .object_events
        .deregister(args.callback_id, "node device")
}

fn packet(callback_id: i32, kind: i32, event: &NodeDeviceEvent) -> Option<Vec<u8>> {
    let dev = RemoteNodeDevice {
        name: event.name.clone(),
    };
    let lifecycle = |event| {
        encode_event(&NodeDeviceEventLifecycleMsg {
            callback_id,
            dev: dev.clone(),
            event,
            detail: 0,
        })
    };
    match (kind, event.what) {
        (LIFECYCLE, NodeDeviceHappening::Created) => lifecycle(0),
        (LIFECYCLE, NodeDeviceHappening::Deleted) => lifecycle(1),
        (UPDATE, NodeDeviceHappening::Changed) => {
            encode_event(&NodeDeviceEventUpdateMsg { callback_id, dev })
        }
        _ => return None,
    }
    .ok()
}
