//! A stream: data that belongs to one call, in either direction.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::mpsc;
use wire::frame::{
    Header, Kind, Packet, STREAM_DATA_MAX_BYTES, STREAM_ROOM_BYTES, Status, StreamHole,
};
use wire::xdr::Xdr;

use crate::event_loop::Request;
use crate::{Error, Origin};

/// The most data one packet carries.
pub const PIECE_BYTES: usize = STREAM_DATA_MAX_BYTES;
/// What lies in front of it in a buffer that is sent.
pub const ROOM_BYTES: usize = STREAM_ROOM_BYTES;
/// Packets of one stream that wait to be written before their sender does: about as many as the
/// processor has near.
const WINDOW_PACKETS: usize = 4;

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Data(Vec<u8>),
    /// So many zeros that were left out.
    Hole(u64),
}

/// How many packets of a stream wait to be written.
#[derive(Debug, Default)]
struct Window {
    waiting: Mutex<usize>,
    less: Condvar,
}

/// A packet's place among those that wait; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Window>);

impl Place {
    /// Waits for a place.
    fn take(window: &Arc<Window>) -> Place {
        let waiting = window
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let full = |waiting: &mut usize| *waiting >= WINDOW_PACKETS;
        let waiting = window.less.wait_while(waiting, full);
        *waiting.unwrap_or_else(PoisonError::into_inner) += 1;
        Place(Arc::clone(window))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = self.0.waiting.lock();
        *waiting.unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.less.notify_one();
    }
}

/// An open stream. Dropping it without [`Stream::finish`] aborts it.
pub struct Stream {
    incoming: Incoming,
    outgoing: Outgoing,
}

/// The receiving half.
pub struct Incoming {
    packets: mpsc::Receiver<Packet>,
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
        packets: mpsc::Receiver<Packet>,
        requests: mpsc::UnboundedSender<Request>,
    ) -> Stream {
        let incoming = Incoming {
            packets,
            ended: false,
        };
        Stream {
            incoming,
            outgoing: Outgoing {
                header,
                requests,
                window: Arc::default(),
            },
        }
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
            Some(Piece::Hole(_)) => {
                let what = "the daemon sent a hole that nobody asked for";
                Err(Error::local(Origin::Protocol, what))
            }
            None => Ok(None),
        }
    }

    /// Whether the daemon has given the stream up.
    fn check(&mut self) -> Result<(), Error> {
        match self.packets.try_recv() {
            Ok(packet) => self.piece(packet).map(drop),
            Err(_) => Ok(()),
        }
    }

    fn receive_piece(&mut self) -> Result<Option<Piece>, Error> {
        if self.ended {
            return Ok(None);
        }
        match self.packets.blocking_recv() {
            Some(packet) => self.piece(packet),
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
        let place = Place::take(&self.window);
        self.requests
            .send(Request::StreamData {
                header,
                data,
                place,
            })
            .map_err(|_| Error::local(Origin::Lost, "the connection to the daemon was lost"))
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
