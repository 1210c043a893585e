//! Descriptors of whoever runs the program, handed to the daemon.

use std::os::fd::OwnedFd;

use client::wire::remote;

use crate::args::Args;
use crate::domain::{flags, target};
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::table::{DOMAIN, Opt, Verb, arg, flag};

/// The option that names them.
pub(super) const PASS_FDS: &str = "pass-fds";

const SECLABEL_RESTORE: u32 = 1;
const SECLABEL_WRITABLE: u32 = 2;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new(
    "dom-fd-associate",
    "give a domain open files as a group",
    associate,
)
.about(
    "Disks whose <source> has this fdgroup use them instead of opening a file. The group is there \
     as long as this connection is: start the domain in the same run, as in exec 7<>disk.raw; \
     stead 'dom-fd-associate web1 mine 7; start web1'.",
)
.options(&[
    DOMAIN,
    arg("name", "the name of the group"),
    GROUP,
    flag(
        "seclabel-writable",
        "label the files so that the guest may write to them",
    ),
    flag(
        "seclabel-restore",
        "give the files their old labels back afterwards",
    ),
])];

const GROUP: Opt = arg(PASS_FDS, "descriptors, separated by commas");

fn associate(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let call = remote::DomainFdAssociateArgs {
        dom,
        name: args.need("name")?.to_owned(),
        flags: flags(
            args,
            &[
                ("seclabel-restore", SECLABEL_RESTORE),
                ("seclabel-writable", SECLABEL_WRITABLE),
            ],
        ),
    };
    let descriptors = passed(args)?.unwrap_or_default();
    Ok(s.call_with(&call, descriptors)?)
}

/// Copies of the descriptors that `--pass-fds` names; none if it is not given.
///
/// # Errors
/// What is no number; what is not open.
pub(super) fn passed(args: &Args) -> Result<Option<Vec<OwnedFd>>, Failure> {
    let Some(list) = args.text(PASS_FDS)? else {
        return Ok(None);
    };
    list.split(',')
        .map(inherited)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn inherited(number: &str) -> Result<OwnedFd, Failure> {
    let wrong = || Failure::said(format!("Unable to parse FD number '{number}'"));
    let descriptor: i32 = number.parse().map_err(|_| wrong())?;
    client::inherited(descriptor).map_err(|e| {
        Failure::said(e.to_string()).hint(format!(
            "it must be open in the shell that runs stead: exec {descriptor}<>FILE"
        ))
    })
}
