//! A connection as its users see it: calls that block, streams, events.
//!
//! A thread of its own runs the event loop, so that keepalive messages are answered
//! whatever the caller does, and several threads may call at once.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as reply;
use std::time::Duration;

use tokio::sync::mpsc;
use wire::frame::{Packet, Status};
use wire::procedure::Call;
use wire::remote;
use wire::xdr::Xdr;

use crate::dial;
use crate::event_loop::{self, Keepalive, Request};
use crate::stream::{Inbox, Stream};
use crate::uri::{Transport, Uri};
use crate::{Error, Origin};

/// Seconds between keepalive messages unless asked otherwise.
const KEEPALIVE_INTERVAL_DEFAULT_S: u32 = 5;
/// Keepalive messages that may go unanswered unless asked otherwise.
const KEEPALIVE_COUNT_DEFAULT: u32 = 6;
/// Packets of one stream that wait for their reader before the socket is left alone.
const STREAM_QUEUE_PACKETS: usize = 64;
/// Calls of [`Connection::call_all`] whose answers have not come yet.
const CALLS_UNDER_WAY: usize = 256;

/// Where the answer to a call comes out.
type Answer = reply::Receiver<Result<Packet, Error>>;

/// VIR_CONNECT_RO.
const OPEN_READONLY: u32 = 1;
/// The daemon answers pings.
const FEATURE_KEEPALIVE: i32 = 10;

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A connection that can change nothing.
    pub readonly: bool,
    /// Seconds between keepalive messages; 0 for none.
    pub keepalive_interval_s: Option<u32>,
    /// Keepalive messages that may go unanswered.
    pub keepalive_count: Option<u32>,
}

/// An open connection. Dropping it closes it.
pub struct Connection {
    uri: String,
    requests: mpsc::UnboundedSender<Request>,
    closed: Arc<AtomicBool>,
    /// Whether nothing but a socket is between us and the daemon.
    takes_descriptors: bool,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Connection {
    /// Connects and opens the hypervisor the URI names.
    ///
    /// # Errors
    /// If the daemon cannot be reached, or refuses.
    pub fn open(uri: &Uri, options: &Options) -> Result<Connection, Error> {
        let dialled = dial::dial(uri, options.readonly)?;
        let (requests, inbox) = mpsc::unbounded_channel();
        let closed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closed);
        let run = move || {
            event_loop::run(dialled, inbox);
            flag.store(true, Ordering::Release);
        };
        let thread = std::thread::Builder::new()
            .name("connection".into())
            .spawn(run);
        let thread = thread.map_err(|e| Error::local(Origin::Connecting, crate::os_message(&e)))?;
        let uri_text = uri.text.clone();
        let connection = Connection {
            uri: uri_text,
            requests,
            closed,
            takes_descriptors: matches!(uri.transport, Transport::Unix { .. }),
            thread: Some(thread),
        };
        connection.handshake(uri, options)?;
        Ok(connection)
    }

    fn handshake(&self, uri: &Uri, options: &Options) -> Result<(), Error> {
        self.authenticate()?;
        let interval = options
            .keepalive_interval_s
            .unwrap_or(KEEPALIVE_INTERVAL_DEFAULT_S);
        let count = options.keepalive_count.unwrap_or(KEEPALIVE_COUNT_DEFAULT);
        let asked = self.call(&remote::ConnectSupportsFeatureArgs {
            feature: FEATURE_KEEPALIVE,
        })?;
        if asked.supported != 0 && interval > 0 {
            let every = Duration::from_secs(interval.into());
            self.send(Request::Keepalive(Keepalive {
                every,
                unanswered_max: count,
            }))?;
        }
        let flags = if options.readonly { OPEN_READONLY } else { 0 };
        self.call(&remote::ConnectOpenArgs {
            name: Some(uri.open.clone()),
            flags,
        })
    }

    fn authenticate(&self) -> Result<(), Error> {
        const NONE: i32 = 0;
        const POLKIT: i32 = 2;
        let ways = self.call(&remote::AuthListArgs {})?.types;
        if ways.is_empty() || ways.contains(&NONE) {
            return Ok(());
        }
        if ways.contains(&POLKIT) {
            return self.call(&remote::AuthPolkitArgs {}).map(|_| ());
        }
        let what = "the daemon asks for SASL authentication, which is not done yet";
        Err(Error::local(Origin::Connecting, what))
    }

    /// Calls a procedure and waits for its answer.
    ///
    /// # Errors
    /// The daemon's error, or what happened to the connection.
    pub fn call<A: Call>(&self, args: &A) -> Result<A::Ret, Error> {
        let packet = self.exchange(args, None)?;
        decode(&packet)
    }

    /// Calls a procedure that descriptors go with; the daemon has copies of its own afterwards.
    ///
    /// # Errors
    /// As [`Connection::call`]; that the daemon is on another host.
    pub fn call_with<A: Call>(&self, args: &A, descriptors: Vec<OwnedFd>) -> Result<A::Ret, Error> {
        if !self.takes_descriptors {
            let what = "descriptors cannot be passed to another host: run the command there";
            return Err(Error::local(Origin::Protocol, what));
        }
        let answer = self.begin_with(args, descriptors, None)?;
        decode(&self.answer_of(&answer)?)
    }

    /// Calls a procedure many times, several calls under way at once; the answers are in the order
    /// of the calls.
    ///
    /// # Errors
    /// The first call's that failed, as [`Connection::call`].
    pub fn call_all<A: Call>(&self, all: &[A]) -> Result<Vec<A::Ret>, Error> {
        let mut answers = Vec::with_capacity(all.len());
        let mut under_way = VecDeque::new();
        for args in all {
            if under_way.len() >= CALLS_UNDER_WAY
                && let Some(first) = under_way.pop_front()
            {
                answers.push(decode(&self.answer_of(&first)?)?);
            }
            under_way.push_back(self.begin(args, None)?);
        }
        for first in under_way {
            answers.push(decode(&self.answer_of(&first)?)?);
        }
        Ok(answers)
    }

    /// Calls a procedure whose success opens a stream.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn open_stream<A: Call>(&self, args: &A) -> Result<(A::Ret, Stream), Error> {
        let (inbox, outbox) = Inbox::new(STREAM_QUEUE_PACKETS);
        let packet = self.exchange(args, Some(inbox))?;
        let stream = Stream::new(packet.header, outbox, self.requests.clone());
        Ok((decode(&packet)?, stream))
    }

    fn exchange<A: Call>(&self, args: &A, stream: Option<Inbox>) -> Result<Packet, Error> {
        self.answer_of(&self.begin(args, stream)?)
    }

    /// Sends a call; its answer comes out of what is given back.
    fn begin<A: Call>(&self, args: &A, stream: Option<Inbox>) -> Result<Answer, Error> {
        self.begin_with(args, Vec::new(), stream)
    }

    fn begin_with<A: Call>(
        &self,
        args: &A,
        descriptors: Vec<OwnedFd>,
        stream: Option<Inbox>,
    ) -> Result<Answer, Error> {
        let body = args
            .to_bytes()
            .map_err(|e| Error::local(Origin::Protocol, format!("cannot send the call: {e}")))?;
        let (answer, answered) = reply::sync_channel(1);
        self.send(Request::Call {
            program: A::PROGRAM,
            version: A::VERSION,
            procedure: A::NUMBER,
            body,
            descriptors,
            answer,
            stream,
        })?;
        Ok(answered)
    }

    fn answer_of(&self, answer: &Answer) -> Result<Packet, Error> {
        answer.recv().unwrap_or_else(|_| Err(lost()))
    }

    fn send(&self, request: Request) -> Result<(), Error> {
        self.requests.send(request).map_err(|_| lost())
    }

    /// Has every event from now on handed to `sink`, in the order they arrive; an
    /// earlier sink gets no more.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn on_event(&self, sink: impl Fn(Packet) + Send + 'static) -> Result<(), Error> {
        self.send(Request::OnEvent(Box::new(sink)))
    }

    /// The URI this connection was opened with.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether the daemon is gone.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_closed() {
            // Politeness: the daemon notices a closed socket too.
            _ = self.call(&remote::ConnectCloseArgs {});
        }
        _ = self.requests.send(Request::Close);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

pub(crate) fn lost() -> Error {
    Error::local(Origin::Lost, "the connection to the daemon was lost")
}

fn decode<T: Xdr>(packet: &Packet) -> Result<T, Error> {
    if packet.header.status == Status::Error {
        return Err(Error::from_body(&packet.body));
    }
    packet
        .decode()
        .map_err(|e| Error::local(Origin::Protocol, format!("cannot read the answer: {e}")))
}
