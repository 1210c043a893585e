//! `pool-event`: waiting for what happens to storage pools.

use std::sync::mpsc;
use std::time::Instant;

use client::wire::remote;

use super::events::{News, timeout, wait};
use crate::args::Args;
use crate::event_text::POOL_NAMES;
use crate::failure::{Failure, Outcome};
use crate::interrupt::send_on_interrupt;
use crate::output::sayln;
use crate::session::Session;
use crate::storage::lookup_pool;
use crate::table::{Verb, flag, number, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new("pool-event", "wait for events of pools", event)
    .about("Prints events as they happen; the first one only, unless told to go on.")
    .options(&[
        text("pool", "only of this pool: its name or uuid").bare(),
        text("event", "the kind of event to wait for")
            .bare()
            .words(POOL_NAMES),
        flag("loop", "go on until interrupted or the time is over"),
        number("timeout", "give up after so many seconds").bare(),
        flag("list", "print the kinds of events there are"),
        flag("timestamp", "with the time of each event"),
    ])];

fn event(s: &mut Session, args: &Args) -> Outcome {
    if args.has("list") {
        POOL_NAMES.iter().for_each(|name| sayln!(s, "{name}"));
        return Ok(());
    }
    let Some(wanted) = args.text("event")? else {
        let what = "either --list or --event <type> is required";
        return Err(Failure::said(what));
    };
    let known = (0i32..).zip(POOL_NAMES).find(|(_, name)| **name == wanted);
    let Some((event_id, _)) = known else {
        return Err(Failure::said(format!("unknown event type {wanted}")));
    };
    let deadline = timeout(args)?.map(|t| Instant::now() + t);
    let pool = args
        .text("pool")?
        .map(|name| lookup_pool(s, name))
        .transpose()?;
    let (sink, news) = mpsc::channel();
    send_on_interrupt(sink.clone(), News::Interrupted);
    s.conn()?
        .on_event(move |packet| _ = sink.send(News::Event(packet)))?;
    let call = remote::ConnectStoragePoolEventRegisterAnyArgs { event_id, pool };
    let callback_id = s.call(&call)?.callback_id;
    let count = wait(s, args, &news, deadline);
    sayln!(s, "events received: {count}");
    s.call(&remote::ConnectStoragePoolEventDeregisterAnyArgs { callback_id })?;
    match count {
        0 => Err(Failure::silent()),
        _ => Ok(()),
    }
}
