//! What is looked at or measured in a running machine: its memory, its disks'
//! bytes, how fast it writes.

use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use model::domain::Domain;
use model::domain::graphics::GraphicsType;
use model::domain::storage::ImageFormat;
use qemu::qmp::{Command, Done, commands};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes one look may take.
pub const PEEK_MAX_BYTES: u32 = 4 * 1024 * 1024;

/// Seconds a measurement of the dirty rate may take.
pub const DIRTY_RATE_SECONDS_MAX: i32 = 60;

/// Numbers the files of looks under way at once.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whose addresses are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Those of the first processor, as it sees memory now.
    Virtual,
    /// The machine's own.
    Physical,
}

/// How memory being written is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirtyRateMode {
    /// By looking at some pages twice.
    PageSampling,
    /// By QEMU's bitmap of written pages.
    DirtyBitmap,
    /// By the kernel's ring of written pages.
    DirtyRing,
}

/// How fast a machine writes its memory.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DirtyRate {
    /// `unstarted`, `measuring` or `measured`.
    pub status: String,
    /// When the measurement began, in seconds since the host's start.
    #[serde(default)]
    pub start_time: i64,
    /// How long it takes, in seconds.
    #[serde(default)]
    pub calc_time: i32,
    /// MiB per second, once it is measured.
    #[serde(default)]
    pub dirty_rate: Option<i64>,
    /// How it is measured.
    #[serde(default)]
    pub mode: String,
}

impl DomainHandle {
    /// Bytes of the guest's memory.
    pub async fn peek_memory(&self, from: Addresses, offset: u64, size: u32) -> Result<Vec<u8>> {
        check_size(size)?;
        let live = self.live()?;
        // QEMU may write into the run's directory and nowhere else.
        let name = format!("peek{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let path = live.run_dir.join(name);
        let cpu = (from == Addresses::Virtual).then_some(0);
        let command = commands::memory_save(offset, size.into(), &path.to_string_lossy(), cpu);
        let saved = live.monitor()?.execute(&command).await;
        let bytes = std::fs::read(&path);
        let removed = std::fs::remove_file(&path);
        saved?;
        removed.map_err(|e| EngineError::system("cannot remove what was peeked at", e))?;
        bytes.map_err(|e| EngineError::system("cannot read the guest's memory", e))
    }

    /// Bytes of a disk's image, which must be raw.
    pub fn peek_disk(&self, disk: &str, offset: u64, size: u32) -> Result<Vec<u8>> {
        check_size(size)?;
        let definition = self.definition()?;
        let found = crate::tuning::disk(&definition, disk);
        let disk = found.map_err(|_| {
            EngineError::new(
                ErrorKind::InvalidArgument,
                format!("invalid disk or path '{disk}'"),
            )
        })?;
        if disk.format() != ImageFormat::Raw {
            return Err(EngineError::new(
                ErrorKind::Unsupported,
                format!(
                    "peeking is only supported for disk with 'raw' format not '{}'",
                    disk.format().as_str()
                ),
            ));
        }
        let path = disk.source_path().unwrap_or_default();
        let fail = |e| EngineError::system(&format!("{path}: failed to open or read"), e);
        let file = File::open(path).map_err(fail)?;
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, offset).map_err(fail)?;
        Ok(bytes)
    }

    /// Begins to measure how fast it writes its memory.
    pub async fn measure_dirty_rate(&self, seconds: i32, mode: DirtyRateMode) -> Result<()> {
        if !(1..=DIRTY_RATE_SECONDS_MAX).contains(&seconds) {
            return Err(EngineError::new(
                ErrorKind::ConfigUnsupported,
                format!(
                    "seconds={seconds} is invalid, please choose value within [1, {DIRTY_RATE_SECONDS_MAX}]."
                ),
            ));
        }
        let mode = match mode {
            DirtyRateMode::PageSampling => "page-sampling",
            DirtyRateMode::DirtyBitmap => "dirty-bitmap",
            DirtyRateMode::DirtyRing => "dirty-ring",
        };
        let command: Command<Done> = Command::new("calc-dirty-rate")
            .arg("calc-time", seconds)
            .arg("mode", mode);
        self.live()?.monitor()?.execute(&command).await.map(drop)
    }

    /// Has an event sent when an image is written beyond `bytes`; `device` is
    /// `vda`, or `vda[3]` for an image of its chain.
    pub async fn set_block_threshold(&self, device: &str, bytes: u64) -> Result<()> {
        let live = self.live()?;
        let image = image_number(&live.definition(), device).ok_or_else(|| {
            EngineError::new(
                ErrorKind::InvalidArgument,
                format!("failed to find disk '{device}'"),
            )
        })?;
        let command: Command<Done> = Command::new("block-set-write-threshold")
            .arg("node-name", format!("libvirt-{image}-storage"))
            .arg("write-threshold", bytes);
        live.monitor()?.execute(&command).await.map(drop)
    }

    /// Has the VNC server read its certificates anew.
    pub async fn reload_graphics(&self) -> Result<()> {
        let live = self.live()?;
        let definition = live.definition();
        let mut graphics = definition.devices.graphics.iter();
        if !graphics.any(|graphics| graphics.kind == GraphicsType::Vnc) {
            return Err(EngineError::new(
                ErrorKind::Unsupported,
                "the machine has no VNC display whose certificates could be reloaded",
            ));
        }
        let command: Command<Done> = Command::new("display-reload")
            .arg("type", "vnc")
            .arg("tls-certs", true);
        live.monitor()?.execute(&command).await.map(drop)
    }

    /// A connection to a channel of the guest (its target's name or its
    /// alias; without one the first), as a program in the host would have it.
    pub fn open_channel(&self, name: Option<&str>) -> Result<UnixStream> {
        let live = self.live()?;
        let definition = live.definition();
        let internal = |message: String| EngineError::new(ErrorKind::Internal, message);
        let mut channels = definition.devices.channels.iter();
        let found = match name {
            None => channels.next(),
            Some(name) => channels.find(|channel| {
                let target = channel.target.as_ref().and_then(|t| t.name.as_deref());
                target == Some(name) || channel.info.alias.as_deref() == Some(name)
            }),
        };
        let shown = name.unwrap_or("(first)");
        let channel = found.ok_or_else(|| internal(format!("cannot find channel {shown}")))?;
        let path = channel
            .chardev
            .path()
            .filter(|_| channel.chardev.kind == model::domain::chardev::ChardevType::Unix);
        let path =
            path.ok_or_else(|| internal(format!("channel {shown} is not using a UNIX socket")))?;
        if crate::facts::agent_socket(&definition) == Some(path) {
            return Err(EngineError::invalid(
                "the guest agent's channel is in use by the daemon itself",
            ));
        }
        UnixStream::connect(path)
            .map_err(|e| EngineError::system(&format!("cannot reach channel {shown}"), e))
    }
}

/// Asks what was measured last.
pub(crate) fn query_dirty_rate() -> Command<DirtyRate> {
    Command::new("query-dirty-rate")
}

fn check_size(size: u32) -> Result<()> {
    match size <= PEEK_MAX_BYTES {
        true => Ok(()),
        false => Err(EngineError::new(
            ErrorKind::InvalidArgument,
            format!("size {size} is larger than the {PEEK_MAX_BYTES} bytes of one look"),
        )),
    }
}

/// The number of an image, which is in the names of its nodes.
fn image_number(definition: &Domain, device: &str) -> Option<u32> {
    let (target, wanted) = match device.strip_suffix(']').and_then(|d| d.split_once('[')) {
        Some((target, number)) => (target, Some(number.parse::<u32>().ok()?)),
        None => (device, None),
    };
    let mut disks = definition.devices.disks.iter();
    let disk = disks.find(|disk| disk.target_dev() == target)?;
    let top = disk.source.as_ref()?.index?;
    let Some(wanted) = wanted else {
        return Some(top);
    };
    let mut number = Some(top);
    let mut below = disk.backing_store.as_ref();
    while number != Some(wanted) {
        let store = below?;
        number = store
            .source
            .as_ref()
            .and_then(|source| source.index)
            .or(store.index);
        below = store.backing_store.as_deref();
    }
    number
}

/// The disk one of whose images has this block node, as clients name it: as a
/// whole if it is the image on top, and with the image's number.
pub(crate) fn device_of_node(
    definition: &Domain,
    node: &str,
) -> Option<(Vec<String>, Option<String>)> {
    let number: u32 = node
        .strip_prefix("libvirt-")?
        .strip_suffix("-storage")?
        .parse()
        .ok()?;
    for disk in &definition.devices.disks {
        let target = disk.target_dev();
        let with_number = format!("{target}[{number}]");
        if image_number(definition, target) == Some(number) {
            let path = disk.source_path().map(str::to_owned);
            return Some((vec![target.to_owned(), with_number], path));
        }
        if image_number(definition, &with_number).is_some() {
            return Some((vec![with_number], None));
        }
    }
    None
}
