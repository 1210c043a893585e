//! Starting, stopping and everything between.

use client::wire::errors::ErrorCode;
use client::wire::remote;

use super::descriptors;
use crate::args::Args;
use crate::domain::{self, By, flags, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::extra;
use crate::session::Session;
use crate::table::{DOMAIN, Verb, file, flag, many, maybe, number, text};

const START_PAUSED: u32 = 1;
const START_FORCE_BOOT: u32 = 8;

const MODE: crate::table::Opt = maybe(
    "mode",
    "ways to ask, separated by commas: acpi, agent, initctl, signal, paravirt",
)
.words(&["acpi", "agent", "initctl", "signal", "paravirt"]);

const PASS_FDS: crate::table::Opt = text(
    descriptors::PASS_FDS,
    "descriptors to hand to the machine, separated by commas",
)
.bare();

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "create",
        "start a domain from an XML file, or make one from an image",
        create,
    )
    .about(
        "From a file: starts a domain that is gone once it stops, unless it is defined too. \
             With --image: makes a machine of that name from an image of the library, with a \
             disk that builds upon it, tells it by cloud-init who it is, and starts it.",
    )
    .options(&[
        file("the domain's XML"),
        flag("console", "attach to the console once it is created"),
        flag("paused", "leave the guest paused"),
        flag(
            "autodestroy",
            "stop the guest when this program disconnects",
        ),
        PASS_FDS,
        flag("validate", "check the XML against the schema"),
        flag(
            "reset-nvram",
            "start with a fresh copy of the NVRAM template",
        ),
        text("image", "make it from this image; <file> is its name then")
            .of_things(crate::table::Thing::LibraryImage),
        text("ram", "its memory in MiB, or with a unit: 2G"),
        number("vcpus", "its processors"),
        text("disk-size", "the size of its disk in GiB, or with a unit"),
        flag("uefi", "UEFI starts it"),
        many(
            "network",
            "a card: NAME of a network, bridge=NAME, user or none; as often as wanted",
        ),
        text(
            "graphics",
            "its screen: vnc, spice or none; vnc,listen=ADDRESS,port=NUMBER,password=WORD",
        ),
        text("user", "the account to make"),
        text("password", "its password"),
        many("ssh-key", "a public key that may log in, or a file of them"),
        many("packages", "packages to install, separated by commas"),
        many(
            "ip",
            "its address with prefix, 192.168.122.50/24; without, DHCP",
        ),
        text(
            "gateway",
            "the way out; without, the network's first address",
        ),
        text("dns", "name servers, separated by commas"),
        text("user-data", "a file with cloud-init's own user-data")
            .completes(crate::table::Completes::File),
        flag("nostart", "make it and do not start it"),
    ]),
    Verb::new("destroy", "stop a domain at once", destroy)
        .about("Stops the machine the way pulling the plug does.")
        .options(&[
            DOMAIN,
            flag(
                "graceful",
                "give up rather than kill a QEMU that does not answer",
            ),
            flag("remove-logs", "remove the domain's logs too"),
        ]),
    Verb::new("inject-nmi", "send a non-maskable interrupt", inject_nmi).options(&[DOMAIN]),
    Verb::new("reboot", "ask a domain to reboot", reboot).options(&[DOMAIN, MODE]),
    Verb::new("reset", "reset a domain as a reset button does", reset).options(&[DOMAIN]),
    Verb::new("resume", "let a suspended domain run on", resume).options(&[DOMAIN]),
    Verb::new("shutdown", "ask a domain to shut down", shutdown)
        .about("The guest is asked; how long it takes, or whether it obeys, is up to it.")
        .options(&[DOMAIN, MODE]),
    Verb::new("start", "start a defined domain", start)
        .about("Starts a domain; from its managed save if there is one.")
        .options(&[
            DOMAIN,
            flag("console", "attach to the console once it is started"),
            flag("paused", "leave the guest paused"),
            flag(
                "autodestroy",
                "stop the guest when this program disconnects",
            ),
            flag(
                "bypass-cache",
                "read a managed save around the file system's cache",
            ),
            flag("force-boot", "boot afresh and drop a managed save"),
            PASS_FDS,
            flag(
                "reset-nvram",
                "start with a fresh copy of the NVRAM template",
            ),
        ]),
    Verb::new("suspend", "pause a running domain", suspend).options(&[DOMAIN]),
];

fn start(s: &mut Session, args: &Args) -> Outcome {
    let t = domain::target_by(s, args, By::NameOrUuid)?;
    if t.dom.id >= 0 {
        return Err(Failure::said("Domain is already active"));
    }
    let passed = descriptors::passed(args)?;
    let console = args.has("console");
    let resume = console && !args.has("paused");
    let table = [
        ("paused", START_PAUSED),
        ("autodestroy", 2),
        ("bypass-cache", 4),
        ("force-boot", START_FORCE_BOOT),
        ("reset-nvram", 32),
    ];
    let bits = flags(args, &table) | if resume { START_PAUSED } else { 0 };
    let name = t.dom.name.clone();
    let started = match passed {
        None => start_with(s, &t.dom, bits),
        Some(descriptors) => {
            let (dom, flags) = (t.dom.clone(), bits);
            let call = remote::DomainCreateWithFilesArgs { dom, flags };
            s.call_with(&call, descriptors).map(|got| got.dom)
        }
    };
    let dom = started.or_fail(|| format!("Failed to start domain '{name}'"))?;
    extra!(s, "Domain '{name}' started\n");
    if console {
        crate::verbs::console::attach(s, &dom, None, resume, 0)?;
    }
    Ok(())
}

fn start_with(
    s: &mut Session,
    dom: &remote::RemoteDomain,
    bits: u32,
) -> Result<remote::RemoteDomain, client::Error> {
    if bits == 0 {
        s.call(&remote::DomainCreateArgs { dom: dom.clone() })?;
        return Ok(dom.clone());
    }
    let args = remote::DomainCreateWithFlagsArgs {
        dom: dom.clone(),
        flags: bits,
    };
    match s.call(&args) {
        // A daemon that does not know the flag: what it means can be done in steps.
        Err(e) if bits & START_FORCE_BOOT != 0 && e.is(ErrorCode::InvalidArg) => {
            let remove = remote::DomainManagedSaveRemoveArgs {
                dom: dom.clone(),
                flags: 0,
            };
            let has = remote::DomainHasManagedSaveImageArgs {
                dom: dom.clone(),
                flags: 0,
            };
            if s.call(&has)?.result > 0 {
                s.call(&remove)?;
            }
            start_with(s, dom, bits & !START_FORCE_BOOT)
        }
        other => other.map(|got| got.dom),
    }
}

fn create(s: &mut Session, args: &Args) -> Outcome {
    let from = args.need("file")?;
    if let Some(image) = args.text("image")? {
        args.exclusive("image", descriptors::PASS_FDS)?;
        return crate::verbs::provision::create_from_image(s, args, image);
    }
    let xml_desc = domain::read_file(from)?;
    let passed = descriptors::passed(args)?;
    let console = args.has("console");
    let resume = console && !args.has("paused");
    let table = [
        ("paused", START_PAUSED),
        ("autodestroy", 2),
        ("validate", 16),
        ("reset-nvram", 32),
    ];
    let bits = flags(args, &table) | if resume { START_PAUSED } else { 0 };
    let flags = bits;
    let created = match passed {
        None => {
            let call = remote::DomainCreateXmlArgs { xml_desc, flags };
            s.call(&call).map(|got| got.dom)
        }
        Some(descriptors) => {
            let call = remote::DomainCreateXmlWithFilesArgs { xml_desc, flags };
            s.call_with(&call, descriptors).map(|got| got.dom)
        }
    };
    let dom = created.or_fail(|| format!("Failed to create domain from {from}"))?;
    extra!(s, "Domain '{}' created from {from}\n", dom.name);
    if console {
        crate::verbs::console::attach(s, &dom, None, resume, 0)?;
    }
    Ok(())
}

/// Does something to the domain named and says so: `verb` as in "Failed to
/// suspend domain", `done` as in "Domain 'x' suspended".
fn act(
    s: &mut Session,
    args: &Args,
    verb: &str,
    done: &str,
    act: impl FnOnce(&mut Session, remote::RemoteDomain) -> Result<(), client::Error>,
) -> Outcome {
    let t = target(s, args)?;
    act(s, t.dom).or_fail(|| format!("Failed to {verb} domain '{}'", t.given))?;
    extra!(s, "Domain '{}' {done}\n", t.given);
    Ok(())
}

fn destroy(s: &mut Session, args: &Args) -> Outcome {
    let bits = flags(args, &[("graceful", 1), ("remove-logs", 2)]);
    act(s, args, "destroy", "destroyed", |s, dom| match bits {
        0 => s.call(&remote::DomainDestroyArgs { dom }),
        flags => s.call(&remote::DomainDestroyFlagsArgs { dom, flags }),
    })
}

fn suspend(s: &mut Session, args: &Args) -> Outcome {
    act(s, args, "suspend", "suspended", |s, dom| {
        s.call(&remote::DomainSuspendArgs { dom })
    })
}

fn resume(s: &mut Session, args: &Args) -> Outcome {
    act(s, args, "resume", "resumed", |s, dom| {
        s.call(&remote::DomainResumeArgs { dom })
    })
}

fn reset(s: &mut Session, args: &Args) -> Outcome {
    act(s, args, "reset", "was reset", |s, dom| {
        s.call(&remote::DomainResetArgs { dom, flags: 0 })
    })
}

fn inject_nmi(s: &mut Session, args: &Args) -> Outcome {
    let t = target(s, args)?;
    Ok(s.call(&remote::DomainInjectNmiArgs {
        dom: t.dom,
        flags: 0,
    })?)
}

/// The ways of `--mode` as flags; `last` is what stands before the last way.
fn mode(args: &Args, last: &str) -> Result<u32, Failure> {
    let Some(mode) = args.text("mode")? else {
        return Ok(0);
    };
    let bit = |word: &str| match word {
        "acpi" => Ok(1),
        "agent" => Ok(2),
        "initctl" => Ok(4),
        "signal" => Ok(8),
        "paravirt" => Ok(16),
        other => Err(Failure::said(format!(
            "Unknown mode {other} value, expecting 'acpi', 'agent', 'initctl', \
             'signal'{last} 'paravirt'"
        ))),
    };
    mode.split(',')
        .try_fold(0, |bits, word| Ok(bits | bit(word)?))
}

fn shutdown(s: &mut Session, args: &Args) -> Outcome {
    let bits = mode(args, ", or")?;
    act(
        s,
        args,
        "shutdown",
        "is being shutdown",
        |s, dom| match bits {
            0 => s.call(&remote::DomainShutdownArgs { dom }),
            flags => s.call(&remote::DomainShutdownFlagsArgs { dom, flags }),
        },
    )
}

fn reboot(s: &mut Session, args: &Args) -> Outcome {
    let flags = mode(args, " or")?;
    act(s, args, "reboot", "is being rebooted", |s, dom| {
        s.call(&remote::DomainRebootArgs { dom, flags })
    })
}
