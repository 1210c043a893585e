//! Pressing keys and sending signals in the guest.

use client::wire::remote;

use crate::args::Args;
use crate::domain::target;
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::table::{DOMAIN, Verb, arg, number, rest, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("send-key", "press keys on the guest's keyboard", send_key)
        .about("Presses the keys together: names of the Linux codes, or numbers of any set.")
        .options(&[
            DOMAIN,
            text("codeset", "what the numbers mean (linux)").words(CODESETS),
            number("holdtime", "milliseconds to hold the keys"),
            rest("keycode", "the keys").required(),
        ]),
    Verb::new(
        "send-process-signal",
        "send a signal to a process of the guest",
        send_signal,
    )
    .options(&[
        DOMAIN,
        arg("pid", "the process's id in the guest"),
        arg("signame", "the signal's name or number"),
    ]),
];

/// By libvirt's number.
const CODESETS: &[&str] = &[
    "linux", "xt", "atset1", "atset2", "atset3", "os_x", "xt_kbd", "usb", "win32", "qnum",
];

/// Names and codes of Linux's keys, one a line.
const LINUX_KEYS: &str = include_str!("../../data/linux-keys.txt");

/// Keys that can be pressed at once.
const KEYS_MAX: usize = 16;

fn key_code(codeset: &str, key: &str) -> Option<u32> {
    let number = match key.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => key.parse().ok(),
    };
    number.filter(|n| *n <= 0xffff).or_else(|| {
        let named = |line: &str| {
            let (name, code) = line.split_once(' ')?;
            (name == key).then(|| code.parse().ok()).flatten()
        };
        (codeset == "linux")
            .then(|| LINUX_KEYS.lines().find_map(named))
            .flatten()
    })
}

fn send_key(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let given = args.text("codeset").ok().flatten().unwrap_or("linux");
    let holdtime = args.number("holdtime")?.unwrap_or(0);
    let name = if given == "rfb" { "qnum" } else { given };
    let codeset = CODESETS
        .iter()
        .position(|c| *c == name)
        .and_then(|i| u32::try_from(i).ok());
    let codeset = codeset.ok_or_else(|| Failure::said(format!("unknown codeset: '{given}'")))?;
    let mut keycodes = Vec::new();
    for key in args.many("keycode") {
        if keycodes.len() == KEYS_MAX {
            return Err(Failure::said("too many keycodes"));
        }
        let code = key_code(name, key);
        keycodes.push(code.ok_or_else(|| Failure::said(format!("invalid keycode: '{key}'")))?);
    }
    let call = remote::DomainSendKeyArgs {
        dom,
        codeset,
        holdtime,
        keycodes,
        flags: 0,
    };
    Ok(s.call(&call)?)
}

/// By libvirt's number, which up to 31 is Linux's.
const SIGNALS: &[&str] = &[
    "nop", "hup", "int", "quit", "ill", "trap", "abrt", "bus", "fpe", "kill", "usr1", "segv",
    "usr2", "pipe", "alrm", "term", "stkflt", "chld", "cont", "stop", "tstp", "ttin", "ttou",
    "urg", "xcpu", "xfsz", "vtalrm", "prof", "winch", "poll", "pwr", "sys",
];
/// The number of `rt0`.
const REALTIME_FIRST: u32 = 32;
const REALTIME_MAX: u32 = 32;

fn signal_number(name: &str) -> Option<u32> {
    let lower = name.to_ascii_lowercase();
    if let Ok(number) = lower.parse::<u32>() {
        return Some(number);
    }
    let bare = lower
        .strip_prefix("sig_")
        .or_else(|| lower.strip_prefix("sig"));
    let bare = bare.unwrap_or(&lower);
    if let Some(realtime) = bare.strip_prefix("rt").and_then(|n| n.parse::<u32>().ok()) {
        return (realtime <= REALTIME_MAX).then_some(REALTIME_FIRST + realtime);
    }
    SIGNALS
        .iter()
        .position(|s| *s == bare)
        .and_then(|i| u32::try_from(i).ok())
}

fn send_signal(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let pid_value = args.need_number("pid")?;
    let name = args.need("signame")?;
    let signum = signal_number(name)
        .ok_or_else(|| Failure::said(format!("malformed signal name: {name}")))?;
    Ok(s.call(&remote::DomainSendProcessSignalArgs {
        dom,
        pid_value,
        signum,
        flags: 0,
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_signals() {
        assert_eq!(key_code("linux", "KEY_ENTER"), Some(28));
        assert_eq!(key_code("linux", "0x1c"), Some(28));
        assert_eq!(key_code("usb", "KEY_ENTER"), None);
        assert_eq!(key_code("usb", "40"), Some(40));
        assert_eq!(signal_number("SIGTERM"), Some(15));
        assert_eq!(signal_number("sig_kill"), Some(9));
        assert_eq!(signal_number("rt2"), Some(34));
        assert_eq!(signal_number("bogus"), None);
    }
}
