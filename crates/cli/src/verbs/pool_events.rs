//! `pool-event` and `nodedev-event`: waiting for what happens to storage pools and to the host's
//! devices.

use std::sync::mpsc;
use std::time::Instant;

use client::wire::frame::Packet;
use client::wire::remote;

use super::events::{News, over, timeout, wait};
use super::node_devices::lookup_device;
use crate::args::Args;
use crate::event_text::{self, NODE_DEVICE_NAMES, POOL_NAMES, Told};
use crate::failure::{Failure, Outcome};
use crate::interrupt::send_on_interrupt;
use crate::session::Session;
use crate::storage::lookup_pool;
use crate::table::{Opt, Verb, flag, number, text};

pub(super) const ABOUT: &str = "Prints events as they happen; the first one only, unless told to \
                                go on. With --format json each is one line.";
pub(super) const LOOP: Opt = flag("loop", "go on until interrupted or the time is over");
pub(super) const TIMEOUT: Opt = number("timeout", "give up after so many seconds").bare();
pub(super) const LIST: Opt = flag("list", "print the kinds of events there are");
pub(super) const TIMESTAMP: Opt = flag("timestamp", "with the time of each event");

/// The verbs about pools.
pub(crate) const VERBS: &[Verb] =
    &[
        Verb::new("pool-event", "wait for events of pools", pool_event)
            .about(ABOUT)
            .options(&[
                text("pool", "only of this pool: its name or uuid")
                    .bare()
                    .of_things(crate::table::Thing::Pool),
                text("event", "the kind of event to wait for")
                    .bare()
                    .words(POOL_NAMES),
                LOOP,
                TIMEOUT,
                LIST,
                TIMESTAMP,
            ])
            .tabular(),
    ];

/// Those about the host's devices.
pub(crate) const DEVICE_VERBS: &[Verb] = &[Verb::new(
    "nodedev-event",
    "wait for events of the host's devices",
    device_event,
)
.about(ABOUT)
.options(&[
    text("device", "only of this device: its name or 'wwnn,wwpn'")
        .bare()
        .of_things(crate::table::Thing::NodeDevice),
    text("event", "the kind of event to wait for")
        .bare()
        .words(NODE_DEVICE_NAMES),
    LOOP,
    TIMEOUT,
    LIST,
    TIMESTAMP,
])
.tabular()];

/// The number of the kind of event asked for; none where only the kinds were to be listed.
pub(super) fn kind(s: &mut Session, args: &Args, names: &[&str]) -> Result<Option<i32>, Failure> {
    if args.has("list") {
        s.out.names("event", names.iter().copied());
        return Ok(None);
    }
    let Some(wanted) = args.text("event")? else {
        let what = "either --list or --event <type> is required";
        return Err(Failure::said(what));
    };
    let known = (0i32..).zip(names).find(|(_, name)| **name == wanted);
    match known {
        Some((number, _)) => Ok(Some(number)),
        None => Err(Failure::said(format!("unknown event type {wanted}"))),
    }
}

/// Waits from the moment on that `register` is called until enough has happened.
///
/// # Errors
/// If nothing happened, or the daemon refuses.
pub(super) fn wait_for(
    s: &mut Session,
    args: &Args,
    told: impl Fn(&Packet) -> Option<Told>,
    register: impl FnOnce(&mut Session) -> Result<i32, Failure>,
    deregister: impl FnOnce(&mut Session, i32) -> Outcome,
) -> Outcome {
    let deadline = timeout(args)?.map(|t| Instant::now() + t);
    let (sink, news) = mpsc::channel();
    send_on_interrupt(sink.clone(), News::Interrupted);
    s.conn()?
        .on_event(move |packet| _ = sink.send(News::Event(packet)))?;
    let callback_id = register(s)?;
    let count = wait(s, args, &news, deadline, told);
    over(s, format_args!("events received: {count}"));
    deregister(s, callback_id)?;
    match count {
        0 => Err(Failure::silent()),
        _ => Ok(()),
    }
}

fn pool_event(s: &mut Session, args: &Args) -> Outcome {
    let Some(event_id) = kind(s, args, POOL_NAMES)? else {
        return Ok(());
    };
    let pool = args.text("pool")?;
    let pool = pool.map(|name| lookup_pool(s, name)).transpose()?;
    let call = remote::ConnectStoragePoolEventRegisterAnyArgs { event_id, pool };
    wait_for(
        s,
        args,
        event_text::of,
        |s| Ok(s.call(&call)?.callback_id),
        |s, callback_id| {
            Ok(s.call(&remote::ConnectStoragePoolEventDeregisterAnyArgs { callback_id })?)
        },
    )
}

fn device_event(s: &mut Session, args: &Args) -> Outcome {
    let Some(event_id) = kind(s, args, NODE_DEVICE_NAMES)? else {
        return Ok(());
    };
    let dev = args.text("device")?;
    let dev = dev.map(|name| lookup_device(s, name)).transpose()?;
    let call = remote::ConnectNodeDeviceEventRegisterAnyArgs { event_id, dev };
    wait_for(
        s,
        args,
        event_text::of,
        |s| Ok(s.call(&call)?.callback_id),
        |s, callback_id| {
            Ok(s.call(&remote::ConnectNodeDeviceEventDeregisterAnyArgs { callback_id })?)
        },
    )
}
