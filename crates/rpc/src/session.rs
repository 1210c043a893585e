//! One client's connection: its socket, its calls, its events and streams, in one task.
//!
//! Calls that wait for nothing are answered right here, between reading and writing, without a
//! hand-over; all others get a task each and come back as [`ToConnection`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use engine::notices::{Notice, NoticeStream};
use engine::{DomainEvent, EngineError, EventStream};
use sys::content::Piece as Content;
use sys::lent::{self, Loan};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::connection::{Broken, Call, Connection, Incoming, Procedure, Settings, StreamPacket};
use wire::errors::{ErrorCode, ErrorDomain};
use wire::frame::{self, Header};
use wire::output::Next;
use wire::remote::{self, RpcError};

use crate::client::Client;
use crate::dispatch::{self, Handler, Ready, Serve};
use crate::limits::{
    CLIENT_CALLS_MAX, KEEPALIVE_COUNT, KEEPALIVE_INTERVAL_MS, OUTPUT_HIGH_WATER_BYTES,
    OUTPUT_MAX_BYTES, PACKET_MAX_BYTES, READ_BYTES, READ_ONLY_PACKET_MAX_BYTES,
};
use crate::procedures;
use crate::socket::ClientSocket;
use crate::stream::{FromClient, Inbox, StreamEnd, StreamMessage, ToClient};

/// What reaches a connection from the tasks that work for it.
pub(crate) enum ToConnection {
    /// The answer to a call.
    Answer(Header, Ready),
    /// Something on a stream.
    Stream(StreamMessage),
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The client closed its connection.
    #[error("the client closed the connection")]
    Closed,
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    /// The client does not speak the protocol, or is silent.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The client does not read what it asked for.
    #[error("the client does not read its events")]
    TooSlow,
    /// Events were lost.
    #[error(transparent)]
    Events(#[from] EngineError),
}

/// A session; [`Session::run`] is its task.
pub(crate) struct Session {
    socket: ClientSocket,
    connection: Connection,
    client: Arc<Client>,
    started: Instant,
    to_self: mpsc::UnboundedSender<ToConnection>,
    from_tasks: mpsc::UnboundedReceiver<ToConnection>,
    streams: BTreeMap<u32, Inbox>,
    /// What a stream's procedure has no room for yet; nothing is read meanwhile.
    stalled: Option<(Inbox, FromClient)>,
    /// Content whose turn the connection's output knows.
    contents: VecDeque<Content>,
    /// The socket is read by whoever serves a stream.
    loan: Option<Loan>,
    events: Option<EventStream>,
    notices: Option<NoticeStream>,
}

impl Session {
    /// A client that has just connected.
    pub(crate) fn new(socket: ClientSocket, client: Client) -> Session {
        let settings = Settings {
            auth_required: false,
            keepalive_interval: Duration::from_millis(KEEPALIVE_INTERVAL_MS),
            keepalive_count: KEEPALIVE_COUNT,
            calls_max: CLIENT_CALLS_MAX,
            packet_max_bytes: match client.is_read_only() {
                true => READ_ONLY_PACKET_MAX_BYTES,
                false => PACKET_MAX_BYTES,
            },
        };
        let (to_self, from_tasks) = mpsc::unbounded_channel();
        Session {
            socket,
            connection: Connection::new(settings),
            client: Arc::new(client),
            started: Instant::now(),
            to_self,
            from_tasks,
            streams: BTreeMap::new(),
            stalled: None,
            contents: VecDeque::new(),
            loan: None,
            events: None,
            notices: None,
        }
    }

    /// Serves the client until it goes.
    pub(crate) async fn run(mut self) {
        self.client.engine.session_opened(self.client.session);
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        let session = self.client.session;
        tracing::debug!(?session, uid = self.client.peer.uid, %end, "client gone");
        self.streams.clear();
        if self.loan.is_some() {
            // Whoever reads from it is waiting for more, perhaps.
            sys::unix::shut_down(&self.socket);
        }
        self.client.engine.session_closed(session).await;
    }

    /// Acts on what is there, then waits for more.
    async fn step(&mut self) -> Result<(), End> {
        self.act()?;
        self.flush()?;
        let output = self.connection.output().len();
        if output > OUTPUT_MAX_BYTES {
            return Err(End::TooSlow);
        }
        let is_behind = output > OUTPUT_HIGH_WATER_BYTES;
        let wants_input = self.may_read() && !is_behind;
        let deadline = self.connection.deadline();
        tokio::select! {
            ready = self.socket.ready(wants_input) => {
                let ready = ready?;
                if ready.input && wants_input {
                    self.read()?;
                } else if ready.closed {
                    return Err(End::Closed);
                }
            }
            Some(message) = self.from_tasks.recv(), if !is_behind => self.take(message),
            event = next_event(&mut self.events) => {
                let event = event?;
                self.tell(&event);
            }
            notice = next_notice(&mut self.notices) => {
                let notice = notice?;
                self.tell_notice(&notice);
            }
            () = room(&self.stalled) => self.unstall(),
            missing = returned(&mut self.loan) => {
                self.loan = None;
                self.socket.attend()?;
                self.connection.heard(self.started.elapsed());
                self.connection.take_back(missing);
            }
            () = at(self.started, deadline) => {
                let now = self.started.elapsed();
                if self.loan.as_mut().is_some_and(|loan| !loan.is_silent()) {
                    self.connection.heard(now);
                }
                self.connection.tick(now)?;
            }
        }
        Ok(())
    }

    fn may_read(&self) -> bool {
        self.connection.wants_input() && self.stalled.is_none() && self.loan.is_none()
    }

    /// Handles every call and stream packet that is there.
    fn act(&mut self) -> Result<(), End> {
        while self.stalled.is_none()
            && self.connection.output().len() <= OUTPUT_HIGH_WATER_BYTES
            && let Some(incoming) = self.connection.next_incoming()?
        {
            match incoming {
                Incoming::Call(call) => self.call(call),
                Incoming::Stream(serial, packet) => self.stream_packet(serial, packet),
            }
        }
        Ok(())
    }

    fn call(&mut self, call: Call) {
        let (header, procedure) = (call.header, call.procedure);
        if let Err(error) = self.admit(&call) {
            return self.connection.reply_error(header, &error);
        }
        if let Procedure::Remote(procedure) = call.procedure
            && procedures::by_connection(procedure)
        {
            return self.call_of_connection(procedure, &call);
        }
        match dispatch::handler(call.procedure) {
            None => {
                let function = dispatch::api_name(call.procedure);
                self.connection
                    .reply_error(header, &RpcError::not_supported(&function));
            }
            Some(Handler::Inline(function)) => {
                let packet = function(&self.client, &call);
                self.connection.reply_encoded(header, packet);
                // The QEMU program's own subscriptions are made by such a call.
                if matches!(procedure, Procedure::Qemu(_)) {
                    self.follow_events();
                }
            }
            Some(Handler::Task(function)) => {
                let answer = function(self.client.clone(), call);
                let pending = Pending {
                    header,
                    to_connection: self.to_self.clone(),
                    answered: false,
                };
                tokio::spawn(async move { pending.answer(answer.await) });
            }
        }
    }

    fn admit(&self, call: &Call) -> Result<(), Box<RpcError>> {
        if let Procedure::Remote(procedure) = call.procedure
            && procedures::before_open(procedure)
        {
            return Ok(());
        }
        if !self.client.is_open() {
            return Err(RpcError::new(
                ErrorCode::InternalError,
                ErrorDomain::Rpc,
                "connection not open",
            ));
        }
        if self.client.is_read_only() && dispatch::writes(call.procedure) {
            let mut error = RpcError::read_only(&dispatch::api_name(call.procedure));
            error.domain = procedures::error_domain(call.procedure).number();
            return Err(error);
        }
        Ok(())
    }

    /// Procedures that are about the connection itself.
    fn call_of_connection(&mut self, procedure: remote::Procedure, call: &Call) {
        use procedures::session::{Effect, answer};
        let (packet, effect) = answer(&self.client, procedure, call);
        self.connection.reply_encoded(call.header, packet);
        match effect {
            Effect::Nothing => {}
            Effect::StartKeepalive => self.connection.start_keepalive(self.started.elapsed()),
            Effect::SubscriptionsChanged => self.follow_events(),
        }
    }

    /// Listens to the engine exactly while the client wants events.
    fn follow_events(&mut self) {
        let wanted = !self.client.subscriptions().is_empty();
        let notices_wanted = !self.client.notice_subscriptions().is_empty();
        match (notices_wanted, self.notices.is_some()) {
            (true, false) => self.notices = Some(self.client.engine.notices()),
            (false, true) => self.notices = None,
            _ => {}
        }
        match (wanted, self.events.is_some()) {
            (true, false) => self.events = Some(self.client.engine.events()),
            (false, true) => self.events = None,
            _ => {}
        }
    }

    fn tell(&mut self, event: &DomainEvent) {
        for packet in self.client.subscriptions().packets(event) {
            self.connection.send_encoded_event(&packet);
        }
    }

    fn tell_notice(&mut self, notice: &Notice) {
        for packet in self.client.notice_subscriptions().packets(notice) {
            self.connection.send_encoded_event(&packet);
        }
    }

    /// A task has something for the client.
    fn take(&mut self, message: ToConnection) {
        match message {
            ToConnection::Answer(header, ready) => self.answer(header, ready),
            ToConnection::Stream(StreamMessage { serial, what }) => match what {
                ToClient::Data(packet, _permit) => self.connection.stream_data(serial, packet),
                ToClient::Content(content) => {
                    if self.connection.stream_content(serial, content.len()) {
                        self.contents.push_back(content);
                    }
                }
                ToClient::Hole(length, _permit) => self.connection.stream_hole(serial, length),
                ToClient::EndOfData => self.connection.stream_end_of_data(serial),
                ToClient::Finished => {
                    self.connection.stream_finished(serial);
                    self.streams.remove(&serial);
                }
                ToClient::Failed(error) => {
                    self.connection.stream_failed(serial, &error);
                    self.streams.remove(&serial);
                }
            },
        }
    }

    fn answer(&mut self, header: Header, ready: Ready) {
        match ready {
            Ready::Packet(packet) => self.connection.reply_encoded(header, packet),
            Ready::WithFds(outgoing) => self.connection.reply_outgoing(header, outgoing),
            Ready::Stream(packet, serve) => self.open_stream(header, packet, serve),
        }
    }

    fn open_stream(&mut self, header: Header, packet: Vec<u8>, serve: Serve) {
        if let Err(error) = self.connection.open_stream(header) {
            return self.connection.reply_error(header, &error);
        }
        self.connection.reply_encoded(header, Ok(packet));
        let (end, inbox) = StreamEnd::new(header.serial, self.to_self.clone());
        self.streams.insert(header.serial, inbox);
        tokio::spawn(serve(end));
    }

    fn stream_packet(&mut self, serial: u32, packet: StreamPacket) {
        let aborted = packet == StreamPacket::Abort;
        if let Some(inbox) = self.streams.get(&serial).cloned() {
            self.put(inbox, FromClient::Packet(packet));
        }
        if aborted {
            self.streams.remove(&serial);
        }
    }

    fn put(&mut self, inbox: Inbox, what: FromClient) {
        if let Err(what) = inbox.put(what) {
            self.stalled = Some((inbox, what));
        }
    }

    fn unstall(&mut self) {
        if let Some((inbox, what)) = self.stalled.take() {
            self.put(inbox, what);
        }
    }

    /// Lends the socket to the stream whose large packet is arriving, if it takes that.
    fn lend(&mut self) -> io::Result<bool> {
        let Some((serial, header)) = self.connection.arriving() else {
            return Ok(false);
        };
        let inbox = self.streams.get(&serial).filter(|i| i.takes_socket());
        let Some(inbox) = inbox.cloned() else {
            return Ok(false);
        };
        let Some(packet) = self.connection.give_away() else {
            return Ok(false);
        };
        let socket = self.socket.leave()?;
        let (loan, lent) = lent::lend(socket, frame::content_follows(header), packet);
        self.loan = Some(loan);
        self.put(inbox, FromClient::Socket(lent));
        Ok(true)
    }

    /// Takes what the socket has, once; the data of a stream's large packet right to its place.
    fn read(&mut self) -> Result<(), End> {
        if self.lend()? {
            return Ok(());
        }
        let Some((place, missing)) = self.connection.room() else {
            return self.read_calls();
        };
        match self.socket.receive_appending(place, missing) {
            Ok(0) => Err(End::Closed),
            Ok(_) => {
                self.connection.heard(self.started.elapsed());
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn read_calls(&mut self) -> Result<(), End> {
        let buffer = &mut [0; READ_BYTES];
        let mut fds: Vec<OwnedFd> = Vec::new();
        match self.socket.receive(buffer, &mut fds) {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                let now = self.started.elapsed();
                Ok(self.connection.receive(&buffer[..count], fds, now)?)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes as much as the socket takes.
    fn flush(&mut self) -> Result<(), End> {
        loop {
            let written = match self.connection.output().next() {
                Next::Nothing => {
                    self.socket.all_sent();
                    return Ok(());
                }
                Next::Bytes(bytes) => self.socket.send(bytes, &[]),
                Next::Content(sent) => send_content(&mut self.socket, &mut self.contents, sent),
                Next::Fd(fd) => self.socket.send(b"\0", &[fd]).map(|_| 0),
            };
            match written {
                Ok(0) => self.connection.output().fd_sent(),
                Ok(count) => self.connection.output().bytes_sent(count),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Sends more of the first content, `sent` bytes of which are on their way.
fn send_content(
    socket: &mut ClientSocket,
    contents: &mut VecDeque<Content>,
    sent: usize,
) -> io::Result<usize> {
    let first = contents.front().ok_or(io::ErrorKind::NotFound)?;
    let count = socket.send_by(|socket| first.send(socket, sent))?;
    if sent + count == first.len() {
        contents.pop_front();
    }
    Ok(count)
}

/// A call whose task works on it. A task that dies leaves no caller waiting.
struct Pending {
    header: Header,
    to_connection: mpsc::UnboundedSender<ToConnection>,
    answered: bool,
}

impl Pending {
    fn answer(mut self, ready: Ready) {
        self.answered = true;
        // The client may be gone; then nobody waits.
        let _ = self
            .to_connection
            .send(ToConnection::Answer(self.header, ready));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answered {
            let error = RpcError::new(
                ErrorCode::InternalError,
                ErrorDomain::Rpc,
                "the daemon failed while it worked on the call; its log says more",
            );
            let ready = Ready::Packet(Err(error));
            let _ = self
                .to_connection
                .send(ToConnection::Answer(self.header, ready));
        }
    }
}

async fn next_event(events: &mut Option<EventStream>) -> Result<Arc<DomainEvent>, EngineError> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

async fn next_notice(notices: &mut Option<NoticeStream>) -> Result<Arc<Notice>, EngineError> {
    match notices {
        Some(notices) => notices.next().await,
        None => std::future::pending().await,
    }
}

async fn room(stalled: &Option<(Inbox, FromClient)>) {
    match stalled {
        Some((inbox, _)) => inbox.room().await,
        None => std::future::pending().await,
    }
}

/// Waits for a lent socket; how much of a packet is still missing on it then.
async fn returned(loan: &mut Option<Loan>) -> usize {
    match loan {
        Some(loan) => loan.returned().await,
        None => std::future::pending().await,
    }
}

async fn at(started: Instant, deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(started + deadline).await,
        None => std::future::pending().await,
    }
}

/// Tells a client that is over a limit so: its first call is answered with the reason.
pub(crate) async fn refuse(socket: UnixStream, reason: &str) -> Result<(), End> {
    let mut connection = Connection::new(Settings {
        packet_max_bytes: READ_ONLY_PACKET_MAX_BYTES,
        ..Settings::default()
    });
    let mut buffer = [0; 512];
    let call = loop {
        if let Some(Incoming::Call(call)) = connection.next_incoming()? {
            break call;
        }
        socket.readable().await?;
        match socket.try_read(&mut buffer) {
            Ok(0) => return Err(End::Closed),
            Ok(count) => connection.receive(&buffer[..count], [], Duration::ZERO)?,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
    };
    let error = RpcError::new(ErrorCode::OperationFailed, ErrorDomain::Rpc, reason);
    let packet = wire::frame::error_packet(call.header.reply(wire::frame::Status::Error), &error);
    socket.writable().await?;
    // It fits into the socket's empty buffer at once.
    socket.try_write(&packet)?;
    Ok(())
}
