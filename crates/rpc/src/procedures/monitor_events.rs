//! QEMU's own events, as they come.

use wire::qemu::*;

use super::check_flags;
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::event_name::EventName;
use crate::failure::Answer;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(subscribe);
    dispatch.inline(unsubscribe);
}

/// `VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX`.
const REGEX: u32 = 1;
/// `VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_NOCASE`.
const NO_CASE: u32 = 2;

fn subscribe(
    client: &Client,
    args: ConnectDomainMonitorEventRegisterArgs,
) -> Answer<ConnectDomainMonitorEventRegisterRet> {
    check_flags(
        args.flags,
        REGEX | NO_CASE,
        "qemuConnectDomainQemuMonitorEventRegister",
    )?;
    let domain = args.dom.map(|dom| dom.uuid);
    let any_case = args.flags & NO_CASE != 0;
    let event = match args.event {
        None => EventName::Any,
        Some(pattern) if args.flags & REGEX != 0 => EventName::pattern(&pattern, any_case)?,
        Some(name) if any_case => EventName::AnyCase(name),
        Some(name) => EventName::Exact(name),
    };
    let callback_id = client.subscriptions().register_monitor(domain, event)?;
    Ok(ConnectDomainMonitorEventRegisterRet { callback_id })
}

fn unsubscribe(client: &Client, args: ConnectDomainMonitorEventDeregisterArgs) -> Answer<()> {
    client.subscriptions().deregister_monitor(args.callback_id)
}
