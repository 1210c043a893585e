//! A QEMU process as the engine holds it: its end can be awaited, whoever its
//! parent is.

use crate::error::{EngineError, Result};
use std::sync::{Arc, Mutex, PoisonError};
use sys::process::ProcessId;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) use sys::process::Signal;

/// A running or ended process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    inner: Arc<AsyncFd<sys::process::Process>>,
    exit: Arc<Mutex<Option<String>>>,
}

impl Process {
    /// Watches a process.
    pub(crate) fn watch(process: sys::process::Process) -> Result<Self> {
        let inner = sys::watch::watch(process, Interest::READABLE)
            .map_err(|e| EngineError::system("cannot watch QEMU's process", e))?;
        Ok(Self {
            inner: Arc::new(inner),
            exit: Arc::default(),
        })
    }

    fn held(&self) -> &sys::process::Process {
        self.inner.get_ref()
    }

    /// Which process it is.
    pub(crate) fn id(&self) -> ProcessId {
        self.held().id()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.id().pid.unsigned_abs()
    }

    /// Waits for its end. The descriptor stays readable from then on.
    pub(crate) async fn exited(&self) {
        while !self.held().has_ended() {
            match self.inner.readable().await {
                Ok(mut ready) if !self.held().has_ended() => ready.clear_ready(),
                _ => return,
            }
        }
    }

    /// Waits for its end, but not for ever; whether it has ended.
    pub(crate) async fn ends_within(&self, timeout: std::time::Duration) -> bool {
        tokio::time::timeout(timeout, self.exited()).await.is_ok()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.held().has_ended()
    }

    /// Sends a signal; a process that is gone needs none.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Err(error) = self.held().signal(signal) {
            tracing::warn!(pid = self.pid(), %error, "the signal could not be sent");
        }
    }

    /// Whether a signal has stopped it, so that it answers nobody.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(sys::process::stat(self.id().pid), Ok(Some(stat)) if stat.state == 'T')
    }

    /// How it ended, in words. A child is reaped by the first call.
    pub(crate) fn reap(&self) -> String {
        let mut exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        exit.get_or_insert_with(|| match self.held().exit() {
            Ok(Some(exit)) => exit.to_string(),
            Ok(None) => "still running".to_owned(),
            Err(error) => error.to_string(),
        })
        .clone()
    }
}
