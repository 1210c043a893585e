//! The listening socket, and the clients that come in by it. Who may connect
//! is the socket file's owner, group and mode, as with libvirt's sockets.

use crate::limits::{CONNECTIONS_MAX, REQUEST_HEAD_TIMEOUT_MS};
use crate::routes;
use axum::Router;
use engine::Engine;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use sys::unix::{SocketAccess, SocketFile, listen_at, peer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// How long accepting pauses when the process has no descriptor left.
const ACCEPT_PAUSE_MS: u64 = 100;

/// The REST face of one engine.
#[derive(Debug, Clone)]
pub struct Server {
    router: Router,
}

/// A socket that is being served. Clients come in until it is dropped; those
/// that are there stay.
#[derive(Debug)]
pub struct Serving {
    task: tokio::task::JoinHandle<()>,
    _file: SocketFile,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// A face for this engine.
    pub fn new(engine: Engine) -> Server {
        Server {
            router: routes::all(engine),
        }
    }

    /// Listens on a unix socket: for the daemon's user, and a group if one is
    /// given. Fails if another daemon is there already.
    pub fn listen(&self, path: &Path, gid: Option<u32>) -> std::io::Result<Serving> {
        let access = SocketAccess {
            mode: if gid.is_some() { 0o770 } else { 0o700 },
            uid: None,
            gid,
        };
        let (listener, file) = listen_at(path, access)
            .map_err(std::io::Error::other)?
            .into_parts();
        let listener = UnixListener::from_std(listener)?;
        let task = tokio::spawn(accept(self.router.clone(), listener));
        Ok(Serving { task, _file: file })
    }
}

async fn accept(router: Router, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Further clients wait in the socket's own queue.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve(router, socket).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                // Without descriptors left the error would come back at once.
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

async fn serve(router: Router, socket: UnixStream) {
    match peer(&socket) {
        Ok(peer) => tracing::debug!(uid = peer.uid, pid = peer.pid, "REST client connected"),
        Err(error) => return tracing::warn!(%error, "a client could not be identified"),
    }
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(REQUEST_HEAD_TIMEOUT_MS))
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a REST client's connection ended");
    }
}
