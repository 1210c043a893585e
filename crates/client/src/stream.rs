//! A stream: data that belongs to one call, in either direction.

use tokio::sync::mpsc;
use wire::frame::{Header, Packet, STREAM_DATA_MAX_BYTES, Status};

use crate::event_loop::Request;
use crate::{Error, Origin};

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
            outgoing: Outgoing { header, requests },
        }
    }

    /// The next piece of data; `None` at the end.
    ///
    /// # Errors
    /// The daemon's error, or the connection's.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.incoming.receive()
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
        if self.ended {
            return Ok(None);
        }
        let Some(packet) = self.packets.blocking_recv() else {
            return Err(Error::local(Origin::Lost, "the stream was cut off"));
        };
        match packet.header.status {
            Status::Error => {
                self.ended = true;
                Err(Error::from_body(&packet.body))
            }
            Status::Ok => {
                self.ended = true;
                Ok(None)
            }
            // Nothing more to read; the end itself is still to be agreed on.
            Status::Continue if packet.body.is_empty() => Ok(None),
            Status::Continue => Ok(Some(packet.body)),
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
            .try_for_each(|piece| self.packet(Status::Continue, piece.to_vec()))
    }

    /// Says that no more will be sent.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn finish(&self) -> Result<(), Error> {
        self.packet(Status::Ok, Vec::new())
    }

    fn packet(&self, status: Status, data: Vec<u8>) -> Result<(), Error> {
        let header = self.header.stream(status);
        self.requests
            .send(Request::StreamData { header, data })
            .map_err(|_| Error::local(Origin::Lost, "the connection to the daemon was lost"))
    }

    /// Tells the loop that nobody listens any more.
    pub fn forget(&self) {
        _ = self.requests.send(Request::StreamDone {
            serial: self.header.serial,
        });
    }
}
