//! What a start needs and what comes of it, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use thiserror::Error;

use super::block::NodeSecret;
use crate::caps::Accelerator;
use crate::qmp::Command;

/// The first number under which QEMU gets a descriptor; below are its standard streams.
pub const DESCRIPTOR_FIRST: i32 = 3;

/// Something in the definition that this QEMU, or Stead, cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unsupported configuration: {0}")]
pub struct Unsupported(pub String);

impl Unsupported {
    /// An error that says what is not supported.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// What a start depends on besides the definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchContext {
    /// What runs the guest's code.
    pub accelerator: Accelerator,
    /// The definition wants KVM and the host cannot: the machine is to start all the same, without
    /// what only KVM has (the host's own processor becomes the best that can be emulated).
    pub without_kvm: bool,
    /// A directory of this machine's own, for sockets and the like.
    pub state_dir: PathBuf,
    /// The socket of the TPM emulator, if the engine runs one for this machine.
    pub tpm_socket: Option<PathBuf>,
    /// Network cards may be served by the kernel (`/dev/vhost-net` is there).
    pub vhost_net: bool,
    /// Where huge pages are mounted, with their size in KiB; the default size comes first.
    pub huge_pages: Vec<(u64, PathBuf)>,
    /// The host's time, in seconds since the epoch.
    pub now_seconds: i64,
    /// How far the host's local time is ahead of UTC, in seconds.
    pub local_offset_seconds: i64,
    /// The guest is not to run until it is told to.
    pub paused: bool,
    /// QEMU waits for a machine's state ([`crate::qmp::commands::migrate_incoming`]).
    pub incoming: bool,
    /// The descriptors that clients gave for images, by the name of their group: whether each can
    /// be written to.
    pub fd_groups: BTreeMap<String, Vec<bool>>,
}

/// What a descriptor is for.
#[derive(Debug, Clone, PartialEq)]
pub enum DescriptorPurpose {
    /// A listening UNIX socket for QMP.
    Monitor,
    /// A UNIX socket listening at a path, for a character device.
    Listener {
        /// The device's alias.
        alias: String,
        /// Where it listens.
        path: PathBuf,
    },
    /// A file that a character device writes to, open for writing only. It is made if it is not
    /// there, and emptied unless it is to be appended to.
    Output {
        /// The file.
        path: PathBuf,
        /// What is there stays.
        append: bool,
    },
    /// One queue of a tap device, or the socket of the program that stands in for one.
    Tap {
        /// The card's alias.
        alias: String,
        /// The number of the queue.
        queue: u32,
    },
    /// One connection to the kernel's network service.
    VhostNet {
        /// The card's alias.
        alias: String,
        /// The number of the queue.
        queue: u32,
    },
    /// One of the descriptors that a client gave for an image.
    Given {
        /// The name of its group.
        group: String,
        /// Its place in the group.
        index: usize,
    },
    /// A file in memory with the value of a secret.
    Secret(NodeSecret),
    /// A connection to the kernel's vsock service.
    VhostVsock {
        /// The device's alias.
        alias: String,
    },
}

/// A descriptor QEMU expects.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// Its number in QEMU.
    pub number: i32,
    /// What it is for.
    pub purpose: DescriptorPurpose,
}

/// What QEMU does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileMode {
    /// Reads it.
    Read,
    /// Reads and writes it.
    ReadWrite,
    /// Creates it, or writes what is there.
    Create,
}

/// What kind of file it is, which decides whether it has to be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRole {
    /// A disk image. It may be based on others, which are to be read too.
    Image,
    /// A machine's own UEFI variables, or the state of a TPM.
    Variables,
    /// Firmware, option ROMs and ACPI tables: installed files that anybody may read.
    Firmware,
    /// A kernel, its initial disk or its device tree.
    Boot,
    /// A device of the host that others use too (`/dev/urandom`, `/dev/kvm`).
    SharedDevice,
    /// A device of the host that becomes the machine's.
    Device,
    /// What a character device writes or reads.
    Chardev,
    /// A UNIX socket to connect to.
    Socket,
    /// Guest memory.
    Memory,
    /// A directory shown to the guest.
    Directory,
}

/// A file QEMU accesses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileAccess {
    /// The path.
    pub path: PathBuf,
    /// What QEMU does with it.
    pub mode: FileMode,
    /// What kind of file it is.
    pub role: FileRole,
    /// Several machines may use it at once (`<shareable/>`, or it is only read).
    pub shared: bool,
}

/// A UEFI variable store that has to exist before the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableStore {
    /// Where it is.
    pub path: PathBuf,
    /// What to copy if it does not exist yet.
    pub template: Option<PathBuf>,
}

/// Everything needed to start QEMU for a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// The descriptors it expects.
    pub descriptors: Vec<Descriptor>,
    /// The files it accesses.
    pub files: Vec<FileAccess>,
    /// The UEFI variables, if it has any.
    pub variables: Option<VariableStore>,
    /// QMP commands to send after capability negotiation, in any case before the guest may be
    /// said to run.
    pub setup: Vec<Command>,
}
