//! What is done with a running machine's devices by hand: its console, its
//! screen, its keyboard.

use crate::console::ConsoleViewer;
use crate::console_log;
use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use model::domain::graphics::GraphicsType;
use qemu::qmp::commands::{self, ScreenFormat};
use std::fs::File;
use std::io::Seek;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// A picture of a screen.
#[derive(Debug)]
pub struct Screenshot {
    /// `image/png` or `image/x-portable-pixmap`.
    pub mime: &'static str,
    /// The picture, to be read from its beginning; it lies in memory.
    pub file: File,
}

/// The output of a console.
#[derive(Debug)]
pub struct ConsoleHistory {
    /// What is kept of it.
    pub kept: Vec<u8>,
    /// What the guest writes from then on; nothing if the machine does not run.
    pub viewer: Option<ConsoleViewer>,
}

/// Numbers sockets apart that are under way at once.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl DomainHandle {
    /// A view of the serial console `device` (an alias), or of the first one.
    /// With `alone`, everybody else's view ends.
    pub fn open_console(&self, device: Option<&str>, alone: bool) -> Result<ConsoleViewer> {
        let console = self.live()?.console(device).ok_or_else(|| match device {
            Some(device) => EngineError::new(
                ErrorKind::InvalidArgument,
                format!("cannot find console device '{device}'"),
            ),
            None => EngineError::new(
                ErrorKind::OperationFailed,
                "the machine has no serial console of type 'pty'; add <console type='pty'/>",
            ),
        })?;
        Ok(console.view(alone))
    }

    /// What is kept of the serial console `device`, or of the first one, and what follows it if
    /// the machine runs. With `lines`, no more than these of what is kept.
    pub fn console_history(
        &self,
        device: Option<&str>,
        lines: Option<usize>,
    ) -> Result<ConsoleHistory> {
        let view = self.view();
        let console = view.live.as_ref().and_then(|live| live.console(device));
        let (kept, viewer) = match console {
            Some(console) => {
                let (kept, viewer) = console.kept_and_view()?;
                (kept, Some(viewer))
            }
            None => {
                let directory = self.engine.places().log.join("qemu");
                (console_log::kept(&directory, &view.name, device)?, None)
            }
        };
        let kept = match lines {
            Some(lines) => console_log::last_lines(kept, lines),
            None => kept,
        };
        Ok(ConsoleHistory { kept, viewer })
    }

    /// A picture of the screen.
    pub async fn screenshot(&self, screen: u32) -> Result<Screenshot> {
        let live = self.live()?;
        let definition = live.definition();
        let video = definition.devices.videos.first().ok_or_else(|| {
            EngineError::failed("the machine has no video card to take a picture of")
        })?;
        let alias = video.info.alias.as_deref();
        let (device, head) = if screen == 0 {
            (None, None)
        } else {
            (alias, Some(screen))
        };
        let monitor = live.monitor()?;
        // QEMU may write nowhere below our directories: it gets a file in memory.
        let file = sys::unix::memory_file("screen")
            .map_err(|e| EngineError::system("cannot take a picture", e))?;
        // A descriptor for writing only: QEMU takes one only if it is opened as it means to use it.
        let theirs = File::options()
            .write(true)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .map_err(|e| EngineError::system("cannot take a picture", e))?;
        let set = monitor.give_file(theirs.into()).await?;
        let name = format!("/dev/fdset/{set}");
        let take = |format| commands::screendump(&name, device, head, format);
        // A QEMU built without libpng takes it in the old format.
        let taken = match monitor.execute(&take(ScreenFormat::Png)).await {
            Ok(_) => Ok("image/png"),
            Err(EngineError {
                kind: ErrorKind::OperationFailed,
                ..
            }) => monitor
                .execute(&take(ScreenFormat::Ppm))
                .await
                .map(|_| "image/x-portable-pixmap"),
            Err(error) => Err(error),
        };
        // QEMU's copy of the descriptor; it is gone with the machine if it cannot be told now.
        let _ = monitor.execute(&commands::remove_fd(set)).await;
        let mime = taken?;
        let mut file = file;
        file.rewind()
            .map_err(|e| EngineError::system("cannot read the picture", e))?;
        Ok(Screenshot { mime, file })
    }

    /// Presses keys together (Linux key codes) for a while.
    pub async fn send_keys(&self, keys: &[u32], hold_ms: Option<u32>) -> Result<()> {
        let command = commands::send_key(keys, hold_ms);
        self.live()?.monitor()?.execute(&command).await.map(drop)
    }

    /// Sends an interrupt the guest cannot mask.
    pub async fn inject_nmi(&self) -> Result<()> {
        self.live()?
            .monitor()?
            .execute(&commands::inject_nmi())
            .await
            .map(drop)
    }

    /// Wakes a guest that has suspended itself.
    pub async fn wake(&self) -> Result<()> {
        self.live()?
            .monitor()?
            .execute(&commands::system_wakeup())
            .await
            .map(drop)
    }

    /// A connection to the display number `index`, as if through its socket;
    /// without its password where `skip_auth` says so.
    pub async fn open_graphics(&self, index: usize, skip_auth: bool) -> Result<OwnedFd> {
        let (ours, theirs) =
            sys::unix::pair().map_err(|e| EngineError::system("cannot make a connection", e))?;
        self.add_viewer(index, skip_auth, theirs).await?;
        Ok(ours)
    }

    /// Makes a socket a connection to the display number `index`.
    pub async fn add_viewer(&self, index: usize, skip_auth: bool, theirs: OwnedFd) -> Result<()> {
        let live = self.live()?;
        let definition = live.definition();
        let graphics = definition.devices.graphics.get(index).ok_or_else(|| {
            EngineError::new(
                ErrorKind::Internal,
                format!("No graphics backend with index {index}"),
            )
        })?;
        let protocol = match graphics.kind {
            GraphicsType::Vnc => "vnc",
            GraphicsType::Spice => "spice",
            _ => {
                return Err(EngineError::invalid("can only open VNC, SPICE graphics"));
            }
        };
        let name = format!("display{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let monitor = live.monitor()?;
        monitor
            .ask_with_descriptor(&commands::getfd(&name), theirs)
            .await?;
        monitor
            .execute(&commands::add_client(protocol, &name, skip_auth))
            .await
            .map(drop)
    }
}
