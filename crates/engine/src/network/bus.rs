//! A connection to the system's D-Bus.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::BUS_REPLY_TIMEOUT_MS;
use ::network::dbus::{self, BEGIN, Kind, MESSAGE_MAX_BYTES, Message, PREFIX_BYTES};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// Longest line of the bus's greeting.
const GREETING_MAX_BYTES: usize = 1024;

/// A connection that waits for one answer at a time.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    /// Joins the bus; none where this host has none.
    pub(super) async fn join() -> Result<Option<Bus>> {
        let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
        let path = dbus::system_socket(address.as_deref());
        let Ok(stream) = UnixStream::connect(&path).await else {
            return Ok(None);
        };
        let mut bus = Bus { stream, serial: 0 };
        within(bus.greet()).await?;
        bus.ask("Hello", &[]).await?;
        Ok(Some(bus))
    }

    async fn greet(&mut self) -> Result<()> {
        let greeting = dbus::greeting(sys::user::current_uid());
        self.stream
            .write_all(greeting.as_bytes())
            .await
            .map_err(lost)?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.read_u8().await.map_err(lost)?);
            if line.len() > GREETING_MAX_BYTES {
                return Err(failed("the bus does not greet"));
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(failed("the bus does not let this user in"));
        }
        let begin = BEGIN.as_bytes();
        self.stream.write_all(begin).await.map_err(lost)
    }

    /// Asks the bus itself.
    pub(super) async fn ask(&mut self, method: &str, words: &[&str]) -> Result<Vec<String>> {
        let call = Message::call(BUS, BUS_PATH, BUS, method);
        self.call(call.with(words.iter().copied())).await
    }

    /// Calls a method, and waits for what it says.
    pub(super) async fn call(&mut self, mut call: Message) -> Result<Vec<String>> {
        self.serial += 1;
        call.serial = self.serial;
        let exchange = async {
            self.stream.write_all(&call.encode()).await.map_err(lost)?;
            loop {
                let message = self.read().await?;
                if message.reply_to == Some(call.serial) {
                    return Ok(message);
                }
            }
        };
        let reply = within(exchange).await?;
        match reply.kind {
            Kind::Return => Ok(reply.strings),
            _ => {
                let said = reply.strings.into_iter().next();
                Err(failed(&said.or(reply.error).unwrap_or_default()))
            }
        }
    }

    /// The next message, however long it takes.
    pub(super) async fn read(&mut self) -> Result<Message> {
        let malformed = |e: dbus::Malformed| failed(&e.to_string());
        let mut bytes = vec![0; PREFIX_BYTES];
        self.stream.read_exact(&mut bytes).await.map_err(lost)?;
        let length = Message::length(&bytes).map_err(malformed)?;
        bytes.resize(length.min(MESSAGE_MAX_BYTES), 0);
        let rest = &mut bytes[PREFIX_BYTES..];
        self.stream.read_exact(rest).await.map_err(lost)?;
        Message::decode(&bytes).map_err(malformed)
    }
}

async fn within<T>(exchange: impl Future<Output = Result<T>>) -> Result<T> {
    let bound = Duration::from_millis(BUS_REPLY_TIMEOUT_MS);
    match tokio::time::timeout(bound, exchange).await {
        Ok(done) => done,
        Err(_) => Err(failed("nobody answered on the system's D-Bus in time")),
    }
}

fn failed(what: &str) -> EngineError {
    EngineError::new(ErrorKind::Internal, what)
}

fn lost(error: std::io::Error) -> EngineError {
    EngineError::system("the system's D-Bus cannot be reached", error)
}
