//! Replies about migration.

use serde::Deserialize;

/// The reply of `query-migrate`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MigrationInfo {
    /// Where it is; absent if there has been none.
    pub status: Option<MigrationStatus>,
    /// Why it failed.
    pub error_desc: Option<String>,
    /// Milliseconds since it began.
    pub total_time: Option<u64>,
    /// Milliseconds the guest stood still.
    pub downtime: Option<u64>,
    /// Milliseconds the guest is expected to stand still.
    pub expected_downtime: Option<u64>,
    /// Milliseconds spent setting up.
    pub setup_time: Option<u64>,
    /// Memory.
    pub ram: Option<MigrationRam>,
}

/// How much memory has been sent, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MigrationRam {
    /// Sent.
    pub transferred: u64,
    /// Still to send.
    pub remaining: u64,
    /// All of it.
    pub total: u64,
    /// Pages of one repeated byte.
    pub duplicate: u64,
    /// Pages sent whole.
    pub normal: u64,
    /// Bytes of these.
    pub normal_bytes: u64,
    /// Pages the guest changes per second.
    pub dirty_pages_rate: u64,
    /// Megabits per second.
    pub mbps: f64,
    /// How often all memory was gone through.
    pub dirty_sync_count: u64,
    /// Bytes of one page.
    pub page_size: u64,
}

/// Where a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationStatus {
    /// There has been none.
    None,
    /// Connecting.
    Setup,
    /// Being cancelled.
    Cancelling,
    /// Cancelled.
    Cancelled,
    /// Sending.
    Active,
    /// Sending after the guest moved.
    PostcopyActive,
    /// Stopped after the guest moved, to be recovered.
    PostcopyPaused,
    /// Recovering.
    PostcopyRecover,
    /// Done.
    Completed,
    /// Failed.
    Failed,
    /// Synchronising with its twin.
    Colo,
    /// Waiting to be let go on before the switch-over.
    PreSwitchover,
    /// Saving devices.
    Device,
    /// Waiting for the other side's network.
    WaitUnplug,
    /// A state this version of Stead does not know.
    #[serde(other)]
    Unknown,
}

impl MigrationStatus {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::None | Self::Cancelled | Self::Completed | Self::Failed
        )
    }
}
