//! Talking to QEMU's monitor and to the guest agent directly.

use client::wire::frame::Packet;
use client::wire::procedure::Event;
use client::wire::qemu;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::args::Args;
use crate::domain::{By, flags, lookup, target};
use crate::event_text::Told;
use crate::failure::{Failure, Outcome};
use crate::output::{say, sayln};
use crate::session::Session;
use crate::table::{Completes, DOMAIN, Verb, flag, number, rest, text};
use crate::verbs::descriptors::{PASS_FDS, passed};
use crate::verbs::pool_events::{ABOUT, LOOP, TIMESTAMP, wait_for};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "qemu-agent-command",
        "send a command to the guest agent",
        agent,
    )
    .options(&[
        DOMAIN,
        number("timeout", "seconds to wait for an answer"),
        flag("async", "do not wait for an answer"),
        flag("block", "wait as long as it takes"),
        flag("pretty", "print the answer over several lines"),
        rest("cmd", "the command").required(),
    ]),
    Verb::new(
        "qemu-monitor-command",
        "send a command to QEMU's monitor",
        monitor,
    )
    .about("The command is JSON, or a name followed by its arguments.")
    .options(&[
        DOMAIN,
        flag("hmp", "the command is for the human monitor"),
        flag("pretty", "print the answer over several lines"),
        flag("return-value", "print only what the command returned"),
        text(PASS_FDS, "descriptors to hand to QEMU, separated by commas"),
        rest("cmd", "the command").required(),
    ]),
    Verb::new("qemu-monitor-event", "wait for QEMU's own events", events)
        .about(ABOUT)
        .options(&[
            text("domain", "only of this domain: its name, id or uuid")
                .completes(Completes::Domain),
            text("event", "only of this name"),
            flag(
                "pretty",
                "print what comes with an event over several lines",
            ),
            LOOP,
            number("timeout", "give up after so many seconds"),
            flag("regex", "the name is a pattern"),
            flag("no-case", "capital letters are as small ones in the name"),
            TIMESTAMP,
        ])
        .tabular(),
];

const EVENT_REGEX: u32 = 1;
const EVENT_NO_CASE: u32 = 2;

fn events(s: &mut Session, args: &Args) -> Outcome {
    let dom = args.text("domain")?;
    let dom = dom.map(|name| lookup(s, name, By::Any)).transpose()?;
    let call = qemu::ConnectDomainMonitorEventRegisterArgs {
        dom,
        event: args.text("event")?.map(str::to_owned),
        flags: flags(args, &[("regex", EVENT_REGEX), ("no-case", EVENT_NO_CASE)]),
    };
    let (pretty, stamped) = (args.has("pretty"), args.has("timestamp"));
    wait_for(
        s,
        args,
        |packet| event_line(packet, pretty, stamped),
        |s| Ok(s.call(&call)?.callback_id),
        |s, callback_id| Ok(s.call(&qemu::ConnectDomainMonitorEventDeregisterArgs { callback_id })?),
    )
}

/// The line for one of QEMU's events. Before it stands the time it was printed, or in it the time
/// it happened.
fn event_line(packet: &Packet, pretty: bool, stamped: bool) -> Option<Told> {
    type Message = qemu::DomainMonitorEventMsg;
    let header = &packet.header;
    if (header.program, header.procedure) != (qemu::PROGRAM, Message::NUMBER) {
        return None;
    }
    let told: Message = packet.decode().ok()?;
    let details = told.details.unwrap_or_else(|| "<null>".to_owned());
    let value = serde_json::from_str::<Value>(&details).ok();
    let details = match &value {
        Some(value) if pretty => serde_json::to_string_pretty(value).unwrap_or(details),
        _ => details,
    };
    let when = match stamped {
        true => String::new(),
        false => format!(" at {}.{:06}", told.seconds, told.micros),
    };
    let (event, name) = (told.event, told.dom.name);
    let lines = format!("event {event}{when} for domain '{name}': {details}\n");
    let time = told.seconds.checked_mul(1_000_000);
    let time =
        time.and_then(|us| Timestamp::from_microsecond(us.checked_add(told.micros.into())?).ok());
    let data = json!({
        "event": event,
        "domain": name,
        "details": value,
        "time": time.map(|time| format!("{time:.6}")),
    });
    let data = match data {
        Value::Object(data) => data,
        _ => Map::new(),
    };
    Some(Told { lines, data })
}

/// A command for QMP: JSON as it is, or a name with arguments made into JSON.
fn qmp_command(words: &[String]) -> Result<String, Failure> {
    let whole = words.join(" ");
    let is_object = |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|v| v.is_object());
    if is_object(&whole) {
        return Ok(whole);
    }
    let (name, rest) = words.split_first().ok_or_else(Failure::silent)?;
    if rest.is_empty() {
        return Ok(json!({ "execute": name }).to_string());
    }
    let joined = rest.join(" ");
    let wrapped = format!("{{{}}}", rest.join(","));
    let arguments = serde_json::from_str::<Value>(&joined)
        .ok()
        .filter(Value::is_object);
    let arguments = arguments.or_else(|| serde_json::from_str(&wrapped).ok());
    let arguments = arguments.ok_or_else(|| {
        Failure::said(format!(
            "failed to wrap arguments '{joined}' into a QMP command wrapper"
        ))
    })?;
    Ok(json!({ "execute": name, "arguments": arguments }).to_string())
}

fn monitor(s: &mut Session, args: &Args) -> Outcome {
    const HMP: u32 = 1;
    args.exclusive("hmp", "pretty")?;
    args.exclusive("hmp", "return-value")?;
    let passed = passed(args)?;
    let dom = target(s, args)?.dom;
    let words = args.many("cmd");
    let (cmd, flags) = if args.has("hmp") {
        (words.join(" "), HMP)
    } else {
        (qmp_command(words)?, 0)
    };
    let result = match passed {
        None => {
            let call = qemu::DomainMonitorCommandArgs { dom, cmd, flags };
            s.call(&call)?.result
        }
        Some(descriptors) => {
            let call = qemu::DomainMonitorCommandWithFilesArgs { dom, cmd, flags };
            s.call_with(&call, descriptors)?.result
        }
    };
    let (only_value, pretty) = (args.has("return-value"), args.has("pretty"));
    if !only_value && !pretty {
        sayln!(s, "{result}");
        return Ok(());
    }
    let parsed: Result<Reply<'_>, _> = serde_json::from_str(&result);
    let shown = match (&parsed, only_value) {
        (Ok(Reply { value: Some(value) }), true) => value.get(),
        (Ok(_), true) => return Err(Failure::said("'return' member missing")),
        (Err(_), true) => {
            return Err(Failure::said("failed to parse JSON returned by qemu"));
        }
        (Ok(_), false) => result.as_str(),
        (Err(_), false) => {
            sayln!(s, "{result}");
            return Ok(());
        }
    };
    match pretty {
        true => say!(s, "{}", reindent(shown)),
        false => say!(s, "{shown}"),
    }
    Ok(())
}

/// QEMU's answer, its members left as they were written.
#[derive(serde::Deserialize)]
struct Reply<'a> {
    #[serde(borrow, rename = "return")]
    value: Option<&'a serde_json::value::RawValue>,
}

/// JSON over several lines, members in the order they came.
fn reindent(json: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut rest = json.chars().filter(|c| *c != '\n').peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(c) = rest.next() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => quoted = true,
            '{' | '[' if matches!((c, rest.peek()), ('{', Some('}')) | ('[', Some(']'))) => {}
            '{' | '[' => {
                depth += 1;
                out.push(c);
                new_line(&mut out, depth);
                continue;
            }
            '}' | ']' if !out.ends_with(['{', '[']) => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
                continue;
            }
            ':' => {
                out.push_str(": ");
                continue;
            }
            c if c.is_whitespace() => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

fn agent(s: &mut Session, args: &Args) -> Outcome {
    const BLOCK: i32 = -2;
    const DEFAULT: i32 = -1;
    const NOWAIT: i32 = 0;
    let dom = target(s, args)?.dom;
    let given = args.number::<i32>("timeout")?;
    if given.is_some_and(|t| t < 1) {
        return Err(Failure::said("timeout must be positive"));
    }
    let ways = [
        given,
        args.has("async").then_some(NOWAIT),
        args.has("block").then_some(BLOCK),
    ];
    let mut ways = ways.into_iter().flatten();
    let timeout = ways.next().unwrap_or(DEFAULT);
    if ways.next().is_some() {
        return Err(Failure::said(
            "timeout, async and block options are exclusive",
        ));
    }
    let cmd = args.many("cmd").join(" ");
    let got = s.call(&qemu::DomainAgentCommandArgs {
        dom,
        cmd,
        timeout,
        flags: 0,
    })?;
    let Some(result) = got.result else {
        return Err(Failure::silent());
    };
    let is_json = || serde_json::from_str::<Value>(&result).is_ok();
    match args.has("pretty") && is_json() {
        true => sayln!(s, "{}\n", reindent(&result)),
        false => sayln!(s, "{result}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{qmp_command, reindent};

    #[test]
    fn members_keep_their_order() {
        let json = r#"{"b":1,"a":[{},[],"x{\",:"],"c":{"d":null}}"#;
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&reindent(json)).unwrap(),
            value
        );
        insta::assert_snapshot!(reindent(json));
    }

    #[test]
    fn names_and_arguments_become_json() {
        let command = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            qmp_command(&words).map_err(|f| f.lines.join(""))
        };
        let wrapped = r#"{"arguments":{"a":1},"execute":"x"}"#;
        assert_eq!(
            command(r#"{"execute": "x"}"#).unwrap(),
            r#"{"execute": "x"}"#
        );
        assert_eq!(command("query-kvm").unwrap(), r#"{"execute":"query-kvm"}"#);
        assert_eq!(command(r#"x {"a":1}"#).unwrap(), wrapped);
        assert_eq!(command(r#"x "a":1"#).unwrap(), wrapped);
        assert!(
            command("x nonsense")
                .unwrap_err()
                .contains("failed to wrap")
        );
    }
}
