//! Memory, scheduling and what happens at the end of a guest's life.

use client::wire::remote::{self, TypedParam};
use client::wire::xdr::TypedParamValue;

use crate::args::Args;
use crate::domain::{AFFECT_LIVE, affect, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, fact};
use crate::params::{asked, json, param, show};
use crate::session::Session;
use crate::table::{
    CONFIG, CURRENT, DOMAIN, LIVE, Verb, alias, arg, arg_number, number, rest, text,
};

const MEM_MAXIMUM: u32 = 4;

const LIFECYCLE_TYPES: &[&str] = &["poweroff", "reboot", "crash"];
const LIFECYCLE_ACTIONS: &[&str] = &[
    "destroy",
    "restart",
    "rename-restart",
    "preserve",
    "coredump-destroy",
    "coredump-restart",
];
const SUSPEND_TARGETS: &[&str] = &["mem", "disk", "hybrid"];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("dompmsuspend", "have a guest suspend itself", pmsuspend).options(&[
        DOMAIN,
        arg("target", "how: mem, disk or hybrid").words(SUSPEND_TARGETS),
        number("duration", "seconds until it wakes up"),
    ]),
    Verb::new(
        "dompmwakeup",
        "wake a guest that suspended itself",
        pmwakeup,
    )
    .options(&[DOMAIN]),
    Verb::new("memtune", "read or set memory limits", memtune)
        .options(&[
            DOMAIN,
            number("hard-limit", "most memory, in KiB unless it has a unit").bare(),
            number("soft-limit", "memory left when the host is short of it").bare(),
            number("swap-hard-limit", "most memory and swap").bare(),
            number("min-guarantee", "memory that is always there").bare(),
            CONFIG,
            LIVE,
            CURRENT,
        ])
        .tabular(),
    Verb::new(
        "perf",
        "read or set which performance events are counted",
        perf,
    )
    .options(&[
        DOMAIN,
        text("enable", "events to count, separated by commas"),
        text("disable", "events to count no more"),
        CONFIG,
        LIVE,
        CURRENT,
    ])
    .tabular(),
    Verb::new("schedinfo", "read or set scheduling parameters", schedinfo)
        .options(&[
            DOMAIN,
            number("weight", "the weight"),
            number("cap", "the cap"),
            CURRENT,
            CONFIG,
            LIVE,
            rest("set", "parameters to set: NAME=VALUE"),
        ])
        .tabular(),
    Verb::new(
        "set-lifecycle-action",
        "what happens when a guest powers off",
        set_lifecycle,
    )
    .options(&[
        DOMAIN,
        arg("type", "when: poweroff, reboot or crash").words(LIFECYCLE_TYPES),
        arg("action", "what: destroy, restart, preserve and so on").words(LIFECYCLE_ACTIONS),
        CONFIG,
        LIVE,
        CURRENT,
    ]),
    Verb::new(
        "setmaxmem",
        "set the most memory a guest can have",
        setmaxmem,
    )
    .options(&[
        DOMAIN,
        alias("kilobytes", "size"),
        arg_number("size", "in KiB unless it has a unit"),
        CONFIG,
        LIVE,
        CURRENT,
    ]),
    Verb::new("setmem", "set the memory a guest has", setmem).options(&[
        DOMAIN,
        alias("kilobytes", "size"),
        arg_number("size", "in KiB unless it has a unit"),
        CONFIG,
        LIVE,
        CURRENT,
    ]),
];

fn size_kib(args: &Args) -> Result<u64, Failure> {
    let bytes = args.scaled("size", 1024, u64::MAX)?.unwrap_or(0);
    Ok(bytes.div_ceil(1024))
}

fn setmem(s: &mut Session, args: &Args) -> Outcome {
    let mut flags = affect(args)?;
    if flags == 0 && !args.has("current") {
        flags = AFFECT_LIVE;
    }
    let dom = target(s, args)?.dom;
    let memory = size_kib(args)?;
    Ok(s.call(&remote::DomainSetMemoryFlagsArgs { dom, memory, flags })?)
}

fn setmaxmem(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)? | MEM_MAXIMUM;
    let dom = target(s, args)?.dom;
    let memory = size_kib(args)?;
    s.call(&remote::DomainSetMemoryFlagsArgs { dom, memory, flags })
        .or_fail(|| "Unable to change MaxMemorySize".into())
}

/// Memory without a limit, in KiB.
const UNLIMITED: u64 = 9_007_199_254_740_991;

fn memtune(s: &mut Session, args: &Args) -> Outcome {
    const CHANGE: &str = "Unable to change memory parameters";
    let flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let mut params = Vec::new();
    for (option, field) in [
        ("hard-limit", "hard_limit"),
        ("soft-limit", "soft_limit"),
        ("swap-hard-limit", "swap_hard_limit"),
        ("min-guarantee", "min_guarantee"),
    ] {
        let Some(text) = args.text(option)? else {
            continue;
        };
        let value = match text.parse::<i64>() {
            Ok(n) if n < 0 => UNLIMITED,
            _ => {
                let bytes = args.scaled(option, 1024, i64::MAX as u64).ok().flatten();
                let wrong = || format!("Unable to parse integer parameter {option}");
                bytes.ok_or_else(|| Failure::said(wrong()))?.div_ceil(1024)
            }
        };
        params.push(param(field, TypedParamValue::Ullong(value)));
    }
    if !params.is_empty() {
        return s
            .call(&remote::DomainSetMemoryParametersArgs { dom, params, flags })
            .or_fail(|| CHANGE.into());
    }
    let mut call = remote::DomainGetMemoryParametersArgs {
        dom,
        nparams: 0,
        flags,
    };
    let params = asked!(
        s,
        call,
        "Unable to get number of memory parameters",
        "Unable to get memory parameters"
    );
    for p in params {
        let (value, shown) = match &p.value {
            TypedParamValue::Ullong(UNLIMITED) => ("unlimited".into(), "unlimited".to_owned()),
            value => (json(value), show(value)),
        };
        fact!(s, &p.field, value, "{:<15}: {shown}", p.field);
    }
    Ok(())
}

/// `text` as a value of the type that `like` has.
fn value_like(like: &TypedParamValue, text: &str) -> Option<TypedParamValue> {
    Some(match like {
        TypedParamValue::Int(_) => TypedParamValue::Int(text.parse().ok()?),
        TypedParamValue::Uint(_) => TypedParamValue::Uint(text.parse().ok()?),
        TypedParamValue::Llong(_) => TypedParamValue::Llong(text.parse().ok()?),
        TypedParamValue::Ullong(_) => TypedParamValue::Ullong(text.parse().ok()?),
        TypedParamValue::Double(_) => TypedParamValue::Double(text.parse().ok()?),
        TypedParamValue::Boolean(_) => TypedParamValue::Boolean(text == "1"),
        TypedParamValue::String(_) => TypedParamValue::String(text.to_owned()),
    })
}

fn scheduler_updates(args: &Args, known: &[TypedParam]) -> Result<Vec<TypedParam>, Failure> {
    let mut wanted: Vec<(String, String)> = Vec::new();
    for setting in args.many("set") {
        let pair = setting
            .split_once('=')
            .ok_or_else(|| Failure::said("Invalid syntax for --set, expecting name=value"))?;
        wanted.push((pair.0.to_owned(), pair.1.to_owned()));
    }
    for name in ["cap", "weight"] {
        wanted.extend(
            args.text(name)?
                .map(|value| (name.to_owned(), value.to_owned())),
        );
    }
    let update = |(field, text): (String, String)| {
        let like = crate::params::get(known, &field)
            .ok_or_else(|| Failure::said(format!("invalid scheduler option: {field}")))?;
        let wrong = format!("invalid argument: Invalid value for field '{field}': {text}");
        let value = value_like(like, &text).ok_or_else(|| Failure::said(wrong))?;
        Ok(param(&field, value))
    };
    wanted.into_iter().map(update).collect()
}

fn schedinfo(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let both = args.has("live") && args.has("config");
    let query = if both { 0 } else { flags };
    let dom = target(s, args)?.dom;
    let kind = s.call(&remote::DomainGetSchedulerTypeArgs { dom: dom.clone() });
    let kind = match kind {
        Ok(kind) => kind,
        Err(e) => {
            let label = "Scheduler";
            fact!(s, label, (), "{label:<15}: Unknown");
            return Err(e.into());
        }
    };
    let label = "Scheduler";
    fact!(s, label, kind.kind.as_str(), "{label:<15}: {}", kind.kind);
    if kind.nparams == 0 {
        return Err(Failure::silent());
    }
    let read = |s: &mut Session| {
        let (dom, nparams) = (dom.clone(), kind.nparams);
        match flags != 0 || args.has("current") {
            true => {
                let call = remote::DomainGetSchedulerParametersFlagsArgs {
                    dom,
                    nparams,
                    flags: query,
                };
                s.call(&call).map(|got| got.params)
            }
            false => {
                let call = remote::DomainGetSchedulerParametersArgs { dom, nparams };
                s.call(&call).map(|got| got.params)
            }
        }
    };
    let mut params = read(s)?;
    let updates = scheduler_updates(args, &params)?;
    if !updates.is_empty() {
        let (dom, params_) = (dom.clone(), updates);
        match flags != 0 || args.has("current") {
            true => s.call(&remote::DomainSetSchedulerParametersFlagsArgs {
                dom,
                params: params_,
                flags,
            })?,
            false => {
                s.call(&remote::DomainSetSchedulerParametersArgs {
                    dom,
                    params: params_,
                })?;
            }
        }
        params = read(s)?;
    } else if both {
        return Err(Failure::said("cannot query both live and config at once"));
    }
    for p in params {
        let shown = show(&p.value);
        fact!(s, &p.field, json(&p.value), "{:<15}: {shown}", p.field);
    }
    Ok(())
}

fn number_of(words: &[&str], word: &str) -> Option<u32> {
    words
        .iter()
        .position(|w| *w == word)
        .and_then(|i| u32::try_from(i).ok())
}

fn set_lifecycle(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let (kind, action) = (args.need("type")?, args.need("action")?);
    let kind = number_of(LIFECYCLE_TYPES, kind)
        .ok_or_else(|| Failure::said(format!("Invalid lifecycle type '{kind}'.")))?;
    let action = number_of(LIFECYCLE_ACTIONS, action)
        .ok_or_else(|| Failure::said(format!("Invalid lifecycle action '{action}'.")))?;
    let dom = target(s, args)?.dom;
    s.call(&remote::DomainSetLifecycleActionArgs {
        dom,
        kind,
        action,
        flags,
    })
    .or_fail(|| "Unable to change lifecycle action.".into())
}

fn perf(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let mut params = Vec::new();
    for (option, on) in [("enable", true), ("disable", false)] {
        let names = args
            .text(option)?
            .into_iter()
            .flat_map(|all| all.split(','));
        params.extend(names.map(|name| param(name, TypedParamValue::Boolean(on))));
    }
    let word = |on: bool| if on { "enabled" } else { "disabled" };
    if params.is_empty() {
        let got = s.call(&remote::DomainGetPerfEventsArgs { dom, flags });
        for event in got.or_fail(|| "Unable to get perf events".into())?.params {
            let on = event.value == TypedParamValue::Boolean(true);
            let (name, word) = (&event.field, word(on));
            fact!(s, name, on, "{name:<15}: {word}");
        }
        return Ok(());
    }
    let call = remote::DomainSetPerfEventsArgs {
        dom,
        params: params.clone(),
        flags,
    };
    let set = s.call(&call);
    set.or_fail(|| "Unable to enable/disable perf events".into())?;
    for event in params {
        let on = event.value == TypedParamValue::Boolean(true);
        let (name, word) = (&event.field, word(on));
        fact!(s, name, on, "{name:<15}: {word}");
    }
    Ok(())
}

fn pmsuspend(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let duration = args.number::<u64>("duration")?.unwrap_or(0);
    let target = number_of(SUSPEND_TARGETS, args.need("target")?)
        .ok_or_else(|| Failure::said("Invalid target"))?;
    let call = remote::DomainPmSuspendForDurationArgs {
        dom: t.dom,
        target,
        duration,
        flags: 0,
    };
    s.call(&call)
        .or_fail(|| format!("Domain '{}' could not be suspended", t.given))?;
    extra!(s, "Domain '{}' successfully suspended", t.given);
    Ok(())
}

fn pmwakeup(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    s.call(&remote::DomainPmWakeupArgs {
        dom: t.dom,
        flags: 0,
    })
    .or_fail(|| format!("Domain '{}' could not be woken up", t.given))?;
    extra!(s, "Domain '{}' successfully woken up", t.given);
    Ok(())
}
