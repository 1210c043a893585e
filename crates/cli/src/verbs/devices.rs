//! Plugging devices in and out, described in XML files.

use client::wire::remote::{self, RemoteDomain};

use crate::args::Args;
use crate::domain::{AFFECT_CONFIG, AFFECT_LIVE, affect, read_file, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::extra;
use crate::session::Session;
use crate::table::{CONFIG, CURRENT, DOMAIN, LIVE, Opt, PERSISTENT, Verb, arg, file, flag};

/// VIR_DOMAIN_DEVICE_MODIFY_FORCE.
pub(super) const MODIFY_FORCE: u32 = 4;

/// What verbs about a device described in a file take.
const DESCRIBED: &[Opt] = &[
    DOMAIN,
    file("the device's XML"),
    PERSISTENT,
    CONFIG,
    LIVE,
    CURRENT,
];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "attach-device",
        "plug in a device described in a file",
        attach,
    )
    .options(DESCRIBED),
    Verb::new(
        "detach-device",
        "unplug a device described in a file",
        detach,
    )
    .options(DESCRIBED),
    Verb::new(
        "detach-device-alias",
        "unplug a device by its alias",
        detach_alias,
    )
    .options(&[
        DOMAIN,
        arg("alias", "the device's alias"),
        CONFIG,
        LIVE,
        CURRENT,
    ]),
    Verb::new(
        "update-device",
        "change a device to what a file describes",
        update,
    )
    .options(&[
        DOMAIN,
        file("the device's XML"),
        PERSISTENT,
        CONFIG,
        LIVE,
        CURRENT,
        flag("force", "even if the guest does not agree"),
    ]),
];

/// The flags of `--config`, `--live`, `--current` and `--persistent`.
///
/// # Errors
/// If `--current` is given with one of the others.
pub(super) fn device_flags(args: &Args) -> Result<u32, Failure> {
    args.exclusive("persistent", "current")?;
    let flags = affect(args)?;
    Ok(flags
        | if args.has("persistent") {
            AFFECT_CONFIG
        } else {
            0
        })
}

/// Adds the running machine to `--persistent`, if there is one.
pub(super) fn with_running(s: &mut Session, args: &Args, dom: &RemoteDomain, flags: u32) -> u32 {
    let live = args.has("persistent") && s.domain_active(dom).unwrap_or(false);
    flags | if live { AFFECT_LIVE } else { 0 }
}

/// Plugs in a device.
///
/// # Errors
/// The daemon's.
pub(super) fn attach_xml(
    s: &mut Session,
    args: &Args,
    dom: RemoteDomain,
    xml: String,
    flags: u32,
) -> Result<(), client::Error> {
    match flags == 0 && !args.has("current") {
        true => s.call(&remote::DomainAttachDeviceArgs { dom, xml }),
        false => s.call(&remote::DomainAttachDeviceFlagsArgs { dom, xml, flags }),
    }
}

/// Unplugs a device.
///
/// # Errors
/// The daemon's.
pub(super) fn detach_xml(
    s: &mut Session,
    args: &Args,
    dom: RemoteDomain,
    xml: String,
    flags: u32,
) -> Result<(), client::Error> {
    match flags == 0 && !args.has("current") {
        true => s.call(&remote::DomainDetachDeviceArgs { dom, xml }),
        false => s.call(&remote::DomainDetachDeviceFlagsArgs { dom, xml, flags }),
    }
}

/// A device in a file, and where it goes.
struct Described {
    dom: RemoteDomain,
    flags: u32,
    from: String,
    xml: String,
}

fn described(s: &mut Session, args: &Args) -> Result<Described, Failure> {
    let flags = device_flags(args)?;
    let dom = target(s, args)?.dom;
    let from = args.need("file")?.to_owned();
    let flags = with_running(s, args, &dom, flags);
    let xml = read_file(&from)?;
    Ok(Described {
        dom,
        flags,
        from,
        xml,
    })
}

fn attach(s: &mut Session, args: &Args) -> Outcome {
    let Described {
        dom,
        flags,
        from,
        xml,
    } = described(s, args)?;
    attach_xml(s, args, dom, xml, flags)
        .or_fail(|| format!("Failed to attach device from {from}"))?;
    extra!(s, "Device attached successfully\n");
    Ok(())
}

fn detach(s: &mut Session, args: &Args) -> Outcome {
    let Described {
        dom,
        flags,
        from,
        xml,
    } = described(s, args)?;
    detach_xml(s, args, dom, xml, flags)
        .or_fail(|| format!("Failed to detach device from {from}"))?;
    extra!(s, "Device detached successfully\n");
    Ok(())
}

fn detach_alias(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let dom = target(s, args)?.dom;
    let alias = args.need("alias")?.to_owned();
    let call = remote::DomainDetachDeviceAliasArgs {
        dom,
        alias: alias.clone(),
        flags,
    };
    s.call(&call)
        .or_fail(|| format!("Failed to detach device with alias {alias}"))?;
    extra!(s, "Device detach request sent successfully\n");
    Ok(())
}

fn update(s: &mut Session, args: &Args) -> Outcome {
    let Described {
        dom,
        flags,
        from,
        xml,
    } = described(s, args)?;
    let flags = flags | if args.has("force") { MODIFY_FORCE } else { 0 };
    let call = remote::DomainUpdateDeviceFlagsArgs { dom, xml, flags };
    s.call(&call)
        .or_fail(|| format!("Failed to update device from {from}"))?;
    extra!(s, "Device updated successfully\n");
    Ok(())
}
