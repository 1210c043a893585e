//! The channel to a guest's agent. The agent answers one command at a time,
//! so callers queue; each has its own bound on the whole wait.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::AGENT_REPLY_TIMEOUT_MS;
use qemu::agent::{Failure, Outcome, Session, commands};
use qemu::qmp::Command;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// The channel of one machine.
#[derive(Debug)]
pub(crate) struct Agent {
    path: PathBuf,
    channel: Mutex<Option<Channel>>,
    /// Whether a program in the guest has the channel open, as QEMU tells it.
    connected: AtomicBool,
    next_sync: AtomicU64,
    /// How long its answers are waited for, in milliseconds.
    patience_ms: AtomicU64,
}

#[derive(Debug)]
struct Channel {
    stream: UnixStream,
    session: Session,
}

impl Agent {
    /// The agent behind the channel's socket.
    pub(crate) fn new(path: PathBuf, connected: bool) -> Self {
        Self {
            path,
            channel: Mutex::new(None),
            connected: AtomicBool::new(connected),
            next_sync: AtomicU64::new(1),
            patience_ms: AtomicU64::new(AGENT_REPLY_TIMEOUT_MS),
        }
    }

    /// How long to wait for an answer where the caller does not say.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Ordering::Relaxed))
    }

    /// Sets how long to wait.
    pub(crate) fn set_patience(&self, patience: Duration) {
        let ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.patience_ms.store(ms, Ordering::Relaxed);
    }

    /// Takes in what QEMU says of the channel; tells whether that is news.
    pub(crate) fn set_connected(&self, connected: bool) -> bool {
        self.connected.swap(connected, Ordering::Relaxed) != connected
    }

    /// Whether a program in the guest has the channel open.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Runs a command and reads its reply.
    pub(crate) async fn run<R: DeserializeOwned>(
        &self,
        command: &Command<R>,
        timeout: Duration,
    ) -> Result<R> {
        let value = self.run_raw(command, timeout).await?;
        command
            .parse(value)
            .map_err(|e| EngineError::new(ErrorKind::AgentCommandFailed, e.to_string()))
    }

    /// Runs a command and gives its reply back as it came.
    pub(crate) async fn run_raw<R>(
        &self,
        command: &Command<R>,
        timeout: Duration,
    ) -> Result<Value> {
        if !self.is_connected() {
            return Err(unresponsive("QEMU guest agent is not connected"));
        }
        let exchange = async {
            let mut slot = self.channel.lock().await;
            // Taken out while in use: a caller that gives up half-way drops the
            // connection, and the next one begins with a clean one.
            let mut channel = match slot.take() {
                Some(channel) => channel,
                None => self.connect().await?,
            };
            let value = channel
                .exchange(command, self.next_sync.fetch_add(1, Ordering::Relaxed))
                .await?;
            *slot = Some(channel);
            value
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) if !commands::expects_reply(command) => {
                Ok(Value::Object(serde_json::Map::new()))
            }
            Err(_) => Err(unresponsive("Guest agent not available for now")),
        }
    }

    async fn connect(&self) -> Result<Channel> {
        let stream = UnixStream::connect(&self.path).await.map_err(|e| {
            unresponsive(&format!(
                "cannot reach the agent's channel {}: {e}",
                self.path.display()
            ))
        })?;
        Ok(Channel {
            stream,
            session: Session::new(),
        })
    }
}

impl Channel {
    /// The outer error says that the channel is unusable now.
    async fn exchange<R>(&mut self, command: &Command<R>, sync: u64) -> Result<Result<Value>> {
        let first = self
            .session
            .begin(command, sync)
            .map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))?;
        self.send(&first).await?;
        // The first message only finds out that the agent listens; the second is the command.
        let mut is_sent = false;
        let mut buffer = vec![0; 4096];
        let mut count = 0;
        loop {
            match self.session.receive(&buffer[..count]) {
                Outcome::Waiting => {
                    count = self.stream.read(&mut buffer).await.map_err(lost)?;
                    if count == 0 && is_sent && !commands::expects_reply(command) {
                        return Ok(Ok(Value::Object(serde_json::Map::new())));
                    }
                    if count == 0 {
                        return Err(unresponsive("the agent's channel was closed"));
                    }
                }
                Outcome::Send(bytes) => {
                    is_sent = true;
                    self.send(&bytes).await?;
                    count = 0;
                }
                Outcome::Finished(Ok(value)) => return Ok(Ok(value)),
                Outcome::Finished(Err(failure)) => {
                    return Ok(Err(refused(command.name(), &failure)));
                }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.map_err(lost)
    }
}

fn refused(command: &str, failure: &Failure) -> EngineError {
    EngineError::new(
        ErrorKind::AgentCommandFailed,
        format!("unable to execute QEMU agent command '{command}': {failure}"),
    )
}

fn unresponsive(why: &str) -> EngineError {
    EngineError::new(ErrorKind::AgentUnresponsive, why)
}

fn lost(error: std::io::Error) -> EngineError {
    unresponsive(&format!("the agent's channel failed: {error}"))
}
