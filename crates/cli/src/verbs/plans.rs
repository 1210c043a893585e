//! `--dry-run`: what a change of networks or rules would do, printed.

use client::api::{Plan, PlanRequest};

use crate::failure::Outcome;
use crate::output::{say, sayln};
use crate::session::Session;
use crate::table::{Opt, flag};

/// Prints the plan and does nothing.
pub(crate) const DRY_RUN: Opt = flag("dry-run", "print what would be done, and do nothing");

/// Prints what a change would do.
///
/// # Errors
/// The daemon's: what could not be done cannot be planned either.
pub(crate) fn print(s: &mut Session, asked: &PlanRequest) -> Outcome {
    let plan: Plan = s.rest()?.post("/plans", asked)?;
    if !s.out.is_text() {
        let plan = serde_json::to_value(&plan);
        s.out.document(&plan.unwrap_or_default());
        return Ok(());
    }
    for step in &plan.steps {
        sayln!(s, "{step}");
    }
    let texts = [
        ("nft -f -", &plan.nft),
        ("dnsmasq.conf", &plan.dnsmasq),
        ("dnsmasq's hosts", &plan.hosts),
        ("dnsmasq's names", &plan.names),
        ("tc -batch -", &plan.tc),
        ("definition", &plan.definition),
    ];
    for (title, text) in texts {
        if let Some(text) = text {
            sayln!(s, "\n# {title}");
            say!(s, "{text}");
            if !text.ends_with('\n') {
                sayln!(s, "");
            }
        }
    }
    for note in &plan.notes {
        sayln!(s, "\nnote: {note}");
    }
    Ok(())
}
