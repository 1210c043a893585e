//! The host and its hypervisor.

use crate::args::Args;
use crate::failure::{OrFail, Outcome};
use crate::output::sayln;
use crate::session::Session;
use crate::table::Verb;
use client::wire::remote;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("hostname", "print the name of the daemon's host", hostname),
    Verb::new("uri", "print the daemon's URI", uri),
];

fn hostname(s: &mut Session, _: &Args) -> Outcome {
    let got = s.conn()?.call(&remote::ConnectGetHostnameArgs {});
    let got = got.or_fail(|| "failed to get hostname".into())?;
    sayln!(s, "{}", got.hostname);
    Ok(())
}

fn uri(s: &mut Session, _: &Args) -> Outcome {
    let got = s.conn()?.call(&remote::ConnectGetUriArgs {});
    let got = got.or_fail(|| "failed to get URI".into())?;
    sayln!(s, "{}", got.uri);
    Ok(())
}
