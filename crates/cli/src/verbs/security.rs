//! Launch security: memory that the host cannot read.

use client::wire::remote;
use client::wire::xdr::TypedParamValue;

use crate::args::Args;
use crate::domain::{read_file, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::fact;
use crate::params::{json, param, show};
use crate::session::Session;
use crate::table::{DOMAIN, Verb, number, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("domlaunchsecinfo", "launch security of a domain", info)
        .options(&[DOMAIN])
        .tabular(),
    Verb::new(
        "domsetlaunchsecstate",
        "put a secret into a guest with launch security",
        set_state,
    )
    .options(&[
        DOMAIN,
        text("secrethdr", "the file with the secret's header").bare(),
        text("secret", "the file with the secret").bare(),
        number("set-address", "where in the guest's memory").bare(),
    ]),
];

fn info(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let call = remote::DomainGetLaunchSecurityInfoArgs { dom, flags: 0 };
    let failed = || "Unable to get launch security parameters".into();
    s.out.one_record();
    for p in s.call(&call).or_fail(failed)?.params {
        let (name, shown) = (&p.field, show(&p.value));
        fact!(s, name, json(&p.value), "{name:<15}: {shown}");
    }
    Ok(())
}

fn set_state(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let (Some(header), Some(secret)) = (args.text("secrethdr")?, args.text("secret")?) else {
        return Err(Failure::said(
            "Both secret and the secret header are required",
        ));
    };
    let text = |path: &str| read_file(path).map(TypedParamValue::String);
    let mut params = vec![
        param("sev-secret-header", text(header)?),
        param("sev-secret", text(secret)?),
    ];
    if let Some(address) = args.number::<u64>("set-address")? {
        params.push(param(
            "sev-secret-set-address",
            TypedParamValue::Ullong(address),
        ));
    }
    let call = remote::DomainSetLaunchSecurityStateArgs {
        dom,
        params,
        flags: 0,
    };
    s.call(&call)
        .or_fail(|| "Unable to set launch security state".into())
}
