//! The thread that owns the socket: writes requests, hands out what arrives.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc as reply;
use std::time::Duration;

use bytes::BufMut;
use sys::content::Place;
use sys::lent::{self, Loan};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::ReadHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use wire::frame::{self, Header, Kind, Outgoing, Packet, Reader, Status};
use wire::procedure::Event;
use wire::{keepalive, xdr::Xdr};

use crate::content::Content;
use crate::dial::Dialled;
use crate::stream::{FromDaemon, Inbox};
use crate::unsent::Unsent;
use crate::{Error, Origin};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 1 << 14;
/// Requests taken in before anything is written.
const REQUESTS_AT_ONCE: usize = 64;

/// What the rest of the program asks of the loop.
pub(crate) enum Request {
    /// Send a call and the descriptors that go with it; its answer goes into `answer`, its
    /// stream's packets into `stream`.
    Call {
        program: u32,
        version: u32,
        procedure: i32,
        body: Vec<u8>,
        descriptors: Vec<OwnedFd>,
        answer: reply::SyncSender<Result<Packet, Error>>,
        stream: Option<Inbox>,
    },
    /// Send a packet of a stream.
    StreamData {
        header: Header,
        data: Vec<u8>,
        place: Place,
    },
    /// Send content in a packet of a stream.
    StreamContent {
        header: Header,
        content: sys::content::Piece,
    },
    /// Forget a stream.
    StreamDone { serial: u32 },
    /// Hand events to this.
    OnEvent(EventSink),
    /// Start pinging.
    Keepalive(Keepalive),
    /// End the loop.
    Close,
}

/// Takes the events that arrive.
pub(crate) type EventSink = Box<dyn Fn(Packet) + Send>;

/// How often to ping, and for how long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    /// Between pings.
    pub every: Duration,
    /// Pings that may go unanswered.
    pub unanswered_max: u32,
}

/// Runs until the connection ends.
pub(crate) fn run(dialled: Dialled, inbox: mpsc::UnboundedReceiver<Request>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (answers, error) = match runtime {
        Ok(runtime) => runtime.block_on(serve(dialled, inbox)),
        Err(e) => (
            BTreeMap::new(),
            Error::local(Origin::Lost, crate::os_message(&e)),
        ),
    };
    for (_, answer) in answers {
        _ = answer.send(Err(error.clone()));
    }
}

type Answers = BTreeMap<u32, reply::SyncSender<Result<Packet, Error>>>;

struct Loop {
    reader: Reader,
    outgoing: Unsent,
    serial: u32,
    answers: Answers,
    streams: BTreeMap<u32, Inbox>,
    on_event: Option<EventSink>,
    pings: Option<Pings>,
}

struct Pings {
    timer: Interval,
    settings: Keepalive,
    unanswered: u32,
}

async fn serve(mut dialled: Dialled, inbox: mpsc::UnboundedReceiver<Request>) -> (Answers, Error) {
    let socket = dialled.socket.set_nonblocking(true);
    let socket = socket
        .and_then(|()| dialled.socket.try_clone())
        .and_then(UnixStream::from_std);
    let socket = match socket {
        Ok(socket) => socket,
        Err(e) => {
            return (
                Answers::new(),
                Error::local(Origin::Lost, crate::os_message(&e)),
            );
        }
    };
    let mut state = Loop {
        reader: Reader::default(),
        outgoing: Unsent::default(),
        serial: 0,
        answers: Answers::new(),
        streams: BTreeMap::new(),
        on_event: None,
        pings: None,
    };
    let error = state.turn(socket, inbox).await;
    (state.answers, dialled.explain(error))
}

/// What a read brought.
enum Taken {
    /// The daemon has closed the connection.
    End,
    /// So many bytes in the buffer.
    Bytes(usize),
    /// A part of a large packet's data, in its place already.
    InPlace,
}

/// Reads what the socket has, the data of large packets right to its place.
async fn take(
    socket: &mut ReadHalf<'_>,
    reader: &mut Reader,
    buffer: &mut [u8],
) -> std::io::Result<Taken> {
    let (count, in_place) = match reader.room() {
        Some((place, missing)) => (socket.read_buf(&mut place.limit(missing)).await?, true),
        None => (socket.read(buffer).await?, false),
    };
    Ok(match (count, in_place) {
        (0, _) => Taken::End,
        (_, true) => Taken::InPlace,
        (count, false) => Taken::Bytes(count),
    })
}

impl Loop {
    /// Turns until asked to close or the connection fails.
    async fn turn(
        &mut self,
        mut socket: UnixStream,
        mut inbox: mpsc::UnboundedReceiver<Request>,
    ) -> Error {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some((stream, header)) = self.wants_socket() {
                socket = match self.lend(socket, &stream, header).await {
                    Ok(socket) => socket,
                    Err(error) => return error,
                };
                continue;
            }
            let (mut read, write) = socket.split();
            let done = tokio::select! {
                request = inbox.recv() => match request {
                    None | Some(Request::Close) => {
                        return Error::local(Origin::Lost, "the connection was closed");
                    }
                    Some(request) => self.accept(request).and_then(|()| self.accept_more(&mut inbox)),
                },
                got = take(&mut read, &mut self.reader, &mut buffer) => match got {
                    Ok(Taken::End) => Err(end_of_file()),
                    Ok(Taken::Bytes(n)) => self.received(&buffer[..n]).await,
                    Ok(Taken::InPlace) => self.received(&[]).await,
                    Err(e) => Err(lost(&e)),
                },
                sent = self.outgoing.write(&write), if !self.outgoing.is_empty() => match sent {
                    Ok(n) => {
                        self.outgoing.written(n);
                        Ok(())
                    }
                    Err(e) => Err(lost(&e)),
                },
                () = tick(&mut self.pings) => self.ping(),
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    /// The stream whose content is arriving, if it takes the socket for that.
    fn wants_socket(&self) -> Option<(Inbox, Header)> {
        let header = self.reader.under_way()?;
        let stream = self.streams.get(&header.serial)?;
        (stream.takes_socket() && self.outgoing.is_empty()).then(|| (stream.clone(), header))
    }

    /// Lends the socket to whoever reads a stream, until it is given back. Nobody here wakes for
    /// what comes in meanwhile, and nothing goes out.
    async fn lend(
        &mut self,
        socket: UnixStream,
        stream: &Inbox,
        header: Header,
    ) -> Result<UnixStream, Error> {
        let socket = socket.into_std().map_err(|e| lost(&e))?;
        if let Some(packet) = self.reader.give_away() {
            let descriptor = socket.as_fd().try_clone_to_owned().map_err(|e| lost(&e))?;
            let (loan, lent) = lent::lend(descriptor, frame::content_follows(header), packet);
            if stream
                .put(FromDaemon::Content(Content(lent)))
                .await
                .is_err()
            {
                self.streams.remove(&header.serial);
            }
            match self.returned(loan).await {
                Ok(missing) => self.reader.take_back(missing),
                Err(error) => {
                    // Whoever reads from it waits for more, perhaps.
                    sys::unix::shut_down(&socket);
                    return Err(error);
                }
            }
        }
        UnixStream::from_std(socket).map_err(|e| lost(&e))
    }

    /// Waits for a lent socket. A daemon that is silent for too long is given up all the same.
    async fn returned(&mut self, mut loan: Loan) -> Result<usize, Error> {
        loop {
            tokio::select! {
                missing = loan.returned() => {
                    self.heard();
                    return Ok(missing);
                }
                () = tick(&mut self.pings) => match loan.is_silent() {
                    true => self.count_silence()?,
                    false => self.heard(),
                }
            }
        }
    }

    fn heard(&mut self) {
        if let Some(pings) = &mut self.pings {
            pings.unanswered = 0;
        }
    }

    /// Takes in what else is there already, so that it is written together.
    fn accept_more(&mut self, inbox: &mut mpsc::UnboundedReceiver<Request>) -> Result<(), Error> {
        for _ in 0..REQUESTS_AT_ONCE {
            match inbox.try_recv() {
                Ok(Request::Close) => {
                    return Err(Error::local(Origin::Lost, "the connection was closed"));
                }
                Ok(request) => self.accept(request)?,
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn accept(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Call {
                program,
                version,
                procedure,
                body,
                descriptors,
                answer,
                stream,
            } => {
                self.serial = self.serial.wrapping_add(1);
                let serial = self.serial;
                let kind = Kind::Call;
                let header = Header {
                    program,
                    version,
                    procedure,
                    kind,
                    serial,
                    status: Status::Ok,
                };
                match frame::call_packet(header, &body, descriptors) {
                    Ok(Outgoing { bytes, fds }) => {
                        self.outgoing.push(bytes, None);
                        for descriptor in fds {
                            self.outgoing.push_descriptor(descriptor);
                        }
                        self.answers.insert(serial, answer);
                        if let Some(stream) = stream {
                            self.streams.insert(serial, stream);
                        }
                    }
                    Err(e) => {
                        let error = Error::local(Origin::Protocol, e.to_string());
                        _ = answer.send(Err(error));
                    }
                }
            }
            Request::StreamData {
                header,
                data,
                place,
            } => {
                let bytes = frame::data_in_place(header, data);
                let bytes = bytes.map_err(|e| broken(&e.to_string()))?;
                self.outgoing.push(bytes, Some(place));
            }
            Request::StreamContent { header, content } => {
                let head = frame::head_alone(header, content.len());
                self.outgoing
                    .push(head.map_err(|e| broken(&e.to_string()))?, None);
                self.outgoing.push_content(content);
            }
            Request::OnEvent(sink) => self.on_event = Some(sink),
            Request::StreamDone { serial } => _ = self.streams.remove(&serial),
            Request::Keepalive(settings) => {
                let mut timer = interval_at(Instant::now() + settings.every, settings.every);
                timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
                self.pings = Some(Pings {
                    timer,
                    settings,
                    unanswered: 0,
                });
            }
            Request::Close => {}
        }
        Ok(())
    }

    async fn received(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.reader
            .push(bytes, [])
            .map_err(|e| broken(&e.to_string()))?;
        self.heard();
        while let Some(packet) = self
            .reader
            .next_packet()
            .map_err(|e| broken(&e.to_string()))?
        {
            self.packet(packet).await?;
        }
        Ok(())
    }

    async fn packet(&mut self, packet: Packet) -> Result<(), Error> {
        let serial = packet.header.serial;
        match packet.header.kind {
            Kind::Reply | Kind::ReplyWithFds => {
                if packet.header.status == Status::Error {
                    self.streams.remove(&serial);
                }
                if let Some(answer) = self.answers.remove(&serial) {
                    _ = answer.send(Ok(packet));
                }
            }
            Kind::Stream | Kind::StreamHole => {
                let last = packet.header.status != Status::Continue;
                let gone = match self.streams.get(&serial) {
                    // A full queue stops the reading: the reader is another thread.
                    Some(stream) => stream.put(FromDaemon::Packet(packet)).await.is_err(),
                    None => false,
                };
                if last || gone {
                    self.streams.remove(&serial);
                }
            }
            Kind::Event if packet.header.program == keepalive::PROGRAM => {
                if packet.header.procedure == keepalive::PingMsg::NUMBER {
                    self.keepalive(keepalive::PongMsg::NUMBER);
                }
            }
            Kind::Event => {
                if let Some(sink) = &self.on_event {
                    sink(packet);
                }
            }
            Kind::Call | Kind::CallWithFds => {
                return Err(broken("the daemon sent a call"));
            }
        }
        Ok(())
    }

    fn ping(&mut self) -> Result<(), Error> {
        self.count_silence()?;
        self.keepalive(keepalive::PingMsg::NUMBER);
        Ok(())
    }

    /// Another interval has passed without a word.
    fn count_silence(&mut self) -> Result<(), Error> {
        let Some(pings) = &mut self.pings else {
            return Ok(());
        };
        if pings.unanswered >= pings.settings.unanswered_max {
            let what = "internal error: connection closed due to keepalive timeout";
            return Err(Error::local(Origin::Lost, what));
        }
        pings.unanswered += 1;
        Ok(())
    }

    fn keepalive(&mut self, procedure: i32) {
        let header = Header {
            program: keepalive::PROGRAM,
            version: keepalive::VERSION,
            procedure,
            kind: Kind::Event,
            serial: 0,
            status: Status::Ok,
        };
        let nothing: &() = &();
        let body = nothing.to_bytes().unwrap_or_default();
        let packet = frame::data_packet(header, &body).unwrap_or_default();
        self.outgoing.push(packet, None);
    }
}

async fn tick(pings: &mut Option<Pings>) {
    match pings {
        Some(pings) => _ = pings.timer.tick().await,
        None => std::future::pending().await,
    }
}

fn lost(error: &io::Error) -> Error {
    let what = format!("Cannot read or write data: {}", crate::os_message(error));
    Error::local(Origin::Lost, what)
}

fn end_of_file() -> Error {
    Error::local(
        Origin::Lost,
        "End of file while reading data: Input/output error",
    )
}

fn broken(what: &str) -> Error {
    Error::local(
        Origin::Protocol,
        format!("the daemon broke the protocol: {what}"),
    )
}
