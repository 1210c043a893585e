//! Long operations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A long operation, under way or over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its number; never given twice by one host.
    pub id: u64,
    /// What it does: `image-import`, `clone`, …
    pub kind: String,
    /// What it does that to, in a person's words.
    pub target: String,
    /// Whether it is over, and how it ended.
    pub state: JobState,
    /// How far it is.
    pub progress: Progress,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it gives back; depends on the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// When it began: milliseconds since 1970 (UTC).
    pub started_ms: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
}

/// Whether a job is over, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It is being worked on.
    Running,
    /// It did what it should.
    Completed,
    /// It failed; `error` says why.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// The daemon ended before it did; what it had begun was undone, or kept
    /// where doing it again goes on from there.
    Interrupted,
}

impl JobState {
    /// Whether nothing more will come of it.
    pub fn is_over(self) -> bool {
        self != JobState::Running
    }

    /// The word for people and JSON.
    pub fn word(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Completed => "completed",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Interrupted => "interrupted",
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// What is done, in units.
    pub done: u64,
    /// What is to be done; 0 while it is not known.
    pub total: u64,
    /// What is counted.
    pub unit: Unit,
    /// The step it is at, in a person's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
}

/// What a progress counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: clones, files, steps.
    #[default]
    Items,
    /// Hundredths of the whole.
    Percent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_as_json() {
        let job = Job {
            id: 7,
            kind: "clone".into(),
            target: "web1".into(),
            state: JobState::Interrupted,
            progress: Progress::default(),
            error: None,
            result: None,
            started_ms: 5,
            ended_ms: None,
        };
        let text = serde_json::to_string(&job).unwrap();
        let want = r#"{"id":7,"kind":"clone","target":"web1","state":"interrupted","progress":{"done":0,"total":0,"unit":"items"},"started_ms":5}"#;
        assert_eq!(text, want);
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    }

    #[test]
    fn words_are_the_names_in_json() {
        use JobState::*;
        for state in [Running, Completed, Failed, Cancelled, Interrupted] {
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.word());
        }
    }
}
