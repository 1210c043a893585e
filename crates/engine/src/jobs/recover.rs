//! What a daemon that ended in the middle of a job left behind is finished or
//! undone here, before anything else can see it: one line for each kind of job
//! that changes the host in more than one step.

use super::record::JobRecord;
use crate::engine::Engine;

/// Puts the leavings of one unfinished job in order.
pub(crate) async fn recover(engine: &Engine, record: &JobRecord) {
    tracing::info!(kind = %record.kind, target = %record.target, "an unfinished job was found");
    let Some(plan) = &record.plan else {
        return;
    };
    match record.kind.as_str() {
        "image-import" => engine.recover_import(plan),
        "clone" | "create" | "install" | "package-import" | "export" | "image-create"
        | "image-convert" => engine.recover_made(plan),
        _ => {}
    }
}
