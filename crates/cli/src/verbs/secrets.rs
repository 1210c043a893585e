//! Secrets: defining them, setting and showing their values, and what happens to them.

use std::io::{BufRead, IsTerminal};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use client::wire::remote::{self, RemoteSecret};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::pool_events::{ABOUT, LIST, LOOP, TIMEOUT, TIMESTAMP, kind, wait_for};
use crate::args::Args;
use crate::domain::{self, flags, parse_uuid, show_uuid};
use crate::event_text::{self, SECRET_NAMES};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, fact, say, sayln};
use crate::session::Session;
use crate::table::{Completes, Opt, Verb, WRAP, XPATH, arg, flag, text};

/// The longest value read from a file, in bytes.
const VALUE_MAX_BYTES: usize = 64 * 1024;
/// What uses secrets, by libvirt's numbers.
const USES: [&str; 6] = ["none", "volume", "ceph", "iscsi", "tls", "vtpm"];

const SECRET: Opt = arg("secret", "the secret's uuid").of_things(crate::table::Thing::Secret);

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("secret-define", "define or change a secret", define)
        .about("Says what a secret is for; its value is set by secret-set-value.")
        .options(&[
            arg("file", "a file with the secret's XML").completes(Completes::File),
            flag("validate", "check the XML against the schema"),
        ]),
    Verb::new("secret-dumpxml", "print a secret's XML", dumpxml).options(&[SECRET, XPATH, WRAP]),
    Verb::new("secret-event", "wait for events of secrets", event)
        .about(ABOUT)
        .options(&[
            text("secret", "only of this secret: its uuid").bare().of_things(crate::table::Thing::Secret),
            text("event", "the kind of event to wait for")
                .bare()
                .words(SECRET_NAMES),
            LOOP,
            TIMEOUT,
            LIST,
            TIMESTAMP,
        ]).tabular(),
    Verb::new("secret-get-value", "print a secret's value", get_value)
        .about("Prints the value in base64, or as it is with --plain. A private one is not told.")
        .options(&[SECRET, flag("plain", "as it is, not in base64")]).tabular(),
    Verb::new("secret-list", "list secrets", list)
        .options(&[
            flag("ephemeral", "those that are in memory only"),
            flag("no-ephemeral", "those that are kept"),
            flag("private", "those whose value is not told"),
            flag("no-private", "those whose value is told"),
        ])
        .tabular(),
    Verb::new("secret-set-value", "set a secret's value", set_value)
        .about("Takes the value from a file or from the terminal. Given as a word of the command it is seen by everybody who lists processes.")
        .options(&[
            SECRET,
            text("base64", "the value in base64"),
            text("file", "a file with the value in base64")
                .bare()
                .completes(Completes::File),
            flag("plain", "the file holds the value as it is"),
            flag("interactive", "ask for the value"),
        ]),
    Verb::new("secret-undefine", "remove a secret and its value", undefine).options(&[SECRET]),
];

fn secret(s: &mut Session, args: &Args) -> Result<RemoteSecret, Failure> {
    let given = args.need("secret")?.to_owned();
    lookup(s, &given)
}

fn lookup(s: &mut Session, given: &str) -> Result<RemoteSecret, Failure> {
    let failed = || format!("failed to get secret '{given}'");
    match parse_uuid(given) {
        None => Err(Failure::said(failed())),
        Some(uuid) => {
            let found = s.call(&remote::SecretLookupByUuidArgs { uuid });
            Ok(found.or_fail(failed)?.secret)
        }
    }
}

fn define(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    let call = remote::SecretDefineXmlArgs {
        xml: domain::read_file(from)?,
        flags: flags(args, &[("validate", 1)]),
    };
    let got = s
        .call(&call)
        .or_fail(|| format!("Failed to set attributes from {from}"))?;
    extra!(s, "Secret {} created\n", show_uuid(&got.secret.uuid));
    Ok(())
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let secret = secret(s, args)?;
    let xml = s
        .call(&remote::SecretGetXmlDescArgs { secret, flags: 0 })?
        .xml;
    super::print_xml(s, args, &xml)
}

fn get_value(s: &mut Session, args: &Args) -> Outcome {
    let secret = secret(s, args)?;
    let value = s
        .call(&remote::SecretGetValueArgs { secret, flags: 0 })?
        .value;
    match args.has("plain") {
        _ if !s.out.is_text() => {
            fact!(s, "value", BASE64_STANDARD.encode(value), "");
        }
        true => s.out.text(value),
        false => say!(s, "{}", BASE64_STANDARD.encode(value)),
    }
    Ok(())
}

fn list(s: &mut Session, args: &Args) -> Outcome {
    let table = [
        ("ephemeral", 1),
        ("no-ephemeral", 2),
        ("private", 4),
        ("no-private", 8),
    ];
    let call = remote::ConnectListAllSecretsArgs {
        need_results: 1,
        flags: flags(args, &table),
    };
    let got = s.call(&call).or_fail(|| "Failed to list secrets".into())?;
    let mut rows: Vec<Vec<String>> = got.secrets.iter().map(row).collect();
    rows.sort();
    s.out.table(&["UUID", "Usage"], &rows);
    Ok(())
}

fn row(secret: &RemoteSecret) -> Vec<String> {
    let place = usize::try_from(secret.usage_type).ok();
    let used_by = place.filter(|place| *place > 0);
    let word = used_by.map(|place| USES.get(place).unwrap_or(&"unknown"));
    let usage = match word {
        Some(word) => format!("{word} {}", secret.usage_id),
        None => "Unused".to_owned(),
    };
    vec![show_uuid(&secret.uuid), usage]
}

fn set_value(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("file", "base64")?;
    args.exclusive("plain", "base64")?;
    args.exclusive("interactive", "base64")?;
    args.exclusive("file", "interactive")?;
    args.exclusive("plain", "interactive")?;
    let secret = secret(s, args)?;
    let value = given_value(s, args)?;
    let call = remote::SecretSetValueArgs {
        secret,
        value,
        flags: 0,
    };
    s.call(&call)?;
    extra!(s, "Secret value set\n");
    Ok(())
}

fn given_value(s: &mut Session, args: &Args) -> Result<Vec<u8>, Failure> {
    if let Some(text) = args.text("base64")? {
        s.out
            .error("Passing secret value as command-line argument is insecure!");
        return decode(text.as_bytes());
    }
    if let Some(path) = args.text("file")? {
        let bytes = std::fs::read(path);
        let bytes = bytes.map_err(|e| {
            Failure::said(format!("cannot read '{path}': {}", client::os_message(&e)))
        })?;
        if bytes.len() > VALUE_MAX_BYTES {
            let what = format!("'{path}' is longer than {VALUE_MAX_BYTES} bytes");
            return Err(Failure::said(what));
        }
        return match args.has("plain") {
            true => Ok(bytes),
            false => decode(bytes.trim_ascii()),
        };
    }
    match args.has("interactive") {
        true => ask(s),
        false => Err(Failure::said("Input secret value is missing")),
    }
}

fn decode(text: &[u8]) -> Result<Vec<u8>, Failure> {
    // What is wrong with it would show a part of it.
    let decoded = BASE64_STANDARD.decode(text);
    decoded.map_err(|_| Failure::said("the value is not base64"))
}

/// Reads a line that is not shown while it is typed.
fn ask(s: &mut Session) -> Result<Vec<u8>, Failure> {
    let failed = |_| Failure::said("Failed to read secret");
    say!(s, "Enter new value for secret:");
    s.out.flush();
    let stdin = std::io::stdin();
    let before = stdin.is_terminal().then(|| tcgetattr(&stdin));
    let before = before.and_then(Result::ok);
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        _ = tcsetattr(&stdin, OptionalActions::Flush, &silent);
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(before) = &before {
        _ = tcsetattr(&stdin, OptionalActions::Flush, before);
        sayln!(s, "");
    }
    read.map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).as_bytes().to_vec())
}

fn undefine(s: &mut Session, args: &Args) -> Outcome {
    let secret = secret(s, args)?;
    let given = args.need("secret")?;
    s.call(&remote::SecretUndefineArgs { secret })
        .or_fail(|| format!("Failed to delete secret {given}"))?;
    extra!(s, "Secret {given} deleted\n");
    Ok(())
}

fn event(s: &mut Session, args: &Args) -> Outcome {
    let Some(event_id) = kind(s, args, SECRET_NAMES)? else {
        return Ok(());
    };
    let given = args.text("secret")?;
    let secret = given.map(|given| lookup(s, given)).transpose()?;
    let call = remote::ConnectSecretEventRegisterAnyArgs { event_id, secret };
    wait_for(
        s,
        args,
        event_text::of,
        |s| Ok(s.call(&call)?.callback_id),
        |s, callback_id| Ok(s.call(&remote::ConnectSecretEventDeregisterAnyArgs { callback_id })?),
    )
}
