//! The arguments of the engine's calls, as types instead of flag words.

use crate::error::{EngineError, Result};
use std::path::PathBuf;

/// A client's connection, for machines and descriptors that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// How to start a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Leave its processors waiting.
    pub paused: bool,
    /// Destroy it when this client's connection ends.
    pub autodestroy: Option<SessionId>,
    /// Boot even if a saved state waits; the saved state is removed.
    pub force_boot: bool,
    /// Make its UEFI variables anew from their template.
    pub reset_nvram: bool,
}

/// What may go along with a definition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UndefineOptions {
    /// Remove a saved state too; without it one stands in the way.
    pub managed_save: bool,
    /// Remove (`Some(true)`) or keep (`Some(false)`) the UEFI variables;
    /// without an answer they stand in the way.
    pub nvram: Option<bool>,
    /// Remove (`Some(true)`) or keep (`Some(false)`) the TPM's state.
    pub tpm: Option<bool>,
    /// Remove the metadata of snapshots too.
    pub snapshots_metadata: bool,
    /// Remove the metadata of checkpoints too.
    pub checkpoints_metadata: bool,
}

/// By which way a guest is asked to power off or reboot. Several may be
/// allowed; without any, what is there is tried: the agent, then ACPI.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskWays {
    /// The power button.
    pub acpi: bool,
    /// The guest agent.
    pub agent: bool,
}

impl AskWays {
    /// No way was named.
    pub fn is_default(self) -> bool {
        self == Self::default()
    }
}

/// What a guest is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestAsk {
    /// To power off.
    Shutdown,
    /// To reboot.
    Reboot,
}

/// Which of a domain's two definitions a change applies to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Affect {
    /// The running machine.
    pub live: bool,
    /// The stored definition.
    pub config: bool,
}

/// A machine that has no stored definition was to be changed there.
pub(crate) fn transient() -> EngineError {
    EngineError::invalid("transient domains do not have any persistent config")
}

impl Affect {
    /// What is meant of a machine that is active or not, and persistent or not: with nothing
    /// named, what it is now.
    pub(crate) fn of(self, active: bool, persistent: bool) -> Result<Affect> {
        let named = self.live || self.config;
        let affect = match named {
            true => self,
            false => Affect {
                live: active,
                config: !active,
            },
        };
        if affect.live && !active {
            return Err(EngineError::invalid("domain is not running"));
        }
        if affect.config && !persistent {
            return Err(transient());
        }
        Ok(affect)
    }
}

/// How a saved machine comes back, and where its state goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The file; the machine's own managed-save file if not given.
    pub path: Option<PathBuf>,
    /// A changed definition to save with it.
    pub xml: Option<String>,
    /// Whether it runs (`true`) or stands still (`false`) after a restore;
    /// as it is now if not given.
    pub running: Option<bool>,
}

/// How to write XML out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XmlOptions {
    /// The stored definition even while the machine runs.
    pub inactive: bool,
    /// With passwords.
    pub secure: bool,
    /// As another host would need it.
    pub migratable: bool,
}

/// Which piece of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataItem {
    /// The description.
    Description,
    /// The one-line title.
    Title,
    /// The element with this namespace.
    Element {
        /// The namespace's URI.
        uri: String,
    },
}

impl MetadataItem {
    /// The number of `virDomainMetadataType`.
    pub const fn number(&self) -> i32 {
        match self {
            Self::Description => 0,
            Self::Title => 1,
            Self::Element { .. } => 2,
        }
    }
}

/// How to dump a guest's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DumpOptions {
    /// The file to write.
    pub path: PathBuf,
    /// Only the guest's memory (an ELF core), not the devices' state.
    pub memory_only: bool,
    /// End the machine afterwards, as crashed.
    pub crash: bool,
    /// Let the machine run meanwhile.
    pub live: bool,
    /// Reset it afterwards.
    pub reset: bool,
}

/// How to take a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotCreate {
    /// It is there already: only take over what the XML says of it.
    pub redefine: bool,
    /// With `redefine`: it becomes the current one.
    pub current: bool,
    /// Keep nothing about it: whoever asked looks after it.
    pub no_metadata: bool,
    /// End the machine afterwards.
    pub halt: bool,
    /// Disks only, no memory.
    pub disk_only: bool,
    /// The files for new images are there already.
    pub reuse: bool,
    /// Have the guest agent bring the file systems to rest meanwhile.
    pub quiesce: bool,
    /// Let the machine run while its memory is written.
    pub live: bool,
}

/// How to go back to a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotRevert {
    /// Run afterwards, whatever the snapshot says.
    pub running: bool,
    /// Stand still afterwards, whatever the snapshot says.
    pub paused: bool,
    /// Do it though it is risky.
    pub force: bool,
    /// Make the UEFI variables anew.
    pub reset_nvram: bool,
}

/// Which snapshots to delete, and what of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotDelete {
    /// Those that came after it too.
    pub children: bool,
    /// Those that came after it, and not itself.
    pub children_only: bool,
    /// Only what is known of it; the images stay.
    pub metadata_only: bool,
}

/// What is asked of a running machine's disk.
#[derive(Debug, Clone, PartialEq)]
pub enum BlockAsk {
    /// Begin a job.
    Begin(Box<BlockWork>),
    /// End a job.
    Abort {
        /// Go over to the other image.
        pivot: bool,
        /// Answer when it has ended.
        wait: bool,
    },
    /// Change a job's speed.
    SetSpeed {
        /// Bytes per second; 0 is unlimited.
        bytes: u64,
    },
    /// Give the disk another size.
    Resize {
        /// The size the guest sees.
        bytes: u64,
    },
}

/// What a job on a disk's images does.
#[derive(Debug, Clone, PartialEq)]
pub enum BlockWork {
    /// Commit images into one below.
    Commit(BlockCommit),
    /// Pull images below into the disk's own.
    Pull(BlockPull),
    /// Copy the disk to another image.
    Copy(BlockCopy),
}

/// Which images are committed into which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockCommit {
    /// The image that takes them; the lowest if not given.
    pub base: Option<String>,
    /// The uppermost of them; the disk's own if not given.
    pub top: Option<String>,
    /// Without `base`: into the next one below `top`.
    pub shallow: bool,
    /// The disk's own image is among them.
    pub active: bool,
    /// Remove them afterwards.
    pub remove: bool,
    /// Bytes per second; 0 is unlimited.
    pub bandwidth: u64,
}

/// Which images are pulled into the disk's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockPull {
    /// The image that stays below; none if not given.
    pub base: Option<String>,
    /// Bytes per second; 0 is unlimited.
    pub bandwidth: u64,
}

/// Where and how a disk is copied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BlockCopy {
    /// The copy's file.
    pub path: String,
    /// Its format; the disk's own if not given.
    pub format: Option<model::domain::storage::ImageFormat>,
    /// How it is encrypted; as the disk's own image if not given.
    pub encryption: Option<model::domain::storage::Encryption>,
    /// The file is there already.
    pub reuse: bool,
    /// Only the disk's own image; what is below stays below.
    pub shallow: bool,
    /// Each write reaches both before the guest is told.
    pub synchronous: bool,
    /// Bytes per second; 0 is unlimited.
    pub bandwidth: u64,
    /// Bytes copied as one.
    pub granularity: Option<u64>,
    /// Bytes under way at once.
    pub buf_size: Option<u64>,
}

/// How far a job on a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockJobInfo {
    /// `virDomainBlockJobType`.
    pub kind: i32,
    /// Bytes per second; 0 is unlimited.
    pub bandwidth: u64,
    /// Done, in bytes.
    pub current: u64,
    /// To be done in all, in bytes.
    pub end: u64,
}

/// What is to be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChange {
    /// Put it in.
    Attach,
    /// Take it out.
    Detach,
    /// Take the one with this alias out; do not wait until the guest lets go of it.
    DetachAlias,
    /// Change what can be changed in place.
    Update,
}
