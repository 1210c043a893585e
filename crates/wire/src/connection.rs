//! The server's side of one connection, without its socket.
//!
//! Bytes, descriptors and the time go in; calls and stream packets come out, and what is to be sent
//! collects in an [`Output`]. What the protocol settles by itself never reaches the caller: pings,
//! unknown programs and procedures, calls before authentication, packets of streams that are gone.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::errors::{ErrorCode, ErrorDomain};
use crate::frame::{self, FrameError, Header, Kind, Outgoing, Packet, Reader, Status, StreamHole};
use crate::keepalive::Procedure as KeepaliveProcedure;
use crate::output::Output;
use crate::ping::{self, Due, Pinger};
use crate::procedure::Event;
use crate::qemu;
use crate::remote::{self, RpcError};
use crate::xdr::{Encoder, Xdr, XdrError};

/// Calls that wait for their turn before reading stops.
const CALLS_WAITING_MAX: usize = 64;
/// Streams open at once on a connection.
pub const STREAMS_MAX: usize = 64;

/// What holds for a connection from its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// True if calls other than `AUTH_*` must wait for [`Connection::authenticated`].
    pub auth_required: bool,
    /// Silence after which a client that asked for keepalive is pinged.
    pub keepalive_interval: Duration,
    /// Unanswered pings after which it is given up.
    pub keepalive_count: u32,
    /// Calls handed out and not yet answered, at most.
    pub calls_max: usize,
    /// Largest packet taken, its length word included.
    pub packet_max_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            auth_required: false,
            keepalive_interval: Duration::from_secs(5),
            keepalive_count: 5,
            calls_max: 32,
            packet_max_bytes: frame::PACKET_MAX_BYTES,
        }
    }
}

/// A procedure of one of the programs that can be called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Procedure {
    /// Of the REMOTE program.
    Remote(remote::Procedure),
    /// Of the QEMU program.
    Qemu(qemu::Procedure),
}

impl Procedure {
    fn of(header: &Header) -> Option<Procedure> {
        match header.program {
            remote::PROGRAM => {
                let procedure = remote::Procedure::try_from(header.procedure).ok()?;
                (!procedure.is_event()).then_some(Procedure::Remote(procedure))
            }
            _ => {
                let procedure = qemu::Procedure::try_from(header.procedure).ok()?;
                (!procedure.is_event()).then_some(Procedure::Qemu(procedure))
            }
        }
    }

    fn is_auth(self) -> bool {
        use remote::Procedure::*;
        let Procedure::Remote(procedure) = self else {
            return false;
        };
        matches!(
            procedure,
            AuthList | AuthSaslInit | AuthSaslStart | AuthSaslStep | AuthPolkit
        )
    }
}

/// A call to answer: exactly once, by one of the `reply` functions.
#[derive(Debug)]
pub struct Call {
    /// Its header; the reply needs it.
    pub header: Header,
    /// What is called.
    pub procedure: Procedure,
    /// The arguments, still encoded.
    pub body: Vec<u8>,
    /// Descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

impl Call {
    /// The arguments; the error is the one to answer with.
    pub fn args<T: Xdr>(&self) -> Result<T, Box<RpcError>> {
        T::from_bytes(&self.body)
            .map_err(|e| rpc_error(format!("Unable to decode message payload: {e}")))
    }
}

/// What a client does with a stream that is open.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamPacket {
    /// Data, never empty.
    Data(Vec<u8>),
    /// So many bytes that are left out.
    Hole(u64),
    /// The client has no more data and wants it confirmed: [`Connection::stream_finished`].
    Finish,
    /// The client gives up; the stream is closed and that confirmed already.
    Abort,
}

/// What came in.
#[derive(Debug)]
pub enum Incoming {
    /// A call.
    Call(Call),
    /// Something on the stream that the call with this serial opened.
    Stream(u32, StreamPacket),
}

/// Why a connection has to be closed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Broken {
    /// What arrived is not the protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The client did not answer pings.
    #[error("connection closed due to keepalive timeout")]
    KeepaliveTimeout,
}

/// One client's connection.
#[derive(Debug)]
pub struct Connection {
    settings: Settings,
    reader: Reader,
    output: Output,
    authenticated: bool,
    pinger: Option<Pinger>,
    waiting: VecDeque<Call>,
    outstanding: usize,
    /// The calls that opened the streams that are open, by serial.
    streams: BTreeMap<u32, Header>,
}

impl Connection {
    /// A connection just made.
    pub fn new(settings: Settings) -> Connection {
        Connection {
            reader: Reader::with_limit(settings.packet_max_bytes),
            authenticated: !settings.auth_required,
            settings,
            output: Output::default(),
            pinger: None,
            waiting: VecDeque::new(),
            outstanding: 0,
            streams: BTreeMap::new(),
        }
    }

    /// Takes what the socket gave.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        fds: impl IntoIterator<Item = OwnedFd>,
        now: Duration,
    ) -> Result<(), Broken> {
        if let Some(pinger) = &mut self.pinger {
            pinger.heard(now);
        }
        Ok(self.reader.push(bytes, fds)?)
    }

    /// Where the next bytes of a large packet can be read to, and how many at most; the caller tells
    /// of them by [`Connection::heard`].
    pub fn room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        self.reader.room()
    }

    /// The stream whose large packet is arriving, by the serial of the call that opened it, and the
    /// packet's header.
    pub fn arriving(&self) -> Option<(u32, Header)> {
        let header = self.reader.under_way()?;
        let call = self.streams.get(&header.serial)?;
        let expected = call.stream(Status::Continue);
        (header == expected).then_some((header.serial, header))
    }

    /// Gives the rest of that packet, and the socket, to somebody else: see
    /// [`Reader::give_away`](frame::Reader::give_away).
    pub fn give_away(&mut self) -> Option<(Vec<u8>, usize)> {
        self.reader.give_away()
    }

    /// The socket is this connection's again, and the next so many bytes belong to a packet that
    /// nobody wants.
    pub fn take_back(&mut self, missing: usize) {
        self.reader.take_back(missing);
    }

    /// Bytes came in by [`Connection::room`], or to whom the socket was given.
    pub fn heard(&mut self, now: Duration) {
        if let Some(pinger) = &mut self.pinger {
            pinger.heard(now);
        }
    }

    /// True while more bytes should be read; false while too many calls wait for their turn.
    pub fn wants_input(&self) -> bool {
        self.waiting.len() < CALLS_WAITING_MAX
    }

    /// The next thing to act on. `None` until more arrives or a call is answered.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, Broken> {
        loop {
            if self.outstanding < self.settings.calls_max
                && let Some(call) = self.waiting.pop_front()
            {
                self.outstanding += 1;
                return Ok(Some(Incoming::Call(call)));
            }
            if !self.wants_input() {
                return Ok(None);
            }
            let Some(packet) = self.reader.next_packet()? else {
                return Ok(None);
            };
            if let Some((serial, packet)) = self.sort(packet) {
                return Ok(Some(Incoming::Stream(serial, packet)));
            }
        }
    }

    /// Answers what the protocol itself answers, queues calls, returns stream packets.
    fn sort(&mut self, packet: Packet) -> Option<(u32, StreamPacket)> {
        let header = packet.header;
        if let Some(procedure) = ping::procedure_of(&header) {
            if procedure == KeepaliveProcedure::Ping {
                self.output.push(ping::message(KeepaliveProcedure::Pong));
            }
            return None;
        }
        match header.kind {
            Kind::Call | Kind::CallWithFds => {
                match self.admit(&header) {
                    Ok(procedure) => self.waiting.push_back(Call {
                        header,
                        procedure,
                        body: packet.body,
                        fds: packet.fds,
                    }),
                    Err(error) => self.send_error(header, &error),
                }
                None
            }
            Kind::Stream | Kind::StreamHole => self.stream_packet(packet),
            // Nothing a client may send; libvirt drops it too.
            Kind::Reply | Kind::ReplyWithFds | Kind::Event => None,
        }
    }

    fn admit(&self, header: &Header) -> Result<Procedure, Box<RpcError>> {
        let known = match header.program {
            remote::PROGRAM => header.version == remote::VERSION,
            qemu::PROGRAM => header.version == qemu::VERSION,
            _ => false,
        };
        if !known {
            return Err(rpc_error(format!(
                "Cannot find program {} version {}",
                header.program, header.version
            )));
        }
        if header.status != Status::Ok {
            return Err(rpc_error(format!(
                "Unexpected message status {}",
                header.status as u32
            )));
        }
        let procedure = Procedure::of(header)
            .ok_or_else(|| rpc_error(format!("unknown procedure: {}", header.procedure)))?;
        match self.authenticated || procedure.is_auth() {
            true => Ok(procedure),
            false => Err(rpc_error("authentication required".into())),
        }
    }

    fn stream_packet(&mut self, packet: Packet) -> Option<(u32, StreamPacket)> {
        let header = packet.header;
        // What arrives after a stream has ended was on its way already.
        let call = *self.streams.get(&header.serial)?;
        let expected = call.program == header.program && call.procedure == header.procedure;
        let meaning = match (header.kind, header.status, packet.body.is_empty()) {
            _ if !expected => return None,
            (Kind::StreamHole, _, _) => match packet.decode::<StreamHole>() {
                Ok(hole) => StreamPacket::Hole(u64::try_from(hole.length).unwrap_or(0)),
                Err(_) => return None,
            },
            (_, Status::Continue, true) => return None,
            (_, Status::Continue, false) => StreamPacket::Data(packet.body),
            (_, Status::Ok, _) => StreamPacket::Finish,
            (_, Status::Error, _) => {
                self.stream_finished(header.serial);
                StreamPacket::Abort
            }
        };
        Some((header.serial, meaning))
    }

    /// The client has proved who it is.
    pub fn authenticated(&mut self) {
        self.authenticated = true;
    }

    /// The client asked for keepalive.
    pub fn start_keepalive(&mut self, now: Duration) {
        if self.settings.keepalive_interval > Duration::ZERO {
            let (interval, count) = (
                self.settings.keepalive_interval,
                self.settings.keepalive_count,
            );
            self.pinger
                .get_or_insert_with(|| Pinger::new(interval, count, now));
        }
    }

    /// When [`Connection::tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        self.pinger.as_ref().map(Pinger::deadline)
    }

    /// Looks at the time.
    pub fn tick(&mut self, now: Duration) -> Result<(), Broken> {
        let wants_input = self.wants_input();
        let Some(pinger) = &mut self.pinger else {
            return Ok(());
        };
        if !wants_input {
            // Its pongs may lie unread: that is no silence of the client's.
            pinger.heard(now);
        }
        match pinger.tick(now) {
            Due::Nothing => Ok(()),
            Due::Ping => {
                self.output.push(ping::message(KeepaliveProcedure::Ping));
                Ok(())
            }
            Due::Dead => Err(Broken::KeepaliveTimeout),
        }
    }

    /// Answers a call.
    pub fn reply<T: Xdr>(&mut self, header: Header, body: &T) {
        self.reply_encoded(header, encode_reply(header, body));
    }

    /// Answers a call with a packet made by [`encode_reply`].
    pub fn reply_encoded(&mut self, header: Header, packet: Result<Vec<u8>, Box<RpcError>>) {
        self.outstanding = self.outstanding.saturating_sub(1);
        match packet {
            Ok(bytes) => self.output.push(bytes),
            Err(error) => self.send_error(header, &error),
        }
    }

    /// Answers a call with a packet and descriptors made by [`encode_reply_with_fds`].
    pub fn reply_outgoing(&mut self, header: Header, outgoing: Result<Outgoing, Box<RpcError>>) {
        self.outstanding = self.outstanding.saturating_sub(1);
        match outgoing {
            Ok(outgoing) => self.output.push_with_fds(outgoing),
            Err(error) => self.send_error(header, &error),
        }
    }

    /// Answers a call with a failure.
    pub fn reply_error(&mut self, header: Header, error: &RpcError) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.send_error(header, error);
    }

    fn send_error(&mut self, header: Header, error: &RpcError) {
        self.output
            .push(frame::error_packet(header.reply(Status::Error), error));
    }

    /// Sends an event.
    pub fn send_event<T: Event>(&mut self, event: &T) -> Result<(), XdrError> {
        self.output.push(encode_event(event)?);
        Ok(())
    }

    /// Sends an event made by [`encode_event`].
    pub fn send_encoded_event(&mut self, packet: &[u8]) {
        self.output.push(packet.to_vec());
    }

    /// The call opened a stream; its data may flow once the call is answered.
    pub fn open_stream(&mut self, call: Header) -> Result<(), Box<RpcError>> {
        if self.streams.len() >= STREAMS_MAX {
            return Err(rpc_error(format!(
                "too many streams on one connection; at most {STREAMS_MAX} can be open"
            )));
        }
        self.streams.insert(call.serial, call);
        Ok(())
    }

    /// Sends a packet of data on a stream: at most [`frame::STREAM_DATA_MAX_BYTES`] behind
    /// [`frame::STREAM_ROOM_BYTES`] of room. Nothing happens on a stream that is gone.
    pub fn stream_data(&mut self, serial: u32, packet: Vec<u8>) {
        let Some(call) = self.streams.get(&serial).copied() else {
            return;
        };
        if let Ok(bytes) = frame::data_in_place(call.stream(Status::Continue), packet) {
            self.output.push(bytes);
        }
    }

    /// Sends a packet of data on a stream whose body, of `length` bytes, the caller sends itself
    /// (`Next::Content`). False on a stream that is gone: nothing is to be sent then.
    pub fn stream_content(&mut self, serial: u32, length: usize) -> bool {
        let Some(call) = self.streams.get(&serial).copied() else {
            return false;
        };
        let head = frame::head_alone(call.stream(Status::Continue), length);
        let Ok(head) = head else {
            return false;
        };
        self.output.push_content(head, length);
        true
    }

    /// Tells of zeros that are left out.
    pub fn stream_hole(&mut self, serial: u32, length: u64) {
        let Some(call) = self.streams.get(&serial).copied() else {
            return;
        };
        let header = Header {
            kind: Kind::StreamHole,
            ..call.stream(Status::Continue)
        };
        let hole = StreamHole {
            length: i64::try_from(length).unwrap_or(i64::MAX),
            flags: 0,
        };
        if let Ok(bytes) = frame::packet(header, &hole) {
            self.output.push(bytes);
        }
    }

    /// No more data will come from this side; the client answers by finishing the stream.
    pub fn stream_end_of_data(&mut self, serial: u32) {
        if let Some(call) = self.streams.get(&serial)
            && let Ok(bytes) = frame::data_packet(call.stream(Status::Continue), &[])
        {
            self.output.push(bytes);
        }
    }

    /// Confirms that the client's end of the stream is closed, and closes it.
    pub fn stream_finished(&mut self, serial: u32) {
        if let Some(call) = self.streams.remove(&serial)
            && let Ok(bytes) = frame::data_packet(call.stream(Status::Ok), &[])
        {
            self.output.push(bytes);
        }
    }

    /// Tells the client that the stream failed, and closes it.
    pub fn stream_failed(&mut self, serial: u32, error: &RpcError) {
        if let Some(call) = self.streams.remove(&serial) {
            let header = call.stream(Status::Error);
            self.output.push(frame::error_packet(header, error));
        }
    }

    /// Calls handed out and not yet answered.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// What waits to be sent.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }
}

/// A reply's packet, for answers that are made away from the connection.
pub fn encode_reply<T: Xdr>(call: Header, body: &T) -> Result<Vec<u8>, Box<RpcError>> {
    frame::packet(call.reply(Status::Ok), body).map_err(|e| unsendable(&e))
}

/// As [`encode_reply`], with a body of about `room` bytes that `body` writes.
pub fn encode_reply_by(
    call: Header,
    room: usize,
    body: impl FnOnce(&mut Encoder),
) -> Result<Vec<u8>, Box<RpcError>> {
    frame::packet_by(call.reply(Status::Ok), room, body).map_err(|e| unsendable(&e))
}

/// A reply's packet with descriptors to hand over.
pub fn encode_reply_with_fds<T: Xdr>(
    call: Header,
    body: &T,
    fds: Vec<OwnedFd>,
) -> Result<Outgoing, Box<RpcError>> {
    frame::packet_with_fds(call.reply(Status::Ok), body, fds).map_err(|e| unsendable(&e))
}

/// An event's packet; one can be sent to many clients.
pub fn encode_event<T: Event>(event: &T) -> Result<Vec<u8>, XdrError> {
    let header = Header {
        program: T::PROGRAM,
        version: T::VERSION,
        procedure: T::NUMBER,
        kind: Kind::Event,
        serial: 0,
        status: Status::Ok,
    };
    frame::packet(header, event)
}

fn unsendable(error: &XdrError) -> Box<RpcError> {
    rpc_error(format!("Unable to encode message payload: {error}"))
}

fn rpc_error(detail: String) -> Box<RpcError> {
    RpcError::new(ErrorCode::Rpc, ErrorDomain::Rpc, detail)
}

#[cfg(test)]
mod tests;
