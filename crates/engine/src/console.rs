//! A machine's serial console: one task reads it for everyone, so that
//! several viewers see the same output, keeps the last of it in a bounded log,
//! and lets a new viewer take it over.

use crate::console_log::BoundedLog;
use crate::error::{EngineError, Result};
use crate::limits::CONSOLE_VIEWER_MAX_PIECES;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{broadcast, watch};

/// One console of one machine.
#[derive(Debug)]
pub(crate) struct Console {
    /// The device's alias, for example `serial0`.
    pub(crate) alias: String,
    device: Arc<AsyncFd<std::fs::File>>,
    output: broadcast::Sender<Arc<[u8]>>,
    /// Held while a piece is written to it and told: whoever holds it has missed nothing.
    log: Arc<Mutex<BoundedLog>>,
    /// Counts the takeovers: viewers of an earlier count are sent away.
    turn: watch::Sender<u64>,
}

/// One viewer of a console.
#[derive(Debug)]
pub struct ConsoleViewer {
    device: Arc<AsyncFd<std::fs::File>>,
    output: broadcast::Receiver<Arc<[u8]>>,
    turn: watch::Receiver<u64>,
    mine: u64,
}

/// What a viewer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleOutput {
    /// The guest wrote this.
    Bytes(Arc<[u8]>),
    /// The viewer was too slow; this many pieces are lost.
    Lost(u64),
    /// Another viewer took the console over.
    TakenOver,
    /// The machine ended.
    End,
}

impl Console {
    /// Opens the terminal QEMU made for the guest and reads it from now on.
    pub(crate) fn open(alias: &str, terminal: &Path, log: BoundedLog) -> Result<Self> {
        let descriptor = sys::pty::open_raw(terminal)
            .map_err(|e| EngineError::system("cannot open the console", e))?;
        Self::on(alias, descriptor, log)
    }

    fn on(alias: &str, descriptor: OwnedFd, log: BoundedLog) -> Result<Self> {
        let device = sys::watch::watch(
            std::fs::File::from(descriptor),
            Interest::READABLE | Interest::WRITABLE,
        )
        .map_err(|e| EngineError::system("cannot watch the console", e))?;
        let console = Self {
            alias: alias.to_owned(),
            device: Arc::new(device),
            output: broadcast::Sender::new(CONSOLE_VIEWER_MAX_PIECES),
            log: Arc::new(Mutex::new(log)),
            turn: watch::Sender::new(0),
        };
        let (device, output) = (console.device.clone(), console.output.clone());
        tokio::spawn(read_guest(device, output.downgrade(), console.log.clone()));
        Ok(console)
    }

    /// A new viewer. With `alone`, all others are sent away.
    pub(crate) fn view(&self, alone: bool) -> ConsoleViewer {
        if alone {
            self.turn.send_modify(|turn| *turn += 1);
        }
        let turn = self.turn.subscribe();
        let mine = *turn.borrow();
        ConsoleViewer {
            device: self.device.clone(),
            output: self.output.subscribe(),
            turn,
            mine,
        }
    }

    /// What is kept of the guest's output, and a view of all that follows it.
    pub(crate) fn kept_and_view(&self) -> Result<(Vec<u8>, ConsoleViewer)> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((log.kept()?, self.view(false)))
    }
}

impl ConsoleViewer {
    /// The next piece of output; cancel-safe.
    pub async fn next(&mut self) -> ConsoleOutput {
        let mine = self.mine;
        tokio::select! {
            biased;
            turn = self.turn.wait_for(|turn| *turn != mine) => match turn {
                Ok(_) => ConsoleOutput::TakenOver,
                Err(_) => ConsoleOutput::End,
            },
            piece = self.output.recv() => match piece {
                Ok(piece) => ConsoleOutput::Bytes(piece),
                Err(broadcast::error::RecvError::Lagged(count)) => ConsoleOutput::Lost(count),
                Err(broadcast::error::RecvError::Closed) => ConsoleOutput::End,
            },
        }
    }

    /// Types into the console.
    pub async fn write(&self, bytes: &[u8]) -> Result<()> {
        write_device(&self.device, bytes).await
    }

    /// A writer apart from the viewer, for a face that reads and writes in
    /// different tasks.
    pub fn writer(&self) -> ConsoleWriter {
        ConsoleWriter {
            device: self.device.clone(),
        }
    }
}

/// The typing half of a viewer.
#[derive(Debug, Clone)]
pub struct ConsoleWriter {
    device: Arc<AsyncFd<std::fs::File>>,
}

impl ConsoleWriter {
    /// Types into the console.
    pub async fn write(&self, bytes: &[u8]) -> Result<()> {
        write_device(&self.device, bytes).await
    }
}

async fn write_device(device: &AsyncFd<std::fs::File>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let mut ready = device
            .writable()
            .await
            .map_err(|e| EngineError::system("the console failed", e))?;
        if let Ok(written) = ready.try_io(|device| device.get_ref().write(bytes)) {
            let written =
                written.map_err(|e| EngineError::system("cannot write to the console", e))?;
            bytes = &bytes[written..];
        }
    }
    Ok(())
}

async fn read_guest(
    device: Arc<AsyncFd<std::fs::File>>,
    output: broadcast::WeakSender<Arc<[u8]>>,
    log: Arc<Mutex<BoundedLog>>,
) {
    let mut buffer = [0; 4096];
    loop {
        let Ok(mut ready) = device.readable().await else {
            return;
        };
        let count = match ready.try_io(|device| device.get_ref().read(&mut buffer)) {
            Err(_would_block) => continue,
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(count)) => count,
        };
        let piece = &buffer[..count];
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.append(piece);
        // The console is gone with its machine; its task ends with it.
        let Some(output) = output.upgrade() else {
            return;
        };
        let _ = output.send(piece.into());
    }
}
