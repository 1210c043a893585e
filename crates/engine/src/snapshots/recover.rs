//! The daemon's return: what was under way with a domain's snapshots is
//! finished or undone before anybody can ask for anything.

use crate::engine::Engine;
use crate::error::Result;
use crate::snapshots::journal::{Journal, Way};
use crate::snapshots::steps;
use uuid::Uuid;

/// Settles the journals of domains whose QEMU does not run.
pub(crate) async fn settle_all(engine: &Engine) {
    let journals = match engine.records().journals() {
        Ok(journals) => journals,
        Err(error) => {
            tracing::error!(%error, "what was under way with snapshots cannot be read");
            return;
        }
    };
    for (domain, journal) in journals {
        let runs = engine
            .domain_by_uuid(domain)
            .is_ok_and(|found| found.view().is_active());
        // The owner of a running machine settles it with its QEMU.
        if runs {
            continue;
        }
        settle_logged(engine, domain, journal).await;
    }
}

async fn settle_logged(engine: &Engine, domain: Uuid, journal: Journal) {
    let what = journal.what.clone();
    match settle(engine, domain, journal).await {
        Ok(()) => tracing::warn!(%domain, what, "settled what a crash had interrupted"),
        Err(error) => {
            tracing::error!(%domain, what, %error, "what a crash interrupted cannot be settled yet");
        }
    }
}

/// Finishes or undoes what a journal says, with images that no QEMU has open.
pub(crate) async fn settle(engine: &Engine, domain: Uuid, mut journal: Journal) -> Result<()> {
    // QEMU has gone: an image it may have written to is right, and one it has
    // not gone over to is empty.
    if matches!(journal.way, Way::Back | Way::AskQemuOrBack) {
        for step in &journal.undo {
            steps::run(engine, step, &journal.keys).await?;
        }
        return engine.records().drop_journal(domain).await;
    }
    while let Some(step) = journal.steps.get(journal.done) {
        steps::run(engine, step, &journal.keys).await?;
        journal.done += 1;
        engine.records().put_journal(domain, &journal).await?;
    }
    engine.records().settle(domain, &journal.outcome).await?;
    engine.reload_domain(domain)
}
