//! CPU models: names, comparison, the largest common model.

use client::wire::remote;

use crate::args::Args;
use crate::domain::{flags, read_file};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, fact};
use crate::query;
use crate::session::Session;
use crate::table::{Completes, Opt, Verb, arg, file, flag, text};
use crate::verbs::host::{ARCH, MACHINE, VIRTTYPE, guest_capabilities};

const EMULATOR: Opt = text("emulator", "the emulator's path").bare();
const CPUS: Opt = file("a file with <cpu> elements");
const ERROR: Opt = flag("error", "fail with an error if they do not fit");
const VALIDATE: Opt = flag("validate", "check the XML against the schema");
const FEATURES: Opt = flag("features", "show features that are part of the model too");
const MIGRATABLE: Opt = flag("migratable", "leave out features that block migration");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "cpu-baseline",
        "the CPU model several hosts have in common",
        baseline,
    )
    .options(&[CPUS, FEATURES, MIGRATABLE]),
    Verb::new("cpu-compare", "compare a CPU with the host's", compare)
        .options(&[CPUS, ERROR, VALIDATE])
        .tabular(),
    Verb::new("cpu-models", "CPU models known for an architecture", models)
        .options(&[arg("arch", "the architecture")])
        .tabular(),
    Verb::new(
        "hypervisor-cpu-baseline",
        "the CPU model the hypervisor can give on several hosts",
        hypervisor_baseline,
    )
    .options(&[
        text("file", "a file with <cpu> elements")
            .bare()
            .completes(Completes::File),
        VIRTTYPE,
        EMULATOR,
        ARCH,
        MACHINE,
        FEATURES,
        MIGRATABLE,
        text("model", "a CPU model instead of a file").bare(),
    ]),
    Verb::new(
        "hypervisor-cpu-compare",
        "compare a CPU with what the hypervisor can give",
        hypervisor_compare,
    )
    .options(&[CPUS, VIRTTYPE, EMULATOR, ARCH, MACHINE, ERROR, VALIDATE])
    .tabular(),
    Verb::new(
        "hypervisor-cpu-models",
        "CPU models the hypervisor can give",
        hypervisor_models,
    )
    .options(&[
        text("virttype", "kvm or qemu"),
        text("emulator", "the emulator's path"),
        text("arch", "the guest's architecture"),
        text("machine", "the machine type"),
        flag("all", "with those that do not work on this host"),
    ])
    .tabular(),
];

/// The CPUs in a file: bare, or in domains' or hosts' definitions.
fn cpus(args: &Args) -> Result<Vec<String>, Failure> {
    let path = args.need("file")?;
    let text = read_file(path)?;
    let body = match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or("", |(_, body)| body),
        None => &text,
    };
    let wrapped = format!("<container>{body}</container>");
    let document = query::parse(&wrapped)?;
    let root = document.root_element();
    let mut found = Vec::new();
    for at in ["cpu", "domain/cpu", "capabilities/host/cpu"] {
        for cpu in query::all(root, at) {
            found.push(crate::serialise::node(cpu, 0));
        }
    }
    for mode in query::all(root, "domainCapabilities/cpu/mode") {
        let is = |name, value| mode.attribute(name) == Some(value);
        if is("name", "host-model") && is("supported", "yes") {
            let text = crate::serialise::node(mode, 0);
            let inner = text.split_once('>').map_or("", |(_, rest)| rest);
            let inner = inner.strip_suffix("</mode>").unwrap_or(inner);
            found.push(format!("<cpu>{inner}</cpu>"));
        }
    }
    if found.is_empty() {
        return Err(Failure::said(format!(
            "File '{path}' does not contain any <cpu> element or valid domain XML, host \
             capabilities XML, or domain capabilities XML"
        )));
    }
    Ok(found)
}

/// Warns of CPUs described as a host sees itself: features without a policy.
fn warn_of_host_cpus(s: &mut Session, cpus: &[String]) -> Outcome {
    for cpu in cpus {
        let document = query::parse(cpu)?;
        let features = query::all(document.root_element(), "feature");
        if features.iter().any(|f| !f.has_attribute("policy")) {
            s.out
                .error("using host CPU definition as input may provide incorrect results");
        }
    }
    Ok(())
}

fn models(s: &mut Session, args: &Args) -> Outcome {
    let arch = args.need("arch")?.to_owned();
    let call = remote::ConnectGetCpuModelNamesArgs {
        arch,
        need_results: 1,
        flags: 0,
    };
    let got = s
        .call(&call)
        .or_fail(|| "failed to get CPU model names".into())?;
    if got.models.is_empty() {
        extra!(s, "all CPU models are accepted\n");
    }
    s.out.names("name", got.models);
    Ok(())
}

fn baseline(s: &mut Session, args: &Args) -> Outcome {
    let flags = flags(args, &[("features", 1), ("migratable", 2)]);
    let got = s.call(&remote::ConnectBaselineCpuArgs {
        xml_cpus: cpus(args)?,
        flags,
    })?;
    s.out.text(got.cpu);
    Ok(())
}

fn owned(args: &Args, name: &str) -> Result<Option<String>, Failure> {
    Ok(args.text(name)?.map(str::to_owned))
}

fn hypervisor_baseline(s: &mut Session, args: &Args) -> Outcome {
    let xml_cpus = match (args.text("file")?, args.text("model")?) {
        (Some(_), _) => cpus(args)?,
        (None, Some(model)) => vec![format!("<cpu><model>{model}</model></cpu>")],
        (None, None) => {
            return Err(Failure::said("Either --file or --model must be provided"));
        }
    };
    if args.has("file") {
        warn_of_host_cpus(s, &xml_cpus)?;
    }
    let call = remote::ConnectBaselineHypervisorCpuArgs {
        emulator: owned(args, "emulator")?,
        arch: owned(args, "arch")?,
        machine: owned(args, "machine")?,
        virttype: owned(args, "virttype")?,
        xml_cpus,
        flags: flags(args, &[("features", 1), ("migratable", 2)]),
    };
    let got = s.call(&call)?;
    s.out.text(got.cpu);
    Ok(())
}

const INCOMPATIBLE: i32 = 0;
const IDENTICAL: i32 = 1;
const SUPERSET: i32 = 2;
/// What a comparison is called for programs.
const RESULT: &str = "result";

fn compare(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?.to_owned();
    let flags = flags(args, &[("error", 1), ("validate", 2)]);
    let xml = cpus(args)?.swap_remove(0);
    let got = s.call(&remote::ConnectCompareCpuArgs { xml, flags });
    let got = got.or_fail(|| format!("Failed to compare host CPU with {from}"))?;
    match got.result {
        INCOMPATIBLE => {
            fact!(
                s,
                RESULT,
                "incompatible",
                "CPU described in {from} is incompatible with host CPU"
            );
            return Err(Failure::silent());
        }
        IDENTICAL => fact!(
            s,
            RESULT,
            "identical",
            "CPU described in {from} is identical to host CPU"
        ),
        SUPERSET => fact!(
            s,
            RESULT,
            "superset",
            "Host CPU is a superset of CPU described in {from}"
        ),
        _ => {
            return Err(Failure::said(format!(
                "Failed to compare host CPU with {from}"
            )));
        }
    }
    Ok(())
}

fn hypervisor_compare(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?.to_owned();
    let mut cpus = cpus(args)?;
    warn_of_host_cpus(s, &cpus)?;
    let call = remote::ConnectCompareHypervisorCpuArgs {
        emulator: owned(args, "emulator")?,
        arch: owned(args, "arch")?,
        machine: owned(args, "machine")?,
        virttype: owned(args, "virttype")?,
        xml_cpu: cpus.swap_remove(0),
        flags: flags(args, &[("error", 1), ("validate", 2)]),
    };
    let failed = || format!("Failed to compare hypervisor CPU with {from}");
    let given = "the CPU provided by hypervisor on the host";
    match s.call(&call).or_fail(failed)?.result {
        INCOMPATIBLE => {
            fact!(
                s,
                RESULT,
                "incompatible",
                "CPU described in {from} is incompatible with {given}"
            );
            return Err(Failure::silent());
        }
        IDENTICAL => fact!(
            s,
            RESULT,
            "identical",
            "CPU described in {from} is identical to {given}"
        ),
        SUPERSET => fact!(
            s,
            RESULT,
            "superset",
            "The CPU provided by hypervisor on the host is a superset of CPU described in {from}"
        ),
        _ => return Err(Failure::said(failed())),
    }
    Ok(())
}

fn hypervisor_models(s: &mut Session, args: &Args) -> Outcome {
    let got = guest_capabilities(s, args, "emulator", 0)?;
    let xml = got.or_fail(|| "failed to get hypervisor CPU model names".into())?;
    let path = match args.has("all") {
        true => "//cpu//model[@usable]/text()",
        false => "//cpu//model[@usable='yes']/text()",
    };
    let names = crate::xpath::select(&xml, path, false)?;
    s.out.names("name", names.lines());
    Ok(())
}
