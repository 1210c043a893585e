//! `event`: waiting for what happens to domains.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use client::wire::frame::Packet;
use client::wire::remote;
use jiff::Timestamp;

use super::pool_events::{ABOUT, LIST, LOOP, TIMEOUT, TIMESTAMP};
use crate::args::Args;
use crate::domain::{By, lookup};
use crate::event_text::{self, Told};
use crate::failure::{Failure, Outcome};
use crate::interrupt::send_on_interrupt;
use crate::output::{say, sayln};
use crate::session::Session;
use crate::table::{Completes, Verb, flag, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new("event", "wait for events of domains", event)
    .about(ABOUT)
    .options(&[
        text("domain", "only of this domain: its name, id or uuid")
            .bare()
            .completes(Completes::Domain),
        text("event", "the kind of event to wait for")
            .bare()
            .words(event_text::NAMES),
        flag("all", "every kind of event"),
        LOOP,
        TIMEOUT,
        LIST,
        TIMESTAMP,
    ])
    .tabular()];

/// What ends or fills the wait for events.
pub(super) enum News {
    /// An event arrived.
    Event(Packet),
    /// The person has had enough.
    Interrupted,
}

fn event(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("all", "event")?;
    args.exclusive("list", "all")?;
    args.exclusive("list", "event")?;
    if args.has("list") {
        s.out.names("event", event_text::NAMES.iter().copied());
        return Ok(());
    }
    let wanted = args.text("event")?;
    if wanted.is_none() && !args.has("all") {
        return Err(Failure::said(
            "one of --list, --all, or --event <type> is required",
        ));
    }
    let kinds: Vec<i32> = (0i32..)
        .zip(event_text::NAMES)
        .filter(|(_, name)| wanted.is_none_or(|w| w == **name))
        .map(|(id, _)| id)
        .collect();
    if kinds.is_empty() {
        let what = format!("unknown event type {}", wanted.unwrap_or_default());
        return Err(Failure::said(what));
    }
    let deadline = timeout(args)?.map(|t| Instant::now() + t);
    let dom = args
        .text("domain")?
        .map(|name| lookup(s, name, By::Any))
        .transpose()?;
    let (sink, news) = mpsc::channel();
    send_on_interrupt(sink.clone(), News::Interrupted);
    s.conn()?
        .on_event(move |packet| _ = sink.send(News::Event(packet)))?;
    let registered = register(s, &kinds, dom.as_ref())?;
    let count = wait(s, args, &news, deadline, event_text::of);
    over(s, format_args!("events received: {count}"));
    for callback_id in registered {
        s.call(&remote::ConnectDomainEventCallbackDeregisterAnyArgs { callback_id })?;
    }
    if count > 0 {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

/// `--timeout`.
///
/// # Errors
/// What is no number of seconds.
pub(super) fn timeout(args: &Args) -> Result<Option<Duration>, Failure> {
    const MAX_S: u32 = i32::MAX as u32 / 1000;
    match args.number::<u32>("timeout")? {
        Some(t) if t == 0 || t > MAX_S => Err(Failure::said(format!(
            "Numeric value '{t}' for <timeout> option is malformed or out of range"
        ))),
        given => Ok(given.map(|t| Duration::from_secs(t.into()))),
    }
}

/// Registers for every kind; what a daemon does not know is left out, except the first.
fn register(
    s: &mut Session,
    kinds: &[i32],
    dom: Option<&remote::RemoteDomain>,
) -> Result<Vec<i32>, Failure> {
    let mut registered = Vec::new();
    for (i, event_id) in kinds.iter().enumerate() {
        let call = remote::ConnectDomainEventCallbackRegisterAnyArgs {
            event_id: *event_id,
            dom: dom.cloned(),
        };
        match s.call(&call) {
            Ok(got) => registered.push(got.callback_id),
            Err(e) if i == 0 => return Err(e.into()),
            Err(_) => {}
        }
    }
    Ok(registered)
}

/// Prints events, as `told` makes them known, until it is time to stop; how many there were.
pub(super) fn wait(
    s: &mut Session,
    args: &Args,
    news: &mpsc::Receiver<News>,
    deadline: Option<Instant>,
    told: impl Fn(&Packet) -> Option<Told>,
) -> u32 {
    /// Looks at the connection this often while nothing happens.
    const CONNECTION_CHECK: Duration = Duration::from_secs(1);
    let mut count = 0;
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let next = news.recv_timeout(left.map_or(CONNECTION_CHECK, |l| l.min(CONNECTION_CHECK)));
        match next {
            Ok(News::Event(packet)) => {
                let Some(told) = told(&packet) else {
                    continue;
                };
                show(s, told, args.has("timestamp"));
                s.out.flush();
                count += 1;
                if !args.has("loop") {
                    return count;
                }
            }
            Ok(News::Interrupted) => {
                over(s, format_args!("event loop interrupted"));
                return count;
            }
            Err(RecvTimeoutError::Timeout) => {
                if left.is_some_and(|l| l <= CONNECTION_CHECK) {
                    over(s, format_args!("event loop timed out"));
                    return count;
                }
                if s.out.broken() || s.closed() {
                    return count;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return count,
        }
    }
}

/// Prints an event; for programs, with the time it was heard of, one a line.
fn show(s: &mut Session, told: Told, timestamp: bool) {
    let now = Timestamp::now();
    if !s.out.is_text() {
        let mut data = told.data;
        let known = data.entry("time");
        known.or_insert_with(|| format!("{now:.3}").into());
        return s.out.one_of_many(&data.into());
    }
    if timestamp {
        say!(s, "{}: ", now.strftime("%Y-%m-%d %H:%M:%S%.3f+0000"));
    }
    say!(s, "{}", told.lines);
}

/// Says why no more events come, to a person.
pub(super) fn over(s: &mut Session, why: std::fmt::Arguments<'_>) {
    if s.out.is_text() {
        sayln!(s, "{why}");
    }
}
