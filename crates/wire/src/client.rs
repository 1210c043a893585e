//! The client's side of one connection, without its socket.
//!
//! Calls go in and get serials; what comes out is told apart: replies, events, stream packets.
//! Pings are answered here.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use thiserror::Error;

use crate::frame::{self, FrameError, Header, Kind, Packet, Reader, Status, StreamHole};
use crate::keepalive::Procedure as KeepaliveProcedure;
use crate::output::Output;
use crate::ping::{self, Due, Pinger};
use crate::procedure::{Call, Event};
use crate::remote::RpcError;
use crate::xdr::{Xdr, XdrError};

/// What a server sent.
#[derive(Debug)]
pub enum Received {
    /// The answer to the call with this serial.
    Reply(u32, Result<Reply, Box<RpcError>>),
    /// An event; [`Client::event`] decodes it.
    Event(Packet),
    /// Something on the stream that the call with this serial opened.
    Stream(u32, StreamEvent),
}

/// A call's successful answer.
#[derive(Debug)]
pub struct Reply {
    body: Vec<u8>,
    /// Descriptors handed over.
    pub fds: Vec<OwnedFd>,
}

impl Reply {
    /// The results of the call that `T` are the arguments of.
    pub fn ret<T: Call>(&self) -> Result<T::Ret, XdrError> {
        T::Ret::from_bytes(&self.body)
    }
}

/// What a server does with a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamEvent {
    /// Data, never empty.
    Data(Vec<u8>),
    /// So many bytes that are left out.
    Hole(u64),
    /// No more data will come; finish the stream.
    EndOfData,
    /// The server confirms that the stream is finished or given up.
    Finished,
    /// The stream failed and is closed.
    Failed(Box<RpcError>),
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Broken {
    /// What arrived is not the protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The body of an error could not be read.
    #[error("the server's error cannot be read: {0}")]
    Error(XdrError),
    /// The server did not answer pings.
    #[error("the server has not answered keepalive pings")]
    KeepaliveTimeout,
}

/// One connection to a server.
#[derive(Debug, Default)]
pub struct Client {
    reader: Reader,
    output: Output,
    last_serial: u32,
    /// Procedures of the calls that are not answered yet.
    calls: BTreeMap<u32, Header>,
    streams: BTreeMap<u32, Header>,
    pinger: Option<Pinger>,
}

impl Client {
    /// A connection just made.
    pub fn new() -> Client {
        Client::default()
    }

    /// Makes a call; its reply will have the serial returned.
    pub fn call<T: Call>(&mut self, args: &T) -> Result<u32, XdrError> {
        let header = self.header::<T>();
        self.output.push(frame::packet(header, args)?);
        Ok(self.made(header))
    }

    /// Makes a call with descriptors.
    pub fn call_with_fds<T: Call>(&mut self, args: &T, fds: Vec<OwnedFd>) -> Result<u32, XdrError> {
        let header = self.header::<T>();
        let outgoing = frame::packet_with_fds(header, args, fds)?;
        self.output.push_with_fds(outgoing);
        Ok(self.made(header))
    }

    fn header<T: Call>(&self) -> Header {
        Header {
            program: T::PROGRAM,
            version: T::VERSION,
            procedure: T::NUMBER,
            kind: Kind::Call,
            serial: self.last_serial.wrapping_add(1),
            status: Status::Ok,
        }
    }

    fn made(&mut self, header: Header) -> u32 {
        self.last_serial = header.serial;
        self.calls.insert(header.serial, header);
        header.serial
    }

    /// Says that the call with this serial opens a stream; to be said before its reply is taken.
    pub fn expect_stream(&mut self, serial: u32) {
        if let Some(header) = self.calls.get(&serial) {
            self.streams.insert(serial, *header);
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

    /// The next thing the server sent; `None` until more arrives.
    pub fn next_received(&mut self) -> Result<Option<Received>, Broken> {
        while let Some(packet) = self.reader.next_packet()? {
            if let Some(received) = self.sort(packet)? {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    fn sort(&mut self, packet: Packet) -> Result<Option<Received>, Broken> {
        let header = packet.header;
        if let Some(procedure) = ping::procedure_of(&header) {
            if procedure == KeepaliveProcedure::Ping {
                self.output.push(ping::message(KeepaliveProcedure::Pong));
            }
            return Ok(None);
        }
        Ok(match header.kind {
            Kind::Reply | Kind::ReplyWithFds => {
                if self.calls.remove(&header.serial).is_none() {
                    return Ok(None);
                }
                let result = match header.status {
                    Status::Error => {
                        self.streams.remove(&header.serial);
                        Err(error_of(&packet)?)
                    }
                    _ => Ok(Reply {
                        body: packet.body,
                        fds: packet.fds,
                    }),
                };
                Some(Received::Reply(header.serial, result))
            }
            Kind::Event => Some(Received::Event(packet)),
            Kind::Stream | Kind::StreamHole => self
                .stream_event(packet)?
                .map(|event| Received::Stream(header.serial, event)),
            Kind::Call | Kind::CallWithFds => None,
        })
    }

    fn stream_event(&mut self, packet: Packet) -> Result<Option<StreamEvent>, Broken> {
        let header = packet.header;
        if !self.streams.contains_key(&header.serial) {
            return Ok(None);
        }
        Ok(Some(match (header.kind, header.status) {
            (Kind::StreamHole, _) => {
                let hole: StreamHole = packet.decode().map_err(Broken::Error)?;
                StreamEvent::Hole(u64::try_from(hole.length).unwrap_or(0))
            }
            (_, Status::Continue) if packet.body.is_empty() => StreamEvent::EndOfData,
            (_, Status::Continue) => StreamEvent::Data(packet.body),
            (_, Status::Ok) => {
                self.streams.remove(&header.serial);
                StreamEvent::Finished
            }
            (_, Status::Error) => {
                self.streams.remove(&header.serial);
                StreamEvent::Failed(error_of(&packet)?)
            }
        }))
    }

    /// The event, if the packet is one of this type.
    pub fn event<T: Event>(packet: &Packet) -> Option<Result<T, XdrError>> {
        let header = packet.header;
        let matches = header.kind == Kind::Event
            && header.program == T::PROGRAM
            && header.procedure == T::NUMBER;
        matches.then(|| packet.decode())
    }

    /// Sends data on a stream.
    pub fn stream_data(&mut self, serial: u32, data: &[u8]) {
        for piece in data.chunks(frame::STREAM_DATA_MAX_BYTES) {
            self.stream_packet(serial, Status::Continue, piece);
        }
    }

    /// Says that no more data will come; the server confirms it.
    pub fn stream_finish(&mut self, serial: u32) {
        self.stream_packet(serial, Status::Ok, &[]);
    }

    /// Gives a stream up; the server answers with [`StreamEvent::Finished`].
    pub fn stream_abort(&mut self, serial: u32) {
        self.stream_packet(serial, Status::Error, &[]);
    }

    fn stream_packet(&mut self, serial: u32, status: Status, data: &[u8]) {
        if let Some(call) = self.streams.get(&serial)
            && let Ok(bytes) = frame::data_packet(call.stream(status), data)
        {
            self.output.push(bytes);
        }
    }

    /// The server said that it knows keepalive (feature 10).
    pub fn start_keepalive(&mut self, interval: Duration, count: u32, now: Duration) {
        self.pinger = Some(Pinger::new(interval, count, now));
    }

    /// When [`Client::tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        self.pinger.as_ref().map(Pinger::deadline)
    }

    /// Looks at the time.
    pub fn tick(&mut self, now: Duration) -> Result<(), Broken> {
        match self.pinger.as_mut().map(|pinger| pinger.tick(now)) {
            Some(Due::Dead) => Err(Broken::KeepaliveTimeout),
            Some(Due::Ping) => {
                self.output.push(ping::message(KeepaliveProcedure::Ping));
                Ok(())
            }
            Some(Due::Nothing) | None => Ok(()),
        }
    }

    /// Calls not answered yet.
    pub fn outstanding(&self) -> usize {
        self.calls.len()
    }

    /// What waits to be sent.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }
}

fn error_of(packet: &Packet) -> Result<Box<RpcError>, Broken> {
    packet.decode().map(Box::new).map_err(Broken::Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{self, Connection, Incoming, Settings, StreamPacket};
    use crate::output::Next;
    use crate::remote::{
        ConnectGetVersionArgs, ConnectGetVersionRet, DomainEventLifecycleMsg, DomainOpenConsoleArgs,
    };

    fn carry(from: &mut Output) -> Vec<u8> {
        let mut all = Vec::new();
        while let Next::Bytes(bytes) = from.next() {
            all.extend_from_slice(bytes);
            let count = bytes.len();
            from.bytes_sent(count);
        }
        all
    }

    fn to_server(client: &mut Client, server: &mut Connection) -> Option<Incoming> {
        let bytes = carry(client.output());
        server.receive(&bytes, [], Duration::ZERO).unwrap();
        server.next_incoming().unwrap()
    }

    fn to_client(server: &mut Connection, client: &mut Client) -> Option<Received> {
        let bytes = carry(server.output());
        client.receive(&bytes, [], Duration::ZERO).unwrap();
        client.next_received().unwrap()
    }

    fn header_of(incoming: Option<Incoming>) -> Header {
        match incoming {
            Some(Incoming::Call(call)) => call.header,
            other => panic!("no call but {other:?}"),
        }
    }

    #[test]
    fn replies_find_their_calls_in_any_order() {
        let (mut client, mut server) = (Client::new(), Connection::new(Settings::default()));
        let first = client.call(&ConnectGetVersionArgs {}).unwrap();
        let first_call = header_of(to_server(&mut client, &mut server));
        let second = client.call(&ConnectGetVersionArgs {}).unwrap();
        let second_call = header_of(to_server(&mut client, &mut server));

        server.reply(second_call, &ConnectGetVersionRet { hv_ver: 2 });
        server.reply_error(first_call, &RpcError::not_supported("virConnectGetVersion"));
        let Some(Received::Reply(serial, Ok(reply))) = to_client(&mut server, &mut client) else {
            panic!("no reply");
        };
        assert_eq!(serial, second);
        assert_eq!(reply.ret::<ConnectGetVersionArgs>().unwrap().hv_ver, 2);
        let Some(Received::Reply(serial, Err(error))) = client.next_received().unwrap() else {
            panic!("no error");
        };
        assert_eq!((serial, error.code), (first, 3));
        assert_eq!(client.outstanding(), 0);
    }

    #[test]
    fn events_are_told_apart_by_their_type() {
        let (mut client, mut server) = (Client::new(), Connection::new(Settings::default()));
        let event = DomainEventLifecycleMsg::default();
        server.send_event(&event).unwrap();
        let Some(Received::Event(packet)) = to_client(&mut server, &mut client) else {
            panic!("no event");
        };
        assert_eq!(
            Client::event::<DomainEventLifecycleMsg>(&packet),
            Some(Ok(event))
        );
        assert!(Client::event::<crate::remote::DomainEventRebootMsg>(&packet).is_none());
    }

    #[test]
    fn a_stream_runs_both_ways_and_is_finished() {
        let (mut client, mut server) = (Client::new(), Connection::new(Settings::default()));
        let serial = client.call(&DomainOpenConsoleArgs::default()).unwrap();
        client.expect_stream(serial);
        let call = header_of(to_server(&mut client, &mut server));
        server.open_stream(call).unwrap();
        server.reply_encoded(call, connection::encode_reply(call, &()));
        let room = [0; frame::STREAM_ROOM_BYTES];
        server.stream_data(serial, [&room[..], b"login:"].concat());
        assert!(matches!(
            to_client(&mut server, &mut client),
            Some(Received::Reply(_, Ok(_)))
        ));
        let Some(Received::Stream(_, event)) = client.next_received().unwrap() else {
            panic!("no data");
        };
        assert_eq!(event, StreamEvent::Data(b"login:".to_vec()));

        client.stream_data(serial, b"root\n");
        let Some(Incoming::Stream(_, packet)) = to_server(&mut client, &mut server) else {
            panic!("no input");
        };
        assert_eq!(packet, StreamPacket::Data(b"root\n".to_vec()));

        client.stream_finish(serial);
        assert!(matches!(
            to_server(&mut client, &mut server),
            Some(Incoming::Stream(_, StreamPacket::Finish))
        ));
        server.stream_finished(serial);
        assert!(matches!(
            to_client(&mut server, &mut client),
            Some(Received::Stream(_, StreamEvent::Finished))
        ));
    }

    #[test]
    fn an_aborted_stream_is_confirmed() {
        let (mut client, mut server) = (Client::new(), Connection::new(Settings::default()));
        let serial = client.call(&DomainOpenConsoleArgs::default()).unwrap();
        client.expect_stream(serial);
        let call = header_of(to_server(&mut client, &mut server));
        server.open_stream(call).unwrap();
        client.stream_abort(serial);
        to_server(&mut client, &mut server);
        assert!(matches!(
            to_client(&mut server, &mut client),
            Some(Received::Stream(_, StreamEvent::Finished))
        ));
    }
}
