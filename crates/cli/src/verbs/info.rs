//! What a domain is and how it is.

use client::wire::remote;
use jiff::Timestamp;

use crate::args::Args;
use crate::domain::{self, By, show_id, show_uuid, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{fact, say, sayln};
use crate::session::Session;
use crate::states;
use crate::table::{DOMAIN, Verb, flag, number, text};

/// Column of the values.
const VALUES_AT: usize = 15;

/// The verbs of this file in the group of monitoring.
pub(crate) const MONITORING: &[Verb] = &[
    Verb::new(
        "domcontrol",
        "state of the control channel to QEMU",
        domcontrol,
    )
    .options(&[DOMAIN])
    .tabular(),
    Verb::new("dominfo", "what a domain is and how it is", dominfo)
        .about("Prints name, uuid, state, CPUs, memory and more of a domain.")
        .options(&[DOMAIN])
        .tabular(),
    Verb::new("domstate", "a domain's state", domstate)
        .options(&[DOMAIN, flag("reason", "with the reason for it")])
        .tabular(),
    Verb::new("domtime", "read or set the guest's clock", domtime)
        .about("Asks the guest agent for the guest's time, or has it set.")
        .options(&[
            DOMAIN,
            flag("now", "set it to this host's time"),
            flag("pretty", "print it for people"),
            flag("sync", "set it from the guest's hardware clock"),
            number("time", "set it to these seconds since 1970").bare(),
        ])
        .tabular(),
];

/// The verbs of this file in the group of management.
pub(crate) const MANAGEMENT: &[Verb] = &[
    Verb::new("domhostname", "the guest's host name", domhostname)
        .options(&[
            DOMAIN,
            text("source", "whom to ask: lease or agent")
                .bare()
                .words(&["lease", "agent"]),
        ])
        .tabular(),
    Verb::new("domid", "a domain's id from its name or uuid", domid)
        .options(&[DOMAIN])
        .tabular(),
    Verb::new("domname", "a domain's name from its id or uuid", domname)
        .options(&[DOMAIN])
        .tabular(),
    Verb::new("domuuid", "a domain's uuid from its name or id", domuuid)
        .options(&[DOMAIN])
        .tabular(),
];

fn domname(s: &mut Session, args: &Args) -> Outcome {
    let t = domain::target_by(s, args, By::IdOrUuid)?;
    fact!(s, "name", t.dom.name.as_str(), "{}", t.dom.name);
    Ok(())
}

fn domid(s: &mut Session, args: &Args) -> Outcome {
    let t = domain::target_by(s, args, By::NameOrUuid)?;
    let id = (t.dom.id >= 0).then_some(t.dom.id);
    fact!(s, "id", id, "{}", show_id(&t.dom));
    Ok(())
}

fn domuuid(s: &mut Session, args: &Args) -> Outcome {
    let t = domain::target_by(s, args, By::IdOrName)?;
    let uuid = show_uuid(&t.dom.uuid);
    fact!(s, "uuid", uuid.as_str(), "{uuid}");
    Ok(())
}

fn domstate(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let got = s.call(&remote::DomainGetStateArgs { dom, flags: 0 })?;
    let state = states::state(got.state);
    if !s.out.is_text() {
        let reason = states::reason(got.state, got.reason).to_owned();
        s.out
            .pairs(0, &[("state", state.to_owned()), ("reason", reason)]);
        return Ok(());
    }
    match args.has("reason") {
        true => sayln!(s, "{state} ({})", states::reason(got.state, got.reason)),
        false => sayln!(s, "{state}"),
    }
    Ok(())
}

fn domcontrol(s: &mut Session, args: &Args) -> Outcome {
    const OK: u32 = 0;
    const ERROR: u32 = 3;
    let dom = target(s, args)?.dom;
    let got = s.call(&remote::DomainGetControlInfoArgs { dom, flags: 0 })?;
    let state = states::control(got.state);
    if !s.out.is_text() {
        fact!(s, "state", state, "");
        match got.state {
            OK => {}
            ERROR => fact!(s, "details", states::control_error(got.details), ""),
            _ => fact!(s, "seconds", got.state_time as f64 / 1000.0, ""),
        }
        return Ok(());
    }
    match got.state {
        OK => sayln!(s, "{state}"),
        ERROR if got.details > 0 => {
            sayln!(s, "{state}: {}", states::control_error(got.details));
        }
        ERROR => sayln!(s, "{state}"),
        _ => sayln!(s, "{state} ({:.3}s)", got.state_time as f64 / 1000.0),
    }
    Ok(())
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn dominfo(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let mut pairs = vec![
        ("Id:", show_id(&dom)),
        ("Name:", dom.name.clone()),
        ("UUID:", show_uuid(&dom.uuid)),
    ];
    let os = s.call(&remote::DomainGetOsTypeArgs { dom: dom.clone() });
    pairs.extend(os.ok().map(|got| ("OS Type:", got.kind)));
    let info = s.call(&remote::DomainGetInfoArgs { dom: dom.clone() });
    let failed = match info {
        Ok(info) => {
            pairs.extend(resources(&info));
            None
        }
        Err(e) => Some(e),
    };
    pairs.extend(persistence(s, &dom));
    let security = security(s, &dom, &mut pairs);
    let messages = s.call(&remote::DomainGetMessagesArgs { dom, flags: 0 });
    let messages = messages.map(|got| got.msgs).unwrap_or_default();
    for (i, message) in messages.into_iter().enumerate() {
        pairs.push((if i == 0 { "Messages:" } else { "" }, message));
    }
    s.out.pairs(VALUES_AT, &pairs);
    match failed {
        Some(e) => Err(e.into()),
        None => security,
    }
}

fn resources(info: &remote::DomainGetInfoRet) -> Vec<(&'static str, String)> {
    const NO_LIMIT: u64 = u32::MAX as u64;
    let mut pairs = vec![
        ("State:", states::state(info.state.into()).to_owned()),
        ("CPU(s):", info.nr_virt_cpu.to_string()),
    ];
    if info.cpu_time != 0 {
        pairs.push(("CPU time:", format!("{:.1}s", info.cpu_time as f64 / 1e9)));
    }
    let max = match info.max_mem {
        NO_LIMIT => "no limit".to_owned(),
        kib => format!("{kib} KiB"),
    };
    pairs.push(("Max memory:", max));
    pairs.push(("Used memory:", format!("{} KiB", info.memory)));
    pairs
}

fn persistence(s: &mut Session, dom: &remote::RemoteDomain) -> Vec<(&'static str, String)> {
    let unknown = |_| "unknown".to_owned();
    let dom = || dom.clone();
    let on_off = |on: i32| if on != 0 { "enable" } else { "disable" }.to_owned();
    let mut pairs = Vec::new();
    let persistent = s.call(&remote::DomainIsPersistentArgs { dom: dom() });
    let persistent = persistent.map_or_else(unknown, |got| yes_no(got.persistent != 0));
    pairs.push(("Persistent:", persistent));
    let autostart = s.call(&remote::DomainGetAutostartArgs { dom: dom() });
    pairs.extend(
        autostart
            .ok()
            .map(|got| ("Autostart:", on_off(got.autostart))),
    );
    let once = s.call(&remote::DomainGetAutostartOnceArgs { dom: dom() });
    pairs.extend(
        once.ok()
            .map(|got| ("Autostart Once:", on_off(got.autostart))),
    );
    let saved = s.call(&remote::DomainHasManagedSaveImageArgs {
        dom: dom(),
        flags: 0,
    });
    let saved = saved.map_or_else(unknown, |got| yes_no(got.result != 0));
    pairs.push(("Managed save:", saved));
    pairs
}

fn security(
    s: &mut Session,
    dom: &remote::RemoteDomain,
    pairs: &mut Vec<(&'static str, String)>,
) -> Outcome {
    let model = match s.call(&remote::NodeGetSecurityModelArgs {}) {
        Ok(model) => model,
        Err(e) if e.is_unsupported() => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let (name, doi) = (c_text(&model.model), c_text(&model.doi));
    if name.is_empty() {
        return Ok(());
    }
    pairs.push(("Security model:", name));
    pairs.push(("Security DOI:", doi));
    let label = s.call(&remote::DomainGetSecurityLabelArgs { dom: dom.clone() })?;
    let text = c_text(&label.label);
    if !text.is_empty() {
        let how = if label.enforcing != 0 {
            "enforcing"
        } else {
            "permissive"
        };
        pairs.push(("Security label:", format!("{text} ({how})")));
    }
    Ok(())
}

/// C characters up to the NUL.
pub(crate) fn c_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn domhostname(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let flags = match args.text("source")? {
        None => 0,
        Some("lease") => 1,
        Some("agent") => 2,
        Some(other) => return Err(Failure::said(format!("Unknown data source '{other}'"))),
    };
    let got = s.call(&remote::DomainGetHostnameArgs { dom, flags });
    let got = got.or_fail(|| "failed to get hostname".into())?;
    fact!(s, "hostname", got.hostname.as_str(), "{}", got.hostname);
    Ok(())
}

fn domtime(s: &mut Session, args: &Args) -> Outcome {
    const SYNC: u32 = 1;
    args.exclusive("time", "now")?;
    args.exclusive("time", "sync")?;
    args.exclusive("now", "sync")?;
    let dom = target(s, args)?.dom;
    let given = args.number::<i64>("time")?;
    if given.is_some() || args.has("now") || args.has("sync") {
        let now = if args.has("now") {
            Timestamp::now().as_second()
        } else {
            0
        };
        let flags = if args.has("sync") { SYNC } else { 0 };
        let seconds = given.unwrap_or(now);
        return Ok(s.call(&remote::DomainSetTimeArgs {
            dom,
            seconds,
            nseconds: 0,
            flags,
        })?);
    }
    let got = s.call(&remote::DomainGetTimeArgs { dom, flags: 0 })?;
    match Timestamp::from_second(got.seconds) {
        _ if !s.out.is_text() => fact!(s, "Time", got.seconds, ""),
        Ok(time) if args.has("pretty") => say!(s, "Time: {}", time.strftime("%Y-%m-%d %H:%M:%S")),
        _ => say!(s, "Time: {}", got.seconds),
    }
    Ok(())
}
