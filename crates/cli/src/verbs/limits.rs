//! Limits on disks, block devices, memory nodes and network interfaces.

use client::wire::remote::{self, RemoteDomain, TypedParam};
use client::wire::xdr::TypedParamValue;

use crate::args::Args;
use crate::domain::{affect, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, fact};
use crate::params::{asked, json, param, show};
use crate::query;
use crate::session::Session;
use crate::table::{CONFIG, CURRENT, DOMAIN, LIVE, Opt, Verb, arg, flag, number, text};
use crate::verbs::define::XML_INACTIVE;

/// How a limit of a disk is read.
#[derive(Clone, Copy)]
enum Unit {
    /// A size with a unit.
    Bytes,
    /// A count.
    Count,
}

/// The limits of a disk: option, parameter, unit.
const DISK_LIMITS: &[(&str, &str, Unit)] = &[
    ("total-bytes-sec", "total_bytes_sec", Unit::Bytes),
    ("read-bytes-sec", "read_bytes_sec", Unit::Bytes),
    ("write-bytes-sec", "write_bytes_sec", Unit::Bytes),
    ("total-iops-sec", "total_iops_sec", Unit::Count),
    ("read-iops-sec", "read_iops_sec", Unit::Count),
    ("write-iops-sec", "write_iops_sec", Unit::Count),
    ("total-bytes-sec-max", "total_bytes_sec_max", Unit::Bytes),
    ("read-bytes-sec-max", "read_bytes_sec_max", Unit::Bytes),
    ("write-bytes-sec-max", "write_bytes_sec_max", Unit::Bytes),
    ("total-iops-sec-max", "total_iops_sec_max", Unit::Count),
    ("read-iops-sec-max", "read_iops_sec_max", Unit::Count),
    ("write-iops-sec-max", "write_iops_sec_max", Unit::Count),
    ("size-iops-sec", "size_iops_sec", Unit::Bytes),
    (
        "total-bytes-sec-max-length",
        "total_bytes_sec_max_length",
        Unit::Count,
    ),
    (
        "read-bytes-sec-max-length",
        "read_bytes_sec_max_length",
        Unit::Count,
    ),
    (
        "write-bytes-sec-max-length",
        "write_bytes_sec_max_length",
        Unit::Count,
    ),
    (
        "total-iops-sec-max-length",
        "total_iops_sec_max_length",
        Unit::Count,
    ),
    (
        "read-iops-sec-max-length",
        "read_iops_sec_max_length",
        Unit::Count,
    ),
    (
        "write-iops-sec-max-length",
        "write_iops_sec_max_length",
        Unit::Count,
    ),
];

/// An option that virsh once knew with underscores.
const fn limit(name: &'static str, help: &'static str) -> Opt {
    number(name, help).bare()
}

/// Options, and behind them those of the limits that disks can have.
macro_rules! disk_limits {
    ($($first:expr),* $(,)?) => {
        &[
            $($first,)*
            limit("total-bytes-sec", "bytes read and written per second"),
            limit("read-bytes-sec", "bytes read per second"),
            limit("write-bytes-sec", "bytes written per second"),
            limit("total-iops-sec", "requests per second"),
            limit("read-iops-sec", "requests to read per second"),
            limit("write-iops-sec", "requests to write per second"),
            limit("total-bytes-sec-max", "the same in a burst"),
            limit("read-bytes-sec-max", "bytes read in a burst"),
            limit("write-bytes-sec-max", "bytes written in a burst"),
            limit("total-iops-sec-max", "requests in a burst"),
            limit("read-iops-sec-max", "requests to read in a burst"),
            limit("write-iops-sec-max", "requests to write in a burst"),
            limit("size-iops-sec", "bytes that count as one request"),
            limit(
                "total-bytes-sec-max-length",
                "seconds a burst of bytes may last",
            ),
            limit(
                "read-bytes-sec-max-length",
                "seconds of a burst of bytes read",
            ),
            limit(
                "write-bytes-sec-max-length",
                "seconds of a burst of bytes written",
            ),
            limit(
                "total-iops-sec-max-length",
                "seconds a burst of requests may last",
            ),
            limit(
                "read-iops-sec-max-length",
                "seconds of a burst of requests to read",
            ),
            limit(
                "write-iops-sec-max-length",
                "seconds of a burst of requests to write",
            ),
            CONFIG,
            LIVE,
            CURRENT,
        ]
    };
}

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("blkdeviotune", "read or set a disk's limits", blkdeviotune)
        .options(disk_limits![
            DOMAIN,
            arg("device", "the disk: its target or source").of_things(crate::table::Thing::Disk),
            text("group-name", "the group of disks that share the limits").bare(),
        ])
        .tabular(),
    Verb::new(
        "domthrottlegroupset",
        "make or change limits that disks share",
        set_throttle_group,
    )
    .options(disk_limits![DOMAIN, arg("group-name", "the group's name")]),
    Verb::new(
        "domthrottlegroupdel",
        "take limits away that disks could share",
        del_throttle_group,
    )
    .options(&[
        DOMAIN,
        arg("group-name", "the group's name"),
        CONFIG,
        LIVE,
        CURRENT,
    ]),
    Verb::new(
        "domthrottlegroupinfo",
        "the limits of a group",
        throttle_group_info,
    )
    .options(&[
        DOMAIN,
        arg("group-name", "the group's name"),
        flag("inactive", "of the stored definition"),
    ])
    .tabular(),
    Verb::new(
        "domthrottlegrouplist",
        "groups of limits that disks share",
        throttle_group_list,
    )
    .options(&[DOMAIN, flag("inactive", "of the stored definition")])
    .tabular(),
    Verb::new(
        "blkiotune",
        "read or set limits on the host's block devices",
        blkiotune,
    )
    .options(&[
        DOMAIN,
        number("weight", "the weight against other machines").bare(),
        text("device-weights", "weights at devices: /dev/sda,300,…").bare(),
        text(
            "device-read-iops-sec",
            "requests to read per second: /dev/sda,300,…",
        )
        .bare(),
        text("device-write-iops-sec", "requests to write per second").bare(),
        text("device-read-bytes-sec", "bytes read per second").bare(),
        text("device-write-bytes-sec", "bytes written per second").bare(),
        CONFIG,
        LIVE,
        CURRENT,
    ])
    .tabular(),
    Verb::new(
        "domiftune",
        "read or set a network interface's limits",
        domiftune,
    )
    .options(&[
        DOMAIN,
        arg(
            "interface",
            "the interface: its name on the host or MAC address",
        ),
        text("inbound", "to the guest, KiB: average,peak,burst,floor").bare(),
        text("outbound", "from the guest, KiB: average,peak,burst").bare(),
        CONFIG,
        LIVE,
        CURRENT,
    ])
    .tabular(),
    Verb::new("numatune", "read or set where memory comes from", numatune)
        .options(&[
            DOMAIN,
            text("mode", "strict, preferred, interleave or restrictive").bare(),
            text("nodeset", "the host's memory nodes: 0-1").bare(),
            CONFIG,
            LIVE,
            CURRENT,
        ])
        .tabular(),
];

fn say(s: &mut Session, params: Vec<TypedParam>) {
    for p in params {
        let shown = show(&p.value);
        fact!(s, &p.field, json(&p.value), "{:<15}: {shown}", p.field);
    }
}

/// The limits that are given.
fn disk_limits_given(args: &Args) -> Result<Vec<TypedParam>, Failure> {
    let mut params = Vec::new();
    for (option, field, unit) in DISK_LIMITS {
        let value = match unit {
            Unit::Bytes => args.scaled(option, 1, u64::MAX),
            Unit::Count => args.number::<u64>(option),
        };
        let wrong = || Failure::said("Unable to parse integer parameter");
        if let Some(value) = value.map_err(|_| wrong())? {
            params.push(param(field, TypedParamValue::Ullong(value)));
        }
    }
    Ok(params)
}

fn set_throttle_group(s: &mut Session, args: &Args) -> Outcome {
    let call = remote::DomainSetThrottleGroupArgs {
        dom: target(s, args)?.dom,
        group: args.need("group-name")?.to_owned(),
        params: disk_limits_given(args)?,
        flags: affect(args)?,
    };
    let set = s.call(&call);
    set.or_fail(|| "Unable to set throttle group".into())?;
    extra!(s, "Throttle group set successfully\n");
    Ok(())
}

fn del_throttle_group(s: &mut Session, args: &Args) -> Outcome {
    let call = remote::DomainDelThrottleGroupArgs {
        dom: target(s, args)?.dom,
        group: Some(args.need("group-name")?.to_owned()),
        flags: affect(args)?,
    };
    s.call(&call)?;
    extra!(s, "Throttle group deleted successfully\n");
    Ok(())
}

/// The groups of limits in the definition, with what is set of each.
fn throttle_groups(s: &mut Session, args: &Args) -> Result<Vec<Vec<(String, String)>>, Failure> {
    let dom = target(s, args)?.dom;
    let flags = match args.has("inactive") {
        true => XML_INACTIVE,
        false => 0,
    };
    let xml = s.domain_xml(&dom, flags)?;
    let document = query::parse(&xml)?;
    let groups = query::all(document.root_element(), "throttlegroups/throttlegroup");
    let set = |group: roxmltree::Node| {
        let fields = group.children().filter(roxmltree::Node::is_element);
        let pairs = fields.map(|field| {
            let value = field.text().unwrap_or_default();
            (field.tag_name().name().to_owned(), value.to_owned())
        });
        pairs.collect()
    };
    Ok(groups.into_iter().map(set).collect())
}

const GROUP_NAME: &str = "group_name";

fn throttle_group_info(s: &mut Session, args: &Args) -> Outcome {
    let name = args.need("group-name")?.to_owned();
    let is_it = |group: &Vec<(String, String)>| {
        let mut fields = group.iter();
        fields.any(|(field, value)| field == GROUP_NAME && *value == name)
    };
    let all = throttle_groups(s, args)?;
    let Some(group) = all.into_iter().find(is_it) else {
        return Err(Failure::said(format!("No throttle group found: {name}")));
    };
    for (field, value) in group {
        fact!(s, &field, value.as_str(), "{field:<15}: {value}");
    }
    Ok(())
}

fn throttle_group_list(s: &mut Session, args: &Args) -> Outcome {
    let all = throttle_groups(s, args)?;
    let name = |group: Vec<(String, String)>| {
        let mut fields = group.into_iter();
        fields
            .find(|(field, _)| field == GROUP_NAME)
            .map(|(_, name)| vec![name])
    };
    let rows: Vec<_> = all.into_iter().filter_map(name).collect();
    s.out.table(&["Name"], &rows);
    Ok(())
}

fn blkdeviotune(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let disk = args.need("device")?.to_owned();
    let mut params = disk_limits_given(args)?;
    if let Some(group) = args.text("group-name")? {
        params.push(param(
            "group_name",
            TypedParamValue::String(group.to_owned()),
        ));
    }
    if !params.is_empty() {
        let call = remote::DomainSetBlockIoTuneArgs {
            dom,
            disk,
            params,
            flags,
        };
        return s
            .call(&call)
            .or_fail(|| "Unable to change block I/O throttle".into());
    }
    let mut call = remote::DomainGetBlockIoTuneArgs {
        dom: dom.clone(),
        disk: None,
        nparams: 0,
        flags,
    };
    let counted = s
        .call(&call)
        .or_fail(|| "Unable to get number of block I/O throttle parameters".into())?;
    call.disk = Some(disk);
    call.nparams = counted.nparams;
    let got = s
        .call(&call)
        .or_fail(|| "Unable to get block I/O throttle parameters".into())?;
    say(s, got.params);
    Ok(())
}

fn blkiotune(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let mut params = Vec::new();
    if let Some(weight) = args.number::<i32>("weight")? {
        let weight = u32::try_from(weight).ok().filter(|weight| *weight > 0);
        let wrong = || {
            Failure::said(format!(
                "Invalid value of {} for I/O weight",
                args.text("weight").ok().flatten().unwrap_or_default()
            ))
        };
        params.push(param(
            "weight",
            TypedParamValue::Uint(weight.ok_or_else(wrong)?),
        ));
    }
    for (option, field) in [
        ("device-weights", "device_weight"),
        ("device-read-iops-sec", "device_read_iops_sec"),
        ("device-write-iops-sec", "device_write_iops_sec"),
        ("device-read-bytes-sec", "device_read_bytes_sec"),
        ("device-write-bytes-sec", "device_write_bytes_sec"),
    ] {
        if let Some(value) = args.text(option)? {
            params.push(param(field, TypedParamValue::String(value.to_owned())));
        }
    }
    if !params.is_empty() {
        let call = remote::DomainSetBlkioParametersArgs { dom, params, flags };
        return s
            .call(&call)
            .or_fail(|| "Unable to change blkio parameters".into());
    }
    let mut call = remote::DomainGetBlkioParametersArgs {
        dom,
        nparams: 0,
        flags,
    };
    let params = asked!(
        s,
        call,
        "Unable to get number of blkio parameters",
        "Unable to get blkio parameters"
    );
    say(s, params);
    Ok(())
}

const NUMA_MODES: &[&str] = &["strict", "preferred", "interleave", "restrictive"];

fn numatune(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let mut params = Vec::new();
    if let Some(nodes) = args.text("nodeset")? {
        params.push(param(
            "numa_nodeset",
            TypedParamValue::String(nodes.to_owned()),
        ));
    }
    if let Some(mode) = args.text("mode")? {
        let known = NUMA_MODES.iter().position(|m| *m == mode);
        let number = known
            .and_then(|n| i32::try_from(n).ok())
            .or_else(|| mode.parse().ok());
        let wrong = || Failure::said(format!("Invalid mode: {mode}"));
        params.push(param(
            "numa_mode",
            TypedParamValue::Int(number.ok_or_else(wrong)?),
        ));
    }
    if !params.is_empty() {
        let call = remote::DomainSetNumaParametersArgs { dom, params, flags };
        return s
            .call(&call)
            .or_fail(|| "Unable to change numa parameters".into());
    }
    let mut call = remote::DomainGetNumaParametersArgs {
        dom,
        nparams: 0,
        flags,
    };
    let params = asked!(
        s,
        call,
        "Unable to get number of memory parameters",
        "Unable to get numa parameters"
    );
    for p in params {
        let mode = match (&p.value, p.field.as_str()) {
            (TypedParamValue::Int(mode), "numa_mode") => usize::try_from(*mode)
                .ok()
                .and_then(|mode| NUMA_MODES.get(mode)),
            _ => None,
        };
        let value = mode.map_or_else(|| show(&p.value), |mode| (*mode).to_owned());
        fact!(s, &p.field, value.as_str(), "{:<15}: {value}", p.field);
    }
    Ok(())
}

/// `average,peak,burst,floor`; what is left out is 0.
fn rate(text: &str, name: &str) -> Result<[u32; 4], Failure> {
    const FIELDS: [&str; 4] = ["average", "peak", "burst", "floor"];
    let mut rate = [0; 4];
    for (index, part) in text.split(',').enumerate() {
        let slot = rate.get_mut(index);
        let slot = slot.ok_or_else(|| Failure::said(format!("malformed {name} argument")))?;
        if !part.is_empty() || index == 0 {
            let wrong = || Failure::said(format!("field '{}' is malformed", FIELDS[index]));
            *slot = part.parse().map_err(|_| wrong())?;
        }
    }
    Ok(rate)
}

fn direction(args: &Args, name: &str, fields: &[&str]) -> Result<Vec<TypedParam>, Failure> {
    let Some(text) = args.text(name)? else {
        return Ok(Vec::new());
    };
    let rate = rate(text, name)?;
    let [average, peak, burst, floor] = rate;
    if average == 0 && floor == 0 && (peak > 0 || burst > 0) {
        let what = match name {
            "inbound" => "either inbound average or floor is mandatory".to_owned(),
            _ => format!("{name} average is mandatory"),
        };
        return Err(Failure::said(what));
    }
    let values = fields.iter().zip(rate).enumerate();
    // The average goes along always: 0 takes the limit away.
    let given = values.filter(|(index, (_, value))| *index == 0 || *value > 0);
    let made = given
        .map(|(_, (field, value))| param(&format!("{name}.{field}"), TypedParamValue::Uint(value)));
    Ok(made.collect())
}

fn domiftune(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let dom: RemoteDomain = target(s, args)?.dom;
    let device = args.need("interface")?.to_owned();
    let mut params = direction(args, "inbound", &["average", "peak", "burst", "floor"])?;
    params.extend(direction(args, "outbound", &["average", "peak", "burst"])?);
    if !params.is_empty() {
        let call = remote::DomainSetInterfaceParametersArgs {
            dom,
            device,
            params,
            flags,
        };
        return s
            .call(&call)
            .or_fail(|| "Unable to set interface parameters".into());
    }
    let mut call = remote::DomainGetInterfaceParametersArgs {
        dom,
        device,
        nparams: 0,
        flags,
    };
    let params = asked!(
        s,
        call,
        "Unable to get number of interface parameters",
        "Unable to get interface parameters"
    );
    say(s, params);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_may_leave_parts_out() {
        assert_eq!(rate("100", "inbound").unwrap(), [100, 0, 0, 0]);
        assert_eq!(rate("100,,300", "inbound").unwrap(), [100, 0, 300, 0]);
        for wrong in ["", "a", "1,2,3,4,5", "1,-2"] {
            assert!(rate(wrong, "inbound").is_err(), "{wrong}");
        }
    }
}
