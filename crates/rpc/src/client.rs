//! One client as the procedures see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::Engine;
use engine::options::SessionId;
use sys::unix::Peer;

use crate::events::Subscriptions;
use crate::notices::NoticeSubscriptions;

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) engine: Engine,
    pub(crate) session: SessionId,
    pub(crate) peer: Peer,
    read_only: AtomicBool,
    opened: Mutex<Option<Opened>>,
    is_open: AtomicBool,
    subscriptions: Mutex<Subscriptions>,
    notice_subscriptions: Mutex<NoticeSubscriptions>,
}

/// What a client said on opening its connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Opened {
    /// Without the transport: `qemu:///system`.
    pub(crate) uri: String,
}

impl Client {
    /// A client that has said nothing yet.
    pub(crate) fn new(engine: Engine, session: SessionId, peer: Peer, read_only: bool) -> Client {
        Client {
            engine,
            session,
            peer,
            read_only: AtomicBool::new(read_only),
            opened: Mutex::new(None),
            is_open: AtomicBool::new(false),
            subscriptions: Mutex::default(),
            notice_subscriptions: Mutex::default(),
        }
    }

    /// True if it may only look.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// True between CONNECT_OPEN and CONNECT_CLOSE.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// CONNECT_OPEN succeeded; a client that asked to be read-only is from now on.
    pub(crate) fn open(&self, opened: Opened, read_only: bool) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        if read_only {
            self.read_only.store(true, Ordering::Relaxed);
        }
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// The URI it opened.
    pub(crate) fn uri(&self) -> Option<String> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().map(|opened| opened.uri.clone())
    }

    /// What events it wants.
    pub(crate) fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        self.subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What it wants to be told of things that are no domains.
    pub(crate) fn notice_subscriptions(&self) -> MutexGuard<'_, NoticeSubscriptions> {
        self.notice_subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
