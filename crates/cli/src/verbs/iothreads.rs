//! I/O threads: which there are, where they run, how they poll.

use client::wire::remote;
use client::wire::xdr::TypedParamValue;

use super::vcpus::{bitmap_ranges, host_cpus, parse_cpus};
use crate::args::Args;
use crate::domain::{AFFECT_LIVE, affect, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::params::param;
use crate::session::Session;
use crate::table::{CONFIG, CURRENT, DOMAIN, LIVE, Opt, Verb, arg, arg_number, number};

const ID: Opt = arg_number("id", "the I/O thread's number");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("iothreadadd", "add an I/O thread", add)
        .options(&[DOMAIN, ID, CONFIG, LIVE, CURRENT]),
    Verb::new("iothreaddel", "take an I/O thread out", del)
        .options(&[DOMAIN, ID, CONFIG, LIVE, CURRENT]),
    Verb::new("iothreadinfo", "a domain's I/O threads", info)
        .options(&[DOMAIN, CONFIG, LIVE, CURRENT])
        .tabular(),
    Verb::new("iothreadpin", "where an I/O thread may run", pin).options(&[
        DOMAIN,
        arg_number("iothread", "the I/O thread's number"),
        arg("cpulist", "the host's CPUs: 0-3,^2; r for all"),
        CONFIG,
        LIVE,
        CURRENT,
    ]),
    Verb::new("iothreadset", "how an I/O thread works", set).options(&[
        DOMAIN,
        ID,
        number("poll-max-ns", "longest time to poll, in nanoseconds"),
        number("poll-grow", "by what the time grows"),
        number("poll-shrink", "by what the time shrinks"),
        number("thread-pool-min", "fewest worker threads"),
        number("thread-pool-max", "most worker threads"),
        CONFIG,
        LIVE,
        CURRENT,
    ]),
];

/// The flags; without any, what runs is changed.
fn live_unless_said(args: &Args) -> Result<u32, Failure> {
    let flags = affect(args)?;
    match flags == 0 && !args.has("current") {
        true => Ok(AFFECT_LIVE),
        false => Ok(flags),
    }
}

fn id(args: &Args) -> Result<u32, Failure> {
    let id = args.need_number::<i64>("id")?;
    let positive = u32::try_from(id).ok().filter(|id| *id > 0);
    positive.ok_or_else(|| Failure::said(format!("Invalid IOThread id value: '{id}'")))
}

fn info(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("live", "config")?;
    let flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let call = remote::DomainGetIothreadInfoArgs { dom, flags };
    let threads = s
        .call(&call)
        .or_fail(|| "Unable to get domain IOThreads information".into())?
        .info;
    if threads.is_empty() && s.out.is_text() {
        s.out
            .extra(format_args!("No IOThreads found for the domain"));
        return Ok(());
    }
    let row = |thread: &remote::DomainIothreadInfo| {
        vec![
            thread.iothread_id.to_string(),
            bitmap_ranges(&thread.cpumap),
        ]
    };
    let rows: Vec<_> = threads.iter().map(row).collect();
    s.out.table(&["IOThread ID", "CPU Affinity"], &rows);
    Ok(())
}

fn pin(s: &mut Session, args: &Args) -> Outcome {
    let flags = live_unless_said(args)?;
    let dom = target(s, args)?.dom;
    let iothreads_id = args.need_number::<u32>("iothread")?;
    let host = host_cpus(s)?;
    let cpumap = parse_cpus(args.need("cpulist")?, host)?;
    Ok(s.call(&remote::DomainPinIothreadArgs {
        dom,
        iothreads_id,
        cpumap,
        flags,
    })?)
}

fn add(s: &mut Session, args: &Args) -> Outcome {
    let flags = live_unless_said(args)?;
    let dom = target(s, args)?.dom;
    let iothread_id = id(args)?;
    Ok(s.call(&remote::DomainAddIothreadArgs {
        dom,
        iothread_id,
        flags,
    })?)
}

fn del(s: &mut Session, args: &Args) -> Outcome {
    let flags = live_unless_said(args)?;
    let dom = target(s, args)?.dom;
    let iothread_id = id(args)?;
    Ok(s.call(&remote::DomainDelIothreadArgs {
        dom,
        iothread_id,
        flags,
    })?)
}

fn set(s: &mut Session, args: &Args) -> Outcome {
    let flags = live_unless_said(args)?;
    let dom = target(s, args)?.dom;
    let iothread_id = id(args)?;
    let mut params = Vec::new();
    if let Some(max) = args.number::<u64>("poll-max-ns")? {
        params.push(param("poll_max_ns", TypedParamValue::Ullong(max)));
    }
    for (option, field) in [("poll-grow", "poll_grow"), ("poll-shrink", "poll_shrink")] {
        if let Some(value) = args.number::<u32>(option)? {
            params.push(param(field, TypedParamValue::Uint(value)));
        }
    }
    for (option, field) in [
        ("thread-pool-min", "thread_pool_min"),
        ("thread-pool-max", "thread_pool_max"),
    ] {
        if let Some(value) = args.number::<i32>(option)? {
            params.push(param(field, TypedParamValue::Int(value)));
        }
    }
    if params.is_empty() {
        return Err(Failure::said("Not enough arguments passed, nothing to set"));
    }
    let call = remote::DomainSetIothreadParamsArgs {
        dom,
        iothread_id,
        params,
        flags,
    };
    Ok(s.call(&call)?)
}
