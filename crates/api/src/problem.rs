//! How failures look.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A failed request: the body of every answer with a status of 400 or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What went wrong, for programs: `no-domain`, `operation-invalid`, …
    pub kind: String,
    /// What went wrong, where, and what to do, for people.
    pub message: String,
}
