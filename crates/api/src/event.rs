//! What the stream of events tells.

use crate::job::Job;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that happened. On the wire: a server-sent event whose data is this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// A job began, went on or ended.
    Job(Job),
    /// Something happened to a machine.
    Domain(DomainNews),
}

/// Something happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DomainNews {
    /// Its name.
    pub name: String,
    /// Its uuid.
    pub uuid: String,
    /// What happened: `started`, `stopped`, `reboot`, …
    pub event: String,
}
