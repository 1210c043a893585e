//! QEMU's own events, as they come.

use wire::qemu::*;

use super::check_flags;
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(subscribe);
    dispatch.inline(unsubscribe);
}

/// Events are chosen by their whole name; the flags for patterns are refused.
fn subscribe(
    client: &Client,
    args: ConnectDomainMonitorEventRegisterArgs,
) -> Answer<ConnectDomainMonitorEventRegisterRet> {
    check_flags(args.flags, 0, "qemuConnectDomainQemuMonitorEventRegister")?;
    let domain = args.dom.map(|dom| dom.uuid);
    let callback_id = client
        .subscriptions()
        .register_monitor(domain, args.event)?;
    Ok(ConnectDomainMonitorEventRegisterRet { callback_id })
}

fn unsubscribe(client: &Client, args: ConnectDomainMonitorEventDeregisterArgs) -> Answer<()> {
    client.subscriptions().deregister_monitor(args.callback_id)
}
