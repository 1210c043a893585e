//! The daemon's end of a stream: what a procedure that opened one talks to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sys::content::Piece as Content;
use sys::lent::Lent;
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
    /// A packet of content that goes to the socket by itself.
    Content(Content),
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

/// What comes to a stream.
#[derive(Debug)]
pub(crate) enum FromClient {
    /// A packet.
    Packet(StreamPacket),
    /// The socket itself, with data of this stream on it.
    Socket(Lent),
}

/// Where a connection puts what a client sends on a stream.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    sender: mpsc::Sender<FromClient>,
    takes_socket: Arc<AtomicBool>,
}

impl Inbox {
    /// Puts it there, or gives it back while the stream is behind. A stream that has ended needs
    /// nothing any more.
    pub(crate) fn put(&self, what: FromClient) -> Result<(), FromClient> {
        match self.sender.try_send(what) {
            Err(mpsc::error::TrySendError::Full(what)) => Err(what),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Waits until there is room, or nobody who could want it.
    pub(crate) async fn room(&self) {
        drop(self.sender.reserve().await);
    }

    /// Whether the stream's data may be read from the socket by whoever serves it.
    pub(crate) fn takes_socket(&self) -> bool {
        self.takes_socket.load(Ordering::Relaxed) && !self.sender.is_closed()
    }
}

/// One open stream, seen from the procedure.
#[derive(Debug)]
pub(crate) struct StreamEnd {
    serial: u32,
    from_client: mpsc::Receiver<FromClient>,
    takes_socket: Arc<AtomicBool>,
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
    ) -> (StreamEnd, Inbox) {
        let (sender, from_client) = mpsc::channel(STREAM_INPUT_MAX);
        let takes_socket = Arc::new(AtomicBool::new(false));
        let end = StreamEnd {
            serial,
            from_client,
            takes_socket: takes_socket.clone(),
            to_connection,
            pieces: Arc::new(Semaphore::new(STREAM_PIECES_MAX)),
            settled: false,
        };
        let inbox = Inbox {
            sender,
            takes_socket,
        };
        (end, inbox)
    }

    /// Sends data; waits while the client is behind.
    pub(crate) async fn send(&mut self, data: &[u8]) -> Result<(), Gone> {
        for piece in data.chunks(STREAM_DATA_MAX_BYTES) {
            let mut packet = Vec::with_capacity(STREAM_ROOM_BYTES + piece.len());
            packet.resize(STREAM_ROOM_BYTES, 0);
            packet.extend_from_slice(piece);
            let permit = self.permit().await?;
            self.tell(ToClient::Data(packet, permit))?;
        }
        Ok(())
    }

    /// Sends content, of which no more is taken in while the client is behind.
    pub(crate) fn send_content(&mut self, content: Content) -> Result<(), Gone> {
        self.tell(ToClient::Content(content))
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

    /// From now on [`StreamEnd::next`] may give the socket in place of packets.
    pub(crate) fn take_socket(&self) {
        self.takes_socket.store(true, Ordering::Relaxed);
    }

    /// What comes next, a packet or the socket; `None` when the client has given the stream up.
    pub(crate) async fn next(&mut self) -> Option<FromClient> {
        let next = self.from_client.recv().await;
        if matches!(next, None | Some(FromClient::Packet(StreamPacket::Abort))) {
            self.settled = true;
            return None;
        }
        next
    }

    /// The packet the client sends next; `None` when it has given the stream up.
    pub(crate) async fn receive(&mut self) -> Option<StreamPacket> {
        loop {
            match self.next().await? {
                FromClient::Packet(packet) => return Some(packet),
                // Nobody asked for it: it goes back, with what there was on it lost.
                FromClient::Socket(_) => {}
            }
        }
    }

    /// Says that there is no more data and waits until the client has finished too, which means
    /// that it has it all; then `source`, where the data is from, is let go of before that is
    /// confirmed.
    pub(crate) async fn end_of_data<T>(mut self, source: T) {
        if self.tell(ToClient::EndOfData).is_ok() {
            while let Some(packet) = self.receive().await {
                if packet == StreamPacket::Finish {
                    drop(source);
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
