//! `console`: the guest's serial line on this terminal.

use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;

use client::segment;
use client::wire::remote::{self, RemoteDomain};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::args::Args;
use crate::domain::{flags, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::extra;
use crate::session::Session;
use crate::states;
use crate::table::{DOMAIN, Verb, flag, number, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("console", "attach to the guest's console", console)
        .about("Connects this terminal to a serial device of the guest; ^] leaves it.")
        .options(&[
            DOMAIN,
            text(
                "devname",
                "the device, by its alias; the first console if left out",
            )
            .bare(),
            flag("force", "disconnect whoever is attached now"),
            flag("resume", "let the guest run on once attached"),
            flag(
                "safe",
                "only if the daemon guards the console against two users",
            ),
        ]),
    Verb::new(
        "console-log",
        "what the guest wrote to its console",
        console_log,
    )
    .about(
        "The daemon keeps the last output of each serial console, also of machines that do not \
         run any more.",
    )
    .options(&[
        DOMAIN,
        text(
            "devname",
            "the device, by its alias; the first console if left out",
        )
        .bare(),
        number("lines", "no more than these lines of it"),
        flag("follow", "go on with what the guest writes, until it ends"),
    ])
    .over_rest(),
];

fn console_log(s: &mut Session, args: &Args) -> Outcome {
    let mut path = format!("/machines/{}/console-log?", segment(args.need("domain")?));
    path.push_str(&format!("follow={}", args.has("follow")));
    if let Some(device) = args.text("devname")? {
        path.push_str(&format!("&device={}", segment(device)));
    }
    if let Some(lines) = args.number::<usize>("lines")? {
        path.push_str(&format!("&lines={lines}"));
    }
    s.out.flush();
    let mut stdout = std::io::stdout();
    s.rest()?.stream(&path, |bytes| {
        let shown = stdout.write_all(bytes).and_then(|()| stdout.flush());
        shown.is_err()
    })?;
    Ok(())
}

fn console(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    let device = args.text("devname")?.map(str::to_owned);
    let flags = flags(args, &[("force", 1), ("safe", 2)]);
    attach(s, &t.dom, device, args.has("resume"), flags)
}

/// Attaches the terminal to a console until the person leaves or the guest ends.
///
/// # Errors
/// Without a terminal, if the domain does not run, or if the daemon refuses.
pub(crate) fn attach(
    s: &mut Session,
    dom: &RemoteDomain,
    device: Option<String>,
    resume: bool,
    flags: u32,
) -> Outcome {
    let state = s.call(&remote::DomainGetStateArgs {
        dom: dom.clone(),
        flags: 0,
    });
    let state = state
        .or_fail(|| "Unable to get domain status".into())?
        .state;
    if state == states::SHUTOFF {
        return Err(Failure::said("The domain is not running"));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::said(
            "Cannot run interactive console without a controlling TTY",
        ));
    }
    let call = remote::DomainOpenConsoleArgs {
        dom: dom.clone(),
        dev_name: device,
        flags,
    };
    let ((), stream) = s.conn()?.open_stream(&call)?;
    extra!(s, "Connected to domain '{}'\n", dom.name);
    extra!(s, "Escape character is {}\n", show_escape(s.globals.escape));
    s.out.flush();
    let raw = RawTerminal::enter();
    if resume {
        let done = s.call(&remote::DomainResumeArgs { dom: dom.clone() });
        done.or_fail(|| format!("Failed to resume domain '{}'", dom.name))?;
    }
    let ended = relay(stream, s.globals.escape);
    drop(raw);
    Ok(ended?)
}

fn show_escape(byte: u8) -> String {
    match byte {
        0..=31 => format!("^{0} (Ctrl + {0})", char::from(byte ^ 0x40)),
        other => char::from(other).to_string(),
    }
}

/// The terminal in raw mode; dropped, it is as it was.
struct RawTerminal {
    before: Option<Termios>,
}

impl RawTerminal {
    fn enter() -> RawTerminal {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(mut raw) = before.clone() {
            raw.make_raw();
            _ = tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        RawTerminal { before }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Copies both ways until the escape is typed or either side ends.
fn relay(stream: client::Stream, escape: u8) -> Result<(), client::Error> {
    let (incoming, outgoing) = stream.split();
    let Ok((ended, end_mark)) = rustix::pipe::pipe() else {
        return Err(client::Error::closed());
    };
    let reader = std::thread::spawn(move || show(incoming, end_mark));
    let left = loop {
        match key_strokes(escape, &ended) {
            Keys::Typed(data) => outgoing.send(&data)?,
            Keys::Left => break true,
            Keys::GuestEnded => break false,
        }
    };
    if left {
        outgoing.finish()?;
        outgoing.forget();
    }
    match reader.join() {
        Ok(ended) if !left => ended,
        _ => Ok(()),
    }
}

/// Shows what the guest says; dropping `_end_mark` tells the keyboard's side.
fn show(mut incoming: client::Incoming, _end_mark: OwnedFd) -> Result<(), client::Error> {
    let mut stdout = std::io::stdout();
    while let Some(data) = incoming.receive()? {
        if stdout
            .write_all(&data)
            .and_then(|()| stdout.flush())
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

enum Keys {
    /// For the guest.
    Typed(Vec<u8>),
    /// The escape was typed, or the terminal is gone.
    Left,
    /// The guest's side is over.
    GuestEnded,
}

/// Waits for keys or for the end of the guest's side.
fn key_strokes(escape: u8, ended: &OwnedFd) -> Keys {
    let stdin = std::io::stdin();
    loop {
        let mut fds = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return Keys::Left,
        }
        if !fds[1].revents().is_empty() {
            return Keys::GuestEnded;
        }
        let mut buffer = [0; 1024];
        return match rustix::io::read(&stdin, &mut buffer) {
            Ok(0) | Err(_) => Keys::Left,
            Ok(_) if buffer[0] == escape => Keys::Left,
            Ok(n) => Keys::Typed(buffer[..n].to_vec()),
        };
    }
}
