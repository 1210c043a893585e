//! A domain's disks: list, sizes, statistics, errors.

use client::wire::errors::ErrorCode;
use client::wire::remote::{self, DomainGetBlockInfoRet};
use roxmltree::Node;

use crate::args::Args;
use crate::domain::target;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{fact, sayln};
use crate::params;
use crate::query;
use crate::session::Session;
use crate::table::{DOMAIN, Verb, arg, arg_number, flag, maybe};
use crate::verbs::define::XML_INACTIVE;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("domblkerror", "errors of a domain's disks", domblkerror)
        .options(&[DOMAIN])
        .tabular(),
    Verb::new("domblkinfo", "sizes of a domain's disks", domblkinfo)
        .options(&[
            DOMAIN,
            maybe("device", "the disk: its target or source").of_things(crate::table::Thing::Disk),
            flag("human", "sizes with units"),
            flag("all", "all disks, as a table"),
        ])
        .tabular(),
    Verb::new(
        "domblkthreshold",
        "have an event sent when a disk is written beyond a size",
        domblkthreshold,
    )
    .options(&[
        DOMAIN,
        arg("dev", "the disk: vda, or vda[3] for an image of its chain"),
        arg_number("threshold", "the size, in bytes unless it has a unit"),
    ]),
    Verb::new("domblklist", "a domain's disks", domblklist)
        .options(&[
            DOMAIN,
            flag("inactive", "those of the definition"),
            flag("details", "with type and device"),
        ])
        .tabular(),
    Verb::new("domblkstat", "statistics of a domain's disk", domblkstat)
        .about("Without a device: the sum over all disks.")
        .options(&[
            DOMAIN,
            maybe("device", "the disk: its target or source")
                .of_things(crate::table::Thing::Disk)
                .may_be_empty(),
            flag("human", "with words for the counters"),
        ])
        .tabular(),
];

fn domblkthreshold(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let dev = args.need("dev")?.to_owned();
    let threshold = args.scaled("threshold", 1, u64::MAX)?.unwrap_or(0);
    let call = remote::DomainSetBlockThresholdArgs {
        dom,
        dev,
        threshold,
        flags: 0,
    };
    Ok(s.call(&call)?)
}

const SOURCES: &[&str] = &[
    "source/@file",
    "source/@dev",
    "source/@dir",
    "source/@name",
    "source/@volume",
    "source/@path",
];

fn source(disk: Node<'_, '_>) -> String {
    if disk.attribute("type") == Some("nvme") {
        return nvme_source(disk).unwrap_or_else(|| "-".to_owned());
    }
    query::value(disk, SOURCES).unwrap_or_else(|| "-".to_owned())
}

fn nvme_source(disk: Node<'_, '_>) -> Option<String> {
    let namespace = query::value(disk, &["source/@namespace"])?;
    let address = *query::all(disk, "source/address").first()?;
    let part = |name| {
        let text = address.attribute(name)?;
        u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    };
    let (domain, bus) = (part("domain")?, part("bus")?);
    let (slot, function) = (part("slot")?, part("function")?);
    Some(format!(
        "nvme://{domain:04x}:{bus:02x}:{slot:02x}.{function}/{namespace}"
    ))
}

fn domblklist(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let flags = if args.has("inactive") {
        XML_INACTIVE
    } else {
        0
    };
    let xml = s.domain_xml(&dom, flags)?;
    let document = query::parse(&xml)?;
    let mut rows = Vec::new();
    for disk in query::all(document.root_element(), "devices/disk") {
        let attribute = |name| disk.attribute(name).unwrap_or_default().to_owned();
        let target = query::value(disk, &["target/@dev"])
            .ok_or_else(|| Failure::said("unable to query block list"))?;
        let mut row = Vec::new();
        if args.has("details") {
            row.extend([attribute("type"), attribute("device")]);
        }
        row.extend([target, source(disk)]);
        rows.push(row);
    }
    match args.has("details") {
        true => s.out.table(&["Type", "Device", "Target", "Source"], &rows),
        false => s.out.table(&["Target", "Source"], &rows),
    }
    Ok(())
}

/// A size for people: in the largest unit that keeps it at least 1.
pub(crate) fn pretty(bytes: u64) -> (f64, &'static str) {
    const UNITS: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    (value, UNITS[unit])
}

/// Capacity, allocation, physical size.
fn sizes(info: &DomainGetBlockInfoRet, human: bool) -> [String; 3] {
    let all = [info.capacity, info.allocation, info.physical];
    if all == [0; 3] {
        return all.map(|_| "-".to_owned());
    }
    all.map(|bytes| match human {
        false => bytes.to_string(),
        true => {
            let (value, unit) = pretty(bytes);
            format!("{value:.3} {unit}")
        }
    })
}

fn domblkinfo(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("all", "device")?;
    let dom = target(s, args)?.dom;
    let human = args.has("human");
    if args.has("all") {
        return all_sizes(s, &dom, human);
    }
    let path = args.text("device")?.map(str::to_owned);
    let path =
        path.ok_or_else(|| Failure::said("command 'domblkinfo' requires <device> option"))?;
    let info = s.call(&remote::DomainGetBlockInfoArgs {
        dom,
        path,
        flags: 0,
    })?;
    let [capacity, allocation, physical] = sizes(&info, human);
    let pairs = [
        ("Capacity:", capacity),
        ("Allocation:", allocation),
        ("Physical:", physical),
    ];
    s.out.pairs(15, &pairs);
    Ok(())
}

fn all_sizes(s: &mut Session, dom: &remote::RemoteDomain, human: bool) -> Outcome {
    let active = s.domain_active(dom).unwrap_or(false);
    let xml = s.domain_xml(dom, 0)?;
    let document = query::parse(&xml)?;
    let mut rows = Vec::new();
    for disk in query::all(document.root_element(), "devices/disk") {
        let target = query::value(disk, &["target/@dev"]).unwrap_or_default();
        let mut info = DomainGetBlockInfoRet::default();
        if let Some(source) = query::children(disk, "source").next() {
            let args = remote::DomainGetBlockInfoArgs {
                dom: dom.clone(),
                path: target.clone(),
                flags: 0,
            };
            match s.call(&args) {
                Ok(got) => info = got,
                // A disk on the network has no size while nobody has it open.
                Err(e) if source.has_attribute("protocol") && !active => {
                    if !e.is(ErrorCode::InternalError) {
                        return Err(e.into());
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        rows.push([vec![target], sizes(&info, human).to_vec()].concat());
    }
    s.out
        .table(&["Target", "Capacity", "Allocation", "Physical"], &rows);
    Ok(())
}

/// Counters in the order shown: name, old name, words.
const COUNTERS: &[(&str, &str, &str)] = &[
    ("rd_operations", "rd_req", "number of read operations:"),
    ("rd_bytes", "rd_bytes", "number of bytes read:"),
    ("wr_operations", "wr_req", "number of write operations:"),
    ("wr_bytes", "wr_bytes", "number of bytes written:"),
    ("errs", "errs", "error count:"),
    (
        "flush_operations",
        "flush_operations",
        "number of flush operations:",
    ),
    (
        "rd_total_times",
        "rd_total_times",
        "total duration of reads (ns):",
    ),
    (
        "wr_total_times",
        "wr_total_times",
        "total duration of writes (ns):",
    ),
    (
        "flush_total_times",
        "flush_total_times",
        "total duration of flushes (ns):",
    ),
];

fn domblkstat(s: &mut Session, args: &Args) -> Outcome {
    const WORDS_WIDTH: usize = 31;
    let t = target(s, args)?;
    let device = args.text("device")?.unwrap_or_default().to_owned();
    let mut call = remote::DomainBlockStatsFlagsArgs {
        dom: t.dom,
        path: device.clone(),
        nparams: 0,
        flags: 0,
    };
    call.nparams = s.call(&call)?.nparams;
    let got = s.call(&call).or_fail(|| {
        format!(
            "Failed to get block stats for domain '{}' device '{device}'",
            t.given
        )
    })?;
    let human = args.has("human");
    if human && s.out.is_text() {
        sayln!(s, "Device: {device}");
    }
    let shown = if human { "" } else { device.as_str() };
    for (field, old, words) in COUNTERS {
        if let Some(value) = params::get(&got.params, field) {
            let (number, value) = (params::json(value), params::show(value));
            match human {
                true => fact!(s, old, number, "{shown} {words:<WORDS_WIDTH$} {value}"),
                false => fact!(s, old, number, "{shown} {old} {value}"),
            }
        }
    }
    let known = |field: &str| COUNTERS.iter().any(|c| c.0 == field);
    for param in got.params.iter().filter(|p| !known(&p.field)) {
        let (name, value) = (&param.field, params::show(&param.value));
        fact!(
            s,
            name,
            params::json(&param.value),
            "{shown} {name} {value}"
        );
    }
    Ok(())
}

fn domblkerror(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let mut call = remote::DomainGetDiskErrorsArgs {
        dom,
        maxerrors: 0,
        flags: 0,
    };
    call.maxerrors = u32::try_from(s.call(&call)?.nerrors).unwrap_or_default();
    let errors = match call.maxerrors {
        0 => Vec::new(),
        _ => s.call(&call)?.errors,
    };
    if s.out.is_text() && errors.is_empty() {
        sayln!(s, "No errors found");
    }
    s.out.many_records();
    for error in errors {
        let word = match error.error {
            0 => "no error",
            1 => "unspecified error",
            2 => "no space",
            _ => "unknown error",
        };
        s.out.next_record();
        if !s.out.is_text() {
            fact!(s, "disk", error.disk.as_str(), "");
        }
        fact!(s, "error", word, "{}: {word}", error.disk);
    }
    Ok(())
}
