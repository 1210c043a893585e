//! The life-cycle events a machine gives off, with the numbers of libvirt's
//! `virDomainEventType` and its detail enums.

use super::status::numbered;
use serde::{Deserialize, Serialize};

numbered! {
    /// How a definition came to be.
    DefinedDetail {
        /// It is new.
        Added = 0,
        /// It replaced an older one.
        Updated = 1,
        /// It has a new name.
        Renamed = 2,
        /// A snapshot brought it back.
        FromSnapshot = 3,
    }
}

numbered! {
    /// How a definition went away.
    UndefinedDetail {
        /// It was removed.
        Removed = 0,
        /// It has another name now.
        Renamed = 1,
    }
}

numbered! {
    /// How a machine began to run.
    StartedDetail {
        /// It was booted.
        Booted = 0,
        /// It arrived by migration.
        Migrated = 1,
        /// It was restored from a saved state.
        Restored = 2,
        /// It was reverted to a snapshot.
        FromSnapshot = 3,
        /// It woke from its own suspend.
        Wakeup = 4,
    }
}

numbered! {
    /// How a machine came to stand still.
    SuspendedDetail {
        /// Somebody suspended it.
        Paused = 0,
        /// It is being migrated.
        Migrated = 1,
        /// A disk failed.
        IoError = 2,
        /// Its watchdog fired.
        Watchdog = 3,
        /// It was restored paused.
        Restored = 4,
        /// It was reverted to a paused snapshot.
        FromSnapshot = 5,
        /// A call failed half-way and left it paused.
        ApiError = 6,
    }
}

numbered! {
    /// How a machine came to run on.
    ResumedDetail {
        /// Somebody resumed it.
        Unpaused = 0,
        /// A migration ended.
        Migrated = 1,
        /// A snapshot was reverted to.
        FromSnapshot = 2,
    }
}

numbered! {
    /// How a machine ended.
    StoppedDetail {
        /// Its guest powered off.
        Shutdown = 0,
        /// Somebody destroyed it.
        Destroyed = 1,
        /// Its guest crashed.
        Crashed = 2,
        /// It went to another host.
        Migrated = 3,
        /// It was saved.
        Saved = 4,
        /// Its QEMU died.
        Failed = 5,
        /// It was reverted to a snapshot.
        FromSnapshot = 6,
    }
}

numbered! {
    /// Who asked for the guest's end.
    ShutdownDetail {
        /// Nobody told.
        Finished = 0,
        /// The guest itself.
        Guest = 1,
        /// Somebody on the host.
        Host = 2,
    }
}

/// One life-cycle event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LifecycleEvent {
    /// A definition was stored.
    Defined(DefinedDetail),
    /// A definition was removed.
    Undefined(UndefinedDetail),
    /// The machine runs.
    Started(StartedDetail),
    /// The machine stands still.
    Suspended(SuspendedDetail),
    /// The machine runs on.
    Resumed(ResumedDetail),
    /// The machine is gone.
    Stopped(StoppedDetail),
    /// The guest has powered off.
    Shutdown(ShutdownDetail),
    /// The guest sleeps (to memory).
    PmSuspendedMemory,
    /// The guest sleeps (to disk).
    PmSuspendedDisk,
    /// The guest panicked.
    Panicked,
}

impl LifecycleEvent {
    /// The number of `virDomainEventType`.
    pub const fn number(self) -> i32 {
        match self {
            Self::Defined(_) => 0,
            Self::Undefined(_) => 1,
            Self::Started(_) => 2,
            Self::Suspended(_) => 3,
            Self::Resumed(_) => 4,
            Self::Stopped(_) => 5,
            Self::Shutdown(_) => 6,
            Self::PmSuspendedMemory | Self::PmSuspendedDisk => 7,
            Self::Panicked => 8,
        }
    }

    /// The number of the event's detail enum.
    pub const fn detail_number(self) -> i32 {
        match self {
            Self::Defined(detail) => detail.number(),
            Self::Undefined(detail) => detail.number(),
            Self::Started(detail) => detail.number(),
            Self::Suspended(detail) => detail.number(),
            Self::Resumed(detail) => detail.number(),
            Self::Stopped(detail) => detail.number(),
            Self::Shutdown(detail) => detail.number(),
            Self::PmSuspendedMemory | Self::Panicked => 0,
            Self::PmSuspendedDisk => 1,
        }
    }
}
