//! vCPUs: how many, where they run, where they may run.

use client::wire::errors::ErrorCode;
use client::wire::remote::{self, RemoteDomain};
use serde_json::Value;

use crate::args::Args;
use crate::domain::{AFFECT_CONFIG, AFFECT_LIVE, affect, target};
use crate::failure::{Failure, Outcome};
use crate::output::{extra, fact, sayln};
use crate::session::Session;
use crate::states;
use crate::table::{CONFIG, CURRENT, DOMAIN, LIVE, Verb, arg, arg_number, flag, number, text};

const VCPU_MAXIMUM: u32 = 4;
const VCPU_GUEST: u32 = 8;
const VCPU_HOTPLUGGABLE: u32 = 16;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "emulatorpin",
        "where QEMU's own threads may run",
        emulatorpin,
    )
    .options(&[
        DOMAIN,
        text("cpulist", "the host's CPUs: 0-3,^2; r for all").bare(),
        CONFIG,
        LIVE,
        CURRENT,
    ])
    .tabular(),
    Verb::new("setvcpu", "plug or unplug single vCPUs", setvcpu).options(&[
        DOMAIN,
        arg("vcpulist", "the vCPUs"),
        flag("enable", "plug them"),
        flag("disable", "unplug them"),
        CONFIG,
        LIVE,
        CURRENT,
    ]),
    Verb::new("setvcpus", "set the number of vCPUs", setvcpus).options(&[
        DOMAIN,
        arg_number("count", "how many"),
        flag("maximum", "the most there can be, with --config"),
        CONFIG,
        LIVE,
        CURRENT,
        flag("guest", "have the guest agent take vCPUs in or out of use"),
        flag("hotpluggable", "add them so that they can be unplugged"),
    ]),
    Verb::new("vcpucount", "the number of vCPUs", vcpucount)
        .options(&[
            DOMAIN,
            flag("maximum", "the most there can be"),
            flag("active", "those there are"),
            LIVE,
            CONFIG,
            CURRENT,
            flag("guest", "as the guest sees them"),
        ])
        .tabular(),
    Verb::new("vcpuinfo", "where and how long each vCPU ran", vcpuinfo)
        .options(&[DOMAIN, flag("pretty", "CPUs as ranges")])
        .tabular(),
    Verb::new("vcpupin", "where vCPUs may run", vcpupin)
        .options(&[
            DOMAIN,
            number("vcpu", "the vCPU").bare(),
            text("cpulist", "the host's CPUs: 0-3,^2; r for all").bare(),
            CONFIG,
            LIVE,
            CURRENT,
        ])
        .tabular(),
];

/// Whether CPU `cpu` is in a map of bits, lowest first.
pub(super) fn in_bitmap(map: &[u8], cpu: usize) -> bool {
    map.get(cpu / 8)
        .is_some_and(|byte| byte & (1 << (cpu % 8)) != 0)
}

/// A map of bits as ranges: `0-3,7`.
pub(super) fn bitmap_ranges(map: &[u8]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for cpu in (0..map.len() * 8).filter(|cpu| in_bitmap(map, *cpu)) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let show = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(show).collect::<Vec<_>>().join(",")
}

/// Highest CPU number a list may name.
const CPU_MAX: usize = 1024;

/// A list of CPUs (`0-3,^2,7`, `r` for all) as a map of bits.
pub(super) fn parse_cpus(list: &str, host_cpus: usize) -> Result<Vec<u8>, Failure> {
    let mut map = vec![0u8; CPU_MAX / 8];
    let mut set = |cpu: usize, on: bool| match on {
        true => map[cpu / 8] |= 1 << (cpu % 8),
        false => map[cpu / 8] &= !(1 << (cpu % 8)),
    };
    if list.starts_with('r') {
        (0..host_cpus.min(CPU_MAX)).for_each(|cpu| set(cpu, true));
    } else {
        for part in list.split(',') {
            let (part, on) = match part.trim().strip_prefix('^') {
                Some(rest) => (rest, false),
                None => (part.trim(), true),
            };
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let bounds = first.parse::<usize>().ok().zip(last.parse::<usize>().ok());
            let bounds = bounds.filter(|(first, last)| first <= last && *last < CPU_MAX);
            let (first, last) = bounds.ok_or_else(|| invalid(list))?;
            (first..=last).for_each(|cpu| set(cpu, on));
        }
    }
    let Some(last) = (0..CPU_MAX).rev().find(|cpu| in_bitmap(&map, *cpu)) else {
        return Err(invalid(list));
    };
    if last >= host_cpus {
        return Err(Failure::said(format!(
            "CPU {last} in cpulist '{list}' exceed the maxcpu {host_cpus}"
        )));
    }
    map.truncate(last / 8 + 1);
    Ok(map)
}

fn invalid(list: &str) -> Failure {
    let what = format!("invalid argument: Failed to parse bitmap '{list}'");
    Failure::said(what).context(format!("Invalid cpulist '{list}'"))
}

pub(super) fn host_cpus(s: &mut Session) -> Result<usize, Failure> {
    let call = remote::NodeGetCpuMapArgs {
        need_map: 0,
        need_online: 0,
        flags: 0,
    };
    match s.call(&call) {
        Ok(got) => Ok(usize::try_from(got.ret).unwrap_or(0)),
        Err(e) if e.is_unsupported() => {
            let info = s.call(&remote::NodeGetInfoArgs {})?;
            Ok(usize::try_from(info.cpus).unwrap_or(0))
        }
        Err(e) => Err(e.into()),
    }
}

fn setvcpus(s: &mut Session, args: &Args) -> Outcome {
    let mut flags = affect(args)?;
    args.exclusive("guest", "config")?;
    args.requires("maximum", "config")?;
    for (name, bit) in [
        ("guest", VCPU_GUEST),
        ("maximum", VCPU_MAXIMUM),
        ("hotpluggable", VCPU_HOTPLUGGABLE),
    ] {
        flags |= if args.has(name) { bit } else { 0 };
    }
    let dom = target(s, args)?.dom;
    let nvcpus = args.need_number::<u32>("count")?;
    if nvcpus == 0 {
        return Err(Failure::said("Can't set 0 processors for a VM"));
    }
    match flags == 0 && !args.has("current") {
        true => s.call(&remote::DomainSetVcpusArgs { dom, nvcpus })?,
        false => s.call(&remote::DomainSetVcpusFlagsArgs { dom, nvcpus, flags })?,
    }
    Ok(())
}

fn setvcpu(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    args.exclusive("enable", "disable")?;
    if !args.has("enable") && !args.has("disable") {
        let what = "one of --enable, --disable is required";
        return Err(Failure::said(what));
    }
    let cpumap = args.need("vcpulist")?.to_owned();
    let dom = target(s, args)?.dom;
    let state = i32::from(args.has("enable"));
    Ok(s.call(&remote::DomainSetVcpuArgs {
        dom,
        cpumap,
        state,
        flags,
    })?)
}

/// The count, or nothing where the question makes no sense for the domain's state.
fn count(s: &mut Session, dom: &RemoteDomain, flags: u32) -> Result<Option<i32>, Failure> {
    if flags & AFFECT_LIVE != 0 && !s.domain_active(dom)? {
        return Ok(None);
    }
    if flags & AFFECT_CONFIG != 0 {
        let got = s.call(&remote::DomainIsPersistentArgs { dom: dom.clone() })?;
        if got.persistent == 0 {
            return Ok(None);
        }
    }
    let got = s.call(&remote::DomainGetVcpusFlagsArgs {
        dom: dom.clone(),
        flags,
    })?;
    Ok(Some(got.num))
}

fn vcpucount(s: &mut Session, args: &Args) -> Outcome {
    let (maximum, active) = (args.has("maximum"), args.has("active"));
    let (live, config, guest) = (args.has("live"), args.has("config"), args.has("guest"));
    args.exclusive("live", "config")?;
    // On its own, --current once meant --active.
    if maximum || active {
        args.exclusive("current", "live")?;
        args.exclusive("current", "config")?;
    }
    args.exclusive("active", "maximum")?;
    args.exclusive("guest", "config")?;
    let dom = target(s, args)?.dom;
    if !(maximum || active || live || config || guest || args.has("current")) {
        return all_counts(s, &dom);
    }
    let bits = [
        (live, AFFECT_LIVE),
        (config, AFFECT_CONFIG),
        (maximum, VCPU_MAXIMUM),
        (guest, VCPU_GUEST),
    ];
    let flags = bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
    let got = s.call(&remote::DomainGetVcpusFlagsArgs { dom, flags });
    let got = match got {
        Err(e) if guest && (e.is_unsupported() || e.is(ErrorCode::InvalidArg)) => {
            let what = "Failed to retrieve vCPU count from the guest";
            return Err(Failure::from(e).context(what));
        }
        got => got?,
    };
    fact!(s, "vcpus", got.num, "{}", got.num);
    Ok(())
}

fn all_counts(s: &mut Session, dom: &RemoteDomain) -> Outcome {
    let questions = [
        ("maximum", "config", AFFECT_CONFIG | VCPU_MAXIMUM),
        ("maximum", "live", AFFECT_LIVE | VCPU_MAXIMUM),
        ("current", "config", AFFECT_CONFIG),
        ("current", "live", AFFECT_LIVE),
    ];
    let mut lines = Vec::new();
    for (which, state, flags) in questions {
        if let Some(n @ 1..) = count(s, dom, flags)? {
            lines.push((which, state, n));
        }
    }
    for (which, state, n) in lines {
        let label = format!("{which} {state}");
        fact!(s, &label, n, "{which:<12} {state:<12} {n:>3}");
    }
    Ok(())
}

fn affinity(map: &[u8], host_cpus: usize, pretty: bool) -> String {
    match pretty {
        true => format!("{} (out of {host_cpus})", bitmap_ranges(map)),
        false => {
            let mark = |cpu| if in_bitmap(map, cpu) { 'y' } else { '-' };
            (0..host_cpus).map(mark).collect()
        }
    }
}

fn vcpuinfo(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let host = host_cpus(s)?;
    let length = host.div_ceil(8);
    let pretty = args.has("pretty");
    let info = s.call(&remote::DomainGetInfoArgs { dom: dom.clone() })?;
    let call = remote::DomainGetVcpusArgs {
        dom: dom.clone(),
        maxinfo: info.nr_virt_cpu.into(),
        maplen: i32::try_from(length).unwrap_or(0),
    };
    let got = match s.call(&call) {
        Ok(got) => got,
        Err(e) if i32::from(info.state) != states::SHUTOFF => return Err(e.into()),
        Err(_) => return inactive_vcpuinfo(s, dom, host, info.nr_virt_cpu.into(), pretty),
    };
    for (i, vcpu) in got.info.iter().enumerate() {
        if i > 0 && s.out.is_text() {
            sayln!(s);
        }
        let state = match vcpu.state {
            0 => "offline",
            1 => "running",
            2 => "blocked",
            _ => "no state",
        };
        s.out.next_record();
        let mut told = |label: &str, value: Value, text: String| {
            fact!(s, label, value, "{label:<15} {text}");
        };
        told("VCPU:", vcpu.number.into(), vcpu.number.to_string());
        told("CPU:", vcpu.cpu.into(), vcpu.cpu.to_string());
        told("State:", state.into(), state.to_owned());
        if vcpu.cpu_time != 0 {
            let seconds = vcpu.cpu_time as f64 / 1e9;
            told("CPU time:", seconds.into(), format!("{seconds:.1}s"));
        }
        let map = got
            .cpumaps
            .get(i * length..(i + 1) * length)
            .unwrap_or_default();
        told(
            "CPU Affinity:",
            bitmap_ranges(map).into(),
            affinity(map, host, pretty),
        );
    }
    Ok(())
}

fn inactive_vcpuinfo(
    s: &mut Session,
    dom: RemoteDomain,
    host: usize,
    vcpus: usize,
    pretty: bool,
) -> Outcome {
    let length = host.div_ceil(8);
    let maps = pin_info(s, dom, vcpus, length, AFFECT_CONFIG)?;
    for (i, map) in maps.iter().take(vcpus).enumerate() {
        if i > 0 && s.out.is_text() {
            sayln!(s);
        }
        s.out.next_record();
        fact!(s, "VCPU:", i, "{:<15} {i}", "VCPU:");
        for label in ["CPU:", "State:", "CPU time"] {
            fact!(s, label, Value::Null, "{label:<15} N/A");
        }
        let label = "CPU Affinity:";
        let shown = affinity(map, host, pretty);
        fact!(s, label, bitmap_ranges(map), "{label:<15} {shown}");
    }
    Ok(())
}

fn pin_info(
    s: &mut Session,
    dom: RemoteDomain,
    vcpus: usize,
    length: usize,
    flags: u32,
) -> Result<Vec<Vec<u8>>, Failure> {
    let call = remote::DomainGetVcpuPinInfoArgs {
        dom,
        ncpumaps: i32::try_from(vcpus).unwrap_or(0),
        maplen: i32::try_from(length).unwrap_or(0),
        flags,
    };
    let got = s.call(&call)?;
    let known = usize::try_from(got.num).unwrap_or(0);
    Ok(got
        .cpumaps
        .chunks(length.max(1))
        .take(known)
        .map(<[u8]>::to_vec)
        .collect())
}

fn vcpupin(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let list = args.text("cpulist")?;
    if list.is_none() {
        args.exclusive("live", "config")?;
    }
    let vcpu = args.number::<u32>("vcpu")?;
    if list.is_some() && vcpu.is_none() {
        return Err(Failure::said("vcpupin: Missing vCPU number in pin mode."));
    }
    let host = host_cpus(s)?;
    let dom = target(s, args)?.dom;
    let Some((list, vcpu)) = list.zip(vcpu) else {
        return show_pins(s, &dom, vcpu, host, flags);
    };
    let cpumap = parse_cpus(list, host)?;
    match flags == 0 && !args.has("current") {
        true => s.call(&remote::DomainPinVcpuArgs { dom, vcpu, cpumap })?,
        false => s.call(&remote::DomainPinVcpuFlagsArgs {
            dom,
            vcpu,
            cpumap,
            flags,
        })?,
    }
    Ok(())
}

fn show_pins(
    s: &mut Session,
    dom: &RemoteDomain,
    only: Option<u32>,
    host: usize,
    flags: u32,
) -> Outcome {
    let live = flags & AFFECT_LIVE != 0;
    let Some(vcpus) = count(s, dom, flags | VCPU_MAXIMUM)? else {
        let state = if live { "offline" } else { "transient" };
        return Err(Failure::said(format!(
            "cannot get vcpupin for {state} domain"
        )));
    };
    let vcpus = usize::try_from(vcpus).unwrap_or(0);
    if let Some(vcpu) = only.filter(|v| *v as usize >= vcpus) {
        let running = live || (flags & AFFECT_CONFIG == 0 && s.domain_active(dom)?);
        let which = if running { "live" } else { "persistent" };
        let what = format!("vcpu {vcpu} is out of range of {which} cpu count {vcpus}");
        return Err(Failure::said(what));
    }
    let maps = pin_info(s, dom.clone(), vcpus, host.div_ceil(8), flags)?;
    let wanted = |i: usize| only.is_none_or(|v| v as usize == i);
    let row = |(i, map): (usize, &Vec<u8>)| vec![i.to_string(), bitmap_ranges(map)];
    let rows: Vec<_> = maps
        .iter()
        .enumerate()
        .filter(|(i, _)| wanted(*i))
        .map(row)
        .collect();
    s.out.table(&["VCPU", "CPU Affinity"], &rows);
    Ok(())
}

fn emulatorpin(s: &mut Session, args: &Args) -> Outcome {
    let mut flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let list = args.text("cpulist")?;
    let host = host_cpus(s)?;
    let Some(list) = list else {
        let maplen = i32::try_from(host.div_ceil(8)).unwrap_or(0);
        let got = s.call(&remote::DomainGetEmulatorPinInfoArgs { dom, maplen, flags })?;
        let cpus = bitmap_ranges(&got.cpumaps);
        if s.out.is_text() {
            extra!(
                s,
                "emulator: CPU Affinity\n----------------------------------\n       *: "
            );
        }
        fact!(s, "CPU Affinity", cpus.as_str(), "{cpus}");
        return Ok(());
    };
    let cpumap = parse_cpus(list, host)?;
    if flags == 0 && !args.has("current") {
        flags = AFFECT_LIVE;
    }
    Ok(s.call(&remote::DomainPinEmulatorArgs { dom, cpumap, flags })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        let ranges = |list: &str| parse_cpus(list, 16).map(|map| bitmap_ranges(&map));
        assert_eq!(ranges("0-3,^2,7").unwrap(), "0-1,3,7");
        assert_eq!(ranges("r").unwrap(), "0-15");
        for wrong in ["", "x", "3-1", "^0", "1-", "9999"] {
            let lines = ranges(wrong).unwrap_err().lines;
            assert_eq!(lines[0], format!("Invalid cpulist '{wrong}'"));
        }
        let beyond = ranges("16").unwrap_err().lines;
        assert_eq!(beyond, ["CPU 16 in cpulist '16' exceed the maxcpu 16"]);
    }
}
