//! The life of a job on a disk's images: what QEMU says comes in, what to do
//! and what to tell comes out. It does no I/O and reads no clock.
//!
//! ```text
//!   Running ──ready──► Ready ──pivot──► Completing ──┐
//!      │ cancel          │ cancel                    ├─concluded─► over
//!      └────────► Cancelling ◄──┘────────────────────┘
//! ```
//!
//! Where QEMU falls silent while it completes a job, the job is in doubt until QEMU is asked again.

use crate::qmp::reply::JobStatus;

/// What a job does; the numbers of `virDomainBlockJobType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockJobKind {
    /// Images below are pulled into the disk's own.
    Pull,
    /// The disk is copied to another image.
    Copy,
    /// Images in the middle are committed into one below.
    Commit,
    /// The disk's own image is committed into one below.
    ActiveCommit,
}

impl BlockJobKind {
    /// libvirt's number.
    pub const fn number(self) -> i32 {
        match self {
            Self::Pull => 1,
            Self::Copy => 2,
            Self::Commit => 3,
            Self::ActiveCommit => 4,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Copy => "copy",
            Self::Commit => "commit",
            Self::ActiveCommit => "active",
        }
    }

    /// Whether the machine goes over to another image at the end.
    pub const fn pivots(self) -> bool {
        matches!(self, Self::Copy | Self::ActiveCommit)
    }
}

/// Which job of which disk. Its text is the job's id in QEMU, so that a daemon
/// that comes back knows all about a job it finds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockJobId {
    /// The disk's target.
    pub disk: String,
    kind: &'static str,
    /// The number of the upper image.
    pub top: u32,
    /// The number of the lower image, or of the copy; 0 for none.
    pub base: u32,
}

impl BlockJobId {
    /// A job's id.
    pub fn new(kind: BlockJobKind, disk: &str, top: u32, base: u32) -> Self {
        Self {
            disk: disk.to_owned(),
            kind: kind.word(),
            top,
            base,
        }
    }

    /// Reads the id back from its text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("block-")?.splitn(4, '-');
        let word = parts.next()?;
        let (top, base) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let disk = parts.next()?.to_owned();
        let kind = KINDS.iter().find(|kind| kind.word() == word)?.word();
        Some(Self {
            disk,
            kind,
            top,
            base,
        })
    }

    /// What the job does.
    pub fn kind(&self) -> BlockJobKind {
        let found = KINDS.iter().find(|kind| kind.word() == self.kind);
        found.copied().unwrap_or(BlockJobKind::Commit)
    }
}

impl std::fmt::Display for BlockJobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "block-{}-{}-{}-{}",
            self.kind, self.top, self.base, self.disk
        )
    }
}

const KINDS: [BlockJobKind; 4] = [
    BlockJobKind::Pull,
    BlockJobKind::Copy,
    BlockJobKind::Commit,
    BlockJobKind::ActiveCommit,
];

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockJobPhase {
    /// It works.
    Running,
    /// The two images are the same and are kept so.
    Ready,
    /// The machine goes over to the other image.
    Completing,
    /// QEMU did not say whether it has.
    InDoubt,
    /// It is being given up.
    Cancelling,
}

/// How a job ended; the numbers of `virConnectDomainEventBlockJobStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockJobStatus {
    /// It did what it should.
    Completed,
    /// It failed.
    Failed,
    /// It was given up.
    Canceled,
    /// It is ready.
    Ready,
}

impl BlockJobStatus {
    /// libvirt's number.
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// One job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockJobLife {
    phase: BlockJobPhase,
    /// QEMU was heard to be done; it may say so more than once.
    over: bool,
}

/// What to do about something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockJobEffect {
    /// Tell everyone that it is ready.
    TellReady,
    /// QEMU is done: look how it ended.
    Settle,
    /// QEMU speaks again: ask what has become of it.
    Ask,
}

impl Default for BlockJobLife {
    fn default() -> Self {
        Self {
            phase: BlockJobPhase::Running,
            over: false,
        }
    }
}

impl BlockJobLife {
    /// How far it is.
    pub fn phase(self) -> BlockJobPhase {
        self.phase
    }

    /// QEMU says where the job is.
    pub fn on_status(&mut self, status: JobStatus) -> Option<BlockJobEffect> {
        match (self.phase, status) {
            (BlockJobPhase::Running, JobStatus::Ready) => {
                self.phase = BlockJobPhase::Ready;
                Some(BlockJobEffect::TellReady)
            }
            // Whoever completes it waits for its end too.
            (BlockJobPhase::Completing, _) => None,
            (BlockJobPhase::InDoubt, _) => Some(BlockJobEffect::Ask),
            (_, JobStatus::Concluded) if !self.over => {
                self.over = true;
                Some(BlockJobEffect::Settle)
            }
            _ => None,
        }
    }

    /// The machine is to go over to the other image; whether it can now.
    pub fn complete(&mut self) -> bool {
        let can = self.phase == BlockJobPhase::Ready;
        if can {
            self.phase = BlockJobPhase::Completing;
        }
        can
    }

    /// It could not be completed; `known` is whether QEMU has said that it goes on.
    pub fn stays(&mut self, known: bool) {
        self.phase = match known {
            true => BlockJobPhase::Ready,
            false => BlockJobPhase::InDoubt,
        };
    }

    /// It is to be given up; whether it can be now.
    pub fn cancel(&mut self) -> bool {
        let can = !matches!(
            self.phase,
            BlockJobPhase::Completing | BlockJobPhase::InDoubt
        );
        if can {
            self.phase = BlockJobPhase::Cancelling;
        }
        can
    }

    /// Whether it only remains to be forgotten: QEMU is done with it, or gives it up.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.over || self.phase == BlockJobPhase::Cancelling
    }

    /// How it ended, with or without an error.
    pub fn ended(self, failed: bool) -> BlockJobStatus {
        match (self.phase, failed) {
            (BlockJobPhase::Cancelling, _) => BlockJobStatus::Canceled,
            (_, true) => BlockJobStatus::Failed,
            (_, false) => BlockJobStatus::Completed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_all_about_its_job() {
        for kind in KINDS {
            let id = BlockJobId::new(kind, "vd-a", 3, 7);
            let again = BlockJobId::parse(&id.to_string()).expect("an id");
            assert_eq!((again.kind(), &again), (kind, &id));
        }
        for strange in [
            "snapshot",
            "block-",
            "block-dance-1-2-vda",
            "block-pull-x-2-vda",
        ] {
            assert_eq!(BlockJobId::parse(strange), None);
        }
    }

    #[test]
    fn a_copy_is_ready_before_it_is_completed() {
        let mut life = BlockJobLife::default();
        assert!(!life.complete());
        assert_eq!(
            life.on_status(JobStatus::Ready),
            Some(BlockJobEffect::TellReady)
        );
        assert_eq!(life.on_status(JobStatus::Ready), None);
        assert!(life.complete() && !life.cancel() && !life.is_ending());
        assert_eq!(life.on_status(JobStatus::Concluded), None);
        assert_eq!(life.ended(false), BlockJobStatus::Completed);
    }

    #[test]
    fn a_job_that_could_not_be_completed_can_be_again_or_is_asked_about() {
        let mut life = BlockJobLife::default();
        let _ = life.on_status(JobStatus::Ready);
        assert!(life.complete());
        life.stays(true);
        assert!(life.complete());
        life.stays(false);
        assert!(!life.complete() && !life.cancel());
        assert_eq!(
            life.on_status(JobStatus::Concluded),
            Some(BlockJobEffect::Ask)
        );
    }

    #[test]
    fn what_is_cancelled_ends_as_cancelled() {
        let mut life = BlockJobLife::default();
        assert!(!life.is_ending());
        assert!(life.cancel() && !life.complete() && life.is_ending());
        assert_eq!(
            life.on_status(JobStatus::Concluded),
            Some(BlockJobEffect::Settle)
        );
        assert_eq!(life.on_status(JobStatus::Concluded), None);
        assert_eq!(life.ended(true), BlockJobStatus::Canceled);
    }
}
