//! The listening sockets, and the clients that come in by them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::Engine;
use engine::options::SessionId;
use sys::unix::{SocketAccess, SocketFile, listen_at, peer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::client::Client;
use crate::limits::{REFUSAL_TIMEOUT_MS, REFUSALS_MAX};
use crate::session::{Session, refuse};
use crate::socket::ClientSocket;

/// How long accepting pauses when the process has no descriptor left.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Where to listen, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// The socket's file.
    pub path: PathBuf,
    /// Permission bits of the file.
    pub mode: u32,
    /// The group that may connect; none for the daemon's own.
    pub gid: Option<u32>,
    /// Clients may only look.
    pub read_only: bool,
}

impl Socket {
    /// A socket for the administrators: the daemon's user, and a group if one is given.
    pub fn read_write(path: PathBuf, gid: Option<u32>) -> Socket {
        Socket {
            path,
            mode: if gid.is_some() { 0o770 } else { 0o700 },
            gid,
            read_only: false,
        }
    }

    /// A socket for everyone, to look only.
    pub fn read_only(path: PathBuf) -> Socket {
        Socket {
            path,
            mode: 0o777,
            gid: None,
            read_only: true,
        }
    }
}

/// The libvirt face of one engine.
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    admission: Arc<Admission>,
    refusals: Arc<Semaphore>,
    sessions: AtomicU64,
}

/// A socket that is being served. Clients come in until it is dropped; those that are there stay.
#[derive(Debug)]
pub struct Serving {
    task: tokio::task::JoinHandle<()>,
    file: SocketFile,
}

impl Serving {
    /// The socket's file.
    pub fn path(&self) -> &std::path::Path {
        self.file.path()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// A face for this engine; `own_uid` is the user the daemon runs as.
    pub fn new(engine: Engine, own_uid: u32) -> Server {
        Server {
            shared: Arc::new(Shared {
                engine,
                admission: Admission::new(own_uid),
                refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
                sessions: AtomicU64::new(1),
            }),
        }
    }

    /// Listens on a socket. Fails if another daemon is there already.
    pub fn listen(&self, socket: &Socket) -> std::io::Result<Serving> {
        let access = SocketAccess {
            mode: socket.mode,
            uid: None,
            gid: socket.gid,
        };
        let listening = listen_at(&socket.path, access).map_err(std::io::Error::other)?;
        let (listener, file) = listening.into_parts();
        let listener = UnixListener::from_std(listener)?;
        let task = tokio::spawn(accept(self.shared.clone(), listener, socket.read_only));
        Ok(Serving { task, file })
    }
}

async fn accept(shared: Arc<Shared>, listener: UnixListener, read_only: bool) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => welcome(&shared, socket, read_only),
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                // Without descriptors left the error would come back at once.
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

fn welcome(shared: &Arc<Shared>, socket: UnixStream, read_only: bool) {
    let peer = match peer(&socket) {
        Ok(peer) => peer,
        Err(error) => return tracing::warn!(%error, "a client could not be identified"),
    };
    let place = match shared.admission.enter(peer.uid) {
        Ok(place) => place,
        Err(reason) => return turn_away(shared, socket, reason),
    };
    let socket = match ClientSocket::new(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, "a client could not be served"),
    };
    let session = SessionId(shared.sessions.fetch_add(1, Ordering::Relaxed));
    tracing::debug!(
        ?session,
        uid = peer.uid,
        pid = peer.pid,
        read_only,
        "client connected"
    );
    let client = Client::new(shared.engine.clone(), session, peer, read_only);
    tokio::spawn(async move {
        Session::new(socket, client).run().await;
        drop(place);
    });
}

fn turn_away(shared: &Arc<Shared>, socket: UnixStream, reason: String) {
    // Past this many the socket is closed without a word.
    let Ok(permit) = shared.refusals.clone().try_acquire_owned() else {
        return;
    };
    tokio::spawn(async move {
        let timeout = Duration::from_millis(REFUSAL_TIMEOUT_MS);
        if let Ok(Err(error)) = tokio::time::timeout(timeout, refuse(socket, &reason)).await {
            tracing::debug!(%error, "a client over a limit could not be told");
        }
        drop(permit);
    });
}
