//! Copies of volumes as jobs: with a progress, to be watched and cancelled.

use crate::engine::Engine;
use crate::error::Result;
use crate::jobs::{JobSpec, JobView};
use serde_json::json;
use std::sync::Arc;
use storage::volume::Wishes;

/// A volume to be made with the content of another.
#[derive(Debug, Clone)]
pub struct VolumeCopy {
    /// The pool it will be in.
    pub pool: String,
    /// The new volume, as libvirt's XML.
    pub xml: String,
    /// The pool of the other one.
    pub source_pool: String,
    /// The other one's name.
    pub source: String,
    /// What is asked for beside.
    pub wishes: Wishes,
}

impl Engine {
    /// Starts to copy a volume; the job's result has the new one's `path`.
    ///
    /// # Errors
    /// If there is no such pool or volume, or no job can be started.
    pub async fn start_volume_copy(&self, copy: VolumeCopy) -> Result<Arc<JobView>> {
        let pool = self.pool_by_name(&copy.pool)?;
        let from = self.pool_by_name(&copy.source_pool)?;
        let source = from.volume(&copy.source)?;
        let spec = JobSpec {
            kind: "vol-copy",
            target: source.path().to_owned(),
            plan: None,
        };
        let engine = self.clone();
        self.start_job(spec, |context| async move {
            let source = (&from, copy.source.as_str());
            let made = pool.copy_watched(&engine, &copy.xml, source, copy.wishes, Some(context));
            let made = made.await?;
            Ok(json!({ "name": made.name(), "path": made.path() }))
        })
        .await
    }
}
