//! A stream: data that belongs to one call, in either direction.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sys::content::{Intake, PIECES_MAX, Place, Window};
use tokio::sync::mpsc;
use wire::frame::{
    Header, Kind, Packet, STREAM_DATA_MAX_BYTES, STREAM_ROOM_BYTES, Status, StreamHole,
};
use wire::xdr::Xdr;

use crate::connection::lost;
use crate::content::Content;
use crate::event_loop::Request;
use crate::{Error, Origin};

/// The most data one packet carries.
pub const PIECE_BYTES: usize = STREAM_DATA_MAX_BYTES;
/// What lies in front of it in a buffer that is sent.
pub const ROOM_BYTES: usize = STREAM_ROOM_BYTES;
/// What a stream carries.
#[derive(Debug)]
pub enum Piece {
    /// Bytes.
    Data(Vec<u8>),
    /// So many zeros that were left out.
    Hole(u64),
    /// Content that is still to be taken, on a stream that asked for it.
    Content(Content),
}

/// What the loop hands to a stream.
#[derive(Debug)]
pub(crate) enum FromDaemon {
    /// A packet.
    Packet(Packet),
    /// The socket, where content is on it.
    Content(Content),
}

/// Where the loop puts what comes for a stream.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    sender: mpsc::Sender<FromDaemon>,
    takes_socket: Arc<AtomicBool>,
}

impl Inbox {
    /// One for packets that wait for their reader before the socket is left alone.
    pub(crate) fn new(packets: usize) -> (Inbox, Outbox) {
        let (sender, receiver) = mpsc::channel(packets);
        let takes_socket = Arc::new(AtomicBool::new(false));
        let outbox = Outbox {
            receiver,
            takes_socket: takes_socket.clone(),
        };
        (
            Inbox {
                sender,
                takes_socket,
            },
            outbox,
        )
    }

    /// Puts it there; waits while the stream is behind.
    pub(crate) async fn put(&self, what: FromDaemon) -> Result<(), Gone> {
        self.sender.send(what).await.map_err(|_| Gone)
    }

    /// Whether content may be read from the socket by whoever reads the stream.
    pub(crate) fn takes_socket(&self) -> bool {
        self.takes_socket.load(Ordering::Relaxed) && !self.sender.is_closed()
    }
}

/// Nobody reads the stream any more.
#[derive(Debug)]
pub(crate) struct Gone;

/// Where it comes out.
#[derive(Debug)]
pub(crate) struct Outbox {
    receiver: mpsc::Receiver<FromDaemon>,
    takes_socket: Arc<AtomicBool>,
}

/// An open stream. Dropping it without [`Stream::finish`] aborts it.
pub struct Stream {
    incoming: Incoming,
    outgoing: Outgoing,
    intake: Option<Intake>,
}

/// The receiving half.
pub struct Incoming {
    outbox: Outbox,
    ended: bool,
}

/// The sending half; it may be cloned.
#[derive(Clone)]
pub struct Outgoing {
    header: Header,
    requests: mpsc::UnboundedSender<Request>,
    window: Arc<Window>,
}

impl Stream {
    pub(crate) fn new(
        header: Header,
        outbox: Outbox,
        requests: mpsc::UnboundedSender<Request>,
    ) -> Stream {
        let incoming = Incoming {
            outbox,
            ended: false,
        };
        Stream {
            incoming,
            outgoing: Outgoing {
                header,
                requests,
                window: Arc::default(),
            },
            intake: None,
        }
    }

    /// From now on [`Stream::receive_piece`] may give content that is still to be taken.
    pub fn take_content(&self) {
        let takes_socket = &self.incoming.outbox.takes_socket;
        takes_socket.store(true, Ordering::Relaxed);
    }

    /// Sends up to `max` bytes of a file from `at` on, without copying them; how many, 0 at the
    /// file's end. Waits while much is unsent.
    ///
    /// # Errors
    /// The daemon's error, if it has given the stream up, or the connection's; inside, the file's.
    pub fn send_file(
        &mut self,
        file: &File,
        at: u64,
        max: u64,
    ) -> Result<std::io::Result<u64>, Error> {
        self.incoming.check()?;
        let taken = match &self.intake {
            Some(intake) => intake.take(file, at, max),
            None => Intake::new().and_then(|new| self.intake.insert(new).take(file, at, max)),
        };
        let content = match taken {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Ok(0)),
            // The loop has ended with some of it unsent.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Err(lost()),
            Err(error) => return Ok(Err(error)),
        };
        let length = content.len() as u64;
        self.outgoing.tell(Request::StreamContent {
            header: self.outgoing.header.stream(Status::Continue),
            content,
        })?;
        Ok(Ok(length))
    }

    /// The next piece of data; `None` at the end.
    ///
    /// # Errors
    /// The daemon's error, or the connection's.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.incoming.receive()
    }

    /// The next piece, of a stream that may have holes; `None` at the end.
    ///
    /// # Errors
    /// The daemon's error, or the connection's.
    pub fn receive_piece(&mut self) -> Result<Option<Piece>, Error> {
        self.incoming.receive_piece()
    }

    /// Sends at most [`PIECE_BYTES`] behind [`ROOM_BYTES`] of room; waits while much is unsent.
    ///
    /// # Errors
    /// The daemon's error, if it has given the stream up, or the connection's.
    pub fn send_piece(&mut self, packet: Vec<u8>) -> Result<(), Error> {
        self.incoming.check()?;
        let header = self.outgoing.header.stream(Status::Continue);
        self.outgoing.request(header, packet)
    }

    /// Sends a hole.
    ///
    /// # Errors
    /// As [`Stream::send_piece`].
    pub fn send_hole(&mut self, length: u64) -> Result<(), Error> {
        self.incoming.check()?;
        self.outgoing.hole(length)
    }

    /// The halves, for two threads.
    pub fn split(self) -> (Incoming, Outgoing) {
        (self.incoming, self.outgoing)
    }

    /// Ends the stream and waits until the daemon has ended it too.
    ///
    /// # Errors
    /// The daemon's error, or the connection's.
    pub fn finish(mut self) -> Result<(), Error> {
        if self.incoming.ended {
            return Ok(());
        }
        self.outgoing.finish()?;
        while !self.incoming.ended {
            self.incoming.receive()?;
        }
        Ok(())
    }
}

impl Incoming {
    /// The next piece of data; `None` at the end.
    ///
    /// # Errors
    /// The daemon's error, or the connection's.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.receive_piece()? {
            Some(Piece::Data(bytes)) => Ok(Some(bytes)),
            Some(Piece::Hole(_) | Piece::Content(_)) => {
                let what = "the daemon sent a hole that nobody asked for";
                Err(Error::local(Origin::Protocol, what))
            }
            None => Ok(None),
        }
    }

    /// Whether the daemon has given the stream up.
    fn check(&mut self) -> Result<(), Error> {
        match self.outbox.receiver.try_recv() {
            Ok(FromDaemon::Packet(packet)) => self.piece(packet).map(drop),
            Ok(FromDaemon::Content(_)) | Err(_) => Ok(()),
        }
    }

    fn receive_piece(&mut self) -> Result<Option<Piece>, Error> {
        if self.ended {
            return Ok(None);
        }
        match self.outbox.receiver.blocking_recv() {
            Some(FromDaemon::Packet(packet)) => self.piece(packet),
            Some(FromDaemon::Content(content)) => Ok(Some(Piece::Content(content))),
            None => Err(Error::local(Origin::Lost, "the stream was cut off")),
        }
    }

    fn piece(&mut self, packet: Packet) -> Result<Option<Piece>, Error> {
        match packet.header.status {
            Status::Error => {
                self.ended = true;
                Err(Error::from_body(&packet.body))
            }
            Status::Ok => {
                self.ended = true;
                Ok(None)
            }
            Status::Continue if packet.header.kind == Kind::StreamHole => {
                let hole = packet.decode::<StreamHole>();
                let length = hole.ok().and_then(|hole| u64::try_from(hole.length).ok());
                let broken = || Error::local(Origin::Protocol, "the daemon sent no hole");
                Ok(Some(Piece::Hole(length.ok_or_else(broken)?)))
            }
            // Nothing more to read; the end itself is still to be agreed on.
            Status::Continue if packet.body.is_empty() => Ok(None),
            Status::Continue => Ok(Some(Piece::Data(packet.body))),
        }
    }
}

impl Outgoing {
    /// Sends data, cut to the protocol's size.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn send(&self, data: &[u8]) -> Result<(), Error> {
        data.chunks(STREAM_DATA_MAX_BYTES)
            .try_for_each(|piece| self.packet(Status::Continue, piece))
    }

    /// Says that no more will be sent.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn finish(&self) -> Result<(), Error> {
        self.packet(Status::Ok, &[])
    }

    fn packet(&self, status: Status, data: &[u8]) -> Result<(), Error> {
        self.request(self.header.stream(status), with_room(data))
    }

    fn hole(&self, length: u64) -> Result<(), Error> {
        let header = Header {
            kind: Kind::StreamHole,
            ..self.header.stream(Status::Continue)
        };
        let hole = StreamHole {
            length: i64::try_from(length).unwrap_or(i64::MAX),
            flags: 0,
        };
        let body = hole.to_bytes();
        let body = body.map_err(|e| Error::local(Origin::Protocol, e.to_string()))?;
        self.request(header, with_room(&body))
    }

    /// Sends data behind the room for its header.
    fn request(&self, header: Header, data: Vec<u8>) -> Result<(), Error> {
        let place = Place::take(&self.window, PIECES_MAX);
        self.tell(Request::StreamData {
            header,
            data,
            place,
        })
    }

    fn tell(&self, request: Request) -> Result<(), Error> {
        self.requests.send(request).map_err(|_| lost())
    }

    /// Tells the loop that nobody listens any more.
    pub fn forget(&self) {
        _ = self.requests.send(Request::StreamDone {
            serial: self.header.serial,
        });
    }
}

fn with_room(data: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(ROOM_BYTES + data.len());
    packet.resize(ROOM_BYTES, 0);
    packet.extend_from_slice(data);
    packet
}
