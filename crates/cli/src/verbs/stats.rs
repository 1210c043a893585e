//! Statistics of many domains, and of one domain's memory.

use client::wire::remote;

use crate::args::Args;
use crate::domain::{self, AFFECT_LIVE, By, affect, flags, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{fact, sayln};
use crate::params;
use crate::session::Session;
use crate::table::{CONFIG, CURRENT, Completes, DOMAIN, LIVE, Verb, flag, number, rest};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "cpu-stats",
        "CPU time used on each of the host's CPUs",
        cpu_stats,
    )
    .options(&[
        DOMAIN,
        flag("total", "only the sum"),
        number("start", "from this CPU on").bare(),
        number("count", "at most so many CPUs").bare(),
    ])
    .tabular(),
    Verb::new("dommemstat", "memory statistics of a domain", dommemstat)
        .options(&[
            DOMAIN,
            number("period", "have the balloon report every so many seconds"),
            CONFIG,
            LIVE,
            CURRENT,
        ])
        .tabular(),
    Verb::new("domstats", "statistics of several or all domains", domstats)
        .about("Prints all groups of statistics, or the ones named, of all domains or some.")
        .options(&[
            flag("state", "the state"),
            flag("cpu-total", "CPU time used"),
            flag("balloon", "memory balloon"),
            flag("vcpu", "each vCPU"),
            flag("interface", "network interfaces"),
            flag("block", "disks"),
            flag("perf", "performance events"),
            flag("iothread", "IOThreads"),
            flag("memory", "memory bandwidth and allocation"),
            flag("dirtyrate", "rate at which memory is written"),
            flag("vm", "what the hypervisor counts itself"),
            flag("list-active", "only running domains"),
            flag("list-inactive", "only domains that do not run"),
            flag("list-persistent", "only domains with a definition"),
            flag("list-transient", "only domains without a definition"),
            flag("list-running", "only domains in state running"),
            flag("list-paused", "only domains in state paused"),
            flag("list-shutoff", "only domains in state shut off"),
            flag("list-other", "only domains in other states"),
            flag("raw", "values as they are"),
            flag("enforce", "fail if a group is not supported"),
            flag("backing", "disks with their backing chains"),
            flag("nowait", "only what can be had at once"),
            rest("domain", "only these domains").completes(Completes::Domain),
        ])
        .tabular(),
];

const GROUPS: &[(&str, u32)] = &[
    ("state", 1),
    ("cpu-total", 2),
    ("balloon", 4),
    ("vcpu", 8),
    ("interface", 16),
    ("block", 32),
    ("perf", 64),
    ("iothread", 128),
    ("memory", 256),
    ("dirtyrate", 512),
    ("vm", 1024),
];

const SELECTION: &[(&str, u32)] = &[
    ("list-active", 1),
    ("list-inactive", 2),
    ("list-persistent", 4),
    ("list-transient", 8),
    ("list-running", 16),
    ("list-paused", 32),
    ("list-shutoff", 64),
    ("list-other", 128),
    ("nowait", 1 << 29),
    ("backing", 1 << 30),
    ("enforce", 1 << 31),
];

fn domstats(s: &mut Session, args: &Args) -> Outcome {
    let mut doms = Vec::new();
    for name in args.many("domain") {
        doms.push(domain::lookup(s, name, By::Any)?);
    }
    let call = remote::ConnectGetAllDomainStatsArgs {
        doms,
        stats: flags(args, GROUPS),
        flags: flags(args, SELECTION),
    };
    let records = s.call(&call)?.ret_stats;
    if !s.out.is_text() {
        let record = |r: &remote::DomainStatsRecord| {
            let pairs = r
                .params
                .iter()
                .map(|p| (p.field.clone(), params::json(&p.value)));
            let all: serde_json::Map<_, _> = pairs.collect();
            serde_json::json!({ "domain": r.dom.name, "stats": all })
        };
        s.out.document(&records.iter().map(record).collect());
        return Ok(());
    }
    for (i, record) in records.iter().enumerate() {
        if i > 0 {
            sayln!(s);
        }
        sayln!(s, "Domain: '{}'", record.dom.name);
        for param in &record.params {
            sayln!(s, "  {}={}", param.field, params::show(&param.value));
        }
    }
    Ok(())
}

/// Times of so many processors are asked for at once.
const CPUS_AT_ONCE: u32 = 128;

fn cpu_stats(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let (start, count) = (args.number::<i32>("start")?, args.number::<i32>("count")?);
    let everything = !args.has("total") && start.is_none() && count.is_none();
    let failed = || {
        format!(
            "Failed to retrieve CPU statistics for domain '{}'",
            dom.name
        )
    };
    let mut call = remote::DomainGetCpuStatsArgs {
        dom: dom.clone(),
        nparams: 0,
        start_cpu: 0,
        ncpus: 0,
        flags: 0,
    };
    if let Some(wrong) = start.filter(|cpu| *cpu < 0) {
        return Err(Failure::said(format!(
            "Invalid value for start CPU: {wrong}"
        )));
    }
    if everything || start.is_some() || count.is_some() {
        let cpus = s.call(&call).or_fail(failed)?.nparams;
        let mut cpu = start.unwrap_or(0);
        if cpu >= cpus {
            let last = cpus - 1;
            let what = format!("Start CPU {cpu} is out of range (min: 0, max: {last})");
            return Err(Failure::said(what));
        }
        let wanted = count.filter(|count| (0..=cpus - cpu).contains(count));
        let mut left = u32::try_from(wanted.unwrap_or(cpus - cpu)).unwrap_or(0);
        call.ncpus = 1;
        call.nparams = u32::try_from(s.call(&call).or_fail(failed)?.nparams).unwrap_or(0);
        while left > 0 {
            call.start_cpu = cpu;
            call.ncpus = left.min(CPUS_AT_ONCE);
            let got = s.call(&call).or_fail(failed)?;
            let each = usize::try_from(got.nparams).unwrap_or(0).max(1);
            for times in got.params.chunks(each) {
                s.out.next_record();
                fact!(s, "cpu", cpu, "CPU{cpu}:");
                say_times(s, times);
                cpu += 1;
            }
            left -= call.ncpus;
        }
        if !everything {
            return Ok(());
        }
    }
    (call.start_cpu, call.ncpus, call.nparams) = (-1, 1, 0);
    let counted = s.call(&call).or_fail(failed)?.nparams;
    if counted == 0 {
        if s.out.is_text() {
            sayln!(s, "No total stats available");
        }
        return Ok(());
    }
    call.nparams = u32::try_from(counted).unwrap_or(0);
    let total = s.call(&call).or_fail(failed)?.params;
    s.out.next_record();
    fact!(s, "cpu", "total", "Total:");
    say_times(s, &total);
    Ok(())
}

fn say_times(s: &mut Session, times: &[remote::TypedParam]) {
    const SECOND_NS: u64 = 1_000_000_000;
    for time in times {
        match params::unsigned(times, &time.field) {
            Some(ns) => {
                let (whole, rest) = (ns / SECOND_NS, ns % SECOND_NS);
                let line = format_args!("\t{:<12} {whole:>9}.{rest:09} seconds", time.field);
                s.out.fact(&time.field, ns, line);
            }
            None => {
                let shown = params::show(&time.value);
                let value = params::json(&time.value);
                fact!(s, &time.field, value, "\t{:<12} {shown}", time.field);
            }
        }
    }
}

/// By libvirt's number.
const MEMORY: &[&str] = &[
    "swap_in",
    "swap_out",
    "major_fault",
    "minor_fault",
    "unused",
    "available",
    "actual",
    "rss",
    "usable",
    "last_update",
    "disk_caches",
    "hugetlb_pgalloc",
    "hugetlb_pgfail",
];

fn dommemstat(s: &mut Session, args: &Args) -> Outcome {
    let mut flags = affect(args)?;
    let t = target(s, args)?;
    let chosen = args.has("current") || args.has("live") || args.has("config");
    if !chosen && s.domain_active(&t.dom).unwrap_or(false) {
        flags |= AFFECT_LIVE;
    }
    if let Some(period) = args.number::<i32>("period")? {
        if period < 0 {
            return Err(Failure::said(format!(
                "Invalid collection period value '{period}'"
            )));
        }
        let call = remote::DomainSetMemoryStatsPeriodArgs {
            dom: t.dom,
            period,
            flags,
        };
        return s
            .call(&call)
            .or_fail(|| "Unable to change balloon collection period.".into());
    }
    let call = remote::DomainMemoryStatsArgs {
        dom: t.dom,
        max_stats: u32::try_from(MEMORY.len()).unwrap_or_default(),
        flags: 0,
    };
    let got = s.call(&call);
    let got = got.or_fail(|| format!("Failed to get memory statistics for domain {}", t.given))?;
    for stat in got.stats {
        let name = usize::try_from(stat.tag).ok().and_then(|i| MEMORY.get(i));
        if let Some(name) = name {
            fact!(s, name, stat.val, "{name} {}", stat.val);
        }
    }
    Ok(())
}
