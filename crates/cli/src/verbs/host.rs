//! The host and its hypervisor.

use client::wire::remote;

use crate::args::Args;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{fact, sayln};
use crate::params::{asked, json, show};
use crate::query;
use crate::session::Session;
use crate::table::{Opt, Verb, WRAP, XPATH, arg, arg_number, flag, number, text};
use crate::verbs::define::print_xml;
use crate::verbs::info::c_text;
use crate::verbs::vcpus::{bitmap_ranges, in_bitmap};

pub(super) const VIRTTYPE: Opt = text("virttype", "kvm or qemu")
    .bare()
    .words(&["kvm", "qemu"]);
pub(super) const ARCH: Opt = text("arch", "the guest's architecture").bare();
pub(super) const MACHINE: Opt = text("machine", "the machine type").bare();

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "capabilities",
        "what host and hypervisor can do",
        capabilities,
    )
    .about("Prints the capabilities as XML.")
    .options(&[XPATH, WRAP]),
    Verb::new(
        "domcapabilities",
        "what a guest can be given",
        domcapabilities,
    )
    .about("Prints as XML what the hypervisor offers for one kind of guest.")
    .options(&[
        VIRTTYPE,
        text("emulatorbin", "the emulator's path").bare(),
        ARCH,
        MACHINE,
        XPATH,
        WRAP,
        flag(
            "disable-deprecated-features",
            "leave deprecated CPU features out of models",
        ),
    ]),
    Verb::new("hostname", "the name of the daemon's host", hostname).tabular(),
    Verb::new("maxvcpus", "most vCPUs a guest may have", maxvcpus)
        .options(&[text("type", "the kind of domain").bare()])
        .tabular(),
    Verb::new("nodecpumap", "the host's CPUs", nodecpumap)
        .options(&[flag("pretty", "as ranges")])
        .tabular(),
    Verb::new("nodecpustats", "how busy the host's CPUs are", nodecpustats)
        .options(&[
            number("cpu", "only this CPU").bare(),
            flag("percent", "shares measured over a second"),
        ])
        .tabular(),
    Verb::new("nodeinfo", "the host's CPUs and memory", nodeinfo).tabular(),
    Verb::new(
        "nodesevinfo",
        "what the host has for encrypted guests",
        nodesevinfo,
    )
    .tabular(),
    Verb::new("nodememstats", "the host's memory use", nodememstats)
        .options(&[number("cell", "only of this NUMA cell").bare()])
        .tabular(),
    Verb::new("nodesuspend", "suspend the host for a while", nodesuspend).options(&[
        arg("target", "how: mem, disk or hybrid").words(&["mem", "disk", "hybrid"]),
        arg_number("duration", "seconds until it wakes up"),
    ]),
    Verb::new("sysinfo", "the host's SMBIOS tables", sysinfo),
    Verb::new("uri", "the daemon's URI", uri).tabular(),
    Verb::new("version", "versions of library and hypervisor", version)
        .options(&[flag("daemon", "with the daemon's version")])
        .tabular(),
];

fn hostname(s: &mut Session, _: &Args) -> Outcome {
    let got = s.call(&remote::ConnectGetHostnameArgs {});
    let got = got.or_fail(|| "failed to get hostname".into())?;
    fact!(s, "hostname", got.hostname.as_str(), "{}", got.hostname);
    Ok(())
}

fn uri(s: &mut Session, _: &Args) -> Outcome {
    let uri = s.conn()?.uri().to_owned();
    fact!(s, "uri", uri.as_str(), "{uri}");
    Ok(())
}

fn sysinfo(s: &mut Session, _: &Args) -> Outcome {
    let got = s.call(&remote::ConnectGetSysinfoArgs { flags: 0 });
    let got = got.or_fail(|| "failed to get sysinfo".into())?;
    s.out.text(got.sysinfo);
    Ok(())
}

/// The version of libvirt whose behaviour these commands follow.
const LIBRARY_VERSION: u64 = 11_003_000;

fn dotted(version: u64) -> String {
    format!(
        "{}.{}.{}",
        version / 1_000_000,
        version / 1000 % 1000,
        version % 1000
    )
}

fn version(s: &mut Session, args: &Args) -> Outcome {
    let kind = s.call(&remote::ConnectGetTypeArgs {});
    let kind = kind
        .or_fail(|| "failed to get hypervisor type".into())?
        .kind;
    let library = dotted(LIBRARY_VERSION);
    let libvirt = format!("libvirt {library}");
    for (label, text) in [
        ("Compiled against library", &libvirt),
        ("Using library", &libvirt),
        ("Using API", &format!("{kind} {library}")),
    ] {
        fact!(s, label, text.as_str(), "{label}: {text}");
    }
    match s.call(&remote::ConnectGetVersionArgs {}) {
        Err(e) if e.is_unsupported() => {}
        Err(e) => {
            return Err(Failure::from(e).context("failed to get the hypervisor version"));
        }
        Ok(got) if got.hv_ver == 0 => {
            sayln!(s, "Cannot extract running {kind} hypervisor version");
        }
        Ok(got) => {
            let (label, text) = (
                "Running hypervisor",
                format!("{kind} {}", dotted(got.hv_ver)),
            );
            fact!(s, label, text.as_str(), "{label}: {text}");
        }
    }
    if args.has("daemon") {
        match s.call(&remote::ConnectGetLibVersionArgs {}) {
            Ok(got) => {
                let (label, text) = ("Running against daemon", dotted(got.lib_ver));
                fact!(s, label, text.as_str(), "{label}: {text}");
            }
            Err(_) => s.out.error("failed to get the daemon version"),
        }
    }
    Ok(())
}

pub(super) fn capabilities_xml(s: &mut Session) -> Result<String, client::Error> {
    s.call(&remote::ConnectGetCapabilitiesArgs {})
        .map(|got| got.capabilities)
}

fn capabilities(s: &mut Session, args: &Args) -> Outcome {
    let xml = capabilities_xml(s).or_fail(|| "failed to get capabilities".into())?;
    print_xml(s, args, &xml)
}

fn owned(args: &Args, name: &str) -> Result<Option<String>, Failure> {
    Ok(args.text(name)?.map(str::to_owned))
}

/// The capabilities of the kind of guest the options name.
pub(super) fn guest_capabilities(
    s: &mut Session,
    args: &Args,
    emulator: &str,
    flags: u32,
) -> Result<Result<String, client::Error>, Failure> {
    let call = remote::ConnectGetDomainCapabilitiesArgs {
        emulatorbin: owned(args, emulator)?,
        arch: owned(args, "arch")?,
        machine: owned(args, "machine")?,
        virttype: owned(args, "virttype")?,
        flags,
    };
    Ok(s.call(&call).map(|got| got.capabilities))
}

fn domcapabilities(s: &mut Session, args: &Args) -> Outcome {
    let flags = u32::from(args.has("disable-deprecated-features"));
    let got = guest_capabilities(s, args, "emulatorbin", flags)?;
    let xml = got.or_fail(|| "failed to get emulator capabilities".into())?;
    print_xml(s, args, &xml)
}

fn maxvcpus(s: &mut Session, args: &Args) -> Outcome {
    let kind = owned(args, "type")?;
    let call = remote::ConnectGetDomainCapabilitiesArgs {
        virttype: kind.clone(),
        ..Default::default()
    };
    let told = match s.call(&call) {
        Ok(got) => {
            let document = query::parse(&got.capabilities)?;
            query::value(document.root_element(), &["vcpu/@max"])
        }
        Err(_) => None,
    };
    match told {
        Some(max) => fact!(s, "max vcpus", max.parse::<u64>().ok(), "{max}"),
        None => {
            let got = s.call(&remote::ConnectGetMaxVcpusArgs { kind })?;
            fact!(s, "max vcpus", got.max_vcpus, "{}", got.max_vcpus);
        }
    }
    Ok(())
}

fn nodeinfo(s: &mut Session, _: &Args) -> Outcome {
    let got = s.call(&remote::NodeGetInfoArgs {});
    let info = got.or_fail(|| "failed to get node information".into())?;
    let mut pairs = vec![
        ("CPU model:", c_text(&info.model)),
        ("CPU(s):", info.cpus.to_string()),
    ];
    if info.mhz != 0 {
        pairs.push(("CPU frequency:", format!("{} MHz", info.mhz)));
    }
    pairs.extend([
        ("CPU socket(s):", info.sockets.to_string()),
        ("Core(s) per socket:", info.cores.to_string()),
        ("Thread(s) per core:", info.threads.to_string()),
        ("NUMA cell(s):", info.nodes.to_string()),
        ("Memory size:", format!("{} KiB", info.memory)),
    ]);
    s.out.pairs(20, &pairs);
    Ok(())
}

fn nodecpumap(s: &mut Session, args: &Args) -> Outcome {
    let call = remote::NodeGetCpuMapArgs {
        need_map: 1,
        need_online: 1,
        flags: 0,
    };
    let got = s.call(&call).or_fail(|| "Unable to get cpu map".into())?;
    let present = usize::try_from(got.ret).unwrap_or(0);
    let map = match args.has("pretty") {
        true => bitmap_ranges(&got.cpumap),
        false => (0..present)
            .map(|cpu| {
                if in_bitmap(&got.cpumap, cpu) {
                    'y'
                } else {
                    '-'
                }
            })
            .collect(),
    };
    let online = got.online;
    fact!(
        s,
        "CPUs present:",
        present,
        "{:<15} {present}",
        "CPUs present:"
    );
    fact!(s, "CPUs online:", online, "{:<15} {online}", "CPUs online:");
    fact!(
        s,
        "CPU map:",
        bitmap_ranges(&got.cpumap),
        "{:<15} {map}",
        "CPU map:"
    );
    Ok(())
}

/// Names of the counters, and how they are shown.
const CPU_TIMES: &[(&str, &str)] = &[
    ("user", "user:"),
    ("kernel", "system:"),
    ("idle", "idle:"),
    ("iowait", "iowait:"),
    ("intr", "intr:"),
];
/// Over how long shares are measured.
const CPU_SHARES_OVER: std::time::Duration = std::time::Duration::from_secs(1);

fn cpu_times(s: &mut Session, cpu_num: i32) -> Result<Vec<remote::NodeCpuStat>, Failure> {
    let mut call = remote::NodeGetCpuStatsArgs {
        cpu_num,
        nparams: 0,
        flags: 0,
    };
    Ok(asked!(
        s,
        call,
        "Unable to get number of cpu stats",
        "Unable to get node cpu stats"
    ))
}

fn nodecpustats(s: &mut Session, args: &Args) -> Outcome {
    const ALL: i32 = -1;
    let cpu = args.number("cpu")?.unwrap_or(ALL);
    let before = cpu_times(s, cpu)?;
    let value = |stats: &[remote::NodeCpuStat], name: &str| {
        stats.iter().find(|p| p.field == name).map(|p| p.value)
    };
    if !args.has("percent") {
        for (name, label) in CPU_TIMES {
            if let Some(time) = value(&before, name) {
                fact!(s, label, time, "{label:<15} {time:>20}");
            }
        }
        return Ok(());
    }
    if let Some(usage) = value(&before, "utilization") {
        for (label, share) in [("usage:", usage), ("idle:", 100u64.saturating_sub(usage))] {
            fact!(s, label, share, "{label:<15} {share:>5}%");
        }
        return Ok(());
    }
    std::thread::park_timeout(CPU_SHARES_OVER);
    let after = cpu_times(s, cpu)?;
    let spent = |name: &str| {
        let (from, to) = (value(&before, name)?, value(&after, name)?);
        Some(to.saturating_sub(from) as f64)
    };
    let total: f64 = CPU_TIMES.iter().filter_map(|(name, _)| spent(name)).sum();
    let share = |time: f64| time / total * 100.0;
    let busy = spent("user").unwrap_or(0.0) + spent("kernel").unwrap_or(0.0);
    let (label, busy) = ("usage:", share(busy));
    fact!(s, label, busy, "{label:<15} {busy:>5.1}%");
    for (name, label) in CPU_TIMES {
        if let Some(time) = spent(name) {
            fact!(s, label, share(time), "{label:<15} {:>5.1}%", share(time));
        }
    }
    Ok(())
}

fn nodesevinfo(s: &mut Session, _: &Args) -> Outcome {
    let mut call = remote::NodeGetSevInfoArgs {
        nparams: 0,
        flags: 0,
    };
    let failed = || "Unable to get host SEV information".into();
    call.nparams = s.call(&call).or_fail(failed)?.nparams;
    for told in s.call(&call).or_fail(failed)?.params {
        let (name, shown) = (&told.field, show(&told.value));
        fact!(s, name, json(&told.value), "{name:<18} {shown}");
    }
    Ok(())
}

fn nodememstats(s: &mut Session, args: &Args) -> Outcome {
    const ALL: i32 = -1;
    let cell_num = args.number("cell")?.unwrap_or(ALL);
    let mut call = remote::NodeGetMemoryStatsArgs {
        nparams: 0,
        cell_num,
        flags: 0,
    };
    let params = asked!(
        s,
        call,
        "Unable to get number of memory stats",
        "Unable to get memory stats"
    );
    for p in params {
        fact!(s, &p.field, p.value, "{:<7}: {:>20} KiB", p.field, p.value);
    }
    Ok(())
}

fn nodesuspend(s: &mut Session, args: &Args) -> Outcome {
    let target = match args.need("target")? {
        "mem" => 0,
        "disk" => 1,
        "hybrid" => 2,
        _ => return Err(Failure::said("Invalid target")),
    };
    let duration = args.need_number::<i64>("duration")?;
    let duration = u64::try_from(duration).map_err(|_| Failure::said("Invalid duration"))?;
    s.call(&remote::NodeSuspendForDurationArgs {
        target,
        duration,
        flags: 0,
    })
    .or_fail(|| "The host was not suspended".into())
}
