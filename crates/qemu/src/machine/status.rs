//! What state a machine is in and why, with the numbers that libvirt's
//! `virDomainState` and its reason enums give them.

use serde::{Deserialize, Serialize};

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(u8)]
        pub enum $name {
            $($(#[$vdoc])* $variant = $number),+
        }

        impl $name {
            /// libvirt's number for it.
            pub const fn number(self) -> i32 {
                self as u8 as i32
            }
        }
    };
}
pub(super) use numbered;

numbered! {
    /// Why a machine runs.
    RunningReason {
        /// Nobody recorded it.
        Unknown = 0,
        /// It was booted.
        Booted = 1,
        /// It arrived by migration.
        Migrated = 2,
        /// It was restored from a saved state.
        Restored = 3,
        /// It was reverted to a snapshot.
        FromSnapshot = 4,
        /// Somebody resumed it.
        Unpaused = 5,
        /// A migration away was cancelled.
        MigrationCanceled = 6,
        /// A save was cancelled or failed.
        SaveCanceled = 7,
        /// It woke from its own suspend.
        Wakeup = 8,
        /// It runs on after its guest panicked.
        Crashed = 9,
    }
}

numbered! {
    /// Why a machine is paused.
    PausedReason {
        /// Nobody recorded it.
        Unknown = 0,
        /// Somebody suspended it.
        User = 1,
        /// It is being migrated.
        Migration = 2,
        /// It is being saved.
        Save = 3,
        /// Its memory is being dumped.
        Dump = 4,
        /// A disk failed (no space, input/output error).
        IoError = 5,
        /// Its watchdog fired.
        Watchdog = 6,
        /// It was reverted to a paused snapshot.
        FromSnapshot = 7,
        /// It powers off.
        ShuttingDown = 8,
        /// A snapshot is being taken.
        Snapshot = 9,
        /// Its guest panicked.
        Crashed = 10,
        /// It has not run yet.
        StartingUp = 11,
    }
}

numbered! {
    /// Why a machine is shut off.
    OffReason {
        /// Never started since the daemon knows it.
        Unknown = 0,
        /// Its guest powered off.
        Shutdown = 1,
        /// Somebody destroyed it.
        Destroyed = 2,
        /// Its QEMU died.
        Crashed = 3,
        /// It went to another host.
        Migrated = 4,
        /// It was saved.
        Saved = 5,
        /// It failed to start.
        Failed = 6,
        /// It was reverted to a snapshot of a stopped machine.
        FromSnapshot = 7,
        /// The daemon found it gone when it came back.
        Daemon = 8,
    }
}

/// A machine's state with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "reason")]
pub enum Status {
    /// Its processors run.
    Running(RunningReason),
    /// Its processors stand still, QEMU runs.
    Paused(PausedReason),
    /// The guest has powered off, QEMU is about to go.
    ShuttingDown,
    /// There is no QEMU.
    Off(OffReason),
    /// The guest panicked and is kept for a look.
    Panicked,
    /// The guest sleeps by its own power management.
    PmSuspended,
}

impl Status {
    /// The number of `virDomainState`.
    pub const fn number(self) -> i32 {
        match self {
            Self::Running(_) => 1,
            Self::Paused(_) => 3,
            Self::ShuttingDown => 4,
            Self::Off(_) => 5,
            Self::Panicked => 6,
            Self::PmSuspended => 7,
        }
    }

    /// The number of the state's reason enum.
    pub const fn reason_number(self) -> i32 {
        match self {
            Self::Running(reason) => reason.number(),
            Self::Paused(reason) => reason.number(),
            Self::Off(reason) => reason.number(),
            Self::ShuttingDown | Self::Panicked => 1,
            Self::PmSuspended => 0,
        }
    }

    /// Whether a QEMU process belongs to it.
    pub const fn is_active(self) -> bool {
        !matches!(self, Self::Off(_))
    }
}
