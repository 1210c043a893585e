//! `net-event`: waiting for what happens to networks.

use client::wire::remote;

use super::networks::named;
use super::pool_events::{ABOUT, LIST, LOOP, TIMEOUT, TIMESTAMP, kind, wait_for};
use crate::args::Args;
use crate::event_text::{self, NETWORK_NAMES};
use crate::failure::Outcome;
use crate::session::Session;
use crate::table::{Verb, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new("net-event", "wait for events of networks", event)
    .about(ABOUT)
    .options(&[
        text("network", "only of this network: its name or uuid")
            .bare()
            .of_things(crate::table::Thing::Network),
        text("event", "the kind of event to wait for")
            .bare()
            .words(NETWORK_NAMES),
        LOOP,
        TIMEOUT,
        LIST,
        TIMESTAMP,
    ])
    .tabular()];

fn event(s: &mut Session, args: &Args) -> Outcome {
    let Some(event_id) = kind(s, args, NETWORK_NAMES)? else {
        return Ok(());
    };
    let net = args.text("network")?;
    let net = net.map(|name| named(s, name)).transpose()?;
    let call = remote::ConnectNetworkEventRegisterAnyArgs { event_id, net };
    wait_for(
        s,
        args,
        event_text::of,
        |s| Ok(s.call(&call)?.callback_id),
        |s, callback_id| Ok(s.call(&remote::ConnectNetworkEventDeregisterAnyArgs { callback_id })?),
    )
}
