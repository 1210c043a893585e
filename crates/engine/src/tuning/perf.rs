//! Events of the host's processors that a machine's are to be counted. They are kept in definitions;
//! Stead counts none, and says so rather than let a machine run without what it asks for.

use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::resources::{Perf, PerfEvent};
use model::xml::YesNo;

/// The events there are, by libvirt's names.
pub const PERF_EVENTS: [&str; 22] = [
    "cmt",
    "mbmt",
    "mbml",
    "cpu_cycles",
    "instructions",
    "cache_references",
    "cache_misses",
    "branch_instructions",
    "branch_misses",
    "bus_cycles",
    "stalled_cycles_frontend",
    "stalled_cycles_backend",
    "ref_cpu_cycles",
    "cpu_clock",
    "task_clock",
    "page_faults",
    "context_switches",
    "cpu_migrations",
    "page_faults_min",
    "page_faults_maj",
    "alignment_faults",
    "emulation_faults",
];

/// Whether a definition has an event counted.
#[must_use]
pub fn perf_event_is_on(domain: &Domain, name: &str) -> bool {
    let mut events = domain.perf.iter().flat_map(|perf| &perf.events);
    events.any(|event| event.name == name && event.enabled.is_yes())
}

/// Makes the change in a definition.
pub(super) fn amend(domain: &mut Domain, changes: &[(String, bool)]) {
    let perf: &mut Perf = domain.perf.get_or_insert_default();
    for (name, on) in changes {
        let enabled = if *on { YesNo::Yes } else { YesNo::No };
        match perf.events.iter_mut().find(|event| event.name == *name) {
            Some(event) => event.enabled = enabled,
            None => perf.events.push(PerfEvent {
                name: name.clone(),
                enabled,
            }),
        }
    }
}

/// Refuses what a running machine would have to have counted.
pub(crate) fn refuse(domain: &Domain) -> Result<()> {
    match PERF_EVENTS
        .iter()
        .find(|name| perf_event_is_on(domain, name))
    {
        None => Ok(()),
        Some(name) => Err(EngineError::new(
            ErrorKind::OperationFailed,
            format!(
                "unable to enable host cpu perf event for {name}: Stead does not count these \
                 events; take it out of <perf>"
            ),
        )),
    }
}
