//! `list`: the domains, in one call however many there are.

use std::collections::BTreeMap;

use client::wire::remote::{self, DomainStatsRecord, RemoteDomain};
use client::wire::xdr::TypedParamValue;

use crate::args::Args;
use crate::domain::{flags, show_id, show_uuid};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::sayln;
use crate::session::Session;
use crate::states;
use crate::table::{Verb, flag};

const ACTIVE: u32 = 1;
const INACTIVE: u32 = 2;
/// VIR_DOMAIN_STATS_STATE.
const STATS_STATE: u32 = 1;
/// Filters that CONNECT_GET_ALL_DOMAIN_STATS takes too, under the same numbers.
const STATS_FILTERS: u32 = 0xff;
/// Calls under way at once where the daemon must be asked about each domain.
const ASKED_AT_ONCE_MAX: usize = 8;

const FILTERS: &[(&str, u32)] = &[
    ("persistent", 4),
    ("transient", 8),
    ("state-running", 16),
    ("state-paused", 32),
    ("state-shutoff", 64),
    ("state-other", 128),
    ("with-managed-save", 256),
    ("without-managed-save", 512),
    ("autostart", 1024),
    ("no-autostart", 2048),
    ("with-snapshot", 4096),
    ("without-snapshot", 8192),
    ("with-checkpoint", 16384),
    ("without-checkpoint", 32768),
];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new("list", "list domains", list)
    .about("Lists the running domains, or those the options select.")
    .options(&[
        flag("inactive", "domains that do not run"),
        flag("all", "running or not"),
        flag("transient", "only domains without a definition"),
        flag("persistent", "only domains with a definition"),
        flag("with-snapshot", "only domains with snapshots"),
        flag("without-snapshot", "only domains without snapshots"),
        flag("with-checkpoint", "only domains with checkpoints"),
        flag("without-checkpoint", "only domains without checkpoints"),
        flag("state-running", "only running domains"),
        flag("state-paused", "only paused domains"),
        flag("state-shutoff", "only domains that are shut off"),
        flag("state-other", "only domains in other states"),
        flag("autostart", "only domains that start with the host"),
        flag(
            "no-autostart",
            "only domains that do not start with the host",
        ),
        flag("with-managed-save", "only domains with a managed save"),
        flag(
            "without-managed-save",
            "only domains without a managed save",
        ),
        flag("uuid", "print uuids only"),
        flag("name", "print names only"),
        flag("id", "print ids only"),
        flag("table", "print a table (the default)"),
        flag(
            "managed-save",
            "say saved instead of shut off where there is a managed save",
        ),
        flag("title", "show titles"),
    ])
    .tabular()];

fn selection(args: &Args) -> u32 {
    let base = if args.has("all") {
        ACTIVE | INACTIVE
    } else if args.has("inactive") || args.has("state-shutoff") {
        INACTIVE
    } else {
        ACTIVE
    };
    base | flags(args, FILTERS)
}

fn list(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("table", "name")?;
    args.exclusive("table", "id")?;
    let only = args.has("uuid") || args.has("name") || args.has("id");
    let selection = selection(args);
    if args.has("table") || !only || !s.out.is_text() {
        return table(s, args, selection);
    }
    for dom in domains(s, selection)? {
        let mut cells = Vec::new();
        if args.has("uuid") {
            cells.push(show_uuid(&dom.uuid));
        }
        if args.has("id") {
            if dom.id < 0 && cells.is_empty() && !args.has("name") {
                continue;
            }
            cells.push(show_id(&dom));
        }
        if args.has("name") {
            cells.push(dom.name);
        }
        sayln!(s, "{}", cells.join(" "));
    }
    Ok(())
}

fn table(s: &mut Session, args: &Args, selection: u32) -> Outcome {
    let (title, uuid) = (args.has("title"), args.has("uuid"));
    let mut header = vec!["Id", "Name", "State"];
    header.extend(title.then_some("Title"));
    header.extend(uuid.then_some("UUID"));
    let mut rows = Vec::new();
    for (dom, state) in with_states(s, selection)? {
        let saved = args.has("managed-save") && state == states::SHUTOFF && has_save(s, &dom);
        let shown = if saved { "saved" } else { states::state(state) };
        let mut row = vec![show_id(&dom), dom.name.clone(), shown.to_owned()];
        if title {
            row.push(crate::verbs::describe::title(s, &dom)?);
        }
        if uuid {
            row.push(show_uuid(&dom.uuid));
        }
        rows.push(row);
    }
    s.out.table(&header, &rows);
    Ok(())
}

/// Whether the domain has a managed save; no if the daemon cannot say.
pub(super) fn has_save(s: &mut Session, dom: &RemoteDomain) -> bool {
    let args = remote::DomainHasManagedSaveImageArgs {
        dom: dom.clone(),
        flags: 0,
    };
    s.call(&args).is_ok_and(|got| got.result > 0)
}

/// The domains selected, sorted as virsh sorts them.
///
/// # Errors
/// The daemon's.
pub(crate) fn domains(s: &mut Session, selection: u32) -> Result<Vec<RemoteDomain>, Failure> {
    let args = remote::ConnectListAllDomainsArgs {
        need_results: 1,
        flags: selection,
    };
    let got = s.call(&args).or_fail(|| "Failed to list domains".into())?;
    let mut domains = got.domains;
    sort(&mut domains, |d| d);
    Ok(domains)
}

/// The domains selected with their states: from one bulk call, or if the daemon
/// refuses that, by asking about each.
fn with_states(s: &mut Session, selection: u32) -> Result<Vec<(RemoteDomain, i32)>, Failure> {
    if selection & !STATS_FILTERS == 0 {
        let args = remote::ConnectGetAllDomainStatsArgs {
            doms: Vec::new(),
            stats: STATS_STATE,
            flags: selection,
        };
        if let Ok(got) = s.call(&args) {
            let known: Option<Vec<_>> = got.ret_stats.into_iter().map(state_of).collect();
            if let Some(mut known) = known {
                sort(&mut known, |(dom, _)| dom);
                return Ok(known);
            }
        }
    }
    let domains = domains(s, selection)?;
    ask_each(s, domains)
}

fn state_of(record: DomainStatsRecord) -> Option<(RemoteDomain, i32)> {
    let state = record.params.iter().find(|p| p.field == "state.state")?;
    match state.value {
        TypedParamValue::Int(state) => Some((record.dom, state)),
        _ => None,
    }
}

/// Asks about several domains at once; one that is gone meanwhile is left out.
fn ask_each(
    s: &mut Session,
    domains: Vec<RemoteDomain>,
) -> Result<Vec<(RemoteDomain, i32)>, Failure> {
    let conn = s.conn()?;
    let share = domains.len().div_ceil(ASKED_AT_ONCE_MAX).max(1);
    let ask = |part: &[RemoteDomain]| -> Vec<(RemoteDomain, i32)> {
        let state = |dom: &RemoteDomain| {
            let args = remote::DomainGetStateArgs {
                dom: dom.clone(),
                flags: 0,
            };
            conn.call(&args).ok().map(|got| (dom.clone(), got.state))
        };
        part.iter().filter_map(state).collect()
    };
    Ok(std::thread::scope(|scope| {
        let threads: Vec<_> = domains
            .chunks(share)
            .map(|part| scope.spawn(move || ask(part)))
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap_or_default())
            .collect()
    }))
}

/// Running domains first, by id; then the others by name, without regard to case.
fn sort<T>(items: &mut [T], dom: impl Fn(&T) -> &RemoteDomain) {
    items.sort_by_cached_key(|item| {
        let dom = dom(item);
        match dom.id {
            id @ 0.. => (0, id, String::new()),
            _ => (1, 0, dom.name.to_lowercase()),
        }
    });
}

/// The names of all domains, for completion.
pub(crate) fn names(s: &mut Session) -> Vec<String> {
    let found = domains(s, 0).unwrap_or_default();
    let unique: BTreeMap<String, ()> = found.into_iter().map(|d| (d.name, ())).collect();
    unique.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_domains_come_first() {
        let dom = |name: &str, id| RemoteDomain {
            name: name.into(),
            id,
            ..Default::default()
        };
        let mut all = vec![dom("b", -1), dom("z", 2), dom("A", -1), dom("y", 10)];
        sort(&mut all, |d| d);
        let names: Vec<_> = all.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["z", "y", "A", "b"]);
    }
}
