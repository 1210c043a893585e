//! The daemon's end of a stream: what a procedure that opened one talks to.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use wire::connection::StreamPacket;
use wire::frame::{STREAM_DATA_MAX_BYTES, STREAM_ROOM_BYTES};
use wire::remote::RpcError;

use crate::limits::{STREAM_INPUT_MAX, STREAM_PIECES_MAX};

/// What a stream tells its connection.
#[derive(Debug)]
pub(crate) enum ToClient {
    /// A packet of data behind room for its header; the permit is given back once it is on its way.
    Data(Vec<u8>, OwnedSemaphorePermit),
    /// So many zeros, left out; the permit is given back once it is on its way.
    Hole(u64, OwnedSemaphorePermit),
    /// There is no more data.
    EndOfData,
    /// The client's end of the stream is confirmed.
    Finished,
    /// The stream failed.
    Failed(Box<RpcError>),
}

/// A message of one stream.
#[derive(Debug)]
pub(crate) struct StreamMessage {
    pub(crate) serial: u32,
    pub(crate) what: ToClient,
}

/// One open stream, seen from the procedure.
#[derive(Debug)]
pub(crate) struct StreamEnd {
    serial: u32,
    from_client: mpsc::Receiver<StreamPacket>,
    to_connection: mpsc::UnboundedSender<crate::session::ToConnection>,
    pieces: Arc<Semaphore>,
    settled: bool,
}

/// The client is gone, or has given the stream up.
#[derive(Debug)]
pub(crate) struct Gone;

impl StreamEnd {
    /// A stream, and where its connection puts what the client sends.
    pub(crate) fn new(
        serial: u32,
        to_connection: mpsc::UnboundedSender<crate::session::ToConnection>,
    ) -> (StreamEnd, mpsc::Sender<StreamPacket>) {
        let (sender, from_client) = mpsc::channel(STREAM_INPUT_MAX);
        let end = StreamEnd {
            serial,
            from_client,
            to_connection,
            pieces: Arc::new(Semaphore::new(STREAM_PIECES_MAX)),
            settled: false,
        };
        (end, sender)
    }

    /// Sends data; waits while the client is behind.
    pub(crate) async fn send(&mut self, data: &[u8]) -> Result<(), Gone> {
        for piece in data.chunks(STREAM_DATA_MAX_BYTES) {
            let mut packet = Vec::with_capacity(STREAM_ROOM_BYTES + piece.len());
            packet.resize(STREAM_ROOM_BYTES, 0);
            packet.extend_from_slice(piece);
            self.send_packet(packet).await?;
        }
        Ok(())
    }

    /// Sends a packet of data that lies behind [`STREAM_ROOM_BYTES`] of room, without copying it.
    pub(crate) async fn send_packet(&mut self, packet: Vec<u8>) -> Result<(), Gone> {
        let permit = self.permit().await?;
        self.tell(ToClient::Data(packet, permit))
    }

    /// Sends a hole; waits while the client is behind.
    pub(crate) async fn send_hole(&mut self, length: u64) -> Result<(), Gone> {
        let permit = self.permit().await?;
        self.tell(ToClient::Hole(length, permit))
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Gone> {
        let pieces = self.pieces.clone();
        pieces.acquire_owned().await.map_err(|_| Gone)
    }

    /// What the client sends next; `None` when it has given the stream up.
    pub(crate) async fn receive(&mut self) -> Option<StreamPacket> {
        let packet = self.from_client.recv().await;
        if matches!(packet, None | Some(StreamPacket::Abort)) {
            self.settled = true;
            return None;
        }
        packet
    }

    /// Says that there is no more data and waits until the client has finished too.
    pub(crate) async fn end_of_data(mut self) {
        if self.tell(ToClient::EndOfData).is_ok() {
            while let Some(packet) = self.receive().await {
                if packet == StreamPacket::Finish {
                    return self.finish();
                }
            }
        }
    }

    /// Confirms the client's [`StreamPacket::Finish`].
    pub(crate) fn finish(mut self) {
        self.settled = true;
        let _ = self.tell(ToClient::Finished);
    }

    /// Ends the stream with an error.
    pub(crate) fn fail(mut self, error: Box<RpcError>) {
        self.settled = true;
        let _ = self.tell(ToClient::Failed(error));
    }

    fn tell(&self, what: ToClient) -> Result<(), Gone> {
        let message = StreamMessage {
            serial: self.serial,
            what,
        };
        self.to_connection
            .send(crate::session::ToConnection::Stream(message))
            .map_err(|_| Gone)
    }
}

impl Drop for StreamEnd {
    /// A procedure that ends without a word leaves no client waiting.
    fn drop(&mut self) {
        if !self.settled {
            let error = RpcError::new(
                wire::errors::ErrorCode::InternalError,
                wire::errors::ErrorDomain::Streams,
                "the stream ended early",
            );
            let _ = self.tell(ToClient::Failed(error));
        }
    }
}
