//! Events of the host's processors and kernel that are counted for a machine while it runs.

use std::collections::BTreeMap;

use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::resources::{Perf, PerfEvent};
use model::xml::YesNo;
use sys::perf::{Counter, Event};

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

/// What the kernel calls an event; nothing for those of Intel's cache monitoring, which kernels no
/// longer count this way.
fn counted(name: &str) -> Option<Event> {
    let event = match name {
        "cpu_cycles" => Event::hardware(0),
        "instructions" => Event::hardware(1),
        "cache_references" => Event::hardware(2),
        "cache_misses" => Event::hardware(3),
        "branch_instructions" => Event::hardware(4),
        "branch_misses" => Event::hardware(5),
        "bus_cycles" => Event::hardware(6),
        "stalled_cycles_frontend" => Event::hardware(7),
        "stalled_cycles_backend" => Event::hardware(8),
        "ref_cpu_cycles" => Event::hardware(9),
        "cpu_clock" => Event::software(0),
        "task_clock" => Event::software(1),
        "page_faults" => Event::software(2),
        "context_switches" => Event::software(3),
        "cpu_migrations" => Event::software(4),
        "page_faults_min" => Event::software(5),
        "page_faults_maj" => Event::software(6),
        "alignment_faults" => Event::software(7),
        "emulation_faults" => Event::software(8),
        _ => return None,
    };
    Some(event)
}

/// The events that are counted for a running machine, each with a counter for every thread its
/// QEMU had when the counting began; what these threads make is counted with them.
#[derive(Debug, Default)]
pub(crate) struct PerfCounters(BTreeMap<&'static str, Vec<Counter>>);

impl PerfCounters {
    /// Begins what the definition asks for and is not counted yet, and ends what it does not.
    pub(crate) fn follow(&mut self, domain: &Domain, pid: u32) -> Result<()> {
        let wanted = PERF_EVENTS
            .iter()
            .filter(|name| perf_event_is_on(domain, name));
        for name in wanted {
            if !self.0.contains_key(name) {
                self.0.insert(name, begin(name, pid)?);
            }
        }
        self.0.retain(|name, _| perf_event_is_on(domain, name));
        Ok(())
    }

    /// How often each happened since it was first counted, in libvirt's order.
    pub(crate) fn read(&self) -> Vec<(&'static str, u64)> {
        let sum = |counters: &Vec<Counter>| counters.iter().filter_map(|c| c.read().ok()).sum();
        PERF_EVENTS
            .iter()
            .filter_map(|name| Some((*name, sum(self.0.get(name)?))))
            .collect()
    }
}

fn begin(name: &str, pid: u32) -> Result<Vec<Counter>> {
    let event = counted(name).ok_or_else(|| cannot(name))?;
    let threads = sys::process::threads(pid.cast_signed())
        .map_err(|e| EngineError::system("cannot list the threads of QEMU", e))?;
    // QEMU's helpers come and go: one that is gone by now needs no counter.
    let counters = threads
        .iter()
        .filter_map(|thread| Counter::open(event, thread.tid).transpose());
    counters.collect::<sys::SysResult<_>>().map_err(|error| {
        let message = format!(
            "unable to open host cpu perf event for {name}: {}",
            error.cause()
        );
        EngineError::new(ErrorKind::SystemError, message)
    })
}

fn cannot(name: &str) -> EngineError {
    EngineError::new(
        ErrorKind::ConfigUnsupported,
        format!(
            "unable to enable host cpu perf event for {name}: no kernel since 4.14 counts it; \
             take it out of <perf>"
        ),
    )
}

/// Refuses, before a machine is started, what cannot be counted on any host.
pub(crate) fn refuse(domain: &Domain) -> Result<()> {
    let impossible = PERF_EVENTS
        .iter()
        .find(|name| perf_event_is_on(domain, name) && counted(name).is_none());
    impossible.map_or(Ok(()), |name| Err(cannot(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_caches_monitoring_can_be_counted() {
        let none = PERF_EVENTS.iter().filter(|name| counted(name).is_none());
        assert_eq!(none.copied().collect::<Vec<_>>(), ["cmt", "mbmt", "mbml"]);
    }
}
