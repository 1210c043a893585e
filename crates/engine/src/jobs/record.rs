//! What is stored of a job: `host/HOST/job/ID`, as JSON.

use super::{JobId, JobProgress, JobState, JobView};
use crate::error::{EngineError, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A job's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) kind: String,
    pub(crate) target: String,
    state: JobState,
    started_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<Value>,
}

impl JobRecord {
    pub(super) fn of(view: &JobView, plan: Option<Value>) -> Self {
        Self {
            kind: view.kind.clone(),
            target: view.target.clone(),
            state: view.state,
            started_ms: view.started_ms,
            ended_ms: view.ended_ms,
            error: view.error.as_ref().map(|error| error.message.clone()),
            result: view.result.clone(),
            plan,
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))
    }

    pub(super) fn view(&self, id: JobId) -> JobView {
        JobView {
            id,
            kind: self.kind.clone(),
            target: self.target.clone(),
            state: self.state,
            progress: JobProgress::default(),
            error: self.error.clone().map(EngineError::failed),
            result: self.result.clone(),
            started_ms: self.started_ms,
            ended_ms: self.ended_ms,
        }
    }
}
