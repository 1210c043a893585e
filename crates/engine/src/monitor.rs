//! The connection to one QEMU's monitor: commands out, replies to whoever
//! asked, events and the connection's end to the machine's owner.
//!
//! Many callers may ask at once; QEMU answers each by its number. A caller
//! that gives up leaves the others alone.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::{QMP_NEWS_MAX, QMP_OUTSTANDING_MAX, QMP_REPLY_TIMEOUT_MS};
use qemu::qmp::{Command, Event, LineDecoder, Message, QMP_LINE_MAX_BYTES, commands};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// What a monitor tells the machine's owner.
#[derive(Debug)]
pub(crate) enum News {
    /// QEMU sent an event.
    Event {
        /// As Stead understands it.
        event: Box<Event>,
        /// As QEMU wrote it: name, data, seconds, microseconds.
        raw: Box<RawEvent>,
    },
    /// The connection ended; no more will come.
    Closed(String),
}

/// An event as it came.
#[derive(Debug)]
pub(crate) struct RawEvent {
    pub(crate) name: String,
    pub(crate) data: Value,
    pub(crate) seconds: i64,
    pub(crate) micros: i64,
}

type Answer = std::result::Result<Value, QmpFailure>;

/// QEMU's own refusal of a command.
#[derive(Debug, Clone)]
pub(crate) struct QmpFailure {
    pub(crate) class: String,
    pub(crate) desc: String,
}

#[derive(Debug, Default)]
struct Pending {
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    closed: Option<String>,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    next: AtomicU64,
    /// Set when a command timed out, cleared by any answer: statistics do not
    /// wait for a QEMU that is known to hang.
    silent: AtomicBool,
}

impl Shared {
    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, why: &str) {
        let mut pending = self.pending();
        pending.closed.get_or_insert_with(|| why.to_owned());
        // Dropping the senders wakes everyone who waits.
        pending.waiting.clear();
    }
}

#[derive(Debug)]
struct Outgoing {
    line: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

/// A handle to one QEMU's monitor.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Outgoing>,
}

impl Monitor {
    /// Connects to the monitor at `path` and negotiates; `timeout` bounds the
    /// wait for QEMU's greeting. The news go to the machine's owner.
    pub(crate) async fn connect(
        path: &Path,
        timeout: Duration,
    ) -> Result<(Self, mpsc::Receiver<News>)> {
        let (monitor, news) = Self::reach(path).await?;
        monitor.capabilities(timeout).await?;
        Ok((monitor, news))
    }

    /// Negotiates over a socket that is connected already.
    pub(crate) async fn over(
        socket: std::os::unix::net::UnixStream,
        timeout: Duration,
    ) -> Result<(Self, mpsc::Receiver<News>)> {
        let failed = |e| EngineError::system("cannot use QEMU's monitor", e);
        socket.set_nonblocking(true).map_err(failed)?;
        Self::negotiate(UnixStream::from_std(socket).map_err(failed)?, timeout).await
    }

    async fn negotiate(
        stream: UnixStream,
        timeout: Duration,
    ) -> Result<(Self, mpsc::Receiver<News>)> {
        let (monitor, news) = Self::converse(stream);
        monitor.capabilities(timeout).await?;
        Ok((monitor, news))
    }

    /// Reaches the monitor at `path` and negotiates nothing yet:
    /// [`Monitor::capabilities`] must be the first thing asked. QEMU queues
    /// what comes before it is ready, so more can be asked right behind it.
    pub(crate) async fn reach(path: &Path) -> Result<(Self, mpsc::Receiver<News>)> {
        let stream = UnixStream::connect(path).await.map_err(|e| {
            EngineError::system(
                &format!("cannot reach QEMU's monitor {}", path.display()),
                e,
            )
        })?;
        Ok(Self::converse(stream))
    }

    fn converse(stream: UnixStream) -> (Self, mpsc::Receiver<News>) {
        let (reader, writer) = stream.into_split();
        let (outgoing, outbox) = mpsc::channel(QMP_OUTSTANDING_MAX);
        let (news_sender, news) = mpsc::channel(QMP_NEWS_MAX);
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            next: AtomicU64::new(1),
            silent: AtomicBool::new(false),
        });
        tokio::spawn(write_lines(writer, outbox));
        tokio::spawn(read_lines(reader, shared.clone(), news_sender));
        (Self { shared, outgoing }, news)
    }

    /// Negotiates, which QEMU wants before anything else.
    pub(crate) async fn capabilities(&self, timeout: Duration) -> Result<()> {
        self.ask(&qemu::qmp::commands::qmp_capabilities(), timeout)
            .await
            .map(drop)
    }

    /// Asks and waits at most the usual time.
    pub(crate) async fn execute<R: DeserializeOwned>(&self, command: &Command<R>) -> Result<R> {
        self.ask(command, Duration::from_millis(QMP_REPLY_TIMEOUT_MS))
            .await
    }

    /// Asks and waits at most `timeout`.
    pub(crate) async fn ask<R: DeserializeOwned>(
        &self,
        command: &Command<R>,
        timeout: Duration,
    ) -> Result<R> {
        let value = self
            .ask_raw(command, None, timeout)
            .await?
            .map_err(|failure| {
                EngineError::new(
                    ErrorKind::OperationFailed,
                    format!(
                        "unable to execute QEMU command '{}': {}",
                        command.name(),
                        failure.desc
                    ),
                )
            })?;
        command
            .parse(value)
            .map_err(|e| EngineError::new(ErrorKind::OperationFailed, e.to_string()))
    }

    /// Asks with a descriptor along (`getfd`, `add-fd`).
    pub(crate) async fn ask_with_descriptor<R: DeserializeOwned>(
        &self,
        command: &Command<R>,
        descriptor: OwnedFd,
    ) -> Result<R> {
        let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
        let value = self
            .ask_raw(command, Some(descriptor), timeout)
            .await?
            .map_err(|failure| EngineError::failed(failure.desc))?;
        command
            .parse(value)
            .map_err(|e| EngineError::failed(e.to_string()))
    }

    /// Hands QEMU an open file, as a set of descriptors of its own, whose number is given back:
    /// QEMU opens `/dev/fdset/NUMBER`, in no other mode than the file's.
    pub(crate) async fn give_file(&self, file: OwnedFd) -> Result<u32> {
        let added = self.ask_with_descriptor(&commands::add_fd(), file).await?;
        Ok(added.set)
    }

    /// Asks and gives back QEMU's answer, refusals included.
    pub(crate) async fn ask_raw<R>(
        &self,
        command: &Command<R>,
        descriptor: Option<OwnedFd>,
        timeout: Duration,
    ) -> Result<Answer> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut pending = self.shared.pending();
            if let Some(why) = &pending.closed {
                return Err(gone(why));
            }
            if pending.waiting.len() >= QMP_OUTSTANDING_MAX {
                return Err(EngineError::new(
                    ErrorKind::OperationTimeout,
                    "QEMU does not answer and too many commands wait for it",
                ));
            }
            pending.waiting.insert(id, sender);
        }
        let guard = Waiting {
            shared: &self.shared,
            id,
        };
        let outgoing = Outgoing {
            line: command.encode(id),
            descriptor,
        };
        let exchange = async {
            self.outgoing.send(outgoing).await.ok()?;
            receiver.await.ok()
        };
        let answer = tokio::time::timeout(timeout, exchange).await;
        drop(guard);
        match answer {
            Ok(Some(answer)) => {
                self.shared.silent.store(false, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(None) => {
                let why = self.shared.pending().closed.clone().unwrap_or_default();
                Err(gone(&why))
            }
            Err(_) => {
                self.shared.silent.store(true, Ordering::Relaxed);
                Err(timed_out(command.name(), timeout))
            }
        }
    }

    /// Whether the last command to it timed out and none was answered since.
    pub(crate) fn is_silent(&self) -> bool {
        self.shared.silent.load(Ordering::Relaxed)
    }
}

/// Takes the caller out of the list when it is answered, gives up or is dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.pending().waiting.remove(&self.id);
    }
}

fn gone(why: &str) -> EngineError {
    EngineError::new(
        ErrorKind::MonitorClosed,
        if why.is_empty() {
            "the machine ended while QEMU was being asked".to_owned()
        } else {
            format!("the machine ended while QEMU was being asked: {why}")
        },
    )
}

fn timed_out(command: &str, timeout: Duration) -> EngineError {
    EngineError::new(
        ErrorKind::OperationTimeout,
        format!(
            "QEMU did not answer '{command}' within {} ms: the process hangs or is stopped; \
             try again, or end the machine with destroy",
            timeout.as_millis()
        ),
    )
}

async fn write_lines(mut writer: OwnedWriteHalf, mut outbox: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { line, descriptor }) = outbox.recv().await {
        let written = match descriptor {
            None => writer.write_all(&line).await,
            Some(descriptor) => write_with_descriptor(&mut writer, &line, descriptor).await,
        };
        // The reading side sees the same end and tells everyone.
        if written.is_err() {
            return;
        }
    }
}

async fn write_with_descriptor(
    writer: &mut OwnedWriteHalf,
    line: &[u8],
    descriptor: OwnedFd,
) -> std::io::Result<()> {
    use std::os::fd::AsFd;
    let stream: &UnixStream = writer.as_ref();
    let sent = loop {
        stream.writable().await?;
        let attempt = stream.try_io(tokio::io::Interest::WRITABLE, || {
            sys::unix::send_with_fds(stream.as_fd(), line, &[descriptor.as_fd()])
        });
        match attempt {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            other => break other?,
        }
    };
    writer.write_all(&line[sent..]).await
}

async fn read_lines(mut reader: OwnedReadHalf, shared: Arc<Shared>, news: mpsc::Sender<News>) {
    let why = match pump(&mut reader, &shared, &news).await {
        Ok(()) => "QEMU closed its monitor".to_owned(),
        Err(error) => error,
    };
    shared.close(&why);
    // The owner may be gone already; then nobody needs to know.
    let _ = news.send(News::Closed(why)).await;
}

async fn pump(
    reader: &mut OwnedReadHalf,
    shared: &Shared,
    news: &mpsc::Sender<News>,
) -> std::result::Result<(), String> {
    let mut decoder = LineDecoder::new(QMP_LINE_MAX_BYTES);
    let mut buffer = vec![0; 4096];
    loop {
        let count = reader
            .read(&mut buffer)
            .await
            .map_err(|e| format!("reading failed: {e}"))?;
        if count == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..count]);
        while let Some(line) = decoder.next_line() {
            let line = line.map_err(|e| e.to_string())?;
            let message = Message::parse(&line).map_err(|e| e.to_string())?;
            deliver(message, shared, news).await;
        }
    }
}

async fn deliver(message: Message, shared: &Shared, news: &mpsc::Sender<News>) {
    let (id, answer) = match message {
        Message::Greeting(_) => return,
        Message::Event {
            name,
            data,
            seconds,
            micros,
        } => {
            let event = Box::new(Event::from_parts(&name, data.clone()));
            let raw = Box::new(RawEvent {
                name,
                data,
                seconds,
                micros,
            });
            let _ = news.send(News::Event { event, raw }).await;
            return;
        }
        Message::Return { id, value } => (id, Ok(value)),
        Message::Error { id, class, desc } => (id, Err(QmpFailure { class, desc })),
    };
    let waiting = id.and_then(|id| shared.pending().waiting.remove(&id));
    if let Some(waiting) = waiting {
        let _ = waiting.send(answer);
    }
}
