//! What a person does to the guest: keys, screen, display passwords, memory balloon.

use serde_json::{Value, json};

use crate::qmp::reply::{BalloonInfo, BalloonStats, SpiceInfo, VncInfo, VncServer};
use crate::qmp::{Command, Done};

/// Sends a non-maskable interrupt to all processors.
#[must_use]
pub fn inject_nmi() -> Command<Done> {
    Command::new("inject-nmi")
}

/// Presses keys together. `keys` are QEMU's numbers (its `qnum` codes).
#[must_use]
pub fn send_key(keys: &[u32], hold_ms: Option<u32>) -> Command<Done> {
    let keys = keys
        .iter()
        .map(|key| json!({"type": "number", "data": key}))
        .collect::<Vec<_>>();
    Command::new("send-key")
        .arg("keys", keys)
        .maybe("hold-time", hold_ms)
}

/// The file format of a [`screendump`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScreenFormat {
    /// Portable pixmap, which every QEMU writes.
    Ppm,
    /// PNG, from QEMU 7.1 on where built with it.
    Png,
}

/// Writes a picture of a display to a file. `device` is the video device's id; without it the
/// first display is taken.
#[must_use]
pub fn screendump(
    path: &str,
    device: Option<&str>,
    head: Option<u32>,
    format: ScreenFormat,
) -> Command<Done> {
    let format = match format {
        ScreenFormat::Ppm => None,
        ScreenFormat::Png => Some("png"),
    };
    Command::new("screendump")
        .arg("filename", path)
        .maybe("device", device)
        .maybe("head", head)
        .maybe("format", format)
}

/// Which server a display password is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisplayProtocol {
    /// VNC.
    Vnc,
    /// SPICE.
    Spice,
}

impl DisplayProtocol {
    fn name(self) -> &'static str {
        match self {
            Self::Vnc => "vnc",
            Self::Spice => "spice",
        }
    }
}

/// Sets a display's password. `connected` says what happens to present clients: `keep`, `fail`
/// or `disconnect`; VNC knows only `keep`.
#[must_use]
pub fn set_password(
    protocol: DisplayProtocol,
    password: &str,
    connected: Option<&str>,
) -> Command<Done> {
    Command::new("set_password")
        .arg("protocol", protocol.name())
        .arg("password", password)
        .maybe("connected", connected)
}

/// Sets when a display's password ends: `now`, `never`, or seconds since the epoch.
#[must_use]
pub fn expire_password(protocol: DisplayProtocol, time: &str) -> Command<Done> {
    Command::new("expire_password")
        .arg("protocol", protocol.name())
        .arg("time", time)
}

/// Asks for the VNC server, its port and its clients.
#[must_use]
pub fn query_vnc() -> Command<VncInfo> {
    Command::new("query-vnc")
}

/// Asks for all VNC listeners, websockets included.
#[must_use]
pub fn query_vnc_servers() -> Command<Vec<VncServer>> {
    Command::new("query-vnc-servers")
}

/// Asks for the SPICE server and its ports.
#[must_use]
pub fn query_spice() -> Command<SpiceInfo> {
    Command::new("query-spice")
}

/// Asks the guest to leave itself this much memory, in bytes.
#[must_use]
pub fn balloon(bytes: u64) -> Command<Done> {
    Command::new("balloon").arg("value", bytes)
}

/// Asks for the memory the balloon leaves to the guest.
#[must_use]
pub fn query_balloon() -> Command<BalloonInfo> {
    Command::new("query-balloon")
}

/// Reads the guest's own memory figures from its balloon driver.
#[must_use]
pub fn balloon_stats(balloon_path: &str) -> Command<BalloonStats> {
    Command::new("qom-get")
        .arg("path", balloon_path)
        .arg("property", "guest-stats")
}

/// Sets how often the balloon driver reports, in seconds; 0 stops it.
#[must_use]
pub fn set_balloon_period(balloon_path: &str, seconds: u32) -> Command<Done> {
    Command::new("qom-set")
        .arg("path", balloon_path)
        .arg("property", "guest-stats-polling-interval")
        .arg("value", seconds)
}

/// Sets the guest's real-time clock after a long pause, so that missed ticks are not replayed.
#[must_use]
pub fn rtc_reset_reinjection() -> Command<Done> {
    Command::new("rtc-reset-reinjection")
}

/// Sends input events (keys, buttons, movements) as QEMU describes them.
#[must_use]
pub fn input_send_event(events: Value) -> Command<Done> {
    Command::new("input-send-event").arg("events", events)
}
